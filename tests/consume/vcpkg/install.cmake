# Installs the overlay port by the vcpkg in ROOT, every check an error, to INSTALLED.
cmake_minimum_required(VERSION 3.21)

# vcpkg knows the port by its files alone: what is installed or cached would be of earlier sources, and unchecked.
file(REMOVE_RECURSE ${INSTALLED})
execute_process(COMMAND ${ROOT}/vcpkg install evenkeel --classic --enforce-port-checks --binarysource=clear
    --overlay-ports=${SOURCE}/cmake/vcpkg/ports --x-install-root=${INSTALLED}
  COMMAND_ECHO STDOUT OUTPUT_VARIABLE output ECHO_OUTPUT_VARIABLE COMMAND_ERROR_IS_FATAL ANY)
if(NOT output MATCHES "Building evenkeel:(.*)")
  message(FATAL_ERROR "vcpkg has not built it")
endif()
if(CMAKE_MATCH_1 MATCHES "[Ww]arning")  # CMake's own begin with a capital
  message(FATAL_ERROR "vcpkg warns")
endif()
