// Eigen::ThreadPoolDevice: the same bits as Eigen::DefaultDevice for any number of threads, and no deadlock.
#define EIGEN_USE_THREADS

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <evenkeel/evenkeel.hpp>
#include <future>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <type_traits>
#include <unsupported/Eigen/CXX11/Tensor>
#include <utility>
#include <vector>

#include "support/contract.hpp"
#include "support/data.hpp"
#include "support/drawn.hpp"
#include "support/same.hpp"
#include "support/state.hpp"

namespace ek_test {
namespace {

/// All that a training step and an inference give.
template <typename Scalar>
struct Results {
  std::vector<Scalar> y, dx, inferred;
  std::vector<double> state;
};

template <typename Layer, typename Scalar, typename View, typename Device>
Results<Scalar> run(Layer layer, const Device& device, const std::vector<Scalar>& x,
                    const std::vector<Scalar>& dy, View view_of) {
  Results<Scalar> r{
      std::vector<Scalar>(x.size()), std::vector<Scalar>(x.size()), std::vector<Scalar>(x.size()), {}};
  layer.forward(device, view_of(x.data()), view_of(r.y.data()));
  layer.backward(device, view_of(x.data()), view_of(dy.data()), view_of(r.dx.data()));
  std::as_const(layer).infer(device, view_of(x.data()), view_of(r.inferred.data()));
  r.state = state_of(layer);
  return r;
}

template <typename C>
class Threads : public ::testing::Test {
 protected:
  using S = typename C::Scalar;

