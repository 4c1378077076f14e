// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <utility>

#include "evenkeel/core/channels.hpp"
#include "evenkeel/core/layer.hpp"
#include "evenkeel/core/running_statistics.hpp"

namespace evenkeel {
EVENKEEL_BEGIN

/// The base of layers with running statistics: the statistics, their update in forward, and calls that do not update them.
///
/// Options has epsilon, momentum, axis, affine, track_running_stats, unbiased_running_var and gamma_offset. Derived has
/// what Layer needs, except forward_call. It also has kForward, which normalizes with the statistics of x.
template <typename Derived, typename Scalar_, typename Options>
class TrackingLayer : public Layer<Derived, Scalar_> {
  using Base = Layer<Derived, Scalar_>;

 public:
  using typename Base::Param;
  using typename Base::Scalar;
  using typename Base::Statistic;

  /// The arguments of the constructor. The momentum in them may have been changed.
  Index channels() const { return channels_; }
  const Options& options() const { return options_; }

  /// The weight of the next batch in the running statistics; nullopt: the average of all batches.
  std::optional<double> momentum() const { return options_.momentum; }
  void momentum(std::optional<double> momentum) {
    detail::check_momentum({Derived::kScope, "momentum"}, momentum);
    options_.momentum = momentum;
  }

  /// The running statistics, one entry per channel: infer reads them, and forward updates them. They are empty if the layer
  /// tracks none. Assign them to load a trained model. infer refuses a variance that is negative or not finite.
  ///
  /// An assigned entry has only the digits of Param. So if you save and load only running_mean(), the mean changes by at most
  /// half a unit in the last place, and y by at most that times inv_std. set_running_stats avoids this.
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
  /// Sets both, one entry per channel. Values from exact_running_mean and exact_running_var are restored exactly.
  void set_running_stats(const Vector<Statistic>& mean, const Vector<Statistic>& variance) {
    const detail::Caller caller{Derived::kScope, "set_running_stats"};
    const Index expected = options_.track_running_stats ? channels_ : 0;
    detail::check_size(caller, "mean", mean.size(), expected);
    detail::check_size(caller, "variance", variance.size(), expected);
    check_running(caller);
    for (Index c = 0; c < expected; ++c) {
      running_.mean.set(c, mean[c]);
      running_.variance.set(c, variance[c]);
      running_.skipped_of[c] = 0;  // all channels weigh the same in an average
    }
  }

  /// The number of batches that updated the running statistics of at least one channel. It stays at the largest Index. If
  /// momentum is nullopt, it is the weight of the running statistics in the average: assign it when you load them.
  Index& num_batches_tracked() { return running_.tracked; }
  Index num_batches_tracked() const { return running_.tracked; }

  /// The number of batches in which the mean or the variance of some channel, or of this channel, was not finite in Param.
  /// Such a batch does not update the running statistics of such a channel.
  Index rejected_batches() const { return running_.rejected; }
  Index rejected_batches(Index channel) const {
    const Index channels = running_.rejected_of.size();
    if (channel < 0 || channel >= channels) {
      detail::fail({Derived::kScope, "rejected_batches"},
                   {"channel is ", channel, ", must lie in [0, ", channels - 1, "]"});
    }
    return running_.rejected_of[channel];
  }

  /// Whether forward updates the running statistics and the numbers of batches; true by default. If false, forward still
  /// normalizes with the statistics of the batch.
  bool updates_running_stats() const { return updates_; }
  void updates_running_stats(bool updates) { updates_ = updates; }
  /// Updates the running statistics with the batch of the last forward, if updates_running_stats() was false then. So the
  /// caller can look at saved_mean() first. It may be called once for each forward.
  void update_running_stats() {
    const detail::Caller caller{Derived::kScope, "update_running_stats"};
    if (!options_.track_running_stats) detail::fail(caller, {"the layer tracks no running statistics"});
    if (left_ < 0 || (left_ > 0 && this->moments_.size() == 0))
      detail::fail(caller, {"no forward has left its update"});
    check_running(caller);
    move_running();
  }

