// The free functions give the layers' bits: they are what the layers call.
#include <gtest/gtest.h>

#include <Eigen/Core>
#include <evenkeel/evenkeel.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/contract.hpp"
#include "support/data.hpp"
#include "support/same.hpp"

namespace ek_test {
namespace {

template <typename C>
class FreeFunctions : public ::testing::Test {
 protected:
  using S = typename C::Scalar;
  using Moments = ek::Moments<double>;

  const Eigen::DefaultDevice device{};
  const Shape shape = {4, 6, 35};
  const Index size = 840;
  const Buffer<S> x{random_values<S>(size, 100, 1, 1)}, dy{random_values<S>(size, 0.5, 1, 2)};
  Buffer<S> y{size}, dx{size}, layer_y{size}, layer_dx{size};
  Moments moments;
  Eigen::Array<S, Eigen::Dynamic, 1> grad_gamma, grad_beta;

  auto x_view() const { return view<C::kOrder>(x, shape); }
  auto dy_view() const { return view<C::kOrder>(dy, shape); }
  auto view_of(Buffer<S>& buffer) const { return view<C::kOrder>(buffer, shape); }

  /// What the layer makes of it, in layer_y and layer_dx.
  template <typename Layer>
  void run(Layer& layer) {
    layer.forward(device, x_view(), view_of(layer_y));
    layer.backward(device, x_view(), dy_view(), view_of(layer_dx));
  }

  template <typename Layer>
  void expect_equal(const Layer& layer) {
    EXPECT_TRUE(same_bits(y.values(), layer_y.values()));
    EXPECT_TRUE(same_bits(dx.values(), layer_dx.values()));
    EXPECT_TRUE(same_bits(moments.mean, layer.saved_mean()));
    EXPECT_TRUE(same_bits(moments.inv_std, layer.saved_inv_std()));
    EXPECT_TRUE(same_bits(grad_gamma, layer.grad_gamma()));
    EXPECT_TRUE(same_bits(grad_beta, layer.grad_beta()));
    // variance is the biased one, and mean + mean_low the mean to twice the precision.
    EXPECT_EQ(moments.variance.size(), moments.mean.size());
    EXPECT_EQ(moments.mean_low.size(), moments.mean.size());
    for (Index set = 0; set < moments.mean.size(); ++set)
      EXPECT_NEAR(moments.inv_std[set] * std::sqrt(moments.variance[set] + 1e-5), 1, 1e-15 * 4);
  }

