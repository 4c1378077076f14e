// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>

#include "evenkeel/core/moments.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN
EVENKEEL_BEGIN_SMALL

/// The powers of two by which x and dy of a set are scaled where squares do not fit the statistic type.
template <typename S>
struct WideScale {
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;

  static constexpr int kFar = 700;  // the exponent that brings far values near 1

  static bool is_outside(const T& inv_std) {
    return !is_between(inv_std, Range<T>::kLowInvStd, Range<T>::kHighInvStd);
  }
  static T power_of_two(int exponent) { return T(std::ldexp(1.0, exponent)); }

  /// Brings x near 1.
  static T of(const SetStatistics<T>& s) {
    if (is_finite(s.variance) && (is_zero(s.variance) || !(s.inv_std < 1))) {
      return std::fabs(s.mean) > 0x1p-300
                 ? T(1)
                 : power_of_two(kFar);  // or equal values: nothing is small but epsilon
    }
    return power_of_two(-kFar);
  }
  static int exponent_of_x(const SetStatistics<T>& s) {
    if (kHasRoom<C> || !is_finite(s.inv_std) || is_zero(s.inv_std)) return 0;
    if (!is_outside(s.inv_std)) return std::fabs(s.mean) < Range<C>::kFarMean ? 0 : -2;  // room for x - mean
    const int room = is_zero(s.mean) ? 1000 : 1020 - std::ilogb(s.mean);
    return std::clamp(std::min(std::ilogb(s.inv_std), room), -1000, 1000) / 2 * 2;
  }

  static bool are_gradients_outside(const T& inv_std, const T& mean_dy, const T& mean_dy_xhat) {
    return one_by_one::gradients_outside<T>(inv_std, mean_dy, mean_dy_xhat) != 0;
  }
  static T size_of(const T& mean_dy, const T& mean_dy_xhat) {
    return T(std::fabs(mean_dy) + std::fabs(mean_dy_xhat));
  }
  static int next_dy_exponent(const T& inv_std, const T& mean_dy, const T& mean_dy_xhat) {
    if (!are_gradients_outside(inv_std, mean_dy, mean_dy_xhat)) return 0;
    const T size = size_of(mean_dy, mean_dy_xhat);
    const bool is_steep = !(T(inv_std * T(inv_std * size)) < Range<T>::kHighSum);
    return size < 1 && !is_steep ? kFar : -kFar;
  }
  /// If scaled up sums leave the range, the values were not small: their sums cancelled.
  static bool takes(int exponent, const T& mean_dy, const T& mean_dy_xhat) {
    return exponent < 0 || size_of(mean_dy, mean_dy_xhat) < Range<T>::kHighSize;
  }
};

EVENKEEL_END_SMALL
EVENKEEL_END
}  // namespace evenkeel::detail
