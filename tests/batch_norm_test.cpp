// What only batch norm has: running statistics, and channels with too few values.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
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

TYPED_TEST(BatchNormRunning, AreItsBuffers) {
  using Scalar = typename TypeParam::Scalar;
  ek::BatchNorm<Scalar> layer(2);
  this->train(layer, this->kFirst);
  const auto& trained = layer;
  std::vector<std::string> names;
  for (auto b : trained.buffers()) {
    static_assert(std::is_const_v<std::remove_pointer_t<decltype(b.value.data())>>);
    names.push_back(b.name);
  }
  EXPECT_EQ(names, (std::vector<std::string>{"running_mean", "running_var"}));
  EXPECT_EQ(trained.buffers()[0].value.data(), layer.running_mean().data());
  EXPECT_EQ(trained.buffers()["running_var"].value.data(), layer.running_var().data());
  for (auto b : layer.buffers()) b.value.setConstant(Scalar(2));
  EXPECT_EQ(to_real(layer.exact_running_mean()), (std::vector<Real>{2, 2}));
  layer.running_var().resize(3);
  EXPECT_EQ(refusal([&] { trained.buffers(); }),
            "evenkeel::BatchNorm::buffers: running_var has 3 values, expected 2");
}

TYPED_TEST(BatchNormRunning, AreAbsentWithoutTracking) {
  ek::BatchNormOptions options;
  options.track_running_stats = false;
  ek::BatchNorm<typename TypeParam::Scalar> layer(2, options);
  this->train(layer, this->kFirst);
  EXPECT_EQ(layer.running_mean().size(), 0);
  EXPECT_EQ(layer.running_var().size(), 0);
  EXPECT_EQ(layer.num_batches_tracked(), 0);
  EXPECT_EQ(layer.buffers().size(), 0);
  EXPECT_EQ(layer.text(),
            "BatchNorm(2, epsilon=1e-05, momentum=0.1, axis=1, affine=true, track_running_stats=false, "
            "unbiased_running_var=true, gamma_offset=0)");
  layer.momentum(std::nullopt);
  EXPECT_TRUE(says(layer.text(), {"momentum=nullopt"}));
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

// A bad channel stays where it is, the others move, and the next good batch counts as if the bad one had never been.
TYPED_TEST(BatchNormRunning, RejectChannelsThatAreNotFinite) {
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
      ek::BatchNorm<Scalar> all(2, with_momentum(momentum));  // has the batch with a good channel 1
      this->train(all, this->kFirst);
      const double batch[2][4] = {{1, 2, 3, 4}, {1, value, -1, 2}}, good[2][4] = {{1, 2, 3, 4}, {1, 2, 3, 4}};
      const auto expect = [&](Index rejected, Index tracked) {
        EXPECT_EQ(layer.rejected_batches(), rejected);
        EXPECT_EQ(layer.rejected_batches(0), 0);
        EXPECT_EQ(layer.rejected_batches(1), rejected);
        EXPECT_EQ(layer.num_batches_tracked(), tracked);
        EXPECT_EQ(layer.exact_running_mean()[0], all.exact_running_mean()[0]);
        EXPECT_EQ(layer.exact_running_var()[0], all.exact_running_var()[0]);
        EXPECT_EQ(layer.exact_running_mean()[1], clean.exact_running_mean()[1]);
        EXPECT_EQ(layer.exact_running_var()[1], clean.exact_running_var()[1]);
      };
      for (Index rejected : {1, 2}) {
        this->train(layer, batch);
        this->train(all, good);
        expect(rejected, 1 + rejected);
      }
      for (auto* each : {&layer, &clean, &all}) this->train(*each, this->kSecond);
      expect(2, 4);
      const double spoilt[2][4] = {{1, value, -1, 2}, {value, 1, -1, 2}};
      this->train(layer, spoilt);
      EXPECT_EQ(layer.rejected_batches(), 3);
      EXPECT_EQ(layer.rejected_batches(0), 1);
      EXPECT_EQ(layer.rejected_batches(1), 3);
      EXPECT_EQ(layer.num_batches_tracked(), 4) << "it moved no channel";
    }
  const ek::BatchNorm<Scalar> two(2);
  for (Index channel : {-1, 2})
    EXPECT_TRUE(
        says(refusal([&] { (void)two.rejected_batches(channel); }),
             {"evenkeel::BatchNorm::rejected_batches: channel is ", std::to_string(channel), "[0, 1]"}));
}

