// SPDX-License-Identifier: MIT
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "evenkeel/base/config.hpp"

// For the library itself.

// The compiler's own types of 16 bits: _Float16, which is std::float16_t, and std::bfloat16_t of C++23.
#if defined(__FLT16_MANT_DIG__) && \
    (defined(__clang__) || __GNUC__ >= 13 || (__GNUC__ == 12 && (defined(__x86_64__) || defined(__i386__))))
#define EVENKEEL_EACH_FLOAT16(X) X(::evenkeel::detail::Float16, Eigen::half)
namespace evenkeel::detail {
__extension__ typedef _Float16 Float16;
}
#else
#define EVENKEEL_EACH_FLOAT16(X)
#endif
#if defined(__STDCPP_BFLOAT16_T__)
#define EVENKEEL_EACH_BFLOAT16(X) X(decltype(0.0bf16), Eigen::bfloat16)
#else
#define EVENKEEL_EACH_BFLOAT16(X)
#endif
/// X(type, Eigen's type of the same bits) of each that this compiler has.
#define EVENKEEL_EACH_COMPILER_SCALAR(X) EVENKEEL_EACH_FLOAT16(X) EVENKEEL_EACH_BFLOAT16(X)

// For callers again.

namespace evenkeel {
EVENKEEL_BEGIN

/// Signed, as Eigen's: std::ptrdiff_t unless EIGEN_DEFAULT_DENSE_INDEX_TYPE says otherwise.
using Index = Eigen::Index;

/// The types that belong to a storage type: of parameters, of arithmetic and of statistics. They are the storage type
/// itself unless there is a specialization.
template <typename Scalar>
struct ScalarTraits {
  static_assert(!Eigen::NumTraits<Scalar>::IsInteger && !Eigen::NumTraits<Scalar>::IsComplex,
                "evenkeel: Scalar must be a real floating-point type, or compute like one");
  using Param = Scalar;      // of gamma and beta, their gradients and running statistics
  using Compute = Scalar;    // of arithmetic on elements
  using Statistic = Scalar;  // of mean, variance and the sums behind gradients
};

/// Statistics of float are kept in double.
template <>
struct ScalarTraits<float> {
  using Param = float;       // as stored
  using Compute = float;     // as stored
  using Statistic = double;  // so that a mean far from 0 keeps its digits
};

/// half is float once it is loaded.
template <>
struct ScalarTraits<Eigen::half> : ScalarTraits<float> {};

/// bfloat16 is float once it is loaded.
template <>
struct ScalarTraits<Eigen::bfloat16> : ScalarTraits<float> {};

// For the library itself.

#define EVENKEEL_X(Scalar, Same) \
  template <>                    \
  struct ScalarTraits<Scalar> : ScalarTraits<Same> {};
EVENKEEL_EACH_COMPILER_SCALAR(EVENKEEL_X)
#undef EVENKEEL_X

// For callers again.

/// ScalarTraits for short.
template <typename Scalar>
using ParamOf = typename ScalarTraits<Scalar>::Param;
template <typename Scalar>
using ComputeOf = typename ScalarTraits<Scalar>::Compute;
template <typename Scalar>
using StatisticOf = typename ScalarTraits<Scalar>::Statistic;

/// The array type of parameters and statistics.
template <typename T>
using Vector = Eigen::Array<T, Eigen::Dynamic, 1>;

EVENKEEL_END
}  // namespace evenkeel

// For the library itself.

