// SPDX-License-Identifier: MIT
#pragma once

#include "evenkeel/kernels/args.hpp"
#include "evenkeel/tensor_view.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN

/// One loop over memory: `extent` steps, `stride` elements apart.
struct Loop {
  Index extent = 1;
  Index stride = 0;
};

/// What the fastest loop over memory is.
enum class MemoryOrder {
  lines,            // neighbours share statistics and parameters
  rows,             // neighbours share statistics, each has its own parameter
  channel_columns,  // neighbours are channels, or short lines of each channel side by side
  sample_columns,   // neighbours have statistics of their own and share parameters
};

/// Who shares statistics and who shares parameters (an entry of gamma and beta): two maps on contiguous
/// memory.
///
/// Memory is seven nested loops, in whatever order. A step of `outer`, `batch` or `group` is another
/// statistics set; a step of `group` or `channel` is another parameter; `before`, `between` and `inner` leave
/// both as they are:
///
///   set = (outer * batch.extent + batch) * group.extent + group
///   parameter = group * channel.extent + channel
///
/// What shares both is a cell: lines of `inner` neighbours.
struct Partition {
  Loop outer, batch, group;
  Loop channel;
  Loop before, between;
  Index inner = 1;
  MemoryOrder order = MemoryOrder::lines;

  Index sets() const { return outer.extent * batch.extent * group.extent; }
  Index params() const { return group.extent * channel.extent; }
  Index cell_size() const { return before.extent * between.extent * inner; }
  Index set_size() const { return channel.extent * cell_size(); }
  Index size() const { return sets() * set_size(); }

  /// Every element has a parameter that none of its set shares.
  bool elements_are_cells() const {
    return order == MemoryOrder::rows || (order == MemoryOrder::sample_columns && cell_size() == 1);
  }

  /// The parameter of a set's first channel.
  Index first_param(Index set) const { return set % group.extent * channel.extent; }

  /// Where a set begins in memory.
  Index offset(Index set) const {
    const Index sample = set / group.extent;
    return sample / batch.extent * outer.stride + sample % batch.extent * batch.stride +
           set % group.extent * group.stride;
  }

  /// A cell's memory, from where its set begins plus its channel's stride.
  Lines cell_lines() const { return {before.extent, before.stride, between.extent, between.stride, inner}; }

  /// A set's memory, from where it begins.
  Lines set_lines() const {
    if (channel.stride == inner) {
      return {before.extent, before.stride, between.extent, between.stride, channel.extent * inner};
    }
    return {before.extent, before.stride, channel.extent * between.extent, between.stride, inner};
  }
};

/// A tensor's dimensions in the order of memory, slowest first.
struct MemoryShape {
  explicit MemoryShape(const Shape& shape, Layout layout)
      : reversed(layout == col_major), rank(shape.rank()) {
    for (int i = 0; i < rank; ++i) extents[i] = shape[reversed ? rank - 1 - i : i];
  }

  /// Where a caller's axis lies.
  int axis(int callers_axis) const { return reversed ? rank - 1 - callers_axis : callers_axis; }

  Index product(int first, int last) const {
    Index n = 1;
    for (int i = first; i < last; ++i) n *= extents[i];
    return n;
  }

  bool reversed;
  int rank;
  Index extents[Shape::kMaxRank];
};

/// Short lines side by side are walked as columns, so that no vector is left half empty; longer ones too if they do
/// not fill whole lines of the cache.
inline bool is_short_line(Index length) { return length <= 64 || (length <= 256 && length % 16 != 0); }

/// Memory [before][channels][inner]: a set a channel.
inline Partition partition_channels(const MemoryShape& shape, int axis) {
  const Index before = shape.product(0, axis), channels = shape.extents[axis];
  const Index inner = shape.product(axis + 1, shape.rank);
  Partition p;
  if (channels == 1) {
    p.inner = before * inner;
    p.channel.stride = p.inner;
    return p;
  }
  p.inner = inner;
  p.group = {channels, inner};
  p.channel.stride = inner;
  p.before = {before, channels * inner};
  if (inner == 1 || (is_short_line(inner) && before > 1)) p.order = MemoryOrder::channel_columns;
  return p;
}

/// Memory [samples][features][samples]: a set a sample; the features are axes [first, last).
inline Partition partition_features(const MemoryShape& shape, int first, int last) {
  const Index outer = shape.product(0, first), features = shape.product(first, last);
  const Index inner = shape.product(last, shape.rank);
  Partition p;
  if (inner == 1 || features == 1) {
    p.batch = {outer * inner, features};
    p.channel = {features, 1};
    p.order = MemoryOrder::rows;
    return p;
  }
  p.outer = {outer, features * inner};
  p.batch = {inner, 1};
  p.channel = {features, inner};
  p.between.stride = inner;
  p.order = MemoryOrder::sample_columns;
  return p;
}

/// Memory [before][samples][between][channels][inner], or with samples and channels in the other order: a set
/// a sample and group of channels. With a batch_axis of -1 all is one sample.
inline Partition partition_groups(const MemoryShape& shape, int batch_axis, int axis, Index groups) {
  const Index samples = batch_axis < 0 ? 1 : shape.extents[batch_axis], channels = shape.extents[axis];
  const Index members = channels / groups;
  Partition p;
  if (batch_axis < axis || samples == 1) {
    const bool samples_first = batch_axis < axis;
    const Index before = shape.product(0, samples_first ? batch_axis : axis);
    const Index between = samples_first ? shape.product(batch_axis + 1, axis) : 1;
    p.inner = shape.product(axis + 1, shape.rank);
    p.channel = {members, p.inner};
    p.group = {groups, members * p.inner};
    p.between = {between, channels * p.inner};
    p.batch = {samples, between * channels * p.inner};
    p.before = {before, samples * between * channels * p.inner};
    if (p.cell_size() == 1) {
      p.order = MemoryOrder::rows;
    } else if (p.inner == 1 || (is_short_line(p.inner) && p.cell_size() > p.inner)) {
      p.order = MemoryOrder::channel_columns;
    }
    return p;
  }
  const Index between = shape.product(axis + 1, batch_axis);
  p.inner = shape.product(batch_axis + 1, shape.rank);
  p.batch = {samples, p.inner};
  p.between = {between, samples * p.inner};
  p.channel = {members, between * samples * p.inner};
  p.group = {groups, members * p.channel.stride};
  p.before = {shape.product(0, axis), channels * p.channel.stride};
  if (p.inner == 1) p.order = MemoryOrder::sample_columns;
  return p;
}

/// A partition that needs no parameters, with sets of one short line as rows: these take less time.
inline Partition with_rows(Partition p) {
  constexpr Index kShort = 128;
  if (p.order != MemoryOrder::lines || p.set_size() != p.inner || p.inner > kShort) return p;
  if (p.batch.stride == p.group.extent * p.group.stride) {  // all rows follow each other
    p.batch = {p.batch.extent * p.group.extent, p.group.stride};
    p.group = {1, 0};
  }
  p.channel = {p.inner, 1};
  p.inner = 1;
  p.order = MemoryOrder::rows;
  return p;
}

EVENKEEL_END
}  // namespace evenkeel::detail
