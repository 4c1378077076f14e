# Compiles by one line, as one would type it, and runs what comes out.
cmake_minimum_required(VERSION 3.21)
if(DEFINED ENV{PKG_CONFIG})  # tells the flags
  execute_process(COMMAND $ENV{PKG_CONFIG} --cflags evenkeel OUTPUT_VARIABLE flags COMMAND_ERROR_IS_FATAL ANY)
  separate_arguments(FLAGS UNIX_COMMAND "${flags}")
endif()
execute_process(COMMAND ${COMPILER} -std=c++17 ${FLAGS} ${SOURCE} -o ${PROGRAM} COMMAND_ECHO STDOUT COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${PROGRAM} COMMAND_ERROR_IS_FATAL ANY)
