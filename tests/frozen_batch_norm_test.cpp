// infer_backward: the gradients of batch norm by statistics that are constants.
#define EIGEN_USE_THREADS

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <evenkeel/evenkeel.hpp>
#include <limits>
#include <string>
#include <type_traits>
#include <unsupported/Eigen/CXX11/Tensor>
#include <utility>
#include <vector>

#include "support/callers_mode.hpp"
#include "support/contract.hpp"
#include "support/data.hpp"
#include "support/finite_differences.hpp"
#include "support/gradients.hpp"
#include "support/same.hpp"
#include "support/shapes.hpp"
#include "support/state.hpp"

namespace ek_test {
namespace {

ek::BatchNormOptions options_of(Index axis, double epsilon = 1e-5) {
  ek::BatchNormOptions options;
  options.axis = axis;
  options.epsilon = epsilon;
  return options;
}

/// Parameters, and running statistics with digits that Param does not hold.
template <typename Scalar>
ek::BatchNorm<Scalar> trained_layer(Index channels, const ek::BatchNormOptions& options, double mean = 3) {
  using Statistic = ek::StatisticOf<Scalar>;
  ek::BatchNorm<Scalar> layer(channels, options);
  randomize_parameters(layer);
  const std::vector<Statistic> digits = random_values<Statistic>(channels, mean, 1, 41);
  ek::Vector<Statistic> means(channels), variances(channels);
  for (Index c = 0; c < channels; ++c) {
    means[c] = digits[at(c)];
    variances[c] = Statistic(0.3) + Statistic(0.1) * Statistic(c % 7);
  }
  layer.set_running_stats(means, variances);
  return layer;
}

template <int kOrder, typename Scalar>
void expect_right(ek::BatchNorm<Scalar>& layer, const IndexMap& map, const Shape& shape,
                  const std::vector<Scalar>& x, const std::vector<Scalar>& dy, double epsilon) {
  using Bound = Tolerance<Scalar>;
  const std::string trace = to_string(shape) + (kOrder == Eigen::RowMajor ? " row-major" : " column-major");
  SCOPED_TRACE(trace);
  const Buffer<Scalar> x_buffer(x), dy_buffer(dy);
  Buffer<Scalar> dx(map.size()), over(dy);
  const auto vx = view<kOrder>(x_buffer, shape), vdy = view<kOrder>(dy_buffer, shape);
  auto vdx = view<kOrder>(dx, shape), vover = view<kOrder>(over, shape);
  as_caller([&] { layer.infer_backward(vx, vdy, vdx); });
  // The running variance counts as infer takes it, in the digits of Param.
  const ReferenceGradients expected =
      reference_infer_backward(map, x, dy, to_real(layer.gamma()), to_real(layer.exact_running_mean()),
                               to_real(layer.running_var()), epsilon);
  EXPECT_LE(backward_error(map, dx.values(), expected), Bound::x) << "dx";
  if (layer.gamma().size() > 0) {
    EXPECT_LE(largest_error(
                  layer.grad_gamma(), expected.gamma,
                  [&](std::size_t p) { return expected.gamma_scale[p] + flushed<Scalar>() / Bound::sum; }),
              Bound::sum)
        << "grad_gamma";
    EXPECT_LE(
        largest_error(layer.grad_beta(), expected.beta,
                      [&](std::size_t p) { return expected.beta_scale[p] + flushed<Scalar>() / Bound::sum; }),
        Bound::sum)
        << "grad_beta";
  }
  const auto grad_gamma = layer.grad_gamma();
  as_caller([&] { layer.infer_backward(vx, vover, vover); });
  EXPECT_TRUE(same_bits(over.values(), dx.values())) << "dx over dy";
  EXPECT_TRUE(same_bits(layer.grad_gamma(), grad_gamma));
  EXPECT_TRUE(x_buffer.padding_intact() && dy_buffer.padding_intact());
}

template <typename C>
class FrozenBatchNorm : public ::testing::Test {
 protected:
  using S = typename C::Scalar;

