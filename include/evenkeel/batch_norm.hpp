#pragma once

#include <optional>

#include "evenkeel/core/layer.hpp"
#include "evenkeel/core/running_statistics.hpp"

namespace evenkeel {
EVENKEEL_BEGIN

/// What a BatchNorm is beside its channels. batch_norm_forward and its like take epsilon and axis; the rest is the
/// layer's.
struct BatchNormOptions {
  double epsilon = 1e-5;                 // added to the variance, under the root
  std::optional<double> momentum = 0.1;  // the weight of the new batch; nullopt: the average of all batches
  Index axis = 1;                        // of the channels; negative counts from the last
  bool affine = true;                    // has gamma and beta
  bool track_running_stats = true;       // false: infer takes the batch's own statistics, as forward does
};

namespace internal {

struct BatchNormCall {
  ChannelPartition partition;
  Index channels;
  Index values;  // per channel
};

/// x's channels, checked against what is expected of them; expected < 0 for any number.
template <typename Storage>
BatchNormCall batch_norm_call(const Caller& caller, const TensorView<const Storage>& x, Index expected,
                              const BatchNormOptions& options) {
  check_epsilon(caller, options.epsilon);
  const int axis = resolve_axis(caller, "axis", options.axis, x.shape);
  const Index channels = x.shape[axis];
  if (expected >= 0 && channels != expected) {
    fail(caller, {"x has ", on_axis(x.shape, axis, "channel"), ", expected ", expected});
  }
  const MemoryShape shape(x.shape, x.layout);
  return {partition_channels(shape, shape.axis(axis)), channels, channels == 0 ? 0 : x.size() / channels};
}

template <typename Device, typename X, typename Gamma, typename Beta, typename Y>
void batch_norm_forward(const Caller& caller, const Device& device, const X& x, Index channels,
                        const Gamma& gamma, const Beta& beta, const BatchNormOptions& options, Y& y,
                        Moments<StatisticOf<ScalarOf<X>>>* moments) {
  using Scalar = ScalarOf<X>;
  const TensorView<const Scalar> in = input_view(caller, "x", x);
  const BatchNormCall call = batch_norm_call(caller, in, channels, options);
  if (call.values == 1) {
    fail(caller, {"x has 1 value per channel in ", in.shape.text(), ", its own statistics need at least 2"});
  }
  const auto affine = affine_of<Scalar>(caller, gamma, beta, call.channels);
  call_forward(caller, device, in, call.partition, affine, options.epsilon, y, moments);
}

template <typename Device, typename X, typename Dy, typename Gamma, typename Dx, typename GradGamma,
          typename GradBeta>
void batch_norm_backward(const Caller& caller, const Device& device, const X& x, const Dy& dy,
                         const Gamma& gamma, const Moments<StatisticOf<ScalarOf<X>>>& moments,
                         const BatchNormOptions& options, Dx& dx, GradGamma* grad_gamma, GradBeta* grad_beta,
                         Vector<StatisticOf<ScalarOf<X>>>& workspace) {
  const auto in = input_view(caller, "x", x);
  const BatchNormCall call = batch_norm_call(caller, in, -1, options);
  call_backward(caller, device, in, dy, call.partition, gamma, moments, dx, grad_gamma, grad_beta, workspace);
}

template <typename Device, typename X, typename Gamma, typename Beta, typename Mean, typename Variance,
          typename Y>
void batch_norm_infer(const Caller& caller, const Device& device, const X& x, Index channels,
                      const Gamma& gamma, const Beta& beta, const Mean& running_mean,
                      const Variance& running_var, const BatchNormOptions& options, Y& y) {
  using Scalar = ScalarOf<X>;
  using Param = ParamOf<Scalar>;
  const TensorView<const Scalar> in = input_view(caller, "x", x);
  const BatchNormCall call = batch_norm_call(caller, in, channels, options);
  const auto affine = affine_of<Scalar>(caller, gamma, beta, call.channels);
  const Param* mean = param_data<Param>(caller, "running_mean", running_mean, call.channels);
  const Param* variance = param_data<Param>(caller, "running_var", running_var, call.channels);
  if (call.channels > 0 && (mean == nullptr || variance == nullptr)) {
    fail(caller, {"running_mean and running_var have 0 values, expected ", call.channels});
  }
  call_infer(caller, device, in, call.partition, affine, mean, variance, options.epsilon, y);
}

}  // namespace internal

/// Normalizes each channel of x over all its values.
///
///   y = (x - mean) / sqrt(variance + epsilon) * gamma + beta
///
/// Shapes       x, y: any of rank 1 to 8 with channels on options.axis; gamma, beta: [channels] or empty for
///              none; moments: one entry a channel.
/// Types        stored as Scalar, computed in float (half, bfloat16, float) or Scalar, statistics in double
///              or wider.
/// Aliasing     y may be x.
/// Determinism  the same bits on every device and thread count.
/// Errors       std::invalid_argument when sizes differ, when a channel has one value, or when y overlaps x
///              otherwise.
/// Source       Ioffe, Szegedy 2015, algorithm 1.
template <typename Device, typename X, typename Gamma, typename Beta, typename Y>
void batch_norm_forward(const Device& device, const X& x, const Gamma& gamma, const Beta& beta,
                        const BatchNormOptions& options, Y&& y, Moments<StatisticOf<ScalarOf<X>>>& moments) {
  internal::batch_norm_forward({"", "batch_norm_forward"}, device, x, -1, gamma, beta, options, y, &moments);
}

/// The gradients of batch_norm_forward, from the moments that it left.
///
///   dx = gamma inv_std (dy - mean(dy) - xhat mean(dy xhat)),  grad_gamma = sum(dy xhat),  grad_beta = sum(dy)
///
/// Shapes       dy, dx: x's; gamma: [channels] or empty; grad_gamma, grad_beta: [channels], resized where
///              they can be.
/// Types        as batch_norm_forward.
/// Aliasing     dx may be dy.
/// Determinism  the same bits on every device and thread count.
/// Errors       std::invalid_argument when sizes differ, or when dx overlaps x, or dy otherwise.
/// Source       Ioffe, Szegedy 2015, section 3.
template <typename Device, typename X, typename Dy, typename Gamma, typename Dx, typename GradGamma,
          typename GradBeta>
void batch_norm_backward(const Device& device, const X& x, const Dy& dy, const Gamma& gamma,
                         const Moments<StatisticOf<ScalarOf<X>>>& moments, const BatchNormOptions& options,
                         Dx&& dx, GradGamma&& grad_gamma, GradBeta&& grad_beta) {
  Vector<StatisticOf<ScalarOf<X>>> workspace;
  internal::batch_norm_backward({"", "batch_norm_backward"}, device, x, dy, gamma, moments, options, dx,
                                &grad_gamma, &grad_beta, workspace);
}

/// Normalizes each channel of x with statistics that are given.
///
///   y = (x - running_mean) / sqrt(running_var + epsilon) * gamma + beta
///
/// Shapes       as batch_norm_forward; running_mean, running_var: [channels].
/// Types        as batch_norm_forward.
/// Aliasing     y may be x.
/// Determinism  the same bits on every device and thread count.
/// Errors       std::invalid_argument when sizes differ, or when y overlaps x otherwise.
/// Source       Ioffe, Szegedy 2015, algorithm 2.
template <typename Device, typename X, typename Gamma, typename Beta, typename Mean, typename Variance,
          typename Y>
void batch_norm_infer(const Device& device, const X& x, const Gamma& gamma, const Beta& beta,
                      const Mean& running_mean, const Variance& running_var, const BatchNormOptions& options,
                      Y&& y) {
  internal::batch_norm_infer({"", "batch_norm_infer"}, device, x, -1, gamma, beta, running_mean, running_var,
                             options, y);
}

/// Batch normalization with its parameters and running statistics.
///
///   y = (x - mean) / sqrt(variance + epsilon) * gamma + beta
///
/// forward takes mean and variance from the batch and moves the running statistics; infer takes the running
/// statistics, or the batch's own where the layer tracks none. A batch's own statistics take at least two values per
/// channel.
///
/// Shapes       x: any of rank 1 to 8 with `channels` on options.axis. Empty batches are legal and leave the running
///              statistics as they are.
/// Types        stored as Scalar, computed in float (half, bfloat16, float) or Scalar, statistics in double
///              or wider.
/// Aliasing     y may be x in forward and infer, dx may be dy in backward; any other overlap is an error.
/// Determinism  the same bits on every device and thread count.
/// Errors       std::invalid_argument, with both numbers, before anything is written.
/// Source       Ioffe, Szegedy 2015.
template <typename Scalar = float>
class BatchNorm : public Layer<BatchNorm<Scalar>, Scalar> {
  using Base = Layer<BatchNorm, Scalar>;
  friend Base;

