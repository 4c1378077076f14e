// Where memory ends, forward and backward leave the layer and the outputs as they were.
#define EIGEN_USE_THREADS

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>

namespace {

constexpr std::size_t kNever = ~std::size_t{0};
std::atomic<std::size_t> allocations{0}, refused{0};
std::atomic<std::size_t> first_refused{kNever}, last_refused{kNever};
bool eigen_may_allocate = true;

void count_allocation() {
  const std::size_t number = ++allocations;
  if (number < first_refused || number > last_refused) return;
  ++refused;
  throw std::bad_alloc();
}

}  // namespace

// Eigen allocates by malloc, and asserts that it may where this is defined. Eigen 5 asserts it where it frees, too.
#define EIGEN_RUNTIME_NO_MALLOC
#define eigen_assert(condition)                                                                    \
  do {                                                                                             \
    if (!eigen_may_allocate && !(condition) && std::strstr(#condition, "deallocation") == nullptr) \
      count_allocation();                                                                          \
  } while (false)

#include <gtest/gtest.h>

#include <evenkeel/evenkeel.hpp>
#include <string>
#include <unsupported/Eigen/CXX11/Tensor>
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

enum class Memory { ends, fails_once };

/// Whether `call` ended well, though memory failed after so many allocations: from there on, or once.
template <typename Call>
bool succeeds(Memory memory, std::size_t allocations_before, Call call) {
  const CountEigen eigen;
  refused = 0;
  last_refused = memory == Memory::ends ? kNever : allocations + allocations_before + 1;
  first_refused = allocations + allocations_before + 1;
  bool done = true;
  try {
    call();
  } catch (const std::bad_alloc&) {
    done = false;
  }
  first_refused = kNever;
  return done;
}

using Tensor = Eigen::Tensor<float, 3, Eigen::RowMajor>;
using Dimensions = Tensor::Dimensions;

Tensor random_tensor(const Dimensions& shape, unsigned seed) {
  Tensor tensor(shape);
  const std::vector<float> values = ek_test::random_values<float>(tensor.size(), 3, 1, seed);
  std::copy(values.begin(), values.end(), tensor.data());
  return tensor;
}

/// A layer and what it wrote last.
template <typename Layer>
struct Work {
  Layer layer;
  Tensor y, dx;

  bool operator==(const Work& other) const {
    return ek_test::same_bits(ek_test::state_of(layer), ek_test::state_of(other.layer)) &&
           y.dimensions() == other.y.dimensions() && dx.dimensions() == other.dx.dimensions() &&
           ek_test::same_bits(y, other.y) && ek_test::same_bits(dx, other.dx);
  }
};

/// forward and backward of another shape than the last, where memory fails at the first allocation, at the second,
/// and so on until there are no more. A call that throws leaves everything as it was, and the layer fit for either
/// shape.
template <typename Layer, typename Device>
void expect_unchanged_without_memory(const Layer& layer, const Device& device, const Dimensions& before,
                                     const Dimensions& after) {
  const Tensor x = random_tensor(before, 1), dy = random_tensor(before, 2);
  const Tensor next_x = random_tensor(after, 3), next_dy = random_tensor(after, 4);
  Work<Layer> start{layer, {}, {}};
  start.layer.forward(x, start.y);
  start.layer.backward(x, dy, start.dx);
  const auto expect_all_or_nothing = [&](const Work<Layer>& from, const auto& call) {
    Work<Layer> done = from;
    call(Eigen::DefaultDevice(), done);
    for (const Memory memory : {Memory::ends, Memory::fails_once}) {
      bool thrown = false;
      for (std::size_t k = 0; k == 0 || refused > 0; ++k) {
        SCOPED_TRACE("after " + std::to_string(k) + " allocations");
        Work<Layer> work = from;
        if (succeeds(memory, k, [&] { call(device, work); })) {
          EXPECT_TRUE(work == done);
          continue;
        }
        thrown = true;
        EXPECT_TRUE(work == from);
        call(Eigen::DefaultDevice(), work);
        EXPECT_TRUE(work == done) << "once there is memory again";
      }
      EXPECT_TRUE(thrown) << "the output needs memory";
    }
    return done;
  };
  const Work<Layer> after_forward = expect_all_or_nothing(
      start, [&](const auto& on, Work<Layer>& work) { work.layer.forward(on, next_x, work.y); });
  expect_all_or_nothing(after_forward, [&](const auto& on, Work<Layer>& work) {
    work.layer.backward(on, next_x, next_dy, work.dx);
  });
  // After a failure backward still takes the old shape.
  Work<Layer> work = start;
  EXPECT_FALSE(succeeds(Memory::ends, 0, [&] { work.layer.forward(device, next_x, work.y); }));
  work.layer.backward(x, dy, work.dx);
  EXPECT_TRUE(work == start);
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
    ek::RMSNormOptions rms_on_channels;
    rms_on_channels.axis = 1;
    expect_unchanged_without_memory(ek::RMSNorm<float>(6, rms_on_channels), device, before, after);
    expect_unchanged_without_memory(ek::GroupNorm<float>(2, 6), device, before, after);
    ek::InstanceNormOptions tracking;
    tracking.affine = tracking.track_running_stats = true;
    expect_unchanged_without_memory(ek::InstanceNorm<float>(6, tracking), device, before, after);
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
  EXPECT_TRUE(succeeds(Memory::ends, 0, [&] { norm.infer(x, y); }));
  EXPECT_TRUE(ek_test::same_bits(y, expected));
}

}  // namespace
