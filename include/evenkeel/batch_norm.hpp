#pragma once

#include "evenkeel/base/config.hpp"
#if EVENKEEL_IS_SUPPORTED

#include <optional>

#include "evenkeel/core/layer.hpp"
#include "evenkeel/core/running_statistics.hpp"

namespace evenkeel {
EVENKEEL_BEGIN

/// Options of BatchNorm. batch_norm_forward, _backward and _infer read epsilon and axis alone.
struct BatchNormOptions {
  double epsilon = 1e-5;                 // added to the variance, under the root
  std::optional<double> momentum = 0.1;  // the weight of the new batch; nullopt: the average of all batches
  Index axis = 1;                        // of the channels; negative counts from the last
  bool affine = true;                    // has gamma and beta
  bool track_running_stats = true;       // false: infer takes the batch's own statistics, as forward does
};

EVENKEEL_END
}  // namespace evenkeel

namespace evenkeel::detail {
EVENKEEL_BEGIN

/// The partition of x by channels. expected < 0 allows any number of them. If the call takes x's own statistics, a
/// channel needs two values.
EVENKEEL_OUTLINE Partition batch_norm_partition(const Caller& caller, const Argument& x, Index expected,
                                                const BatchNormOptions& options, bool takes_statistics) {
  check_epsilon(caller, options.epsilon);
  const int axis = resolve_axis(caller, "axis", options.axis, x.shape);
  if (expected >= 0) check_extent(caller, x.shape, axis, "channel", expected);
  if (takes_statistics && x.shape[axis] > 0 && x.size == x.shape[axis]) {
    fail(caller, {"x has 1 value per channel in ", shown(x.shape), ", its own statistics need at least 2"});
  }
  const MemoryShape shape(x.shape, x.layout);
  return partition_channels(shape, shape.axis(axis));
}

template <typename S>
void batch_norm_forward(const Caller& caller, const ParallelFor& loops, const ForwardArguments& a,
                        Index channels, const BatchNormOptions& options, Moments<StatisticOf<S>>* moments) {
  const Partition p = batch_norm_partition(caller, a.x, channels, options, true);
  call_forward<Sets::channels, S>(caller, loops, a, p, options.epsilon, moments);
}

template <typename S>
void batch_norm_infer(const Caller& caller, const ParallelFor& loops, const ForwardArguments& a,
                      const Memory& mean, const Memory& variance, Index expected,
                      const BatchNormOptions& options) {
  const Partition p = batch_norm_partition(caller, a.x, expected, options, false);
  const Index channels = p.params();
  check_param(caller, mean, channels);
  check_param(caller, variance, channels);
  if (channels > 0 && (mean.size == 0 || variance.size == 0)) {
    fail(caller, {"running_mean and running_var have 0 values, expected ", channels});
  }
  call_infer<S>(caller, loops, a, mean, variance, p, options.epsilon);
}

EVENKEEL_END
}  // namespace evenkeel::detail

namespace evenkeel {
EVENKEEL_BEGIN

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
                        const BatchNormOptions& options, Y&& y,
                        Moments<StatisticOf<detail::ScalarOf<X>>>& moments) {
  const detail::Caller caller{"", "batch_norm_forward"};
  const auto a = detail::forward_arguments(caller, x, gamma, beta, y);
  detail::batch_norm_forward<detail::ScalarOf<X>>(caller, detail::ParallelFor(device, a.x.size), a, -1,
                                                  options, &moments);
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
                         const Moments<StatisticOf<detail::ScalarOf<X>>>& moments,
                         const BatchNormOptions& options, Dx&& dx, GradGamma&& grad_gamma,
                         GradBeta&& grad_beta) {
  const detail::Caller caller{"", "batch_norm_backward"};
  const auto a = detail::backward_arguments(caller, x, dy, gamma, dx, &grad_gamma, &grad_beta);
  const auto p = detail::batch_norm_partition(caller, a.x, -1, options, false);
  Vector<StatisticOf<detail::ScalarOf<X>>> workspace;
  detail::call_backward<detail::Sets::channels, detail::ScalarOf<X>>(
      caller, detail::ParallelFor(device, a.x.size), a, p, moments, workspace);
}

/// Normalizes each channel of x with given statistics.
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
  using Param = ParamOf<detail::ScalarOf<X>>;
  const detail::Caller caller{"", "batch_norm_infer"};
  const auto a = detail::forward_arguments(caller, x, gamma, beta, y);
  detail::batch_norm_infer<detail::ScalarOf<X>>(
      caller, detail::ParallelFor(device, a.x.size), a,
      detail::param_argument<Param>(caller, "running_mean", running_mean),
      detail::param_argument<Param>(caller, "running_var", running_var), -1, options);
}

