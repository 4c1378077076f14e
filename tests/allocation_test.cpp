// infer allocates nothing; forward and backward allocate only when a shape is first seen. Threads are called in for
// large tensors by tasks, which Eigen's pool allocates.
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace {
std::atomic<std::size_t> allocations{0};  // on all threads
bool eigen_may_allocate = true;
}  // namespace

// Eigen allocates by malloc, and asserts that it may where this is defined.
#define EIGEN_RUNTIME_NO_MALLOC
#define eigen_assert(condition)                             \
  do {                                                      \
    if (!eigen_may_allocate && !(condition)) ++allocations; \
  } while (false)
#define EIGEN_USE_THREADS

#include <gtest/gtest.h>

#include <evenkeel/evenkeel.hpp>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/data.hpp"

// Of the C library's functions, those that glibc has under another name too; AddressSanitizer has its own.
#if defined(__GLIBC__) && !defined(EK_TEST_ADDRESS_SANITIZER)
#define EK_TEST_COUNTS_MALLOC
extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* memory, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);

void* malloc(std::size_t size) noexcept {
  ++allocations;
  return __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) noexcept {
  ++allocations;
  return __libc_calloc(count, size);
}
void* realloc(void* memory, std::size_t size) noexcept {
  ++allocations;
  return __libc_realloc(memory, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  ++allocations;
  return __libc_memalign(alignment, size);
}
int posix_memalign(void** memory, std::size_t alignment, std::size_t size) noexcept {
  ++allocations;
  *memory = __libc_memalign(alignment, size);
  return *memory == nullptr;
}
}
#endif

