// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <optional>

#include "evenkeel/core/checks.hpp"
#include "evenkeel/core/pass.hpp"
#include "evenkeel/core/strides.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN
EVENKEEL_BEGIN_SMALL

// partition_of(caller, x, strides, axes): the partition of a call's x, after a check that x has these axes.

/// The channels of a call, and its formula.
struct ChannelAxis {
  Formula formula;
  Index axis;
  Index channels = -1;  // how many are expected; < 0: any number
};

/// What the options of a norm say.
template <typename Options>
Formula formula_of(const Options& options) {
  return {options.epsilon, false, options.gamma_offset};
}
template <typename Options>
ChannelAxis channel_axis(const Options& options, Index channels = -1) {
  return {formula_of(options), options.axis, channels};
}

EVENKEEL_OUTLINE Partition partition_of(const Caller& caller, const Argument& x, const Strides& strides,
                                        const ChannelAxis& c) {
  check_epsilon(caller, c.formula.epsilon);
  check_gamma_offset(caller, c.formula.gamma_offset);
  const int axis = resolve_axis(caller, "axis", c.axis, x.shape);
  if (c.channels >= 0) check_extent(caller, x.shape, axis, "channel", c.channels);
  const MemoryShape shape = memory_shape(x, strides);
  const Partition p = partition_channels(shape, shape.axis(axis));
  check_walkable(caller, x, strides, p);
  return p;
}

/// The normalized axes of a call, and its formula.
struct FeatureAxes {
  Shape normalized_shape;
  std::optional<Index> axis;  // the first one; nullopt: the last ones
  Formula formula;
};

EVENKEEL_OUTLINE Partition partition_of(const Caller& caller, const Argument& x, const Strides& strides,
                                        const FeatureAxes& f) {
  check_epsilon(caller, f.formula.epsilon);
  check_gamma_offset(caller, f.formula.gamma_offset);
  const Shape& normalized = f.normalized_shape;
  const int axes = normalized.rank();
  if (axes == 0) fail(caller, {"normalized_shape has rank 0, must have 1 to 8"});
  if (!f.axis && axes > x.shape.rank()) {
    fail(caller, {"normalized_shape has ", axes, " axes, x ", shown(x.shape), " has ", x.shape.rank()});
  }
  const int first = resolve_axis(caller, "axis", f.axis.value_or(-axes), x.shape);
  for (int i = 0; i < axes; ++i) {
    const int axis = first + i;
    if (axis >= x.shape.rank()) {
      fail(caller, {"normalized_shape has rank ", axes, " from axis ", first, " on, x ", shown(x.shape),
                    " has ", x.shape.rank() - first, " axes there"});
    }
    check_extent(caller, x.shape, axis, "feature", normalized[i]);
  }
  const MemoryShape shape = memory_shape(x, strides);
  const int a = shape.axis(first), b = shape.axis(first + axes - 1);
  const Partition p = partition_features(shape, std::min(a, b), std::max(a, b) + 1);
  check_walkable(caller, x, strides, p);
  return p;
}

EVENKEEL_OUTLINE void check_groups(const Caller& caller, Index groups, Index channels) {
  check_positive(caller, "groups", groups);
  if (channels % groups != 0) {
    fail(caller, {counted(groups, "group"), (groups == 1 ? " does" : " do"), " not divide ",
                  counted(channels, "channel")});
  }
}

/// The groups of channels of a call, and its formula.
struct GroupAxes {
  Formula formula;
  Index axis;                       // of the channels
  std::optional<Index> batch_axis;  // nullopt: x is one sample
  Index groups;
  Index channels = -1;  // how many are expected; < 0: any number
};

EVENKEEL_OUTLINE Partition partition_of(const Caller& caller, const Argument& x, const Strides& strides,
                                        const GroupAxes& g) {
  check_epsilon(caller, g.formula.epsilon);
  check_gamma_offset(caller, g.formula.gamma_offset);
  const int axis = resolve_axis(caller, "axis", g.axis, x.shape);
  const int batch_axis = g.batch_axis ? resolve_axis(caller, "batch_axis", *g.batch_axis, x.shape) : -1;
  if (axis == batch_axis) {
    fail(caller, {"axis ", g.axis, " and batch_axis ", *g.batch_axis, " are the same axis of x ",
                  shown(x.shape), x.shape.rank() == 1 ? "; for a vector set batch_axis = no_axis" : ""});
  }
  if (g.channels >= 0) check_extent(caller, x.shape, axis, "channel", g.channels);
  check_groups(caller, g.groups, x.shape[axis]);
  const MemoryShape shape = memory_shape(x, strides);
  const Partition p =
      partition_groups(shape, batch_axis < 0 ? -1 : shape.axis(batch_axis), shape.axis(axis), g.groups);
  check_walkable(caller, x, strides, p);
  return p;
}

EVENKEEL_END_SMALL
EVENKEEL_END
}  // namespace evenkeel::detail
