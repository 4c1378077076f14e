// What went wrong in other libraries, by their own reports: inputs like those, and the numbers that this library
// promises.
#define EIGEN_USE_THREADS

#include <gtest/gtest.h>

#include <cmath>
#include <evenkeel/evenkeel.hpp>
#include <random>
#include <unsupported/Eigen/CXX11/Tensor>
#include <utility>
#include <vector>

#include "support/contract.hpp"
#include "support/published_inputs.hpp"
#include "support/same.hpp"

namespace ek_test {
namespace {

constexpr int kOrder = Eigen::RowMajor;

template <typename Scalar = float>
ek::LayerNorm<Scalar> layer_norm(Index features, double epsilon = 1e-5) {
  ek::LayerNormOptions options;
  options.epsilon = epsilon;
  return ek::LayerNorm<Scalar>(features, options);
}

/// Rows of features, forward, backward and infer.
template <typename Scalar>
void expect_layer_norm(const Shape& shape, const std::vector<Scalar>& x, double epsilon = 1e-5) {
  ek::LayerNorm<Scalar> layer = layer_norm<Scalar>(shape[1], epsilon);
  expect_contract<kOrder>(layer, layer_norm_map(shape, kOrder, 1), shape, x,
                          random_values<Scalar>(size_of(shape), 0.5, 1, 2), epsilon);
}

template <typename Scalar>
void expect_batch_norm(const Shape& shape, const std::vector<Scalar>& x, double epsilon = 1e-5) {
  ek::BatchNormOptions options;
  options.epsilon = epsilon;
  ek::BatchNorm<Scalar> layer(shape[1], options);
  expect_contract<kOrder>(layer, batch_norm_map(shape, kOrder), shape, x,
                          random_values<Scalar>(size_of(shape), 0.5, 1, 2), epsilon);
}

template <typename Scalar>
void expect_group_norm(const Shape& shape, Index groups, const std::vector<Scalar>& x) {
  ek::GroupNorm<Scalar> layer(groups, shape[1]);
  expect_contract<kOrder>(layer, group_norm_map(shape, kOrder, groups), shape, x,
                          random_values<Scalar>(size_of(shape), 0.5, 1, 2));
}

/// Rows of one value each give exactly beta.
void expect_beta(Index features, const std::vector<float>& rows, double epsilon = 1e-5) {
  ek::LayerNorm<float> layer = layer_norm(features, epsilon);
  randomize_parameters(layer);
  Eigen::Tensor<float, 2, Eigen::RowMajor> x(static_cast<Index>(rows.size()), features);
  for (Index row = 0; row < x.dimension(0); ++row)
    for (Index i = 0; i < features; ++i) x(row, i) = rows[at(row)];
  for (const auto& y : {layer.forward(x), std::as_const(layer).infer(x)})
    for (Index row = 0; row < x.dimension(0); ++row)
      for (Index i = 0; i < features; ++i)
        EXPECT_EQ(y(row, i), layer.beta()[i]) << "row of " << rows[at(row)];
}

// "LayerNorm does not behave as documented": outputs of -285 for rows of variance 1 about 2000.
TEST(PublishedFailures, Pytorch51102RowsOfFourAbout2000) {
  for (unsigned seed = 1; seed <= 50; ++seed)
    expect_layer_norm({5, 4}, random_values<float>(20, 2000, 1, seed));
}

// The variance of 100 +- 0.01 came out as 0, in layer and in group norm.
TEST(PublishedFailures, Pytorch40302ASmallVarianceAbout100) {
  expect_layer_norm({4, 32768}, random_values<float>(4 * 32768, 100, 0.01, 1));
  expect_group_norm({2, 8, 4096}, 2, random_values<float>(2 * 8 * 4096, 100, 0.01, 1));
}

// Uniform values in [0, 1), 3.8e7 in a group: off by 0.0121, since a float cannot add up so many.
TEST(PublishedFailures, Pytorch54293ManyValuesInAGroup) {
  const Shape shape = {1, 8, 256, 256, 72};
  const Index n = size_of(shape);
  std::mt19937 generator(1);
  std::vector<float> x(at(n)), y(at(n));
  for (float& value : x) value = static_cast<float>(generator() >> 8) * 0x1p-24f;
  ek::GroupNorm<float> layer(1, 8);
  std::as_const(layer).infer(view<kOrder>(x.data(), shape), view<kOrder>(y.data(), shape));

  Sum sum, squares;
  for (float value : x) sum.add(static_cast<Real>(value));
  const Real mean = sum.value() / static_cast<Real>(n);
  for (float value : x) squares.add((static_cast<Real>(value) - mean) * (static_cast<Real>(value) - mean));
  const Real inv_std = 1 / std::sqrt(squares.value() / static_cast<Real>(n) + Real(1e-5));
  Real largest = 0, error = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const Real expected = (static_cast<Real>(x[i]) - mean) * inv_std;
    largest = std::max(largest, std::fabs(expected));
    error = std::max(error, std::fabs(static_cast<Real>(y[i]) - expected));
  }
  EXPECT_LE(error, Tolerance<float>::y * std::max<Real>(1, largest));
}

// A row of 14, 14 came out as 1e-4 with epsilon 1e-6.
TEST(PublishedFailures, Pytorch108072ConstantRowsOfTwo) { expect_beta(2, {2, 14, 2, 14}, 1e-6); }

// 256 times 1234 gave NaN: a variance below 0.
TEST(PublishedFailures, Onnxruntime21935AConstantRowOf1234) { expect_beta(256, {1234}); }

// Inputs of 1e30: zeros from the CPU's kernels, in every norm.
TEST(PublishedFailures, Pytorch178123InputsOf1e30) {
  const std::vector<float> x = random_values<float>(4 * 8 * 64, 0, 1e30, 1);
  expect_layer_norm({32, 64}, x);
  expect_batch_norm({4, 8, 64}, x);
  expect_group_norm({4, 8, 64}, 4, x);
}

// NaN for [40000, 40001, 40002, 40003], and for 80000.
TEST(PublishedFailures, Onnxruntime28463FourNeighboursOf40000) {
  for (float v : {40000.0f, 80000.0f}) expect_layer_norm<float>({1, 4}, {v, v + 1, v + 2, v + 3});
}

// NaN for one row about 1449; x is the row of the report, gamma and beta are not.
TEST(PublishedFailures, Mlx2238ARowAbout1449) { expect_layer_norm({1, 16}, row_of_mlx_2238()); }

// A feature at its floor near -15.94, but for one frame: its variance of 2.5e-5 was lost, and +7515 came out.
TEST(PublishedFailures, SherpaOnnx3853AFeatureAtItsFloor) {
  const Index frames = 1000;
  const std::vector<float> x = frames_at_their_floor(frames);
  expect_batch_norm({frames, 3}, x);
  expect_batch_norm({frames, 3}, x, 1e-10);
}

// "Variance can be negative": large images of nearly one colour, about which E[x^2] - E[x]^2 loses all digits.
TEST(PublishedFailures, Flax1491AVarianceIsNeverNegative) {
  const Shape shape = {4, 3, 64, 64};
  for (double level : {255.0, 4095.0, 1e5}) {
    const std::vector<float> x = random_values<float>(size_of(shape), level, level * 1e-6, 1);
    expect_batch_norm(shape, x);
    ek::BatchNorm<float> layer(3);
    std::vector<float> y(x.size());
    layer.forward(view<kOrder>(x.data(), shape), view<kOrder>(y.data(), shape));
    for (Index c = 0; c < 3; ++c) EXPECT_GE(layer.running_var()[c], 0.9f);
    for (float value : y) EXPECT_TRUE(std::isfinite(value));
  }
}

// One value per channel: PyTorch refuses it, Flux had NaN in its running variance. Refused here, and nothing has
// changed.
TEST(PublishedFailures, Pytorch7716AndFlux1992OneValuePerChannel) {
  ek::BatchNorm<float> layer(3);
  Eigen::Tensor<float, 4, Eigen::RowMajor> x(1, 3, 1, 1), y(1, 3, 1, 1);
  x.setConstant(1);
  y.setConstant(7);
  EXPECT_TRUE(says(refusal([&] { layer.forward(x, y); }), {"BatchNorm", "forward", "3", "1"}));
  EXPECT_EQ(y(0, 0, 0, 0), 7);
  EXPECT_EQ(layer.num_batches_tracked(), 0);
  for (Index c = 0; c < 3; ++c) {
    EXPECT_EQ(layer.running_mean()[c], 0);
    EXPECT_EQ(layer.running_var()[c], 1);
  }
  layer.infer(x, y);
  EXPECT_NEAR(y(0, 0, 0, 0), 1, 1e-5);
}

// Training gave other results with another number of threads.
TEST(PublishedFailures, Pytorch2201TheNumberOfThreads) {
  const Shape shape = {64, 5, 33, 61};  // large enough to be cut
  const std::vector<float> x = random_values<float>(size_of(shape), 10, 1, 1),
                           dy = random_values<float>(size_of(shape), 0.5, 1, 2);
  std::vector<float> first_y, first_dx;
  for (int threads : {1, 2, 3, 5, 8, 16}) {
    Eigen::ThreadPool pool(threads);
    Eigen::ThreadPoolDevice device(&pool, threads);
    ek::BatchNorm<float> layer(5);
    std::vector<float> y(x.size()), dx(x.size());
    layer.forward(device, view<kOrder>(x.data(), shape), view<kOrder>(y.data(), shape));
    layer.backward(device, view<kOrder>(x.data(), shape), view<kOrder>(dy.data(), shape),
                   view<kOrder>(dx.data(), shape));
    if (first_y.empty()) first_y = y, first_dx = dx;
    EXPECT_TRUE(same_bits(y, first_y)) << threads << " threads";
    EXPECT_TRUE(same_bits(dx, first_dx)) << threads << " threads";
  }
}

// RMS norm's backward over its own input read what it had written.
template <typename Layer>
void expect_same_over_dy(Layer layer, const Shape& shape) {
  const std::vector<float> x = random_values<float>(size_of(shape), 1, 1, 1);
  std::vector<float> y(x.size()), dx(x.size()), dy = random_values<float>(size_of(shape), 0.5, 1, 2);
  randomize_parameters(layer);
  layer.forward(view<kOrder>(x.data(), shape), view<kOrder>(y.data(), shape));
  layer.backward(view<kOrder>(x.data(), shape), view<kOrder>(dy.data(), shape),
                 view<kOrder>(dx.data(), shape));
  const auto grad_gamma = layer.grad_gamma();
  layer.backward(view<kOrder>(x.data(), shape), view<kOrder>(dy.data(), shape),
                 view<kOrder>(dy.data(), shape));
  EXPECT_TRUE(same_bits(dy, dx));
  EXPECT_TRUE(same_bits(layer.grad_gamma(), grad_gamma));
}
TEST(PublishedFailures, Ggml1491BackwardInPlace) {
  for (Index width : {1, 4, 33, 200}) {
    expect_same_over_dy(ek::BatchNorm<float>(6), {5, 6, width});
    expect_same_over_dy(ek::LayerNorm<float>(width), {30, width});
    expect_same_over_dy(ek::GroupNorm<float>(3, 6), {5, 6, width});
  }
}

// A model that was saved and loaded predicted something else.
TEST(PublishedFailures, Mlpack2561StateAfterReload) {
  const Shape shape = {8, 6, 10};
  const std::vector<float> x = random_values<float>(size_of(shape), 3, 2, 1);
  std::vector<float> y(x.size()), before(x.size()), after(x.size());
  ek::BatchNorm<float> layer(6), loaded(6);
  randomize_parameters(layer);
  for (int step = 0; step < 3; ++step)
    layer.forward(view<kOrder>(x.data(), shape), view<kOrder>(y.data(), shape));
  layer.infer(view<kOrder>(x.data(), shape), view<kOrder>(before.data(), shape));
  loaded.gamma() = layer.gamma();
  loaded.beta() = layer.beta();
  loaded.set_running_stats(layer.exact_running_mean(), layer.exact_running_var());
  loaded.infer(view<kOrder>(x.data(), shape), view<kOrder>(after.data(), shape));
  EXPECT_TRUE(same_bits(before, after));
}

// tiny-dnn normalized with the unbiased variance and differentiated the biased one. Of two values the two differ
// most.
TEST(PublishedFailures, TinyDnnBiasedAndUnbiasedVariance) {
  ek::BatchNormOptions options;
  options.epsilon = 0;
  ek::BatchNorm<float> layer(1, options);
  Eigen::Tensor<float, 2, Eigen::RowMajor> x(2, 1), dy(2, 1);
  x.setValues({{1}, {3}});
  dy.setValues({{5}, {-2}});
  const auto y = layer.forward(x);
  EXPECT_FLOAT_EQ(y(0, 0), -1);
  EXPECT_FLOAT_EQ(y(1, 0), 1);
  EXPECT_FLOAT_EQ(layer.running_mean()[0], 0.2f);
  EXPECT_FLOAT_EQ(layer.running_var()[0], 0.9f + 0.1f * 2);  // unbiased
  const auto dx = layer.backward(x, dy);                     // y does not depend on x here, but for its sign
  EXPECT_NEAR(dx(0, 0), 0, 5e-6);
  EXPECT_NEAR(dx(1, 0), 0, 5e-6);
}

// No report of their own: means far beyond the standard deviation of 1, data that drifts along the batch, and an
// outlier in constant sets.
template <typename Scalar>
class HardInputs : public ::testing::Test {};
using HardScalars = ::testing::Types<float, double>;
TYPED_TEST_SUITE(HardInputs, HardScalars);

TYPED_TEST(HardInputs, MeansFarFromZero) {
  for (double mean : {0.0, 1e2, 1e3, 1e4, 1e6, 1e7}) {
    SCOPED_TRACE("mean " + std::to_string(mean));
    const std::vector<TypeParam> x = random_values<TypeParam>(16 * 8 * 96, mean, 1, 1);
    expect_layer_norm({128, 96}, x);
    expect_batch_norm({16, 8, 96}, x);
    expect_batch_norm({1536, 8}, x);
    expect_group_norm({16, 8, 96}, 2, x);
  }
}

TYPED_TEST(HardInputs, DriftAlongTheBatch) {
  for (double height : {1e2, 1e4, 1e6}) {
    const std::vector<TypeParam> x = drifting_values<TypeParam>(64 * 8 * 96, height, 3);
    expect_layer_norm({512, 96}, x);
    expect_batch_norm({64, 8, 96}, x);
    expect_batch_norm({6144, 8}, x);
    expect_group_norm({64, 8, 96}, 2, x);
  }
}

TYPED_TEST(HardInputs, OneOutlierInAConstantRow) {
  const Shape rows = {16, 96}, planes = {4, 4, 96};
  for (double level : {0.0, 1234.0, 1e6})
    for (double step : {0.125, 1e4, 1e9}) {
      SCOPED_TRACE("constant " + std::to_string(level) + " with an outlier of " + std::to_string(step));
      expect_layer_norm(rows,
                        constant_with_outliers<TypeParam>(layer_norm_map(rows, kOrder, 1), level, step));
      expect_batch_norm(planes,
                        constant_with_outliers<TypeParam>(batch_norm_map(planes, kOrder), level, step));
      expect_group_norm(planes, 2,
                        constant_with_outliers<TypeParam>(group_norm_map(planes, kOrder, 2), level, step));
    }
}

}  // namespace
}  // namespace ek_test
