#pragma once

#include "types.hpp"

namespace kit {

///   y[n, c] = mean of x[n, c, i, j] over i, j
///
///   dx[n, c, i, j] = dy[n, c] / (H W)
///
/// Lin, Chen, Yan 2013, section 3.2.
template <typename Scalar>
class GlobalAveragePooling {
 public:
  Matrix<Scalar> forward(const Tensor<Scalar>& x) {
    shape_ = x.dimensions();
    return infer(x);
  }

  Matrix<Scalar> infer(const Tensor<Scalar>& x) const {
    Matrix<Scalar> y(x.dimension(0), x.dimension(1));
    const Index places = x.dimension(2) * x.dimension(3);
    flat(y) = Eigen::Map<const Matrix<Scalar>>(x.data(), y.size(), places).rowwise().mean();
    return y;
  }

  Tensor<Scalar> backward(const Matrix<Scalar>& dy) const {
    Tensor<Scalar> dx(shape_);
    const Index places = shape_[2] * shape_[3];
    Eigen::Map<Matrix<Scalar>>(dx.data(), dy.size(), places).colwise() =
        (flat(dy) / static_cast<Scalar>(places)).matrix();
    return dx;
  }

  Parameters<Scalar> parameters() { return {}; }

 private:
  typename Tensor<Scalar>::Dimensions shape_;
};

}  // namespace kit
