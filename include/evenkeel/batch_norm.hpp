#pragma once

#include "evenkeel/base/config.hpp"
#if EVENKEEL_IS_SUPPORTED

#include <optional>
#include <utility>

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
  call_forward<Sets::channels, S>(caller, loops, a, p, {options.epsilon}, moments);
}

template <typename S>
void batch_norm_infer(const Caller& caller, const ParallelFor& loops, const ForwardArguments& a,
                      const InferenceArguments& given, Index expected, const BatchNormOptions& options) {
  const Partition p = batch_norm_partition(caller, a.x, expected, options, false);
  const Index channels = p.params();
  check_param(caller, given.mean, channels);
  check_param(caller, given.variance, channels);
  if (channels > 0 && (given.mean.size == 0 || given.variance.size == 0)) {
    fail(caller, {"running_mean and running_var have 0 values, expected ", channels});
  }
  call_infer<S>(caller, loops, a, given, p, {options.epsilon});
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
/// Errors       std::invalid_argument when sizes differ, when x is not what forward took, or when dx overlaps x, or dy
///              otherwise.
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
      caller, detail::ParallelFor(device, a.x.size), a, p, {}, moments, workspace);
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
///              x otherwise.
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
      {detail::param_argument<Param>(caller, "running_mean", running_mean),
       detail::param_argument<Param>(caller, "running_var", running_var)},
      -1, options);
}

