// Eigen's forward-mode autodiff through the layers: what it says of forward is what backward says.
#include <gtest/gtest.h>

#include <Eigen/Core>
#include <cmath>
#include <cstdint>
#include <evenkeel/evenkeel.hpp>
#include <string>
#include <unsupported/Eigen/AutoDiff>
#include <vector>

#include "support/contract.hpp"
#include "support/data.hpp"

namespace ek_test {
namespace {

constexpr int kOrder = Eigen::RowMajor;
const Shape kShape = {4, 2, 3};
constexpr int kSize = 24;
constexpr int kInputs = kSize + 2 * 6;  // x, then up to 6 gammas, then as many betas

template <typename Derivatives>
Derivatives unit(int i) {
  Derivatives result = Derivatives::Zero(kInputs);
  result[i] = 1;
  return result;
}

template <typename AutoDiff, typename Plain>
void expect_same_derivatives(AutoDiff with_derivatives, Plain plain) {
  using Scalar = std::decay_t<decltype(with_derivatives.gamma()[0])>;
  using Derivatives = std::decay_t<decltype(std::declval<Scalar>().derivatives())>;
  randomize_parameters(plain);
  const std::vector<double> x = random_values<double>(kSize, 2, 1, 1),
                            weights = random_values<double>(kSize, 0.5, 1, 2);
  std::vector<double> y(kSize), dx(kSize);
  plain.forward(view<kOrder>(x.data(), kShape), view<kOrder>(y.data(), kShape));
  plain.backward(view<kOrder>(x.data(), kShape), view<kOrder>(weights.data(), kShape),
                 view<kOrder>(dx.data(), kShape));

  const int parameters = static_cast<int>(plain.gamma().size());
  const bool has_beta = plain.beta().size() > 0;
  std::vector<Scalar> ad_x, ad_y(kSize, Scalar(0)), ad_dy, ad_dx(kSize, Scalar(0));
  for (int i = 0; i < kSize; ++i) {
    ad_x.emplace_back(x[static_cast<std::size_t>(i)], unit<Derivatives>(i));
    ad_dy.emplace_back(weights[static_cast<std::size_t>(i)], Derivatives::Zero(kInputs));
  }
  for (int p = 0; p < parameters; ++p) {
    with_derivatives.gamma()[p] = Scalar(plain.gamma()[p], unit<Derivatives>(kSize + p));
    if (has_beta)
      with_derivatives.beta()[p] = Scalar(plain.beta()[p], unit<Derivatives>(kSize + parameters + p));
  }
  with_derivatives.forward(view<kOrder>(ad_x.data(), kShape), view<kOrder>(ad_y.data(), kShape));

  Derivatives gradient = Derivatives::Zero(kInputs);  // of sum(weights * y)
  for (std::size_t i = 0; i < kSize; ++i) {
    EXPECT_NEAR(ad_y[i].value(), y[i], 1e-13);
    gradient += weights[i] * ad_y[i].derivatives();
  }
  // Two sums of 24 terms of size 1, rounded in two different orders.
  for (int i = 0; i < kSize; ++i)
    EXPECT_NEAR(gradient[i], dx[static_cast<std::size_t>(i)], 1e-13) << "x " << i;
  for (int p = 0; p < parameters; ++p) {
    EXPECT_NEAR(gradient[kSize + p], plain.grad_gamma()[p], 1e-13) << "gamma " << p;
    if (has_beta) {
      EXPECT_NEAR(gradient[kSize + parameters + p], plain.grad_beta()[p], 1e-13) << "beta " << p;
    }
  }

  // backward and infer take such scalars too; infer leaves derivatives with respect to x.
  with_derivatives.backward(view<kOrder>(ad_x.data(), kShape), view<kOrder>(ad_dy.data(), kShape),
                            view<kOrder>(ad_dx.data(), kShape));
  for (std::size_t i = 0; i < kSize; ++i) EXPECT_NEAR(ad_dx[i].value(), dx[i], 1e-13);
  for (int p = 0; p < parameters; ++p)
    EXPECT_NEAR(with_derivatives.grad_gamma()[p].value(), plain.grad_gamma()[p], 1e-13);
  plain.infer(view<kOrder>(x.data(), kShape), view<kOrder>(y.data(), kShape));
  with_derivatives.infer(view<kOrder>(ad_x.data(), kShape), view<kOrder>(ad_y.data(), kShape));
  for (std::size_t i = 0; i < kSize; ++i) EXPECT_NEAR(ad_y[i].value(), y[i], 1e-13);
  EXPECT_GT(std::fabs(ad_y[0].derivatives()[0]), 1e-3);
}

template <typename Derivatives>
class AutoDiff : public ::testing::Test {};

using DerivativeTypes = ::testing::Types<Eigen::VectorXd, Eigen::Matrix<double, kInputs, 1>>;
struct SizeName {
  template <typename Derivatives>
  static std::string GetName(int) {
    return Derivatives::SizeAtCompileTime == Eigen::Dynamic ? "dynamic" : "fixed";
  }
};
TYPED_TEST_SUITE(AutoDiff, DerivativeTypes, SizeName);

TYPED_TEST(AutoDiff, ThroughBatchNorm) {
  using Scalar = Eigen::AutoDiffScalar<TypeParam>;
  expect_same_derivatives(ek::BatchNorm<Scalar>(2), ek::BatchNorm<double>(2));
}

TYPED_TEST(AutoDiff, ThroughLayerNorm) {
  using Scalar = Eigen::AutoDiffScalar<TypeParam>;
  expect_same_derivatives(ek::LayerNorm<Scalar>(3), ek::LayerNorm<double>(3));
  expect_same_derivatives(ek::LayerNorm<Scalar>(std::vector<Index>{2, 3}),
                          ek::LayerNorm<double>(std::vector<Index>{2, 3}));
}

TYPED_TEST(AutoDiff, ThroughRMSNorm) {
  using Scalar = Eigen::AutoDiffScalar<TypeParam>;
  expect_same_derivatives(ek::RMSNorm<Scalar>(3), ek::RMSNorm<double>(3));
}

TYPED_TEST(AutoDiff, ThroughGroupNorm) {
  using Scalar = Eigen::AutoDiffScalar<TypeParam>;
  expect_same_derivatives(ek::GroupNorm<Scalar>(1, 2), ek::GroupNorm<double>(1, 2));
}

TYPED_TEST(AutoDiff, ThroughInstanceNorm) {
  using Scalar = Eigen::AutoDiffScalar<TypeParam>;
  ek::InstanceNormOptions options;
  options.affine = true;
  for (bool tracks : {false, true}) {
    options.track_running_stats = tracks;
    expect_same_derivatives(ek::InstanceNorm<Scalar>(2, options), ek::InstanceNorm<double>(2, options));
  }
}

// Scalars of a size that does not divide a line of the cache, in rows of whole lines, so many that vectors would be
// streamed: nothing is written behind them.
TEST(AutoDiffOfTwelveBytes, StaysInsideItsRows) {
  using Scalar = Eigen::AutoDiffScalar<Eigen::Vector2f>;
  static_assert(sizeof(Scalar) == 12);
  constexpr std::size_t kRows = 20000, kFeatures = 16, kValues = kRows * kFeatures, kBehind = 32;
  const std::vector<float> plain_x = random_values<float>(kValues, 2, 1, 1);
  std::vector<float> plain_y(kValues);
  ek::LayerNorm<float>(kFeatures).infer(view<kOrder>(plain_x.data(), {kRows, kFeatures}),
                                        view<kOrder>(plain_y.data(), {kRows, kFeatures}));
  std::vector<Scalar> x, memory(kValues + kBehind, Scalar(-7.0f));
  for (const float value : plain_x) x.emplace_back(value, Eigen::Vector2f::Zero());
  std::size_t at = 0;
  while (reinterpret_cast<std::uintptr_t>(&memory[at]) % 64 != 0 && at < 15) ++at;
  Scalar* y = &memory[at];
  ek::LayerNorm<Scalar>(kFeatures).infer(view<kOrder>(x.data(), {kRows, kFeatures}),
                                         view<kOrder>(y, {kRows, kFeatures}));
  for (std::size_t i = 0; i < kValues; ++i) ASSERT_NEAR(y[i].value(), plain_y[i], 1e-5) << i;
  for (const Scalar* end = y + kValues; end < memory.data() + memory.size(); ++end)
    EXPECT_EQ(end->value(), -7);
}

}  // namespace
}  // namespace ek_test
