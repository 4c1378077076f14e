#pragma once

#include <utility>

#include "types.hpp"

namespace kit {

///   y = max(x, 0),   dx = dy where y > 0, else 0
///
/// T is a Matrix or a Tensor, here and below.
template <typename T>
class Relu {
 public:
  T forward(T x) {
    y_ = infer(std::move(x));
    return y_;
  }
  T infer(T x) const {
    flat(x) = flat(x).max(typename T::Scalar(0));
    return x;
  }
  T backward(T dy) const {
    flat(dy) = (flat(y_) > typename T::Scalar(0)).select(flat(dy), typename T::Scalar(0));
    return dy;
  }
  Parameters<typename T::Scalar> parameters() { return {}; }

 private:
  T y_;
};

///   y = 1 / (1 + exp(-x)),   dx = dy y (1 - y)
template <typename T>
class Sigmoid {
 public:
  T forward(T x) {
    y_ = infer(std::move(x));
    return y_;
  }
  T infer(T x) const {
    flat(x) = flat(x).logistic();
    return x;
  }
  T backward(T dy) const {
    flat(dy) *= flat(y_) * (1 - flat(y_));
    return dy;
  }
  Parameters<typename T::Scalar> parameters() { return {}; }

 private:
  T y_;
};

}  // namespace kit
