#pragma once

#include <cmath>

#include "random.hpp"
#include "types.hpp"

namespace kit {

/// He et al. 2015, equation 10: a layer of such weights between ReLUs keeps the variance of what passes through.
inline double he_deviation(Index inputs) { return std::sqrt(2 / static_cast<double>(inputs)); }

/// Glorot and Bengio 2010, equation 12, for as many inputs as outputs: the same between functions like tanh.
inline double glorot_deviation(Index inputs) { return std::sqrt(1 / static_cast<double>(inputs)); }

template <typename Scalar>
Matrix<Scalar> normal_matrix(Index rows, Index columns, double deviation, Random& random) {
  Matrix<Scalar> values(rows, columns);
  for (Scalar& value : values.reshaped()) value = static_cast<Scalar>(deviation * random.normal());
  return values;
}

}  // namespace kit
