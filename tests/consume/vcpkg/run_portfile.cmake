# Runs PORTFILE with FEATURES without vcpkg: each function that it calls does here what its documentation says, as far as our port
# asks it to. Then PACKAGE must be what vcpkg takes without a warning, but for its own manifests.
cmake_minimum_required(VERSION 3.21)

set(PORT evenkeel)
set(CURRENT_PACKAGES_DIR ${PACKAGE})
set(buildtree ${PACKAGE}_build)
file(REMOVE_RECURSE ${PACKAGE} ${buildtree})

file(READ ${SOURCE}/cmake/vcpkg/ports/evenkeel/vcpkg.json manifest)
string(JSON VERSION GET "${manifest}" version)
string(JSON license GET "${manifest}" license)
if(NOT VERSION STREQUAL EXPECTED_VERSION OR NOT license STREQUAL MIT)
  message(FATAL_ERROR "vcpkg.json: ${VERSION}, ${license}, expected ${EXPECTED_VERSION}, MIT")
endif()

function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ECHO STDOUT COMMAND_ERROR_IS_FATAL ANY)
endfunction()

# Fails where the caller has been given other arguments than these keywords.
macro(parse one many)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "${one}" "${many}")
  if(arg_UNPARSED_ARGUMENTS OR arg_KEYWORDS_MISSING_VALUES)
    message(FATAL_ERROR "unknown or empty: ${arg_UNPARSED_ARGUMENTS} ${arg_KEYWORDS_MISSING_VALUES}")
  endif()
endmacro()

function(vcpkg_from_github)
  parse("OUT_SOURCE_PATH;REPO;REF;SHA512;HEAD_REF" "")
  if(NOT arg_REF STREQUAL "v${EXPECTED_VERSION}")
    message(FATAL_ERROR "REF ${arg_REF}, expected v${EXPECTED_VERSION}")
  endif()
  set(${arg_OUT_SOURCE_PATH} ${SOURCE} PARENT_SCOPE)
endfunction()

function(vcpkg_check_features)
  parse(OUT_FEATURE_OPTIONS FEATURES)
  if(NOT arg_FEATURES STREQUAL "compiled;EVENKEEL_COMPILED")
    message(FATAL_ERROR "the port's features are ${arg_FEATURES}")
  endif()
  set(chosen OFF)
  if(compiled IN_LIST FEATURES)
    set(chosen ON)
  endif()
  set(${arg_OUT_FEATURE_OPTIONS} -DEVENKEEL_COMPILED=${chosen} PARENT_SCOPE)
endfunction()

function(vcpkg_check_linkage)
  if(NOT ARGN STREQUAL ONLY_STATIC_LIBRARY)
    message(FATAL_ERROR "vcpkg_check_linkage: ${ARGN}")
  endif()
endfunction()

# One configuration, without optimization, since that compiles in a quarter of the time.
function(vcpkg_cmake_configure)
  parse(SOURCE_PATH OPTIONS)
  run(${CMAKE_COMMAND} -S ${arg_SOURCE_PATH} -B ${buildtree} -G ${GENERATOR} -DCMAKE_BUILD_TYPE=None
    -DCMAKE_CXX_COMPILER=${COMPILER} -DEigen3_DIR=${Eigen3_DIR} -DCMAKE_INSTALL_PREFIX=${PACKAGE} ${arg_OPTIONS})
endfunction()

function(vcpkg_cmake_install)
  parse("" "")
  run(${CMAKE_COMMAND} --build ${buildtree} --target install)
endfunction()

# Moves the package's configuration two directories below the prefix.
function(vcpkg_cmake_config_fixup)
  parse(CONFIG_PATH "")
  file(GLOB configs ${PACKAGE}/${arg_CONFIG_PATH}/*.cmake)
  foreach(config ${configs})
    file(READ ${config} text)
    string(REGEX REPLACE "(get_filename_component\\(_IMPORT_PREFIX [^\n]*\n)+"
      "get_filename_component(_IMPORT_PREFIX \"\${CMAKE_CURRENT_LIST_DIR}/../..\" ABSOLUTE)\n" text "${text}")
    get_filename_component(name ${config} NAME)
    file(WRITE ${PACKAGE}/share/${PORT}/${name} "${text}")
  endforeach()
  get_filename_component(parent ${PACKAGE}/${arg_CONFIG_PATH} DIRECTORY)
  file(REMOVE_RECURSE ${parent})
endfunction()

function(vcpkg_fixup_pkgconfig)
  parse("" "")
  file(STRINGS ${PACKAGE}/share/pkgconfig/evenkeel.pc prefix REGEX "^prefix=")
  if(NOT prefix STREQUAL "prefix=\${pcfiledir}/../..")
    message(FATAL_ERROR "evenkeel.pc: ${prefix}")
  endif()
endfunction()

function(vcpkg_install_copyright)
  parse("" FILE_LIST)
  file(INSTALL ${arg_FILE_LIST} DESTINATION ${PACKAGE}/share/${PORT} RENAME copyright)
endfunction()

include(${PORTFILE})

set(expected share/evenkeel/copyright share/evenkeel/evenkeelConfig.cmake share/evenkeel/evenkeelConfigVersion.cmake
  share/evenkeel/evenkeelTargets.cmake share/pkgconfig/evenkeel.pc)
if(FEATURES)
  list(APPEND expected lib/libevenkeel_compiled.a share/evenkeel/evenkeelTargets-none.cmake)
  list(SORT expected)
elseif(NOT VCPKG_BUILD_TYPE STREQUAL release)
  message(FATAL_ERROR "VCPKG_BUILD_TYPE is '${VCPKG_BUILD_TYPE}', expected release: there is nothing to debug")
endif()
file(GLOB_RECURSE installed LIST_DIRECTORIES false RELATIVE ${PACKAGE} ${PACKAGE}/*)
list(FILTER installed EXCLUDE REGEX "^include/evenkeel/.*[.](hpp|inl)$")
if(NOT installed STREQUAL expected)
  message(FATAL_ERROR "besides headers there are ${installed}, expected ${expected}")
endif()
