# Installs to INSTALLED, and once more to another place, which is then moved to MOVED.
cmake_minimum_required(VERSION 3.21)
set(before_moving ${INSTALLED}_before_moving)
file(REMOVE_RECURSE ${INSTALLED} ${before_moving} ${MOVED})
foreach(prefix ${INSTALLED} ${before_moving})
  execute_process(COMMAND ${CMAKE_COMMAND} --install ${BUILD} --prefix ${prefix} COMMAND_ERROR_IS_FATAL ANY)
endforeach()
file(RENAME ${before_moving} "${MOVED}")
