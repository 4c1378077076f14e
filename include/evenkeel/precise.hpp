// SPDX-License-Identifier: MIT
#pragma once

#include "evenkeel/base/config.hpp"
#if EVENKEEL_IS_SUPPORTED

#include <vector>

#include "evenkeel/batch_norm.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN

/// Merges the moments of x into those of each channel. epsilon is 0, so that no variance is too small to be computed.
template <typename S>
EVENKEEL_OUTLINE void merge_batch(const Caller& caller, const ParallelFor& loops, const Argument& x,
                                  Index axis, Moments<StatisticOf<S>>& room,
                                  std::vector<BlockMoments<StatisticOf<S>>>& all) {
  using T = StatisticOf<S>;
  const Partition p = Core<S>::partition(caller, x, x.strides(), ChannelAxis{{}, axis, room.size()});
  if (x.size == 0) return;
  Pass<S> pass;
  pass.x = static_cast<const S*>(x.data);
  pass.moments = room.places();
  Core<S>::template normalize<Sets::channels>(p, pass, loops);
  const T n = from_count<T>(p.set_size());
  for (Index c = 0; c < room.size(); ++c) {
    all[static_cast<std::size_t>(c)].merge({n, room.mean[c], room.mean_low[c], T(room.variance[c] * n)});
  }
}

EVENKEEL_END
}  // namespace evenkeel::detail

namespace evenkeel {
EVENKEEL_BEGIN

/// Sets the running statistics of a batch norm to mean and variance over all values of several batches (PreciseBN).
/// Gamma, beta, their gradients and the statistics that forward saved do not change.
///
///   running_mean = sum(x) / n,  running_var = sum((x - running_mean)^2) / (n - 1)
///
/// over the n values of a channel in all batches. If unbiased_running_var is false, the divisor is n.
/// num_batches_tracked() becomes the number of batches that are not empty. If the momentum is nullopt, this is the weight of
/// these statistics in later averages.
///
/// Shapes       batches: a range of tensors, each like x of forward. All extents except the channels may differ between
///              batches.
/// Types        as batch_norm_forward; batches are merged in the statistic type.
/// Determinism  the same bits on every device and thread count, for batches in this order.
/// Errors       std::invalid_argument, before the layer changes: as forward, when there are fewer than two values per
///              channel, when a mean or a variance is not finite in Param, or when the layer tracks no running statistics.
/// Source       Wu, Johnson 2021, section 3; Chan, Golub, LeVeque 1979.
template <typename Device, typename Scalar, typename Batches>
void precise(const Device& device, BatchNorm<Scalar>& layer, const Batches& batches) {
  using T = StatisticOf<Scalar>;
  const detail::Caller caller{"", "precise"};
  if (!layer.options().track_running_stats) detail::fail(caller, {"the layer tracks no running statistics"});
  const Index channels = layer.channels();
  std::vector<detail::BlockMoments<T>> all(static_cast<std::size_t>(channels),
                                           detail::BlockMoments<T>::none());
  Moments<T> room(channels);
  Index count = 0, n = 0;
  for (const auto& x : batches) {
    using Kernels = detail::KernelScalar<Scalar>;
    static_assert(std::is_same_v<detail::ScalarOf<decltype(x)>, Kernels>,
                  "evenkeel: batches must have the layer's scalar type");
    const detail::Argument a = detail::input_argument(caller, "x", x);
    detail::merge_batch<Kernels>(caller, detail::ParallelFor(device, a.size), a, layer.options().axis, room,
                                 all);
    if (a.size > 0) ++count;
    n += a.size / channels;
  }
  if (n < 2) {
    detail::fail(caller,
                 {"batches have ", detail::counted(n, "value"), " per channel, statistics need at least 2"});
  }
  const T divisor = detail::from_count<T>(layer.options().unbiased_running_var ? n - 1 : n);
  for (Index c = 0; c < channels; ++c) {
    using Param = ParamOf<Scalar>;
    room.mean[c] = all[static_cast<std::size_t>(c)].mean;
    room.variance[c] = T(all[static_cast<std::size_t>(c)].m2 / divisor);
    if (!detail::is_finite(Param(room.mean[c])) || !detail::is_finite(Param(room.variance[c]))) {
      detail::fail(caller, {"the mean or the variance of channel ", c,
                            " over all batches is not finite as a parameter"});
    }
  }
  layer.set_running_stats(room.mean, room.variance);
  layer.num_batches_tracked() = count;
}
template <typename Scalar, typename Batches>
void precise(BatchNorm<Scalar>& layer, const Batches& batches) {
  precise(Eigen::DefaultDevice(), layer, batches);
}

EVENKEEL_END
}  // namespace evenkeel

#endif  // EVENKEEL_IS_SUPPORTED
