#pragma once
#define EIGEN_WORLD_VERSION 3
#define EIGEN_MAJOR_VERSION 3
#define EIGEN_MINOR_VERSION 9
#define EIGEN_VERSION_AT_LEAST(x, y, z) \
  (3 > x || (3 == x && (3 > y || (3 == y && 9 >= z))))
