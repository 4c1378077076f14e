// SPDX-License-Identifier: MIT
#pragma once

#include "evenkeel/base/config.hpp"
#if EVENKEEL_IS_SUPPORTED

#include <algorithm>
#include <optional>

#include "evenkeel/core/tracking_layer.hpp"
#include "evenkeel/group_norm.hpp"

namespace evenkeel {
EVENKEEL_BEGIN

/// Options of InstanceNorm. The free functions read only epsilon, axis, batch_axis and gamma_offset.
struct InstanceNormOptions {
  double epsilon = 1e-5;                 // added to the variance before the square root
  std::optional<double> momentum = 0.1;  // the weight of the new batch; nullopt: the average of all batches
  Index axis = 1;                        // axis of the channels; negative counts from the last
  Index batch_axis = 0;                  // axis of the samples; no_axis: x is one sample
  bool affine = false;                   // whether the layer has gamma and beta
  bool track_running_stats = false;      // true: infer uses running statistics, as batch norm does
  bool unbiased_running_var = true;      // true: running_var averages variances with divisor n - 1; false: n
  double gamma_offset = 0;               // added to gamma; 1 if the stored numbers are gamma - 1
};

EVENKEEL_END
}  // namespace evenkeel

namespace evenkeel::detail {
EVENKEEL_BEGIN

/// Group norm's partition with one channel a group.
template <typename S>
EVENKEEL_OUTLINE Partition instance_norm_partition(const Caller& caller, const Argument& x,
                                                   const Strides& strides, Index expected,
                                                   const InstanceNormOptions& options, bool has_params) {
  const int axis = resolve_axis(caller, "axis", options.axis, x.shape);
  const Index channels = expected < 0 ? x.shape[axis] : expected;
  Partition p =
      Core<S>::partition(caller, x, strides, group_axes(options, std::max<Index>(channels, 1), expected));
  if (!has_params) p = with_rows(p);
  if (channels == 0) p.group.extent = 0;  // no channel, no set
  return p;
}

template <typename S>
void instance_norm_forward(const Caller& caller, const ParallelFor& loops, const ForwardArguments& a,
                           Index channels, const InstanceNormOptions& options,
                           Moments<StatisticOf<S>>* moments) {
  const Partition p = instance_norm_partition<S>(caller, a.x, a.strides(), channels, options,
                                                 a.gamma.size > 0 || a.beta.size > 0);
  check_two_values(caller, a.x, p, "channel and sample");
  call_forward<Sets::groups, S>(caller, loops, a, p, formula_of(options), moments);
}

template <typename S>
void instance_norm_backward(const Caller& caller, const ParallelFor& loops, const BackwardArguments& a,
                            const InstanceNormOptions& options, const Moments<StatisticOf<S>>& moments,
                            Vector<StatisticOf<S>>& workspace) {
  const bool has_params = a.gamma.size > 0 || a.grad_gamma.object != nullptr || a.grad_beta.object != nullptr;
  const Partition p = instance_norm_partition<S>(caller, a.x, a.strides(), -1, options, has_params);
  call_backward<Sets::groups, S>(caller, loops, a, p, formula_of(options), moments, workspace);
}

EVENKEEL_END
}  // namespace evenkeel::detail

