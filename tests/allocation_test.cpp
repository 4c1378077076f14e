// infer allocates nothing; forward and backward allocate only when a shape is first seen.
#include <cstddef>
#include <cstdlib>
#include <new>

namespace {
std::size_t allocations = 0;
bool eigen_may_allocate = true;
}  // namespace

// Eigen allocates by malloc, and asserts that it may where this is defined.
#define EIGEN_RUNTIME_NO_MALLOC
#define eigen_assert(condition)                             \
  do {                                                      \
    if (!eigen_may_allocate && !(condition)) ++allocations; \
  } while (false)

#include <gtest/gtest.h>

#include <evenkeel/evenkeel.hpp>
#include <utility>
#include <vector>

[[gnu::noinline]] void* operator new(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

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

}  // namespace
