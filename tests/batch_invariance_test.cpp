// A row of layer norm or RMS norm, a sample of group and instance norm and an element of batch norm's inference, and of its
// gradient, have the same bits alone as in any batch, on any device, beside whatever neighbours.
#define EIGEN_USE_THREADS

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <evenkeel/evenkeel.hpp>
#include <limits>
#include <string>
#include <type_traits>
#include <unsupported/Eigen/CXX11/Tensor>
#include <utility>
#include <vector>

#include "support/contract.hpp"
#include "support/data.hpp"
#include "support/shape.hpp"
#include "support/shapes.hpp"

namespace ek_test {
namespace {

/// Samples of a x b elements: one after the other in memory, or side by side.
enum class Samples { apart, side_by_side };

template <typename Scalar, int kOrder, Samples kSamples>
struct Batch {
  Index samples, a, b;
  std::vector<Scalar> memory;

  Batch(Index samples_, Index a_, Index b_)
      : samples(samples_), a(a_), b(b_), memory(at(samples_ * a_ * b_)) {}

  // Memory is [samples, a, b] or [a, b, samples], slowest first.
  static constexpr bool kApart = kSamples == Samples::apart;
  static constexpr Index axis(Index from_slowest) {
    return kOrder == Eigen::RowMajor ? from_slowest : 2 - from_slowest;
  }
  static constexpr Index sample_axis() { return axis(kApart ? 0 : 2); }
  static constexpr Index a_axis() { return axis(kApart ? 1 : 0); }
  static constexpr Index b_axis() { return axis(kApart ? 2 : 1); }
  Shape shape() const {
    Shape all(3);
    all[at(sample_axis())] = samples;
    all[at(a_axis())] = a;
    all[at(b_axis())] = b;
    return all;
  }
  Index place(Index sample, Index i) const { return kApart ? sample * a * b + i : i * samples + sample; }
  Batch sample(Index s) const {
    Batch one(1, a, b);
    for (Index i = 0; i < a * b; ++i) one.memory[at(i)] = memory[at(place(s, i))];
    return one;
  }
  void put(Index s, const Batch& one) {
    for (Index i = 0; i < a * b; ++i) memory[at(place(s, i))] = one.memory[at(i)];
  }
};

template <typename Values>
Values random_batch(Index samples, Index a, Index b, double mean, unsigned seed) {
  using Scalar = typename decltype(Values::memory)::value_type;
  Values batch(samples, a, b);
  for (Index s = 0; s < samples; ++s) {
    Values one(1, a, b);
    // Whose means are near and far; and with values that are far where pivots are taken, so that some are summed again.
    one.memory = random_values<Scalar>(a * b, mean * static_cast<double>(s % 4 == 3 ? 1000 : 1), 1,
                                       seed + static_cast<unsigned>(s));
    const Index quarter = std::max<Index>(16, a * b / 64 * 16);
    for (Index i = 0; s % 4 == 1 && i < a * b; ++i)
      if (i % quarter < 16) one.memory[at(i)] += static_cast<Scalar>(100);
    batch.put(s, one);
  }
  return batch;
}

/// The elements that differ in a bit.
template <typename Values>
Index different(const Values& x, const Values& y) {
  Index count = 0;
  for (std::size_t i = 0; i < x.memory.size(); ++i)
    count += std::memcmp(&x.memory[i], &y.memory[i], sizeof x.memory[i]) != 0;
  return count;
}

template <typename C>
class BatchInvariance : public ::testing::Test {
 protected:
  using S = typename C::Scalar;

  template <typename T>
  static auto view_of(T& tensor) {
    return view<C::kOrder>(tensor.memory.data(), tensor.shape());
  }

  template <typename Device, typename Layer, typename Values>
  static std::pair<Values, Values> train(const Device& device, Layer layer, const Values& x,
                                         const Values& dy) {
    std::pair<Values, Values> y_dx{x, x};
    layer.forward(device, view_of(x), view_of(y_dx.first));
    layer.backward(device, view_of(x), view_of(dy), view_of(y_dx.second));
    Values inferred = x;
    std::as_const(layer).infer(device, view_of(x), view_of(inferred));
    EXPECT_EQ(different(inferred, y_dx.first), 0) << "infer and forward";
    return y_dx;
  }

