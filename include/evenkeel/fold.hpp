// SPDX-License-Identifier: MIT
#pragma once

#include "evenkeel/base/config.hpp"
#if EVENKEEL_IS_SUPPORTED

#include "evenkeel/core/tracking_layer.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN

/// What inference makes of each channel: y = (x - mean) scale + beta.
template <typename T>
struct ChannelMap {
  Vector<T> mean, scale, beta;
};

template <typename Derived, typename Scalar, typename Options>
ChannelMap<StatisticOf<Scalar>> channel_map(const Caller& caller,
                                            const TrackingLayer<Derived, Scalar, Options>& layer) {
  using Param = ParamOf<Scalar>;
  using T = StatisticOf<Scalar>;
  const Options& options = layer.options();
  if (!options.track_running_stats) fail(caller, {"the layer tracks no running statistics"});
  const Index channels = layer.channels(), params = options.affine ? channels : 0;
  check_size(caller, "gamma", layer.gamma().size(), params);
  check_size(caller, "beta", layer.beta().size(), params);
  check_size(caller, "running_mean", layer.running_mean().size(), channels);
  check_size(caller, "running_var", layer.running_var().size(), channels);
  refuse_no_variances<Param>(caller, param_argument<Param>(caller, "running_var", layer.running_var()));
  ChannelMap<T> map{layer.exact_running_mean(), vector_of<T>(channels), vector_of(channels, T(0))};
  for (Index c = 0; c < channels; ++c) {
    const T gamma = params > 0 ? T(Param(layer.gamma()[c] + from_double<Param>(options.gamma_offset))) : T(1);
    map.scale[c] = one_by_one::over_std<T>(gamma, T(layer.running_var()[c]), from_double<T>(options.epsilon));
    if (params > 0) map.beta[c] = T(layer.beta()[c]);
  }
  return map;
}

/// The map that takes y back to x.
template <typename T>
void invert(const Caller& caller, ChannelMap<T>& map) {
  for (Index c = 0; c < map.scale.size(); ++c) {
    if (map.scale[c] == T(0)) {
      fail(caller, {"gamma / sqrt(running_var + epsilon) of channel ", c, " is 0, which cannot be unfolded"});
    }
    map.scale[c] = T(T(1) / map.scale[c]);
  }
  map.mean.swap(map.beta);
}

template <typename S, typename T>
S narrowed(const T& value) {
  return static_cast<S>(static_cast<ComputeOf<S>>(value));
}

/// Puts a map behind a linear layer: its weights of type S and its bias of type B, which may be empty.
template <typename S, typename B, typename T>
EVENKEEL_OUTLINE void map_outputs(const Caller& caller, const Argument& weight, const Argument& bias,
                                  Index output_axis, const ChannelMap<T>& map) {
  const Index channels = map.scale.size();
  const int axis = resolve_axis(caller, "output_axis", output_axis, weight.shape, weight.name);
  check_extent(caller, weight.shape, axis, "channel", channels, weight.name);
  const bool has_bias = bias.size > 0 || !bias.type->resizable_to(Shape{channels});
  if (has_bias) check_size(caller, bias.name, bias.size, channels);
  for (const Argument* a : {&weight, &bias}) check_not_null(caller, *a);
  check_apart(caller, bias, weight);

  const MemoryShape shape = memory_shape(weight, weight.strides());
  const Index inner = shape.product(shape.axis(axis) + 1, shape.rank);
  S* const weights = static_cast<S*>(const_cast<void*>(weight.data));
  const auto weight_at = [&](Index i) { return weights + (weight.has_gaps ? shape.offset(i) : i); };
  const auto new_weight = [&](Index i) {
    const S narrow = narrowed<S>(T(T(value_at(weight_at(i))) * map.scale[i / inner % channels]));
    return static_cast<ComputeOf<S>>(narrow);
  };
  const B* const biases_before = static_cast<const B*>(bias.data);
  const auto old_bias = [&](Index c) { return has_bias ? value_at(biases_before + c) : ComputeOf<B>(0); };
  const auto new_bias = [&](Index c) {
    const B narrow = narrowed<B>(T(T(T(T(old_bias(c)) - map.mean[c]) * map.scale[c]) + map.beta[c]));
    return static_cast<ComputeOf<B>>(narrow);
  };
  const auto check = [&](const char* name, Index channel, const auto& before, const auto& after) {
    if (is_finite(before) && !is_finite(after))
      fail(caller, {name, " of channel ", channel, " would no longer be finite"});
  };
  for (Index i = 0; i < weight.size; ++i) {
    check(weight.name, i / inner % channels, value_at(weight_at(i)), new_weight(i));
  }
  for (Index c = 0; c < channels; ++c) check(bias.name, c, old_bias(c), new_bias(c));

  B* const biases = static_cast<B*>(prepare(bias, has_bias ? bias.shape : Shape{channels}));
  for (Index i = 0; i < weight.size; ++i) put_value(weight_at(i), new_weight(i));
  for (Index c = 0; c < channels; ++c) put_value(biases + c, new_bias(c));
}

