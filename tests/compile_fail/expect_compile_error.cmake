# cmake -DCOMMAND=<compiler;flags> -DMESSAGE=<regular expression> -P expect_compile_error.cmake
#
# The misuse must not compile, and the compiler's output must match MESSAGE.

# A plain locale, so that quotes are '.
execute_process(COMMAND ${CMAKE_COMMAND} -E env LC_ALL=C ${COMMAND} RESULT_VARIABLE result ERROR_VARIABLE output)
if(result EQUAL 0)
  message(FATAL_ERROR "the misuse compiles")
endif()
if(NOT output MATCHES "${MESSAGE}")
  message(FATAL_ERROR "the error does not say \"${MESSAGE}\":\n${output}")
endif()