// Values of standard deviation 2e19: their variance is beyond float, y is not.
TEST(BatchNorm, OneWideChannelDoesNotFreezeTheOthers) {
  ek::BatchNorm<float> layer(2, with_momentum(1));
  std::vector<float> x = {1, -2e19f, 3, 2e19f, 5, -2e19f, 7, 2e19f}, y(8);
  layer.forward(view<Eigen::RowMajor>(x.data(), {4, 2}), view<Eigen::RowMajor>(y.data(), {4, 2}));
  EXPECT_EQ(layer.running_mean()[0], 4);
  EXPECT_FLOAT_EQ(layer.running_var()[0], 20.0f / 3);
  EXPECT_EQ(layer.running_mean()[1], 0);
  EXPECT_EQ(layer.running_var()[1], 1);
  EXPECT_EQ(layer.rejected_batches(1), 1);
  EXPECT_FLOAT_EQ(y[1], -1);
}

// The average of a channel is over the batches that moved it, whatever num_batches_tracked was assigned before.
TYPED_TEST(BatchNormRunning, AverageEachChannelOverItsBatches) {
  using Scalar = typename TypeParam::Scalar;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double no_second[2][4] = {{5, 5, 5, 9}, {2, nan, 2, 2}},
               no_first[2][4] = {{nan, 0, 0, 0}, {0, 3, 0, 1}};
  ek::BatchNorm<Scalar> layer(2, with_momentum(std::nullopt));
  this->train(layer, no_second);
  this->expect(layer, {6, 0}, {4, 1});
  this->train(layer, this->kFirst);
  this->expect(layer, {4.5, 0}, {13.0 / 3, 4.0 / 3});  // channel 1: its first one
  this->train(layer, no_first);
  this->expect(layer, {4.5, 0.5}, {13.0 / 3, 5.0 / 3});
  EXPECT_EQ(layer.num_batches_tracked(), 3);
  layer.num_batches_tracked() = 0;  // begins again
  this->train(layer, this->kFirst);
  this->train(layer, this->kSecond);
  this->expect(layer, {4.5, 1}, {13.0 / 3, 2.0 / 3});
  EXPECT_EQ(layer.num_batches_tracked(), 2);
}

TYPED_TEST(BatchNormRunning, AWeightOfOneReplacesWhateverWasThere) {
  using Limits = std::numeric_limits<typename TypeParam::Scalar>;
  for (const auto value : {Limits::quiet_NaN(), Limits::infinity(), Limits::max()})
    for (std::optional<double> momentum : {std::optional<double>(1), std::optional<double>()}) {
      ek::BatchNorm<typename TypeParam::Scalar> layer(2, with_momentum(momentum));
      layer.running_mean().setConstant(value);
      layer.running_var().setConstant(value);
      this->train(layer, this->kThird);
      this->expect(layer, {0, 1}, {0, 2});
    }
}

TYPED_TEST(BatchNormRunning, CountNoFurtherThanAnIndex) {
  constexpr Index kMost = std::numeric_limits<Index>::max();
  for (std::optional<double> momentum : {std::optional<double>(0.25), std::optional<double>()}) {
    ek::BatchNorm<typename TypeParam::Scalar> layer(2, with_momentum(momentum));
    layer.num_batches_tracked() = kMost - 1;
    for (int repeat = 0; repeat < 3; ++repeat) this->train(layer, this->kSecond);
    EXPECT_EQ(layer.num_batches_tracked(), kMost);
    const double left = momentum ? 0.75 * 0.75 * 0.75 : 1;
    EXPECT_NEAR(static_cast<double>(layer.running_mean()[0]), 6 * (1 - left), 1e-6);
  }
}

