#pragma once

#include <cstdint>
#include <utility>

#include "random.hpp"
#include "types.hpp"

namespace kit {

///   y = m x,   dx = m dy,   m = 0 with probability rate, else 1 / (1 - rate)
///
/// m is drawn anew for each value in each forward. Its mean is 1, so inference is y = x ("inverted" dropout).
/// T is a Matrix or a Tensor.
///
/// Source  Srivastava et al. 2014.
template <typename T>
class Dropout {
 public:
  Dropout(double rate, std::uint64_t seed) : rate_(rate), random_(seed) {}

  T forward(T x) {
    mask_.resize(x.size());
    for (Scalar& m : mask_) m = static_cast<Scalar>(random_.uniform(0, 1) < rate_ ? 0 : 1 / (1 - rate_));
    return masked(std::move(x));
  }
  T infer(T x) const { return x; }
  T backward(T dy) const { return masked(std::move(dy)); }
  Parameters<typename T::Scalar> parameters() { return {}; }

 private:
  using Scalar = typename T::Scalar;

  T masked(T values) const {
    flat(values) *= mask_;
    return values;
  }

  double rate_;
  Random random_;
  Vector<Scalar> mask_;
};

}  // namespace kit
