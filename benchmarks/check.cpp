#include "check.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

namespace evenkeel::benchmarks {
namespace {

/// Of the largest value. Some libraries sum up to 100352 terms one after another in float, and 5e-4 of the
/// gradients of gamma is what they lose by it.
template <typename Scalar>
constexpr double kTolerance = std::is_same_v<Scalar, float> ? 1e-4 : 1e-10;
template <typename Scalar>
constexpr double kSumTolerance = 20 * kTolerance<Scalar>;

/// Which of the sets that share a mean an element is in.
Index set_of(const Case& c, Index sample, Index channel, Index pixel) {
  switch (c.norm) {
    case Norm::kBatch:
      return channel;
    case Norm::kLayer:
    case Norm::kRms:
      return sample * c.pixels() + pixel;
    case Norm::kGroup:
    case Norm::kInstance:
      break;
  }
  return sample * c.groups() + channel / (c.channels / c.groups());
}

Index sets_of(const Case& c) { return 1 + set_of(c, c.batch - 1, c.channels - 1, c.pixels() - 1); }

/// Calls f(i, channel, set) for each element in the order of memory.
template <typename F>
void for_each_element(const Case& c, const F& f) {
  const bool first = c.layout == Layout::kChannelsFirst;
  const Index outer = first ? c.channels : c.pixels(), inner = first ? c.pixels() : c.channels;
  std::size_t i = 0;
  for (Index sample = 0; sample < c.batch; ++sample) {
    for (Index j = 0; j < outer; ++j) {
      for (Index k = 0; k < inner; ++k, ++i) {
        const Index channel = first ? j : k, pixel = first ? k : j;
        f(i, static_cast<std::size_t>(channel), static_cast<std::size_t>(set_of(c, sample, channel, pixel)));
      }
    }
  }
}

double sigmoid(double z) { return 1 / (1 + std::exp(-z)); }
double silu(double z) { return z * sigmoid(z); }
double slope_of_silu(double z) { return sigmoid(z) * (1 + z * sigmoid(-z)); }

template <typename Scalar>
double difference(const Buffer<Scalar>& values, const std::vector<double>& expected) {
  double worst = 0, largest = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double distance = std::abs(double{values.data()[i]} - expected[i]);
    if (!std::isfinite(distance)) return std::numeric_limits<double>::infinity();
    worst = std::max(worst, distance);
    largest = std::max(largest, std::abs(expected[i]));
  }
  return worst / largest;
}

}  // namespace

template <typename Scalar>
Check<Scalar>::Check(const Problem<Scalar>& p) : out_(static_cast<std::size_t>(p.test.size())) {
  const std::size_t sets = static_cast<std::size_t>(sets_of(p.test));
  const double count = static_cast<double>(out_.size()) / static_cast<double>(sets);
  const Scalar *x = p.x.data(), *dy = p.dy.data(), *gamma = p.gamma.data(), *beta = p.beta.data();
  std::vector<double> mean(sets), inv_std(sets);
  if (p.inference() && p.test.has_running_statistics()) {
    mean.assign(p.running_mean.begin(), p.running_mean.end());
    inv_std.assign(p.running_var.begin(), p.running_var.end());
  } else {
    for_each_element(p.test, [&](std::size_t i, std::size_t, std::size_t set) {
      if (p.test.has_mean()) mean[set] += x[i] / count;
    });
    for_each_element(p.test, [&](std::size_t i, std::size_t, std::size_t set) {
      inv_std[set] += (x[i] - mean[set]) * (x[i] - mean[set]) / count;
    });
  }
  for (double& value : inv_std) value = 1 / std::sqrt(value + p.test.epsilon);
  const auto xhat = [&](std::size_t i, std::size_t set) { return (x[i] - mean[set]) * inv_std[set]; };
  const auto z = [&](std::size_t i, std::size_t c, std::size_t set) {
    return xhat(i, set) * gamma[c] + beta[c];
  };

  if (!p.backward()) {
    for_each_element(p.test, [&](std::size_t i, std::size_t c, std::size_t set) {
      out_[i] = p.test.silu ? silu(z(i, c, set)) : z(i, c, set);
    });
    return;
  }
  grad_gamma_.resize(static_cast<std::size_t>(p.test.channels));
  grad_beta_.resize(grad_gamma_.size());
  const auto dz = [&](std::size_t i, std::size_t c, std::size_t set) {
    return p.test.silu ? dy[i] * slope_of_silu(z(i, c, set)) : dy[i];
  };
  std::vector<double> mean_g(sets), mean_g_xhat(sets);  // g = dz gamma
  for_each_element(p.test, [&](std::size_t i, std::size_t c, std::size_t set) {
    const double d = dz(i, c, set), g = d * gamma[c];
    grad_gamma_[c] += d * xhat(i, set);
    grad_beta_[c] += d;
    if (p.test.has_mean()) mean_g[set] += g / count;
    mean_g_xhat[set] += g * xhat(i, set) / count;
  });
  for_each_element(p.test, [&](std::size_t i, std::size_t c, std::size_t set) {
    out_[i] = (dz(i, c, set) * gamma[c] - mean_g[set] - xhat(i, set) * mean_g_xhat[set]) * inv_std[set];
  });
}

template <typename Scalar>
typename Check<Scalar>::Difference Check<Scalar>::operator()(const Pass& pass, Problem<Scalar>& p) const {
  for (const Buffer<Scalar>* b : {&p.out, &p.grad_gamma, &p.grad_beta}) {
    std::fill(b->begin(), b->end(), std::numeric_limits<Scalar>::quiet_NaN());
  }
  pass.run();
  pass.deliver();

  Difference result;
  const auto add = [&](const char* name, const Buffer<Scalar>& values, const std::vector<double>& expected,
                       double tolerance) {
    const double d = difference(values, expected);
    result.largest = std::max(result.largest, d);
    if (d <= tolerance) return;
    char text[128];
    std::snprintf(text, sizeof text, "%s is wrong by %.1e of the largest, tolerance %.1e", name, d,
                  tolerance);
    result.wrong += (result.wrong.empty() ? "" : "; ") + std::string(text);
  };
  add(p.backward() ? "dx" : "y", p.out, out_, kTolerance<Scalar>);
  if (p.backward()) {
    add("dgamma", p.grad_gamma, grad_gamma_, kSumTolerance<Scalar>);
    if (p.test.has_beta()) add("dbeta", p.grad_beta, grad_beta_, kSumTolerance<Scalar>);
  }
  return result;
}

template class Check<float>;
template class Check<double>;

}  // namespace evenkeel::benchmarks
