// Batch norm in use: recomputed activations, statistics of a whole population, and the biased running variance.
#define EIGEN_USE_THREADS

#include <gtest/gtest.h>

#include <cmath>
#include <evenkeel/evenkeel.hpp>
#include <evenkeel/precise.hpp>
#include <limits>
#include <list>
#include <optional>
#include <string>
#include <unsupported/Eigen/CXX11/Tensor>
#include <utility>
#include <vector>

#include "support/contract.hpp"
#include "support/data.hpp"
#include "support/same.hpp"
#include "support/state.hpp"

namespace ek_test {
namespace {

// Channels move a vector at a time where all of them are finite.
TEST(RunningStatistics, OfAChannelHaveTheSameBitsBesideOneThatIsNotFinite) {
  for (const Index channels : {3, 8, 37, 70})
    for (const double momentum : {0.1, 1e-6, 1.0})
      for (const Index bad : {Index(0), channels / 2, channels - 1}) {
        SCOPED_TRACE(std::to_string(channels) + " channels, momentum " + std::to_string(momentum));
        ek::BatchNormOptions options;
        options.momentum = momentum;
        ek::BatchNorm<float> good(channels, options), spoilt(channels, options);
        for (unsigned batch = 1; batch <= 3; ++batch) {
          std::vector<float> x = random_values<float>(5 * channels, 3, 2, batch), y(x.size());
          good.forward(view<Eigen::RowMajor>(x.data(), {5, channels}),
                       view<Eigen::RowMajor>(y.data(), {5, channels}));
          x[at(2 * channels + bad)] = std::numeric_limits<float>::infinity();
          spoilt.forward(view<Eigen::RowMajor>(x.data(), {5, channels}),
                         view<Eigen::RowMajor>(y.data(), {5, channels}));
        }
        EXPECT_EQ(good.rejected_batches(), 0);
        for (Index c = 0; c < channels; ++c) {
          EXPECT_EQ(spoilt.rejected_batches(c), c == bad ? 3 : 0);
          EXPECT_EQ(spoilt.exact_running_mean()[c], c == bad ? 0 : good.exact_running_mean()[c]) << c;
          EXPECT_EQ(spoilt.exact_running_var()[c], c == bad ? 1 : good.exact_running_var()[c]) << c;
        }
      }
}

TEST(RunningVariance, TakesTheBiasedOneIfAsked) {
  ek::BatchNormOptions options;
  options.momentum = 0.25;
  options.unbiased_running_var = false;
  ek::BatchNorm<double> biased(1, options);
  options.unbiased_running_var = true;
  ek::BatchNorm<double> unbiased(1, options);
  std::vector<double> x = {1, 2, 3, 6}, y(4);  // mean 3, M2 14
  for (auto* layer : {&biased, &unbiased})
    layer->forward(view<Eigen::RowMajor>(x.data(), {4, 1}), view<Eigen::RowMajor>(y.data(), {4, 1}));
  EXPECT_EQ(biased.running_var()[0], 0.75 + 0.25 * 14 / 4);
  EXPECT_NEAR(unbiased.running_var()[0], 0.75 + 0.25 * 14 / 3, 1e-15 * 2);
  EXPECT_EQ(biased.running_mean()[0], 0.75);
  EXPECT_TRUE(ek::BatchNormOptions().unbiased_running_var);
}

template <typename C>
class Recompute : public ::testing::Test {
 protected:
  using S = typename C::Scalar;
  using Tensor = Eigen::Tensor<S, 4, C::kOrder>;

  static Tensor random_tensor(unsigned seed) {
    Tensor x(4, 3, 5, 2);
    const std::vector<S> values = random_values<S>(x.size(), 3, 1, seed);
    std::copy(values.begin(), values.end(), x.data());
    return x;
  }

