#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "initial.hpp"
#include "random.hpp"
#include "types.hpp"

namespace kit {

///   y[n] = E[token[n]]
///
///   dE[t] = sum of dy[n] over all n whose token is t
///
/// Shapes  tokens: [N], from 0 to the vocabulary's size; E: [vocabulary, features]; y: [N, features].
template <typename Scalar>
class Embedding {
 public:
  Embedding(Index vocabulary, Index features, double deviation, Random& random)
      : weights_(normal_matrix<Scalar>(vocabulary, features, deviation, random)),
        grad_weights_(Matrix<Scalar>::Zero(vocabulary, features)) {}

  Matrix<Scalar> forward(std::vector<Index> tokens) {
    tokens_ = std::move(tokens);
    return infer(tokens_);
  }

  Matrix<Scalar> infer(const std::vector<Index>& tokens) const {
    Matrix<Scalar> y(static_cast<Index>(tokens.size()), weights_.cols());
    for (Index n = 0; n < y.rows(); ++n) y.row(n) = weights_.row(tokens[static_cast<std::size_t>(n)]);
    return y;
  }

  /// There is no gradient by tokens.
  void backward(const Matrix<Scalar>& dy) {
    grad_weights_.setZero();
    for (Index n = 0; n < dy.rows(); ++n)
      grad_weights_.row(tokens_[static_cast<std::size_t>(n)]) += dy.row(n);
  }

  Parameters<Scalar> parameters() { return {parameter("weights", weights_, grad_weights_)}; }

 private:
  Matrix<Scalar> weights_, grad_weights_;
  std::vector<Index> tokens_;
};

}  // namespace kit