namespace evenkeel {
EVENKEEL_BEGIN

/// Normalizes each channel of each sample of x.
///
///   y = (x - mean) / sqrt(variance + epsilon) * gamma + beta
///
/// Shapes       x, y: any of rank 1 to 8 with channels on options.axis and samples on options.batch_axis, unless
///              that is no_axis; gamma, beta: [channels] or empty for none; moments: entry sample * channels + channel.
/// Types        stored as Scalar; computed in float for half, bfloat16 and float, else in Scalar; statistics in
///              double or a wider type.
/// Aliasing     y may be x.
/// Determinism  the same bits on every device and thread count.
/// Errors       std::invalid_argument when sizes differ, when a channel of a sample has one value, or when y overlaps x
///              without being x.
/// Source       Ulyanov, Vedaldi, Lempitsky 2016, equation 3.
template <typename Device, typename X, typename Gamma, typename Beta, typename Y>
void instance_norm_forward(const Device& device, const X& x, const Gamma& gamma, const Beta& beta,
                           const InstanceNormOptions& options, Y&& y,
                           Moments<StatisticOf<detail::ScalarOf<X>>>& moments) {
  const detail::Caller caller{"", "instance_norm_forward"};
  const auto a = detail::forward_arguments(caller, x, gamma, beta, y);
  detail::instance_norm_forward<detail::ScalarOf<X>>(caller, detail::ParallelFor(device, a.x.size), a, -1,
                                                     options, &moments);
}

/// The gradients of instance_norm_forward, from the moments that it saved.
///
///   dx = gamma inv_std (dy - mean(dy) - xhat mean(dy xhat)),  grad_gamma = sum(dy xhat),  grad_beta = sum(dy), both
///   over the samples and places of a channel
///
/// Shapes       dy, dx: x's; gamma: [channels] or empty; grad_gamma, grad_beta: [channels], resized if
///              they own their memory.
/// Types        as instance_norm_forward.
/// Aliasing     dx may be dy.
/// Determinism  the same bits on every device and thread count.
/// Errors       std::invalid_argument when sizes differ, when x differs from forward's x, when dx overlaps x, or when dx
///              overlaps dy without being dy.
/// Source       Ulyanov, Vedaldi, Lempitsky 2016, differentiated.
template <typename Device, typename X, typename Dy, typename Gamma, typename Dx, typename GradGamma,
          typename GradBeta>
void instance_norm_backward(const Device& device, const X& x, const Dy& dy, const Gamma& gamma,
                            const Moments<StatisticOf<detail::ScalarOf<X>>>& moments,
                            const InstanceNormOptions& options, Dx&& dx, GradGamma&& grad_gamma,
                            GradBeta&& grad_beta) {
  const detail::Caller caller{"", "instance_norm_backward"};
  const auto a = detail::backward_arguments(caller, x, dy, gamma, dx, &grad_gamma, &grad_beta);
  Vector<StatisticOf<detail::ScalarOf<X>>> workspace;
  detail::instance_norm_backward<detail::ScalarOf<X>>(caller, detail::ParallelFor(device, a.x.size), a,
                                                      options, moments, workspace);
}

/// instance_norm_forward without moments.
template <typename Device, typename X, typename Gamma, typename Beta, typename Y>
void instance_norm_infer(const Device& device, const X& x, const Gamma& gamma, const Beta& beta,
                         const InstanceNormOptions& options, Y&& y) {
  const detail::Caller caller{"", "instance_norm_infer"};
  const auto a = detail::forward_arguments(caller, x, gamma, beta, y);
  detail::instance_norm_forward<detail::ScalarOf<X>>(caller, detail::ParallelFor(device, a.x.size), a, -1,
                                                     options, nullptr);
}

/// Normalizes each channel of x with given statistics, as batch_norm_infer does.
template <typename Device, typename X, typename Gamma, typename Beta, typename Mean, typename Variance,
          typename Y>
void instance_norm_infer(const Device& device, const X& x, const Gamma& gamma, const Beta& beta,
                         const Mean& running_mean, const Variance& running_var,
                         const InstanceNormOptions& options, Y&& y) {
  using Param = ParamOf<detail::ScalarOf<X>>;
  const detail::Caller caller{"", "instance_norm_infer"};
  const auto a = detail::forward_arguments(caller, x, gamma, beta, y);
  detail::infer_channels<detail::ScalarOf<X>>(
      caller, detail::ParallelFor(device, a.x.size), a,
      {detail::param_argument<Param>(caller, "running_mean", running_mean),
       detail::param_argument<Param>(caller, "running_var", running_var)},
      detail::channel_axis(options));
}

/// Instance normalization. By default the layer has neither parameters nor running statistics; see InstanceNormOptions.
///
///   y = (x - mean) / sqrt(variance + epsilon) * gamma + beta
///
/// forward and infer compute mean and variance of each channel of each sample. If the layer tracks running statistics,
/// forward updates them with the average over the samples, and infer uses them. Statistics of a sample need at least two
/// values per channel.
///
/// Shapes       x: any of rank 1 to 8 with `channels` on options.axis and samples on options.batch_axis, unless that
///              is no_axis. Empty batches are legal and leave the running statistics as they are.
/// Types        stored as Scalar; computed in float for half, bfloat16 and float, else in Scalar; statistics in
///              double or a wider type.
/// Aliasing     y may be x in forward and infer, dx may be dy in backward; any other overlap is an error.
/// Determinism  the same bits on every device and thread count.
/// Errors       std::invalid_argument, with both numbers, before anything is written.
/// Source       Ulyanov, Vedaldi, Lempitsky 2016.
template <typename Scalar = float>
class InstanceNorm : public TrackingLayer<InstanceNorm<Scalar>, Scalar, InstanceNormOptions> {
  using Base = TrackingLayer<InstanceNorm, Scalar, InstanceNormOptions>;
  using typename Base::S;
  friend Base;
  friend Layer<InstanceNorm, Scalar>;