  static void expect_mean(const Shape& shape, Index axis, double mean) {
    SCOPED_TRACE("axis " + std::to_string(axis) + ", mean " + std::to_string(mean));
    const IndexMap map = batch_norm_map(shape, C::kOrder, axis);
    auto layer = trained_layer<S>(map.parameters, options_of(axis), mean);
    expect_right<C::kOrder>(layer, map, shape, random_values<S>(map.size(), mean, 1, 1),
                            random_values<S>(map.size(), 0.5, 1, 2), 1e-5);
  }
};

TYPED_TEST_SUITE(FrozenBatchNorm, NumericCases, CaseName);

TYPED_TEST(FrozenBatchNorm, EveryAxisOfEveryShape) {
  for (const Shape& shape : small_shapes())
    for (Index axis = 0; axis < rank_of(shape); ++axis)
      for (double mean : {0.0, 1e4}) {
        if (std::is_same_v<typename TypeParam::Scalar, long double> && mean > 0)
          continue;  // see contract.hpp
        this->expect_mean(shape, axis, mean);
      }
}

TYPED_TEST(FrozenBatchNorm, EveryWidthAndLargeSets) {
  for (Index width : widths()) {
    this->expect_mean({3, 5, width}, 1, 10);
    this->expect_mean({7, width}, 1, 10);
    if (width < 70) this->expect_mean({3, width, 7, 7}, 1, 10);
  }
  for (const Shape& shape : {Shape{2, 2, 20011}, Shape{20011, 3}, Shape{32, 130, 7, 7}, Shape{3, 1, 9001}})
    this->expect_mean(shape, 1, 10);
}

TYPED_TEST(FrozenBatchNorm, WithoutParameters) {
  using Scalar = typename TypeParam::Scalar;
  constexpr int kOrder = TypeParam::kOrder;
  ek::BatchNormOptions options;
  options.affine = false;
  for (const Shape& shape : {Shape{6, 3}, Shape{4, 3, 170}, Shape{4, 5, 7, 7}}) {
    auto layer = trained_layer<Scalar>(shape[1], options);
    const IndexMap map = batch_norm_map(shape, kOrder);
    expect_right<kOrder>(layer, map, shape, random_values<Scalar>(map.size(), 3, 1, 1),
                         random_values<Scalar>(map.size(), 0.5, 1, 2), 1e-5);
    EXPECT_EQ(layer.grad_gamma().size() + layer.grad_beta().size(), 0);
  }
}

// Statistics, data and gradients of any size.
TYPED_TEST(FrozenBatchNorm, OfAnyRange) {
  using Scalar = typename TypeParam::Scalar;
  if constexpr (!std::is_same_v<Scalar, long double>) {
    constexpr bool is_float = std::is_same_v<Scalar, float>;
    const double large = is_float ? 3e38 : 1.6e308, small = is_float ? 1e-38 : 1e-300,
                 far = is_float ? 1e30 : 1e280;
    struct Channel {
      double mean, variance, x, spread, dy;
    };
    const Channel channels[] = {{0, 1, 0, 1, 1},
                                {-large, large, large, 0, 1},  // x - mean overflows
                                {-large, 1, large, 0, 1e-10},  // and inv_std is usual
                                {0, small, 0, std::sqrt(small), 1e-10},
                                {0, large, 0, std::sqrt(large), 1},
                                {far, 1, far, 0, 1},
                                {0, 1, 0, far, 1e-20},
                                {0, 1, 0, 1e-20, 1 / far},
                                {0, 1, 0, 1, far},
                                {0, 0, 0, 1, 1}};  // gives beta: nothing moves y
    const Index count = std::size(channels);
    for (const Shape& shape : {Shape{7, count}, Shape{3, count, 5}, Shape{2, count, 400}}) {
      const IndexMap map = batch_norm_map(shape, TypeParam::kOrder);
      ek::BatchNorm<Scalar> layer(count, options_of(1, 0));
      randomize_parameters(layer);
      for (Index c = 0; c < count; ++c) {
        layer.running_mean()[c] = static_cast<Scalar>(channels[c].mean);
        layer.running_var()[c] = static_cast<Scalar>(channels[c].variance);
      }
      const std::vector<double> normal = random_values<double>(map.size(), 0, 1, 3),
                                gradient = random_values<double>(map.size(), 0.5, 1, 4);
      std::vector<Scalar> x, dy;
      for (std::size_t i = 0; i < map.set.size(); ++i) {
        const Channel& c = channels[map.set[i]];
        x.push_back(
            static_cast<Scalar>(static_cast<Scalar>(c.x) + static_cast<Scalar>(c.spread * normal[i])));
        dy.push_back(static_cast<Scalar>(c.dy * gradient[i]));
      }
      expect_right<TypeParam::kOrder>(layer, map, shape, x, dy, 0);
    }
  }
}

TYPED_TEST(FrozenBatchNorm, TheFreeFunctionGivesTheSame) {
  using Scalar = typename TypeParam::Scalar;
  constexpr int kOrder = TypeParam::kOrder;
  const Shape shape = {4, 6, 35};
  auto layer = trained_layer<Scalar>(6, options_of(1));
  layer.set_running_stats(layer.running_mean().template cast<ek::StatisticOf<Scalar>>(),
                          layer.running_var().template cast<ek::StatisticOf<Scalar>>());  // no more digits
  const std::vector<Scalar> x = random_values<Scalar>(840, 3, 1, 1), dy = random_values<Scalar>(840, 0, 1, 2);
  std::vector<Scalar> dx(840), its_dx(840);
  const auto vx = view<kOrder>(x.data(), shape), vdy = view<kOrder>(dy.data(), shape);
  layer.infer_backward(vx, vdy, view<kOrder>(dx.data(), shape));
  ek::Vector<Scalar> grad_gamma, grad_beta;
  batch_norm_infer_backward(Eigen::DefaultDevice(), vx, vdy, layer.gamma(), layer.running_mean(),
                            layer.running_var(), layer.options(), view<kOrder>(its_dx.data(), shape),
                            grad_gamma, grad_beta);
  EXPECT_TRUE(same_bits(its_dx, dx));
  EXPECT_TRUE(same_bits(grad_gamma, layer.grad_gamma()));
  EXPECT_TRUE(same_bits(grad_beta, layer.grad_beta()));
}

// With an activation dy counts where infer let it through, and so it does for the residual.
TYPED_TEST(FrozenBatchNorm, BehindAnActivation) {
  using Scalar = typename TypeParam::Scalar;
  constexpr int kOrder = TypeParam::kOrder;
  for (const Shape& shape : {Shape{9, 6}, Shape{4, 6, 5}, Shape{3, 6, 300}, Shape{2, 6, 9001}}) {
    const Index size = size_of(shape);
    std::vector<Scalar> x = random_values<Scalar>(size, 3, 1, 1);
    x[0] = static_cast<Scalar>(1e30);  // whose channel is out of the range of float
    const std::vector<Scalar> dy = random_values<Scalar>(size, 0.5, 1, 2),
                              r = random_values<Scalar>(size, 0, 1, 3);
    auto layer = trained_layer<Scalar>(6, options_of(1)), plain = layer;
    const auto view_of = [&](auto& values) { return view<kOrder>(values.data(), shape); };
    for (const bool has_residual : {false, true}) {
      SCOPED_TRACE(to_string(shape) + (has_residual ? ", with a residual" : ""));
      std::vector<Scalar> y(x.size()), dz = dy, dx(x.size()), expected(x.size()), d_residual(x.size());
      const auto residual = view_of(r);
      auto to_residual = view_of(d_residual);
      auto over = dy;
      if (has_residual) {
        layer.infer(view_of(x), view_of(y), ek::add_relu(residual));
        layer.infer_backward(view_of(x), view_of(dy), view_of(dx), ek::add_relu(residual, to_residual));
        layer.infer_backward(view_of(x), view_of(over), view_of(over), ek::add_relu(residual, to_residual));
      } else {
        layer.infer(view_of(x), view_of(y), ek::relu());
        layer.infer_backward(view_of(x), view_of(dy), view_of(dx), ek::relu());
        layer.infer_backward(view_of(x), view_of(over), view_of(over), ek::relu());
      }
      for (std::size_t i = 0; i < y.size(); ++i) dz[i] = y[i] > 0 ? dz[i] : Scalar(0);
      plain.infer_backward(view_of(x), view_of(dz), view_of(expected));
      EXPECT_TRUE(same_bits(dx, expected));
      EXPECT_TRUE(same_bits(over, expected)) << "dx over dy";
      EXPECT_TRUE(same_bits(layer.grad_gamma(), plain.grad_gamma()));
      EXPECT_TRUE(same_bits(layer.grad_beta(), plain.grad_beta()));
      if (has_residual) {
        EXPECT_TRUE(same_bits(d_residual, dz));
      }
    }
  }
}

/// The gradients of sum(weights * y), where y is what infer gives, and what is fused behind it.
template <int kOrder, typename... Fused>
void expect_gradients_of_infer(const Shape& shape, Index axis, const Fused&... fused) {
  SCOPED_TRACE(to_string(shape) + " axis " + std::to_string(axis));
  auto layer = trained_layer<double>(shape[at(axis)], options_of(axis, kSmoothEpsilon));
  std::vector<double> x = random_values<double>(size_of(shape), 3, 1, 21), y(x.size()), dx(x.size());
  const std::vector<double> weights = random_values<double>(size_of(shape), 0.25, 1, 22);
  const auto loss = [&] {
    layer.infer(view<kOrder>(x.data(), shape), view<kOrder>(y.data(), shape), fused...);
    double sum = 0;
    for (std::size_t i = 0; i < y.size(); ++i) sum += weights[i] * y[i];
    return sum;
  };
  layer.infer_backward(view<kOrder>(x.data(), shape), view<kOrder>(weights.data(), shape),
                       view<kOrder>(dx.data(), shape), fused...);
  const std::vector<Real> dgamma = to_real(layer.grad_gamma()), dbeta = to_real(layer.grad_beta());
  EXPECT_LT(relative_error(dx, central_differences(x, loss)), 1e-7);
  EXPECT_LT(relative_error(dgamma, central_differences(layer.gamma(), loss)), 1e-7);
  EXPECT_LT(relative_error(dbeta, central_differences(layer.beta(), loss)), 1e-7);
}

TEST(FrozenBatchNormGradients, OfInfer) {
  for (const Shape& shape : tiny_shapes())
    for (Index axis = 0; axis < rank_of(shape); ++axis) {
      expect_gradients_of_infer<Eigen::RowMajor>(shape, axis);
      expect_gradients_of_infer<Eigen::ColMajor>(shape, axis);
      expect_gradients_of_infer<Eigen::RowMajor>(shape, axis, ek::silu());
    }
}

constexpr int kRows = Eigen::RowMajor;

// It needs no forward, and what forward has saved stays: backward gives what it would have.
TEST(InferBackward, LeavesWhatForwardSaved) {
  const Shape shape = {4, 6, 5};
  const std::vector<float> x = random_values<float>(120, 3, 1, 1), dy = random_values<float>(120, 0, 1, 2);
  std::vector<float> y(120), dx(120), frozen_dx(120), expected_dx(120);
  const auto vx = view<kRows>(x.data(), shape), vdy = view<kRows>(dy.data(), shape);
  auto layer = trained_layer<float>(6, options_of(1)), twin = layer;
  layer.infer_backward(vx, vdy, view<kRows>(frozen_dx.data(), shape));
  for (auto* each : {&layer, &twin}) each->forward(vx, view<kRows>(y.data(), shape));
  const std::vector<Real> mean = to_real(layer.saved_mean()), running = to_real(layer.running_mean());
  layer.infer_backward(vx, vdy, view<kRows>(frozen_dx.data(), shape));
  EXPECT_EQ(to_real(layer.saved_mean()), mean);
  EXPECT_EQ(to_real(layer.running_mean()), running);
  EXPECT_EQ(std::as_const(layer).num_batches_tracked(), 1);
  layer.backward(vx, vdy, view<kRows>(dx.data(), shape));
  twin.backward(vx, vdy, view<kRows>(expected_dx.data(), shape));
  EXPECT_TRUE(same_bits(dx, expected_dx));
  EXPECT_TRUE(same_bits(state_of(layer), state_of(twin)));
}

// Where x is not finite, gradients of gamma are not either, and dx is what it is elsewhere.
TEST(InferBackward, OfXThatIsNotFinite) {
  for (const Shape& shape : {Shape{9, 6}, Shape{4, 6, 5}, Shape{2, 6, 300}, Shape{2, 6, 9000}}) {
    const Index size = size_of(shape);
    const IndexMap map = batch_norm_map(shape, kRows);
    std::vector<float> x = random_values<float>(size, 3, 1, 1);
    const std::vector<float> dy = random_values<float>(size, 0, 1, 2);
    std::vector<float> dx(at(size)), expected(at(size));
    auto layer = trained_layer<float>(6, options_of(1));
    layer.infer_backward(view<kRows>(x.data(), shape), view<kRows>(dy.data(), shape),
                         view<kRows>(expected.data(), shape));
    const auto grad_gamma = layer.grad_gamma();
    x[at(size / 2)] = std::numeric_limits<float>::quiet_NaN();
    layer.infer_backward(view<kRows>(x.data(), shape), view<kRows>(dy.data(), shape),
                         view<kRows>(dx.data(), shape));
    EXPECT_TRUE(same_bits(dx, expected)) << to_string(shape);
    for (Index c = 0; c < 6; ++c) {
      if (c == map.set[at(size / 2)]) {
        EXPECT_TRUE(std::isnan(layer.grad_gamma()[c])) << to_string(shape);
      } else {
        EXPECT_EQ(layer.grad_gamma()[c], grad_gamma[c]) << to_string(shape);
      }
    }
  }
}

// An element of dx has the same bits alone as in any batch, beside whatever neighbours.
TEST(InferBackward, IsBatchInvariant) {
  for (const Index channels : {1, 3, 8, 33})
    for (const Index places : {1, 5, 49, 64, 200}) {
      const Shape all = {7, channels, places}, one = {1, channels, places};
      const Index size = channels * places;
      auto layer = trained_layer<float>(channels, options_of(1));
      std::vector<float> x = random_values<float>(7 * size, 3, 1, 1),
                         dy = random_values<float>(7 * size, 0, 1, 2);
      x[0] = 1e30f;
      dy[1] = 1e25f;
      std::vector<float> dx(at(7 * size)), alone(at(size));
      layer.infer_backward(view<kRows>(x.data(), all), view<kRows>(dy.data(), all),
                           view<kRows>(dx.data(), all));
      for (Index s = 0; s < 7; ++s) {
        layer.infer_backward(view<kRows>(x.data() + s * size, one), view<kRows>(dy.data() + s * size, one),
                             view<kRows>(alone.data(), one));
        const std::vector<float> part(dx.begin() + s * size, dx.begin() + (s + 1) * size);
        EXPECT_TRUE(same_bits(alone, part)) << "sample " << s << " of " << to_string(all);
      }
    }
}

TEST(InferBackward, GivesTheSameBitsOnThreads) {
  for (const Shape& shape : {Shape{4, 6, 5}, Shape{8, 64, 28, 28}, Shape{2, 2, 70001}, Shape{70001, 3}}) {
    const Index size = size_of(shape);
    const std::vector<float> x = random_values<float>(size, 10, 1, 1),
                             dy = random_values<float>(size, 0.5, 1, 2);
    std::vector<float> dx(at(size)), its_dx(at(size));
    auto layer = trained_layer<float>(shape[1], options_of(1)), twin = layer;
    const auto run = [&](const auto& device, auto& norm, std::vector<float>& to) {
      norm.infer_backward(device, view<kRows>(x.data(), shape), view<kRows>(dy.data(), shape),
                          view<kRows>(to.data(), shape));
    };
    run(Eigen::DefaultDevice(), layer, dx);
    for (int threads : {2, 3, 5}) {
      Eigen::ThreadPool pool(threads);
      run(Eigen::ThreadPoolDevice(&pool, threads), twin, its_dx);
      EXPECT_TRUE(same_bits(its_dx, dx)) << to_string(shape);
      EXPECT_TRUE(same_bits(state_of(twin), state_of(layer))) << to_string(shape);
    }
  }
}

TEST(InferBackward, HasTheFormsOfBackward) {
  Eigen::Tensor<float, 3, Eigen::RowMajor> x(4, 6, 5), dy(4, 6, 5), dx;
  x.setRandom();
  dy.setRandom();
  const Eigen::DefaultDevice device;
  auto layer = trained_layer<float>(6, options_of(1));
  layer.infer_backward(x, dy, dx);
  const Eigen::Tensor<float, 3, Eigen::RowMajor> returned = layer.infer_backward(x, dy),
                                                 on_device = layer.infer_backward(device, x, dy);
  EXPECT_TRUE(same_bits(returned, dx));
  EXPECT_TRUE(same_bits(on_device, dx));
  Eigen::Tensor<float, 3, Eigen::RowMajor> none(0, 6, 5), none_dx;
  layer.infer_backward(none, none, none_dx);
  EXPECT_EQ(to_real(layer.grad_gamma()), std::vector<Real>(6, 0));
  EXPECT_EQ(to_real(layer.grad_beta()), std::vector<Real>(6, 0));
}

// A tracking instance norm infers as batch norm does.
TEST(InferBackward, OfInstanceNorm) {
  const Shape shape = {4, 6, 5};
  ek::InstanceNormOptions options;
  options.affine = options.track_running_stats = true;
  ek::InstanceNorm<float> layer(6, options);
  ek::BatchNorm<float> batch(6);
  const std::vector<float> x = random_values<float>(120, 3, 1, 1), dy = random_values<float>(120, 0, 1, 2);
  std::vector<float> dx(120), its_dx(120);
  const auto run = [&](auto& norm, std::vector<float>& to) {
    randomize_parameters(norm);
    norm.running_mean().setLinSpaced(6, 1, 3);
    norm.running_var().setLinSpaced(6, 0.5f, 2);
    norm.infer_backward(view<kRows>(x.data(), shape), view<kRows>(dy.data(), shape),
                        view<kRows>(to.data(), shape));
  };
  run(layer, dx);
  run(batch, its_dx);
  EXPECT_TRUE(same_bits(dx, its_dx));
  EXPECT_TRUE(same_bits(layer.grad_gamma(), batch.grad_gamma()));
}

TEST(InferBackward, RefusesWhatIsWrongAndWritesNothing) {
  const Shape shape = {4, 6, 5}, wrong = {4, 5, 6};
  Buffer<float> x(random_values<float>(120, 3, 1, 1)), dy(random_values<float>(120, 0, 1, 2)), dx(120);
  const auto call = [&](auto& norm, const Shape& s) {
    return [&, s] { norm.infer_backward(view<kRows>(x, s), view<kRows>(dy, s), view<kRows>(dx, s)); };
  };
  const std::string who = "evenkeel::BatchNorm::infer_backward: ";
  auto layer = trained_layer<float>(6, options_of(1));
  expect_refused(layer, dx, {who + "x has 5 channels on axis 1 of [4, 5, 6], expected 6"},
                 call(layer, wrong));
  expect_refused(layer, dx, {who + "dy is [4, 5, 6], expected x's shape [4, 6, 5]"}, [&] {
    layer.infer_backward(view<kRows>(x, shape), view<kRows>(dy, wrong), view<kRows>(dx, shape));
  });
  expect_refused(layer, x, {who + "dx overlaps x"}, [&] {
    layer.infer_backward(view<kRows>(x, shape), view<kRows>(dy, shape), view<kRows>(x, shape));
  });
  auto negative = layer;
  negative.running_var()[3] = -1;
  expect_refused(negative, dx, {who + "running_var[3] is -1, must be finite and >= 0"},
                 call(negative, shape));
  auto resized = layer;
  resized.running_mean().setZero(5);
  expect_refused(resized, dx, {who + "running_mean has 5 values, expected 6"}, call(resized, shape));
  ek::BatchNormOptions options;
  options.track_running_stats = false;
  ek::BatchNorm<float> plain(6, options);
  Buffer<float> residual(120);
  const auto five = view<kRows>(residual, wrong), six = view<kRows>(residual, shape);
  expect_refused(layer, dx, {who + "residual is [4, 5, 6], expected x's shape [4, 6, 5]"}, [&] {
    layer.infer_backward(view<kRows>(x, shape), view<kRows>(dy, shape), view<kRows>(dx, shape),
                         ek::add_relu(five));
  });
  expect_refused(layer, dx, {who + "d_residual overlaps residual"}, [&] {
    layer.infer_backward(view<kRows>(x, shape), view<kRows>(dy, shape), view<kRows>(dx, shape),
                         ek::add_relu(six, six));
  });
  expect_refused(plain, dx, {who + "the layer tracks no running statistics; call recompute, then backward"},
                 call(plain, shape));

  // Gradients may not lie in the given statistics: neither that of the residual,
  const auto row_of = [](float* data) { return ek::view(data, {1, 6}, ek::row_major); };
  const auto residual_row = row_of(residual.data()), in_variance = row_of(layer.running_var().data());
  expect_refused(layer, dx, {who + "d_residual overlaps running_var"}, [&] {
    layer.infer_backward(row_of(x.data()), row_of(dy.data()), row_of(dx.data()),
                         ek::add_relu(residual_row, in_variance));
  });
  // nor those of parameters.
  const auto function = [&](auto&& mean, auto&& grad_gamma) {
    Eigen::ArrayXf grad_beta;
    return refusal([&] {
      batch_norm_infer_backward(Eigen::DefaultDevice(), view<kRows>(x, shape), view<kRows>(dy, shape),
                                layer.gamma(), mean, layer.running_var(), {}, view<kRows>(dx, shape),
                                grad_gamma, grad_beta);
    });
  };
  Eigen::ArrayXf mean = Eigen::ArrayXf::Zero(6), grad_gamma;
  EXPECT_EQ(function(mean, mean), "evenkeel::batch_norm_infer_backward: grad_gamma overlaps running_mean");
  EXPECT_EQ(function(Eigen::ArrayXf(), grad_gamma),
            "evenkeel::batch_norm_infer_backward: running_mean has 0 values, expected 6");
}

}  // namespace
}  // namespace ek_test