/// Batch normalization with its parameters and running statistics.
///
///   y = (x - mean) / sqrt(variance + epsilon) * gamma + beta
///
/// forward takes mean and variance from the batch and moves the running statistics; infer takes the running
/// statistics, or the batch's own if the layer tracks none. A batch's own statistics need at least two values per
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
      : Base(constructor(), options.epsilon, detail::check_positive(constructor(), "channels", channels),
             options.affine, options.affine),
        channels_(channels),
        options_(options),
        running_(options.track_running_stats ? channels : 0) {
    detail::check_momentum(constructor(), options.momentum);
    this->moments_.keeps_variance = options.track_running_stats;
    if (!options.track_running_stats) infer_by_batch_ = detail::batch_norm_forward<Scalar>;
  }

  /// What the constructor was given.
  Index channels() const { return channels_; }
  const BatchNormOptions& options() const { return options_; }

  /// The running statistics, one entry a channel: infer reads them, forward moves them. They are empty if the layer
  /// tracks none. Assign them to load what was trained elsewhere.
  Vector<Param>& running_mean() { return running_.mean; }
  Vector<Param>& running_var() { return running_.variance; }
  const Vector<Param>& running_mean() const { return running_.mean; }
  const Vector<Param>& running_var() const { return running_.variance; }

  /// How many batches moved the running statistics, and how many were rejected for a statistic that is not finite. If
  /// momentum is nullopt, the first is the weight of loaded statistics: assign it with them.
  Index& num_batches_tracked() { return running_.tracked; }
  Index num_batches_tracked() const { return running_.tracked; }
  Index rejected_batches() const { return running_.rejected; }

 private:
  static constexpr const char* kScope = "BatchNorm::";
  static constexpr detail::Caller constructor() { return {"BatchNorm::", "BatchNorm"}; }
  using Call = void (*)(const detail::Caller&, const detail::ParallelFor&, const detail::ForwardArguments&,
                        Index, const BatchNormOptions&, Moments<typename Base::Statistic>*);

  void forward_call(const detail::Caller& caller, const detail::ParallelFor& loops,
                    const detail::ForwardArguments& a) {
    if (options_.track_running_stats) {
      detail::check_size(caller, "running_mean", running_.mean.size(), channels_);
      detail::check_size(caller, "running_var", running_.variance.size(), channels_);
      if (running_.tracked < 0) {
        detail::fail(caller, {"num_batches_tracked is ", running_.tracked, ", must be at least 0"});
      }
    }
    detail::batch_norm_forward<Scalar>(caller, loops, a, channels_, options_, &this->moments_);
    this->remember(a.x);
    if (options_.track_running_stats && a.x.size > 0) {
      running_.update(this->moments_, a.x.size / channels_, options_.momentum);
    }
  }

  void backward_call(const detail::Caller& caller, const detail::ParallelFor& loops,
                     const detail::BackwardArguments& a) {
    this->check_x(caller, a.x);
    const auto p = detail::batch_norm_partition(caller, a.x, -1, options_, false);
    detail::call_backward<detail::Sets::channels, Scalar>(caller, loops, a, p, this->moments_,
                                                          this->workspace_);
  }

  void infer_call(const detail::Caller& caller, const detail::ParallelFor& loops,
                  const detail::ForwardArguments& a) const {
    if (infer_by_batch_ != nullptr) return infer_by_batch_(caller, loops, a, channels_, options_, nullptr);
    detail::batch_norm_infer<Scalar>(
        caller, loops, a, detail::param_argument<Param>(caller, "running_mean", running_.mean),
        detail::param_argument<Param>(caller, "running_var", running_.variance), channels_, options_);
  }

  template <typename X, typename Y>
  bool infer_few(const X& x, Y& y) const {
    const detail::FewRows<Scalar> rows = detail::few_rows<Scalar>(x, y, options_.axis, channels_);
    if (infer_by_batch_ != nullptr || !rows.fit(running_.mean) || !rows.fit(running_.variance) ||
        !rows.fit_or_none(this->gamma_) || !rows.fit_or_none(this->beta_)) {
      return false;
    }
    detail::Core<Scalar>::infer_few_rows(rows, options_.epsilon, running_.mean.data(),
                                         running_.variance.data(), detail::data_of(this->gamma_),
                                         detail::data_of(this->beta_));
    return true;
  }

  Index channels_;
  BatchNormOptions options_;
  detail::RunningStatistics<Param> running_;
  Call infer_by_batch_ =
      nullptr;  // where nothing is tracked; a pointer, so that inference alone compiles no training
};

EVENKEEL_END
}  // namespace evenkeel

#endif  // EVENKEEL_IS_SUPPORTED
