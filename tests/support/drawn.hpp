// Norms over shapes and axes that nobody chose.
#pragma once

#include <algorithm>
#include <evenkeel/evenkeel.hpp>
#include <random>

#include "shape.hpp"

namespace ek_test {

namespace ek = evenkeel;

/// Two extents of any ratio, a third that is mostly short, in any order; axes and groups.
struct Drawn {
  Shape shape;
  Index axis, batch_axis, groups;

  /// `size` or more elements, `log_size` bits at most in the first extent.
  Drawn(std::mt19937& generator, Index size, Index log_size) {
    const auto between = [&](Index low, Index high) {
      return std::uniform_int_distribution<Index>(low, high)(generator);
    };
    shape = {Index(1) << between(0, log_size), 0, between(1, 9)};
    shape[0] += between(0, shape[0]);
    shape[1] = size / shape[0] + between(2, 300);
    std::shuffle(shape.begin(), shape.end(), generator);
    axis = between(0, 2);
    batch_axis = (axis + between(1, 2)) % 3;
    groups = between(1, channels());
    while (channels() % groups != 0) --groups;
  }

  Index channels() const { return shape[at(axis)]; }

  /// Calls f(layer, map_of) for each norm, where map_of(order) is the layer's IndexMap.
  template <typename Scalar, typename F>
  void for_each_norm(F f) const {
    ek::BatchNormOptions batch;
    batch.axis = axis;
    f(ek::BatchNorm<Scalar>(channels(), batch),
      [&](int order) { return batch_norm_map(shape, order, axis); });
    ek::LayerNormOptions layer;
    layer.axis = axis;
    f(ek::LayerNorm<Scalar>(channels(), layer),
      [&](int order) { return layer_norm_map(shape, order, axis); });
    ek::RMSNormOptions rms;
    rms.axis = axis;
    f(ek::RMSNorm<Scalar>(channels(), rms), [&](int order) { return rms_norm_map(shape, order, axis); });
    ek::GroupNormOptions group;
    group.axis = axis;
    group.batch_axis = batch_axis;
    f(ek::GroupNorm<Scalar>(groups, channels(), group),
      [&](int order) { return group_norm_map(shape, order, groups, axis, batch_axis); });
    if (size_of(shape) < 2 * shape[at(axis)] * shape[at(batch_axis)])
      return;  // one value a channel and sample
    ek::InstanceNormOptions instance;
    instance.axis = axis;
    instance.batch_axis = batch_axis;
    f(ek::InstanceNorm<Scalar>(channels(), instance),
      [&](int order) { return instance_norm_map(shape, order, axis, batch_axis); });
  }
};

}  // namespace ek_test
