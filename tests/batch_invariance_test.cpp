// A row of layer norm, a sample of group norm and an element of batch norm's inference have the same bits alone as in
// any batch, on any device, beside whatever neighbours.
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

/// A tensor [samples, a, b], as its samples, each in the order of memory that it has alone.
template <typename Scalar, int kOrder>
struct Batch {
  Index samples, a, b;
  std::vector<Scalar> memory;

  Batch(Index samples_, Index a_, Index b_)
      : samples(samples_), a(a_), b(b_), memory(at(samples_ * a_ * b_)) {}

  Shape shape() const { return {samples, a, b}; }
  Index place(Index sample, Index i) const {  // of element i of a sample that lies alone
    return kOrder == Eigen::RowMajor ? sample * a * b + i : sample + samples * i;
  }
  Batch sample(Index s) const {
    Batch one(1, a, b);
    for (Index i = 0; i < a * b; ++i) one.memory[at(i)] = memory[at(place(s, i))];
    return one;
  }
  void put(Index s, const Batch& one) {
    for (Index i = 0; i < a * b; ++i) memory[at(place(s, i))] = one.memory[at(i)];
  }
};

template <typename Scalar, int kOrder>
Batch<Scalar, kOrder> random_batch(Index samples, Index a, Index b, double mean, unsigned seed) {
  Batch<Scalar, kOrder> batch(samples, a, b);
  for (Index s = 0; s < samples; ++s) {
    Batch<Scalar, kOrder> one(1, a, b);
    // Whose means are near and far, so that some rows are summed again.
    one.memory = random_values<Scalar>(a * b, mean * static_cast<double>(s % 4 == 3 ? 1000 : 1), 1,
                                       seed + static_cast<unsigned>(s));
    batch.put(s, one);
  }
  return batch;
}

/// The elements of one sample that differ in a bit; NaN is NaN.
template <typename Scalar, int kOrder>
Index different(const Batch<Scalar, kOrder>& x, const Batch<Scalar, kOrder>& y) {
  Index count = 0;
  for (std::size_t i = 0; i < x.memory.size(); ++i)
    count += std::memcmp(&x.memory[i], &y.memory[i], sizeof(Scalar)) != 0;
  return count;
}

template <typename C>
class BatchInvariance : public ::testing::Test {
 protected:
  using S = typename C::Scalar;
  using Tensor = Batch<S, C::kOrder>;
  static constexpr int kOrder = C::kOrder;

  template <typename T>
  static auto view_of(T& tensor) {
    return view<C::kOrder>(tensor.memory.data(), tensor.shape());
  }

  struct Result {
    Tensor y, dx;
  };
  template <typename Device, typename Layer>
  static Result train(const Device& device, Layer layer, const Tensor& x, const Tensor& dy) {
    Result r{x, x};
    layer.forward(device, view_of(x), view_of(r.y));
    layer.backward(device, view_of(x), view_of(dy), view_of(r.dx));
    Tensor inferred = x;
    std::as_const(layer).infer(device, view_of(x), view_of(inferred));
    EXPECT_EQ(different(inferred, r.y), 0) << "infer and forward";
    return r;
  }

  /// Every sample of x but `except` alone, and as one of the batch.
  template <typename Device, typename Layer>
  static void expect_same(const Device& device, const Layer& layer, const Tensor& x, const Tensor& dy,
                          Index except) {
    const Result all = train(device, layer, x, dy);
    for (Index s = 0; s < x.samples; ++s) {
      if (s == except) continue;
      const Result alone = train(Eigen::DefaultDevice(), layer, x.sample(s), dy.sample(s));
      EXPECT_EQ(different(all.y.sample(s), alone.y), 0)
          << "y of sample " << s << " of " << to_string(x.shape());
      EXPECT_EQ(different(all.dx.sample(s), alone.dx), 0)
          << "dx of sample " << s << " of " << to_string(x.shape());
      if (::testing::Test::HasFailure()) return;
    }
  }

  /// Among good neighbours, among one that is out of range and among one that is NaN; the first samples alone too.
  template <typename Device, typename Layer>
  static void expect_invariant(const Device& device, Layer layer, Index samples, Index a, Index b) {
    randomize_parameters(layer);
    Tensor x = random_batch<S, kOrder>(samples, a, b, 3, 1),
           dy = random_batch<S, kOrder>(samples, a, b, 0.5, 1000);
    expect_same(device, layer, x, dy, -1);
    const Index bad = samples / 2;
    for (const S value :
         {static_cast<S>(1e30), std::numeric_limits<S>::quiet_NaN(), std::numeric_limits<S>::infinity()}) {
      SCOPED_TRACE(static_cast<double>(value));
      x.memory[at(x.place(bad, a * b / 2))] = value;
      expect_same(device, layer, x, dy, bad);
      if (::testing::Test::HasFailure()) return;
    }
    x = random_batch<S, kOrder>(samples, a, b, 3, 1);
    SCOPED_TRACE("a gradient that is out of range");
    dy.memory[at(dy.place(bad, a * b / 2))] = static_cast<S>(1e35);
    expect_same(device, layer, x, dy, bad);
  }

  /// The widths that are walked one sample at a time, each in a few batches.
  static std::vector<Index> features() {
    std::vector<Index> all = {96, 100, 127, 129, 256, 257, 768};
    for (Index n = 1; n <= 70; ++n) all.push_back(n);
    return all;
  }
};
TYPED_TEST_SUITE(BatchInvariance, VectorCases, CaseName);

