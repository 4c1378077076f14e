// SPDX-License-Identifier: MIT
#pragma once

#include "evenkeel/kernels/args.hpp"
#include "evenkeel/tensor_view.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN
EVENKEEL_BEGIN_SMALL

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

/// Who shares statistics and who shares parameters (an entry of gamma and beta): two maps on memory.
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
  bool is_walkable = true;  // else the strides of memory take more loops

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

  /// A set's memory, from where it begins. Its channels are a loop that joins a neighbouring one, or takes the place of
  /// one that there is not.
  Lines set_lines() const {
    if (channel_joins_inner()) {
      return {before.extent, before.stride, between.extent, between.stride, channel.extent * inner};
    }
    if (between.extent == 1) return {before.extent, before.stride, channel.extent, channel.stride, inner};
    if (channel_joins_between()) {
      return {before.extent, before.stride, channel.extent * between.extent, between.stride, inner};
    }
    return {channel.extent, channel.stride, between.extent, between.stride, inner};
  }
  bool has_set_lines() const {
    return channel_joins_inner() || channel_joins_between() || before.extent == 1;
  }
  bool channel_joins_inner() const { return channel.extent == 1 || channel.stride == inner; }
  bool channel_joins_between() const {
    return between.extent == 1 || channel.stride == between.extent * between.stride;
  }
};

/// offset(first), offset(first + 1), ... of a partition, without a division for each.
class SetOffsets {
 public:
  SetOffsets(const Partition& p, Index first)
      : p_(p),
        in_group_(first % p.group.extent),
        in_batch_(first / p.group.extent % p.batch.extent),
        offset_(p.offset(first)) {}

  Index next() {
    Index offset;
    fill(&offset, 1);
    return offset;
  }
  void fill(Index* offsets, Index count) {
    for (Index n; count > 0; count -= n, offsets += n) {
      n = std::min(count, p_.group.extent - in_group_);
      for (Index k = 0; k < n; ++k) offsets[k] = offset_ + k * p_.group.stride;
      skip_in_group(n);
    }
  }

 private:
  void skip_in_group(Index n) {
    offset_ += n * p_.group.stride;
    in_group_ += n;
    if (in_group_ < p_.group.extent) return;
    in_group_ = 0;
    offset_ += p_.batch.stride - p_.group.extent * p_.group.stride;
    if (++in_batch_ < p_.batch.extent) return;
    in_batch_ = 0;
    offset_ += p_.outer.stride - p_.batch.extent * p_.batch.stride;
  }

  const Partition& p_;
  Index in_group_, in_batch_, offset_;
};

/// Loops over memory, the fastest first, of which no partition takes more than kMost.
struct Loops {
  static constexpr int kMost = 3;
  Loop loop[kMost];
  int count = 0;

  void add(const Loop& slower) {
    Loop* const last = count == 0 || count > kMost ? nullptr : &loop[count - 1];
    if (last != nullptr && slower.stride == last->extent * last->stride) {
      last->extent *= slower.extent;
    } else {
      if (count < kMost) loop[count] = slower;
      ++count;
    }
  }
  Loop at(int i) const { return i < kMost ? loop[i] : Loop(); }
};

/// A tensor's dimensions in the order of memory, slowest first.
struct MemoryShape {
  /// Of contiguous memory.
  explicit MemoryShape(const Shape& shape, Layout layout)
      : reversed(layout == col_major), rank(shape.rank()) {
    Index next = 1;
    for (int i = rank - 1; i >= 0; --i) {
      extents[i] = shape[axis(i)];
      strides[i] = next;
      next *= extents[i];
    }
  }
  EVENKEEL_COLD void set_strides(const Shape& of_axes) {
    for (int i = 0; i < rank; ++i) strides[i] = of_axes[axis(i)];
  }

  /// Where a caller's axis lies; and which caller's axis lies here.
  int axis(int callers_axis) const { return reversed ? rank - 1 - callers_axis : callers_axis; }

  Index product(int first, int last) const {
    Index n = 1;
    for (int i = first; i < last; ++i) n *= extents[i];
    return n;
  }

  /// Adds the loops over axes [first, last) to faster ones. Axes without memory between them are one loop.
  void add_loops(int first, int last, Loops& to) const {
    for (int i = last - 1; i >= first; --i) {
      if (extents[i] != 1) to.add({extents[i], strides[i]});
    }
  }

  /// Where the element lies that is number i in the order of memory.
  Index offset(Index i) const {
    Index offset = 0;
    for (int k = rank - 1; k >= 0; --k) {
      offset += i % extents[k] * strides[k];
      i /= extents[k];
    }
    return offset;
  }

