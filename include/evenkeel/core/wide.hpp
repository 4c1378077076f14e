#pragma once

#include <cmath>

#include "evenkeel/core/pass.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN
EVENKEEL_BEGIN_SMALL

// Computes sets that are out of range of the compute type, one at a time, with the wide kernels: in the statistic type,
// scaled by powers of two if that has no room either.

/// A set, or one channel of it, as the wide kernels take it.
template <typename S>
struct WidePart {
  const ComputeOf<S>* line_gamma = nullptr;  // each line has a parameter
  const ComputeOf<S>* line_beta = nullptr;
  const ComputeOf<S>* lane_gamma = nullptr;  // each neighbour has one
  const ComputeOf<S>* lane_beta = nullptr;
  ComputeOf<S> gamma = ComputeOf<S>(1), beta = ComputeOf<S>(0);  // of all
  Index offset;
  Lines lines;
};

template <typename S>
class WideSet {
 public:
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;

  WideSet(const Partition& p, const Pass<S>& pass, Index set)
      : p_(p), pass_(pass), set_(set), n_(from_count<T>(p.set_size())) {}

  /// y and the statistics, which are saved.
  void forward() const {
    T scale(1);
    SetStatistics<T> s = statistics(scale);
    if (is_outside(s.inv_std)) {
      scale = scale_of(s);
      s = statistics(scale);
    }
    const bool is_constant = is_zero(s.variance);
    const T inv_std = is_constant ? one_by_one::inverse_std<T>(T(0), T(pass_.epsilon)) : T(s.inv_std * scale);
    if (is_constant) s.inv_std = inv_std / scale;
    pass_.save(set_, {s.mean / scale, s.mean_low / scale, s.variance / scale / scale, inv_std});
    write_normalized(s, scale);
  }

  /// y from given statistics.
  void infer(const SetStatistics<T>& given) const {
    const T scale(0.5);  // so that x - mean does not overflow
    write_normalized({T(given.mean * scale), T(given.mean_low * scale), T(0), T(given.inv_std / scale)},
                     scale);
  }

  /// dx, and the sums of the set's cells, or what its elements add to grad_gamma and grad_beta, unless they are null.
  void backward(T* grad_gamma, T* grad_beta) const {
    const SetStatistics<T> saved = pass_.load(set_);
    const int x_exponent = exponent_of_x(saved);
    const T scale = power_of_two(x_exponent);
    const SetStatistics<T> s{T(saved.mean * scale), T(saved.mean_low * scale), T(0),
                             T(saved.inv_std / scale)};
    int dy_exponent = 0;
    Gradients g = gradients(s, scale, 0);
    const int next = next_dy_exponent(s.inv_std, g);
    if (next != 0) {
      const Gradients again = gradients(s, scale, next);
      // If scaled up sums leave the range, the values were not small: their sums cancelled.
      if (next < 0 || size_of(again) < Range<T>::kHighSize) {
        g = again;
        dy_exponent = next;
      }
    }
    if (p_.elements_are_cells()) {
      if (grad_gamma != nullptr) add_params(s, scale, grad_gamma, grad_beta);
    } else {
      keep_cells(s, scale);
    }
    const T slope = T(-s.inv_std * T(s.inv_std * (g.dy_xhat / n_)));  // inv_std^2 may overflow
    const T level = T(-s.inv_std * (g.dy / n_) - slope * s.mean_low), dy_scale = power_of_two(dy_exponent);
    const T result = power_of_two((x_exponent - dy_exponent) / 2);
    for (Index k = 0; k < parts(); ++k) {
      const WidePart<S> part = this->part(k);
      const T of_dy = T(s.inv_std * T(part.gamma));
      map_wide(MapWide<S>{pass_.x + part.offset,
                          pass_.dy + part.offset,
                          pass_.out + part.offset,
                          part.line_gamma,
                          nullptr,
                          part.lane_gamma,
                          nullptr,
                          part.lines,
                          0,
                          {&s.mean, &slope, &level, &of_dy},
                          &scale,
                          &dy_scale,
                          &result,
                          Epilogue<S>{}});
    }
  }

 private:
  struct Gradients {
    T dy, dy_xhat;  // weighted by gamma
  };

  static constexpr int kFar = 700;  // the exponent that brings far values near 1

  static bool is_outside(const T& inv_std) {
    return !is_between(inv_std, Range<T>::kLowInvStd, Range<T>::kHighInvStd);
  }
  static T power_of_two(int exponent) { return T(std::ldexp(1.0, exponent)); }