  /// Two layers of one kind train on two batches: one keeps all, the other recomputes the first batch for backward.
  template <typename Layer>
  static void expect_same_gradients(Layer keeps) {
    randomize_parameters(keeps);
    Layer recomputes = keeps;
    const Tensor first = random_tensor(1), second = random_tensor(2), dy = random_tensor(3);
    const Tensor y = keeps.forward(first), dx = keeps.backward(first, dy);
    const auto grad_gamma = keeps.grad_gamma();
    keeps.forward(second);

    recomputes.forward(first);
    recomputes.forward(second);
    const auto statistics = [](const Layer& layer) {
      std::vector<double> all;
      append(all, layer.exact_running_mean());
      append(all, layer.exact_running_var());
      all.push_back(static_cast<double>(layer.num_batches_tracked()));
      return all;
    };
    const std::vector<double> before = statistics(recomputes);
    Tensor again(4, 3, 5, 2);
    recomputes.recompute(first, again);
    EXPECT_TRUE(same_bits(again, y));
    EXPECT_TRUE(same_bits(recomputes.backward(first, dy), dx));
    EXPECT_TRUE(same_bits(recomputes.grad_gamma(), grad_gamma));
    EXPECT_TRUE(same_bits(statistics(recomputes), before));
    EXPECT_TRUE(same_bits(statistics(recomputes), statistics(keeps)));
    EXPECT_TRUE(same_bits(recomputes.recompute(first), y));
    EXPECT_TRUE(same_bits(recomputes.recompute(Eigen::DefaultDevice(), first), y));
    again.setZero();
    recomputes.recompute(Eigen::DefaultDevice(), first, again);
    EXPECT_TRUE(same_bits(again, y));

    Tensor behind = keeps.forward(first, ek::relu());
    const Tensor its_dx = keeps.backward(first, dy, ek::relu());
    recomputes.forward(second);
    recomputes.recompute(first, again, ek::relu());
    EXPECT_TRUE(same_bits(again, behind));
    EXPECT_TRUE(same_bits(recomputes.recompute(first, ek::relu()), behind));
    EXPECT_TRUE(same_bits(recomputes.backward(first, dy, ek::relu()), its_dx));
  }
};

TYPED_TEST_SUITE(Recompute, VectorCases, CaseName);

TYPED_TEST(Recompute, LeavesRunningStatisticsAlone) {
  using Scalar = typename TypeParam::Scalar;
  ek::BatchNormOptions plain, average;
  plain.track_running_stats = false;
  average.momentum = std::nullopt;
  this->expect_same_gradients(ek::BatchNorm<Scalar>(3));
  this->expect_same_gradients(ek::BatchNorm<Scalar>(3, plain));
  this->expect_same_gradients(ek::BatchNorm<Scalar>(3, average));
  ek::InstanceNormOptions instance;
  instance.affine = instance.track_running_stats = true;
  this->expect_same_gradients(ek::InstanceNorm<Scalar>(3, instance));
}

// An update that forward left is not of the batch that was recomputed since.
TYPED_TEST(Recompute, LeavesNoUpdate) {
  ek::BatchNorm<typename TypeParam::Scalar> layer(3);
  layer.updates_running_stats(false);
  const auto x = this->random_tensor(1);
  layer.forward(x);
  layer.recompute(x);
  EXPECT_EQ(refusal([&] { layer.update_running_stats(); }),
            "evenkeel::BatchNorm::update_running_stats: no forward has left its update");
}

TEST(RecomputeErrors, SayWhoRefuses) {
  ek::BatchNorm<float> layer(6);
  const Buffer<float> x(random_values<float>(24, 0, 1, 1));
  Buffer<float> y(24);
  const auto call = [&](const Shape& shape) {
    return [&, shape] { layer.recompute(view<Eigen::RowMajor>(x, shape), view<Eigen::RowMajor>(y, shape)); };
  };
  expect_refused(layer, y,
                 {"evenkeel::BatchNorm::recompute: x has 4 channels on axis 1 of [6, 4], expected 6"},
                 call({6, 4}));
  layer.gamma().resize(0);
  expect_refused(layer, y, {"evenkeel::BatchNorm::recompute: gamma has 0 values, expected 6"}, call({4, 6}));
}

template <typename C>
class Precise : public ::testing::Test {
 protected:
  using S = typename C::Scalar;
  using Tensor = Eigen::Tensor<S, 3, C::kOrder>;
  static constexpr Index kChannels = 5;

