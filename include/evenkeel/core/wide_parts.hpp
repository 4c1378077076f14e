// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>

#include "evenkeel/core/pass.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN
EVENKEEL_BEGIN_SMALL

/// Sets that are computed together: one, or neighbouring rows or columns.
struct SetRun {
  Index first, step, count;
  Index offset;  // where the first begins

  Index set(Index k) const { return first + k * step; }
};
inline SetRun run_of_set(const Partition& p, Index set) { return {set, 1, 1, p.offset(set)}; }

/// A few sets of a run in memory, cut into parts for one kernel call each: a channel, or neighbouring lanes.
template <typename S>
class WideParts {
 public:
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;

  static constexpr Index kMost = 64;  // lanes of a kernel call

  /// From where a set begins to where the next one of a run does.
  static Index stride_of_set(const Partition& p) {
    if (p.order == MemoryOrder::rows) return p.batch.stride;
    return p.order == MemoryOrder::channel_columns ? p.channel.extent * p.inner : 1;
  }
  /// How many sets are computed together.
  static Index sets_at_once(const Partition& p) {
    if (p.order == MemoryOrder::rows) return kMost;
    return has_own_lanes(p) ? std::max<Index>(1, kMost / stride_of_set(p)) : 1;
  }

 protected:
  using Values = Scratch<T, kMost + kPadding>;  // one a set, or one a lane

  /// What one kernel call works on.
  struct Part {
    Index offset;
    WideShare share;
    Index lanes;                    // or lines, that have coefficients of their own; or 1
    Index first_lane;               // of channel_columns, counted from where the run begins
    Index first_line;               // of a block
    Index channel;                  // where a part is one channel of its sets
    const C* line_gamma = nullptr;  // if each element has a parameter
    const C* line_beta = nullptr;
    const C* lane_gamma = nullptr;
    const C* lane_beta = nullptr;
    Lines lines;
  };

  WideParts(const Partition& p, const Pass<S>& pass, const SetRun& run)
      : p_(p), pass_(pass), run_(run), set_stride_(stride_of_set(p)) {}

  /// Columns whose cells are narrower than a vector or two are lanes with coefficients of their own.
  static bool has_own_lanes(const Partition& p) {
    return p.order == MemoryOrder::sample_columns ||
           (p.order == MemoryOrder::channel_columns && p.inner < 16);
  }
  bool lanes_are_channels() const { return p_.order == MemoryOrder::channel_columns && has_own_lanes(p_); }
  Index parts() const {
    if (lanes_are_channels()) return (run_.count * set_stride_ + kMost - 1) / kMost;
    return p_.elements_are_cells() ? 1 : p_.channel.extent;
  }
  EVENKEEL_COLD Part part(Index i) const {
    const Index param = p_.first_param(run_.first);
    Part part{};
    part.offset = run_.offset;
    part.share = p_.order == MemoryOrder::rows ? WideShare::lines
                 : has_own_lanes(p_)           ? WideShare::lanes
                                               : WideShare::all;
    part.lanes = run_.count;
    part.lines = p_.cell_lines();
    if (p_.order == MemoryOrder::rows) {
      part.lane_gamma = pass_.gamma_from(param);
      part.lane_beta = pass_.beta_from(param);
      part.lines = {1, 0, run_.count, set_stride_, p_.channel.extent};
    } else if (p_.elements_are_cells()) {
      part.line_gamma = pass_.gamma_from(param);
      part.line_beta = pass_.beta_from(param);
      part.lines = {1, 0, p_.channel.extent, p_.channel.stride, part.lanes};
    } else if (lanes_are_channels()) {
      part.first_lane = i * kMost;
      part.offset += part.first_lane;
      part.lanes = part.lines.length = std::min(kMost, run_.count * set_stride_ - part.first_lane);
    } else {
      part.channel = i;
      part.offset += i * p_.channel.stride;
      if (part.share == WideShare::lanes) part.lines.length = part.lanes;
    }
    return part;
  }
  /// Of a lane: its set in the run, and its channel in the run's parameters where elements share parameters.
  Index set_of(const Part& part, Index lane) const {
    return lanes_are_channels() ? (part.first_lane + lane) / set_stride_ : lane;
  }
  Index channel_of(const Part& part, Index lane) const {
    return lanes_are_channels() ? (part.first_lane + lane) / p_.inner : part.channel;
  }
  C gamma(const Part& part, Index lane) const {
    if (pass_.gamma == nullptr || p_.elements_are_cells()) return C(1);
    return C(pass_.gamma[p_.first_param(run_.first) + channel_of(part, lane)] + pass_.gamma_offset());
  }
  C beta(const Part& part, Index lane) const {
    if (pass_.beta == nullptr || p_.elements_are_cells()) return C(0);
    return pass_.beta[p_.first_param(run_.first) + channel_of(part, lane)];
  }
  /// Calls f(block) for blocks of a part's lines: of lanes, as many as stay near while vectors go through them one by one.
  template <typename F>
  void for_each_block(const Part& part, const F& f) const {
    const bool is_cut = part.share == WideShare::lanes;
    const Index near = kMost * kMost / part.lanes;
    const Lines& all = part.lines;
    const bool by_inner = all.inner > 1;
    const Index outers = is_cut && by_inner ? all.outer : 1;
    const Index lines = !is_cut ? 1 : by_inner ? all.inner : all.outer;
    const Index stride = by_inner ? all.inner_stride : all.outer_stride;
    for (Index outer = 0; outer < outers; ++outer) {
      for (Index line = 0; line < lines; line += near) {
        Part block = part;
        if (is_cut) {
          block.offset += outer * all.outer_stride + line * stride;
          block.lines = {1, 0, std::min(near, lines - line), stride, all.length};
          block.first_line = outer * lines + line;
          if (part.line_gamma != nullptr) block.line_gamma += block.first_line;
          if (part.line_beta != nullptr) block.line_beta += block.first_line;
        }
        f(block);
      }
    }
  }
  /// A value a lane, from one a set.
  template <typename Array>
  const T* of_lanes(const Part& part, const Array& of_sets, Values& room) const {
    for (Index j = 0; j < part.lanes; ++j) room[j] = of_sets[set_of(part, j)];
    return with_room(part, room);
  }
  static const T* with_room(const Part& part, Values& of_lanes) {
    std::fill_n(of_lanes.data() + part.lanes, kPadding, T(0));
    return of_lanes.data();
  }

  const Partition& p_;
  const Pass<S>& pass_;
  SetRun run_;
  Index set_stride_;
};

EVENKEEL_END_SMALL
EVENKEEL_END
}  // namespace evenkeel::detail