namespace evenkeel::detail {
EVENKEEL_BEGIN

/// The type whose kernels compute a storage type: Eigen's, of those that are the compiler's own.
template <typename S>
struct KernelScalarOf {
  using type = S;
};
#define EVENKEEL_X(Scalar, Same)  \
  template <>                     \
  struct KernelScalarOf<Scalar> { \
    using type = Same;            \
  };
EVENKEEL_EACH_COMPILER_SCALAR(EVENKEEL_X)
#undef EVENKEEL_X
template <typename S>
using KernelScalar = typename KernelScalarOf<S>::type;

template <typename S>
inline constexpr bool kIsEigenShort = std::is_same_v<S, Eigen::half> || std::is_same_v<S, Eigen::bfloat16>;

/// An element that is stored, as a value to compute with. Memory of Eigen's 16-bit types may be that of the compiler's
/// own, so it is copied as bytes.
template <typename S>
EVENKEEL_INLINE ComputeOf<S> value_at(const S* p) {
  if constexpr (kIsEigenShort<S>) {
    S value;
    std::memcpy(&value, p, sizeof value);
    return static_cast<ComputeOf<S>>(value);
  } else {
    return static_cast<ComputeOf<S>>(*p);
  }
}
template <typename S>
EVENKEEL_INLINE void put_value(S* p, const ComputeOf<S>& value) {
  const S stored = static_cast<S>(value);
  if constexpr (kIsEigenShort<S>) {
    std::memcpy(static_cast<void*>(p), &stored, sizeof stored);
  } else {
    *p = stored;
  }
}

/// A matrix or an array of Eigen's, not initialized. The allocation is inlined. Otherwise the linker could keep Eigen's
/// function from a unit with AVX, whose memory a unit without AVX frees in another way.
template <typename Dense>
EVENKEEL_FLATTEN Dense dense_of(Index rows, Index cols) {
  Dense dense;
  dense.resize(rows, cols);
  return dense;
}

/// n values, not initialized, or all of one value.
template <typename T>
Vector<T> vector_of(Index n) {
  return dense_of<Vector<T>>(n, 1);
}
template <typename T>
Vector<T> vector_of(Index n, const T& value) {
  Vector<T> values = vector_of<T>(n);
  std::fill_n(values.data(), n, value);
  return values;
}

/// A double as a T, through the literal type that Eigen names for it.
template <typename T>
T from_double(double value) {
  return T(static_cast<typename Eigen::NumTraits<T>::Literal>(value));
}

/// A count as a T.
template <typename T>
T from_count(Index n) {
  if constexpr (std::is_arithmetic_v<T>) {
    return static_cast<T>(n);
  } else {
    return from_double<T>(static_cast<double>(n));
  }
}

// A caller's -ffast-math lets the compiler assume that every number is finite. The functions below look at the bits.

inline std::uint64_t bits_of(double value) {
  std::uint64_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

/// The bits of minus infinity as a signed number. Negative finite values have smaller ones, NaNs larger ones.
constexpr std::int64_t kMinusInfinityBits = static_cast<std::int64_t>(0xfff0000000000000u);

/// value, or 0 where it is negative and finite; NaN stays what it is.
template <typename T>
T not_negative(const T& value) {
  if constexpr (std::is_same_v<T, double>) {
    return static_cast<std::int64_t>(bits_of(value)) < kMinusInfinityBits ? 0.0 : value;
  } else {
    return value < T(0) ? T(0) : value;
  }
}

/// Whether value, which is not -0, is 0: not if it is NaN.
inline bool is_zero(double value) { return bits_of(value) == 0; }
template <typename T>
bool is_zero(const T& value) {
  return value == T(0);
}

/// Whether low < value < high; low and high are positive. Not if value is NaN.
inline bool is_between(double value, double low, double high) {
  return bits_of(low) < bits_of(value) && bits_of(value) < bits_of(high);
}

template <typename T>
bool is_nan(const T& value) {
  if constexpr (std::is_same_v<T, float> || std::is_same_v<T, double>) {
    return bits_of(static_cast<double>(value)) << 1 > 0xffe0000000000000u;
  } else {
    return value != value;
  }
}

/// Whether value is neither NaN nor infinite. It looks at the bits of known types, so that -ffast-math cannot assume
/// the answer.
template <typename T>
bool is_finite(const T& value) {
  if constexpr (std::is_same_v<T, float>) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return (bits & 0x7f800000u) != 0x7f800000u;
  } else if constexpr (std::is_same_v<T, double>) {
    return (bits_of(value) & 0x7ff0000000000000u) != 0x7ff0000000000000u;
  } else {
    return value <= (std::numeric_limits<T>::max)() && value >= std::numeric_limits<T>::lowest();
  }
}

/// A result, rounded to its type. A caller's -ffast-math may not rewrite it: (a - b) c as a c - b c would lose the
/// small digits of a - b. The x87 unit of 32-bit x86 may not keep more digits than the type has.
template <typename T>
EVENKEEL_INLINE T as_computed(const T& result) {
  if constexpr (std::is_same_v<T, float> || std::is_same_v<T, double>) {
    T kept = result;
#if defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ == 2
    asm("" : "+m"(kept));
#elif !defined(__FAST_MATH__) && !defined(__ASSOCIATIVE_MATH__)
#elif defined(__clang__) && defined(__x86_64__)
    asm("" : "+x"(kept));
#elif defined(__GNUC__)
    asm("" : "+m"(kept));
#endif
    return kept;
  } else {
    return result;
  }
}

EVENKEEL_END
}  // namespace evenkeel::detail
