# cmake -DCOMMAND=<compiler;flags> -DMESSAGE=<regular expression> [-DONE_LINE=<regular expression>] -P expect_compile_error.cmake
#
# The misuse must not compile, the compiler's output must match MESSAGE, and one line of it, no more, must match ONE_LINE.

# A plain locale, so that quotes are '.
execute_process(COMMAND ${CMAKE_COMMAND} -E env LC_ALL=C ${COMMAND} RESULT_VARIABLE result ERROR_VARIABLE output)
if(result EQUAL 0)
  message(FATAL_ERROR "the misuse compiles")
endif()
if(NOT output MATCHES "${MESSAGE}")
  message(FATAL_ERROR "the error does not say \"${MESSAGE}\":\n${output}")
endif()
if(DEFINED ONE_LINE)
  string(REGEX REPLACE "[][;]" "" lines "${output}")  # which are special in lists
  string(REGEX MATCHALL "[^\n]*(${ONE_LINE})[^\n]*" lines "${lines}")
  list(LENGTH lines count)
  if(NOT count EQUAL 1)
    message(FATAL_ERROR "${count} lines match \"${ONE_LINE}\", expected 1:\n${output}")
  endif()
endif()
