// Moments of blocks, merged, and of whole sets, against the oracle.
#include "evenkeel/core/normalize.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "support/data.hpp"
#include "support/reference.hpp"
#include "support/shapes.hpp"

namespace ek_test {
namespace {

namespace ek = evenkeel;
namespace detail = ek::detail;
using Moments = detail::BlockMoments<double>;

TEST(TwoSum, LosesNothing) {
  double high = 0, low = 0;
  detail::one_by_one::two_sum(1e16, 1.0, high, low);
  EXPECT_EQ(high, 1e16);
  EXPECT_EQ(low, 1);
  detail::one_by_one::two_sum(1.0, 1e16, high, low);
  EXPECT_EQ(low, 1);
}

// The first, the last, and some between that are about a seventh of the size apart.
TEST(Fingerprint, PlacesLieInX) {
  using detail::Fingerprint;
  std::vector<Index> sizes = {Index(1) << 20, std::numeric_limits<Index>::max() >> 14};
  for (Index size = 1; size <= 3000; ++size) sizes.push_back(size);
  for (const Index size : sizes) {
    EXPECT_EQ(Fingerprint::place(0, size), 0);
    EXPECT_EQ(Fingerprint::place(7, size), size - 1);
    for (int k = 1; k < 7; ++k) {
      const Index step = Fingerprint::place(k, size) - Fingerprint::place(k - 1, size);
      EXPECT_NEAR(static_cast<double>(step), static_cast<double>(size) / 7,
                  1 + static_cast<double>(size) / 6000)
          << size;
    }
    EXPECT_LT(Fingerprint::place(6, size), std::max<Index>(size - 1, 1));
  }
}

template <typename S>
class FingerprintOf : public ::testing::Test {};
using Fingerprinted = ::testing::Types<float, double, long double, Eigen::half, Eigen::bfloat16>;
TYPED_TEST_SUITE(FingerprintOf, Fingerprinted);

TYPED_TEST(FingerprintOf, KnowsTheBits) {
  using S = TypeParam;
  using detail::Fingerprint;
  static_assert(detail::kHasFingerprint<S>);
  for (const Index size : {1, 2, 5, 8, 100, 1001}) {
    std::vector<S> x = random_values<S>(size, 0, 1, 1);
    x.front() = std::numeric_limits<S>::quiet_NaN();
    if (size > 1) x.back() = static_cast<S>(0);
    Fingerprint print;
    EXPECT_EQ(print.size(), 0);
    const auto itself = [](Index i) { return i; };
    print.take(x.data(), size);
    EXPECT_EQ(print.size(), size);
    EXPECT_EQ(print.first_other(x.data(), itself), Fingerprint::kPlaces);
    std::vector<S> spread(2 * x.size(), static_cast<S>(7));
    for (std::size_t i = 0; i < x.size(); ++i) spread[2 * i] = x[i];
    const auto twice = [](Index i) { return 2 * i; };
    EXPECT_EQ(print.first_other(spread.data(), twice), Fingerprint::kPlaces);
    Fingerprint of_spread;
    of_spread.take_at(spread.data(), size, twice);
    EXPECT_EQ(of_spread.first_other(x.data(), itself), Fingerprint::kPlaces);
    for (int k = Fingerprint::kPlaces - 1; k >= 0; --k) {  // so that the change is the first
      S& value = x[at(Fingerprint::place(k, size))];
      const S before = value;
      value = static_cast<S>(k == 7 && size > 1 ? -0.0 : 2.5);
      const int other = print.first_other(x.data(), itself);
      EXPECT_LE(other, k);
      EXPECT_EQ(Fingerprint::place(other, size), Fingerprint::place(k, size));
      value = before;
    }
    const double last = print.value<S>(7);
    EXPECT_TRUE(size == 1 ? std::isnan(last) : last == 0);
  }
}

// {1, 2, 3, 6} has mean 3 and M2 14; so have its two halves, {1, 2} and {3, 6}, merged.
TEST(BlockMoments, MergeByHand) {
  Moments a = Moments::about(1.0, 2, 1.0, 1.0);        // 1, 2 about 1
  const Moments b = Moments::about(3.0, 2, 3.0, 9.0);  // 3, 6 about 3
  EXPECT_EQ(a.mean, 1.5);
  EXPECT_EQ(a.m2, 0.5);
  EXPECT_EQ(b.m2, 4.5);
  a.merge(b);
  EXPECT_EQ(a.count, 4);
  EXPECT_EQ(a.mean + a.mean_low, 3);
  EXPECT_EQ(a.m2, 14);
}

TEST(BlockMoments, MergeWithNothing) {
  const Moments some = Moments::about(1.0, 2, 1.0, 1.0);
  Moments left = some, right = Moments::none();
  left.merge(Moments::none());
  right.merge(some);
  for (const Moments& m : {left, right}) {
    EXPECT_EQ(m.count, 2);
    EXPECT_EQ(m.mean, 1.5);
    EXPECT_EQ(m.m2, 0.5);
  }
}

/// Moments of values [begin, end), as blocks are summed: about a pivot, and again about the mean if that was far off.
template <typename Scalar>
auto moments_of(const std::vector<Scalar>& x, Index begin, Index end) {
  using T = ek::StatisticOf<Scalar>;
  using Block = detail::BlockMoments<T>;
  if (begin == end) return Block::none();
  const detail::Lines line{1, 0, 1, 0, static_cast<Index>(x.size())};
  const Index offset = 0, n = end - begin;
  ek::ComputeOf<Scalar> pivot;
  T first, second;
  detail::pivot_lines(detail::PivotLines<Scalar>{x.data(), &begin, 1, n, &pivot});
  const auto sum = [&] {
    detail::sum_lines(detail::SumLines<Scalar>{x.data(), nullptr, nullptr, &offset, 1, line, begin, end,
                                               &pivot, &first, &second});
  };
  sum();
  if (detail::is_poor_pivot(static_cast<T>(n), first, second)) {
    pivot = static_cast<ek::ComputeOf<Scalar>>(pivot + first / static_cast<T>(n));
    sum();
  }
  return Block::about(T(pivot), n, first, second);
}

/// What forward saves of set 0, whose n values are `stride` apart: with other sets beside it, or alone.
template <typename Scalar>
auto saved_moments(const std::vector<Scalar>& x, Index stride) {
  using T = ek::StatisticOf<Scalar>;
  const Index n = static_cast<Index>(x.size());
  std::vector<Scalar> memory(at(n * stride), Scalar(1)), y(memory.size());
  for (Index i = 0; i < n; ++i) memory[at(i * stride)] = x[at(i)];
  const detail::Partition p =
      detail::partition_channels(detail::MemoryShape(ek::Shape({n, stride}), ek::row_major), 1);
  ek::Moments<T> moments(p.sets());
  detail::Pass<Scalar> pass;
  pass.x = memory.data();
  pass.out = y.data();
  pass.formula.epsilon = 1;
  pass.moments = moments.places();
  detail::normalize<detail::Sets::channels>(p, pass, detail::ParallelFor());
  return detail::BlockMoments<T>{static_cast<T>(n), moments.mean[0], moments.mean_low[0],
                                 T(moments.variance[0] * static_cast<T>(n))};
}

/// One set of n values: in one block, merged from three, and of both walks.
template <typename Scalar>
void expect_moments(const std::vector<Scalar>& x) {
  using Block = detail::BlockMoments<ek::StatisticOf<Scalar>>;
  const Index n = static_cast<Index>(x.size());
  const IndexMap map = batch_norm_map({n, 1}, Eigen::RowMajor);
  const Reference reference(map, x, 0);
  const auto expect = [&](const char* name, const Block& m) {
    SCOPED_TRACE(name);
    // y's error is the mean's error over the std plus half the variance's relative error, each within 1e-14
    // or 5e-7.
    const Real bound = std::is_same_v<Scalar, float> ? 2.5e-7L : 5e-15L;
    const Real std = std::sqrt(reference.variance[0]);
    EXPECT_EQ(m.count, static_cast<double>(n));
    const Real mean_error = (static_cast<Real>(m.mean) - reference.mean[0]) + static_cast<Real>(m.mean_low);
    // reference.mean is one long double, off by 2^-64 of itself
    EXPECT_LE(std::fabs(mean_error), bound * std + std::ldexp(std::fabs(reference.mean[0]), -64)) << n;
    EXPECT_LE(std::fabs(static_cast<Real>(m.m2) / static_cast<Real>(n) - reference.variance[0]),
              2 * bound * reference.variance[0])
        << n;
  };
  expect("one block", moments_of(x, 0, n));
  const Index a = n / 3, b = 2 * n / 3;
  Block merged = Block::none();
  for (auto piece : {std::make_pair(Index{0}, a), std::make_pair(a, b), std::make_pair(b, n)})
    merged.merge(moments_of(x, piece.first, piece.second));
  expect("three blocks", merged);
  expect("lines", saved_moments(x, 1));
  expect("columns", saved_moments(x, 3));
}

template <typename Scalar>
void expect_moments_of_all_widths() {
  for (Index n : widths())
    for (double mean : {0.0, 1e2, 1e6}) {
      SCOPED_TRACE(std::to_string(n) + " values, mean " + std::to_string(mean));
      expect_moments(random_values<Scalar>(n, mean, 1, static_cast<unsigned>(n)));
    }
  expect_moments(random_values<Scalar>(100003, 1e6, 1, 1));
  expect_moments(drifting_values<Scalar>(100003, 1000, 2));
  expect_moments(constant_with_outliers<Scalar>(batch_norm_map({50001, 1}, Eigen::RowMajor), 1234, 1));
}

TEST(SavedMoments, OfFloat) { expect_moments_of_all_widths<float>(); }
TEST(SavedMoments, OfDouble) { expect_moments_of_all_widths<double>(); }

TEST(SavedMoments, OfEqualValuesAreExact) {
  for (float value : {0.1f, 1234.567f, -1e6f, 1e-30f})
    for (Index n : {1, 7, 99, 8193, 100003}) {
      const std::vector<float> x(at(n), value);
      for (const Moments& m : {moments_of(x, 0, n), saved_moments(x, 1), saved_moments(x, 3)}) {
        EXPECT_EQ(m.mean, static_cast<double>(value)) << n;
        EXPECT_EQ(m.mean_low, 0) << n;
        EXPECT_EQ(m.m2, 0) << n;
      }
    }
}

TEST(Finish, DividesByTheNumberOfValues) {
  const auto s = detail::finish<double>(Moments::about(3.0, 4, 0.0, 14.0), 0.5);
  EXPECT_EQ(s.variance, 3.5);
  EXPECT_EQ(s.inv_std, 0.5);
}

}  // namespace
}  // namespace ek_test
