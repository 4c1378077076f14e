// What only batch norm has: running statistics, and channels with too few values.
#include <gtest/gtest.h>

#include <cmath>
#include <evenkeel/batch_norm.hpp>
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

ek::BatchNormOptions with_momentum(std::optional<double> momentum) {
  ek::BatchNormOptions options;
  options.momentum = momentum;
  return options;
}

template <typename C>
class BatchNormRunning : public ::testing::Test {
 protected:
  using S = typename C::Scalar;

  // Batches of 4 samples of 2 channels: {channel 0, channel 1}, in any order of memory.
  static constexpr double kFirst[2][4] = {{1, 2, 3, 6}, {-1, -1, 1, 1}};  // means 3, 0; M2 14, 4
  static constexpr double kSecond[2][4] = {{5, 5, 5, 9}, {2, 2, 2, 2}};   // means 6, 2; M2 12, 0
  static constexpr double kThird[2][4] = {{0, 0, 0, 0}, {0, 3, 0, 1}};    // means 0, 1; M2 0, 6

  static void train(ek::BatchNorm<S>& layer, const double (&batch)[2][4]) {
    const Shape shape = {4, 2};
    const IndexMap map = batch_norm_map(shape, C::kOrder);
    std::vector<S> x(8), y(8);
    int next[2] = {0, 0};
    for (std::size_t i = 0; i < 8; ++i) {
      const Index channel = map.set[i];
      x[i] = static_cast<S>(batch[channel][next[channel]++]);
    }
    layer.forward(view<C::kOrder>(x.data(), shape), view<C::kOrder>(y.data(), shape));
  }

  // Each update rounds a few times to the type of the running statistics.
  static void expect(const ek::BatchNorm<S>& layer, std::vector<double> mean, std::vector<double> var) {
    const double unit = static_cast<double>(std::numeric_limits<S>::epsilon());
    for (Index c = 0; c < 2; ++c) {
      EXPECT_NEAR(static_cast<double>(layer.running_mean()[c]), mean[at(c)],
                  4 * unit * std::fabs(mean[at(c)]))
          << c;
      EXPECT_NEAR(static_cast<double>(layer.running_var()[c]), var[at(c)], 4 * unit * var[at(c)]) << c;
    }
  }
};

TYPED_TEST_SUITE(BatchNormRunning, VectorCases, CaseName);

TYPED_TEST(BatchNormRunning, BeginAtZeroAndOne) {
  ek::BatchNorm<typename TypeParam::Scalar> layer(2);
  EXPECT_EQ(to_real(layer.running_mean()), (std::vector<Real>{0, 0}));
  EXPECT_EQ(to_real(layer.running_var()), (std::vector<Real>{1, 1}));
  EXPECT_EQ(layer.num_batches_tracked(), 0);
  EXPECT_EQ(layer.rejected_batches(), 0);
}

TYPED_TEST(BatchNormRunning, MoveByTheMomentumTowardsTheUnbiasedVariance) {
  ek::BatchNorm<typename TypeParam::Scalar> layer(2);  // momentum 0.1
  this->train(layer, this->kFirst);
  this->expect(layer, {0.3, 0}, {0.9 + 0.1 * 14 / 3, 0.9 + 0.1 * 4 / 3});
  this->train(layer, this->kSecond);
  this->expect(layer, {0.87, 0.2}, {0.81 + 0.09 * 14 / 3 + 0.4, 0.81 + 0.09 * 4 / 3});
  EXPECT_EQ(layer.num_batches_tracked(), 2);
}

TYPED_TEST(BatchNormRunning, OfAMomentumOfAQuarter) {
  ek::BatchNorm<typename TypeParam::Scalar> layer(2, with_momentum(0.25));
  this->train(layer, this->kSecond);
  this->expect(layer, {1.5, 0.5}, {0.75 + 0.25 * 4, 0.75});
}

TYPED_TEST(BatchNormRunning, AverageAllBatchesWithoutAMomentum) {
  ek::BatchNorm<typename TypeParam::Scalar> layer(2, with_momentum(std::nullopt));
  this->train(layer, this->kFirst);
  this->expect(layer, {3, 0}, {14.0 / 3, 4.0 / 3});
  this->train(layer, this->kSecond);
  this->expect(layer, {4.5, 1}, {13.0 / 3, 2.0 / 3});
  this->train(layer, this->kThird);
  this->expect(layer, {3, 1}, {26.0 / 9, 10.0 / 9});
  EXPECT_EQ(layer.num_batches_tracked(), 3);
}

TYPED_TEST(BatchNormRunning, AverageGoesOnFromWhatIsLoaded) {
  using Layer = ek::BatchNorm<typename TypeParam::Scalar>;
  Layer saved(2, with_momentum(std::nullopt)), loaded = saved;
  this->train(saved, this->kFirst);
  this->train(saved, this->kSecond);
  loaded.running_mean() = saved.running_mean();
  loaded.running_var() = saved.running_var();
  loaded.num_batches_tracked() = std::as_const(saved).num_batches_tracked();
  for (Layer* layer : {&saved, &loaded}) {
    this->train(*layer, this->kThird);
    this->expect(*layer, {3, 1}, {26.0 / 9, 10.0 / 9});
    EXPECT_EQ(layer->num_batches_tracked(), 3);
  }
  loaded.num_batches_tracked() = -1;
  EXPECT_TRUE(says(refusal([&] { this->train(loaded, this->kFirst); }),
                   {"evenkeel::BatchNorm::forward:", "num_batches_tracked", "-1", "0"}));
}