  /// Brings x near 1.
  static T scale_of(const SetStatistics<T>& s) {
    if (is_finite(s.variance) && (is_zero(s.variance) || !(s.inv_std < 1))) {
      return std::fabs(s.mean) > 0x1p-300
                 ? T(1)
                 : power_of_two(kFar);  // or equal values: nothing is small but epsilon
    }
    return power_of_two(-kFar);
  }
  static int exponent_of_x(const SetStatistics<T>& s) {
    if (!is_outside(s.inv_std) || !is_finite(s.inv_std) || is_zero(s.inv_std)) return 0;
    const int room = is_zero(s.mean) ? 1000 : 1020 - std::ilogb(s.mean);
    return std::clamp(std::min(std::ilogb(s.inv_std), room), -1000, 1000) / 2 * 2;
  }
  T size_of(const Gradients& g) const { return T((std::fabs(g.dy) + std::fabs(g.dy_xhat)) / n_); }
  int next_dy_exponent(const T& inv_std, const Gradients& g) const {
    if (one_by_one::gradients_outside<T>(inv_std, T(g.dy / n_), T(g.dy_xhat / n_)) == 0) return 0;
    const bool is_steep = !(T(inv_std * T(inv_std * size_of(g))) < Range<T>::kHighSum);
    return size_of(g) < 1 && !is_steep ? kFar : -kFar;
  }

  /// A set in parts that have one gamma, or one an element.
  Index parts() const { return p_.elements_are_cells() ? 1 : p_.channel.extent; }
  EVENKEEL_COLD WidePart<S> part(Index channel) const {
    const Index first = p_.first_param(set_);
    const C* gamma = pass_.gamma == nullptr ? nullptr : pass_.gamma + first;
    const C* beta = pass_.beta == nullptr ? nullptr : pass_.beta + first;
    WidePart<S> part;
    part.offset = p_.offset(set_);
    if (p_.order == MemoryOrder::rows) {
      part.lane_gamma = gamma;
      part.lane_beta = beta;
      part.lines = {1, 0, 1, 0, p_.channel.extent};
    } else if (p_.elements_are_cells()) {
      part.line_gamma = gamma;
      part.line_beta = beta;
      part.lines = {1, 0, p_.channel.extent, p_.channel.stride, 1};
    } else {
      part.offset += channel * p_.channel.stride;
      part.lines = p_.cell_lines();
      if (gamma != nullptr) part.gamma = gamma[channel];
      if (beta != nullptr) part.beta = beta[channel];
    }
    return part;
  }

  /// Those of x scale and epsilon scale^2: the mean first, exact where values are equal, then squares about it.
  SetStatistics<T> statistics(const T& scale) const {
    T center(T(static_cast<C>(pass_.x[p_.offset(set_)])) * scale), first(0), second(0);
    const auto sum = [&] {
      first = second = T(0);
      for (Index k = 0; k < parts(); ++k) {
        const WidePart<S> part = this->part(k);
        T sums[2][1 + kPadding];
        sum_wide(SumWide<S>{pass_.x + part.offset, nullptr, nullptr, nullptr, nullptr, part.lines, 0, &center,
                            &scale, nullptr, sums[0], sums[1]});
        first += sums[0][0];
        second += sums[1][0];
      }
    };
    sum();
    center += first / n_;
    sum();
    const auto f = one_by_one::finish_sums<T>(center, first, second, T(T(1) / n_));
    return {f.mean, f.mean_low, f.variance,
            one_by_one::inverse_std<T>(f.variance, T(pass_.epsilon * scale * scale))};
  }

  void write_normalized(const SetStatistics<T>& s, const T& scale) const {
    for (Index k = 0; k < parts(); ++k) {
      const WidePart<S> part = this->part(k);
      const T slope = T(s.inv_std * T(part.gamma)), level = T(T(part.beta) - s.mean_low * slope);
      map_wide(MapWide<S>{pass_.x + part.offset,
                          nullptr,
                          pass_.out + part.offset,
                          part.line_gamma,
                          part.line_beta,
                          part.lane_gamma,
                          part.lane_beta,
                          part.lines,
                          0,
                          {&s.mean, &slope, &level, nullptr},
                          &scale,
                          nullptr,
                          nullptr,
                          Epilogue<S>{}});
    }
  }

  /// Sums of a part: of dy 2^exponent, and of that times xhat.
  Gradients sums_of(const WidePart<S>& part, const SetStatistics<T>& s, const T& scale, int exponent) const {
    const T dy_scale = power_of_two(exponent);
    T dy[1 + kPadding], dy_x[1 + kPadding];
    sum_wide(SumWide<S>{pass_.x + part.offset, pass_.dy + part.offset, nullptr, part.line_gamma,
                        part.lane_gamma, part.lines, 0, &s.mean, &scale, &dy_scale, dy, dy_x});
    return {dy[0], T(s.inv_std * (dy_x[0] - s.mean_low * dy[0]))};
  }

  Gradients gradients(const SetStatistics<T>& s, const T& scale, int exponent) const {
    Gradients g{T(0), T(0)};
    for (Index k = 0; k < parts(); ++k) {
      const WidePart<S> part = this->part(k);
      const Gradients of_part = sums_of(part, s, scale, exponent);
      if (part.gamma == C(0) && is_finite(of_part.dy_xhat)) continue;
      g.dy += T(part.gamma) * of_part.dy;
      g.dy_xhat += T(part.gamma) * of_part.dy_xhat;
    }
    return g;
  }

