// SPDX-License-Identifier: MIT
#pragma once

#include "evenkeel/base/config.hpp"
#if EVENKEEL_IS_SUPPORTED

#include <limits>
#include <optional>

#include "evenkeel/core/layer.hpp"

namespace evenkeel {
EVENKEEL_BEGIN

/// The batch_axis of a tensor that has no axis of samples: the whole tensor is one sample.
inline constexpr Index no_axis = (std::numeric_limits<Index>::min)();

/// Options of GroupNorm. group_norm_forward, _backward and _infer read all fields except affine.
struct GroupNormOptions {
  double epsilon = 1e-5;    // added to the variance before the square root
  Index axis = 1;           // axis of the channels; negative counts from the last
  Index batch_axis = 0;     // axis of the samples; no_axis: x is one sample
  bool affine = true;       // whether the layer has gamma and beta
  double gamma_offset = 0;  // added to gamma; 1 if the stored numbers are gamma - 1
};

EVENKEEL_END
}  // namespace evenkeel

namespace evenkeel::detail {
EVENKEEL_BEGIN

/// Of group norm's options, or of those of instance norm.
template <typename Options>
GroupAxes group_axes(const Options& options, Index groups, Index channels = -1) {
  std::optional<Index> batch_axis;
  if (options.batch_axis != no_axis) batch_axis = options.batch_axis;
  return {formula_of(options), options.axis, batch_axis, groups, channels};
}

template <typename S>
void group_norm_forward(const Caller& caller, const ParallelFor& loops, const ForwardArguments& a,
                        Index groups, Index channels, const GroupNormOptions& options,
                        Moments<StatisticOf<S>>* moments) {
  const GroupAxes axes = group_axes(options, groups, channels);
  const Partition p = Core<S>::partition(caller, a.x, a.strides(), axes);
  call_forward<Sets::groups, S>(caller, loops, a, p, axes.formula, moments);
}

template <typename S>
void group_norm_backward(const Caller& caller, const ParallelFor& loops, const BackwardArguments& a,
                         Index groups, const GroupNormOptions& options,
                         const Moments<StatisticOf<S>>& moments, Vector<StatisticOf<S>>& workspace) {
  const GroupAxes axes = group_axes(options, groups);
  const Partition p = Core<S>::partition(caller, a.x, a.strides(), axes);
  call_backward<Sets::groups, S>(caller, loops, a, p, axes.formula, moments, workspace);
}

EVENKEEL_END
}  // namespace evenkeel::detail

