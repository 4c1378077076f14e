// What all snippets need, compiled once.
#include <Eigen/Core>
#include <complex>
#include <evenkeel/evenkeel.hpp>
#include <unsupported/Eigen/CXX11/Tensor>
#include <vector>
