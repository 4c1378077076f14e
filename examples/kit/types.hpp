#pragma once

#include <Eigen/Core>
#include <unsupported/Eigen/CXX11/Tensor>
#include <vector>

namespace kit {

using Eigen::Index;

template <typename Scalar>
using Vector = Eigen::Array<Scalar, Eigen::Dynamic, 1>;
template <typename Scalar>
using Matrix = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;  // one sample a row
template <typename Scalar>
using Tensor = Eigen::Tensor<Scalar, 4, Eigen::RowMajor>;  // N, C, H, W

/// What an optimizer needs, under the names that every evenkeel layer uses.
template <typename Scalar>
struct Parameter {
  const char* name;
  Eigen::Map<Vector<Scalar>> value, grad;
};
template <typename Scalar>
using Parameters = std::vector<Parameter<Scalar>>;

template <typename T>
Parameter<typename T::Scalar> parameter(const char* name, T& value, T& grad) {
  return {name, {value.data(), value.size()}, {grad.data(), grad.size()}};
}

/// The parameters of several layers, in their order.
template <typename First, typename... Layers>
auto parameters_of(First& first, Layers&... layers) {
  auto all = first.parameters();
  const auto append = [&](const auto& more) { all.insert(all.end(), more.begin(), more.end()); };
  (append(layers.parameters()), ...);
  return all;
}

/// All values of a matrix or a tensor, in the order of memory.
template <typename T>
Eigen::Map<Vector<typename T::Scalar>> flat(T& values) {
  return {values.data(), values.size()};
}
template <typename T>
Eigen::Map<const Vector<typename T::Scalar>> flat(const T& values) {
  return {values.data(), values.size()};
}

}  // namespace kit
