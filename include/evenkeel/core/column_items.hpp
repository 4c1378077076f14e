// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <utility>

#include "evenkeel/core/parallel.hpp"
#include "evenkeel/core/partition.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN
EVENKEEL_BEGIN_SMALL

/// Neighbouring lanes, whole sets each: neighbouring lanes of one panel.
struct Columns {
  Index offset, lanes;
  Index sets, first_set, set_step;
  Index first_param;  // of the first set

  Index set(Index k) const { return first_set + k * set_step; }
};

/// The fewest rows of `lanes` neighbours that fill lines of the cache, if these have a power of two of elements.
inline Index rows_in_lines(Index lanes, Index line) { return line / std::min(lanes & -lanes, line); }

/// Rows: outer x inner of them. Rows that follow each other are one loop.
struct RowLoops {
  Loop outer, inner;

  RowLoops() = default;
  RowLoops(const Loop& slow, const Loop& fast, Index lanes) : outer(slow), inner(fast) {
    if (inner.extent == 1) std::swap(outer, inner);
    if (inner.extent == 1) inner.stride = lanes;
    if (outer.extent > 1 && outer.stride == inner.extent * inner.stride) {
      inner.extent *= outer.extent;
      outer = {1, 0};
    }
  }
  Index count() const { return outer.extent * inner.extent; }
};

/// How sets lie side by side in memory. Memory is panels: rows of neighbouring lanes. In channel_columns a panel is one
/// sample (or everything, in batch norm) and its lanes are channels, or short lines of each channel; in sample_columns a
/// panel is one group of channels and its lanes are samples. A panel is taken in items: as many sets as fit a kernel
/// call, or one larger set in strips.
class ColumnItems {
 public:
  ColumnItems(const Partition& p, Index most_lanes, Index element)
      : p_(p), by_channel_(p.order == MemoryOrder::channel_columns) {
    if (by_channel_) {
      set_lanes_ = p.channel.extent * p.inner;
      panel_lanes_ = p.group.extent * set_lanes_;
      rows_ = cell_rows_ = RowLoops(p.before, p.between, panel_lanes_);
    } else {
      set_lanes_ = 1;
      panel_lanes_ = p.batch.extent;
      cell_rows_ = RowLoops(p.before, p.between, panel_lanes_);
      rows_ = RowLoops(p.before, {p.channel.extent * p.between.extent, p.between.stride}, panel_lanes_);
    }
    item_lanes_ = item_sets(most_lanes, std::max<Index>(1, 64 / element)) * set_lanes_;
    strip_lanes_ = std::min(item_lanes_, most_lanes / p.inner * p.inner);
    items_in_panel_ = (panel_lanes_ + item_lanes_ - 1) / item_lanes_;
  }

  Blocks blocks() const {
    const Index panels = p_.size() / (panel_lanes_ * rows_.count());
    return {panels * items_in_panel_, item_lanes_ * rows_.count(), kMaxBlocks};
  }

  Columns at(Index index) const {
    const Index panel = index / items_in_panel_, lane = index % items_in_panel_ * item_lanes_;
    const Index lanes = std::min(item_lanes_, panel_lanes_ - lane), sets = lanes / set_lanes_;
    const Index groups = p_.group.extent, channels = p_.channel.extent;
    if (by_channel_) {
      const Index first = panel * groups, group = lane / set_lanes_;
      return {p_.offset(first) + lane, lanes, sets, first + group, 1, group * channels};
    }
    const Index group = panel % groups, first = panel / groups * p_.batch.extent * groups + group;
    return {p_.offset(first) + lane, lanes, sets, first + lane * groups, groups, group * channels};
  }

  /// Sets [first, first + count) of an item.
  Columns part(const Columns& item, Index first, Index count) const {
    Columns some = item;
    some.offset += first * set_lanes_;
    some.lanes = count * set_lanes_;
    some.sets = count;
    some.first_set = item.set(first);
    if (by_channel_) some.first_param += first * p_.channel.extent;
    return some;
  }

  /// Rows of a panel; of sample_columns, all of a set's, and those of one channel.
  const RowLoops& rows() const { return rows_; }
  const RowLoops& cell_rows() const { return cell_rows_; }
  Index set_lanes() const { return set_lanes_; }
  Index strip_lanes() const { return strip_lanes_; }
  bool by_channel() const { return by_channel_; }

 private:
  /// As many as fit a kernel call, in items of about one size that begin with a cache line of so many elements.
  Index item_sets(Index most_lanes, Index line) const {
    const Index sets = panel_lanes_ / set_lanes_, most = std::max<Index>(most_lanes / set_lanes_, 1);
    if (sets <= most) return sets;
    const Index items = (sets + most - 1) / most, even = (sets + items - 1) / items;
    const Index whole = rows_in_lines(set_lanes_, line);
    return whole > most ? even : std::min((even + whole - 1) / whole, most / whole) * whole;
  }

  const Partition& p_;
  bool by_channel_;
  RowLoops rows_, cell_rows_;
  Index set_lanes_, panel_lanes_, item_lanes_, strip_lanes_, items_in_panel_;
};

/// Rows of lanes as kernels take them: narrow rows that follow each other are put together, several rows a line, so that
/// no vector is left half empty and no loop is short. The last line may have fewer rows.
struct WideRows {
  Index rows, stride, lanes;
  Index copies = 1;

  /// A line has at least `enough` lanes if rows are not as wide, may be put together, and have so many elements a line
  /// of the cache.
  WideRows(const Loop& loop, Index lanes_, Index enough, Index line, Index most)
      : rows(loop.extent), stride(loop.stride), lanes(lanes_) {
    if (loop.stride != lanes || lanes >= enough) return;
    const Index whole = rows_in_lines(lanes, line), least = enough / lanes;
    copies = (least + whole - 1) / whole * whole;
    copies = std::min({copies, most / 2 / lanes, rows});
  }
  Index width() const { return copies * lanes; }
  Index lines() const { return (rows + copies - 1) / copies; }
  /// The stride of lines with something between them; else 0.
  Index stride_over_gaps() const { return stride > width() ? stride : 0; }

  /// Calls f(offset, lines, lanes of a line) for lines [begin, end): the last one apart if it is shorter.
  template <typename F>
  void for_each_span(Index begin, Index end, const F& f) const {
    const Index whole = std::min(end, rows / copies);
    for (Index line = begin, next; line < end; line = next) {  // of one or two spans
      next = line < whole ? whole : end;
      f(line * copies * stride, next - line, line < whole ? width() : (rows - whole * copies) * lanes);
    }
  }
  /// values[0 .. width) = the first row's values, over and over, and on for a line of the cache.
  template <typename T>
  void repeat(T* values) const {
    const Index end = width() + std::min(width(), kMostInLine);
    for (Index l = lanes; l < end; ++l) values[l] = values[l - lanes];
  }
};

EVENKEEL_END_SMALL
EVENKEEL_END
}  // namespace evenkeel::detail