template <typename Scalar, typename Weight, typename Bias, typename T>
void map_outputs(const Caller& caller, Weight& weight, Bias& bias, Index output_axis,
                 const ChannelMap<T>& map) {
  using S = ScalarOf<Weight>;
  using B = ScalarOf<Bias>;
  static_assert((std::is_same_v<S, Scalar> || std::is_same_v<S, ParamOf<Scalar>>)&&(
                    std::is_same_v<B, Scalar> || std::is_same_v<B, ParamOf<Scalar>>),
                "evenkeel: weight and bias must be of the layer's Scalar or ParamOf<Scalar>");
  check_contiguous(caller, "bias", bias);
  map_outputs<S, B>(caller, output_argument(caller, "weight", weight), output_argument(caller, "bias", bias),
                    output_axis, map);
}

EVENKEEL_END
}  // namespace evenkeel::detail

namespace evenkeel {
EVENKEEL_BEGIN

/// Merges the inference of a batch norm into the linear or convolution layer before it. Changes weight and bias in place.
/// With them, the layer before computes the same as it did before, followed by layer.infer.
///
///   weight' = weight gamma inv_std,  bias' = (bias - running_mean) gamma inv_std + beta
///
/// for each output channel. So weight' x + bias' is what layer.infer computes from weight x + bias.
///
/// Shapes       weight: of rank 1 to 8 with the output channels, as many as the layer's, on output_axis; a negative one
///              counts from the last. bias: [channels]; an empty array counts as 0 and is resized.
/// Types        weight and bias: the layer's Scalar or Param; computed in the statistic type and rounded once.
/// Aliasing     weight and bias must not overlap.
/// Errors       std::invalid_argument, before anything is written: when sizes differ, when a variance is negative or not
///              finite, when the layer tracks no running statistics, or when a folded number would not be finite.
/// Source       Jacob et al. 2018, section 3.2, equation 14.
template <typename Derived, typename Scalar, typename Options, typename Weight, typename Bias>
void fold(const TrackingLayer<Derived, Scalar, Options>& layer, Weight&& weight, Bias&& bias,
          Index output_axis = 0) {
  const detail::Caller caller{"", "fold"};
  detail::map_outputs<detail::KernelScalar<Scalar>>(caller, weight, bias, output_axis,
                                                    detail::channel_map(caller, layer));
}

/// Undoes fold: weight and bias become what they were before, except for rounding. The layer must have the same parameters
/// and running statistics as in fold.
///
/// Shapes       as fold; bias: [channels].
/// Errors       as fold, and when gamma / sqrt(running_var + epsilon) of a channel is 0.
template <typename Derived, typename Scalar, typename Options, typename Weight, typename Bias>
void unfold(const TrackingLayer<Derived, Scalar, Options>& layer, Weight&& weight, Bias&& bias,
            Index output_axis = 0) {
  const detail::Caller caller{"", "unfold"};
  auto map = detail::channel_map(caller, layer);
  detail::invert(caller, map);
  detail::map_outputs<detail::KernelScalar<Scalar>>(caller, weight, bias, output_axis, map);
}

EVENKEEL_END
}  // namespace evenkeel

#endif  // EVENKEEL_IS_SUPPORTED
