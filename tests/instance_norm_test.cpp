// What only instance norm has: statistics of each channel of each sample, and the running ones that they make.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <evenkeel/evenkeel.hpp>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "support/contract.hpp"
#include "support/data.hpp"
#include "support/same.hpp"
#include "support/state.hpp"

namespace ek_test {
namespace {

template <typename T>
auto row_major_view(T* data, const Shape& shape) {
  return view<Eigen::RowMajor>(data, shape);
}

ek::InstanceNormOptions tracking(std::optional<double> momentum = 0.1, bool unbiased = true) {
  ek::InstanceNormOptions options;
  options.momentum = momentum;
  options.track_running_stats = true;
  options.unbiased_running_var = unbiased;
  return options;
}

// Two samples of two channels of four places, epsilon 0.
TEST(InstanceNorm, NormalizesEachChannelOfEachSample) {
  ek::InstanceNormOptions options;
  options.epsilon = 0;
  options.affine = true;
  ek::InstanceNorm<double> layer(2, options);
  layer.gamma() << 1, 10;
  layer.beta() << 0.5, 0;
  std::vector<double> x = {1, 3, 1, 3, 9, 5, 5, 9, 8, 0, 8, 0, -1, 1, 1, -1}, y(16);
  const Shape shape = {2, 2, 4};
  layer.forward(row_major_view(x.data(), shape), row_major_view(y.data(), shape));
  EXPECT_EQ(y, (std::vector<double>{-0.5, 1.5, -0.5, 1.5, 10, -10, -10, 10, 1.5, -0.5, 1.5, -0.5, -10, 10, 10,
                                    -10}));
  EXPECT_EQ(to_real(layer.saved_mean()), (std::vector<Real>{2, 7, 4, 0}));
  EXPECT_EQ(to_real(layer.saved_inv_std()), (std::vector<Real>{1, 0.5L, 0.25L, 1}));
}

// With parameters it is group norm to the bit; without, layer norm of short planes.
TEST(InstanceNorm, IsGroupNormOfOneChannelAGroup) {
  for (const Shape& shape : {Shape{3, 4, 5}, Shape{2, 4, 7, 7}, Shape{2, 4, 3000}}) {
    ek::InstanceNormOptions options;
    options.affine = true;
    ek::InstanceNorm<float> layer(4, options);
    ek::GroupNorm<float> group(4, 4);
    randomize_parameters(layer);
    randomize_parameters(group);
    const Index size = size_of(shape);
    const std::vector<float> x = random_values<float>(size, 1, 1, 1),
                             dy = random_values<float>(size, 0, 1, 2);
    std::vector<float> y(at(size)), dx(at(size)), its_y(at(size)), its_dx(at(size));
    const auto run = [&](auto& norm, std::vector<float>& to_y, std::vector<float>& to_dx) {
      norm.forward(row_major_view(x.data(), shape), row_major_view(to_y.data(), shape));
      norm.backward(row_major_view(x.data(), shape), row_major_view(dy.data(), shape),
                    row_major_view(to_dx.data(), shape));
    };
    run(layer, y, dx);
    run(group, its_y, its_dx);
    EXPECT_TRUE(same_bits(y, its_y)) << to_string(shape);
    EXPECT_TRUE(same_bits(dx, its_dx)) << to_string(shape);
    EXPECT_TRUE(same_bits(layer.saved_mean(), group.saved_mean()));
    EXPECT_TRUE(same_bits(layer.grad_gamma(), group.grad_gamma()));
    EXPECT_TRUE(same_bits(layer.grad_beta(), group.grad_beta()));

    if (size_of(shape) / 4 / shape[0] > 128) continue;
    ek::InstanceNorm<float> plain(4);
    ek::LayerNormOptions last;
    last.affine = false;
    ek::LayerNorm<float> rows(Shape(shape.begin() + 2, shape.end()), last);
    run(plain, y, dx);
    run(rows, its_y, its_dx);
    EXPECT_TRUE(same_bits(y, its_y)) << to_string(shape);
    EXPECT_TRUE(same_bits(dx, its_dx)) << to_string(shape);
  }
}

TEST(InstanceNorm, OfATensorWithoutABatchAxis) {
  ek::InstanceNormOptions options;
  options.axis = 0;
  options.batch_axis = ek::no_axis;
  ek::InstanceNorm<float> layer(3, options), batched(3);
  const std::vector<float> x = random_values<float>(3 * 35, 2, 1, 1);
  std::vector<float> y(x.size()), its_y(x.size());
  layer.forward(row_major_view(x.data(), {3, 5, 7}), row_major_view(y.data(), {3, 5, 7}));
  batched.forward(row_major_view(x.data(), {1, 3, 5, 7}), row_major_view(its_y.data(), {1, 3, 5, 7}));
  EXPECT_TRUE(same_bits(y, its_y));
  EXPECT_EQ(layer.saved_mean().size(), 3);
}

TEST(InstanceNorm, RefusesOneValuePerChannelAndSample) {
  for (bool track : {true, false}) {
    ek::InstanceNormOptions options;
    options.track_running_stats = track;
    ek::InstanceNorm<float> layer(8, options);
    const Buffer<float> x(random_values<float>(24, 1, 1, 1));
    Buffer<float> y(24);
    for (const Shape& shape : {Shape{3, 8}, Shape{3, 8, 1, 1}}) {
      const std::string rule = ": x has 1 value per channel and sample in " + to_string(shape) +
                               ", its own statistics need at least 2";
      const auto in = row_major_view(x.data(), shape);
      const auto out = row_major_view(y.data(), shape);
      expect_refused(layer, y, {"evenkeel::InstanceNorm::forward" + rule}, [&] { layer.forward(in, out); });
      expect_refused(layer, y, {"evenkeel::InstanceNorm::recompute" + rule},
                     [&] { layer.recompute(in, out); });
      if (!track)
        expect_refused(layer, y, {"evenkeel::InstanceNorm::infer" + rule}, [&] { layer.infer(in, out); });
    }
  }
}

TEST(InstanceNorm, RefusesAxesThatAreTheSameOrNoneOfX) {
  const Buffer<float> x(random_values<float>(120, 0, 1, 1));
  Buffer<float> y(120);
  const Shape shape = {4, 6, 5};
  for (const auto& [axis, batch_axis] : {std::pair<Index, Index>(1, 1), {1, -2}, {1, 3}, {3, 0}, {-4, 0}}) {
    ek::InstanceNormOptions options;
    options.axis = axis;
    options.batch_axis = batch_axis;
    ek::InstanceNorm<float> layer(6, options);
    expect_refused(layer, y, {"evenkeel::InstanceNorm::forward:", "[4, 6, 5]"},
                   [&] { layer.forward(row_major_view(x.data(), shape), row_major_view(y.data(), shape)); });
  }
  EXPECT_TRUE(says(refusal([] { ek::InstanceNorm<float>(0); }),
                   {"evenkeel::InstanceNorm::InstanceNorm: channels is 0, must be at least 1"}));
  EXPECT_TRUE(says(refusal([] { ek::InstanceNorm<float>(2, tracking(2)); }),
                   {"evenkeel::InstanceNorm::InstanceNorm: momentum is 2", "[0, 1]"}));
}

TEST(InstanceNorm, HasTheDocumentedDefaultsInTheDocumentedOrder) {
  const ek::InstanceNormOptions defaults, options{1e-3, std::nullopt, 2, 3, true, true, false};
  EXPECT_EQ(defaults.epsilon, 1e-5);
  EXPECT_EQ(defaults.momentum, 0.1);
  EXPECT_EQ(defaults.axis, 1);
  EXPECT_EQ(defaults.batch_axis, 0);
  EXPECT_FALSE(defaults.affine);
  EXPECT_FALSE(defaults.track_running_stats);
  EXPECT_TRUE(defaults.unbiased_running_var);
  EXPECT_FALSE(options.momentum.has_value());
  EXPECT_EQ(options.axis, 2);
  EXPECT_EQ(options.batch_axis, 3);
  EXPECT_TRUE(options.affine && options.track_running_stats);
  EXPECT_FALSE(options.unbiased_running_var);
}

template <typename C>
class InstanceNormRunning : public ::testing::Test {
 protected:
  using S = typename C::Scalar;

