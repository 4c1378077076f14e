// Values of half and bfloat16, and how near to the exact ones they are.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <evenkeel/tensor_view.hpp>
#include <type_traits>
#include <vector>

#include "reference.hpp"

namespace ek_test {

/// The distance to the next value of the type at `value`: digits counts the implicit bit.
template <typename Storage>
Real unit_in_last_place(Real value) {
  constexpr int kDigits = std::is_same_v<Storage, Eigen::half> ? 11 : 8;
  constexpr int kLeastExponent = std::is_same_v<Storage, Eigen::half> ? -13 : -125;
  int exponent = 0;
  std::frexp(value, &exponent);
  return std::ldexp(Real(1), std::max(exponent, kLeastExponent) - kDigits);
}

/// What float arithmetic gives (see Tolerance), rounded once to the storage type.
template <typename Storage>
void expect_close(const std::vector<Storage>& got, const std::vector<Real>& expected, Real arithmetic) {
  for (std::size_t i = 0; i < got.size(); ++i) {
    const Real bound = unit_in_last_place<Storage>(expected[i]) / 2 + arithmetic;
    ASSERT_LE(std::fabs(static_cast<Real>(static_cast<float>(got[i])) - expected[i]), bound)
        << "element " << i;
  }
}

}  // namespace ek_test