  static Tensor batch(Index samples, Index places, double mean, double std, unsigned seed) {
    Tensor x(samples, kChannels, places);
    const std::vector<S> values = random_values<S>(x.size(), mean, std, seed);
    std::copy(values.begin(), values.end(), x.data());
    return x;
  }
  static std::vector<Tensor> batches(double mean, double std) {
    std::vector<Tensor> all;
    all.push_back(batch(3, 7, mean, std, 1));
    all.push_back(batch(0, 7, mean, std, 2));
    all.push_back(batch(1, 1, mean, std, 3));  // one value a channel
    all.push_back(batch(40, 300, mean + 3 * std, 2 * std, 4));
    all.push_back(batch(9, 2, mean, std, 5));
    return all;
  }

  /// Of all values of all batches.
  static Reference reference(const std::vector<Tensor>& all) {
    IndexMap map;
    std::vector<S> x;
    for (const Tensor& tensor : all) {
      const Shape shape = {tensor.dimension(0), tensor.dimension(1), tensor.dimension(2)};
      const IndexMap its = batch_norm_map(shape, C::kOrder);
      map.set.insert(map.set.end(), its.set.begin(), its.set.end());
      x.insert(x.end(), tensor.data(), tensor.data() + tensor.size());
    }
    map.sets = kChannels;
    return Reference(map, x, 0);
  }
};

TYPED_TEST_SUITE(Precise, VectorCases, CaseName);

TYPED_TEST(Precise, IsTheMeanAndVarianceOfAllValues) {
  using Scalar = typename TypeParam::Scalar;
  constexpr bool is_float = std::is_same_v<Scalar, float>;
  struct Kind {
    double mean, std;
  };
  for (const Kind& kind : {Kind{0, 1}, Kind{1e4, 1}, Kind{0, 1e-15}, Kind{0, 1e15}, Kind{-1e6, 1e3}})
    for (bool unbiased : {true, false}) {
      SCOPED_TRACE(std::to_string(kind.mean) + " " + std::to_string(kind.std));
      ek::BatchNormOptions options;
      options.unbiased_running_var = unbiased;
      ek::BatchNorm<Scalar> layer(this->kChannels, options);
      randomize_parameters(layer);
      const auto all = this->batches(kind.mean, kind.std);
      layer.forward(all[0]);
      layer.backward(all[0], all[0]);
      ek::BatchNorm<Scalar> before = layer;
      ek::precise(layer, all);
      const Reference expected = this->reference(all);
      const Real n = static_cast<Real>(expected.count[0]), bias = unbiased ? n / (n - 1) : 1;
      EXPECT_EQ(std::as_const(layer).num_batches_tracked(), 4);
      for (Index c = 0; c < this->kChannels; ++c) {
        const Real mean = expected.mean[at(c)], variance = expected.variance[at(c)] * bias;
        // A block is summed in the compute type, as the statistics of forward; what is kept has 48 bits.
        const Real std = std::sqrt(variance), bound = Tolerance<Scalar>::y;
        const Real kept = is_float ? 0x1p-45L : 0x1p-52L;
        EXPECT_NEAR(static_cast<double>(layer.exact_running_mean()[c] - static_cast<double>(mean)), 0,
                    static_cast<double>(bound * std + kept * std::fabs(mean)))
            << c;
        EXPECT_NEAR(static_cast<double>(layer.exact_running_var()[c] / static_cast<double>(variance)), 1,
                    static_cast<double>(2 * bound))
            << c;
      }
      // Nothing else has changed.
      before.set_running_stats(layer.exact_running_mean(), layer.exact_running_var());
      before.num_batches_tracked() = 4;
      EXPECT_TRUE(same_bits(state_of(layer), state_of(before)));
    }
}

// An average goes on from it, in every channel alike.
TYPED_TEST(Precise, IsTheBeginningOfAnAverage) {
  using Scalar = typename TypeParam::Scalar;
  ek::BatchNormOptions options;
  options.momentum = std::nullopt;
  ek::BatchNorm<Scalar> layer(this->kChannels, options);
  const auto all = this->batches(2, 1);
  auto spoilt = all[0];
  spoilt.data()[0] = std::numeric_limits<Scalar>::quiet_NaN();
  layer.forward(spoilt);  // which one channel does not count
  ek::precise(layer, all);
  const auto mean = layer.exact_running_mean();
  const auto next = this->batch(8, 6, 5, 1, 9);
  layer.forward(next);
  EXPECT_EQ(std::as_const(layer).num_batches_tracked(), 5);
  for (Index c = 0; c < this->kChannels; ++c) {
    const double expected = static_cast<double>((4 * mean[c] + layer.saved_mean()[c]) / 5);
    EXPECT_NEAR(static_cast<double>(layer.exact_running_mean()[c]), expected, 1e-13 * std::fabs(expected))
        << c;  // 48 bits
  }
}

TYPED_TEST(Precise, TakesAnyRangeAndDevice) {
  using Scalar = typename TypeParam::Scalar;
  const auto all = this->batches(2, 1);
  ek::BatchNorm<Scalar> one(this->kChannels), other(this->kChannels), threads(this->kChannels);
  ek::precise(one, all);
  using View = ek::TensorView<const Scalar>;
  std::list<View> views;
  for (const auto& tensor : all)
    views.push_back(view<TypeParam::kOrder>(
        tensor.data(), Shape{tensor.dimension(0), tensor.dimension(1), tensor.dimension(2)}));
  ek::precise(other, views);
  Eigen::ThreadPool pool(3);
  ek::precise(Eigen::ThreadPoolDevice(&pool, 3), threads, all);
  for (const auto* layer : {&other, &threads}) {
    EXPECT_TRUE(same_bits(layer->exact_running_mean(), one.exact_running_mean()));
    EXPECT_TRUE(same_bits(layer->exact_running_var(), one.exact_running_var()));
  }
}

TYPED_TEST(Precise, RefusesWhatGivesNoStatistics) {
  using Scalar = typename TypeParam::Scalar;
  ek::BatchNorm<Scalar> layer(this->kChannels);
  layer.forward(this->batch(3, 2, 1, 1, 1));
  const std::vector<double> state = state_of(layer);
  const auto refused = [&](const std::vector<typename TestFixture::Tensor>& all) {
    const std::string text = refusal([&] { ek::precise(layer, all); });
    EXPECT_TRUE(same_bits(state_of(layer), state)) << text;
    return text;
  };
  using Batch = typename TestFixture::Tensor;
  const Batch one = this->batch(1, 1, 0, 1, 1), empty = this->batch(0, 3, 0, 1, 1);
  EXPECT_EQ(refused({}), "evenkeel::precise: batches have 0 values per channel, statistics need at least 2");
  EXPECT_EQ(refused({one, empty}),
            "evenkeel::precise: batches have 1 value per channel, statistics need at least 2");
  EXPECT_EQ(refused({one, one, Batch(2, 4, 3)}),
            "evenkeel::precise: x has 4 channels on axis 1 of [2, 4, 3], expected 5");
  for (const double value : {std::numeric_limits<double>::quiet_NaN(), 1e300}) {
    Batch bad = this->batch(1, 2, 0, 1, 2);
    bad(0, 3, 1) = static_cast<Scalar>(value);
    EXPECT_EQ(refused({one, bad}),
              "evenkeel::precise: the mean or the variance of channel 3 over all batches is not finite as a "
              "parameter");
  }
  ek::BatchNormOptions options;
  options.track_running_stats = false;
  ek::BatchNorm<Scalar> plain(this->kChannels, options);
  EXPECT_EQ(refusal([&] { ek::precise(plain, std::vector<Batch>{one}); }),
            "evenkeel::precise: the layer tracks no running statistics");
}

}  // namespace
}  // namespace ek_test
