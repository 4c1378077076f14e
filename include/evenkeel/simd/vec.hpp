#pragma once

#include <cstring>
#include <type_traits>

#include "evenkeel/base/config.hpp"
#include "evenkeel/base/scalar.hpp"

#if !defined(EVENKEEL_NO_SIMD) && (defined(__GNUC__) || defined(__clang__)) && \
    (defined(__x86_64__) || defined(__aarch64__))
#define EVENKEEL_HAS_VECTORS 1
#else
#define EVENKEEL_HAS_VECTORS 0
#endif

#if EVENKEEL_HAS_VECTORS
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpsabi"  // every function below is inlined: no vector crosses a call
#endif

namespace evenkeel::simd {

/// Lanes values of T. The primary template is one value of any type; specializations are the compiler's
/// vectors.
template <typename T, int Lanes>
struct Vec {
  static_assert(Lanes == 1, "only float and double have vectors");
  static constexpr int kLanes = 1;
  T value;

  static EVENKEEL_INLINE Vec all(const T& x) { return {x}; }
  template <typename Storage>
  static EVENKEEL_INLINE Vec load(const Storage* p) {
    return {static_cast<T>(*p)};
  }
  template <typename Storage>
  static EVENKEEL_INLINE Vec load(const Storage* p, Index, const T&) {
    return load(p);
  }
  template <typename Storage>
  EVENKEEL_INLINE void store(Storage* p) const {
    *p = static_cast<Storage>(value);
  }
  template <typename Storage>
  EVENKEEL_INLINE void store(Storage* p, Index) const {
    store(p);
  }
  EVENKEEL_INLINE T total() const { return value; }

  friend EVENKEEL_INLINE Vec operator+(const Vec& a, const Vec& b) { return {T(a.value + b.value)}; }
  friend EVENKEEL_INLINE Vec operator-(const Vec& a, const Vec& b) { return {T(a.value - b.value)}; }
  friend EVENKEEL_INLINE Vec operator*(const Vec& a, const Vec& b) { return {T(a.value * b.value)}; }
  friend EVENKEEL_INLINE Vec fma(const Vec& a, const Vec& b, const Vec& c) {
    return {T(a.value * b.value + c.value)};
  }
};

#if EVENKEEL_HAS_VECTORS

template <typename T, int Lanes>
struct NativeVec {
  typedef T Register __attribute__((vector_size(Lanes * sizeof(T))));
  typedef T Memory __attribute__((vector_size(Lanes * sizeof(T)), aligned(alignof(T)), may_alias));
  static constexpr int kLanes = Lanes;
  Register value;

  static EVENKEEL_INLINE Vec<T, Lanes> all(T x) { return {{x - Register{}}}; }

  template <typename Storage>
  static EVENKEEL_INLINE Vec<T, Lanes> load(const Storage* p) {
    if constexpr (std::is_same_v<Storage, T>) {
      return {{(Register) * reinterpret_cast<const Memory*>(p)}};
    } else {
      T lanes[Lanes];
      for (int i = 0; i < Lanes; ++i) lanes[i] = static_cast<T>(p[i]);
      return load(lanes);
    }
  }

  /// The first n lanes from memory (all of them when there are no more), the rest filled.
  template <typename Storage>
  static EVENKEEL_INLINE Vec<T, Lanes> load(const Storage* p, Index n, T fill) {
    if (n >= Lanes) return load(p);
    T lanes[Lanes];
    for (int i = 0; i < Lanes; ++i) lanes[i] = i < n ? static_cast<T>(p[i]) : fill;
    return load(lanes);
  }

  template <typename Storage>
  EVENKEEL_INLINE void store(Storage* p) const {
    if constexpr (std::is_same_v<Storage, T>) {
      *reinterpret_cast<Memory*>(p) = value;
    } else {
      T lanes[Lanes];
      store(lanes);
      for (int i = 0; i < Lanes; ++i) p[i] = static_cast<Storage>(lanes[i]);
    }
  }

  /// Only the first n lanes, or all of them when there are no more.
  template <typename Storage>
  EVENKEEL_INLINE void store(Storage* p, Index n) const {
    if (n >= Lanes) return store(p);
    T lanes[Lanes];
    store(lanes);
    for (int i = 0; i < n; ++i) p[i] = static_cast<Storage>(lanes[i]);
  }

  EVENKEEL_INLINE T total() const {
    if constexpr (Lanes == 2) {
      return value[0] + value[1];
    } else {
      Vec<T, Lanes / 2> low, high;
      halve(low, high);
      return (low + high).total();
    }
  }

  template <typename Half>
  EVENKEEL_INLINE void halve(Half& low, Half& high) const {
    std::memcpy(&low, &value, sizeof low);
    std::memcpy(&high, reinterpret_cast<const char*>(&value) + sizeof low, sizeof high);
  }

  friend EVENKEEL_INLINE Vec<T, Lanes> operator+(const Vec<T, Lanes>& a, const Vec<T, Lanes>& b) {
    return {{a.value + b.value}};
  }
  friend EVENKEEL_INLINE Vec<T, Lanes> operator-(const Vec<T, Lanes>& a, const Vec<T, Lanes>& b) {
    return {{a.value - b.value}};
  }
  friend EVENKEEL_INLINE Vec<T, Lanes> operator*(const Vec<T, Lanes>& a, const Vec<T, Lanes>& b) {
    return {{a.value * b.value}};
  }
  friend EVENKEEL_INLINE Vec<T, Lanes> fma(const Vec<T, Lanes>& a, const Vec<T, Lanes>& b,
                                           const Vec<T, Lanes>& c) {
    return {{a.value * b.value + c.value}};
  }
};

#define EVENKEEL_VEC(T, LANES) \
  template <>                  \
  struct Vec<T, LANES> : NativeVec<T, LANES> {}
EVENKEEL_VEC(float, 2);
EVENKEEL_VEC(float, 4);
EVENKEEL_VEC(float, 8);
EVENKEEL_VEC(float, 16);
EVENKEEL_VEC(double, 2);
EVENKEEL_VEC(double, 4);
EVENKEEL_VEC(double, 8);
#undef EVENKEEL_VEC

#endif  // EVENKEEL_HAS_VECTORS

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
    high = Double::load(p + Lanes / 2, n - Lanes / 2, 0);
  }

  EVENKEEL_INLINE void add(const Vec<float, Lanes>& short_sum) {
    typedef float Half __attribute__((vector_size(Lanes * sizeof(float) / 2)));
    Half a, b;
    short_sum.halve(a, b);
    low.value += __builtin_convertvector(a, typename Double::Register);
    high.value += __builtin_convertvector(b, typename Double::Register);
  }
  EVENKEEL_INLINE double total() const { return (low + high).total(); }
  EVENKEEL_INLINE void store(double* p, Index n) const {
    low.store(p, n);
    high.store(p + Lanes / 2, n - Lanes / 2);
  }
};
#endif

/// The vector of T in a register of Bytes; Bytes = 0 is one element.
template <typename T, int Bytes>
using VecOf = Vec<T, Bytes == 0 ? 1 : Bytes / static_cast<int>(sizeof(T))>;

}  // namespace evenkeel::simd

#if EVENKEEL_HAS_VECTORS
#pragma GCC diagnostic pop
#endif