  void keep_cells(const SetStatistics<T>& s, const T& scale) const {
    const CellSums<T> cells(p_, pass_.sums);
    const T n = from_count<T>(p_.cell_size());
    for (Index channel = 0; channel < parts(); ++channel) {
      const WidePart<S> part = this->part(channel);
      Gradients g = sums_of(part, s, scale, 0);
      if (one_by_one::gradients_outside<T>(s.inv_std, T(g.dy / n), T(g.dy_xhat / n)) != 0) {
        const int own = size_of(g) < 1 ? kFar : -kFar;
        const Gradients again = sums_of(part, s, scale, own);
        if (own < 0 || size_of(again) < Range<T>::kHighSize) {
          g = {T(again.dy / power_of_two(own)), T(again.dy_xhat / power_of_two(own))};
        }
      }
      cells.dy[set_ * p_.channel.extent + channel] = g.dy;
      cells.dy_xhat[set_ * p_.channel.extent + channel] = g.dy_xhat;
    }
  }

  void add_params(const SetStatistics<T>& s, const T& scale, T* grad_gamma, T* grad_beta) const {
    const Index first = p_.first_param(set_), offset = p_.offset(set_),
                stride = p_.order == MemoryOrder::rows ? 1 : p_.channel.stride;
    for (Index f = 0; f < p_.channel.extent; ++f) {
      const T x = T(T(static_cast<C>(pass_.x[offset + f * stride])) * scale),
              dy(static_cast<C>(pass_.dy[offset + f * stride]));
      grad_beta[first + f] += dy;
      grad_gamma[first + f] += dy * T(T(as_computed(T(x - s.mean)) - s.mean_low) * s.inv_std);
    }
  }

  const Partition& p_;
  const Pass<S>& pass_;
  Index set_;
  T n_;
};

// Types without bounds have no wide passes.

template <typename S>
EVENKEEL_COLD void forward_wide(const Partition& p, const Pass<S>& pass, Index set) {
  if constexpr (Range<ComputeOf<S>>::kBounded) WideSet<S>(p, pass, set).forward();
}
template <typename S>
EVENKEEL_COLD void infer_wide(const Partition& p, const Pass<S>& pass, Index set,
                              const SetStatistics<StatisticOf<S>>& given) {
  if constexpr (Range<ComputeOf<S>>::kBounded) WideSet<S>(p, pass, set).infer(given);
}
template <typename S>
EVENKEEL_COLD void backward_wide(const Partition& p, const Pass<S>& pass, Index set,
                                 StatisticOf<S>* grad_gamma, StatisticOf<S>* grad_beta) {
  if constexpr (Range<ComputeOf<S>>::kBounded) WideSet<S>(p, pass, set).backward(grad_gamma, grad_beta);
}

/// Whether inference is in the range of the compute type for a given channel.
template <typename C>
bool is_inference_in_range(const C& mean, const C& variance, const C& gamma, double epsilon) {
  using T = StatisticOf<C>;
  const T scale = one_by_one::over_std(T(gamma), T(variance), from_double<T>(epsilon));
  return !one_by_one::any_out_of_inference<C>(mean, static_cast<C>(scale));
}
/// The given statistics of a channel.
template <typename C>
SetStatistics<StatisticOf<C>> statistics_of(const GivenStatistics<C>& given, Index channel, double epsilon) {
  using T = StatisticOf<C>;
  const bool has_low = given.high != nullptr && given.high[channel] == given.mean[channel];
  const T variance(given.variance[channel]);
  return {T(given.mean[channel]), has_low ? T(given.low[channel]) : T(0), variance,
          one_by_one::inverse_std<T>(variance, from_double<T>(epsilon))};
}

/// Whether the passes of the compute type are right for a set with this 1 / standard deviation; not if it is NaN.
template <typename S>
bool is_in_range(const StatisticOf<S>& inv_std) {
  using R = Range<ComputeOf<S>>;
  if constexpr (R::kBounded) return is_between(inv_std, R::kLowInvStd, R::kHighInvStd);
  return true;
}
/// Whether they are right for gradients with these sums over 1 / share values, with this 1 / standard deviation.
template <typename S>
bool are_gradients_in_range(const StatisticOf<S>& inv_std, const StatisticOf<S>& share,
                            const StatisticOf<S>& sum_dy, const StatisticOf<S>& sum_dy_xhat) {
  using T = StatisticOf<S>;
  if constexpr (Range<ComputeOf<S>>::kBounded) {
    // The bounds are those of the compute type, the numbers of the statistic type.
    return one_by_one::gradients_outside<ComputeOf<S>>(inv_std, T(sum_dy * share), T(sum_dy_xhat * share)) ==
           0;
  }
  return true;
}

/// Whether they are right for each cell of a set.
template <typename S>
EVENKEEL_COLD bool are_cells_in_range(const Partition& p, const CellSums<StatisticOf<S>>& sums, Index set,
                                      const StatisticOf<S>& inv_std) {
  using T = StatisticOf<S>;
  const T share = T(T(1) / from_count<T>(p.cell_size()));
  for (Index cell = set * p.channel.extent; cell < (set + 1) * p.channel.extent; ++cell) {
    if (!are_gradients_in_range<S>(inv_std, share, sums.dy[cell], sums.dy_xhat[cell])) return false;
  }
  return true;
}

EVENKEEL_END_SMALL
EVENKEEL_END
}  // namespace evenkeel::detail
