#pragma once

#include "evenkeel/core/layer.hpp"

namespace evenkeel {
EVENKEEL_BEGIN

/// What a GroupNorm is beside its groups and channels. group_norm_forward and its like take all but affine, which is
/// the layer's.
struct GroupNormOptions {
  double epsilon = 1e-5;  // added to the variance, under the root
  Index axis = 1;         // of the channels; negative counts from the last
  Index batch_axis = 0;   // of the samples
  bool affine = true;     // has gamma and beta
};

namespace internal {

inline void check_groups(const Caller& caller, Index groups, Index channels) {
  check_positive(caller, "groups", groups);
  if (channels % groups != 0) {
    fail(caller, {counted(groups, "group"), (groups == 1 ? " does" : " do"), " not divide ",
                  counted(channels, "channel")});
  }
}

/// x's memory as samples, groups and channels, once they are seen to fit; expected < 0 for any number of
/// channels.
template <typename Storage>
Partition group_norm_partition(const Caller& caller, const TensorView<const Storage>& x, Index groups,
                               Index expected, const GroupNormOptions& options) {
  check_epsilon(caller, options.epsilon);
  const int axis = resolve_axis(caller, "axis", options.axis, x.shape);
  const int batch_axis = resolve_axis(caller, "batch_axis", options.batch_axis, x.shape);
  if (axis == batch_axis) {
    fail(caller, {"axis ", options.axis, " and batch_axis ", options.batch_axis, " are the same axis of x ",
                  x.shape.text()});
  }
  const Index channels = x.shape[axis];
  if (expected >= 0 && channels != expected) {
    fail(caller, {"x has ", on_axis(x.shape, axis, "channel"), ", expected ", expected});
  }
  check_groups(caller, groups, channels);
  const MemoryShape shape(x.shape, x.layout);
  return partition_groups(shape, shape.axis(batch_axis), shape.axis(axis), groups);
}

template <typename Device, typename X, typename Gamma, typename Beta, typename Y>
void group_norm_forward(const Caller& caller, const Device& device, const X& x, Index groups, Index channels,
                        const Gamma& gamma, const Beta& beta, const GroupNormOptions& options, Y& y,
                        Moments<StatisticOf<ScalarOf<X>>>* moments) {
  const auto in = input_view(caller, "x", x);
  const Partition partition = group_norm_partition(caller, in, groups, channels, options);
  const auto affine = affine_of<ScalarOf<X>>(caller, gamma, beta, partition.params());
  call_forward(caller, device, in, partition, affine, options.epsilon, y, moments);
}

template <typename Device, typename X, typename Dy, typename Gamma, typename Dx, typename GradGamma,
          typename GradBeta>
void group_norm_backward(const Caller& caller, const Device& device, const X& x, const Dy& dy, Index groups,
                         const Gamma& gamma, const Moments<StatisticOf<ScalarOf<X>>>& moments,
                         const GroupNormOptions& options, Dx& dx, GradGamma* grad_gamma, GradBeta* grad_beta,
                         Vector<StatisticOf<ScalarOf<X>>>& workspace) {
  const auto in = input_view(caller, "x", x);
  const Partition partition = group_norm_partition(caller, in, groups, -1, options);
  call_backward(caller, device, in, dy, partition, gamma, moments, dx, grad_gamma, grad_beta, workspace);
}

}  // namespace internal

/// Normalizes each group of channels of each sample of x.
///
///   y = (x - mean) / sqrt(variance + epsilon) * gamma + beta
///
/// Shapes       x, y: any of rank 2 to 8 with samples on options.batch_axis and channels on options.axis;
///              gamma, beta: [channels] or empty for none; moments: entry sample * groups + group.
/// Types        stored as Scalar, computed in float (half, bfloat16, float) or Scalar, statistics in double
///              or wider.
/// Aliasing     y may be x.
/// Determinism  the same bits on every device and thread count.
/// Errors       std::invalid_argument when groups do not divide channels, sizes differ, or y overlaps x
///              otherwise.
/// Source       Wu, He 2018, equations 1, 2 and 7.
template <typename Device, typename X, typename Gamma, typename Beta, typename Y>
void group_norm_forward(const Device& device, const X& x, Index groups, const Gamma& gamma, const Beta& beta,
                        const GroupNormOptions& options, Y&& y, Moments<StatisticOf<ScalarOf<X>>>& moments) {
  internal::group_norm_forward({"", "group_norm_forward"}, device, x, groups, -1, gamma, beta, options, y,
                               &moments);
}

/// The gradients of group_norm_forward, from the moments that it left.
///
///   dx = inv_std (gamma dy - mean(gamma dy) - xhat mean(gamma dy xhat)),  grad_gamma = sum(dy xhat),
///   grad_beta = sum(dy), both over the samples and places of a channel
///
/// Shapes       dy, dx: x's; gamma: [channels] or empty; grad_gamma, grad_beta: [channels], resized where
///              they can be.
/// Types        as group_norm_forward.
/// Aliasing     dx may be dy.
/// Determinism  the same bits on every device and thread count.
/// Errors       std::invalid_argument when sizes differ, or when dx overlaps x, or dy otherwise.
/// Source       Wu, He 2018, differentiated.
template <typename Device, typename X, typename Dy, typename Gamma, typename Dx, typename GradGamma,
          typename GradBeta>
void group_norm_backward(const Device& device, const X& x, const Dy& dy, Index groups, const Gamma& gamma,
                         const Moments<StatisticOf<ScalarOf<X>>>& moments, const GroupNormOptions& options,
                         Dx&& dx, GradGamma&& grad_gamma, GradBeta&& grad_beta) {
  Vector<StatisticOf<ScalarOf<X>>> workspace;
  internal::group_norm_backward({"", "group_norm_backward"}, device, x, dy, groups, gamma, moments, options,
                                dx, &grad_gamma, &grad_beta, workspace);
}

/// group_norm_forward without moments.
template <typename Device, typename X, typename Gamma, typename Beta, typename Y>
void group_norm_infer(const Device& device, const X& x, Index groups, const Gamma& gamma, const Beta& beta,
                      const GroupNormOptions& options, Y&& y) {
  internal::group_norm_forward({"", "group_norm_infer"}, device, x, groups, -1, gamma, beta, options, y,
                               static_cast<Moments<StatisticOf<ScalarOf<X>>>*>(nullptr));
}

/// Group normalization with its parameters.
///
///   y = (x - mean) / sqrt(variance + epsilon) * gamma + beta
///
/// infer is forward without what backward needs: it changes nothing in the layer.
///
/// Shapes       x: any of rank 2 to 8 with `channels` on options.axis and samples on options.batch_axis.
/// Types        stored as Scalar, computed in float (half, bfloat16, float) or Scalar, statistics in double
///              or wider.
/// Aliasing     y may be x in forward and infer, dx may be dy in backward; any other overlap is an error.
/// Determinism  the same bits on every device and thread count.
/// Errors       std::invalid_argument, with both numbers, before anything is written.
/// Source       Wu, He 2018.
template <typename Scalar = float>
class GroupNorm : public Layer<GroupNorm<Scalar>, Scalar> {
  using Base = Layer<GroupNorm, Scalar>;
  friend Base;

