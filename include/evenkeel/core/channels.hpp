// SPDX-License-Identifier: MIT
#pragma once

#include "evenkeel/core/calls.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN
EVENKEEL_BEGIN_SMALL

// Calls that have one set a channel: those of batch norm, and inference by the running statistics of any norm.

/// The partition of x by channels. expected < 0 allows any number of them.
EVENKEEL_OUTLINE Partition channel_partition(const Caller& caller, const Argument& x, const Strides& strides,
                                             Index expected, const Formula& formula, Index its_axis) {
  check_epsilon(caller, formula.epsilon);
  check_gamma_offset(caller, formula.gamma_offset);
  const int axis = resolve_axis(caller, "axis", its_axis, x.shape);
  if (expected >= 0) check_extent(caller, x.shape, axis, "channel", expected);
  const MemoryShape shape = memory_shape(x, strides);
  const Partition p = partition_channels(shape, shape.axis(axis));
  check_walkable(caller, x, strides, p);
  return p;
}

/// A set of x's own needs two values.
EVENKEEL_OUTLINE void check_two_values(const Caller& caller, const Argument& x, const Partition& p,
                                       const char* set) {
  if (x.size > 0 && p.set_size() == 1)
    fail(caller, {"x has 1 value per ", set, " in ", shown(x.shape), ", its own statistics need at least 2"});
}

EVENKEEL_OUTLINE void check_given(const Caller& caller, const InferenceArguments& given, Index channels) {
  check_param(caller, given.mean, channels);
  check_param(caller, given.variance, channels);
  if (channels > 0 && (given.mean.size == 0 || given.variance.size == 0)) {
    fail(caller, {"running_mean and running_var have 0 values, expected ", channels});
  }
}

/// Normalizes each channel with given statistics.
template <typename S>
void infer_channels(const Caller& caller, const ParallelFor& loops, const ForwardArguments& a,
                    const InferenceArguments& given, Index expected, const Formula& formula, Index axis) {
  const Partition p = channel_partition(caller, a.x, a.strides(), expected, formula, axis);
  check_given(caller, given, p.params());
  call_infer<S>(caller, loops, a, given, p, formula);
}

/// The gradients of infer_channels. dx is dy, or dz by infer's own numbers, inferred about 0: it does not depend on x but
/// by an activation. So an element has the same bits in any batch, and only the sums of gamma and beta read x.
template <typename S>
EVENKEEL_OUTLINE void differentiate_inference(const Caller& caller, const ParallelFor& loops,
                                              const BackwardArguments& a, const InferenceArguments& given,
                                              Index expected, const Formula& formula, Index axis,
                                              Vector<StatisticOf<S>>& workspace) {
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;
  const Partition p = channel_partition(caller, a.x, a.strides(), expected, formula, axis);
  const Index channels = p.params();
  check_given(caller, given, channels);
  check_backward_arguments(caller, a, channels);
  const auto check_given_apart = [&](const Argument& output) {
    check_apart(caller, output, given.mean);
    check_apart(caller, output, given.variance);
  };
  for (const Argument* output : {&a.dx, &a.grad_gamma, &a.grad_beta}) check_given_apart(*output);
  if (a.fused != nullptr) check_given_apart(a.fused->d_residual);
  const auto statistics = checked_statistics<S>(caller, given, channels);
  const bool is_empty = a.x.size == 0;
  const bool has_sums = !is_empty && (a.grad_gamma.object != nullptr || a.grad_beta.object != nullptr);
  const Index sums = has_sums ? Core<S>::template workspace_size<Sets::channels>(p) : 0;
  Pass<S> pass = backward_pass<S>(caller, a, channels, sums + 3 * channels, workspace);
  if (is_empty) return;
  pass.formula = formula;
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
      const SetStatistics<T> its = statistics_of(statistics, c, formula.epsilon);
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
