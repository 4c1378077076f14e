#pragma once

#include <algorithm>

#include "evenkeel/core/parallel.hpp"
#include "evenkeel/core/partition.hpp"
#include "evenkeel/core/wide_rows.hpp"

namespace evenkeel {
EVENKEEL_BEGIN

/// Neighbouring lanes of one panel.
struct ColumnItem {
  Index offset, lanes;
  Index sets, first_set, set_step;
  Index first_param, param_step;

  Index set(Index k) const { return first_set + k * set_step; }
  Index param(Index k, Index channel) const { return first_param + k * param_step + channel; }
};

/// Where statistics sets lie that are side by side in memory.
///
/// Memory is panels: rows of neighbouring lanes. In channel_columns a panel is one sample (or everything, in
/// batch norm) and its lanes are channels, or short lines of each channel; in sample_columns a panel is one
/// group of channels and its lanes are samples. A panel is taken in items, whole sets each: as many sets as
/// fit a kernel call, or one larger set in several strips.
template <typename Storage, bool kElements>
class ColumnItems {
 public:
  explicit ColumnItems(const Partition& p) : p_(p), by_channel_(p.walk == Walk::channel_columns) {
    if (by_channel_) {
      rows_ = cell_rows_ = {p.before.extent, p.before.stride, p.between.extent, p.between.stride, 1};
      set_lanes_ = p.channel.extent * p.inner;
      panel_lanes_ = p.group.extent * set_lanes_;
    } else {
      rows_ = p.set_lines();
      cell_rows_ = p.cell_lines();
      set_lanes_ = 1;
      panel_lanes_ = p.batch.extent;
    }
    cells_in_panel_ = by_channel_ || kElements ? 1 : p.channel.extent;
    item_lanes_ = item_sets() * set_lanes_;
    strip_lanes_ = std::min(item_lanes_, most_lanes() / p.inner * p.inner);
    items_in_panel_ = (panel_lanes_ + item_lanes_ - 1) / item_lanes_;
  }

  Blocks blocks() const {
    const Index panels = p_.size() / (panel_lanes_ * rows_.count());
    return {panels * items_in_panel_, item_lanes_ * rows_.count(), kMaxBlocks};
  }

  ColumnItem at(Index index) const {
    const Index panel = index / items_in_panel_, lane = index % items_in_panel_ * item_lanes_;
    const Index lanes = std::min(item_lanes_, panel_lanes_ - lane), sets = lanes / set_lanes_;
    const Index groups = p_.group.extent, channels = p_.channel.extent;
    if (by_channel_) {
      const Index first = panel * groups, group = lane / set_lanes_;
      return {p_.offset(first) + lane, lanes, sets, first + group, 1, group * channels, channels};
    }
    const Index group = panel % groups, first = panel / groups * p_.batch.extent * groups + group;
    return {p_.offset(first) + lane, lanes, sets, first + lane * groups, groups, group * channels, 0};
  }

  /// Rows of a panel; of sample_columns, all of a set's, and those of one channel.
  const kernels::Lines& rows() const { return rows_; }
  const kernels::Lines& cell_rows() const { return cell_rows_; }
  Index set_lanes() const { return set_lanes_; }

  /// Calls pass(part of the item, its first set) for neighbouring sets that are in range, and rescue(set) for the
  /// others.
  template <typename InRange, typename Pass, typename Rescue>
  void for_each_in_range(const ColumnItem& item, const InRange& in_range, const Pass& pass,
                         const Rescue& rescue) const {
    for (Index k = 0; k < item.sets;) {
      const Index first = k;
      while (k < item.sets && in_range(k)) ++k;
      if (first < k) {
        ColumnItem part = item;
        part.offset += first * set_lanes_;
        part.lanes = (k - first) * set_lanes_;
        part.sets = k - first;
        part.first_set = item.set(first);
        part.first_param = item.param(first, 0);
        pass(part, first);
      }
      if (k < item.sets) rescue(k++);
    }
  }

  /// Calls f(first lane, lanes) for an item's strips.
  template <typename F>
  void for_each_strip(const ColumnItem& item, const F& f) const {
    for (Index lane = 0; lane < item.lanes; lane += strip_lanes_)
      f(lane, std::min(strip_lanes_, item.lanes - lane));
  }

  /// Calls f(offset, first channel, first lane, lanes) for the strips of all panels whose rows are cells.
  template <typename F>
  void for_each_cell_strip(const ColumnItem& item, const F& f) const {
    for (Index channel = 0; channel < cells_in_panel_; ++channel) {
      for_each_strip(item, [&](Index lane, Index lanes) {
        f(item.offset + channel * p_.channel.stride + lane, channel, lane, lanes);
      });
    }
  }

  /// Calls f(lane of the strip, set of the item, channel) for the cells of a strip, p_.inner lanes each.
  template <typename F>
  void for_each_cell(Index first_channel, Index first_lane, Index lanes, const F& f) const {
    if (!by_channel_) {
      for (Index l = 0; l < lanes; ++l) f(l, first_lane + l, first_channel);
      return;
    }
    const Index channels = p_.channel.extent, cell = first_lane / p_.inner;
    Index set = cell / channels, channel = cell % channels;
    for (Index l = 0; l < lanes; l += p_.inner) {
      f(l, set, channel);
      if (++channel == channels) {
        channel = 0;
        ++set;
      }
    }
  }

 private:
  static constexpr Index kLanes = kernels::kLanes<ComputeOf<Storage>>;

  /// Cells of several lanes are spread over rows far apart, so that the fewer lanes, the more of them stay near.
  Index most_lanes() const { return p_.inner == 1 ? kLanes : kLanes / 2; }

  /// As many as fit a kernel call, in items of about one size that begin with a cache line.
  Index item_sets() const {
    const Index sets = panel_lanes_ / set_lanes_, most = std::max<Index>(most_lanes() / set_lanes_, 1);
    if (sets <= most) return sets;
    const Index items = (sets + most - 1) / most, even = (sets + items - 1) / items;
    const Index whole = rows_of_whole_lines<Storage>(set_lanes_);
    return whole > most ? even : std::min((even + whole - 1) / whole, most / whole) * whole;
  }

  const Partition& p_;
  bool by_channel_;
  kernels::Lines rows_, cell_rows_;
  Index set_lanes_, panel_lanes_, cells_in_panel_, item_lanes_, strip_lanes_, items_in_panel_;
};

EVENKEEL_END
}  // namespace evenkeel
