// Batch norm's inference folded into the weights before it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <evenkeel/evenkeel.hpp>
#include <evenkeel/fold.hpp>
#include <limits>
#include <string>
#include <type_traits>
#include <unsupported/Eigen/CXX11/Tensor>
#include <vector>

#include "support/contract.hpp"
#include "support/data.hpp"
#include "support/same.hpp"

namespace ek_test {
namespace {

template <typename Scalar>
ek::BatchNorm<Scalar> trained_layer(Index channels, bool affine = true) {
  ek::BatchNormOptions options;
  options.affine = affine;
  options.axis = 0;
  ek::BatchNorm<Scalar> layer(channels, options);
  randomize_parameters(layer);
  layer.running_mean().setLinSpaced(channels, ek::ParamOf<Scalar>(-2), ek::ParamOf<Scalar>(3));
  layer.running_var().setLinSpaced(channels, ek::ParamOf<Scalar>(0.25), ek::ParamOf<Scalar>(4));
  return layer;
}

template <typename C>
class Fold : public ::testing::Test {
 protected:
  using S = typename C::Scalar;
  using Matrix = Eigen::Matrix<S, Eigen::Dynamic, Eigen::Dynamic, C::kOrder>;
  using Vector = Eigen::Matrix<S, Eigen::Dynamic, 1>;

  static Matrix random_matrix(Index rows, Index columns, unsigned seed) {
    Matrix result(rows, columns);
    const std::vector<S> values = random_values<S>(result.size(), 0, 1, seed);
    std::copy(values.begin(), values.end(), result.data());
    return result;
  }

  // Of each weight and of the bias. The scale is a double: of double it has two roundings of its own.
  static constexpr Real kHalfUnit =
      std::numeric_limits<S>::epsilon() / 2 * Real(std::is_same_v<S, float> ? 1.001L : 3);

