# evenkeel::compiled: the kernels, compiled once, for programs of many files. It is built where it is linked to, and
# installed with EVENKEEL_COMPILED.
add_library(evenkeel_compiled)
add_library(evenkeel::compiled ALIAS evenkeel_compiled)
set_target_properties(evenkeel_compiled PROPERTIES EXPORT_NAME compiled WINDOWS_EXPORT_ALL_SYMBOLS ON)
if(NOT EVENKEEL_COMPILED)
  set_target_properties(evenkeel_compiled PROPERTIES EXCLUDE_FROM_ALL ON)
endif()
target_compile_definitions(evenkeel_compiled INTERFACE EVENKEEL_EXTERN_KERNELS)
target_link_libraries(evenkeel_compiled PUBLIC evenkeel)
if(NOT MSVC)
  target_compile_options(evenkeel_compiled PRIVATE $<$<CONFIG:Release>:-O2>)  # as it is tested
endif()

# A unit takes one scalar.
foreach(scalar float double Eigen::half Eigen::bfloat16)
  string(REPLACE Eigen:: "" name ${scalar})
  set(unit ${PROJECT_BINARY_DIR}/kernels_of_${name}.cpp)
  configure_file(cmake/kernels.cpp ${unit} COPYONLY)
  target_sources(evenkeel_compiled PRIVATE ${unit})
  set_source_files_properties(${unit} PROPERTIES COMPILE_DEFINITIONS EVENKEEL_COMPILE_KERNELS=${scalar})
  # Kernels of float have all the lines, and counters double the time.
  if(CMAKE_CXX_FLAGS MATCHES -fcoverage-mapping AND NOT scalar STREQUAL float)
    set_source_files_properties(${unit} PROPERTIES COMPILE_OPTIONS "-fno-profile-instr-generate;-fno-coverage-mapping")
  endif()
endforeach()
