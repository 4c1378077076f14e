#pragma once

#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "evenkeel/base/config.hpp"
#include "evenkeel/base/scalar.hpp"
#include "evenkeel/simd/masked.hpp"
#include "evenkeel/simd/one_value.hpp"

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
EVENKEEL_BEGIN

#if EVENKEEL_HAS_VECTORS

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define EVENKEEL_HAS_SHUFFLEVECTOR 1
#endif
#endif

/// to = from's elements First, First + 1, ...: without the builtin, by way of memory.
template <int First, typename Half, typename Whole, int... I>
EVENKEEL_INLINE void take_half(const Whole& from, Half& to, std::integer_sequence<int, I...>) {
#ifdef EVENKEEL_HAS_SHUFFLEVECTOR
  to = __builtin_shufflevector(from, from, (First + I)...);
#else
  std::memcpy(&to, reinterpret_cast<const char*>(&from) + First * sizeof(to) / sizeof...(I), sizeof to);
#endif
}

template <typename Half, typename Whole, int... I>
EVENKEEL_INLINE void join_halves(const Half& low, const Half& high, Whole& to,
                                 std::integer_sequence<int, I...>) {
#ifdef EVENKEEL_HAS_SHUFFLEVECTOR
  to = __builtin_shufflevector(low, high, I...);
#else
  const Half halves[2] = {low, high};
  std::memcpy(&to, halves, sizeof to);
#endif
}

template <typename T, int Lanes>
struct NativeVec {
  typedef T Register __attribute__((vector_size(Lanes * sizeof(T))));
  typedef T Memory __attribute__((vector_size(Lanes * sizeof(T)), aligned(alignof(T)), may_alias));
  typedef T Aligned __attribute__((vector_size(Lanes * sizeof(T)), may_alias));
  using BitsOfLane = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;
  typedef BitsOfLane Bits __attribute__((vector_size(Lanes * sizeof(T))));
  template <typename Storage>
  struct Converted {
    typedef Storage Register __attribute__((vector_size(Lanes * sizeof(Storage))));
    typedef Storage Memory
        __attribute__((vector_size(Lanes * sizeof(Storage)), aligned(alignof(Storage)), may_alias));
  };
  using Scalar = T;
  static constexpr int kLanes = Lanes;
  static constexpr bool kMasked = sizeof(Register) > 16;  // on x86-64: has masked loads and stores
  Register value;

  static EVENKEEL_INLINE Vec<T, Lanes> of(const Register& value) {
    Vec<T, Lanes> v;
    v.value = value;
    return v;
  }

  static EVENKEEL_INLINE Vec<T, Lanes> all(T x) {
    Vec<T, Lanes> v;
#if defined(__x86_64__) && !defined(__clang__)  // g++ 12 builds a vector of a scalar lane by lane
    if constexpr (sizeof(Register) > 16) {
      if (!__builtin_constant_p(x)) {
        if constexpr (sizeof(T) == 4) {
          asm("vbroadcastss %1, %0" : "=v"(v.value) : "xm"(x));
        } else {
          asm("vbroadcastsd %1, %0" : "=v"(v.value) : "xm"(x));
        }
        return v;
      }
    }
#endif
    v.value = x + Register{};
    return v;
  }

  /// The values of as many lanes of another type.
  template <typename Other>
  static EVENKEEL_INLINE Vec<T, Lanes> converted(const Other& other) {
#if defined(__x86_64__) && !defined(__clang__)  // g++ 12 widens in halves
    if constexpr (sizeof(Register) > 16 && 2 * sizeof(Other) == sizeof(Register) &&
                  std::is_same_v<std::decay_t<decltype(other[0])>, float>) {
      Vec<T, Lanes> wide;
      asm("vcvtps2pd %1, %0" : "=v"(wide.value) : "vm"(other));
      return wide;
    }
#endif
    return of(__builtin_convertvector(other, Register));
  }

