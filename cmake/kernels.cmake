# For what is compiled without counters in a build that has them: they double the time that kernels take.
add_library(evenkeel_not_counted INTERFACE)
if(CMAKE_CXX_FLAGS MATCHES -fcoverage-mapping)
  target_compile_options(evenkeel_not_counted INTERFACE -fno-profile-instr-generate -fno-coverage-mapping)
endif()

# kernels_of_float and so on: the kernels of one scalar type, compiled once, as callers do, for all tests and
# benchmarks that are not about how callers build.
foreach(scalar float double Eigen::half Eigen::bfloat16)
  string(REPLACE Eigen:: "" name ${scalar})
  add_library(kernels_of_${name} STATIC EXCLUDE_FROM_ALL ${CMAKE_CURRENT_LIST_DIR}/kernels.cpp)
  target_compile_definitions(kernels_of_${name}
    PRIVATE EVENKEEL_COMPILE_KERNELS=${scalar} INTERFACE EVENKEEL_EXTERN_KERNELS)
  target_link_libraries(kernels_of_${name} PUBLIC evenkeel::evenkeel PRIVATE evenkeel_warnings)
  if(NOT MSVC)
    target_compile_options(kernels_of_${name} PRIVATE $<$<CONFIG:Release>:-O2>)
  endif()
  if(NOT scalar STREQUAL float)  # whose kernels have all the lines
    target_link_libraries(kernels_of_${name} PRIVATE evenkeel_not_counted)
  endif()
endforeach()
