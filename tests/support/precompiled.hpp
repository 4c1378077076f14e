// What nearly all tests include, for the compiler to parse once.
#define EIGEN_USE_THREADS

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <evenkeel/evenkeel.hpp>
#include <functional>
#include <string>
#include <unsupported/Eigen/CXX11/Tensor>
#include <vector>