  template <typename Storage>
  static EVENKEEL_INLINE Vec<T, Lanes> load(const Storage* p) {
    if constexpr (std::is_same_v<Storage, T>) {
      Vec<T, Lanes> v;
      v.value = *reinterpret_cast<const Memory*>(p);
      return v;
    } else if constexpr (std::is_arithmetic_v<Storage>) {
      const typename Converted<Storage>::Register other =
          *reinterpret_cast<const typename Converted<Storage>::Memory*>(p);
      return converted(other);
    } else {
      T lanes[Lanes];
      for (int i = 0; i < Lanes; ++i) lanes[i] = static_cast<T>(p[i]);
      return load(lanes);
    }
  }

  /// The n elements before end, in the last lanes; the others filled. Reads as many before them as fill the vector.
  template <typename Storage>
  static EVENKEEL_INLINE Vec<T, Lanes> load_end(const Storage* end, Index n, T fill) {
    return first_lanes(all(fill), Lanes - n, load(end - Lanes));
  }

  /// The first n lanes from memory (all of them when there are no more), the rest filled.
  template <typename Storage>
  static EVENKEEL_INLINE Vec<T, Lanes> load(const Storage* p, Index n, T fill) {
    if (n >= Lanes) return load(p);
#ifdef __x86_64__
    if constexpr (kMasked && std::is_same_v<Storage, T>) {
      T lanes[Lanes];
      all(fill).store(lanes);
      load_masked<sizeof(Register)>(p, lanes, lane_mask<Part::first, sizeof(Register), T>(n));
      return load(lanes);
    } else
#endif
    {
      Vec<T, Lanes / 2> low = Vec<T, Lanes / 2>::load(p, n, fill), high = Vec<T, Lanes / 2>::all(fill);
      if (n > Lanes / 2) high = Vec<T, Lanes / 2>::load(p + Lanes / 2, n - Lanes / 2, fill);
      return join(low, high);
    }
  }

  template <typename Storage>
  EVENKEEL_INLINE void store(Storage* p) const {
    if constexpr (std::is_same_v<Storage, T>) {
      *reinterpret_cast<Memory*>(p) = value;
    } else if constexpr (std::is_arithmetic_v<Storage>) {
      using Other = Converted<Storage>;
      *reinterpret_cast<typename Other::Memory*>(p) =
          __builtin_convertvector(value, typename Other::Register);
    } else {
      T lanes[Lanes];
      store(lanes);
      for (int i = 0; i < Lanes; ++i) p[i] = static_cast<Storage>(lanes[i]);
    }
  }

  /// Past the caches, to an address that is a multiple of the vector's size; see fence().
  EVENKEEL_INLINE void stream(T* p) const {
    Aligned* to = reinterpret_cast<Aligned*>(p);
#if defined(__clang__)
    __builtin_nontemporal_store(value, to);
#elif defined(__x86_64__)
    if constexpr (sizeof(Register) == 16) {
      asm("movntps %1, %0" : "=m"(*to) : "x"(value));
    } else {
      asm("vmovntps %1, %0" : "=m"(*to) : "v"(value));
    }
#else
    *to = value;
#endif
  }

  /// Only the first n lanes, or all of them when there are no more.
  template <typename Storage>
  EVENKEEL_INLINE void store(Storage* p, Index n) const {
    if (n >= Lanes) return store(p);
#ifdef __x86_64__
    if constexpr (kMasked && std::is_same_v<Storage, T>) {
      T lanes[Lanes];
      store(lanes);
      store_part<Part::first, sizeof(Register)>(lanes, p, n);
    } else
#endif
    {
      Vec<T, Lanes / 2> low, high;
      halve(low, high);
      low.store(p, n);
      if (n > Lanes / 2) high.store(p + Lanes / 2, n - Lanes / 2);
    }
  }

  /// The first n lanes, to the n places before end; from end on nothing is touched.
  template <typename Storage>
  EVENKEEL_INLINE void store_before(Storage* end, Index n) const {
#ifdef __x86_64__
    if constexpr (kMasked && std::is_same_v<Storage, T>) {
      T lanes[Lanes];
      store(lanes);
      store_part<Part::last, sizeof(Register)>(lanes, end - Lanes, n);
    } else
#endif
    {
      store(end - n, n);
    }
  }

  EVENKEEL_INLINE T total() const {
    Vec<T, Lanes / 2> low, high;
    halve(low, high);
    return (low + high).total();
  }

