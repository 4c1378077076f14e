#pragma once

#include <algorithm>
#include <cmath>

#include "evenkeel/core/task.hpp"

namespace evenkeel {

// Statistics sets whose values are too large or too small for the passes: one element at a time, in the statistic type, with
// values brought near 1 by a power of two. Slow and right.

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

/// The power of two that brings `size` near 1: at most 2^1000, so that it is a number itself.
inline double unit_for(double size) {
  return is_finite(size) && size > 0 ? std::ldexp(1.0, -std::clamp(std::ilogb(size), -1000, 1000)) : 1;
}

/// Calls f(channel, offset in memory) for every element of a set, channel by channel.
template <typename F>
EVENKEEL_COLD void for_each_element(const Partition& p, Index set, const F& f) {
  const kernels::Lines lines = p.cell_lines();
  for (Index channel = 0; channel < p.channel.extent; ++channel) {
    const Index begin = p.offset(set) + channel * p.channel.stride;
    for (Index line = 0; line < lines.count(); ++line) {
      for (Index i = 0; i < lines.length; ++i) f(channel, begin + lines.line_offset(line) + i);
    }
  }
}

/// The largest magnitude among a set's values that are finite.
template <typename Storage>
EVENKEEL_COLD double largest_of(const Storage* values, const Partition& p, Index set) {
  double largest = 0;
  for_each_element(p, set, [&](Index, Index at) {
    const auto value = static_cast<double>(values[at]);
    if (is_finite(value)) largest = std::max(largest, std::fabs(value));
  });
  return largest;
}

/// A set forward: its statistics, which it saves, and its output.
template <typename Storage>
EVENKEEL_COLD void rescue(const ForwardTask<Storage>& task, const Partition& p, Index set) {
  if constexpr (is_bounded<Storage>()) {
    double size = std::max(largest_of(task.x, p, set), std::sqrt(task.epsilon));
    SetStatistics<double> s;
    if (!task.reduces()) {
      s = task.known(set);
      size = std::max(size, std::fabs(s.mean));
    }
    const double unit = unit_for(size);
    const auto scaled = [&](Index at) { return static_cast<double>(task.x[at]) * unit; };
    if (task.reduces()) {
      const double n = from_count<double>(p.set_size()), pivot = scaled(p.offset(set));
      CompensatedSum<double> sum, squares;
      for_each_element(p, set, [&](Index, Index at) { sum.add(scaled(at) - pivot); });
      kernels::two_sum(pivot, sum.value() / n, s.mean, s.mean_low);
      for_each_element(p, set, [&](Index, Index at) {
        const double deviation = scaled(at) - s.mean - s.mean_low;
        squares.add(deviation * deviation);
      });
      s.variance = squares.value() / n;
      s.inv_std = inverse_std(s.variance, task.epsilon * unit * unit);
      task.save(set, {s.mean / unit, s.mean_low / unit, s.variance / unit / unit, s.inv_std * unit});
    } else {
      s = {s.mean * unit, 0, 0, s.inv_std / unit};
    }
    for_each_element(p, set, [&](Index channel, Index at) {
      const Index param = p.first_param(set) + channel;
      double y = (scaled(at) - s.mean - s.mean_low) * s.inv_std;
      if (task.gamma != nullptr) y *= static_cast<double>(task.gamma[param]);
      if (task.beta != nullptr) y += static_cast<double>(task.beta[param]);
      task.out[at] = static_cast<Storage>(static_cast<ComputeOf<Storage>>(y));
    });
  }
}

/// A set backward: its dx, and what it adds to the gradients of gamma and beta: to grad_gamma and grad_beta where elements are
/// cells, else to the sums of its cells.
template <typename Storage>
EVENKEEL_COLD void rescue(const BackwardTask<Storage>& task, const Partition& p, Index set,
                          StatisticOf<Storage>* grad_gamma, StatisticOf<Storage>* grad_beta) {
  if constexpr (is_bounded<Storage>()) {
    double* channel_dy = nullptr;
    double* channel_dy_xhat = nullptr;
    if (!p.elements_are_cells()) {
      const CellSums<Storage> sums(p, task.sums);
      const Index channels = p.channel.extent;
      channel_dy = std::fill_n(sums.dy + set * channels, channels, 0.0) - channels;
      channel_dy_xhat = std::fill_n(sums.dy_xhat + set * channels, channels, 0.0) - channels;
    } else if (task.wants_params()) {
      channel_dy = grad_beta + p.first_param(set);
      channel_dy_xhat = grad_gamma + p.first_param(set);
    }
    const double n = from_count<double>(p.set_size()), inv_std = task.moments.inv_std[set];
    const double unit = inv_std > 0 ? 1 / unit_for(inv_std) : 1;
    const double dy_unit = unit_for(largest_of(task.dy, p, set));
    const double mean = task.moments.mean[set] * unit, low = task.moments.low(set) * unit;
    const auto xhat = [&](Index at) {
      return (static_cast<double>(task.x[at]) * unit - mean - low) * (inv_std / unit);
    };
    const auto weighted = [&](Index channel, Index at) {
      const double dy = static_cast<double>(task.dy[at]) * dy_unit;
      return task.gamma == nullptr ? dy : dy * static_cast<double>(task.gamma[p.first_param(set) + channel]);
    };
    CompensatedSum<double> sum_dy, sum_dy_xhat;
    for_each_element(p, set, [&](Index channel, Index at) {
      sum_dy.add(weighted(channel, at));
      sum_dy_xhat.add(weighted(channel, at) * xhat(at));
      if (channel_dy == nullptr) return;
      const auto dy = static_cast<double>(task.dy[at]);
      channel_dy[channel] += dy;
      channel_dy_xhat[channel] += dy * xhat(at);
    });
    const double mean_dy = sum_dy.value() / n, mean_dy_xhat = sum_dy_xhat.value() / n,
                 factor = inv_std / dy_unit;
    for_each_element(p, set, [&](Index channel, Index at) {
      const double dx = weighted(channel, at) - mean_dy - xhat(at) * mean_dy_xhat;
      task.out[at] = static_cast<Storage>(static_cast<ComputeOf<Storage>>(dx * factor));
    });
  }
}

}  // namespace evenkeel
