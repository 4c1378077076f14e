#pragma once

#include <cmath>

#include "evenkeel/base/config.hpp"
#include "evenkeel/base/scalar.hpp"

namespace evenkeel::simd {
EVENKEEL_BEGIN

/// Lanes values of T. The primary template is one value of any type; specializations are the compiler's
/// vectors.
template <typename T, int Lanes>
struct Vec {
  static_assert(Lanes == 1, "only float and double have vectors");
  using Scalar = T;
  static constexpr int kLanes = 1;
  T value;

  static EVENKEEL_INLINE Vec all(const T& x) { return {x}; }
  template <typename Storage>
  static EVENKEEL_INLINE Vec load(const Storage* p) {
    return {static_cast<T>(*p)};
  }
  template <typename Storage>
  static EVENKEEL_INLINE Vec load(const Storage* p, Index n, const T& fill) {
    return n > 0 ? load(p) : all(fill);
  }
  template <typename Storage>
  EVENKEEL_INLINE void store(Storage* p) const {
    *p = static_cast<Storage>(value);
  }
  template <typename Storage>
  EVENKEEL_INLINE void store(Storage* p, Index n) const {
    if (n > 0) store(p);
  }
  template <typename Storage>
  EVENKEEL_INLINE void store_before(Storage* end, Index n) const {
    if (n > 0) store(end - 1);
  }
  template <typename Storage>
  EVENKEEL_INLINE void stream(Storage* p) const {
    store(p);
  }
  /// The n elements before end, in the last lanes; the others filled.
  template <typename Storage>
  static EVENKEEL_INLINE Vec load_end(const Storage* end, Index n, const T& fill) {
    return n > 0 ? load(end - 1) : all(fill);
  }
  EVENKEEL_INLINE T total() const { return value; }

  friend EVENKEEL_INLINE Vec operator+(const Vec& a, const Vec& b) { return {T(a.value + b.value)}; }
  friend EVENKEEL_INLINE Vec operator-(const Vec& a, const Vec& b) { return {T(a.value - b.value)}; }
  friend EVENKEEL_INLINE Vec operator*(const Vec& a, const Vec& b) { return {T(a.value * b.value)}; }
  friend EVENKEEL_INLINE Vec inverse_root(const Vec& a) {
    using std::sqrt;
    return {T(T(1) / T(sqrt(a.value)))};
  }
  /// a < b ? yes : no
  friend EVENKEEL_INLINE Vec if_less(const Vec& a, const Vec& b, const Vec& yes, const Vec& no) {
    return a.value < b.value ? yes : no;
  }
  /// low < a < high ? yes : no, and no where a is NaN; low and high are positive.
  friend EVENKEEL_INLINE Vec if_between(const Vec& a, double low, double high, const Vec& yes,
                                        const Vec& no) {
    return is_between(a.value, low, high) ? yes : no;
  }
  friend EVENKEEL_INLINE Vec magnitude(const Vec& a) {
    using std::abs;
    return {T(abs(a.value))};
  }
  /// a, or 0 where it is negative and finite; NaN stays what it is.
  friend EVENKEEL_INLINE Vec not_negative(const Vec& a) { return {evenkeel::not_negative(a.value)}; }
  /// The first n lanes of a, then those of b.
  friend EVENKEEL_INLINE Vec first_lanes(const Vec& a, Index n, const Vec& b) { return n > 0 ? a : b; }
  friend EVENKEEL_INLINE Vec fma(const Vec& a, const Vec& b, const Vec& c) {
    return {T(a.value * b.value + c.value)};
  }
  /// c - a b
  friend EVENKEEL_INLINE Vec fnma(const Vec& a, const Vec& b, const Vec& c) {
    return {T(c.value - a.value * b.value)};
  }
};

EVENKEEL_END
}  // namespace evenkeel::simd