  static void expect_same_outputs(const ek::BatchNorm<S>& layer, const Matrix& weight, const Vector& bias,
                                  const Matrix& folded, const Vector& folded_bias) {
    const Matrix x = random_matrix(weight.cols(), 9, 5);
    using Exact = Eigen::Matrix<Real, Eigen::Dynamic, Eigen::Dynamic>;
    const Exact plain = (weight.template cast<Real>() * x.template cast<Real>()).colwise() +
                        bias.template cast<Real>().eval();
    const Exact got = (folded.template cast<Real>() * x.template cast<Real>()).colwise() +
                      folded_bias.template cast<Real>().eval();
    for (Index o = 0; o < weight.rows(); ++o) {
      const Real inv_std = 1 / std::sqrt(static_cast<Real>(layer.running_var()[o]) + Real(1e-5));
      const Real gamma = layer.gamma().size() > 0 ? static_cast<Real>(layer.gamma()[o]) : 1,
                 beta = layer.beta().size() > 0 ? static_cast<Real>(layer.beta()[o]) : 0;
      for (Index i = 0; i < 9; ++i) {
        const Real y = (plain(o, i) - static_cast<Real>(layer.running_mean()[o])) * gamma * inv_std + beta;
        // What rounding the weights and the bias moves, if the dot product is exact.
        Real moves = std::fabs(static_cast<Real>(folded_bias[o]));
        for (Index k = 0; k < weight.cols(); ++k)
          moves += std::fabs(static_cast<Real>(folded(o, k)) * static_cast<Real>(x(k, i)));
        EXPECT_LE(std::fabs(got(o, i) - y), moves * kHalfUnit);
        EXPECT_LE(std::fabs(got(o, i) - y), Tolerance<S>::y * std::fmax(1, moves));
      }
    }
  }
};

TYPED_TEST_SUITE(Fold, VectorCases, CaseName);

TYPED_TEST(Fold, GivesTheOutputsOfInfer) {
  using Scalar = typename TypeParam::Scalar;
  for (bool affine : {true, false}) {
    const auto layer = trained_layer<Scalar>(7, affine);
    const auto weight = this->random_matrix(7, 13, 1);
    const typename TestFixture::Vector bias = this->random_matrix(7, 1, 2).col(0);
    auto folded = weight;
    auto folded_bias = bias;
    ek::fold(layer, folded, folded_bias);
    this->expect_same_outputs(layer, weight, bias, folded, folded_bias);
    // Without a bias there is one then.
    folded = weight;
    typename TestFixture::Vector none;
    ek::fold(layer, folded, none, 0);
    this->expect_same_outputs(layer, weight, TestFixture::Vector::Zero(7), folded, none);
  }
}

TYPED_TEST(Fold, UnfoldGivesTheWeightsBack) {
  using Scalar = typename TypeParam::Scalar;
  const auto layer = trained_layer<Scalar>(7);
  const auto weight = this->random_matrix(7, 13, 1);
  const typename TestFixture::Vector bias = this->random_matrix(7, 1, 2).col(0);
  auto again = weight;
  auto again_bias = bias;
  ek::fold(layer, again, again_bias);
  ek::unfold(layer, again, again_bias);
  // Two roundings to Scalar; of double also those of the inverse scale and of the products.
  constexpr Scalar kUnits = std::numeric_limits<Scalar>::epsilon() * (std::is_same_v<Scalar, float> ? 1 : 3);
  for (Index i = 0; i < weight.size(); ++i)
    EXPECT_NEAR(again.data()[i], weight.data()[i], kUnits * std::fabs(weight.data()[i])) << i;
  for (Index o = 0; o < 7; ++o) {  // which went through (bias - mean) scale + beta
    const Scalar scale = layer.gamma()[o] / std::sqrt(layer.running_var()[o]);
    const Scalar size =
        std::fabs(bias[o]) + std::fabs(layer.running_mean()[o]) + std::fabs(layer.beta()[o] / scale);
    EXPECT_NEAR(again_bias[o], bias[o], kUnits * size) << o;
  }
}

// Of a convolution: output channels on any axis of a tensor of any layout.
TYPED_TEST(Fold, TakesAnyOutputAxis) {
  using Scalar = typename TypeParam::Scalar;
  using Tensor = Eigen::Tensor<Scalar, 4, TypeParam::kOrder>;
  for (Index axis = -4; axis < 4; ++axis) {
    const std::size_t its = at(axis < 0 ? axis + 4 : axis);
    Eigen::array<Index, 4> dimensions{3, 4, 5, 2};
    const Index channels = dimensions[its];
    const auto layer = trained_layer<Scalar>(channels);
    Tensor weight(dimensions);
    const std::vector<Scalar> values = random_values<Scalar>(weight.size(), 0, 1, 1);
    std::copy(values.begin(), values.end(), weight.data());
    Tensor folded = weight;
    Eigen::Array<Scalar, Eigen::Dynamic, 1> bias;
    ek::fold(layer, folded, bias, axis);
    Eigen::array<Index, 4> i;
    for (i[0] = 0; i[0] < 3; ++i[0])
      for (i[1] = 0; i[1] < 4; ++i[1])
        for (i[2] = 0; i[2] < 5; ++i[2])
          for (i[3] = 0; i[3] < 2; ++i[3]) {
            const Index c = i[its];
            const Real scale = static_cast<Real>(layer.gamma()[c]) /
                               std::sqrt(static_cast<Real>(layer.running_var()[c]) + Real(1e-5));
            const Real expected = static_cast<Real>(weight(i)) * scale;
            ASSERT_NEAR(static_cast<double>(folded(i)), static_cast<double>(expected),
                        static_cast<double>(std::fabs(expected)) *
                            static_cast<double>(std::numeric_limits<Scalar>::epsilon()) * 2);
          }
  }
}

// A tracking instance norm infers as batch norm does; half weights have a float bias or their own.
TEST(FoldOf, InstanceNormAndHalf) {
  ek::InstanceNormOptions options;
  options.track_running_stats = true;
  ek::InstanceNorm<Eigen::half> layer(2, options);
  layer.running_mean() << 1, 2;
  layer.running_var() << 4, 0.25;
  const float scale[] = {1 / std::sqrt(4 + 1e-5f), 1 / std::sqrt(0.25f + 1e-5f)};
  std::vector<Eigen::half> weight(6, Eigen::half(3)), half_bias(2, Eigen::half(5));
  std::vector<float> bias(2, 5);
  ek::fold(layer, ek::view(weight.data(), {2, 3}), ek::view(bias.data(), {2}));
  for (int i = 0; i < 6; ++i)
    EXPECT_EQ(static_cast<float>(weight[at(i)]), static_cast<float>(Eigen::half(3 * scale[i / 3])));
  for (int o = 0; o < 2; ++o) EXPECT_NEAR(bias[at(o)], (5 - static_cast<float>(o + 1)) * scale[o], 1e-6);
  ek::fold(layer, ek::view(weight.data(), {2, 3}), ek::view(half_bias.data(), {2}));
  for (int o = 0; o < 2; ++o)
    EXPECT_EQ(static_cast<float>(half_bias[at(o)]), static_cast<float>(Eigen::half(bias[at(o)])));
}

class FoldErrors : public ::testing::Test {
 protected:
  /// Refused with this text, and nothing is written.
  template <typename Call>
  void expect_refused(const std::string& text, Call call) {
    const Eigen::MatrixXf weight_before = weight;
    const Eigen::VectorXf bias_before = bias;
    EXPECT_EQ(refusal(call), text);
    EXPECT_EQ(weight, weight_before);
    EXPECT_EQ(bias, bias_before);
  }