 public:
  /// For so many channels in groups of channels / groups neighbours.
  GroupNorm(Index groups, Index channels, GroupNormOptions options = {})
      : Base(caller("GroupNorm"), options.epsilon, check_positive(caller("GroupNorm"), "channels", channels),
             options.affine, options.affine),
        groups_(groups),
        channels_(channels),
        options_(options) {
    internal::check_groups(caller("GroupNorm"), groups, channels);
  }

  /// What the constructor was given.
  Index groups() const { return groups_; }
  Index channels() const { return channels_; }
  const GroupNormOptions& options() const { return options_; }

 private:
  static constexpr Caller caller(std::string_view function) { return {"GroupNorm::", function}; }

  template <typename Device, typename X, typename Y>
  void do_forward(const Device& device, const X& x, Y& y) {
    const auto in = input_view(caller("forward"), "x", x);
    internal::group_norm_forward(caller("forward"), device, in, groups_, channels_, this->gamma_, this->beta_,
                                 options_, y, &this->moments_);
    this->remember(in.shape, in.layout);
  }

  template <typename Device, typename X, typename Dy, typename Dx>
  void do_backward(const Device& device, const X& x, const Dy& dy, Dx& dx) {
    const auto in = input_view(caller("backward"), "x", x);
    this->check_backward(caller("backward"), in.shape, in.layout);
    internal::group_norm_backward(caller("backward"), device, in, dy, groups_, this->gamma_, this->moments_,
                                  options_, dx, this->wanted_grad_gamma(), this->wanted_grad_beta(),
                                  this->workspace_);
  }

  template <typename Device, typename X, typename Y>
  void do_infer(const Device& device, const X& x, Y& y) const {
    internal::group_norm_forward(caller("infer"), device, x, groups_, channels_, this->gamma_, this->beta_,
                                 options_, y, static_cast<Moments<typename Base::Statistic>*>(nullptr));
  }

  Index groups_, channels_;
  GroupNormOptions options_;
};

EVENKEEL_END
}  // namespace evenkeel