  EVENKEEL_INLINE void halve(Vec<T, Lanes / 2>& low, Vec<T, Lanes / 2>& high) const {
    if constexpr (Lanes == 2) {
      low.value = value[0];
      high.value = value[1];
    } else {
      take_half<0>(value, low.value, std::make_integer_sequence<int, Lanes / 2>());
      take_half<Lanes / 2>(value, high.value, std::make_integer_sequence<int, Lanes / 2>());
    }
  }

  friend EVENKEEL_INLINE Vec<T, Lanes> operator+(const Vec<T, Lanes>& a, const Vec<T, Lanes>& b) {
    return NativeVec::of(a.value + b.value);
  }
  friend EVENKEEL_INLINE Vec<T, Lanes> operator-(const Vec<T, Lanes>& a, const Vec<T, Lanes>& b) {
    return NativeVec::of(a.value - b.value);
  }
  friend EVENKEEL_INLINE Vec<T, Lanes> operator*(const Vec<T, Lanes>& a, const Vec<T, Lanes>& b) {
    return NativeVec::of(a.value * b.value);
  }
  friend EVENKEEL_INLINE Vec<T, Lanes> fma(const Vec<T, Lanes>& a, const Vec<T, Lanes>& b,
                                           const Vec<T, Lanes>& c) {
    return NativeVec::of(a.value * b.value + c.value);
  }
  friend EVENKEEL_INLINE Vec<T, Lanes> fnma(const Vec<T, Lanes>& a, const Vec<T, Lanes>& b,
                                            const Vec<T, Lanes>& c) {
    return NativeVec::of(c.value - a.value * b.value);
  }
  /// 1 / sqrt(a) for a > 0, to about a unit in the last place. With registers of 64 bytes, where dividing takes
  /// longer, and on AArch64 by Newton's iteration from a guess that halves and negates the exponent: of a finite a,
  /// if subnormal scaled first.
  friend EVENKEEL_INLINE Vec<T, Lanes> inverse_root(const Vec<T, Lanes>& a) {
    static_assert(std::is_same_v<T, double>);
#ifdef __x86_64__
    if constexpr (sizeof(Register) <= 32) {
      Vec<T, Lanes> root;
      if constexpr (sizeof(Register) == 16) {
        asm("sqrtpd %1, %0" : "=x"(root.value) : "x"(a.value));
      } else {
#ifdef __clang__  // by way of memory, as in masked.hpp
        asm("vsqrtpd %1, %%ymm0\n\tvmovupd %%ymm0, %0" : "=m"(root.value) : "m"(a.value) : "xmm0");
#else
        asm("vsqrtpd %1, %0" : "=x"(root.value) : "xm"(a.value));
#endif
      }
      return NativeVec::of(1 / root.value);
    }
#endif
    const Vec<T, Lanes> tiny = all(0x1p-900), one = all(1), half = all(0.5);
    const Vec<T, Lanes> halved = a * if_less(a, tiny, all(0x1p199), half);
    Vec<T, Lanes> root = of((Register)(0x5fe6eb50c7b537a9 - ((Bits)(halved + halved).value >> 1)));
    for (int i = 0; i < 4; ++i) root = fma(root, half - halved * root * root, root);
    return root * if_less(a, tiny, all(0x1p100), one);
  }
  /// a < b ? yes : no
  friend EVENKEEL_INLINE Vec<T, Lanes> if_less(const Vec<T, Lanes>& a, const Vec<T, Lanes>& b,
                                               const Vec<T, Lanes>& yes, const Vec<T, Lanes>& no) {
    return NativeVec::of(a.value < b.value ? yes.value : no.value);
  }
  /// low < a < high ? yes : no, and no where a is NaN; low and high are positive.
  friend EVENKEEL_INLINE Vec<T, Lanes> if_between(const Vec<T, Lanes>& a, T low, T high,
                                                  const Vec<T, Lanes>& yes, const Vec<T, Lanes>& no) {
    const Bits bits = (Bits)a.value, above = (Bits)all(low).value < bits,
               below = bits < (Bits)all(high).value;
    return NativeVec::of((above & below) ? yes.value : no.value);
  }
  friend EVENKEEL_INLINE Vec<T, Lanes> magnitude(const Vec<T, Lanes>& a) {
    return NativeVec::of((Register)((Bits)a.value & (std::numeric_limits<BitsOfLane>::max)()));
  }
  /// a, or 0 where it is negative and finite; NaN stays what it is.
  friend EVENKEEL_INLINE Vec<T, Lanes> not_negative(const Vec<T, Lanes>& a) {
    static_assert(std::is_same_v<T, double>);
    const Bits bits = (Bits)a.value, kept = bits >= Bits{} + kMinusInfinityBits;
    return NativeVec::of((Register)(bits & kept));
  }
  /// The first n lanes of a, then those of b.
  friend EVENKEEL_INLINE Vec<T, Lanes> first_lanes(const Vec<T, Lanes>& a, Index n, const Vec<T, Lanes>& b) {
    return if_less(lane_numbers(std::make_integer_sequence<int, Lanes>()), all(static_cast<T>(n)), a, b);
  }

