#include "reference.hpp"

#include <algorithm>

namespace ek_test {
namespace {

/// One Sum a set.
std::vector<Real> values(const std::vector<Sum>& sums) {
  std::vector<Real> result(sums.size());
  for (std::size_t i = 0; i < sums.size(); ++i) result[i] = sums[i].value();
  return result;
}

}  // namespace

Reference::Reference(const IndexMap& map, const std::vector<Real>& x, Real epsilon) {
  const std::size_t size = x.size(), sets = at(map.sets);
  count.assign(sets, 0);
  for (std::size_t i = 0; i < size; ++i) ++count[at(map.set[i])];

  std::vector<Sum> sum(sets), rest(sets), squares(sets);
  for (std::size_t i = 0; map.has_mean && i < size; ++i) sum[at(map.set[i])].add(x[i]);
  mean = divided(values(sum));
  for (std::size_t i = 0; map.has_mean && i < size; ++i)
    rest[at(map.set[i])].add(x[i] - mean[at(map.set[i])]);
  const std::vector<Real> mean_low = divided(values(rest));

  centred.resize(size);
  for (std::size_t i = 0; i < size; ++i) {
    const std::size_t set = at(map.set[i]);
    centred[i] = (x[i] - mean[set]) - mean_low[set];
    squares[set].add(centred[i] * centred[i]);
  }
  variance = divided(values(squares));
  inv_std.resize(sets);
  for (std::size_t set = 0; set < sets; ++set) inv_std[set] = 1 / std::sqrt(variance[set] + epsilon);
  normalized.resize(size);
  for (std::size_t i = 0; i < size; ++i) normalized[i] = centred[i] * inv_std[at(map.set[i])];
}

std::vector<Real> Reference::divided(std::vector<Real> sums) const {
  for (std::size_t set = 0; set < sums.size(); ++set)
    if (count[set] > 0) sums[set] /= static_cast<Real>(count[set]);
  return sums;
}

std::vector<Real> reference_forward(const IndexMap& map, const Reference& reference,
                                    const std::vector<Real>& gamma, const std::vector<Real>& beta) {
  std::vector<Real> y(map.set.size());
  for (std::size_t i = 0; i < y.size(); ++i)
    y[i] = reference.normalized[i] * parameter(gamma, map.parameter[i], 1) +
           parameter(beta, map.parameter[i], 0);
  return y;
}

std::vector<Real> reference_infer(const IndexMap& map, const std::vector<Real>& x,
                                  const std::vector<Real>& gamma, const std::vector<Real>& beta,
                                  const std::vector<Real>& running_mean, const std::vector<Real>& running_var,
                                  Real epsilon) {
  std::vector<Real> y(map.set.size());
  for (std::size_t i = 0; i < y.size(); ++i) {
    const Index c = map.parameter[i];
    y[i] = (x[i] - running_mean[at(c)]) / std::sqrt(running_var[at(c)] + epsilon) * parameter(gamma, c, 1) +
           parameter(beta, c, 0);
  }
  return y;
}

ReferenceGradients reference_backward(const IndexMap& map, const Reference& reference,
                                      const std::vector<Real>& dy, const std::vector<Real>& gamma) {
  const std::size_t size = dy.size(), sets = at(map.sets), parameters = at(map.parameters);
  std::vector<Sum> g_sum(sets), gx_sum(sets), gamma_sum(parameters), beta_sum(parameters);
  ReferenceGradients result;
  result.x_scale.assign(sets, 0);
  result.gamma_scale.assign(parameters, 0);
  result.beta_scale.assign(parameters, 0);
  for (std::size_t i = 0; i < size; ++i) {
    const std::size_t set = at(map.set[i]), p = at(map.parameter[i]);
    const Real d = dy[i], xhat = reference.normalized[i];
    const Real g = d * parameter(gamma, map.parameter[i], 1);
    if (map.has_mean) g_sum[set].add(g);
    gx_sum[set].add(g * xhat);
    gamma_sum[p].add(d * xhat);
    beta_sum[p].add(d);
    result.x_scale[set] = std::max(result.x_scale[set], std::fabs(g * reference.inv_std[set]));
    result.gamma_scale[p] += std::fabs(d) * std::max<Real>(1, std::fabs(xhat));
    result.beta_scale[p] += std::fabs(d);
  }
  const std::vector<Real> g_mean = reference.divided(values(g_sum)),
                          gx_mean = reference.divided(values(gx_sum));
  result.x.resize(size);
  for (std::size_t i = 0; i < size; ++i) {
    const std::size_t set = at(map.set[i]);
    const Real g = dy[i] * parameter(gamma, map.parameter[i], 1);
    result.x[i] = reference.inv_std[set] * (g - g_mean[set] - reference.normalized[i] * gx_mean[set]);
  }
  result.gamma = values(gamma_sum);
  result.beta = values(beta_sum);
  return result;
}

ReferenceGradients reference_infer_backward(const IndexMap& map, const std::vector<Real>& x,
                                            const std::vector<Real>& dy, const std::vector<Real>& gamma,
                                            const std::vector<Real>& running_mean,
                                            const std::vector<Real>& running_var, Real epsilon) {
  const std::size_t sets = at(map.sets);
  std::vector<Sum> gamma_sum(sets), beta_sum(sets);
  ReferenceGradients result;
  result.x.resize(x.size());
  result.x_scale.assign(sets, 0);
  result.gamma_scale.assign(sets, 0);
  result.beta_scale.assign(sets, 0);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t c = at(map.set[i]);
    const Real radicand = running_var[c] + epsilon, inv_std = radicand == 0 ? 0 : 1 / std::sqrt(radicand);
    const Real d = dy[i], xhat = (x[i] - running_mean[c]) * inv_std;
    result.x[i] = d * parameter(gamma, map.set[i], 1) * inv_std;
    gamma_sum[c].add(d * xhat);
    beta_sum[c].add(d);
    result.x_scale[c] = std::max(result.x_scale[c], std::fabs(result.x[i]));
    result.gamma_scale[c] += std::fabs(d) * std::max<Real>(1, std::fabs(xhat));
    result.beta_scale[c] += std::fabs(d);
  }
  result.gamma = values(gamma_sum);
  result.beta = values(beta_sum);
  return result;
}

}  // namespace ek_test