  /// Samples of x but `except` alone, and as ones of the batch: all, or some of many.
  template <typename Device, typename Layer, typename Values>
  static void expect_same(const Device& device, const Layer& layer, const Values& x, const Values& dy,
                          Index except) {
    const auto all = train(device, layer, x, dy);
    for (Index s = 0; s < x.samples; s += std::max<Index>(1, x.samples / 37)) {
      if (s == except) continue;
      const auto alone = train(Eigen::DefaultDevice(), layer, x.sample(s), dy.sample(s));
      EXPECT_EQ(different(all.first.sample(s), alone.first), 0)
          << "y of sample " << s << " of " << to_string(x.shape());
      EXPECT_EQ(different(all.second.sample(s), alone.second), 0)
          << "dx of sample " << s << " of " << to_string(x.shape());
      if (::testing::Test::HasFailure()) return;
    }
  }

  /// Beside good neighbours, beside one that is out of range and beside one that is not finite.
  template <Samples kSamples = Samples::apart, typename Device, typename Layer>
  static void expect_invariant(const Device& device, Layer layer, Index samples, Index a, Index b) {
    using Values = Batch<S, C::kOrder, kSamples>;
    randomize_parameters(layer);
    for (auto p : layer.parameters())
      for (Index i = 0; i < p.value.size(); i += 3) p.value[i] = -p.value[i] * 0;  // maybe -0
    const Values good = random_batch<Values>(samples, a, b, 3, 1),
                 good_dy = random_batch<Values>(samples, a, b, 0.5, 1000);
    expect_same(device, layer, good, good_dy, -1);
    const Index bad = samples / 2;
    for (const S value :
         {static_cast<S>(1e30), std::numeric_limits<S>::quiet_NaN(), std::numeric_limits<S>::infinity()}) {
      SCOPED_TRACE(static_cast<double>(value));
      Values x = good, dy = good_dy;
      x.memory[at(x.place(bad, a * b / 2))] = value;
      expect_same(device, layer, x, good_dy, bad);
      dy.memory[at(dy.place(bad, a * b / 2))] = value;
      expect_same(device, layer, good, dy, bad);
      if (::testing::Test::HasFailure()) return;
    }
  }