 public:
  using typename Base::Statistic;

  /// Creates a layer for this number of channels. Gamma is 1, beta 0, the running mean 0 and the running variance 1, if the
  /// layer has them.
  explicit InstanceNorm(Index channels, InstanceNormOptions options = {})
      : Base({"InstanceNorm::", "InstanceNorm"}, channels, options) {
    if (options.track_running_stats) infer_by_running_ = &InstanceNorm::infer_by_running_stats;
  }

  /// "InstanceNorm(64, epsilon=1e-05, ...)", with all options, as << writes it.
  EVENKEEL_COLD std::string text() const {
    using detail::shown;
    const InstanceNormOptions& o = this->options();
    return detail::joined("InstanceNorm(",
                          {this->channels(), ", epsilon=", shown(o.epsilon),
                           ", momentum=", o.momentum ? shown(*o.momentum) : "nullopt", ", axis=", o.axis,
                           ", batch_axis=", o.batch_axis == no_axis ? "no_axis" : detail::Piece(o.batch_axis),
                           ", affine=", shown(o.affine),
                           ", track_running_stats=", shown(o.track_running_stats), ", unbiased_running_var=",
                           shown(o.unbiased_running_var), ", gamma_offset=", shown(o.gamma_offset), ")"});
  }

 private:
  static constexpr const char* kScope = "InstanceNorm::";
  static constexpr auto kSets = detail::Sets::groups;
  static constexpr auto kForward = detail::instance_norm_forward<S>;

  void backward_call(const detail::Caller& caller, const detail::ParallelFor& loops,
                     const detail::BackwardArguments& a) {
    this->check_x(caller, a.x);
    detail::instance_norm_backward<S>(caller, loops, a, this->options_, this->moments_, this->workspace_);
  }

  void infer_call(const detail::Caller& caller, const detail::ParallelFor& loops,
                  const detail::ForwardArguments& a) const {
    if (infer_by_running_ != nullptr) return (this->*infer_by_running_)(caller, loops, a);
    kForward(caller, loops, a, this->channels_, this->options_, nullptr);
  }

  // Where running statistics are tracked; a pointer, so that layers without them do not compile it.
  void (Base::*infer_by_running_)(const detail::Caller&, const detail::ParallelFor&,
                                  const detail::ForwardArguments&) const = nullptr;
};

EVENKEEL_END
}  // namespace evenkeel

#endif  // EVENKEEL_IS_SUPPORTED