TYPED_TEST(BatchInvariance, OfLayerNormRows) {
  using Scalar = typename TypeParam::Scalar;
  for (const Index n : this->features())
    for (const Index rows : {2, 5, 37}) {
      if (n > 200 && rows > 5) continue;
      this->expect_invariant(Eigen::DefaultDevice(), ek::LayerNorm<Scalar>(n), rows, 1, n);
      if (::testing::Test::HasFailure()) return;
    }
  this->expect_invariant(Eigen::DefaultDevice(), ek::LayerNorm<Scalar>(4096), 5, 1, 4096);
}

// Of a large batch the output is streamed past the caches, and threads share the work.
TYPED_TEST(BatchInvariance, OfLayerNormRowsOnThreads) {
  using Scalar = typename TypeParam::Scalar;
  Eigen::ThreadPool pool(3);
  const Eigen::ThreadPoolDevice device(&pool, 3);
  for (const Index n : {64, 100, 768, 4096}) {
    const Index rows = 500000 / n;
    this->expect_invariant(Eigen::DefaultDevice(), ek::LayerNorm<Scalar>(n), rows, 1, n);
    this->expect_invariant(device, ek::LayerNorm<Scalar>(n), rows, 1, n);
    if (::testing::Test::HasFailure()) return;
  }
}

// On the first axis of two, as ConvNeXt has it: sets side by side, or one after the other.
TYPED_TEST(BatchInvariance, OfLayerNormAlongAnotherAxis) {
  using Scalar = typename TypeParam::Scalar;
  ek::LayerNormOptions options;
  options.axis = 1;
  Eigen::ThreadPool pool(3);
  const Eigen::ThreadPoolDevice device(&pool, 3);
  for (const Index n : this->features())
    for (const Index b : {2, 7, 33}) {
      if (n > 130 && b != 7) continue;
      this->expect_invariant(Eigen::DefaultDevice(), ek::LayerNorm<Scalar>(n, options), 3, n, b);
      if (::testing::Test::HasFailure()) return;
    }
  this->expect_invariant(device, ek::LayerNorm<Scalar>(768, options), 5, 768, 131);
}

TYPED_TEST(BatchInvariance, OfGroupNormSamples) {
  using Scalar = typename TypeParam::Scalar;
  Eigen::ThreadPool pool(3);
  const Eigen::ThreadPoolDevice device(&pool, 3);
  for (const Index channels : {2, 4, 6, 32})
    for (const Index n : this->features()) {
      if (n > 130 && channels > 4) continue;
      for (const Index samples : {2, 5, 19}) {
        if (channels * n * samples > 20000 && samples > 5) continue;
        for (const bool last : {false, true}) {
          ek::GroupNormOptions options;
          options.axis = last ? 2 : 1;
          this->expect_invariant(Eigen::DefaultDevice(), ek::GroupNorm<Scalar>(2, channels, options), samples,
                                 last ? n : channels, last ? channels : n);
          if (::testing::Test::HasFailure()) return;
        }
      }
    }
  this->expect_invariant(Eigen::DefaultDevice(), ek::GroupNorm<Scalar>(4, 16), 9, 16, 4096);
  this->expect_invariant(device, ek::GroupNorm<Scalar>(4, 16), 9, 16, 4096);
  ek::GroupNormOptions last;
  last.axis = 2;
  this->expect_invariant(device, ek::GroupNorm<Scalar>(8, 64, last), 6, 3000, 64);
}

/// Samples of batch norm's inference, and its positions.
TYPED_TEST(BatchInvariance, OfBatchNormInference) {
  using Scalar = typename TypeParam::Scalar;
  using Values = Batch<Scalar, TypeParam::kOrder>;
  Eigen::ThreadPool pool(3);
  const Eigen::ThreadPoolDevice threads(&pool, 3);
  const auto infer = [&](const auto& device, const auto& layer, const Values& x) {
    Values y = x;
    layer.infer(device, this->view_of(x), this->view_of(y));
    return y;
  };
  const auto expect_invariant = [&](Index samples, Index channels, Index inner) {
    ek::BatchNorm<Scalar> layer(channels);
    randomize_parameters(layer);
    const std::vector<Scalar> means = random_values<Scalar>(channels, 3, 0.1, 5);
    for (Index c = 0; c < channels; ++c) {
      layer.running_mean()[c] = means[at(c)];
      layer.running_var()[c] = static_cast<Scalar>(1 + 0.01 * static_cast<double>(c % 7));
    }
    layer.running_mean()[channels / 2] =
        static_cast<Scalar>(sizeof(Scalar) == 4 ? 2e30 : 1e305);  // x - mean may overflow
    Values x = random_batch<Scalar, TypeParam::kOrder>(samples, channels, inner, 3, 1);
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
          const std::size_t from =
              at(TypeParam::kOrder == Eigen::RowMajor ? c * inner + i : c + channels * i);
          position.memory[at(c)] = one.memory[from];
          expected.memory[at(c)] = alone.memory[from];
        }
        EXPECT_EQ(different(infer(Eigen::DefaultDevice(), layer, position), expected), 0)
            << "position " << i << " of sample " << s << " of " << to_string(x.shape());
      }
    }
  };
  for (const Index n : this->features()) {
    expect_invariant(5, n, 1);
    expect_invariant(3, 5, n);
    expect_invariant(2, 17, n);
    if (::testing::Test::HasFailure()) return;
  }
  expect_invariant(9, 7, 9000);
  expect_invariant(600, 1000, 1);
}

}  // namespace
}  // namespace ek_test
