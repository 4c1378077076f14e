include(CMakeFindDependencyMacro)
find_dependency(evenkeel CONFIG)
include("${CMAKE_CURRENT_LIST_DIR}/standardizeTargets.cmake")