  ek::BatchNorm<float> layer = trained_layer<float>(4);
  Eigen::MatrixXf weight = Eigen::MatrixXf::Random(4, 3);
  Eigen::VectorXf bias = Eigen::VectorXf::Random(4);
};

TEST_F(FoldErrors, NameTheRuleAndBothNumbers) {
  expect_refused("evenkeel::fold: weight has 3 channels on axis 1 of [4, 3], expected 4",
                 [&] { ek::fold(layer, weight, bias, 1); });
  expect_refused("evenkeel::fold: output_axis is 2, must lie in [-2, 1] for weight [4, 3]",
                 [&] { ek::fold(layer, weight, bias, 2); });
  Eigen::VectorXf five = Eigen::VectorXf::Zero(5);
  expect_refused("evenkeel::fold: bias has 5 values, expected 4", [&] { ek::fold(layer, weight, five); });
  Eigen::VectorXf none;
  ek::fold(layer, weight, none);
  EXPECT_EQ(none.size(), 4);
  expect_refused("evenkeel::fold: bias overlaps weight",
                 [&] { ek::fold(layer, weight, Eigen::Map<Eigen::VectorXf>(weight.data(), 4)); });
  layer.running_var()[2] = -1;
  expect_refused("evenkeel::fold: running_var[2] is -1, must be finite and >= 0",
                 [&] { ek::fold(layer, weight, bias); });
  layer.running_var().setOnes(3);
  expect_refused("evenkeel::fold: running_var has 3 values, expected 4",
                 [&] { ek::fold(layer, weight, bias); });
  ek::BatchNormOptions options;
  options.track_running_stats = false;
  expect_refused("evenkeel::fold: the layer tracks no running statistics",
                 [&] { ek::fold(ek::BatchNorm<float>(4, options), weight, bias); });
}

TEST_F(FoldErrors, OfNumbersThatWouldNotBeFinite) {
  layer.gamma()[3] = 1e30f;
  weight(3, 2) = 1e20f;
  expect_refused("evenkeel::fold: weight of channel 3 would no longer be finite",
                 [&] { ek::fold(layer, weight, bias); });
  weight.setZero();
  bias[3] = -1e20f;
  expect_refused("evenkeel::fold: bias of channel 3 would no longer be finite",
                 [&] { ek::fold(layer, weight, bias); });
  bias[3] = std::numeric_limits<float>::infinity();  // which it is not now
  ek::fold(layer, weight, bias);
  EXPECT_EQ(bias[3], std::numeric_limits<float>::infinity());
}

TEST_F(FoldErrors, WhatIsZeroCannotBeUnfolded) {
  layer.gamma()[1] = 0;
  ek::fold(layer, weight, bias);
  EXPECT_EQ(weight.row(1).norm(), 0);
  expect_refused(
      "evenkeel::unfold: gamma / sqrt(running_var + epsilon) of channel 1 is 0, which cannot be unfolded",
      [&] { ek::unfold(layer, weight, bias); });
}

}  // namespace
}  // namespace ek_test
