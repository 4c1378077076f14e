// What only RMS norm has: no mean and no beta, and a gradient of one value.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <evenkeel/evenkeel.hpp>
#include <limits>
#include <string>
#include <unsupported/Eigen/CXX11/Tensor>
#include <vector>

#include "support/contract.hpp"
#include "support/data.hpp"
#include "support/same.hpp"
#include "support/state.hpp"

namespace ek_test {
namespace {

ek::RMSNormOptions with_epsilon(double epsilon) {
  ek::RMSNormOptions options;
  options.epsilon = epsilon;
  return options;
}

// Rows of 1, 7 and of 0, 10 with epsilon 0: their roots of mean squares are 5 and sqrt 50.
TEST(RMSNorm, DividesRowsByTheRootOfTheirMeanSquare) {
  ek::RMSNorm<double> layer(2, with_epsilon(0));
  layer.gamma() << 10, 100;
  std::vector<double> x = {1, 7, 0, 10}, y(4);
  layer.forward(view<Eigen::RowMajor>(x.data(), {2, 2}), view<Eigen::RowMajor>(y.data(), {2, 2}));
  const std::vector<double> expected = {2, 140, 0, 100 * std::sqrt(2)};
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(y[i], expected[i], 1e-12) << i;
  EXPECT_DOUBLE_EQ(layer.saved_inv_std()[0], 0.2);
  EXPECT_DOUBLE_EQ(layer.saved_inv_std()[1], 1 / std::sqrt(50));
}

TEST(RMSNorm, HasNoBetaAndNoMean) {
  ek::RMSNorm<float> layer(6);
  Eigen::Tensor<float, 2, Eigen::RowMajor> x(3, 6);
  x.setRandom();
  layer.backward(x, layer.forward(x));
  EXPECT_EQ(layer.beta().size(), 0);
  EXPECT_EQ(layer.grad_beta().size(), 0);
  EXPECT_EQ(layer.saved_mean().size(), 0);
  EXPECT_EQ(layer.saved_inv_std().size(), 3);
  int count = 0;
  for (auto p : layer.parameters()) {
    EXPECT_EQ(std::string(p.name), "gamma");
    ++count;
  }
  EXPECT_EQ(count, 1);
}

/// y = x / sqrt(x^2 + epsilon), so dx = epsilon / sqrt(x^2 + epsilon)^3, which is not 0 as layer norm's is.
template <typename Scalar>
void expect_gradient_of_one_value(Index rows) {
  constexpr double kEpsilon = 0.25, kGamma = 1.75;
  ek::RMSNorm<Scalar> layer(1, with_epsilon(kEpsilon));
  layer.gamma()[0] = Scalar(kGamma);
  Eigen::Tensor<Scalar, 2, Eigen::RowMajor> x(rows, 1), dy(rows, 1);
  x.setRandom();
  dy.setRandom();
  const auto y = layer.forward(x), dx = layer.backward(x, dy);
  for (Index i = 0; i < rows; ++i) {
    const Real value = x(i, 0), root = std::sqrt(value * value + kEpsilon);
    EXPECT_LE(std::fabs(y(i, 0) - kGamma * value / root), Tolerance<Scalar>::y * kGamma) << i;
    // The scale of dx is |gamma dy inv_std|, at most 1.75 / 0.5.
    EXPECT_LE(std::fabs(dx(i, 0) - kGamma * dy(i, 0) * kEpsilon / (root * root * root)),
              Tolerance<Scalar>::x * 3.5L)
        << i;
    EXPECT_GT(std::fabs(dx(i, 0)), std::fabs(dy(i, 0)) / 100) << i;
  }
}
TEST(RMSNorm, OneValueHasAGradient) {
  for (const Index rows : {1, 2, 37}) {
    expect_gradient_of_one_value<float>(rows);
    expect_gradient_of_one_value<double>(rows);
  }
}

/// Without epsilon a row of zeros has no root to divide by: y is 0, and so is dx, beside rows that are as ever.
template <typename Scalar>
void expect_zeros_of_zeros(Index features) {
  SCOPED_TRACE(features);
  ek::RMSNorm<Scalar> layer(features, with_epsilon(0));
  const Shape shape = {5, features};
  std::vector<Scalar> x = random_values<Scalar>(size_of(shape), 0, 1, 1), y(x.size()), dx(x.size());
  const std::vector<Scalar> dy = random_values<Scalar>(size_of(shape), 0, 1, 2);
  std::fill_n(x.begin() + 2 * features, features, Scalar(0));
  layer.forward(view<Eigen::RowMajor>(x.data(), shape), view<Eigen::RowMajor>(y.data(), shape));
  layer.backward(view<Eigen::RowMajor>(x.data(), shape), view<Eigen::RowMajor>(dy.data(), shape),
                 view<Eigen::RowMajor>(dx.data(), shape));
  for (Index i = 0; i < size_of(shape); ++i) {
    const bool is_zero = i / features == 2;
    EXPECT_EQ(y[at(i)] == 0, is_zero) << i;
    EXPECT_TRUE(std::isfinite(y[at(i)])) << i;
    EXPECT_TRUE(std::isfinite(dx[at(i)])) << i;
  }
}
TEST(RMSNorm, ZerosWithoutEpsilonGiveZeros) {
  for (const Index features : {1, 3, 8, 33, 256}) {
    expect_zeros_of_zeros<float>(features);
    expect_zeros_of_zeros<double>(features);
  }
}

// The same numbers with a mean of 0 are those of layer norm, up to rounding.
TEST(RMSNorm, IsLayerNormWhereTheMeanIsZero) {
  const Shape shape = {9, 34};
  std::vector<double> x = random_values<double>(size_of(shape), 0, 1, 1), y(x.size()), expected(x.size());
  for (std::size_t i = 0; i < x.size(); i += 2) x[i + 1] = -x[i];
  ek::RMSNorm<double> layer(34, with_epsilon(1e-5));
  ek::LayerNorm<double> with_mean(34);
  layer.forward(view<Eigen::RowMajor>(x.data(), shape), view<Eigen::RowMajor>(y.data(), shape));
  with_mean.forward(view<Eigen::RowMajor>(x.data(), shape), view<Eigen::RowMajor>(expected.data(), shape));
  for (std::size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(y[i], expected[i], 1e-13) << i;
}

TEST(RMSNorm, RefusesWhatIsNotThere) {
  ek::RMSNorm<float> layer(std::vector<Index>{6, 5});
  const Buffer<float> x(random_values<float>(120, 0, 1, 1));
  Buffer<float> y(120);
  const auto forward = [&](const Shape& shape) {
    layer.forward(view<Eigen::RowMajor>(x, shape), view<Eigen::RowMajor>(y, shape));
  };
  expect_refused(layer, y, {"evenkeel::RMSNorm::forward:", "[4, 5, 6]", "6", "5"}, [&] {
    forward({4, 5, 6});
  });
  expect_refused(layer, y, {"evenkeel::RMSNorm::forward:", "[120]", "2"}, [&] { forward({120}); });
  EXPECT_TRUE(says(refusal([] { ek::RMSNorm<float>(-3); }), {"evenkeel::RMSNorm::RMSNorm:", "-3"}));
  EXPECT_TRUE(says(refusal([] { ek::RMSNorm<float>(3, with_epsilon(-1)); }),
                   {"evenkeel::RMSNorm::RMSNorm:", "epsilon", "-1", "0"}));
  EXPECT_TRUE(
      says(refusal([] { ek::RMSNorm<float>(std::vector<Index>{}); }), {"evenkeel::RMSNorm::RMSNorm:"}));
}

TEST(RMSNorm, HasTheDocumentedDefaultsInTheDocumentedOrder) {
  const ek::RMSNormOptions defaults, options{1e-3, 2, false};
  EXPECT_EQ(defaults.epsilon, 1e-6);
  EXPECT_FALSE(defaults.axis.has_value());
  EXPECT_TRUE(defaults.affine);
  EXPECT_EQ(options.axis, 2);
  EXPECT_FALSE(options.affine);
}

}  // namespace
}  // namespace ek_test