TYPED_TEST(BatchNormRunning, StayWithMomentumZeroAndFollowWithMomentumOne) {
  ek::BatchNorm<typename TypeParam::Scalar> still(2, with_momentum(0)), follows(2, with_momentum(1));
  for (auto* layer : {&still, &follows}) {
    this->train(*layer, this->kFirst);
    this->train(*layer, this->kThird);
    EXPECT_EQ(layer->num_batches_tracked(), 2);
  }
  this->expect(still, {0, 0}, {1, 1});
  this->expect(follows, {0, 1}, {0, 2});
}

TYPED_TEST(BatchNormRunning, AreUsedByInfer) {
  using Scalar = typename TypeParam::Scalar;
  ek::BatchNormOptions options = with_momentum(1);
  options.epsilon = 0;
  ek::BatchNorm<Scalar> layer(1, options);
  std::vector<Scalar> x = {1, 3, 5, 7, 9}, y(5);  // mean 5, M2 40, unbiased variance 10
  layer.forward(view<Eigen::RowMajor>(x.data(), {5, 1}), view<Eigen::RowMajor>(y.data(), {5, 1}));
  Scalar one = 8, result = 0;
  layer.infer(view<Eigen::RowMajor>(&one, {1, 1}), view<Eigen::RowMajor>(&result, {1, 1}));
  EXPECT_NEAR(static_cast<double>(result), 3 / std::sqrt(10.0), 1e-6);  // 3 / sqrt(8) is 10 % away
}

TYPED_TEST(BatchNormRunning, AreAbsentWithoutTracking) {
  ek::BatchNormOptions options;
  options.track_running_stats = false;
  ek::BatchNorm<typename TypeParam::Scalar> layer(2, options);
  this->train(layer, this->kFirst);
  EXPECT_EQ(layer.running_mean().size(), 0);
  EXPECT_EQ(layer.running_var().size(), 0);
  EXPECT_EQ(layer.num_batches_tracked(), 0);
}

TYPED_TEST(BatchNormRunning, AreKeptByAnEmptyBatch) {
  using Scalar = typename TypeParam::Scalar;
  for (std::optional<double> momentum : {std::optional<double>(0.1), std::optional<double>()}) {
    ek::BatchNorm<Scalar> layer(2, with_momentum(momentum));
    this->train(layer, this->kFirst);
    const std::vector<Real> mean = to_real(layer.running_mean()), var = to_real(layer.running_var());
    Scalar nothing = 0;
    layer.forward(view<TypeParam::kOrder>(&nothing, {0, 2}), view<TypeParam::kOrder>(&nothing, {0, 2}));
    EXPECT_EQ(to_real(layer.running_mean()), mean);
    EXPECT_EQ(to_real(layer.running_var()), var);
    EXPECT_EQ(layer.num_batches_tracked(), 1);
    EXPECT_EQ(layer.rejected_batches(), 0);
  }
}

// One bad channel keeps the whole batch out, and the next good batch counts as if it had never been.
TYPED_TEST(BatchNormRunning, RejectBatchesThatAreNotFinite) {
  using Scalar = typename TypeParam::Scalar;
  const double huge = static_cast<double>(std::numeric_limits<Scalar>::max());
  const double bad[] = {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(),
                        -std::numeric_limits<double>::infinity(), huge};  // whose variance no Scalar can hold
  for (std::optional<double> momentum : {std::optional<double>(0.1), std::optional<double>()})
    for (double value : bad) {
      SCOPED_TRACE(value);
      ek::BatchNorm<Scalar> layer(2, with_momentum(momentum)), clean(2, with_momentum(momentum));
      this->train(layer, this->kFirst);
      this->train(clean, this->kFirst);
      const double batch[2][4] = {{1, 2, 3, 4}, {1, value, -1, 2}};
      this->train(layer, batch);
      this->train(layer, batch);
      EXPECT_EQ(layer.rejected_batches(), 2);
      EXPECT_EQ(layer.num_batches_tracked(), 1);
      EXPECT_TRUE(same_bits(layer.running_mean(), clean.running_mean()));
      EXPECT_TRUE(same_bits(layer.running_var(), clean.running_var()));
      this->train(layer, this->kSecond);
      this->train(clean, this->kSecond);
      EXPECT_EQ(layer.rejected_batches(), 2);
      EXPECT_EQ(layer.num_batches_tracked(), 2);
      EXPECT_TRUE(same_bits(layer.running_mean(), clean.running_mean()));
      EXPECT_TRUE(same_bits(layer.running_var(), clean.running_var()));
    }
}