/// Batch normalization with its parameters and running statistics.
///
///   y = (x - mean) / sqrt(variance + epsilon) * gamma + beta
///
/// forward takes mean and variance from the batch and moves the running statistics; infer takes the running
/// statistics, or the batch's own if the layer tracks none. A batch's own statistics need at least two values per
/// channel.
///
/// Running statistics are kept in the type of statistics, so that small steps are not lost. running_mean() and
/// running_var() are these numbers in the type of parameters.
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
  using typename Base::Statistic;

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

  /// What the constructor was given, but for the momentum, which may change.
  Index channels() const { return channels_; }
  const BatchNormOptions& options() const { return options_; }

  /// "BatchNorm(64, epsilon=1e-05, momentum=0.1, axis=1, affine=true, track_running_stats=true)", as << writes it.
  EVENKEEL_COLD std::string text() const {
    using detail::shown;
    const auto& o = options_;
    return detail::joined("BatchNorm(", {channels_, ", epsilon=", shown(o.epsilon),
                                         ", momentum=", o.momentum ? shown(*o.momentum) : "nullopt",
                                         ", axis=", o.axis, ", affine=", shown(o.affine),
                                         ", track_running_stats=", shown(o.track_running_stats), ")"});
  }

  /// The weight of the next batch in the running statistics; nullopt: the average of all batches.
  std::optional<double> momentum() const { return options_.momentum; }
  void momentum(std::optional<double> momentum) {
    detail::check_momentum({kScope, "momentum"}, momentum);
    options_.momentum = momentum;
  }

  /// The running statistics, one entry a channel: infer reads them, forward moves them. They are empty if the layer
  /// tracks none. Assign them to load what was trained elsewhere. infer refuses a variance that is negative or not
  /// finite.
  ///
  /// An assigned entry has the digits of Param and no more. So a layer that is saved and loaded through running_mean()
  /// lacks at most half a unit in the last place of the mean; y moves by at most that times inv_std. See
  /// set_running_stats.
  Vector<Param>& running_mean() { return running_.mean.values; }
  Vector<Param>& running_var() { return running_.variance.values; }
  const Vector<Param>& running_mean() const { return running_.mean.values; }
  const Vector<Param>& running_var() const { return running_.variance.values; }

  /// {name, value} of running_mean and running_var, if the layer tracks them.
  BufferRange<Param> buffers() { return buffers_of<Param>(*this); }
  BufferRange<const Param> buffers() const { return buffers_of<const Param>(*this); }

  /// The running statistics with all digits that the layer keeps: 48 bits where Param is float.
  Vector<Statistic> exact_running_mean() const { return running_.mean.all(); }
  Vector<Statistic> exact_running_var() const { return running_.variance.all(); }
  /// Loads them, one a channel. What exact_running_mean and exact_running_var gave comes back as it was.
  void set_running_stats(const Vector<Statistic>& mean, const Vector<Statistic>& variance) {
    const detail::Caller caller{kScope, "set_running_stats"};
    const Index expected = options_.track_running_stats ? channels_ : 0;
    detail::check_size(caller, "mean", mean.size(), expected);
    detail::check_size(caller, "variance", variance.size(), expected);
    check_running(caller);
    for (Index c = 0; c < expected; ++c) {
      running_.mean.set(c, mean[c]);
      running_.variance.set(c, variance[c]);
    }
  }

  /// How many batches moved the running statistics of some channel. It stays at the largest Index. If momentum is
  /// nullopt, this is the weight of loaded statistics: assign it with them.
  Index& num_batches_tracked() { return running_.tracked; }
  Index num_batches_tracked() const { return running_.tracked; }

  /// How many batches had a channel of which the mean or the variance was not finite in Param, and how many had this
  /// one. Such a batch does not move the running statistics of such a channel.
  Index rejected_batches() const { return running_.rejected; }
  Index rejected_batches(Index channel) const {
    const Index channels = running_.rejected_of.size();
    if (channel < 0 || channel >= channels) {
      detail::fail({kScope, "rejected_batches"},
                   {"channel is ", channel, ", must lie in [0, ", channels - 1, "]"});
    }
    return running_.rejected_of[channel];
  }

  /// Whether forward moves the running statistics. While it does not, they and the numbers of batches stay as they are,
  /// and forward still normalizes by the batch's statistics.
  bool updates_running_stats() const { return updates_; }
  void updates_running_stats(bool updates) { updates_ = updates; }
  /// Moves the running statistics by the batch of the last forward, which did not: so that a caller can look at
  /// saved_mean() before. Once for each forward.
  void update_running_stats() {
    const detail::Caller caller{kScope, "update_running_stats"};
    if (!options_.track_running_stats) detail::fail(caller, {"the layer tracks no running statistics"});
    if (left_ < 0 || this->moments_.size() != channels_)
      detail::fail(caller, {"no forward has left its update"});
    check_running(caller);
    move_running();
  }

 private:
  static constexpr const char* kScope = "BatchNorm::";
  static constexpr auto kSets = detail::Sets::channels;
  static constexpr detail::Caller constructor() { return {"BatchNorm::", "BatchNorm"}; }
  using Call = void (*)(const detail::Caller&, const detail::ParallelFor&, const detail::ForwardArguments&,
                        Index, const BatchNormOptions&, Moments<Statistic>*);

  template <typename P, typename Self>
  static BufferRange<P> buffers_of(Self& layer) {
    BufferRange<P> range;
    if (!layer.options_.track_running_stats) return range;
    layer.check_running({kScope, "buffers"});
    const auto add = [&](const char* name, auto& value) { range.add({name, {value.data(), value.size()}}); };
    add("running_mean", layer.running_mean());
    add("running_var", layer.running_var());
    return range;
  }

  void forward_call(const detail::Caller& caller, const detail::ParallelFor& loops,
                    const detail::ForwardArguments& a) {
    if (options_.track_running_stats) check_running(caller);
    detail::batch_norm_forward<Scalar>(caller, loops, a, channels_, options_, &this->moments_);
    this->remember(a.x);
    left_ = a.x.size / channels_;
    if (options_.track_running_stats && updates_) move_running();
  }

  void backward_call(const detail::Caller& caller, const detail::ParallelFor& loops,
                     const detail::BackwardArguments& a) {
    this->check_x(caller, a.x);
    const auto p = detail::batch_norm_partition(caller, a.x, -1, options_, false);
    detail::call_backward<detail::Sets::channels, Scalar>(caller, loops, a, p, {}, this->moments_,
                                                          this->workspace_);
  }

  void infer_call(const detail::Caller& caller, const detail::ParallelFor& loops,
                  const detail::ForwardArguments& a) const {
    if (infer_by_batch_ != nullptr) return infer_by_batch_(caller, loops, a, channels_, options_, nullptr);
    const auto given = given_statistics();
    detail::batch_norm_infer<Scalar>(
        caller, loops, a,
        {detail::param_argument<Param>(caller, "running_mean", running_mean()),
         detail::param_argument<Param>(caller, "running_var", running_var()), given.high, given.low},
        channels_, options_);
  }

  template <typename X, typename Y>
  bool infer_few(const X& x, Y& y) const {
    const detail::FewRows<Scalar> rows = detail::few_rows<Scalar>(x, y, options_.axis, channels_);
    return infer_by_batch_ == nullptr && rows.fit(running_mean(), rows.n) &&
           rows.fit(running_var(), rows.n) && this->params_fit(rows) &&
           detail::Core<Scalar>::infer_few_rows(rows, options_.epsilon, given_statistics(),
                                                detail::data_of(this->gamma_), detail::data_of(this->beta_));
  }

  /// What inference is given. A layer that was moved from may have lost the digits that it kept.
  detail::GivenStatistics<Param> given_statistics() const {
    const auto& mean = running_.mean;
    return {mean.values.data(), running_.variance.values.data(),
            mean.high.size() == channels_ ? mean.high.data() : nullptr, mean.low.data()};
  }

  /// Checks what callers may assign, and that the layer was not moved from.
  EVENKEEL_OUTLINE_MEMBER void check_running(const detail::Caller& caller) const {
    detail::check_size(caller, "running_mean", running_mean().size(), channels_);
    detail::check_size(caller, "running_var", running_var().size(), channels_);
    if (running_.tracked < 0) {
      detail::fail(caller, {"num_batches_tracked is ", running_.tracked, ", must be at least 0"});
    }
    if (running_.rejected_of.size() != channels_) detail::fail(caller, {"the layer was moved from"});
  }

  void move_running() {
    const Index n = std::exchange(left_, -1);
    if (n > 0) running_.update(this->moments_, n, options_.momentum);
  }

  Index channels_;
  BatchNormOptions options_;
  detail::RunningStatistics<Param, Statistic> running_;
  bool updates_ = true;
  Index left_ = -1;  // values a channel of a batch that may still move the running statistics; -1: none
  Call infer_by_batch_ =
      nullptr;  // where nothing is tracked; a pointer, so that inference alone compiles no training
};

EVENKEEL_END
}  // namespace evenkeel

#endif  // EVENKEEL_IS_SUPPORTED