  /// The widths that are walked one sample at a time, each in a few batches.
  static std::vector<Index> features() {
    std::vector<Index> all = {96, 100, 127, 129, 256, 257, 768};
    for (Index n = 1; n <= 70; ++n) all.push_back(n);
    return all;
  }
};
TYPED_TEST_SUITE(BatchInvariance, LongCases, CaseName);

/// Calls f(layer) with a layer norm and an RMS norm over n features, on the last axis in memory or the one before.
template <typename Scalar, typename F>
void for_both_norms(Index n, Index axis, const F& f) {
  ek::LayerNormOptions options;
  ek::RMSNormOptions rms;
  options.axis = rms.axis = axis;
  f(ek::LayerNorm<Scalar>(n, options));
  f(ek::RMSNorm<Scalar>(n, rms));
}
template <typename Values>
ek::GroupNormOptions group_options(Index axis) {
  ek::GroupNormOptions options;
  options.axis = axis;
  options.batch_axis = Values::sample_axis();
  return options;
}

TYPED_TEST(BatchInvariance, OfRows) {
  using Scalar = typename TypeParam::Scalar;
  const Index axis = Batch<Scalar, TypeParam::kOrder, Samples::apart>::b_axis();
  const auto expect_rows = [&](Index rows, Index n) {
    for_both_norms<Scalar>(n, axis, [&](const auto& layer) {
      this->expect_invariant(Eigen::DefaultDevice(), layer, rows, 1, n);
    });
  };
  for (const Index n : this->features())
    for (const Index rows : {2, 5, 37}) {
      if (n > 200 && rows > 5) continue;
      expect_rows(rows, n);
      if (::testing::Test::HasFailure()) return;
    }
  expect_rows(5, 4096);
}

// Of a large batch the output is streamed past the caches, and threads share the work.
TYPED_TEST(BatchInvariance, OfRowsOnThreads) {
  using Scalar = typename TypeParam::Scalar;
  const Index axis = Batch<Scalar, TypeParam::kOrder, Samples::apart>::b_axis();
  Eigen::ThreadPool pool(3);
  const Eigen::ThreadPoolDevice device(&pool, 3);
  for (const Index n : {64, 100, 768, 4096}) {
    const Index rows = 500000 / n;
    for_both_norms<Scalar>(n, axis, [&](const auto& layer) {
      this->expect_invariant(Eigen::DefaultDevice(), layer, rows, 1, n);
      this->expect_invariant(device, layer, rows, 1, n);
    });
    if (::testing::Test::HasFailure()) return;
  }
}

// Over the slower axis of a sample, as ConvNeXt has it.
TYPED_TEST(BatchInvariance, OfFeaturesAlongAnotherAxis) {
  using Scalar = typename TypeParam::Scalar;
  Eigen::ThreadPool pool(3);
  const Eigen::ThreadPoolDevice device(&pool, 3);
  for (const Index n : this->features())
    for (const Index b : {2, 7, 33}) {
      if (n > 130 && b != 7) continue;
      for_both_norms<Scalar>(
          n, 1, [&](const auto& layer) { this->expect_invariant(Eigen::DefaultDevice(), layer, 3, n, b); });
      if (::testing::Test::HasFailure()) return;
    }
  for_both_norms<Scalar>(768, 1,
                         [&](const auto& layer) { this->expect_invariant(device, layer, 5, 768, 131); });
}

TYPED_TEST(BatchInvariance, OfGroupNormSamples) {
  using Scalar = typename TypeParam::Scalar;
  using Values = Batch<Scalar, TypeParam::kOrder, Samples::apart>;
  const ek::GroupNormOptions first = group_options<Values>(Values::a_axis()),
                             last = group_options<Values>(Values::b_axis());
  Eigen::ThreadPool pool(3);
  const Eigen::ThreadPoolDevice device(&pool, 3);
  for (const Index channels : {2, 4, 6, 32})
    for (const Index n : this->features()) {
      if (n > 130 && channels > 4) continue;
      for (const Index samples : {2, 5, 19}) {
        if (samples > 5 && (channels > 2 || n > 70)) continue;
        for (const bool is_last : {false, true}) {
          this->expect_invariant(Eigen::DefaultDevice(),
                                 ek::GroupNorm<Scalar>(2, channels, is_last ? last : first), samples,
                                 is_last ? n : channels, is_last ? channels : n);
          if (::testing::Test::HasFailure()) return;
        }
      }
    }
  // More channels than a kernel takes at a time.
  for (const Index channels : {129, 200})
    for (const Index n : {16, 100}) {
      this->expect_invariant(Eigen::DefaultDevice(), ek::GroupNorm<Scalar>(1, channels, first), 4, channels,
                             n);
    }
  this->expect_invariant(Eigen::DefaultDevice(), ek::GroupNorm<Scalar>(4, 16, first), 9, 16, 4096);
  this->expect_invariant(device, ek::GroupNorm<Scalar>(4, 16, first), 9, 16, 4096);
  this->expect_invariant(device, ek::GroupNorm<Scalar>(8, 64, last), 6, 3000, 64);
}

TYPED_TEST(BatchInvariance, OfInstanceNormSamples) {
  using Scalar = typename TypeParam::Scalar;
  using Values = Batch<Scalar, TypeParam::kOrder, Samples::apart>;
  Eigen::ThreadPool pool(3);
  const Eigen::ThreadPoolDevice device(&pool, 3);
  for (const bool affine : {true, false})
    for (const bool is_last : {false, true}) {
      ek::InstanceNormOptions options;
      options.axis = is_last ? Values::b_axis() : Values::a_axis();
      options.batch_axis = Values::sample_axis();
      options.affine = affine;
      for (const Index n : {2, 3, 7, 16, 33, 64, 65, 96, 127, 128, 129, 300}) {
        const ek::InstanceNorm<Scalar> layer(5, options);
        this->expect_invariant(Eigen::DefaultDevice(), layer, 5, is_last ? n : 5, is_last ? 5 : n);
        if (::testing::Test::HasFailure()) return;
      }
      const ek::InstanceNorm<Scalar> layer(16, options);
      this->expect_invariant(device, layer, 9, is_last ? 2000 : 16, is_last ? 16 : 2000);
    }
}

/// Samples of batch norm's inference, and its positions.
template <typename Scalar, typename Values, typename ViewOf>
void expect_inference_invariant(const ViewOf& view_of) {
  Eigen::ThreadPool pool(3);
  const Eigen::ThreadPoolDevice threads(&pool, 3);
  const auto infer = [&](const auto& device, const auto& layer, const Values& x) {
    Values y = x;
    layer.infer(device, view_of(x), view_of(y));
    return y;
  };
  const auto expect_invariant = [&](Index samples, Index channels, Index inner) {
    ek::BatchNormOptions options;
    options.axis = Values::a_axis();
    ek::BatchNorm<Scalar> layer(channels, options);
    randomize_parameters(layer);
    // Digits beyond the type, but for what was assigned, and a channel where x - mean may overflow.
    const std::vector<double> digits = random_values<double>(channels, 3, 0.1, 5);
    Eigen::ArrayXd means = Eigen::Map<const Eigen::ArrayXd>(digits.data(), channels), variances(channels);
    for (Index c = 0; c < channels; ++c) variances[c] = 1 + 0.01 * static_cast<double>(c % 7);
    means[channels / 2] = sizeof(Scalar) == 4 ? 2e30 : 1e305;
    layer.set_running_stats(means, variances);
    if (channels > 3) layer.running_mean()[channels / 3] = static_cast<Scalar>(3);
    Values x = random_batch<Values>(samples, channels, inner, 3, 1);
    x.memory[at(x.place(samples / 2, channels * inner / 3))] = std::numeric_limits<Scalar>::quiet_NaN();
    const Values y = infer(Eigen::DefaultDevice(), layer, x), on_threads = infer(threads, layer, x);
    EXPECT_EQ(different(y, on_threads), 0) << to_string(x.shape());
    for (Index s = 0; s < samples; ++s) {
      const Values one = x.sample(s), alone = infer(Eigen::DefaultDevice(), layer, one);
      EXPECT_EQ(different(y.sample(s), alone), 0) << "sample " << s << " of " << to_string(x.shape());
      if (s > 3 || inner > 70) continue;
      for (Index i = 0; i < inner; ++i) {
        Values position(1, channels, 1), expected(1, channels, 1);
        for (Index c = 0; c < channels; ++c) {
          position.memory[at(c)] = one.memory[at(c * inner + i)];
          expected.memory[at(c)] = alone.memory[at(c * inner + i)];
        }
        EXPECT_EQ(different(infer(Eigen::DefaultDevice(), layer, position), expected), 0)
            << "position " << i << " of sample " << s << " of " << to_string(x.shape());
      }
    }
  };
  std::vector<Index> widths = {96, 100, 127, 129, 257, 768};
  for (Index n = 1; n <= 70; ++n) widths.push_back(n);
  for (const Index n : widths) {
    expect_invariant(5, n, 1);
    expect_invariant(3, 5, n);
    expect_invariant(2, 17, n);
    if (::testing::Test::HasFailure()) return;
  }
  expect_invariant(9, 7, 9000);
  expect_invariant(600, 1000, 1);
}

TYPED_TEST(BatchInvariance, OfBatchNormInference) {
  using Scalar = typename TypeParam::Scalar;
  const auto view_of = [](auto& tensor) {
    return view<TypeParam::kOrder>(tensor.memory.data(), tensor.shape());
  };
  expect_inference_invariant<Scalar, Batch<Scalar, TypeParam::kOrder, Samples::apart>>(view_of);
  expect_inference_invariant<Scalar, Batch<Scalar, TypeParam::kOrder, Samples::side_by_side>>(view_of);
}

}  // namespace
}  // namespace ek_test
