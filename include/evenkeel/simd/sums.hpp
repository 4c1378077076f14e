#pragma once

#include <utility>

#include "evenkeel/simd/vec.hpp"

#if EVENKEEL_HAS_VECTORS
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpsabi"  // as in vec.hpp
#endif

// How the lanes of vectors are added up: several vectors at a time, and in a wider type.

namespace evenkeel::simd {
EVENKEEL_BEGIN

/// to = blocks of neighbouring lanes, a's and b's in turn: the sum of the first two of a, that of the first two of b,
/// then of the next two of each.
template <int Block, typename Register, int... I>
EVENKEEL_INLINE void add_block_pairs(const Register& a, const Register& b, Register& to,
                                     std::integer_sequence<int, I...>) {
  constexpr int kLanes = sizeof...(I);
#ifdef EVENKEEL_HAS_SHUFFLEVECTOR
  to = __builtin_shufflevector(a, b, (I / Block % 2 == 0 ? I : kLanes + I)...) +
       __builtin_shufflevector(a, b, (I / Block % 2 == 0 ? I + Block : kLanes + I - Block)...);
#else
  for (int i = 0; i < kLanes; ++i) to[i] = i / Block % 2 == 0 ? a[i] + a[i + Block] : b[i] + b[i - Block];
#endif
}

template <int Block, typename T, int Lanes>
EVENKEEL_INLINE Vec<T, Lanes> add_block_pairs(const Vec<T, Lanes>& a, const Vec<T, Lanes>& b) {
  Vec<T, Lanes> sum;
  add_block_pairs<Block>(a.value, b.value, sum.value, std::make_integer_sequence<int, Lanes>());
  return sum;
}

/// Two vectors that are summed side by side.
template <typename V>
struct Two {
  static constexpr int kLanes = V::kLanes;
  V first, second;

  template <int Block>
  friend EVENKEEL_INLINE Two add_block_pairs(const Two& a, const Two& b) {
    return {add_block_pairs<Block>(a.first, b.first), add_block_pairs<Block>(a.second, b.second)};
  }
};

/// Lane l of the result is the sum of the lanes of row(l): at each step half of the lanes and half of the rows are
/// left.
template <int Block = 1, int First = 0, typename Row>
EVENKEEL_INLINE auto totals(const Row& row) {
  if constexpr (Block < decltype(row(0))::kLanes) {
    return add_block_pairs<Block>(totals<2 * Block, First>(row), totals<2 * Block, First + Block>(row));
  } else {
    return row(First);
  }
}

/// Sums, lane by lane, in the statistic type: short sums in T are added here before they lose digits.
template <typename T, int Lanes, typename Statistic>
struct WideSum {
  static_assert(std::is_same_v<T, Statistic>, "no conversion for these types");
  Vec<Statistic, Lanes> sum;

  EVENKEEL_INLINE WideSum() : sum(Vec<Statistic, Lanes>::all(Statistic(0))) {}
  EVENKEEL_INLINE WideSum(const Statistic* p, Index n)
      : sum(Vec<Statistic, Lanes>::load(p, n, Statistic(0))) {}

  EVENKEEL_INLINE void add(const Vec<T, Lanes>& short_sum) { sum = sum + short_sum; }
  EVENKEEL_INLINE Statistic total() const { return sum.total(); }
  EVENKEEL_INLINE void store(Statistic* p, Index n) const { sum.store(p, n); }
};

template <>
struct WideSum<float, 1, double> {
  double sum = 0;

  EVENKEEL_INLINE WideSum() {}
  EVENKEEL_INLINE WideSum(const double* p, Index) : sum(*p) {}

  EVENKEEL_INLINE void add(const Vec<float, 1>& short_sum) { sum += static_cast<double>(short_sum.value); }
  EVENKEEL_INLINE double total() const { return sum; }
  EVENKEEL_INLINE void store(double* p, Index) const { *p = sum; }
};

#if EVENKEEL_HAS_VECTORS
template <int Lanes>
struct WideSum<float, Lanes, double> {
  using Double = Vec<double, Lanes / 2>;
  Double low, high;

  EVENKEEL_INLINE WideSum() {
    low = Double::all(0);
    high = Double::all(0);
  }
  EVENKEEL_INLINE WideSum(const double* p, Index n) {
    low = Double::load(p, n, 0);
    high = Double::load(p + Lanes / 2, beyond_half(n), 0);
  }

  EVENKEEL_INLINE void add(const Vec<float, Lanes>& short_sum) {
    Vec<float, Lanes / 2> a, b;
    short_sum.halve(a, b);
    low = low + Double::converted(a.value);
    high = high + Double::converted(b.value);
  }
  EVENKEEL_INLINE double total() const { return (low + high).total(); }
  EVENKEEL_INLINE void store(double* p, Index n) const {
    low.store(p, n);
    high.store(p + Lanes / 2, beyond_half(n));
  }

 private:
  static EVENKEEL_INLINE Index beyond_half(Index n) { return n > Lanes / 2 ? n - Lanes / 2 : 0; }
};
#endif

EVENKEEL_END
}  // namespace evenkeel::simd

#if EVENKEEL_HAS_VECTORS
#pragma GCC diagnostic pop
#endif
