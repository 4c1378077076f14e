#pragma once

#include <utility>

#include "evenkeel/simd/vec.hpp"

#if EVENKEEL_HAS_VECTORS
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpsabi"  // as in vec.hpp
#endif

// How the lanes of vectors are added up: several vectors at a time, and in a wider type.

namespace evenkeel::simd {

/// Blocks of neighbouring lanes, a's and b's in turn: the sum of the first two of a, that of the first two of b, then of
/// the next two of each.
template <int Block, typename Register, int... I>
EVENKEEL_INLINE void add_block_pairs(const Register& a, const Register& b, Register& to,
                                     std::integer_sequence<int, I...>) {
#ifdef EVENKEEL_HAS_SHUFFLEVECTOR
  constexpr int kLanes = sizeof...(I);
  to = __builtin_shufflevector(a, b, (I / Block / 2 * 2 * Block + I % Block + I / Block % 2 * kLanes)...) +
       __builtin_shufflevector(a, b,
                               (I / Block / 2 * 2 * Block + I % Block + I / Block % 2 * kLanes + Block)...);
#endif
}

/// Lane l of the result is the sum of the lanes of rows[l]: at each step half of the lanes and half of the rows are left.
template <int Block = 1, typename T, int Lanes>
EVENKEEL_INLINE Vec<T, Lanes> totals(const Vec<T, Lanes>* rows) {
#ifdef EVENKEEL_HAS_SHUFFLEVECTOR
  if constexpr (Block < Lanes) {
    const Vec<T, Lanes> a = totals<2 * Block>(rows), b = totals<2 * Block>(rows + Block);
    Vec<T, Lanes> sum;
    add_block_pairs<Block>(a.value, b.value, sum.value, std::make_integer_sequence<int, Lanes>());
    return sum;
  }
  return rows[0];
#else
  T sums[Lanes];
  for (int i = 0; i < Lanes; ++i) sums[i] = rows[i].total();
  return Vec<T, Lanes>::load(sums);
#endif
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
    low.value += __builtin_convertvector(a.value, typename Double::Register);
    high.value += __builtin_convertvector(b.value, typename Double::Register);
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

}  // namespace evenkeel::simd

#if EVENKEEL_HAS_VECTORS
#pragma GCC diagnostic pop
#endif
