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

/// One Sum a set.
inline std::vector<Real> values(const std::vector<Sum>& sums) {
  std::vector<Real> result;
  for (const Sum& sum : sums) result.push_back(sum.value());
  return result;
}

template <typename To, typename From>
std::vector<To> converted(const std::vector<From>& from) {
  std::vector<To> to;
  to.reserve(from.size());
  for (const From& value : from) to.push_back(static_cast<To>(value));
  return to;
}

struct Reference {
  std::vector<Real> mean, variance, inv_std;  // one a set
  std::vector<Real> centred, normalized;      // one an element: x - mean, (x - mean) * inv_std
  std::vector<Index> count;                   // elements a set

  template <typename Scalar>
  Reference(const IndexMap& map, const std::vector<Scalar>& x, Real epsilon) {
    const std::size_t size = x.size(), sets = at(map.sets);
    count.assign(sets, 0);
    for (std::size_t i = 0; i < size; ++i) ++count[at(map.set[i])];

    std::vector<Sum> sum(sets), rest(sets), squares(sets);
    for (std::size_t i = 0; map.has_mean && i < size; ++i) sum[at(map.set[i])].add(static_cast<Real>(x[i]));
    mean = divided(values(sum));
    for (std::size_t i = 0; map.has_mean && i < size; ++i)
      rest[at(map.set[i])].add(static_cast<Real>(x[i]) - mean[at(map.set[i])]);
    const std::vector<Real> mean_low = divided(values(rest));

    for (std::size_t i = 0; i < size; ++i) {
      const std::size_t set = at(map.set[i]);
      centred.push_back((static_cast<Real>(x[i]) - mean[set]) - mean_low[set]);
      squares[set].add(centred[i] * centred[i]);
    }
    variance = divided(values(squares));
    for (std::size_t set = 0; set < sets; ++set) inv_std.push_back(1 / std::sqrt(variance[set] + epsilon));
    for (std::size_t i = 0; i < size; ++i) normalized.push_back(centred[i] * inv_std[at(map.set[i])]);
  }

  /// The mean over each set of what was summed over it.
  std::vector<Real> divided(std::vector<Real> sums) const {
    for (std::size_t set = 0; set < sums.size(); ++set)
      if (count[set] > 0) sums[set] /= static_cast<Real>(count[set]);
    return sums;
  }
};

/// values[i], or `otherwise` where a layer has no such parameters.
inline Real parameter(const std::vector<Real>& values, Index i, Real otherwise) {
  return values.empty() ? otherwise : values[at(i)];
}

/// y = (x - mean) * inv_std * gamma + beta
inline std::vector<Real> reference_forward(const IndexMap& map, const Reference& reference,
                                           const std::vector<Real>& gamma, const std::vector<Real>& beta) {
  std::vector<Real> y;
  for (std::size_t i = 0; i < map.set.size(); ++i)
    y.push_back(reference.normalized[i] * parameter(gamma, map.parameter[i], 1) +
                parameter(beta, map.parameter[i], 0));
  return y;
}

/// y = (x - running_mean) / sqrt(running_var + epsilon) * gamma + beta
template <typename Scalar>
std::vector<Real> reference_infer(const IndexMap& map, const std::vector<Scalar>& x,
                                  const std::vector<Real>& gamma, const std::vector<Real>& beta,
                                  const std::vector<Real>& running_mean, const std::vector<Real>& running_var,
                                  Real epsilon) {
  std::vector<Real> y;
  for (std::size_t i = 0; i < map.set.size(); ++i) {
    const Index c = map.parameter[i];
    y.push_back((static_cast<Real>(x[i]) - running_mean[at(c)]) / std::sqrt(running_var[at(c)] + epsilon) *
                    parameter(gamma, c, 1) +
                parameter(beta, c, 0));
  }
  return y;
}

