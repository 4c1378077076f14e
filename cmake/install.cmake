include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(package_dir ${CMAKE_INSTALL_DATADIR}/cmake/evenkeel)
if(CMAKE_VERSION VERSION_LESS 3.23)
  install(DIRECTORY include/evenkeel DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
else()
  set(headers FILE_SET HEADERS FILE_SET kernel_text)
endif()
# INCLUDES: those who build with a CMake that has no file sets find the headers by it.
install(TARGETS evenkeel EXPORT evenkeelTargets ${headers} INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
set(any_architecture ARCH_INDEPENDENT)
if(EVENKEEL_COMPILED)
  install(TARGETS evenkeel_compiled EXPORT evenkeelTargets)
  set(any_architecture)
endif()
install(EXPORT evenkeelTargets NAMESPACE evenkeel:: DESTINATION ${package_dir})

write_basic_package_version_file(evenkeelConfigVersion.cmake COMPATIBILITY SameMinorVersion ${any_architecture})
install(FILES cmake/evenkeelConfig.cmake ${PROJECT_BINARY_DIR}/evenkeelConfigVersion.cmake DESTINATION ${package_dir})

# By relative paths, since the prefix may move; the directories that they are between may have been given as absolute.
set(pkgconfig_dir ${CMAKE_INSTALL_DATADIR}/pkgconfig)
file(RELATIVE_PATH prefix_from_pkgconfig ${CMAKE_INSTALL_FULL_DATADIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
file(RELATIVE_PATH includedir_from_prefix ${CMAKE_INSTALL_PREFIX} ${CMAKE_INSTALL_FULL_INCLUDEDIR})
string(REGEX REPLACE "/$" "" prefix_from_pkgconfig ${prefix_from_pkgconfig})
configure_file(cmake/evenkeel.pc.in evenkeel.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/evenkeel.pc DESTINATION ${pkgconfig_dir})