 public:
  using typename Base::Param;

  /// For so many channels: gamma 1, beta 0, running mean 0 and variance 1.
  explicit BatchNorm(Index channels, BatchNormOptions options = {})
      : Base(caller("BatchNorm"), options.epsilon, check_positive(caller("BatchNorm"), "channels", channels),
             options.affine, options.affine),
        channels_(channels),
        options_(options),
        running_(options.track_running_stats ? channels : 0) {
    check_momentum(caller("BatchNorm"), options.momentum);
    this->moments_.keeps_variance = options.track_running_stats;
  }

  /// What the constructor was given.
  Index channels() const { return channels_; }
  const BatchNormOptions& options() const { return options_; }

  /// What infer takes and forward moves, one entry a channel; empty where the layer tracks none. May be assigned,
  /// to load what was trained elsewhere.
  Vector<Param>& running_mean() { return running_.mean; }
  Vector<Param>& running_var() { return running_.variance; }
  const Vector<Param>& running_mean() const { return running_.mean; }
  const Vector<Param>& running_var() const { return running_.variance; }

  /// Batches that moved the running statistics, and batches that a non-finite statistic kept from it. The first, which
  /// is the weight of what is loaded where momentum is nullopt, may be assigned with it.
  Index& num_batches_tracked() { return running_.tracked; }
  Index num_batches_tracked() const { return running_.tracked; }
  Index rejected_batches() const { return running_.rejected; }

