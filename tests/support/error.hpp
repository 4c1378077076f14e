// How far a result is from the oracle's, and how far it may be.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "reference.hpp"
#include "shape.hpp"

namespace ek_test {

/// The bounds of the contract, relative to the scales in forward_error and backward_error.
///
/// `sum` bounds dgamma = sum dy * xhat relative to sum |dy| max(1, |xhat|), and dbeta = sum dy relative to
/// sum |dy|. Just as y, xhat is right to 5e-7 of max(1, |xhat|) (a small xhat is a difference of larger
/// numbers), which dy passes on; and a chain of k additions of one sign adds about 0.3 sqrt(k / 3) u when
/// roundings are random (u = 2^-24 or 2^-53), 6 u = 3.5e-7 for a block of a thousand before it is merged in
/// double. So the bound of dx holds for them too.
template <typename Scalar>
struct Tolerance {
  // long double has no promise of its own. 200 u is what 1e-14 is for double, rounded up.
  static constexpr Real y = 100 * std::numeric_limits<Scalar>::epsilon(), x = y, sum = y;
};
template <>
struct Tolerance<float> {
  static constexpr Real y = 5e-7L, x = 1e-6L, sum = 1e-6L;
};
template <>
struct Tolerance<double> {
  static constexpr Real y = 1e-14L, x = 1e-14L, sum = 1e-14L;
};

/// The largest |got - expected| / scale; infinite for NaN and for an error where the scale is 0.
template <typename Got, typename ScaleOf>
Real largest_error(const Got& got, const std::vector<Real>& expected, ScaleOf scale_of) {
  if (static_cast<std::size_t>(got.size()) != expected.size()) return INFINITY;
  Real largest = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const Real difference =
        std::fabs(static_cast<Real>(got[static_cast<decltype(got.size())>(i)]) - expected[i]);
    if (difference == 0) continue;
    const Real error = difference / scale_of(i);
    if (std::isnan(error)) return INFINITY;
    largest = std::max(largest, error);
  }
  return largest;
}

/// max |y - expected| / max(1, max |expected|), where the maxima are those of each statistics set for itself.
Real forward_error(const IndexMap& map, const std::vector<Real>& y, const std::vector<Real>& expected);
template <typename Scalar>
Real forward_error(const IndexMap& map, const std::vector<Scalar>& y, const std::vector<Real>& expected) {
  return forward_error(map, converted<Real>(y), expected);
}

/// max |dx - expected| / max |gamma * inv_std * dy|, the maxima again those of each set for itself.
Real backward_error(const IndexMap& map, const std::vector<Real>& dx, const ReferenceGradients& expected);
template <typename Scalar>
Real backward_error(const IndexMap& map, const std::vector<Scalar>& dx, const ReferenceGradients& expected) {
  return backward_error(map, converted<Real>(dx), expected);
}

}  // namespace ek_test
