// SPDX-License-Identifier: MIT
#pragma once

#include "evenkeel/base/config.hpp"
#if EVENKEEL_IS_SUPPORTED

#include <optional>

#include "evenkeel/core/tracking_layer.hpp"

namespace evenkeel {
EVENKEEL_BEGIN

/// Options of BatchNorm. The free functions read only epsilon, axis and gamma_offset.
struct BatchNormOptions {
  double epsilon = 1e-5;                 // added to the variance before the square root
  std::optional<double> momentum = 0.1;  // the weight of the new batch; nullopt: the average of all batches
  Index axis = 1;                        // axis of the channels; negative counts from the last
  bool affine = true;                    // whether the layer has gamma and beta
  bool track_running_stats = true;       // false: infer computes the statistics of its x, as forward does
  bool unbiased_running_var = true;      // true: running_var averages variances with divisor n - 1; false: n
  double gamma_offset = 0;               // added to gamma; 1 if the stored numbers are gamma - 1
};

EVENKEEL_END
}  // namespace evenkeel

namespace evenkeel::detail {
EVENKEEL_BEGIN

template <typename S>
void batch_norm_forward(const Caller& caller, const ParallelFor& loops, const ForwardArguments& a,
                        Index channels, const BatchNormOptions& options, Moments<StatisticOf<S>>* moments) {
  const ChannelAxis axis = channel_axis(options, channels);
  const Partition p = Core<S>::partition(caller, a.x, a.strides(), axis);
  check_two_values(caller, a.x, p, "channel");
  call_forward<Sets::channels, S>(caller, loops, a, p, axis.formula, moments);
}

template <typename S>
void batch_norm_backward(const Caller& caller, const ParallelFor& loops, const BackwardArguments& a,
                         const BatchNormOptions& options, const Moments<StatisticOf<S>>& moments,
                         Vector<StatisticOf<S>>& workspace) {
  const ChannelAxis axis = channel_axis(options);
  const Partition p = Core<S>::partition(caller, a.x, a.strides(), axis);
  call_backward<Sets::channels, S>(caller, loops, a, p, axis.formula, moments, workspace);
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
///              none; moments: one entry per channel.
/// Types        stored as Scalar; computed in float for half, bfloat16 and float, else in Scalar; statistics in
///              double or a wider type.
/// Aliasing     y may be x.
/// Determinism  the same bits on every device and thread count.
/// Errors       std::invalid_argument when sizes differ, when a channel has one value, or when y overlaps x
///              without being x.
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

/// The gradients of batch_norm_forward, from the moments that it saved.
///
///   dx = gamma inv_std (dy - mean(dy) - xhat mean(dy xhat)),  grad_gamma = sum(dy xhat),  grad_beta = sum(dy)
///
/// Shapes       dy, dx: x's; gamma: [channels] or empty; grad_gamma, grad_beta: [channels], resized if
///              they own their memory.
/// Types        as batch_norm_forward.
/// Aliasing     dx may be dy.
/// Determinism  the same bits on every device and thread count.
/// Errors       std::invalid_argument when sizes differ, when x differs from forward's x, when dx overlaps x, or when dx
///              overlaps dy without being dy.
/// Source       Ioffe, Szegedy 2015, section 3.
template <typename Device, typename X, typename Dy, typename Gamma, typename Dx, typename GradGamma,
          typename GradBeta>
void batch_norm_backward(const Device& device, const X& x, const Dy& dy, const Gamma& gamma,
                         const Moments<StatisticOf<detail::ScalarOf<X>>>& moments,
                         const BatchNormOptions& options, Dx&& dx, GradGamma&& grad_gamma,
                         GradBeta&& grad_beta) {
  const detail::Caller caller{"", "batch_norm_backward"};
  const auto a = detail::backward_arguments(caller, x, dy, gamma, dx, &grad_gamma, &grad_beta);
  Vector<StatisticOf<detail::ScalarOf<X>>> workspace;
  detail::batch_norm_backward<detail::ScalarOf<X>>(caller, detail::ParallelFor(device, a.x.size), a, options,
                                                   moments, workspace);
}

/// Normalizes each channel of x with given statistics.
///
///   y = (x - running_mean) / sqrt(running_var + epsilon) * gamma + beta
///
/// Shapes       as batch_norm_forward; running_mean, running_var: [channels].
/// Types        as batch_norm_forward.
/// Aliasing     y may be x.
/// Determinism  the same bits on every device and thread count.
/// Errors       std::invalid_argument when sizes differ, when a variance is negative or not finite, or when y overlaps
///              x without being x.
/// Source       Ioffe, Szegedy 2015, algorithm 2.
template <typename Device, typename X, typename Gamma, typename Beta, typename Mean, typename Variance,
          typename Y>
void batch_norm_infer(const Device& device, const X& x, const Gamma& gamma, const Beta& beta,
                      const Mean& running_mean, const Variance& running_var, const BatchNormOptions& options,
                      Y&& y) {
  using Param = ParamOf<detail::ScalarOf<X>>;
  const detail::Caller caller{"", "batch_norm_infer"};
  const auto a = detail::forward_arguments(caller, x, gamma, beta, y);
  detail::infer_channels<detail::ScalarOf<X>>(
      caller, detail::ParallelFor(device, a.x.size), a,
      {detail::param_argument<Param>(caller, "running_mean", running_mean),
       detail::param_argument<Param>(caller, "running_var", running_var)},
      detail::channel_axis(options));
}

/// The gradients of batch_norm_infer, whose statistics are constants.
///
///   dx = dy gamma inv_std,  grad_gamma = sum(dy (x - running_mean) inv_std),  grad_beta = sum(dy)
///
/// Shapes       dy, dx: x's; the others as batch_norm_infer and batch_norm_backward.
/// Types        as batch_norm_forward.
/// Aliasing     dx may be dy.
/// Determinism  the same bits on every device and thread count; an element of dx has the same bits in any batch.
/// Errors       std::invalid_argument when sizes differ, when a variance is negative or not finite, when dx overlaps x,
///              when dx overlaps dy without being dy, or when an output overlaps another argument.
/// Source       Ioffe, Szegedy 2015, algorithm 2, differentiated.
template <typename Device, typename X, typename Dy, typename Gamma, typename Mean, typename Variance,
          typename Dx, typename GradGamma, typename GradBeta>
void batch_norm_infer_backward(const Device& device, const X& x, const Dy& dy, const Gamma& gamma,
                               const Mean& running_mean, const Variance& running_var,
                               const BatchNormOptions& options, Dx&& dx, GradGamma&& grad_gamma,
                               GradBeta&& grad_beta) {
  using Param = ParamOf<detail::ScalarOf<X>>;
  const detail::Caller caller{"", "batch_norm_infer_backward"};
  const auto a = detail::backward_arguments(caller, x, dy, gamma, dx, &grad_gamma, &grad_beta);
  Vector<StatisticOf<detail::ScalarOf<X>>> workspace;
  detail::differentiate_inference<detail::ScalarOf<X>>(
      caller, detail::ParallelFor(device, a.x.size), a,
      {detail::param_argument<Param>(caller, "running_mean", running_mean),
       detail::param_argument<Param>(caller, "running_var", running_var)},
      detail::channel_axis(options), workspace);
}

/// Batch normalization with its parameters and running statistics.
///
///   y = (x - mean) / sqrt(variance + epsilon) * gamma + beta
///
/// forward computes mean and variance of the batch and updates the running statistics. infer uses the running
/// statistics. If the layer tracks none, infer computes the statistics of its x. Statistics of a batch need at least
/// two values per channel.
///
/// Running statistics have more digits than Param, so that small steps are not lost: 48 bits where Param is float.
/// running_mean() and running_var() are these numbers rounded to Param.
///
/// Shapes       x: any of rank 1 to 8 with `channels` on options.axis. Empty batches are legal and leave the running
///              statistics as they are.
/// Types        stored as Scalar; computed in float for half, bfloat16 and float, else in Scalar; statistics in
///              double or a wider type.
/// Aliasing     y may be x in forward and infer, dx may be dy in backward; any other overlap is an error.
/// Determinism  the same bits on every device and thread count.
/// Errors       std::invalid_argument, with both numbers, before anything is written.
/// Source       Ioffe, Szegedy 2015.
template <typename Scalar = float>
class BatchNorm : public TrackingLayer<BatchNorm<Scalar>, Scalar, BatchNormOptions> {
  using Base = TrackingLayer<BatchNorm, Scalar, BatchNormOptions>;
  using typename Base::S;
  friend Base;
  friend Layer<BatchNorm, Scalar>;

 public:
  using typename Base::Statistic;

  /// Creates a layer for this number of channels, with gamma 1, beta 0, running mean 0 and running variance 1.
  explicit BatchNorm(Index channels, BatchNormOptions options = {})
      : Base({"BatchNorm::", "BatchNorm"}, channels, options) {
    if (!options.track_running_stats) infer_by_batch_ = detail::batch_norm_forward<S>;
  }

  /// "BatchNorm(64, epsilon=1e-05, momentum=0.1, axis=1, affine=true, track_running_stats=true,
  /// unbiased_running_var=true, gamma_offset=0)", as << writes it.
  EVENKEEL_COLD std::string text() const {
    using detail::shown;
    const BatchNormOptions& o = this->options();
    return detail::joined(
        "BatchNorm(", {this->channels(), ", epsilon=", shown(o.epsilon),
                       ", momentum=", o.momentum ? shown(*o.momentum) : "nullopt", ", axis=", o.axis,
                       ", affine=", shown(o.affine), ", track_running_stats=", shown(o.track_running_stats),
                       ", unbiased_running_var=", shown(o.unbiased_running_var),
                       ", gamma_offset=", shown(o.gamma_offset), ")"});
  }

 private:
  static constexpr const char* kScope = "BatchNorm::";
  static constexpr auto kSets = detail::Sets::channels;
  using Call = void (*)(const detail::Caller&, const detail::ParallelFor&, const detail::ForwardArguments&,
                        Index, const BatchNormOptions&, Moments<Statistic>*);

  static constexpr Call kForward = detail::batch_norm_forward<S>;

  void backward_call(const detail::Caller& caller, const detail::ParallelFor& loops,
                     const detail::BackwardArguments& a) {
    this->check_x(caller, a.x);
    detail::batch_norm_backward<S>(caller, loops, a, this->options_, this->moments_, this->workspace_);
  }

  void infer_call(const detail::Caller& caller, const detail::ParallelFor& loops,
                  const detail::ForwardArguments& a) const {
    if (infer_by_batch_ == nullptr) return this->infer_by_running_stats(caller, loops, a);
    infer_by_batch_(caller, loops, a, this->channels_, this->options_, nullptr);
  }

  template <typename X, typename Y>
  bool infer_few(const X& x, Y& y) const {
    const detail::FewRows<S> rows = detail::few_rows<S>(x, y, this->options_.axis, this->channels_);
    return infer_by_batch_ == nullptr && this->options_.gamma_offset == 0 &&
           rows.fit(this->running_mean(), rows.n) && rows.fit(this->running_var(), rows.n) &&
           this->params_fit(rows) &&
           detail::Core<S>::infer_few_rows(rows, this->options_.epsilon, this->given_statistics(),
                                           detail::data_of(this->gamma_), detail::data_of(this->beta_));
  }

  Call infer_by_batch_ =
      nullptr;  // where nothing is tracked; a pointer, so that inference alone compiles no training
};

EVENKEEL_END
}  // namespace evenkeel

#endif  // EVENKEEL_IS_SUPPORTED