struct ReferenceGradients {
  std::vector<Real> x, gamma, beta;
  std::vector<Real> x_scale;                  // one a set: max |gamma * inv_std * dy|
  std::vector<Real> gamma_scale, beta_scale;  // one a parameter: sum |dy| max(1, |xhat|), sum |dy|
};

/// With g = dy * gamma: dx = inv_std * (g - mean(g) - xhat * mean(g * xhat)), dgamma = sum dy * xhat, dbeta =
/// sum dy. Without a mean of x there is no mean(g).
template <typename Scalar>
ReferenceGradients reference_backward(const IndexMap& map, const Reference& reference,
                                      const std::vector<Scalar>& dy, const std::vector<Real>& gamma) {
  const std::size_t size = dy.size(), sets = at(map.sets), parameters = at(map.parameters);
  std::vector<Sum> g_sum(sets), gx_sum(sets), gamma_sum(parameters), beta_sum(parameters);
  ReferenceGradients result;
  result.x_scale.assign(sets, 0);
  result.gamma_scale.assign(parameters, 0);
  result.beta_scale.assign(parameters, 0);
  for (std::size_t i = 0; i < size; ++i) {
    const std::size_t set = at(map.set[i]), p = at(map.parameter[i]);
    const Real d = static_cast<Real>(dy[i]), xhat = reference.normalized[i];
    const Real g = d * parameter(gamma, map.parameter[i], 1);
    if (map.has_mean) g_sum[set].add(g);
    gx_sum[set].add(g * xhat);
    gamma_sum[p].add(d * xhat);
    beta_sum[p].add(d);
    result.x_scale[set] = std::fmax(result.x_scale[set], std::fabs(g * reference.inv_std[set]));
    result.gamma_scale[p] += std::fabs(d) * std::fmax(1, std::fabs(xhat));
    result.beta_scale[p] += std::fabs(d);
  }
  const std::vector<Real> g_mean = reference.divided(values(g_sum)),
                          gx_mean = reference.divided(values(gx_sum));
  for (std::size_t i = 0; i < size; ++i) {
    const std::size_t set = at(map.set[i]);
    const Real g = static_cast<Real>(dy[i]) * parameter(gamma, map.parameter[i], 1);
    result.x.push_back(reference.inv_std[set] * (g - g_mean[set] - reference.normalized[i] * gx_mean[set]));
  }
  result.gamma = values(gamma_sum);
  result.beta = values(beta_sum);
  return result;
}

/// Of given statistics, which are constants: dx = dy * gamma / sqrt(running_var + epsilon), dgamma = sum dy * xhat, dbeta
/// = sum dy
template <typename Scalar>
ReferenceGradients reference_infer_backward(const IndexMap& map, const std::vector<Scalar>& x,
                                            const std::vector<Scalar>& dy, const std::vector<Real>& gamma,
                                            const std::vector<Real>& running_mean,
                                            const std::vector<Real>& running_var, Real epsilon) {
  const std::size_t sets = at(map.sets);
  std::vector<Sum> gamma_sum(sets), beta_sum(sets);
  ReferenceGradients result;
  result.x_scale.assign(sets, 0);
  result.gamma_scale.assign(sets, 0);
  result.beta_scale.assign(sets, 0);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t c = at(map.set[i]);
    const Real radicand = running_var[c] + epsilon, inv_std = radicand == 0 ? 0 : 1 / std::sqrt(radicand);
    const Real d = static_cast<Real>(dy[i]), xhat = (static_cast<Real>(x[i]) - running_mean[c]) * inv_std;
    result.x.push_back(d * parameter(gamma, map.set[i], 1) * inv_std);
    gamma_sum[c].add(d * xhat);
    beta_sum[c].add(d);
    result.x_scale[c] = std::fmax(result.x_scale[c], std::fabs(result.x[i]));
    result.gamma_scale[c] += std::fabs(d) * std::fmax(1, std::fabs(xhat));
    result.beta_scale[c] += std::fabs(d);
  }
  result.gamma = values(gamma_sum);
  result.beta = values(beta_sum);
  return result;
}

}  // namespace ek_test
