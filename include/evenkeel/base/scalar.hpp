#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "evenkeel/base/config.hpp"

namespace evenkeel {
EVENKEEL_BEGIN

using Index = Eigen::Index;

/// The types behind a storage type: what gamma and beta are kept in, what is computed in, what statistics are
/// kept in.
template <typename Scalar>
struct ScalarTraits {
  static_assert(!Eigen::NumTraits<Scalar>::IsInteger && !Eigen::NumTraits<Scalar>::IsComplex,
                "evenkeel: Scalar must be a real floating-point type, or compute like one");
  using Param = Scalar;
  using Compute = Scalar;
  using Statistic = Scalar;
};

template <>
struct ScalarTraits<float> {
  using Param = float;
  using Compute = float;
  using Statistic = double;
};

template <>
struct ScalarTraits<Eigen::half> : ScalarTraits<float> {};

template <>
struct ScalarTraits<Eigen::bfloat16> : ScalarTraits<float> {};

template <typename Scalar>
using ParamOf = typename ScalarTraits<Scalar>::Param;
template <typename Scalar>
using ComputeOf = typename ScalarTraits<Scalar>::Compute;
template <typename Scalar>
using StatisticOf = typename ScalarTraits<Scalar>::Statistic;

template <typename T>
using Vector = Eigen::Array<T, Eigen::Dynamic, 1>;

/// A count as a T; by way of double for types that are made of one.
template <typename T>
T from_count(Index n) {
  if constexpr (std::is_arithmetic_v<T>) {
    return static_cast<T>(n);
  } else {
    return T(static_cast<double>(n));
  }
}

// A caller's -ffast-math takes every number for finite, and a comparison for either answer where one is not. What
// must know is asked of the bits.

inline std::uint64_t bits_of(double value) {
  std::uint64_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

/// The bits, as a signed number, of minus infinity: those of smaller numbers are of negative values, finite ones, and
/// NaNs have larger ones.
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

/// Neither NaN nor infinite, asked of the bits where the type is known, so that -ffast-math cannot answer for
/// it.
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

EVENKEEL_END
}  // namespace evenkeel
