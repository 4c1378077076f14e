#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "evenkeel/core/task.hpp"

namespace evenkeel {
EVENKEEL_BEGIN

// Statistics sets whose values are too large or too small for the passes: one element at a time, in the statistic
// type, with values brought near 1 by a power of two. Slow and right.

/// A sum that keeps what each addition rounds off (Neumaier 1974).
template <typename T>
class CompensatedSum {
 public:
  void add(const T& value) {
    T rounded, rest;
    kernels::two_sum(sum_, value, rounded, rest);
    sum_ = rounded;
    rest_ += rest;
  }
  T value() const { return sum_ + rest_; }

 private:
  T sum_ = T(0), rest_ = T(0);
};

/// The exponent of a size, as far as both 2^exponent and 2^-exponent are normal numbers.
inline int exponent_of(double size) {
  return is_finite(size) && size > 0 ? std::clamp(std::ilogb(size), -1000, 1000) : 0;
}

/// The power of two that brings a size near 1.
inline double unit_of(double size) { return std::ldexp(1.0, -exponent_of(size)); }

/// Calls f(offset in memory) for every element of a set's channel.
template <typename F>
EVENKEEL_COLD void for_each_of_cell(const Partition& p, Index set, Index channel, const F& f) {
  const kernels::Lines lines = p.cell_lines();
  const Index begin = p.offset(set) + channel * p.channel.stride;
  for (Index line = 0; line < lines.count(); ++line) {
    const Index from = begin + lines.line_offset(line);
    for (Index at = from; at < from + lines.length; ++at) f(at);
  }
}

/// Calls f(channel, offset in memory) for every element of a set, channel by channel.
template <typename F>
EVENKEEL_COLD void for_each_element(const Partition& p, Index set, const F& f) {
  for (Index channel = 0; channel < p.channel.extent; ++channel) {
    for_each_of_cell(p, set, channel, [&](Index at) { f(channel, at); });
  }
}

/// The largest magnitude among the values of a set's channel, or of a set; infinite if one is not finite.
template <typename Storage>
EVENKEEL_COLD double largest_of(const Storage* values, const Partition& p, Index set, Index channel) {
  double largest = 0;
  for_each_of_cell(p, set, channel, [&](Index at) {
    const auto value = static_cast<double>(values[at]);
    largest = std::max(largest, is_finite(value) ? std::fabs(value) : HUGE_VAL);
  });
  return largest;
}
template <typename Storage>
double largest_of(const Storage* values, const Partition& p, Index set) {
  double largest = 0;
  for (Index channel = 0; channel < p.channel.extent; ++channel) {
    largest = std::max(largest, largest_of(values, p, set, channel));
  }
  return largest;
}

/// A set's statistics, of x 2^-exponent and epsilon 2^(-2 exponent).
template <typename Storage>
EVENKEEL_COLD SetStatistics<double> scaled_statistics(const ForwardTask<Storage>& task, const Partition& p,
                                                      Index set, int exponent) {
  const double unit = std::ldexp(1.0, -exponent), n = from_count<double>(p.set_size());
  const auto scaled = [&](Index at) { return static_cast<double>(task.x[at]) * unit; };
  SetStatistics<double> s;
  CompensatedSum<double> sum, rest, squares;
  for_each_element(p, set, [&](Index, Index at) { sum.add(scaled(at)); });
  const double mean = sum.value() / n;
  for_each_element(p, set, [&](Index, Index at) { rest.add(scaled(at) - mean); });
  kernels::two_sum(mean, rest.value() / n, s.mean, s.mean_low);
  for_each_element(p, set, [&](Index, Index at) {
    const double deviation = simd::as_computed(scaled(at) - s.mean) - s.mean_low;
    squares.add(deviation * deviation);
  });
  s.variance = squares.value() / n;
  s.inv_std = inverse_std(s.variance, std::ldexp(task.epsilon, -2 * exponent));
  return s;
}

/// A set forward: its statistics, which it saves, and its output.
template <typename Storage>
EVENKEEL_COLD void rescue(const ForwardTask<Storage>& task, const Partition& p, Index set) {
  if constexpr (is_bounded<Storage>()) {
    SetStatistics<double> s;
    int exponent;
    double rest = 1;  // what inv_std lacks, as a factor of its own since both together may overflow
    if (task.reduces()) {
      const double largest = largest_of(task.x, p, set);
      exponent = exponent_of(std::max(largest, std::sqrt(task.epsilon)));
      const double unit = std::ldexp(1.0, -exponent), nan = std::numeric_limits<double>::quiet_NaN();
      s = is_finite(largest) ? scaled_statistics(task, p, set, exponent)
                             : SetStatistics<double>{nan, nan, nan, nan};
      // Where all is equal, what is scaled of epsilon may be 0.
      const double inv_std = is_zero(s.variance) ? inverse_std(0.0, task.epsilon) : s.inv_std * unit;
      task.save(set, {s.mean / unit, s.mean_low / unit, s.variance / unit / unit, inv_std});
    } else {
      s = task.known(set);
      exponent = std::max(exponent_of(std::max(std::fabs(s.mean), s.inv_std > 0 ? 1 / s.inv_std : 0)), 0);
      s.mean = std::ldexp(s.mean, -exponent);
      rest = std::ldexp(1.0, exponent);
    }
    const double unit = std::ldexp(1.0, -exponent);
    for_each_element(p, set, [&](Index channel, Index at) {
      const Index param = p.first_param(set) + channel;
      const double scaled = static_cast<double>(task.x[at]) * unit;
      const double centred = simd::as_computed(scaled - s.mean) - s.mean_low;
      double y = centred * s.inv_std * rest;
      if (task.gamma != nullptr) y *= static_cast<double>(task.gamma[param]);
      if (task.beta != nullptr) y += static_cast<double>(task.beta[param]);
      task.out[at] = static_cast<Storage>(static_cast<ComputeOf<Storage>>(y));
    });
  }
}

/// A set backward, and what it adds to the gradients of gamma and beta: to grad_gamma and grad_beta where elements
/// are cells, unless they are null, else to the sums of its cells.
template <typename Storage>
EVENKEEL_COLD void rescue(const BackwardTask<Storage>& task, const Partition& p, Index set,
                          StatisticOf<Storage>* grad_gamma, StatisticOf<Storage>* grad_beta) {
  if constexpr (is_bounded<Storage>()) {
    const double inv_std = task.moments.inv_std[set], n = from_count<double>(p.set_size());
    const double unit = inv_std < 1 ? 1 / unit_of(inv_std) : 1;  // what is near the mean needs none
    const double mean = task.moments.mean[set] * unit, low = task.moments.low(set) * unit;
    const auto xhat = [&](Index at) {
      return (simd::as_computed(static_cast<double>(task.x[at]) * unit - mean) - low) * (inv_std / unit);
    };
    const auto gamma = [&](Index channel) {
      return task.gamma == nullptr ? 1.0 : static_cast<double>(task.gamma[p.first_param(set) + channel]);
    };
    double largest = 0;  // of dy that gamma lets through
    for (Index channel = 0; channel < p.channel.extent; ++channel) {
      if (gamma(channel) != 0) largest = std::max(largest, largest_of(task.dy, p, set, channel));
    }
    const double dy_unit = unit_of(largest);
    const CellSums<Storage> sums(p, task.sums);
    CompensatedSum<double> set_dy, set_dy_xhat;
    for (Index channel = 0; channel < p.channel.extent; ++channel) {
      const double cell_unit = unit_of(largest_of(task.dy, p, set, channel)), rest = dy_unit / cell_unit;
      CompensatedSum<double> dy, dy_xhat;
      for_each_of_cell(p, set, channel, [&](Index at) {
        const double scaled = static_cast<double>(task.dy[at]) * cell_unit;
        dy.add(scaled);
        dy_xhat.add(scaled * xhat(at));
      });
      if (gamma(channel) != 0 || !is_finite(dy_xhat.value())) {
        set_dy.add(gamma(channel) * (dy.value() * rest));
        set_dy_xhat.add(gamma(channel) * (dy_xhat.value() * rest));
      }
      const Index cell = set * p.channel.extent + channel, param = p.first_param(set) + channel;
      if (!p.elements_are_cells()) {
        sums.dy[cell] = dy.value() / cell_unit;
        sums.dy_xhat[cell] = dy_xhat.value() / cell_unit;
      } else if (grad_beta != nullptr && task.wants_params()) {
        grad_beta[param] += dy.value() / cell_unit;
        grad_gamma[param] += dy_xhat.value() / cell_unit;
      }
    }
    const double mean_dy = set_dy.value() / n, mean_dy_xhat = set_dy_xhat.value() / n;
    for_each_element(p, set, [&](Index channel, Index at) {
      const double dy =
          gamma(channel) == 0 ? 0 : gamma(channel) * (static_cast<double>(task.dy[at]) * dy_unit);
      const double dx = simd::as_computed((dy - mean_dy - xhat(at) * mean_dy_xhat) * inv_std) / dy_unit;
      task.out[at] = static_cast<Storage>(static_cast<ComputeOf<Storage>>(dx));
    });
  }
}

EVENKEEL_END
}  // namespace evenkeel
