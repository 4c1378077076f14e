// infer allocates nothing; forward and backward allocate only when a shape is first seen; and where memory ends, they leave
// the layer as it was.
#define EIGEN_USE_THREADS

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace {

std::atomic<std::size_t> allocations{0};
std::atomic<std::size_t> last_allocation{~std::size_t{0}};  // all after it fail
bool eigen_may_allocate = true;

void count_allocation() {
  if (++allocations > last_allocation) throw std::bad_alloc();
}

}  // namespace

// Eigen allocates by malloc, and asserts that it may where this is defined.
#define EIGEN_RUNTIME_NO_MALLOC
#define eigen_assert(condition)                                  \
  do {                                                           \
    if (!eigen_may_allocate && !(condition)) count_allocation(); \
  } while (false)

#include <gtest/gtest.h>

#include <evenkeel/evenkeel.hpp>
#include <string>
#include <unsupported/Eigen/CXX11/Tensor>
#include <utility>
#include <vector>

#include "support/data.hpp"
#include "support/same.hpp"
#include "support/state.hpp"

[[gnu::noinline]] void* operator new(std::size_t size) {
  count_allocation();
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace {

namespace ek = evenkeel;

/// While it lives, what Eigen allocates is counted as well.
struct CountEigen {
  CountEigen() { count(true); }
  ~CountEigen() { count(false); }
  static void count(bool on) {
    Eigen::internal::set_is_malloc_allowed(!on);
    eigen_may_allocate = !on;
  }
};

/// How often `call` asks for memory.
template <typename Call>
std::size_t allocations_of(Call call) {
  const std::size_t before = allocations;
  const CountEigen eigen;
  call();
  return allocations - before;
}

/// Whether `call` ended well with memory for no more than `most` allocations.
template <typename Call>
bool succeeds_with(std::size_t most, Call call) {
  const CountEigen eigen;
  last_allocation = allocations + most;
  bool done = true;
  try {
    call();
  } catch (const std::bad_alloc&) {
    done = false;
  }
  last_allocation = ~std::size_t{0};
  return done;
}

TEST(Allocations, AreCounted) {
  EXPECT_EQ(allocations_of([] { std::vector<float> v(100); }), 1);
  EXPECT_GE(allocations_of([] { Eigen::ArrayXf a(100); }), 1);
  EXPECT_EQ(allocations_of([] {}), 0);
}

template <typename Layer>
void expect_few_allocations(Layer layer, const std::vector<ek::Index>& shape) {
  ek::Index size = 1;
  for (ek::Index extent : shape) size *= extent;
  std::vector<float> x(static_cast<std::size_t>(size)), y(x.size()), dy(x.size(), 1), dx(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 17);
  const auto x_view = ek::view(x.data(), shape, ek::row_major),
             dy_view = ek::view(dy.data(), shape, ek::row_major);
  auto y_view = ek::view(y.data(), shape, ek::row_major), dx_view = ek::view(dx.data(), shape, ek::row_major);
  EXPECT_EQ(allocations_of([&] { std::as_const(layer).infer(x_view, y_view); }), 0) << "infer";
  EXPECT_GE(allocations_of([&] { layer.forward(x_view, y_view); }), 1)
      << "the moments have to be kept somewhere";
  layer.backward(x_view, dy_view, dx_view);
  for (int repeat = 0; repeat < 3; ++repeat) {
    EXPECT_EQ(allocations_of([&] { layer.forward(x_view, y_view); }), 0) << "forward again";
    EXPECT_EQ(allocations_of([&] { layer.backward(x_view, dy_view, dx_view); }), 0) << "backward again";
    EXPECT_EQ(allocations_of([&] { layer.infer(x_view, y_view); }), 0) << "infer again";
  }
}

TEST(Allocations, OfBatchNorm) {
  for (const auto& shape : {std::vector<ek::Index>{8, 6, 7, 7}, {300, 6}, {3, 6, 30000}, {1000, 6, 5}})
    expect_few_allocations(ek::BatchNorm<float>(6), shape);
}

TEST(Allocations, OfLayerNorm) {
  for (const auto& shape : {std::vector<ek::Index>{8, 6}, {3, 100003}, {3000, 33}})
    expect_few_allocations(ek::LayerNorm<float>(shape[1]), shape);
  ek::LayerNormOptions options;
  options.axis = 1;
  expect_few_allocations(ek::LayerNorm<float>(6, options), {30, 6, 500});
}

TEST(Allocations, OfGroupNorm) {
  for (const auto& shape : {std::vector<ek::Index>{8, 6, 7, 7}, {300, 6}, {3, 6, 30000}})
    expect_few_allocations(ek::GroupNorm<float>(2, 6), shape);
}

using Tensor = Eigen::Tensor<float, 3, Eigen::RowMajor>;
using Dimensions = Tensor::Dimensions;

Tensor random_tensor(const Dimensions& shape, unsigned seed) {
  Tensor tensor(shape);
  const std::vector<float> values = ek_test::random_values<float>(tensor.size(), 3, 1, seed);
  std::copy(values.begin(), values.end(), tensor.data());
  return tensor;
}

/// forward and backward of another shape than the last, with memory for no allocation, for one, and so on until both succeed:
/// each failure leaves the layer and the outputs as they were, so that it can go on with either shape.
template <typename Layer, typename Device>
void expect_unchanged_without_memory(Layer layer, const Device& device, const Dimensions& before,
                                     const Dimensions& after) {
  const Tensor x = random_tensor(before, 1), dy = random_tensor(before, 2);
  const Tensor next_x = random_tensor(after, 3), next_dy = random_tensor(after, 4);
  Tensor y, dx;
  layer.forward(x, y);
  layer.backward(x, dy, dx);
  Layer other = layer;
  Tensor other_y = y, other_dx = dx;
  const auto expect_same = [&](const std::string& when) {
    EXPECT_TRUE(ek_test::same_bits(ek_test::state_of(layer), ek_test::state_of(other))) << when;
    EXPECT_TRUE(ek_test::same_bits(y, other_y)) << when;
    EXPECT_TRUE(ek_test::same_bits(dx, other_dx)) << when;
  };
  std::size_t failures = 0;
  for (std::size_t most = 0; !succeeds_with(most, [&] { layer.forward(device, next_x, y); }); ++most) {
    ++failures;
    expect_same("forward with memory for " + std::to_string(most));
    layer.backward(x, dy, dx);
    expect_same("backward of the old shape after that");
  }
  EXPECT_GE(failures, 1) << "the output needs memory";
  other.forward(next_x, other_y);
  expect_same("forward");

  failures = 0;
  for (std::size_t most = 0; !succeeds_with(most, [&] { layer.backward(device, next_x, next_dy, dx); });
       ++most) {
    ++failures;
    expect_same("backward with memory for " + std::to_string(most));
  }
  EXPECT_GE(failures, 1) << "the output needs memory";
  other.backward(next_x, next_dy, other_dx);
  expect_same("backward");
}

template <typename Device>
void expect_all_unchanged_without_memory(const Device& device) {
  const Dimensions before{3, 6, 5}, large{16, 6, 5000};
  for (const auto& after : {Dimensions{4, 6, 7}, large}) {
    ek::BatchNormOptions without_statistics;
    without_statistics.track_running_stats = false;
    ek::LayerNormOptions on_channels;
    on_channels.axis = 1;
    expect_unchanged_without_memory(ek::BatchNorm<float>(6), device, before, after);
    expect_unchanged_without_memory(ek::BatchNorm<float>(6, without_statistics), device, before, after);
    expect_unchanged_without_memory(ek::LayerNorm<float>(6, on_channels), device, before, after);
    expect_unchanged_without_memory(ek::GroupNorm<float>(2, 6), device, before, after);
  }
  expect_unchanged_without_memory(ek::LayerNorm<float>(33), device, Dimensions(3, 2, 33),
                                  Dimensions(8, 1000, 33));
}

TEST(WithoutMemory, NothingChanges) { expect_all_unchanged_without_memory(Eigen::DefaultDevice()); }

// The pool has memory of its own to ask for; without it the caller works alone.
TEST(WithoutMemory, NothingChangesOnThreads) {
  Eigen::ThreadPool pool(3);
  expect_all_unchanged_without_memory(Eigen::ThreadPoolDevice(&pool, 3));
}

TEST(WithoutMemory, InferenceOfAKnownShapeNeedsNone) {
  const ek::BatchNorm<float> norm(6);
  const Tensor x = random_tensor(Dimensions(3, 6, 5), 1);
  Tensor y(x.dimensions()), expected = norm.infer(x);
  EXPECT_TRUE(succeeds_with(0, [&] { norm.infer(x, y); }));
  EXPECT_TRUE(ek_test::same_bits(y, expected));
}

}  // namespace