/// The digits of a running statistic that a float has no room for.
constexpr double kDigits = 0x1p-45;

/// x = {999999, 1000001}: steps of the mean that half a unit in the last place of a float swallows.
TEST(RunningStatistics, FollowAFarMean) {
  ek::BatchNorm<float> layer(1, with_momentum(0.01));
  std::vector<float> x = {999999, 1000001}, y(2);
  const auto view_of = [](std::vector<float>& v) { return view<Eigen::RowMajor>(v.data(), {2, 1}); };
  for (int i = 0; i < 100000; ++i) layer.forward(view_of(x), view_of(y));
  EXPECT_EQ(layer.running_mean()[0], 1e6f);
  EXPECT_NEAR(layer.exact_running_mean()[0], 1e6, 1e6 * kDigits);
  EXPECT_NEAR(layer.exact_running_var()[0], 2, 2 * kDigits);
  std::as_const(layer).infer(view_of(x), view_of(y));
  EXPECT_NEAR(y[0], -std::sqrt(0.5), 3e-6);  // epsilon moves it by 1.8e-6
  EXPECT_NEAR(y[1], std::sqrt(0.5), 3e-6);
}

TEST(RunningStatistics, FollowWithASmallMomentum) {
  constexpr Index kRows = 4;
  ek::BatchNorm<float> layer(2, with_momentum(0.001));
  Real mean[2] = {0, 0}, variance[2] = {1, 1};
  std::vector<float> x, y(2 * kRows);
  const auto view_of = [](std::vector<float>& v) { return view<Eigen::RowMajor>(v.data(), {kRows, 2}); };
  for (unsigned i = 0; i < 20000; ++i) {
    x = random_values<float>(2 * kRows, 1e5, 1, i);
    layer.forward(view_of(x), view_of(y));
    for (std::size_t c = 0; c < 2; ++c) {
      Real sum = 0, squares = 0;
      for (std::size_t r = 0; r < kRows; ++r) sum += static_cast<Real>(x[2 * r + c]);
      for (std::size_t r = 0; r < kRows; ++r) {
        const Real d = static_cast<Real>(x[2 * r + c]) - sum / kRows;
        squares += d * d;
      }
      mean[c] += 0.001L * (sum / kRows - mean[c]);
      variance[c] += 0.001L * (squares / (kRows - 1) - variance[c]);
    }
  }
  std::as_const(layer).infer(view_of(x), view_of(y));
  for (std::size_t c = 0; c < 2; ++c) {
    EXPECT_NEAR(layer.exact_running_mean()[static_cast<Index>(c)], static_cast<double>(mean[c]), 1e-7);
    for (std::size_t r = 0; r < kRows; ++r) {
      const Real right = (static_cast<Real>(x[2 * r + c]) - mean[c]) / std::sqrt(variance[c] + Real(1e-5));
      EXPECT_NEAR(y[2 * r + c], static_cast<double>(right),
                  1e-6 * std::max<double>(1, std::fabs(y[2 * r + c])));
    }
  }
}

// Of 3,000,000 batches about 1000 the mean moves by 0.5 halfway.
TEST(RunningStatistics, AverageMillionsOfBatches) {
  ek::detail::RunningStatistics<float, double> running(1);
  ek::Moments<double> batch(1);
  for (int i = 0; i < 3000000; ++i) {
    batch.mean[0] = i < 1500000 ? 1000 : 1000.5;
    batch.variance[0] = 1;
    running.update(batch, 2, std::nullopt);
  }
  EXPECT_NEAR(running.mean.get(0), 1000.25, 1e-6);
  EXPECT_NEAR(running.variance.get(0), 2, 1e-8);
  EXPECT_EQ(running.mean.values[0], 1000.25f);
}