  template <typename Layer>
  void expect_inferred(const Layer& layer) {
    layer.infer(device, x_view(), view_of(layer_y));
    EXPECT_TRUE(same_bits(y.values(), layer_y.values()));
  }
};

TYPED_TEST_SUITE(FreeFunctions, VectorCases, CaseName);

TYPED_TEST(FreeFunctions, OfBatchNorm) {
  using Scalar = typename TypeParam::Scalar;
  for (bool affine : {true, false}) {
    ek::BatchNormOptions options;
    options.affine = affine;
    ek::BatchNorm<Scalar> layer(6, options);
    randomize_parameters(layer);
    this->run(layer);
    batch_norm_forward(this->device, this->x_view(), layer.gamma(), layer.beta(), options,
                       this->view_of(this->y), this->moments);
    batch_norm_backward(this->device, this->x_view(), this->dy_view(), layer.gamma(), this->moments, options,
                        this->view_of(this->dx), this->grad_gamma, this->grad_beta);
    if (!affine) this->grad_gamma.resize(0), this->grad_beta.resize(0);
    this->expect_equal(layer);
    layer.set_running_stats(
        layer.running_mean().template cast<ek::StatisticOf<Scalar>>(),
        layer.running_var().template cast<ek::StatisticOf<Scalar>>());  // has no more digits
    batch_norm_infer(this->device, this->x_view(), layer.gamma(), layer.beta(), layer.running_mean(),
                     layer.running_var(), options, this->view_of(this->y));
    this->expect_inferred(layer);
  }
}

TYPED_TEST(FreeFunctions, OfLayerNormOnOneAxis) {
  using Scalar = typename TypeParam::Scalar;
  for (Index axis : {0, 1, 2}) {
    ek::LayerNormOptions options;
    options.axis = axis;
    ek::LayerNorm<Scalar> layer(this->shape[at(axis)], options);
    randomize_parameters(layer);
    this->run(layer);
    layer_norm_forward(this->device, this->x_view(), layer.gamma(), layer.beta(), options,
                       this->view_of(this->y), this->moments);
    layer_norm_backward(this->device, this->x_view(), this->dy_view(), layer.gamma(), this->moments, options,
                        this->view_of(this->dx), this->grad_gamma, this->grad_beta);
    this->expect_equal(layer);
    layer_norm_infer(this->device, this->x_view(), layer.gamma(), layer.beta(), options,
                     this->view_of(this->y));
    this->expect_inferred(layer);
  }
}

TYPED_TEST(FreeFunctions, OfLayerNormOnSeveralAxes) {
  using Scalar = typename TypeParam::Scalar;
  const std::vector<Index> normalized_shape = {6, 35};
  for (bool bias : {true, false}) {
    ek::LayerNormOptions options;
    options.bias = bias;
    ek::LayerNorm<Scalar> layer(normalized_shape, options);
    randomize_parameters(layer);
    this->run(layer);
    layer_norm_forward(this->device, this->x_view(), normalized_shape, layer.gamma(), layer.beta(), options,
                       this->view_of(this->y), this->moments);
    layer_norm_backward(this->device, this->x_view(), this->dy_view(), normalized_shape, layer.gamma(),
                        this->moments, options, this->view_of(this->dx), this->grad_gamma, this->grad_beta);
    if (!bias) this->grad_beta.resize(0);
    this->expect_equal(layer);
    layer_norm_infer(this->device, this->x_view(), normalized_shape, layer.gamma(), layer.beta(), options,
                     this->view_of(this->y));
    this->expect_inferred(layer);
  }
}

TYPED_TEST(FreeFunctions, OfRMSNorm) {
  using Scalar = typename TypeParam::Scalar;
  for (const bool one_axis : {true, false}) {
    ek::RMSNormOptions options;
    options.axis = 1;
    const std::vector<Index> features = one_axis ? std::vector<Index>{6} : std::vector<Index>{6, 35};
    ek::RMSNorm<Scalar> layer(features, options);
    randomize_parameters(layer);
    this->run(layer);
    if (one_axis) {
      rms_norm_forward(this->device, this->x_view(), layer.gamma(), options, this->view_of(this->y),
                       this->moments);
      rms_norm_backward(this->device, this->x_view(), this->dy_view(), layer.gamma(), this->moments, options,
                        this->view_of(this->dx), this->grad_gamma);
    } else {
      rms_norm_forward(this->device, this->x_view(), features, layer.gamma(), options, this->view_of(this->y),
                       this->moments);
      rms_norm_backward(this->device, this->x_view(), this->dy_view(), features, layer.gamma(), this->moments,
                        options, this->view_of(this->dx), this->grad_gamma);
    }
    EXPECT_TRUE(same_bits(this->y.values(), this->layer_y.values()));
    EXPECT_TRUE(same_bits(this->dx.values(), this->layer_dx.values()));
    EXPECT_TRUE(same_bits(this->moments.inv_std, layer.saved_inv_std()));
    EXPECT_TRUE(same_bits(this->grad_gamma, layer.grad_gamma()));
    for (Index set = 0; set < this->moments.mean.size(); ++set) EXPECT_EQ(this->moments.mean[set], 0);
    if (one_axis)
      rms_norm_infer(this->device, this->x_view(), layer.gamma(), options, this->view_of(this->y));
    else
      rms_norm_infer(this->device, this->x_view(), features, layer.gamma(), options, this->view_of(this->y));
    this->expect_inferred(layer);
  }
}

TYPED_TEST(FreeFunctions, OfGroupNorm) {
  using Scalar = typename TypeParam::Scalar;
  ek::GroupNormOptions options;
  ek::GroupNorm<Scalar> layer(3, 6, options);
  randomize_parameters(layer);
  this->run(layer);
  group_norm_forward(this->device, this->x_view(), 3, layer.gamma(), layer.beta(), options,
                     this->view_of(this->y), this->moments);
  group_norm_backward(this->device, this->x_view(), this->dy_view(), 3, layer.gamma(), this->moments, options,
                      this->view_of(this->dx), this->grad_gamma, this->grad_beta);
  this->expect_equal(layer);
  group_norm_infer(this->device, this->x_view(), 3, layer.gamma(), layer.beta(), options,
                   this->view_of(this->y));
  this->expect_inferred(layer);
}

// Parameters that lie in somebody else's memory.
TYPED_TEST(FreeFunctions, TakeMappedParameters) {
  using Scalar = typename TypeParam::Scalar;
  using Array = Eigen::Array<Scalar, Eigen::Dynamic, 1>;
  ek::BatchNorm<Scalar> layer(6);
  randomize_parameters(layer);
  this->run(layer);
  const std::vector<Scalar> gamma(layer.gamma().data(), layer.gamma().data() + 6),
      beta(layer.beta().data(), layer.beta().data() + 6);
  const Eigen::Map<const Array> gamma_map(gamma.data(), 6), beta_map(beta.data(), 6);
  batch_norm_forward(this->device, this->x_view(), gamma_map, beta_map, ek::BatchNormOptions(),
                     this->view_of(this->y), this->moments);
  EXPECT_TRUE(same_bits(this->y.values(), this->layer_y.values()));
}

TYPED_TEST(FreeFunctions, RefuseParametersOfAnotherSize) {
  using Scalar = typename TypeParam::Scalar;
  using Array = Eigen::Array<Scalar, Eigen::Dynamic, 1>;
  const Array five = Array::Ones(5), six = Array::Ones(6);
  const std::vector<Scalar> before = this->y.values();
  const auto forward = [&](const Array& gamma, const Array& beta) {
    batch_norm_forward(this->device, this->x_view(), gamma, beta, ek::BatchNormOptions(),
                       this->view_of(this->y), this->moments);
  };
  EXPECT_TRUE(
      says(refusal([&] { forward(five, six); }), {"evenkeel::batch_norm_forward:", "gamma", "5", "6"}));
  EXPECT_TRUE(
      says(refusal([&] { forward(six, five); }), {"evenkeel::batch_norm_forward:", "beta", "5", "6"}));
  EXPECT_TRUE(says(refusal([&] {
                     batch_norm_infer(this->device, this->x_view(), six, six, six, five,
                                      ek::BatchNormOptions(), this->view_of(this->y));
                   }),
                   {"evenkeel::batch_norm_infer:", "5", "6"}));
  EXPECT_TRUE(says(refusal([&] {
                     group_norm_forward(this->device, this->x_view(), 4, six, six, ek::GroupNormOptions(),
                                        this->view_of(this->y), this->moments);
                   }),
                   {"evenkeel::group_norm_forward:", "4", "6"}));
  EXPECT_TRUE(same_bits(this->y.values(), before));
}

// Plain programs, as an outsider writes them.
class FreeFunctionArguments : public ::testing::Test {
 protected:
  FreeFunctionArguments() {
    x.setRandom();
    dy.setRandom();
    ek::batch_norm_forward(device, x, parameters.head(4), parameters.segment(4, 4), {}, y, moments);
  }

