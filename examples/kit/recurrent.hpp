#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "initial.hpp"
#include "random.hpp"
#include "types.hpp"

namespace kit {

/// One matrix a time step.
template <typename Scalar>
using Sequence = std::vector<Matrix<Scalar>>;

///   h[t] = tanh(a[t]),   a[t] = x[t] W + h[t - 1] U + b,   h[-1] = 0
///
/// Backward through time, from the last step to the first, with da[T] = 0:
///
///   da[t] = (dh[t] + da[t + 1] U^T) (1 - h[t]^2)
///   dW = sum of x[t]^T da[t],   dU = sum of h[t - 1]^T da[t],   db = sum of da[t],   dx[t] = da[t] W^T
///
/// Shapes  x[t]: [N, inputs]; h[t]: [N, hidden]; W: [inputs, hidden]; U: [hidden, hidden]; b: [hidden].
/// Source  Elman 1990; Werbos 1990 of the gradient.
template <typename Scalar>
class Recurrent {
 public:
  Recurrent(Index inputs, Index hidden, Random& random)
      : w_(normal_matrix<Scalar>(inputs, hidden, glorot_deviation(inputs), random)),
        u_(normal_matrix<Scalar>(hidden, hidden, glorot_deviation(hidden), random)),
        grad_w_(Matrix<Scalar>::Zero(inputs, hidden)),
        grad_u_(Matrix<Scalar>::Zero(hidden, hidden)),
        b_(Row::Zero(hidden)),
        grad_b_(b_) {}

  /// The states h[0] to h[T - 1].
  Sequence<Scalar> forward(Sequence<Scalar> x) {
    x_ = std::move(x);
    h_ = infer(x_);
    return h_;
  }

  Sequence<Scalar> infer(const Sequence<Scalar>& x) const {
    Sequence<Scalar> h;
    for (const Matrix<Scalar>& x_t : x) {
      Matrix<Scalar> a = x_t * w_;
      if (!h.empty()) a.noalias() += h.back() * u_;
      a.rowwise() += b_;
      h.push_back(a.array().tanh());
    }
    return h;
  }

  /// From dh, the gradient of each state by itself: 0 where only the last state is used.
  Sequence<Scalar> backward(const Sequence<Scalar>& dh) {
    grad_w_.setZero();
    grad_u_.setZero();
    grad_b_.setZero();
    Sequence<Scalar> dx(dh.size());
    Matrix<Scalar> da;
    for (std::size_t t = dh.size(); t-- > 0;) {
      Matrix<Scalar> dh_t = dh[t];
      if (t + 1 < dh.size()) dh_t.noalias() += da * u_.transpose();
      da = dh_t.array() * (1 - h_[t].array().square());
      grad_w_.noalias() += x_[t].transpose() * da;
      if (t > 0) grad_u_.noalias() += h_[t - 1].transpose() * da;
      grad_b_ += da.colwise().sum();
      dx[t] = da * w_.transpose();
    }
    return dx;
  }

  Parameters<Scalar> parameters() {
    return {parameter("weights", w_, grad_w_), parameter("weights", u_, grad_u_),
            parameter("bias", b_, grad_b_)};
  }

 private:
  using Row = Eigen::Matrix<Scalar, 1, Eigen::Dynamic>;

  Matrix<Scalar> w_, u_, grad_w_, grad_u_;
  Row b_, grad_b_;
  Sequence<Scalar> x_, h_;
};

}  // namespace kit
