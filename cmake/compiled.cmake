# evenkeel::compiled: the kernels, compiled once, for programs of many files. It is built where it is linked to, and
# installed with EVENKEEL_COMPILED. Each scalar type is a unit, for several processors to compile and for programs to have
# the types that they use.
set(evenkeel_kernels)
foreach(scalar float double Eigen::half Eigen::bfloat16)
  string(REPLACE Eigen:: "" name ${scalar})
  set(unit ${PROJECT_BINARY_DIR}/kernels_of_${name}.cpp)
  file(CONFIGURE OUTPUT ${unit} CONTENT
    "#define EVENKEEL_COMPILED_SCALARS(X) X(${scalar}, ${name})\n#include \"${PROJECT_SOURCE_DIR}/cmake/kernels.cpp\"\n")
  list(APPEND evenkeel_kernels ${unit})
endforeach()
add_library(evenkeel_compiled ${evenkeel_kernels})
add_library(evenkeel::compiled ALIAS evenkeel_compiled)
set_target_properties(evenkeel_compiled PROPERTIES EXPORT_NAME compiled WINDOWS_EXPORT_ALL_SYMBOLS ON)
if(NOT EVENKEEL_COMPILED)
  set_target_properties(evenkeel_compiled PROPERTIES EXCLUDE_FROM_ALL ON)
endif()
target_compile_definitions(evenkeel_compiled INTERFACE EVENKEEL_EXTERN_KERNELS)
target_link_libraries(evenkeel_compiled PUBLIC evenkeel)
if(NOT MSVC)
  target_compile_options(evenkeel_compiled PRIVATE $<$<CONFIG:Release>:-O2>)  # as it is tested
  if(NOT "${CMAKE_CXX_FLAGS} ${CMAKE_CXX_FLAGS_DEBUG}" MATCHES "(^| )-(O|fsanitize)")  # a debug build runs at nearly full speed
    target_compile_options(evenkeel_compiled PRIVATE $<$<CONFIG:Debug>:-O2>)
  endif()
endif()
