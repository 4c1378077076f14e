#pragma once

#include <utility>

#include "initial.hpp"
#include "random.hpp"
#include "types.hpp"

namespace kit {

///   y = x W + b
///
///   dW = x^T dy,   db = sum of dy over samples,   dx = dy W^T
///
/// Shapes  x: [N, inputs]; W: [inputs, outputs]; b: [outputs]; y: [N, outputs].
template <typename Scalar>
class Dense {
 public:
  Dense(Index inputs, Index outputs, double deviation, Random& random)
      : weights_(normal_matrix<Scalar>(inputs, outputs, deviation, random)),
        grad_weights_(Matrix<Scalar>::Zero(inputs, outputs)),
        bias_(Row::Zero(outputs)),
        grad_bias_(bias_) {}

  Matrix<Scalar> forward(Matrix<Scalar> x) {
    x_ = std::move(x);
    return infer(x_);
  }

  Matrix<Scalar> infer(const Matrix<Scalar>& x) const {
    Matrix<Scalar> y = x * weights_;
    y.rowwise() += bias_;
    return y;
  }

  Matrix<Scalar> backward(const Matrix<Scalar>& dy) {
    backward_parameters(dy);
    return dy * weights_.transpose();
  }

  /// Without dx, which nobody needs of a network's first layer.
  void backward_parameters(const Matrix<Scalar>& dy) {
    grad_weights_.noalias() = x_.transpose() * dy;
    grad_bias_ = dy.colwise().sum();
  }

  Parameters<Scalar> parameters() {
    return {parameter("weights", weights_, grad_weights_), parameter("bias", bias_, grad_bias_)};
  }

 private:
  using Row = Eigen::Matrix<Scalar, 1, Eigen::Dynamic>;

  Matrix<Scalar> weights_, grad_weights_;
  Row bias_, grad_bias_;
  Matrix<Scalar> x_;
};

}  // namespace kit
