#pragma once

#include <cstddef>
#include <vector>

#include "types.hpp"

namespace kit {

///   p[n, k] = exp(z[n, k]) / sum over l of exp(z[n, l])
///   loss = -mean over n of log p[n, label[n]]
///
///   dz[n, k] = (p[n, k] - (1 if k = label[n], else 0)) / N
///
/// Shapes  z, the logits: [N, classes]; labels: [N].
template <typename Scalar>
class SoftmaxCrossEntropy {
 public:
  /// The loss. No exp overflows: -log p[label] = (max - z[label]) + log(sum over l of exp(z[l] - max)).
  Scalar forward(const Matrix<Scalar>& z, const std::vector<Index>& labels) {
    labels_ = labels;
    const Vector<Scalar> max = z.rowwise().maxCoeff();
    p_ = (z.colwise() - max.matrix()).array().exp();
    const Vector<Scalar> sum = p_.rowwise().sum();
    p_.array().colwise() /= sum;

    Scalar loss = sum.log().sum();
    for (Index n = 0; n < z.rows(); ++n) loss += max[n] - z(n, label(n));
    return loss / static_cast<Scalar>(z.rows());
  }

  Matrix<Scalar> backward() const {
    Matrix<Scalar> dz = p_;
    for (Index n = 0; n < dz.rows(); ++n) dz(n, label(n)) -= 1;
    dz /= static_cast<Scalar>(dz.rows());
    return dz;
  }

 private:
  Index label(Index n) const { return labels_[static_cast<std::size_t>(n)]; }

  Matrix<Scalar> p_;
  std::vector<Index> labels_;
};

}  // namespace kit
