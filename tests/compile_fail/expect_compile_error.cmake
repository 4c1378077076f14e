# cmake -DCOMMAND=<compiler;flags> -DMESSAGE=<regular expression> -P expect_compile_error.cmake
#
# The snippet written right must compile; written wrong it must not, and the compiler's output must match MESSAGE.

execute_process(COMMAND ${COMMAND} -DEVALUATED RESULT_VARIABLE right_result ERROR_VARIABLE right_output)
if(NOT right_result EQUAL 0)
  message(FATAL_ERROR "the snippet written right does not compile:\n${right_output}")
endif()

execute_process(COMMAND ${COMMAND} RESULT_VARIABLE wrong_result ERROR_VARIABLE wrong_output)
if(wrong_result EQUAL 0)
  message(FATAL_ERROR "the misuse compiles")
endif()
if(NOT wrong_output MATCHES "${MESSAGE}")
  message(FATAL_ERROR "the error does not say \"${MESSAGE}\":\n${wrong_output}")
endif()
