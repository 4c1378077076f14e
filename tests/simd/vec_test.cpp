// Vectors of every width: whole and partial loads and stores, sums, and what lies beside them left alone.
#include "evenkeel/simd/vec.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <type_traits>
#include <vector>

#include "support/data.hpp"

namespace ek_test {
namespace {

namespace simd = evenkeel::simd;

/// The sum of the lanes, by way of memory.
template <typename T, int kLanes>
T sum_of(const simd::Vec<T, kLanes>& v) {
  Buffer<T> lanes(kLanes);
  v.store(lanes.data());
  EXPECT_TRUE(lanes.padding_intact());
  T sum = 0;
  for (T lane : lanes.values()) sum += lane;
  return sum;
}

/// Loads n values, filling with `fill`, and stores n of them; the sum of all lanes tells what the filled
/// lanes hold.
template <typename T, int kLanes>
void expect_partial(Index n, T fill) {
  SCOPED_TRACE(std::to_string(kLanes) + " lanes, " + std::to_string(n) + " values");
  using V = simd::Vec<T, kLanes>;
  std::vector<T> values;
  T sum = 0;
  for (Index i = 0; i < n; ++i) {
    values.push_back(static_cast<T>(i + 1));
    if (i < kLanes) sum += static_cast<T>(i + 1);
  }
  for (Index i = n; i < kLanes; ++i) sum += fill;
  const Buffer<T> in(values);
  Buffer<T> out(n);
  const V v = V::load(in.data(), n, fill);
  EXPECT_EQ(sum_of(v), sum);
  v.store(out.data(), n);
  for (Index i = 0; i < n && i < kLanes; ++i) EXPECT_EQ(out.data()[i], in.data()[i]);
  for (Index i = kLanes; i < n; ++i) EXPECT_TRUE(std::isnan(out.data()[i])) << "stored more than a vector";
  EXPECT_TRUE(in.padding_intact() && out.padding_intact());
}

template <typename T, int kLanes>
void expect_vector() {
  using V = simd::Vec<T, kLanes>;
  EXPECT_EQ(V::kLanes, kLanes);
  for (Index n = 1; n <= kLanes + 2; ++n) expect_partial<T, kLanes>(n, T(100));
  EXPECT_EQ(sum_of(V::all(T(3))), T(3 * kLanes));
  if constexpr (!std::is_same_v<T, float> || kLanes == 1) {
    EXPECT_EQ(V::all(T(3)).total(), T(3 * kLanes));
  }
  const V a = V::all(T(2)), b = V::all(T(5)), c = V::all(T(7));
  EXPECT_EQ(sum_of(a + b), T(7 * kLanes));
  EXPECT_EQ(sum_of(a - b), T(-3 * kLanes));
  EXPECT_EQ(sum_of(a * b), T(10 * kLanes));
  EXPECT_EQ(sum_of(fma(a, b, c)), T(17 * kLanes));
}

TEST(Vec, OneElement) {
  expect_vector<float, 1>();
  expect_vector<double, 1>();
  expect_vector<long double, 1>();
}

#if EVENKEEL_HAS_VECTORS
TEST(Vec, OfFloats) {
  expect_vector<float, 4>();
  expect_vector<float, 8>();
  expect_vector<float, 16>();
}

TEST(Vec, OfDoubles) {
  expect_vector<double, 2>();
  expect_vector<double, 4>();
  expect_vector<double, 8>();
}
#endif

}  // namespace
}  // namespace ek_test