  // Two samples of two channels of four places. Means {3, 0}, {5, 2}; M2 {14, 4}, {12, 0}: averages of the biased
  // variances 3.25 and 0.5, of the unbiased 13 / 3 and 2 / 3.
  static constexpr double kFirst[2][2][4] = {{{1, 2, 3, 6}, {-1, -1, 1, 1}}, {{4, 4, 4, 8}, {2, 2, 2, 2}}};
  // Means {0, 1}, {0, 1}; M2 {0, 6}, {0, 6}.
  static constexpr double kSecond[2][2][4] = {{{0, 0, 0, 0}, {0, 3, 0, 1}}, {{0, 0, 0, 0}, {3, 0, 1, 0}}};

  static std::vector<S> laid(const double (&batch)[2][2][4]) {
    const Shape shape = {2, 2, 4};
    std::vector<S> x;
    Shape where(3, 0);
    for (int i = 0; i < 16; ++i, advance(where, shape, memory_order(3, C::kOrder)))
      x.push_back(static_cast<S>(batch[where[0]][where[1]][where[2]]));
    return x;
  }

  static void train(ek::InstanceNorm<S>& layer, const double (&batch)[2][2][4]) {
    const std::vector<S> x = laid(batch);
    std::vector<S> y(16);
    layer.forward(view<C::kOrder>(x.data(), {2, 2, 4}), view<C::kOrder>(y.data(), {2, 2, 4}));
  }

