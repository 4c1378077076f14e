if(NOT TARGET Eigen3::Eigen)
  include(CMakeFindDependencyMacro)
  find_dependency(Eigen3 CONFIG)

  if(Eigen3_VERSION AND Eigen3_VERSION VERSION_LESS 3.4)
    set(evenkeel_FOUND FALSE)
    set(evenkeel_NOT_FOUND_MESSAGE "evenkeel needs Eigen 3.4 or newer, found ${Eigen3_VERSION} in ${Eigen3_DIR}")
    return()
  endif()
endif()

include("${CMAKE_CURRENT_LIST_DIR}/evenkeelTargets.cmake")