namespace evenkeel {
EVENKEEL_BEGIN

/// Normalizes each group of channels of each sample of x.
///
///   y = (x - mean) / sqrt(variance + epsilon) * gamma + beta
///
/// Shapes       x, y: any of rank 1 to 8 with channels on options.axis and samples on options.batch_axis, unless
///              that is no_axis; gamma, beta: [channels] or empty for none; moments: entry sample * groups + group.
/// Types        stored as Scalar; computed in float for half, bfloat16 and float, else in Scalar; statistics in
///              double or a wider type.
/// Aliasing     y may be x.
/// Determinism  the same bits on every device and thread count.
/// Errors       std::invalid_argument when groups do not divide channels, sizes differ, or when y overlaps
///              x without being x.
/// Source       Wu, He 2018, equations 1, 2 and 7.
template <typename Device, typename X, typename Gamma, typename Beta, typename Y>
void group_norm_forward(const Device& device, const X& x, Index groups, const Gamma& gamma, const Beta& beta,
                        const GroupNormOptions& options, Y&& y,
                        Moments<StatisticOf<detail::ScalarOf<X>>>& moments) {
  const detail::Caller caller{"", "group_norm_forward"};
  const auto a = detail::forward_arguments(caller, x, gamma, beta, y);
  detail::group_norm_forward<detail::ScalarOf<X>>(caller, detail::ParallelFor(device, a.x.size), a, groups,
                                                  -1, options, &moments);
}

/// The gradients of group_norm_forward, from the moments that it saved.
///
///   dx = inv_std (gamma dy - mean(gamma dy) - xhat mean(gamma dy xhat)),  grad_gamma = sum(dy xhat),
///   grad_beta = sum(dy), both over the samples and places of a channel
///
/// Shapes       dy, dx: x's; gamma: [channels] or empty; grad_gamma, grad_beta: [channels], resized if
///              they own their memory.
/// Types        as group_norm_forward.
/// Aliasing     dx may be dy.
/// Determinism  the same bits on every device and thread count.
/// Errors       std::invalid_argument when sizes differ, when x differs from forward's x, when dx overlaps x, or when dx
///              overlaps dy without being dy.
/// Source       Wu, He 2018, differentiated.
template <typename Device, typename X, typename Dy, typename Gamma, typename Dx, typename GradGamma,
          typename GradBeta>
void group_norm_backward(const Device& device, const X& x, const Dy& dy, Index groups, const Gamma& gamma,
                         const Moments<StatisticOf<detail::ScalarOf<X>>>& moments,
                         const GroupNormOptions& options, Dx&& dx, GradGamma&& grad_gamma,
                         GradBeta&& grad_beta) {
  const detail::Caller caller{"", "group_norm_backward"};
  const auto a = detail::backward_arguments(caller, x, dy, gamma, dx, &grad_gamma, &grad_beta);
  Vector<StatisticOf<detail::ScalarOf<X>>> workspace;
  detail::group_norm_backward<detail::ScalarOf<X>>(caller, detail::ParallelFor(device, a.x.size), a, groups,
                                                   options, moments, workspace);
}

/// group_norm_forward without moments.
template <typename Device, typename X, typename Gamma, typename Beta, typename Y>
void group_norm_infer(const Device& device, const X& x, Index groups, const Gamma& gamma, const Beta& beta,
                      const GroupNormOptions& options, Y&& y) {
  const detail::Caller caller{"", "group_norm_infer"};
  const auto a = detail::forward_arguments(caller, x, gamma, beta, y);
  detail::group_norm_forward<detail::ScalarOf<X>>(caller, detail::ParallelFor(device, a.x.size), a, groups,
                                                  -1, options, nullptr);
}

/// Group normalization with its parameters.
///
///   y = (x - mean) / sqrt(variance + epsilon) * gamma + beta
///
/// infer computes the same y as forward, saves nothing for backward and does not change the layer.
///
/// Shapes       x: any of rank 1 to 8 with `channels` on options.axis and samples on options.batch_axis, unless that
///              is no_axis.
/// Types        stored as Scalar; computed in float for half, bfloat16 and float, else in Scalar; statistics in
///              double or a wider type.
/// Aliasing     y may be x in forward and infer, dx may be dy in backward; any other overlap is an error.
/// Determinism  the same bits on every device and thread count.
/// Errors       std::invalid_argument, with both numbers, before anything is written.
/// Source       Wu, He 2018.
template <typename Scalar = float>
class GroupNorm : public Layer<GroupNorm<Scalar>, Scalar> {
  using Base = Layer<GroupNorm, Scalar>;
  using typename Base::S;
  friend Base;

 public:
  /// Creates a layer for this number of channels. Each group is channels / groups neighbouring channels.
  GroupNorm(Index groups, Index channels, GroupNormOptions options = {})
      : Base(constructor(), options.epsilon, options.gamma_offset,
             detail::check_positive(constructor(), "channels", channels), options.affine, options.affine),
        groups_(groups),
        channels_(channels),
        options_(options) {
    detail::check_groups(constructor(), groups, channels);
  }

  /// What the constructor was given.
  Index groups() const { return groups_; }
  Index channels() const { return channels_; }
  const GroupNormOptions& options() const { return options_; }

  /// "GroupNorm(2, 64, epsilon=1e-05, axis=1, batch_axis=0, affine=true, gamma_offset=0)", as << writes it.
  EVENKEEL_COLD std::string text() const {
    using detail::shown;
    const auto& o = options_;
    return detail::joined("GroupNorm(",
                          {groups_, ", ", channels_, ", epsilon=", shown(o.epsilon), ", axis=", o.axis,
                           ", batch_axis=", o.batch_axis == no_axis ? "no_axis" : detail::Piece(o.batch_axis),
                           ", affine=", shown(o.affine), ", gamma_offset=", shown(o.gamma_offset), ")"});
  }

 private:
  static constexpr const char* kScope = "GroupNorm::";
  static constexpr auto kSets = detail::Sets::groups;
  static constexpr detail::Caller constructor() { return {"GroupNorm::", "GroupNorm"}; }

  void forward_call(const detail::Caller& caller, const detail::ParallelFor& loops,
                    const detail::ForwardArguments& a) {
    detail::group_norm_forward<S>(caller, loops, a, groups_, channels_, options_, &this->moments_);
    this->remember(a.x);
  }

  void backward_call(const detail::Caller& caller, const detail::ParallelFor& loops,
                     const detail::BackwardArguments& a) {
    this->check_x(caller, a.x);
    detail::group_norm_backward<S>(caller, loops, a, groups_, options_, this->moments_, this->workspace_);
  }

  void infer_call(const detail::Caller& caller, const detail::ParallelFor& loops,
                  const detail::ForwardArguments& a) const {
    detail::group_norm_forward<S>(caller, loops, a, groups_, channels_, options_, nullptr);
  }

  Index groups_, channels_;
  GroupNormOptions options_;
};

EVENKEEL_END
}  // namespace evenkeel

#endif  // EVENKEEL_IS_SUPPORTED