TYPED_TEST(BatchNormRunning, ComeBackWithAllDigits) {
  using Layer = ek::BatchNorm<typename TypeParam::Scalar>;
  using Scalar = typename TypeParam::Scalar;
  Layer saved(2), loaded = saved;
  for (const auto* batch : {&this->kFirst, &this->kSecond, &this->kThird}) this->train(saved, *batch);
  loaded.set_running_stats(saved.exact_running_mean(), saved.exact_running_var());
  EXPECT_TRUE(same_bits(loaded.exact_running_mean(), saved.exact_running_mean()));
  EXPECT_TRUE(same_bits(loaded.exact_running_var(), saved.exact_running_var()));
  EXPECT_TRUE(same_bits(loaded.running_mean(), saved.running_mean()));
  for (const Layer& copy : {loaded, Layer(saved)}) {
    std::vector<Scalar> x = random_values<Scalar>(8, 1, 1, 1), y(8), its_y(8);
    saved.infer(view<TypeParam::kOrder>(x.data(), {4, 2}), view<TypeParam::kOrder>(y.data(), {4, 2}));
    copy.infer(view<TypeParam::kOrder>(x.data(), {4, 2}), view<TypeParam::kOrder>(its_y.data(), {4, 2}));
    EXPECT_TRUE(same_bits(its_y, y));
  }
  // Through the arrays, an entry is what it shows.
  loaded.set_running_stats(loaded.running_mean().template cast<typename Layer::Statistic>(),
                           loaded.running_var().template cast<typename Layer::Statistic>());
  EXPECT_EQ(to_real(loaded.exact_running_mean()), to_real(saved.running_mean()));
  EXPECT_EQ(to_real(loaded.exact_running_var()), to_real(saved.running_var()));

  using Values = ek::Vector<typename Layer::Statistic>;
  EXPECT_TRUE(says(refusal([&] { loaded.set_running_stats(Values(3), Values(2)); }),
                   {"evenkeel::BatchNorm::set_running_stats: mean has 3 values, expected 2"}));
  EXPECT_TRUE(says(refusal([&] { loaded.set_running_stats(Values(2), Values(1)); }),
                   {"evenkeel::BatchNorm::set_running_stats: variance has 1 value, expected 2"}));
  EXPECT_EQ(to_real(loaded.exact_running_mean()), to_real(saved.running_mean()));
}

// An assigned entry replaces all digits, and no other entry's.
TEST(RunningStatistics, AnAssignedEntryCounts) {
  ek::BatchNorm<float> layer(2);
  const double third = 1.0 / 3, far = 1e6 + third;
  Eigen::ArrayXd mean(2), variance(2);
  mean << far, far;
  variance << 1 + third, 1 + third;
  layer.set_running_stats(mean, variance);
  layer.running_mean()[1] = 5;
  layer.running_var()[0] = 7;
  EXPECT_NEAR(layer.exact_running_mean()[0], far, far * kDigits);
  EXPECT_EQ(layer.exact_running_mean()[1], 5);
  EXPECT_EQ(layer.exact_running_var()[0], 7);
  EXPECT_NEAR(layer.exact_running_var()[1], 1 + third, 2 * kDigits);
  std::vector<float> x = {1000001, 7}, y(2);
  layer.running_var().setConstant(1);
  layer.infer(view<Eigen::RowMajor>(x.data(), {1, 2}), view<Eigen::RowMajor>(y.data(), {1, 2}));
  EXPECT_NEAR(y[0], 1 - third, 5e-6);  // epsilon moves it by 3e-6
  EXPECT_NEAR(y[1], 2, 1.1e-5);
  mean.setConstant(1e300);  // which no float holds
  layer.set_running_stats(mean, variance);
  EXPECT_EQ(layer.exact_running_mean()[0], std::numeric_limits<double>::infinity());
}

/// Values that are no variance.
template <typename Param>
std::vector<Param> no_variances() {
  using Limits = std::numeric_limits<Param>;
  return {Param(-1),           -Limits::denorm_min(), Limits::lowest(),    Limits::infinity(),
          -Limits::infinity(), Limits::quiet_NaN(),   -Limits::quiet_NaN()};
}