  /// The axis from which on elements follow each other.
  int line_axis() const {
    int axis = rank;
    for (Index next = 1; axis > 0 && (extents[axis - 1] == 1 || strides[axis - 1] == next); --axis)
      next *= extents[axis - 1];
    return axis;
  }

  bool reversed;
  int rank;
  Index extents[Shape::kMaxRank], strides[Shape::kMaxRank];
};

/// Short lines side by side are walked as columns, so that no vector is left half empty; longer ones too if they do
/// not fill whole lines of the cache.
inline bool is_short_line(Index length) { return length <= 64 || (length <= 256 && length % 16 != 0); }

/// Makes of the loops whose elements share statistics and parameters the lines of neighbours, and the two loops over them.
inline void set_cell_loops(const Loops& loops, Partition& p) {
  const int lines = loops.count > 0 && loops.loop[0].stride == 1 ? 1 : 0;
  if (lines == 1) p.inner = loops.loop[0].extent;
  const bool is_one = loops.count - lines == 1;
  // One loop over the lines is the slower one, unless channels are slower still: then they may join it.
  const bool is_between = !is_one || loops.loop[lines].stride < p.channel.stride;
  if (is_between) p.between = loops.at(lines);
  p.before = loops.at(is_between ? lines + 1 : lines);
  p.is_walkable = loops.count - lines <= 2;
}

/// Memory [before][channels][inner]: a set a channel.
inline Partition partition_channels(const MemoryShape& shape, int axis) {
  const Index channels = shape.extents[axis];
  Loops loops;
  shape.add_loops(axis + 1, shape.rank, loops);
  shape.add_loops(0, axis, loops);
  Partition p;
  set_cell_loops(loops, p);
  p.channel.stride = p.inner;
  if (channels == 1) return p;
  p.group = {channels, shape.strides[axis]};
  const bool is_short = p.inner == 1 || (is_short_line(p.inner) && p.before.extent > 1);
  if (is_short && p.group.stride == p.inner) p.order = MemoryOrder::channel_columns;
  return p;
}

/// Memory [samples][features][samples]: a set a sample; the features are axes [first, last).
inline Partition partition_features(const MemoryShape& shape, int first, int last) {
  Loops features, samples;
  shape.add_loops(first, last, features);
  shape.add_loops(last, shape.rank, samples);
  const bool are_rows = samples.count == 0 || features.count == 0;
  shape.add_loops(0, first, samples);
  Partition p;
  p.is_walkable = features.count <= 1 && samples.count <= 2;
  p.channel = {shape.product(first, last), features.count == 0 ? 1 : features.loop[0].stride};
  p.batch = samples.count == 0 ? Loop{1, p.channel.extent} : samples.loop[0];
  p.outer = samples.at(1);
  p.between.stride = p.channel.stride;
  p.order = are_rows ? MemoryOrder::rows : MemoryOrder::sample_columns;
  return p;
}

/// Memory [before][samples][between][channels][inner], or with samples and channels in the other order: a set
/// a sample and group of channels. With a batch_axis of -1 all is one sample.
inline Partition partition_groups(const MemoryShape& shape, int batch_axis, int axis, Index groups) {
  const Index samples = batch_axis < 0 ? 1 : shape.extents[batch_axis], channels = shape.extents[axis];
  const int slow = std::min(batch_axis, axis), fast = std::max(batch_axis, axis);
  Loops loops;
  shape.add_loops(fast + 1, shape.rank, loops);
  shape.add_loops(slow + 1, fast, loops);
  shape.add_loops(0, slow, loops);
  Partition p;
  if (channels > 1) p.channel.stride = shape.strides[axis];
  set_cell_loops(loops, p);
  p.channel = {channels / groups, channels > 1 ? p.channel.stride : p.inner};
  p.group = {groups, p.channel.extent * p.channel.stride};
  p.batch = {samples, samples > 1 ? shape.strides[batch_axis] : p.group.extent * p.group.stride};
  if (batch_axis < axis || samples == 1) {
    const bool is_short = p.inner == 1 || (is_short_line(p.inner) && p.cell_size() > p.inner);
    if (p.cell_size() == 1) {
      p.order = MemoryOrder::rows;
    } else if (is_short && p.channel.stride == p.inner) {
      p.order = MemoryOrder::channel_columns;
    }
  } else if (p.inner == 1 && p.channel_joins_between()) {
    if (p.between.extent == 1) p.between.stride = p.channel.stride;
    p.order = MemoryOrder::sample_columns;
  }
  if (p.order == MemoryOrder::lines) p.is_walkable = p.is_walkable && p.has_set_lines();
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

EVENKEEL_END_SMALL
EVENKEEL_END
}  // namespace evenkeel::detail