  /// Runs forward again on the same x, as a preparation of backward (gradient checkpointing). It saves the statistics of x
  /// for backward, but does not update the running statistics and the numbers of batches. Devices, results and fused
  /// operations are as in forward.
  template <typename X, typename Y, typename... Fused,
            std::enable_if_t<!detail::IsDevice<X>::value && Base::template are_fused<Y, Fused...>(), int> = 0>
  void recompute(const X& x, Y&& y, const Fused&... fused) {
    run_recompute(Eigen::DefaultDevice(), x, y, fused...);
  }
  template <
      typename Device, typename X, typename Y, typename... Fused,
      std::enable_if_t<detail::IsDevice<Device>::value && Base::template are_fused<Y, Fused...>(), int> = 0>
  void recompute(const Device& device, const X& x, Y&& y, const Fused&... fused) {
    run_recompute(device, x, y, fused...);
  }
  template <typename X, typename... Fused,
            std::enable_if_t<!detail::IsDevice<X>::value && Base::template are_fused<X, Fused...>(), int> = 0>
  auto recompute(const X& x, const Fused&... fused) {
    return recompute(Eigen::DefaultDevice(), x, fused...);
  }
  template <
      typename Device, typename X, typename... Fused,
      std::enable_if_t<detail::IsDevice<Device>::value && Base::template are_fused<X, Fused...>(), int> = 0>
  auto recompute(const Device& device, const X& x, const Fused&... fused) {
    typename Base::template OwningOf<X> y;
    run_recompute(device, x, y, fused...);
    return y;
  }

  /// Computes the gradients of infer, where statistics are constants, for example for a frozen layer:
  ///
  ///   dx = dy gamma inv_std,  grad_gamma = sum(dy (x - running_mean) inv_std),  grad_beta = sum(dy)
  ///
  /// It needs no call before it, and does not change the statistics that forward saved. dx may be dy. Overwrites grad_gamma()
  /// and grad_beta(). Devices and results are as in backward. If infer fused an operation, pass the same one.
  template <
      typename X, typename Dy, typename Dx, typename... Fused,
      std::enable_if_t<!detail::IsDevice<X>::value && Base::template are_fused<Dx, Fused...>(), int> = 0>
  void infer_backward(const X& x, const Dy& dy, Dx&& dx, const Fused&... fused) {
    run_infer_backward(Eigen::DefaultDevice(), x, dy, dx, fused...);
  }
  template <
      typename Device, typename X, typename Dy, typename Dx, typename... Fused,
      std::enable_if_t<detail::IsDevice<Device>::value && Base::template are_fused<Dx, Fused...>(), int> = 0>
  void infer_backward(const Device& device, const X& x, const Dy& dy, Dx&& dx, const Fused&... fused) {
    run_infer_backward(device, x, dy, dx, fused...);
  }
  template <
      typename X, typename Dy, typename... Fused,
      std::enable_if_t<!detail::IsDevice<X>::value && Base::template are_fused<Dy, Fused...>(), int> = 0>
  auto infer_backward(const X& x, const Dy& dy, const Fused&... fused) {
    return infer_backward(Eigen::DefaultDevice(), x, dy, fused...);
  }
  template <
      typename Device, typename X, typename Dy, typename... Fused,
      std::enable_if_t<detail::IsDevice<Device>::value && Base::template are_fused<Dy, Fused...>(), int> = 0>
  auto infer_backward(const Device& device, const X& x, const Dy& dy, const Fused&... fused) {
    typename Base::template OwningOf<X> dx;
    run_infer_backward(device, x, dy, dx, fused...);
    return dx;
  }

 protected:
  using typename Base::S;

  TrackingLayer(const detail::Caller& caller, Index channels, const Options& options)
      : Base(caller, options.epsilon, options.gamma_offset,
             detail::check_positive(caller, "channels", channels), options.affine, options.affine),
        channels_(channels),
        options_(options),
        running_(options.track_running_stats ? channels : 0) {
    detail::check_momentum(caller, options.momentum);
    this->moments_.keeps_variance = options.track_running_stats;
  }

