// Gradients of the examples' layers: backward beside central differences.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "../../examples/kit/initial.hpp"
#include "../../examples/kit/random.hpp"
#include "../../examples/kit/types.hpp"
#include "finite_differences.hpp"

namespace ek_test {

using namespace kit;

inline Matrix<double> random_matrix(Index rows, Index columns, std::uint64_t seed) {
  Random random(seed);
  return normal_matrix<double>(rows, columns, 1, random);
}

/// A gradient by backward beside the one by central differences.
struct Gradient {
  std::string of;
  std::vector<double> got, expected;
};

/// central_differences() derives 1e-7 for losses and gradients of unit size. Some gradients of a layer are 0, as that
/// of a bias in front of batch norm, so the size is that of the largest.
inline void expect_equal(const std::vector<Gradient>& gradients) {
  double largest = 0;
  for (const Gradient& gradient : gradients) {
    for (double value : gradient.expected) largest = std::max(largest, std::fabs(value));
  }
  EXPECT_GT(largest, 0.01);
  for (const Gradient& gradient : gradients) {
    ASSERT_EQ(gradient.got.size(), gradient.expected.size()) << gradient.of;
    for (std::size_t i = 0; i < gradient.got.size(); ++i) {
      EXPECT_NEAR(gradient.got[i], gradient.expected[i], 1e-7 * largest) << gradient.of << ' ' << i;
    }
  }
}

template <typename T>
std::vector<double> to_vector(const T& values) {
  return {values.data(), values.data() + values.size()};
}

/// Gradients of the loss sum(weights y) by the parameters and by x. Each forward runs on a copy of the layer, so that
/// dropout draws the same mask each time.
template <typename Layer, typename T>
void expect_gradients(Layer layer, T x) {
  Layer probe = layer;
  auto weights = layer.forward(x);
  flat(weights) = random_matrix(weights.size(), 1, 7).array();
  const T dx = layer.backward(weights);
  const auto loss = [&] {
    Layer copy = probe;
    return (flat(copy.forward(x)) * flat(weights)).sum();
  };

  std::vector<Gradient> gradients;
  const auto grads = layer.parameters();
  for (std::size_t k = 0; k < grads.size(); ++k) {
    auto value = probe.parameters()[k].value;
    gradients.push_back({grads[k].name, to_vector(grads[k].grad), central_differences(value, loss)});
  }
  auto x_values = flat(x);
  gradients.push_back({"x", to_vector(dx), central_differences(x_values, loss)});
  expect_equal(gradients);
}

}  // namespace ek_test
