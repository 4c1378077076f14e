// SPDX-License-Identifier: MIT
#pragma once

#include "evenkeel/core/calls.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN
EVENKEEL_BEGIN_SMALL

// Calls that have one set a channel: those of batch norm, and inference by the running statistics of any norm.

/// A set of x's own needs two values.
EVENKEEL_OUTLINE void check_two_values(const Caller& caller, const Argument& x, const Partition& p,
                                       const char* set) {
  if (x.size > 0 && p.set_size() == 1)
    fail(caller, {"x has 1 value per ", set, " in ", shown(x.shape), ", its own statistics need at least 2"});
}

/// Normalizes each channel with given statistics.
template <typename S>
void infer_channels(const Caller& caller, const ParallelFor& loops, const ForwardArguments& a,
                    const InferenceArguments& given, const ChannelAxis& axis) {
  const Partition p = Core<S>::partition(caller, a.x, a.strides(), axis);
  Core<S>::check_given(caller, given, p.params());
  call_infer<S>(caller, loops, a, given, p, axis.formula);
}

/// The gradients of infer_channels. dx is dy, or dz by infer's own numbers, inferred about 0: it does not depend on x but
/// by an activation. So an element has the same bits in any batch, and only the sums of gamma and beta read x.
template <typename S>
EVENKEEL_OUTLINE void differentiate_inference(const Caller& caller, const ParallelFor& loops,
                                              const BackwardArguments& a, const InferenceArguments& given,
                                              const ChannelAxis& axis, Vector<StatisticOf<S>>& workspace) {
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;
  const Partition p = Core<S>::partition(caller, a.x, a.strides(), axis);
  const Index channels = p.params();
  Core<S>::check_given(caller, given, channels);
  Core<S>::check_backward(caller, a, channels, nullptr);
  check_fused(caller, a, channels);
  const auto check_given_apart = [&](const Argument& output) {
    check_apart(caller, output, given.mean);
    check_apart(caller, output, given.variance);
  };
  for (const Argument* output : {&a.dx, &a.grad_gamma, &a.grad_beta}) check_given_apart(*output);
  if (a.fused != nullptr) check_given_apart(a.fused->d_residual);
  const auto statistics = given_statistics<S>(given);
  const bool is_empty = a.x.size == 0;
  const bool has_sums = !is_empty && (a.grad_gamma.object != nullptr || a.grad_beta.object != nullptr);
  const Index sums = has_sums ? Core<S>::template workspace_size<Sets::channels>(p) : 0;
  Pass<S> pass = backward_pass<S>(caller, a, channels, sums + 3 * channels, workspace);
  if (is_empty) return;
  pass.formula = axis.formula;
  if (a.fused != nullptr) {
    a.fused->fuse(*a.fused, &pass);
    if (pass.makes_dz()) {
      Pass<S> of_dz = pass;
      of_dz.out = pass.fused.dz;
      of_dz.dy = nullptr;
      Core<S>::normalize_by(p, of_dz, statistics, loops);
    }
    pass.fused = {};
  }
  T *mean = workspace.data() + sums, *inv_std = mean + channels;
  C* zeros = reinterpret_cast<C*>(inv_std + channels);
  if (has_sums) {
    for (Index c = 0; c < channels; ++c) {
      const SetStatistics<T> its = statistics_of(statistics, c, axis.formula.epsilon);
      mean[c] = T(its.mean + its.mean_low);
      inv_std[c] = its.inv_std;
    }
    Pass<S> only_sums = pass;
    only_sums.out = nullptr;
    only_sums.saved = {mean, nullptr, nullptr, inv_std};
    Core<S>::template differentiate<Sets::channels>(p, only_sums, loops);
  }
  std::fill_n(zeros, channels, C(0));
  pass.x = pass.dy;
  pass.dy = nullptr;
  pass.beta = nullptr;
  Core<S>::normalize_by(p, pass, {zeros, statistics.variance, nullptr, nullptr}, loops);
}

EVENKEEL_END_SMALL
EVENKEEL_END
}  // namespace evenkeel::detail
