# Installs the overlay port by the vcpkg in ROOT, every check an error, to INSTALLED.
cmake_minimum_required(VERSION 3.21)
execute_process(COMMAND ${ROOT}/vcpkg install evenkeel --classic --enforce-port-checks
    --overlay-ports=${SOURCE}/cmake/vcpkg/ports --x-install-root=${INSTALLED}
  COMMAND_ECHO STDOUT OUTPUT_VARIABLE output ECHO_OUTPUT_VARIABLE COMMAND_ERROR_IS_FATAL ANY)
if(output MATCHES "warning")
  message(FATAL_ERROR "vcpkg warns")
endif()
