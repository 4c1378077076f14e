# For what is compiled without counters in a build that has them: they double the time that kernels take.
add_library(evenkeel_not_counted INTERFACE)
if(CMAKE_CXX_FLAGS MATCHES -fcoverage-mapping)
  target_compile_options(evenkeel_not_counted INTERFACE -fno-profile-instr-generate -fno-coverage-mapping)
endif()

# kernels_of_float and so on: the kernels of every scalar type, compiled once, as callers do, for all tests that are not
# about how callers build.
add_library(evenkeel_kernels STATIC EXCLUDE_FROM_ALL ${CMAKE_CURRENT_LIST_DIR}/kernels.cpp)
target_link_libraries(evenkeel_kernels PUBLIC evenkeel::evenkeel PRIVATE evenkeel_warnings)
target_compile_definitions(evenkeel_kernels INTERFACE EVENKEEL_EXTERN_KERNELS)
target_compile_options(evenkeel_kernels PRIVATE $<$<CONFIG:Release>:-O2>)
foreach(scalar float double half bfloat16)
  add_library(kernels_of_${scalar} ALIAS evenkeel_kernels)
endforeach()
