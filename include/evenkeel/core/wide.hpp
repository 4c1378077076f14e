// SPDX-License-Identifier: MIT
#pragma once

#include "evenkeel/core/wide_sets.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN
EVENKEEL_BEGIN_SMALL

// Which sets the passes of the compute type leave to wide ones, and what does these.

/// The given statistics of a channel.
template <typename C>
SetStatistics<StatisticOf<C>> statistics_of(const GivenStatistics<C>& given, Index channel, double epsilon) {
  using T = StatisticOf<C>;
  const bool has_low = given.high != nullptr && given.high[channel] == given.mean[channel];
  const T variance(given.variance[channel]);
  return {T(given.mean[channel]), has_low ? T(given.low[channel]) : T(0), variance,
          one_by_one::inverse_std<T>(variance, from_double<T>(epsilon))};
}

/// Whether inference is in the range of the compute type for a given channel.
template <typename C>
bool is_inference_in_range(const C& mean, const C& variance, const C& gamma, double epsilon) {
  using T = StatisticOf<C>;
  const T scale = one_by_one::over_std(T(gamma), T(variance), from_double<T>(epsilon));
  return !one_by_one::any_out_of_inference<C>(mean, static_cast<C>(scale));
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

/// Calls f(sets) for a run, as many sets as are computed together at a time. Types without bounds have none.
template <typename S, typename F>
void for_each_of_run(const Partition& p, const Pass<S>& pass, const SetRun& run, const F& f) {
  if constexpr (Range<ComputeOf<S>>::kBounded) {
    const SubnormalNumbers numbers;
    const Index most = WideSets<S>::sets_at_once(p);
    for (Index k = 0; k < run.count; k += most) {
      f(WideSets<S>(p, pass,
                    {run.set(k), run.step, std::min(most, run.count - k),
                     run.offset + k * WideSets<S>::stride_of_set(p)}));
    }
  }
}

template <typename S>
EVENKEEL_COLD void forward_wide(const Partition& p, const Pass<S>& pass, const SetRun& run) {
  for_each_of_run(p, pass, run, [](const auto& sets) { sets.forward(); });
}
template <typename S>
EVENKEEL_COLD void backward_wide(const Partition& p, const Pass<S>& pass, const SetRun& run,
                                 StatisticOf<S>* grad_gamma, StatisticOf<S>* grad_beta) {
  for_each_of_run(p, pass, run, [&](const auto& sets) { sets.backward(grad_gamma, grad_beta); });
}

/// y = (x - mean) / sqrt(variance + epsilon) gamma + beta of a run of channels, whose lines are alike. Inference compiles
/// this for channels out of range, and not WideSets.
template <typename S>
EVENKEEL_COLD void infer_wide(const Lines& lines, const Pass<S>& pass, const SetRun& run,
                              const GivenStatistics<ComputeOf<S>>& given) {
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;
  if constexpr (Range<C>::kBounded) {
    constexpr Index kFew = 64;
    const T half(kHasRoom<C> ? 1 : 0.5);  // so that x - mean does not overflow
    const SubnormalNumbers numbers;
    T terms[3][kFew + kPadding] = {};
    InferWide<S> a{};
    a.center = terms[0];
    a.slope = terms[1];
    a.level = terms[2];
    a.is_shared = run.count == 1;
    a.x_scale = half;
    if (pass.fused.kernels != nullptr) a.apply_epilogue = pass.fused.kernels->apply_epilogue;
    a.epilogue = pass.fused.epilogue;
    const Index lanes = run.count * lines.length;
    for (Index first = 0; first < lanes; first += a.n) {
      a.n = a.is_shared ? lanes : std::min(kFew, lanes - first);
      for (Index j = 0; j < (a.is_shared ? kPadding : a.n); ++j) {
        const Index set = run.set(a.is_shared ? 0 : (first + j) / lines.length);
        const SetStatistics<T> s = statistics_of(given, set, pass.formula.epsilon);
        const C gamma = pass.gamma == nullptr ? C(1) : C(pass.gamma[set] + pass.gamma_offset());
        const T beta(pass.beta == nullptr ? C(0) : pass.beta[set]);
        terms[0][j] = T(s.mean * half);
        terms[1][j] = T(T(s.inv_std / half) * T(gamma));
        terms[2][j] = T(beta - T(s.mean_low * half) * terms[1][j]);
      }
      for (Index outer = 0; outer < lines.outer; ++outer) {
        for (Index inner = 0; inner < lines.inner; ++inner) {
          a.at = run.offset + first + outer * lines.outer_stride + inner * lines.inner_stride;
          a.x = pass.x + a.at;
          a.out = pass.written() + a.at;
          infer_wide_lanes(a);
        }
      }
    }
  }
}

EVENKEEL_END_SMALL
EVENKEEL_END
}  // namespace evenkeel::detail