 private:
  static constexpr Caller caller(std::string_view function) { return {"BatchNorm::", function}; }

  template <typename Device, typename X, typename Y>
  void do_forward(const Device& device, const X& x, Y& y) {
    const auto in = input_view(caller("forward"), "x", x);
    if (options_.track_running_stats) {
      check_size(caller("forward"), "running_mean", running_.mean.size(), channels_);
      check_size(caller("forward"), "running_var", running_.variance.size(), channels_);
      if (running_.tracked < 0) {
        fail(caller("forward"), {"num_batches_tracked is ", running_.tracked, ", must be at least 0"});
      }
    }
    internal::batch_norm_forward(caller("forward"), device, in, channels_, this->gamma_, this->beta_,
                                 options_, y, &this->moments_);
    this->remember(in.shape, in.layout);
    if (options_.track_running_stats && in.size() > 0) {
      running_.update(this->moments_, in.size() / channels_, options_.momentum);
    }
  }

  template <typename Device, typename X, typename Dy, typename Dx>
  void do_backward(const Device& device, const X& x, const Dy& dy, Dx& dx) {
    const auto in = input_view(caller("backward"), "x", x);
    this->check_backward(caller("backward"), in.shape, in.layout);
    internal::batch_norm_backward(caller("backward"), device, in, dy, this->gamma_, this->moments_, options_,
                                  dx, this->wanted_grad_gamma(), this->wanted_grad_beta(), this->workspace_);
  }

  template <typename Device, typename X, typename Y>
  void do_infer(const Device& device, const X& x, Y& y) const {
    if (options_.track_running_stats) {
      internal::batch_norm_infer(caller("infer"), device, x, channels_, this->gamma_, this->beta_,
                                 running_.mean, running_.variance, options_, y);
    } else {
      internal::batch_norm_forward(caller("infer"), device, x, channels_, this->gamma_, this->beta_, options_,
                                   y, static_cast<Moments<typename Base::Statistic>*>(nullptr));
    }
  }

  Index channels_;
  BatchNormOptions options_;
  RunningStatistics<Param> running_;
};

EVENKEEL_END
}  // namespace evenkeel