  const Eigen::DefaultDevice device{};
  Eigen::Tensor<float, 2> x{8, 4}, y{8, 4}, dy{8, 4}, dx{8, 4};
  Eigen::VectorXf parameters = Eigen::VectorXf::LinSpaced(8, 1, 2), gradient = Eigen::VectorXf::Zero(4),
                  gradient_of_beta = gradient;
  ek::Moments<double> moments;
};

TEST_F(FreeFunctionArguments, ParametersMayBePartsOfOneVector) {
  const Eigen::VectorXf gamma = parameters.head(4), beta = parameters.tail(4);
  Eigen::Tensor<float, 2> expected(8, 4);
  ek::batch_norm_forward(device, x, gamma, beta, {}, expected, moments);
  for (Index i = 0; i < x.size(); ++i) EXPECT_EQ(y.data()[i], expected.data()[i]);
}

TEST_F(FreeFunctionArguments, AnOutputMayBeAConstMap) {
  Eigen::Tensor<float, 2> other(8, 4);
  const Eigen::TensorMap<Eigen::Tensor<float, 2>> map(other.data(), 8, 4);
  ek::batch_norm_forward(device, x, parameters.head(4), parameters.tail(4), {}, map, moments);
  for (Index i = 0; i < x.size(); ++i) EXPECT_EQ(other.data()[i], y.data()[i]);
}

TEST_F(FreeFunctionArguments, GradientsMayOverlapNothing) {
  const auto backward = [&](auto&& grad_gamma, auto&& grad_beta) {
    try {
      ek::batch_norm_backward(device, x, dy, parameters.head(4), moments, {}, dx, grad_gamma, grad_beta);
    } catch (const std::invalid_argument& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  using Map = Eigen::Map<Eigen::VectorXf>;
  Eigen::VectorXf other;
  EXPECT_TRUE(says(backward(gradient, gradient), {"grad_gamma", "overlaps", "grad_beta"}));
  EXPECT_TRUE(says(backward(Map(dx.data() + 3, 4), other), {"grad_gamma", "overlaps", "dx"}));
  EXPECT_TRUE(says(backward(gradient, Map(x.data(), 4)), {"grad_beta", "overlaps", "x"}));
  EXPECT_TRUE(says(backward(gradient, Map(dy.data() + 28, 4)), {"grad_beta", "overlaps", "dy"}));
  EXPECT_TRUE(says(backward(Map(parameters.data(), 4), other), {"grad_gamma", "overlaps", "gamma"}));
  EXPECT_EQ(backward(gradient, other), "");
}

// Moments keep what is wanted of them, also when that changes between two calls of one shape.
TEST_F(FreeFunctionArguments, MomentsKeepWhatIsWanted) {
  ek::Moments<double> kept;
  const auto forward = [&] {
    ek::group_norm_forward(device, x, 2, parameters.head(4), parameters.tail(4), ek::GroupNormOptions(), y,
                           kept);
  };
  kept.keeps_variance = kept.keeps_mean_low = false;
  forward();
  EXPECT_GT(kept.mean.size(), 0);
  EXPECT_EQ(kept.variance.size() + kept.mean_low.size(), 0);
  const Eigen::ArrayXd inv_std = kept.inv_std;
  kept.keeps_variance = kept.keeps_mean_low = true;
  forward();
  EXPECT_EQ(kept.variance.size(), kept.mean.size());
  EXPECT_EQ(kept.mean_low.size(), kept.mean.size());
  EXPECT_TRUE((kept.inv_std == inv_std).all());
  kept.keeps_variance = kept.keeps_mean_low = false;
  forward();  // or backward would take what the call before has left
  EXPECT_EQ(kept.variance.size() + kept.mean_low.size(), 0);
}

// Moments may be a caller's own.
TEST_F(FreeFunctionArguments, MomentsMustBeWhole) {
  const auto backward = [&](const ek::Moments<double>& given) {
    return refusal([&] {
      ek::batch_norm_backward(device, x, dy, parameters.head(4), given, {}, dx, gradient, gradient_of_beta);
    });
  };
  const auto without = [&](Eigen::ArrayXd ek::Moments<double>::*array, Index size) {
    ek::Moments<double> given = moments;
    (given.*array).conservativeResize(size);
    return given;
  };
  using Moments = ek::Moments<double>;
  EXPECT_TRUE(says(backward(without(&Moments::mean, 3)), {"batch_norm_backward:", "moments", "3", "4"}));
  EXPECT_TRUE(says(backward(without(&Moments::inv_std, 0)), {"moments.inv_std", "0", "4"}));
  EXPECT_TRUE(says(backward(without(&Moments::mean_low, 2)), {"moments.mean_low", "2", "4"}));
  EXPECT_TRUE(says(backward(without(&Moments::mean_low, 0)), {"nothing was thrown"}));
  EXPECT_TRUE(says(backward(without(&Moments::variance, 0)), {"nothing was thrown"}));
}

// They know the x that forward took; those of a caller's own know none.
TEST_F(FreeFunctionArguments, MomentsKnowForwardsX) {
  const auto backward = [&](const Eigen::Tensor<float, 2>& from, const ek::Moments<double>& given) {
    Eigen::Tensor<float, 2> of_from;
    return refusal([&] {
      ek::batch_norm_backward(device, from, from, parameters.head(4), given, {}, of_from, gradient,
                              gradient_of_beta);
    });
  };
  Eigen::Tensor<float, 2> y_of_x = y, fewer(4, 4);
  fewer.setRandom();
  ek::Moments<double> given = moments;
  EXPECT_EQ(backward(x, given), "(nothing was thrown)");
  EXPECT_TRUE(
      says(backward(y_of_x, given), {"batch_norm_backward: x is not the last forward's x: value 0 is"}));
  EXPECT_EQ(backward(fewer, given), "evenkeel::batch_norm_backward: x has 16 values, forward's x had 32");
  given.checks_x = false;
  EXPECT_EQ(backward(y_of_x, given), "(nothing was thrown)");
  given.checks_x = true;
  given.resize(4);
  given.mean = moments.mean;
  given.mean_low = moments.mean_low;
  given.inv_std = moments.inv_std;
  EXPECT_EQ(backward(y_of_x, given), "(nothing was thrown)");
}

TEST_F(FreeFunctionArguments, ANormalizedShapeMustHaveAnAxis) {
  const std::vector<Index> none;
  const Eigen::Tensor<float, 2> before = y;
  for (const std::optional<Index> axis : {std::optional<Index>(), std::optional<Index>(1)}) {
    ek::LayerNormOptions options;
    options.axis = axis;
    EXPECT_TRUE(says(refusal([&] {
                       ek::layer_norm_infer(device, x, none, parameters.head(4), parameters.tail(4), options,
                                            y);
                     }),
                     {"evenkeel::layer_norm_infer:", "normalized_shape", "0", "1 to 8"}));
  }
  for (Index i = 0; i < x.size(); ++i) EXPECT_EQ(y.data()[i], before.data()[i]);
}

TEST_F(FreeFunctionArguments, AViewOfNothingIsNoParameter) {
  const ek::TensorView<const float> none;
  const Eigen::VectorXf empty;
  Eigen::Tensor<float, 2> expected(8, 4);
  ek::batch_norm_forward(device, x, empty, empty, {}, expected, moments);
  ek::batch_norm_forward(device, x, none, none, {}, y, moments);
  for (Index i = 0; i < x.size(); ++i) EXPECT_EQ(y.data()[i], expected.data()[i]);
}

TEST_F(FreeFunctionArguments, InferenceMayNotWriteOverItsStatistics) {
  Eigen::VectorXf memory = Eigen::VectorXf::Ones(32);
  const Eigen::TensorMap<Eigen::Tensor<float, 2>> map(memory.data(), 8, 4);
  try {
    ek::batch_norm_infer(device, x, parameters.head(4), parameters.tail(4), memory.head(4), gradient, {},
                         map);
    ADD_FAILURE() << "accepted";
  } catch (const std::invalid_argument& error) {
    EXPECT_TRUE(says(error.what(), {"y", "overlaps", "running_mean"}));
  }
  EXPECT_TRUE((memory.array() == 1).all());
}

}  // namespace
}  // namespace ek_test