  template <typename Layer>
  static void expect_same_on_every_device(Layer layer, const Shape& shape,
                                          const std::vector<int>& counts = {1, 2, 3, 7, 16}) {
    SCOPED_TRACE(to_string(shape));
    randomize_parameters(layer);
    // A mean that is far, so that another order of summation shows in the bits.
    const std::vector<S> x = random_values<S>(size_of(shape), 10, 1, 1),
                         dy = random_values<S>(size_of(shape), 0.5, 1, 2);
    const auto view_of = [&](auto* data) { return view<C::kOrder>(data, shape); };
    const Results<S> expected = run(layer, Eigen::DefaultDevice(), x, dy, view_of);
    for (int threads : counts) {
      SCOPED_TRACE(std::to_string(threads) + " threads");
      Eigen::ThreadPool pool(threads);
      const Eigen::ThreadPoolDevice device(&pool, threads);
      const Results<S> got = run(layer, device, x, dy, view_of);
      EXPECT_TRUE(same_bits(got.y, expected.y)) << "y";
      EXPECT_TRUE(same_bits(got.dx, expected.dx)) << "dx";
      EXPECT_TRUE(same_bits(got.inferred, expected.inferred)) << "y of infer";
      EXPECT_TRUE(same_bits(got.state, expected.state)) << "moments, gradients, running statistics";
    }
  }
};

TYPED_TEST_SUITE(Threads, LongCases, CaseName);

TYPED_TEST(Threads, BatchNorm) {
  using Scalar = typename TypeParam::Scalar;
  for (const Shape& shape :
       {Shape{4, 6, 5}, Shape{2, 2, 301, 257}, Shape{8, 64, 28, 28}, Shape{64, 130, 7, 7}, Shape{70001, 3},
        Shape{3, 70001}, Shape{2049, 129}, Shape{1, 1, 400009}})
    this->expect_same_on_every_device(ek::BatchNorm<Scalar>(shape[1]), shape);
  ek::BatchNormOptions last;
  last.axis = -1;
  this->expect_same_on_every_device(ek::BatchNorm<Scalar>(66, last), {4, 29, 31, 66});
}

TYPED_TEST(Threads, LayerNorm) {
  using Scalar = typename TypeParam::Scalar;
  for (const Shape& shape :
       {Shape{4, 6}, Shape{513, 769}, Shape{16384, 17}, Shape{3, 100003}, Shape{100003, 3}}) {
    this->expect_same_on_every_device(ek::LayerNorm<Scalar>(shape[1]), shape);
    ek::LayerNormOptions first;
    first.axis = 0;
    this->expect_same_on_every_device(ek::LayerNorm<Scalar>(shape[0], first), shape);
  }
  ek::LayerNormOptions second;
  second.axis = 1;
  this->expect_same_on_every_device(ek::LayerNorm<Scalar>(48, second), {4, 48, 28, 29});
  this->expect_same_on_every_device(ek::LayerNorm<Scalar>(std::vector<Index>{48, 28, 29}, second),
                                    {4, 48, 28, 29});
}

TYPED_TEST(Threads, RMSNorm) {
  using Scalar = typename TypeParam::Scalar;
  for (const Shape& shape : {Shape{4, 6}, Shape{513, 769}, Shape{3, 100003}, Shape{100003, 3}})
    this->expect_same_on_every_device(ek::RMSNorm<Scalar>(shape[1]), shape);
  ek::RMSNormOptions second;
  second.axis = 1;
  this->expect_same_on_every_device(ek::RMSNorm<Scalar>(48, second), {4, 48, 28, 29});
}

TYPED_TEST(Threads, GroupNorm) {
  using Scalar = typename TypeParam::Scalar;
  const Shape shapes[] = {{4, 6, 5}, {8, 64, 28, 28}, {2, 4, 50021}, {301, 64, 7}, {60013, 4}};
  for (const Shape& shape : shapes)
    this->expect_same_on_every_device(ek::GroupNorm<Scalar>(2, shape[1]), shape);
  ek::GroupNormOptions last, batch_last;
  last.axis = -1;
  batch_last.batch_axis = -1;
  this->expect_same_on_every_device(ek::GroupNorm<Scalar>(8, 64, last), {3, 29, 31, 64});
  this->expect_same_on_every_device(ek::GroupNorm<Scalar>(8, 64, batch_last), {29, 64, 5, 33});
}

TYPED_TEST(Threads, InstanceNorm) {
  using Scalar = typename TypeParam::Scalar;
  ek::InstanceNormOptions tracking, last;
  tracking.affine = tracking.track_running_stats = true;
  last.axis = -1;
  for (const Shape& shape : {Shape{4, 6, 5}, Shape{8, 64, 28, 28}, Shape{2, 4, 50021}, Shape{301, 64, 7}}) {
    this->expect_same_on_every_device(ek::InstanceNorm<Scalar>(shape[1]), shape);
    this->expect_same_on_every_device(ek::InstanceNorm<Scalar>(shape[1], tracking), shape);
  }
  this->expect_same_on_every_device(ek::InstanceNorm<Scalar>(64, last), {3, 29, 31, 64});
}

/// Shapes that nobody chose, all of them large enough for a team.
TYPED_TEST(Threads, RandomShapes) {
  using Scalar = typename TypeParam::Scalar;
  const std::vector<int> counts = {1, 2, 3, 4, 5, 6, 7, 8, 11, 16};
  std::mt19937 generator(std::is_same_v<Scalar, double> ? 1 : 2);
  for (int repeat = 0; repeat < 4; ++repeat) {
    const Drawn drawn(generator, ek::detail::kWorthThreads, 18);
    drawn.for_each_norm<Scalar>(
        [&](const auto& layer, auto) { this->expect_same_on_every_device(layer, drawn.shape, counts); });
  }
}

/// One batch, on which layers train at once on one pool.
class ThreadPool : public ::testing::Test {
 protected:
  /// Trains a layer of every norm. The results are those of batch norm.
  template <typename Device>
  Results<float> train(const Device& device) const {
    const auto view_of = [&](auto* data) { return view<Eigen::RowMajor>(data, shape_); };
    Results<float> result = run(ek::BatchNorm<float>(32), device, x_, dy_, view_of);
    run(ek::LayerNorm<float>(65), device, x_, dy_, view_of);
    run(ek::GroupNorm<float>(4, 32), device, x_, dy_, view_of);
    return result;
  }

  void expect_same_as_alone(const std::vector<Results<float>>& results) const {
    for (const Results<float>& result : results) {
      EXPECT_TRUE(same_bits(result.y, alone_.y));
      EXPECT_TRUE(same_bits(result.dx, alone_.dx));
      EXPECT_TRUE(same_bits(result.state, alone_.state));
    }
  }

