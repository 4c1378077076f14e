// SPDX-License-Identifier: MIT
#pragma once

#include "evenkeel/core/wide_sets.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN
EVENKEEL_BEGIN_SMALL

// Which sets the passes of the compute type leave to wide ones, and what does these.

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

/// y = (x - mean) / sqrt(variance + epsilon) gamma + beta of a run of channels, an element at a time: given statistics are
/// seldom out of range, and inference need not compile the kernels of other calls. lines: of one channel.
template <typename S>
EVENKEEL_COLD void infer_wide(const Lines& lines, const Pass<S>& pass, const SetRun& run,
                              const GivenStatistics<ComputeOf<S>>& given) {
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;
  if constexpr (Range<C>::kBounded) {
    constexpr Index kFew = 64;
    const T half(kHasRoom<C> ? 1 : 0.5);  // so that x - mean does not overflow
    const SubnormalNumbers numbers;
    const Index lanes = run.count * lines.length;
    for (Index first = 0; first < lanes; first += kFew) {
      const Index n = std::min(kFew, lanes - first);
      struct {
        T center, slope, level;
      } of_lane[kFew];
      for (Index j = 0; j < n; ++j) {
        if (j > 0 && (first + j) % lines.length > 0) {  // of the same channel
          of_lane[j] = of_lane[j - 1];
          continue;
        }
        const Index set = run.set((first + j) / lines.length);
        const SetStatistics<T> s = statistics_of(given, set, pass.formula.epsilon);
        const C gamma = pass.gamma == nullptr ? C(1) : C(pass.gamma[set] + pass.gamma_offset());
        const T slope = T(T(s.inv_std / half) * T(gamma));
        const T beta(pass.beta == nullptr ? C(0) : pass.beta[set]);
        of_lane[j] = {T(s.mean * half), slope, T(beta - T(s.mean_low * half) * slope)};
      }
      Index start = run.offset + first;
      for (Index outer = 0; outer < lines.outer; ++outer, start += lines.outer_stride) {
        Index at = start;
        for (Index inner = 0; inner < lines.inner; ++inner, at += lines.inner_stride) {
          C values[kFew];
          for (Index j = 0; j < n; ++j) {
            const T d = one_by_one::centred<C>(T(value_at(pass.x + at + j)), half, of_lane[j].center);
            values[j] = static_cast<C>(one_by_one::fma<T>(d, of_lane[j].slope, of_lane[j].level));
          }
          if (pass.fused.kernels != nullptr)
            pass.fused.kernels->apply_epilogue(EpilogueOfValues<S>{pass.fused.epilogue, at, n, values});
          for (Index j = 0; j < n; ++j) put_value(pass.written() + at + j, values[j]);
        }
      }
    }
  }
}

EVENKEEL_END_SMALL
EVENKEEL_END
}  // namespace evenkeel::detail