TYPED_TEST(BatchNormRunning, InferRefusesWhatIsNoVariance) {
  using Scalar = typename TypeParam::Scalar;
  constexpr int kOrder = TypeParam::kOrder;
  const Index channels = 21;
  const Shape shapes[] = {{1, channels},    {3, channels},      {300, channels},
                          {2, channels, 5}, {2, channels, 400}, {0, channels}};
  for (const Shape& shape : shapes)
    for (const Scalar wrong : no_variances<Scalar>())
      for (const Index where : {Index(0), Index(3), channels - 1}) {
        SCOPED_TRACE(to_string(shape));
        ek::BatchNorm<Scalar> layer(channels);
        layer.running_var()[where] = wrong;
        const Index size = size_of(shape);
        const Buffer<Scalar> x(random_values<Scalar>(size, 0, 1, 1));
        Buffer<Scalar> y(size);
        char number[32];
        std::snprintf(number, sizeof number, "%g", static_cast<double>(wrong));
        const std::string rule =
            "running_var[" + std::to_string(where) + "] is " + number + ", must be finite and >= 0";
        expect_refused(layer, y, {"evenkeel::BatchNorm::infer: " + rule},
                       [&] { layer.infer(view<kOrder>(x, shape), view<kOrder>(y, shape)); });
        const ek::Vector<Scalar> none;
        expect_refused(layer, y, {"evenkeel::batch_norm_infer: " + rule}, [&] {
          ek::batch_norm_infer(Eigen::DefaultDevice(), view<kOrder>(x, shape), none, none,
                               layer.running_mean(), layer.running_var(), layer.options(),
                               view<kOrder>(y, shape));
        });
      }
}

// -0 is 0; a mean that is not finite spoils its own channel alone.
TYPED_TEST(BatchNormRunning, InferTakesMinusZeroAndAnyMean) {
  using Scalar = typename TypeParam::Scalar;
  constexpr int kOrder = TypeParam::kOrder;
  for (const Shape& shape : {Shape{1, 9}, Shape{4, 9}, Shape{600, 9}, Shape{2, 9, 400}}) {
    ek::BatchNorm<Scalar> layer(9), zero(9);
    for (auto* each : {&layer, &zero}) each->running_var()[4] = Scalar(0);
    layer.running_var()[4] = -Scalar(0);
    const Index size = size_of(shape);
    const Buffer<Scalar> x(random_values<Scalar>(size, 0, 1, 1));
    Buffer<Scalar> y(size), expected(size);
    layer.infer(view<kOrder>(x, shape), view<kOrder>(y, shape));
    zero.infer(view<kOrder>(x, shape), view<kOrder>(expected, shape));
    EXPECT_TRUE(same_bits(y.values(), expected.values())) << to_string(shape);
    layer.running_mean()[2] = std::numeric_limits<Scalar>::quiet_NaN();
    layer.infer(view<kOrder>(x, shape), view<kOrder>(y, shape));
    const IndexMap map = batch_norm_map(shape, kOrder);
    for (std::size_t i = 0; i < map.set.size(); ++i)
      EXPECT_EQ(std::isnan(y.values()[i]), map.set[i] == 2) << to_string(shape);
  }
}

TYPED_TEST(BatchNormRunning, MomentumMayChange) {
  ek::BatchNorm<typename TypeParam::Scalar> layer(2);
  EXPECT_EQ(layer.momentum(), 0.1);
  layer.momentum(0.25);
  EXPECT_EQ(layer.momentum(), 0.25);
  EXPECT_EQ(layer.options().momentum, 0.25);
  this->train(layer, this->kSecond);
  this->expect(layer, {1.5, 0.5}, {0.75 + 0.25 * 4, 0.75});
  layer.momentum(std::nullopt);
  EXPECT_EQ(layer.momentum(), std::nullopt);
  this->train(layer, this->kSecond);  // the second of two
  this->expect(layer, {3.75, 1.25}, {2.875, 0.375});
  for (double wrong : {-0.1, 1.5, std::numeric_limits<double>::quiet_NaN()})
    EXPECT_TRUE(says(refusal([&] { layer.momentum(wrong); }),
                     {"evenkeel::BatchNorm::momentum: momentum is", "[0, 1]"}));
  EXPECT_EQ(layer.momentum(), std::nullopt);
}

