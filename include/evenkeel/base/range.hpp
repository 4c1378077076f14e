// SPDX-License-Identifier: MIT
#pragma once

#include "evenkeel/base/config.hpp"

namespace evenkeel::detail {

/// The range of passes in the compute type C: squares of deviations and the terms of backward neither overflow nor
/// lose digits. A set outside of it is computed in the statistic type, scaled by powers of two. Types without bounds
/// have no range.
template <typename C>
struct Range {
  static constexpr bool kBounded = false;
};
template <>
struct Range<float> {
  static constexpr bool kBounded = true;
  static constexpr double kLowInvStd = 0x1p-50, kHighInvStd = 0x1p50;  // 1 / standard deviation
  // |mean(gamma dy)| + |mean(gamma dy xhat)|; times the standard deviation it is at least the least too, so that what
  // underflows in dy (x - mean) does not matter.
  static constexpr double kLeastSize = 0x1p-80, kHighSize = 0x1p100;
  static constexpr double kLowSum = 0x1p-100,
                          kHighSum = 0x1p100;  // that over the variance; sums of a parameter
  // If sums are 0, their terms may have underflowed. No normal number shows it if 1 / standard deviation is below this.
  static constexpr double kMostInvStdOfZero = 0x1p12, kLeastNumber = 0x1p-1000;
  static constexpr double kFarMean = 0x1p100;  // x - mean may overflow
};
template <>
struct Range<double> {
  static constexpr bool kBounded = true;
  static constexpr double kLowInvStd = 0x1p-400, kHighInvStd = 0x1p400;
  static constexpr double kLeastSize = 0x1p-500, kHighSize = 0x1p900;
  static constexpr double kLowSum = 0x1p-900, kHighSum = 0x1p900;
  static constexpr double kMostInvStdOfZero = 0x1p26, kLeastNumber = 0x1p-1000;
  static constexpr double kFarMean = 0x1p1000;
};

}  // namespace evenkeel::detail