TEST(BatchNorm, RefusesOneValuePerChannelInTraining) {
  for (bool track : {true, false}) {
    ek::BatchNormOptions options;
    options.track_running_stats = track;
    ek::BatchNorm<float> layer(64, options);
    randomize_parameters(layer);
    const Buffer<float> x(random_values<float>(64, 1, 1, 1));
    Buffer<float> y(64);
    for (const Shape& shape : {Shape{1, 64}, Shape{1, 64, 1, 1}})
      expect_refused(layer, y, {"evenkeel::BatchNorm::forward:", "1 value", to_string(shape), "2"}, [&] {
        layer.forward(view<Eigen::RowMajor>(x, shape), view<Eigen::RowMajor>(y, shape));
      });
  }
}

TEST(BatchNorm, InfersOneValuePerChannel) {
  ek::BatchNorm<float> layer(3);
  layer.running_mean() << 1, 2, 3;
  layer.running_var().setConstant(4);
  layer.gamma().setConstant(2);
  layer.beta().setConstant(-1);
  std::vector<float> x = {3, 3, 3}, y(3);
  layer.infer(view<Eigen::RowMajor>(x.data(), {1, 3}), view<Eigen::RowMajor>(y.data(), {1, 3}));
  for (std::size_t c = 0; c < 3; ++c)  // 1e-5 beside 4 moves y by 2.5e-6
    EXPECT_NEAR(y[c], static_cast<float>(3 - 1 - static_cast<int>(c)) - 1, 1e-5);
}

TEST(BatchNorm, SavesOneMomentPerChannel) {
  ek::BatchNormOptions options;
  options.epsilon = 0.5;
  ek::BatchNorm<float> layer(2, options);
  std::vector<float> x = {1, 0, 2, 0, 3, 0, 6, 0}, y(8);  // channel 0: mean 3, variance 3.5
  layer.forward(view<Eigen::RowMajor>(x.data(), {4, 2}), view<Eigen::RowMajor>(y.data(), {4, 2}));
  EXPECT_EQ(to_real(layer.saved_mean()), (std::vector<Real>{3, 0}));
  EXPECT_NEAR(static_cast<double>(layer.saved_inv_std()[0]), 0.5, 1e-15);
  EXPECT_NEAR(static_cast<double>(layer.saved_inv_std()[1]), std::sqrt(2.0), 1e-15);
}

TEST(BatchNorm, RefusesABadMomentum) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (double momentum : {2.0, -0.5, 1.0000001, -1e-30, nan})
    EXPECT_TRUE(says(refusal([&] { ek::BatchNorm<float>(4, with_momentum(momentum)); }),
                     {"evenkeel::BatchNorm::BatchNorm:", "momentum", "0", "1"}));
  EXPECT_TRUE(says(refusal([&] { ek::BatchNorm<float>(4, with_momentum(2)); }), {"2"}));
  EXPECT_TRUE(says(refusal([&] { ek::BatchNorm<float>(4, with_momentum(-0.5)); }), {"-0.5"}));
}

TEST(BatchNorm, RefusesANegativeNumberOfChannels) {
  EXPECT_TRUE(says(refusal([] { ek::BatchNorm<float>(-3); }), {"evenkeel::BatchNorm::BatchNorm:", "-3"}));
}

TEST(BatchNorm, RefusesRunningStatisticsOfAnotherSize) {
  ek::BatchNorm<float> layer(6);
  const Buffer<float> x(random_values<float>(12, 0, 1, 1));
  Buffer<float> y(12);
  layer.running_var().resize(5);
  layer.running_var().setOnes();
  expect_refused(layer, y, {"evenkeel::BatchNorm::infer:", "5", "6"}, [&] {
    layer.infer(view<Eigen::RowMajor>(x, {2, 6}), view<Eigen::RowMajor>(y, {2, 6}));
  });
}

TEST(BatchNorm, HasTheDocumentedDefaults) {
  const ek::BatchNormOptions options;
  EXPECT_EQ(options.epsilon, 1e-5);
  EXPECT_EQ(options.momentum, 0.1);
  EXPECT_EQ(options.axis, 1);
  EXPECT_TRUE(options.affine);
  EXPECT_TRUE(options.track_running_stats);
}

// Options are plain aggregates, in the documented order.
TEST(BatchNorm, OptionsAreAggregates) {
  const ek::BatchNormOptions options{1e-3, std::nullopt, -1, false, false};
  EXPECT_EQ(options.epsilon, 1e-3);
  EXPECT_FALSE(options.momentum.has_value());
  EXPECT_EQ(options.axis, -1);
  EXPECT_FALSE(options.affine);
  EXPECT_FALSE(options.track_running_stats);
}

TEST(BatchNorm, TrainingRefusesResizedRunningStatistics) {
  ek::BatchNorm<float> layer(4);
  const Buffer<float> x(random_values<float>(32, 0, 1, 1));
  Buffer<float> y(32);
  layer.running_mean() = Eigen::ArrayXf::Zero(9);
  const Shape shape = {8, 4};
  expect_refused(layer, y, {"BatchNorm::forward", "running_mean", "9", "4"},
                 [&] { layer.forward(view<Eigen::RowMajor>(x, shape), view<Eigen::RowMajor>(y, shape)); });
}

}  // namespace
}  // namespace ek_test