TYPED_TEST(BatchNormRunning, MayBeMovedLater) {
  using Scalar = typename TypeParam::Scalar;
  ek::BatchNorm<Scalar> layer(2), always(2), never(2);
  const std::string left = "evenkeel::BatchNorm::update_running_stats: no forward has left its update";
  EXPECT_TRUE(layer.updates_running_stats());
  EXPECT_EQ(refusal([&] { layer.update_running_stats(); }), left);
  layer.updates_running_stats(false);
  EXPECT_FALSE(layer.updates_running_stats());
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double spoilt[2][4] = {{nan, 2, 3, 4}, {nan, 2, 3, 4}};
  this->train(layer, spoilt);
  EXPECT_EQ(layer.rejected_batches(), 0);
  this->train(layer, this->kFirst);
  EXPECT_TRUE(same_bits(layer.running_mean(), never.running_mean()));
  EXPECT_TRUE(same_bits(layer.running_var(), never.running_var()));
  EXPECT_EQ(layer.num_batches_tracked(), 0);
  EXPECT_EQ(layer.saved_mean()[0], 3);
  layer.update_running_stats();
  this->train(always, this->kFirst);
  EXPECT_TRUE(same_bits(state_of(layer), state_of(always)));
  EXPECT_EQ(refusal([&] { layer.update_running_stats(); }), left) << "once for each forward";
  layer.updates_running_stats(true);
  for (auto* each : {&layer, &always}) this->train(*each, this->kSecond);
  EXPECT_TRUE(same_bits(state_of(layer), state_of(always)));
  EXPECT_EQ(refusal([&] { layer.update_running_stats(); }), left);
  layer.updates_running_stats(false);
  Scalar nothing = 0;
  layer.forward(view<TypeParam::kOrder>(&nothing, {0, 2}), view<TypeParam::kOrder>(&nothing, {0, 2}));
  layer.update_running_stats();  // moves nothing
  EXPECT_TRUE(same_bits(layer.running_mean(), always.running_mean()));
  EXPECT_EQ(layer.num_batches_tracked(), 2);

  this->train(layer, this->kFirst);
  const auto moved = std::move(layer);
  EXPECT_EQ(refusal([&] { layer.update_running_stats(); }), left);
  ek::BatchNormOptions options;
  options.track_running_stats = false;
  ek::BatchNorm<Scalar> plain(2, options);
  this->train(plain, this->kFirst);
  EXPECT_EQ(refusal([&] { plain.update_running_stats(); }),
            "evenkeel::BatchNorm::update_running_stats: the layer tracks no running statistics");
}

TYPED_TEST(BatchNormRunning, OfALayerThatWasMovedFrom) {
  using Scalar = typename TypeParam::Scalar;
  constexpr int kOrder = TypeParam::kOrder;
  std::vector<Scalar> x = random_values<Scalar>(8, 0, 1, 1), y(8);
  const auto in = view<kOrder>(x.data(), {4, 2}), out = view<kOrder>(y.data(), {4, 2});
  ek::BatchNormOptions options;
  options.affine = false;
  ek::BatchNorm<Scalar> layer(2, options), three(3, options);
  this->train(layer, this->kFirst);
  three = std::move(layer);
  EXPECT_EQ(layer.saved_mean().size(), 0);
  EXPECT_EQ(layer.saved_inv_std().size(), 0);
  EXPECT_EQ(three.saved_mean().size(), 2);
  EXPECT_NE(refusal([&] { layer.forward(in, out); }), "(nothing was thrown)");
  EXPECT_NE(refusal([&] { layer.infer(in, out); }), "(nothing was thrown)");
  layer.running_mean().setZero(2);  // the arrays again, but not what the layer keeps beside them
  layer.running_var().setOnes(2);
  layer.infer(in, out);
  EXPECT_EQ(refusal([&] { layer.forward(in, out); }),
            "evenkeel::BatchNorm::forward: the layer was moved from");
  EXPECT_NE(refusal([&] { layer.update_running_stats(); }), "(nothing was thrown)");
  EXPECT_EQ(to_real(layer.exact_running_mean()), (std::vector<Real>{0, 0}));
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
