// The oracle: every norm as plain loops in long double over an IndexMap.
//
// It has to be right to well below the double contract of 1e-14 at means of 1e6, where a long double mean
// alone is off by half a unit in its last place, 2^-45 = 3e-14. So the mean has two parts, found by two
// compensated passes; the error of x - mean is then 2^-64 of its own size, and every sum is compensated.
#pragma once

#include <cmath>
#include <cstddef>
#include <vector>

#include "shape.hpp"

namespace ek_test {

using Real = long double;

/// A sum with its rounding errors summed beside it (Neumaier 1974).
class Sum {
 public:
  void add(Real term) {
    const Real next = sum_ + term;
    errors_ += std::fabs(sum_) >= std::fabs(term) ? (sum_ - next) + term : (term - next) + sum_;
    sum_ = next;
  }
  Real value() const { return sum_ + errors_; }

 private:
  Real sum_ = 0, errors_ = 0;
};

template <typename To, typename From>
std::vector<To> converted(const std::vector<From>& from) {
  std::vector<To> to(from.size());
  for (std::size_t i = 0; i < from.size(); ++i) to[i] = static_cast<To>(from[i]);
  return to;
}

/// values[i], or `otherwise` where a layer has no such parameters.
inline Real parameter(const std::vector<Real>& values, Index i, Real otherwise) {
  return values.empty() ? otherwise : values[at(i)];
}

struct Reference {
  std::vector<Real> mean, variance, inv_std;  // one a set
  std::vector<Real> centred, normalized;      // one an element: x - mean, (x - mean) * inv_std
  std::vector<Index> count;                   // elements a set

  Reference(const IndexMap& map, const std::vector<Real>& x, Real epsilon);
  template <typename Scalar>
  Reference(const IndexMap& map, const std::vector<Scalar>& x, Real epsilon)
      : Reference(map, converted<Real>(x), epsilon) {}

  /// The mean over each set of what was summed over it.
  std::vector<Real> divided(std::vector<Real> sums) const;
};

/// y = (x - mean) * inv_std * gamma + beta
std::vector<Real> reference_forward(const IndexMap& map, const Reference& reference,
                                    const std::vector<Real>& gamma, const std::vector<Real>& beta);

/// y = (x - running_mean) / sqrt(running_var + epsilon) * gamma + beta
std::vector<Real> reference_infer(const IndexMap& map, const std::vector<Real>& x,
                                  const std::vector<Real>& gamma, const std::vector<Real>& beta,
                                  const std::vector<Real>& running_mean, const std::vector<Real>& running_var,
                                  Real epsilon);
template <typename Scalar>
std::vector<Real> reference_infer(const IndexMap& map, const std::vector<Scalar>& x,
                                  const std::vector<Real>& gamma, const std::vector<Real>& beta,
                                  const std::vector<Real>& running_mean, const std::vector<Real>& running_var,
                                  Real epsilon) {
  return reference_infer(map, converted<Real>(x), gamma, beta, running_mean, running_var, epsilon);
}

struct ReferenceGradients {
  std::vector<Real> x, gamma, beta;
  std::vector<Real> x_scale;                  // one a set: max |gamma * inv_std * dy|
  std::vector<Real> gamma_scale, beta_scale;  // one a parameter: sum |dy| max(1, |xhat|), sum |dy|
};

/// With g = dy * gamma: dx = inv_std * (g - mean(g) - xhat * mean(g * xhat)), dgamma = sum dy * xhat, dbeta =
/// sum dy. Without a mean of x there is no mean(g).
ReferenceGradients reference_backward(const IndexMap& map, const Reference& reference,
                                      const std::vector<Real>& dy, const std::vector<Real>& gamma);
template <typename Scalar>
ReferenceGradients reference_backward(const IndexMap& map, const Reference& reference,
                                      const std::vector<Scalar>& dy, const std::vector<Real>& gamma) {
  return reference_backward(map, reference, converted<Real>(dy), gamma);
}

/// Of given statistics, which are constants: dx = dy * gamma / sqrt(running_var + epsilon), dgamma = sum dy * xhat, dbeta
/// = sum dy
ReferenceGradients reference_infer_backward(const IndexMap& map, const std::vector<Real>& x,
                                            const std::vector<Real>& dy, const std::vector<Real>& gamma,
                                            const std::vector<Real>& running_mean,
                                            const std::vector<Real>& running_var, Real epsilon);
template <typename Scalar>
ReferenceGradients reference_infer_backward(const IndexMap& map, const std::vector<Scalar>& x,
                                            const std::vector<Scalar>& dy, const std::vector<Real>& gamma,
                                            const std::vector<Real>& running_mean,
                                            const std::vector<Real>& running_var, Real epsilon) {
  return reference_infer_backward(map, converted<Real>(x), converted<Real>(dy), gamma, running_mean,
                                  running_var, epsilon);
}

}  // namespace ek_test