namespace {

void* memory_or_null(std::size_t size) {
#ifndef EK_TEST_COUNTS_MALLOC
  ++allocations;
#endif
  return std::malloc(size);
}

void* memory_or_null(std::size_t size, std::align_val_t alignment) {
  const auto boundary = static_cast<std::size_t>(alignment);
#ifndef EK_TEST_COUNTS_MALLOC
  ++allocations;
#endif
#ifdef _WIN32
  return _aligned_malloc(size, boundary);
#else
  return std::aligned_alloc(boundary, (size + boundary - 1) / boundary * boundary);
#endif
}

void release(void* memory, std::align_val_t) {
#ifdef _WIN32
  _aligned_free(memory);
#else
  std::free(memory);
#endif
}

void* or_throw(void* memory) {
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

// The forms that do not throw, and those of arrays, call these.
[[gnu::noinline]] void* operator new(std::size_t size) { return or_throw(memory_or_null(size)); }
[[gnu::noinline]] void* operator new(std::size_t size, std::align_val_t alignment) {
  return or_throw(memory_or_null(size, alignment));
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t alignment) noexcept {
  release(memory, alignment);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t, std::align_val_t alignment) noexcept {
  release(memory, alignment);
}

namespace {

namespace ek = evenkeel;

/// How often `call` asks for memory.
template <typename Call>
std::size_t allocations_of(Call call) {
  const std::size_t before = allocations;
  Eigen::internal::set_is_malloc_allowed(false);
  eigen_may_allocate = false;
  call();
  eigen_may_allocate = true;
  Eigen::internal::set_is_malloc_allowed(true);
  return allocations - before;
}

struct alignas(128) Aligned {
  char bytes[128];
};

TEST(Allocations, AreCounted) {
  // What is volatile cannot be left out.
  EXPECT_EQ(allocations_of([] {
              std::vector<float> v(100);
              [[maybe_unused]] float* volatile kept = v.data();
            }),
            1);
  EXPECT_EQ(allocations_of([] {
              Aligned* volatile one = new Aligned;
              delete one;
            }),
            1);
#ifndef EK_TEST_ADDRESS_SANITIZER  // which has forms of its own
  EXPECT_EQ(allocations_of([] {
              Aligned* volatile three = new Aligned[3];
              delete[] three;
            }),
            1);
  EXPECT_EQ(allocations_of([] {
              int* volatile many = new (std::nothrow) int[100];
              delete[] many;
            }),
            1);
#endif
  EXPECT_GE(allocations_of([] { Eigen::ArrayXf a(100); }), 1);
#ifdef EK_TEST_COUNTS_MALLOC
  EXPECT_EQ(allocations_of([] {
              void* volatile memory = std::malloc(100);
              std::free(memory);
            }),
            1);
#endif
  EXPECT_EQ(allocations_of([] {}), 0);
}

/// A batch and what becomes of it.
template <typename Scalar>
struct Batch {
  explicit Batch(const ek_test::Shape& s)
      : shape(s), x(ek_test::random_values<Scalar>(ek_test::size_of(s), 3, 1, 1)), dy(x), y(x), dx(x) {}

  template <typename Device, typename Layer>
  std::size_t forward(const Device& device, Layer& layer) {
    auto out = view(y);
    return allocations_of([&] { layer.forward(device, view(std::as_const(x)), out); });
  }
  template <typename Device, typename Layer>
  std::size_t backward(const Device& device, Layer& layer) {
    auto out = view(dx);
    return allocations_of(
        [&] { layer.backward(device, view(std::as_const(x)), view(std::as_const(dy)), out); });
  }
  template <typename Device, typename Layer>
  std::size_t infer(const Device& device, const Layer& layer) {
    auto out = view(y);
    return allocations_of([&] { layer.infer(device, view(std::as_const(x)), out); });
  }

  template <typename Values>
  auto view(Values& values) const {
    return ek::view(values.data(), shape, ek::row_major);
  }

  ek_test::Shape shape;
  std::vector<Scalar> x, dy, y, dx;
};

/// At most `most` of a call: none on one thread.
template <typename Device, typename Layer>
void expect_few_allocations_on(const Device& device, Layer layer, const ek_test::Shape& shape,
                               std::size_t most) {
  Batch<typename Layer::Scalar> batch(shape);
  EXPECT_LE(batch.infer(device, layer), most) << "infer";
  EXPECT_GE(batch.forward(device, layer), 1) << "the moments have to be kept somewhere";
  batch.backward(device, layer);
  for (int repeat = 0; repeat < 3; ++repeat) {
    EXPECT_LE(batch.forward(device, layer), most) << "forward again";
    EXPECT_LE(batch.backward(device, layer), most) << "backward again";
    EXPECT_LE(batch.infer(device, layer), most) << "infer again";
  }
}

template <typename Layer>
void expect_few_allocations(const Layer& layer, const ek_test::Shape& shape) {
  SCOPED_TRACE(ek_test::to_string(shape));
  constexpr int kThreads = 3;
  Eigen::ThreadPool pool(kThreads);
  const Eigen::ThreadPoolDevice device(&pool, kThreads);
  // A crew and its stretches, and for each thread a task: the function and what the pool keeps of it.
  const bool on_one_thread = ek::detail::team_size(ek_test::size_of(shape), kThreads) == 1;
  expect_few_allocations_on(Eigen::DefaultDevice(), layer, shape, 0);
  expect_few_allocations_on(device, layer, shape, on_one_thread ? 0 : 2 + 2 * kThreads);
}

TEST(Allocations, OfBatchNorm) {
  for (const ek_test::Shape& shape : {ek_test::Shape{8, 6, 7, 7}, {300, 6}, {3, 6, 30000}, {1000, 6, 5}})
    expect_few_allocations(ek::BatchNorm<float>(6), shape);
  ek::BatchNormOptions plain;
  plain.affine = plain.track_running_stats = false;
  expect_few_allocations(ek::BatchNorm<float>(6, plain), {8, 6, 7, 7});
}

TEST(Allocations, OfLayerNorm) {
  for (const ek_test::Shape& shape : {ek_test::Shape{8, 6}, {3, 100003}, {3000, 33}, {20000, 33}})
    expect_few_allocations(ek::LayerNorm<float>(shape[1]), shape);
  ek::LayerNormOptions second, plain;
  second.axis = 1;
  plain.affine = false;
  for (const ek_test::Shape& shape : {ek_test::Shape{30, 6, 500}, {90, 6, 500}})
    expect_few_allocations(ek::LayerNorm<float>(6, second), shape);
  expect_few_allocations(ek::LayerNorm<float>(33, plain), {100, 33});
}

TEST(Allocations, OfRMSNorm) {
  for (const ek_test::Shape& shape : {ek_test::Shape{8, 6}, {3, 100003}, {3000, 33}})
    expect_few_allocations(ek::RMSNorm<float>(shape[1]), shape);
}

/// Calls that fuse something, on a shape that was seen before.
template <typename Layer>
void expect_no_allocations_of_fused(Layer layer, const ek_test::Shape& shape) {
  SCOPED_TRACE(ek_test::to_string(shape));
  Batch<float> batch(shape);
  std::vector<float> residual = batch.x, d_residual = batch.x;
  const auto x = batch.view(std::as_const(batch.x)), dy = batch.view(std::as_const(batch.dy));
  const auto y = batch.view(batch.y), dx = batch.view(batch.dx), r = batch.view(residual),
             d = batch.view(d_residual);
  layer.forward(x, y);
  layer.backward(x, dy, dx);
  EXPECT_EQ(allocations_of([&] { layer.forward(x, y, ek::add_relu(r)); }), 0) << "forward";
  EXPECT_EQ(allocations_of([&] { layer.infer(x, y, ek::add_relu(r)); }), 0) << "infer";
  EXPECT_EQ(allocations_of([&] { layer.backward(x, dy, dx, ek::add_relu(r, d)); }), 0) << "backward";
  EXPECT_EQ(allocations_of([&] { layer.backward(x, dy, dx, ek::leaky_relu()); }), 0) << "without a residual";
  if constexpr (!std::is_same_v<Layer, ek::BatchNorm<float>> &&
                !std::is_same_v<Layer, ek::GroupNorm<float>>) {
    EXPECT_EQ(allocations_of([&] { layer.forward(x, y, ek::residual_in(r, d)); }), 0) << "residual_in";
    EXPECT_EQ(allocations_of([&] { layer.backward(d, dy, dx, ek::plus(r)); }), 0) << "plus";
  }
}
TEST(Allocations, OfWhatIsFused) {
  for (const ek_test::Shape& shape : {ek_test::Shape{8, 6, 7, 7}, {300, 6}, {3, 6, 30000}}) {
    expect_no_allocations_of_fused(ek::BatchNorm<float>(6), shape);
    expect_no_allocations_of_fused(ek::GroupNorm<float>(2, 6), shape);
    expect_no_allocations_of_fused(ek::LayerNorm<float>(shape.back()), shape);
    expect_no_allocations_of_fused(ek::RMSNorm<float>(shape.back()), shape);
  }
}

TEST(Allocations, OfGroupNorm) {
  for (const ek_test::Shape& shape : {ek_test::Shape{8, 6, 7, 7}, {300, 6}, {3, 6, 30000}})
    expect_few_allocations(ek::GroupNorm<float>(2, 6), shape);
  ek::GroupNormOptions last, batch_last;
  last.axis = 2;
  batch_last.axis = 0;
  batch_last.batch_axis = 1;
  for (const ek_test::Shape& shape : {ek_test::Shape{8, 7, 6}, {8, 7000, 6}})
    expect_few_allocations(ek::GroupNorm<float>(2, 6, last), shape);
  expect_few_allocations(ek::GroupNorm<float>(2, 6, batch_last), {6, 100});
}

TEST(Allocations, OfInstanceNorm) {
  ek::InstanceNormOptions tracking, last;
  tracking.affine = tracking.track_running_stats = true;
  last.axis = -1;
  for (const ek_test::Shape& shape : {ek_test::Shape{8, 6, 7, 7}, {3, 6, 30000}}) {
    expect_few_allocations(ek::InstanceNorm<float>(6), shape);
    expect_few_allocations(ek::InstanceNorm<float>(6, tracking), shape);
  }
  expect_few_allocations(ek::InstanceNorm<float>(6, last), {8, 7000, 6});
}

// Like backward, in the same room.
TEST(Allocations, OfCallsThatKeepRunningStatistics) {
  const Eigen::DefaultDevice cpu;
  for (const ek_test::Shape& shape : {ek_test::Shape{8, 6, 7, 7}, {300, 6}, {3, 6, 30000}}) {
    ek::BatchNorm<float> layer(6);
    Batch<float> batch(shape);
    auto dx = batch.view(batch.dx), y = batch.view(batch.y);
    const auto x = batch.view(std::as_const(batch.x)), dy = batch.view(std::as_const(batch.dy));
    const auto calls = [&] {
      layer.recompute(cpu, x, y);
      layer.backward(cpu, x, dy, dx);
      layer.infer_backward(cpu, x, dy, dx);
    };
    EXPECT_GE(allocations_of(calls), 1) << "moments and sums have to be kept somewhere";
    for (int repeat = 0; repeat < 3; ++repeat) EXPECT_EQ(allocations_of(calls), 0);
  }
}

/// Shapes in turn, each seen before.
template <typename Layer>
void expect_no_allocations_in_turn(Layer layer, const std::vector<ek_test::Shape>& shapes) {
  const Eigen::DefaultDevice cpu;
  std::vector<Batch<float>> batches;
  for (const ek_test::Shape& shape : shapes) batches.emplace_back(shape);
  for (int round = 0; round < 3; ++round) {
    for (Batch<float>& batch : batches) {
      const std::size_t forward = batch.forward(cpu, layer), backward = batch.backward(cpu, layer);
      if (round == 0) continue;
      EXPECT_EQ(forward, 0) << "forward";
      EXPECT_EQ(backward, 0) << "backward";
      EXPECT_EQ(batch.infer(cpu, layer), 0) << "infer";
    }
  }
}

// Of any number of statistics sets.
TEST(Allocations, OfShapesInTurn) {
  expect_no_allocations_in_turn(ek::BatchNorm<float>(6), {{8, 6, 7, 7}, {3, 6, 50}, {6, 6}});
  expect_no_allocations_in_turn(ek::LayerNorm<float>(33), {{100, 33}, {2, 50, 33}, {36, 33}, {130, 33}});
  expect_no_allocations_in_turn(ek::GroupNorm<float>(2, 6), {{8, 6, 7, 7}, {8, 6, 50}, {3, 6, 50}, {9, 6}});
  expect_no_allocations_in_turn(ek::InstanceNorm<float>(6), {{8, 6, 7, 7}, {8, 6, 50}, {3, 6, 500}});
}

}  // namespace