  // Each update rounds a few times to the type of the running statistics.
  static void expect(const ek::InstanceNorm<S>& layer, std::vector<double> mean, std::vector<double> var) {
    const double unit = static_cast<double>(std::numeric_limits<S>::epsilon());
    for (Index c = 0; c < 2; ++c) {
      EXPECT_NEAR(static_cast<double>(layer.running_mean()[c]), mean[at(c)],
                  4 * unit * std::fabs(mean[at(c)]))
          << c;
      EXPECT_NEAR(static_cast<double>(layer.running_var()[c]), var[at(c)], 4 * unit * var[at(c)]) << c;
    }
  }
};

TYPED_TEST_SUITE(InstanceNormRunning, VectorCases, CaseName);

TYPED_TEST(InstanceNormRunning, AreAbsentByDefault) {
  ek::InstanceNorm<typename TypeParam::Scalar> layer(2);
  this->train(layer, this->kFirst);
  EXPECT_EQ(layer.running_mean().size(), 0);
  EXPECT_EQ(layer.running_var().size(), 0);
  EXPECT_EQ(layer.num_batches_tracked(), 0);
}

TYPED_TEST(InstanceNormRunning, MoveByTheAverageOfTheSamples) {
  using Scalar = typename TypeParam::Scalar;
  ek::InstanceNorm<Scalar> unbiased(2, tracking()), biased(2, tracking(0.1, false));
  this->train(unbiased, this->kFirst);
  this->expect(unbiased, {0.4, 0.1}, {0.9 + 0.1 * 13 / 3, 0.9 + 0.1 * 2 / 3});
  this->train(biased, this->kFirst);
  this->expect(biased, {0.4, 0.1}, {0.9 + 0.1 * 3.25, 0.9 + 0.1 * 0.5});
  this->train(unbiased, this->kSecond);
  this->expect(unbiased, {0.36, 0.19}, {0.81 + 0.09 * 13 / 3, 0.81 + 0.09 * 2 / 3 + 0.1 * 2});
  EXPECT_EQ(unbiased.num_batches_tracked(), 2);

  ek::InstanceNorm<Scalar> average(2, tracking(std::nullopt));
  this->train(average, this->kFirst);
  this->train(average, this->kSecond);
  this->expect(average, {2, 1}, {13.0 / 6, 4.0 / 3});
}

TYPED_TEST(InstanceNormRunning, AreUsedByInfer) {
  using Scalar = typename TypeParam::Scalar;
  constexpr int kOrder = TypeParam::kOrder;
  for (const Shape& shape : {Shape{2, 4, 5}, Shape{3, 4}, Shape{2, 4, 300}, Shape{0, 4, 3}}) {
    ek::InstanceNormOptions options = tracking();
    options.affine = true;
    ek::InstanceNorm<Scalar> layer(4, options);
    ek::BatchNorm<Scalar> batch(4);
    const auto set = [&](auto& norm) {
      randomize_parameters(norm);
      norm.running_mean() << 1, 2, 3, 4;
      norm.running_var() << 1, 2, 3, 4;
    };
    set(layer);
    set(batch);
    const std::vector<Scalar> x = random_values<Scalar>(size_of(shape), 2, 1, 1);
    std::vector<Scalar> y(x.size()), its_y(x.size()), function_y(x.size());
    const auto in = view<kOrder>(x.data(), shape);
    layer.infer(in, view<kOrder>(y.data(), shape));
    batch.infer(in, view<kOrder>(its_y.data(), shape));
    instance_norm_infer(Eigen::DefaultDevice(), in, layer.gamma(), layer.beta(), layer.running_mean(),
                        layer.running_var(), options, view<kOrder>(function_y.data(), shape));
    EXPECT_TRUE(same_bits(y, its_y)) << to_string(shape);
    EXPECT_TRUE(same_bits(function_y, its_y)) << to_string(shape);
  }
}

TYPED_TEST(InstanceNormRunning, AreKeptByAnEmptyBatch) {
  using Scalar = typename TypeParam::Scalar;
  ek::InstanceNorm<Scalar> layer(2, tracking());
  this->train(layer, this->kFirst);
  const std::vector<Real> mean = to_real(layer.running_mean()), var = to_real(layer.running_var());
  Scalar nothing = 0;
  for (const Shape& shape : {Shape{0, 2, 4}, Shape{3, 2, 0}, Shape{0, 2}}) {
    const auto none = view<TypeParam::kOrder>(&nothing, shape);
    layer.forward(none, none);
    layer.updates_running_stats(false);
    layer.forward(none, none);
    layer.update_running_stats();
    layer.updates_running_stats(true);
  }
  EXPECT_EQ(to_real(layer.running_mean()), mean);
  EXPECT_EQ(to_real(layer.running_var()), var);
  EXPECT_EQ(layer.num_batches_tracked(), 1);
  EXPECT_EQ(layer.rejected_batches(), 0);
}

// One sample spoils its channel for the batch, and no other channel.
TYPED_TEST(InstanceNormRunning, RejectChannelsThatAreNotFinite) {
  using Scalar = typename TypeParam::Scalar;
  ek::InstanceNorm<Scalar> layer(2, tracking(1));
  this->train(layer, this->kFirst);
  double batch[2][2][4] = {{{1, 2, 3, 6}, {0, 3, 0, 1}}, {{5, 5, 5, 9}, {0, 3, 0, 1}}};
  batch[1][0][2] = std::numeric_limits<double>::infinity();
  this->train(layer, batch);
  this->expect(layer, {4, 1}, {13.0 / 3, 2});
  EXPECT_EQ(layer.rejected_batches(), 1);
  EXPECT_EQ(layer.rejected_batches(0), 1);
  EXPECT_EQ(layer.rejected_batches(1), 0);
  EXPECT_EQ(layer.num_batches_tracked(), 2);
}

// The average of the samples does not overflow where each of them does not.
TYPED_TEST(InstanceNormRunning, AverageLargeMeans) {
  using Scalar = typename TypeParam::Scalar;
  const Scalar large = std::numeric_limits<Scalar>::max() / 2;
  ek::InstanceNorm<Scalar> layer(1, tracking(1));
  const std::vector<Scalar> x(12, large);
  std::vector<Scalar> y(12);
  layer.forward(row_major_view(x.data(), {6, 1, 2}), row_major_view(y.data(), {6, 1, 2}));
  EXPECT_NEAR(static_cast<double>(layer.running_mean()[0] / large), 1, 1e-15);
  EXPECT_EQ(layer.rejected_batches(), 0);
}

TYPED_TEST(InstanceNormRunning, MayBeMovedLaterAndLoaded) {
  using Scalar = typename TypeParam::Scalar;
  ek::InstanceNorm<Scalar> layer(2, tracking()), always(2, tracking());
  const std::string who = "evenkeel::InstanceNorm::update_running_stats: ";
  EXPECT_EQ(refusal([&] { layer.update_running_stats(); }), who + "no forward has left its update");
  layer.updates_running_stats(false);
  this->train(layer, this->kFirst);
  EXPECT_EQ(layer.num_batches_tracked(), 0);
  layer.update_running_stats();
  this->train(always, this->kFirst);
  EXPECT_TRUE(same_bits(state_of(layer), state_of(always)));
  EXPECT_EQ(refusal([&] { layer.update_running_stats(); }), who + "no forward has left its update");
  ek::InstanceNorm<Scalar> plain(2);
  this->train(plain, this->kFirst);
  EXPECT_EQ(refusal([&] { plain.update_running_stats(); }), who + "the layer tracks no running statistics");

  ek::InstanceNorm<Scalar> loaded(2, tracking());
  loaded.set_running_stats(layer.exact_running_mean(), layer.exact_running_var());
  EXPECT_TRUE(same_bits(loaded.exact_running_mean(), layer.exact_running_mean()));
  EXPECT_TRUE(same_bits(loaded.exact_running_var(), layer.exact_running_var()));
  loaded.momentum(0.5);
  EXPECT_EQ(loaded.options().momentum, 0.5);
  loaded.running_var()[1] = -1;
  EXPECT_TRUE(says(refusal([&] {
                     Scalar one[2] = {1, 1};
                     const auto x = view<TypeParam::kOrder>(one, {1, 2});
                     loaded.infer(x, x);
                   }),
                   {"evenkeel::InstanceNorm::infer: running_var[1] is -1"}));
}

}  // namespace
}  // namespace ek_test