 private:
  template <int... I>
  static EVENKEEL_INLINE Vec<T, Lanes> lane_numbers(std::integer_sequence<int, I...>) {
    return of(Register{static_cast<T>(I)...});
  }

  static EVENKEEL_INLINE Vec<T, Lanes> join(const Vec<T, Lanes / 2>& low, const Vec<T, Lanes / 2>& high) {
    Vec<T, Lanes> whole;
    if constexpr (Lanes == 2) {
      whole.value = Register{low.value, high.value};
    } else {
      join_halves(low.value, high.value, whole.value, std::make_integer_sequence<int, Lanes>());
    }
    return whole;
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

/// A result, rounded to its type. A caller's -ffast-math may not take it apart: (a - b) c as a c - b c loses what is
/// small in a - b. Nor may the x87 unit of 32-bit x86 keep more digits of it than it has.
template <typename T, int Lanes>
EVENKEEL_INLINE Vec<T, Lanes> as_computed(const Vec<T, Lanes>& result) {
  Vec<T, Lanes> kept = result;
  if constexpr (std::is_same_v<T, float> || std::is_same_v<T, double>) {
#if defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ == 2
    asm("" : "+m"(kept.value));
#elif defined(__clang__) && __clang_major__ >= 14 && (defined(__x86_64__) || defined(__i386__))
    kept.value = __arithmetic_fence(kept.value);
#elif !defined(__FAST_MATH__) && !defined(__ASSOCIATIVE_MATH__)
#elif defined(__GNUC__) && defined(__x86_64__)
    asm("" : "+v"(kept.value));
#elif defined(__GNUC__) && defined(__aarch64__)
    asm("" : "+w"(kept.value));
#elif defined(__GNUC__)
    asm("" : "+m"(kept.value));
#endif
  }
  return kept;
}
template <typename T>
EVENKEEL_INLINE T as_computed(const T& result) {
  if constexpr (std::is_same_v<T, double>) return as_computed(Vec<T, 1>{result}).value;
  return result;
}

/// a - b as computed.
template <typename T, int Lanes>
EVENKEEL_INLINE Vec<T, Lanes> difference(const Vec<T, Lanes>& a, const Vec<T, Lanes>& b) {
  return as_computed(a - b);
}

/// Orders what was streamed before what is stored after.
EVENKEEL_INLINE void fence() {
#if defined(__x86_64__) && EVENKEEL_HAS_VECTORS
  __builtin_ia32_sfence();
#endif
}

/// How many vectors V registers hold.
#ifdef __aarch64__
template <typename V>
constexpr int kRegisters = 32;
#else
template <typename V>
constexpr int kRegisters = sizeof(V) == 64 ? 32 : 16;
#endif

/// The vector of T in a register of Bytes; Bytes = 0 is one element.
template <typename T, int Bytes>
using VecOf = Vec<T, Bytes == 0 ? 1 : Bytes / static_cast<int>(sizeof(T))>;

EVENKEEL_END
}  // namespace evenkeel::simd

#if EVENKEEL_HAS_VECTORS
#pragma GCC diagnostic pop
#endif