  void forward_call(const detail::Caller& caller, const detail::ParallelFor& loops,
                    const detail::ForwardArguments& a) {
    if (options_.track_running_stats) check_running(caller);
    normalize(caller, loops, a);
    const Index sets = this->moments_.size();
    left_ = sets == 0 ? 0 : a.x.size / sets;
    if (options_.track_running_stats && updates_) move_running();
  }

  void infer_by_running_stats(const detail::Caller& caller, const detail::ParallelFor& loops,
                              const detail::ForwardArguments& a) const {
    detail::infer_channels<S>(caller, loops, a, inference_arguments(caller),
                              detail::channel_axis(options_, channels_));
  }

  /// What inference is given. A layer that was moved from may have lost the digits that it kept.
  detail::GivenStatistics<Param> given_statistics() const {
    const auto& mean = running_.mean;
    return {mean.values.data(), running_.variance.values.data(),
            mean.high.size() == channels_ ? mean.high.data() : nullptr, mean.low.data()};
  }

  Index channels_;
  Options options_;
  detail::RunningStatistics<Param, Statistic> running_;

 private:
  template <typename P, typename Self>
  static BufferRange<P> buffers_of(Self& layer) {
    BufferRange<P> range;
    if (!layer.options_.track_running_stats) return range;
    layer.check_running({Derived::kScope, "buffers"});
    const auto add = [&](const char* name, auto& value) { range.add({name, {value.data(), value.size()}}); };
    add("running_mean", layer.running_mean());
    add("running_var", layer.running_var());
    return range;
  }

  void normalize(const detail::Caller& caller, const detail::ParallelFor& loops,
                 const detail::ForwardArguments& a) {
    Derived::kForward(caller, loops, a, channels_, options_, &this->moments_);
    this->remember(a.x);
  }

  template <typename Device, typename X, typename Y, typename... Fused>
  void run_recompute(const Device& device, const X& x, Y& y, const Fused&... fused) {
    Base::template require_scalar<X>();
    const detail::Caller caller{Derived::kScope, "recompute"};
    this->check_params(caller);
    auto a = detail::forward_arguments(caller, x, this->gamma_, this->beta_, y);
    const auto what_is_fused = detail::fused_arguments<Derived::kSets, S, false>(caller, fused...);
    detail::attach(what_is_fused, a);
    normalize(caller, detail::ParallelFor(device, a.x.size), a);
    left_ = -1;
  }
  template <typename Device, typename X, typename Dy, typename Dx, typename... Fused>
  void run_infer_backward(const Device& device, const X& x, const Dy& dy, Dx& dx, const Fused&... fused) {
    Base::template require_scalar<X>();
    const detail::Caller caller{Derived::kScope, "infer_backward"};
    this->check_params(caller);
    if (!options_.track_running_stats) {
      detail::fail(caller, {"the layer tracks no running statistics; call recompute, then backward"});
    }
    auto a = this->backward_arguments(caller, x, dy, dx);
    a.beta = detail::param_argument<Param>(caller, "beta", this->beta_);
    const auto what_is_fused =
        detail::fused_arguments<detail::Sets::channels, S, false>(caller, fused...);  // what infer needs
    detail::attach(what_is_fused, a);
    detail::differentiate_inference<S>(caller, detail::ParallelFor(device, a.x.size), a,
                                       inference_arguments(caller), detail::channel_axis(options_, channels_),
                                       this->workspace_);
  }

  detail::InferenceArguments inference_arguments(const detail::Caller& caller) const {
    const auto given = given_statistics();
    return {detail::param_argument<Param>(caller, "running_mean", running_mean()),
            detail::param_argument<Param>(caller, "running_var", running_var()), given.high, given.low};
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
    if (n > 0) running_.update(this->moments_, n, options_.momentum, options_.unbiased_running_var);
  }

  bool updates_ = true;
  Index left_ = -1;  // values a set of a batch that may still move the running statistics; -1: none
};

EVENKEEL_END
}  // namespace evenkeel