 private:
  const Shape shape_ = {4, 32, 64, 65};
  const std::vector<float> x_ = random_values<float>(size_of(shape_), 10, 1, 1),
                           dy_ = random_values<float>(size_of(shape_), 0.5, 1, 2);
  const Results<float> alone_ = train(Eigen::DefaultDevice());
};

/// Several layers that train at once on one pool, from threads of the caller's own.
TEST_F(ThreadPool, TrainsSeveralLayersAtOnce) {
  Eigen::ThreadPool pool(3);
  const Eigen::ThreadPoolDevice device(&pool, 3);
  std::vector<Results<float>> results(4);
  std::vector<std::thread> callers;
  for (Results<float>& result : results) {
    callers.emplace_back([&] {
      for (int repeat = 0; repeat < 3; ++repeat) result = train(device);
    });
  }
  for (std::thread& caller : callers) caller.join();
  expect_same_as_alone(results);
}

/// Fails instead of hanging for ever.
void expect_done(std::future<void> done) {
  if (done.wait_for(std::chrono::seconds(60)) != std::future_status::ready) {
    std::fputs("deadlock: a layer called from a thread of its own pool does not return\n", stderr);
    std::_Exit(1);
  }
  done.get();
}

// A pool's thread that waits for work on its own pool waits for itself.
TEST_F(ThreadPool, MayBeUsedFromItsOwnThreads) {
  for (int threads : {1, 2}) {
    SCOPED_TRACE(std::to_string(threads) + " threads");
    Eigen::ThreadPool pool(threads);
    const Eigen::ThreadPoolDevice device(&pool, threads);
    // As many callers as threads, so that none is left to do the work.
    std::vector<Results<float>> results(at(threads));
    std::vector<std::future<void>> done;
    for (Results<float>& result : results) {
      auto promise = std::make_shared<std::promise<void>>();
      done.push_back(promise->get_future());
      pool.Schedule([&, promise] {
        result = train(device);
        promise->set_value();
      });
    }
    for (std::future<void>& one : done) expect_done(std::move(one));
    expect_same_as_alone(results);
  }
}

template <typename Layer>
void expect_inference_from_many_threads(Layer layer, const Shape& shape) {
  randomize_parameters(layer);
  const std::vector<float> batch = random_values<float>(size_of(shape), 3, 1, 1);
  std::vector<float> y(batch.size());
  layer.forward(view<Eigen::RowMajor>(batch.data(), shape), view<Eigen::RowMajor>(y.data(), shape));
  const Layer& trained = layer;
  const auto infer = [&](unsigned seed, const Shape& s) {
    const std::vector<float> x = random_values<float>(size_of(s), 3, 1, seed);
    std::vector<float> result(x.size());
    trained.infer(view<Eigen::RowMajor>(x.data(), s), view<Eigen::RowMajor>(result.data(), s));
    return result;
  };
  // Different inputs, and different shapes, so that anything shared would be seen.
  Shape half = shape;
  half[0] /= 2;
  std::vector<std::vector<float>> expected;
  for (unsigned t = 0; t < 8; ++t) expected.push_back(infer(t, t % 2 ? half : shape));
  std::vector<int> wrong(8, 0);
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      for (int repeat = 0; repeat < 20; ++repeat)
        wrong[t] += !same_bits(infer(t, t % 2 ? half : shape), expected[t]);
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(8, 0));
}

TEST(ConstLayers, InferFromManyThreads) {
  expect_inference_from_many_threads(ek::BatchNorm<float>(16), {4, 16, 9, 9});
  expect_inference_from_many_threads(ek::LayerNorm<float>(33), {64, 33});
  expect_inference_from_many_threads(ek::GroupNorm<float>(4, 16), {4, 16, 9, 9});
  expect_inference_from_many_threads(ek::InstanceNorm<float>(16), {4, 16, 9, 9});
}

}  // namespace
}  // namespace ek_test
