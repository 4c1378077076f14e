#pragma once

#include "evenkeel/core/parallel.hpp"
#include "evenkeel/core/task.hpp"
#include "evenkeel/kernels/columns.hpp"

namespace evenkeel {

/// The passes over statistics sets that lie side by side in memory, one or several lanes each.
///
/// Memory is panels: rows of neighbouring lanes. In channel_columns a panel is one sample (or everything, in
/// batch norm) and its lanes are channels, or short lines of each channel; in sample_columns a panel is one
/// group of channels and its lanes are samples. A panel is taken in items, whole sets each: as many sets as
/// fit a kernel call, or one larger set in several strips.
template <typename Storage>
class ColumnSets {
 public:
  using Compute = ComputeOf<Storage>;
  using Statistic = StatisticOf<Storage>;

  explicit ColumnSets(const Partition& p) : p_(p), by_channel_(p.walk == Walk::channel_columns) {
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
    cells_in_panel_ = by_channel_ || p.elements_are_cells() ? 1 : p.channel.extent;
    item_lanes_ = std::min(panel_lanes_, std::max(kernels::kLanes / set_lanes_, Index(1)) * set_lanes_);
    strip_lanes_ = std::min(item_lanes_, kernels::kLanes / p.inner * p.inner);
    items_in_panel_ = (panel_lanes_ + item_lanes_ - 1) / item_lanes_;
  }

  Blocks blocks() const {
    const Index panels = p_.size() / (panel_lanes_ * rows_.count());
    return {panels * items_in_panel_, item_lanes_ * rows_.count(), kMaxBlocks};
  }

  template <typename Device>
  void forward(const ForwardTask<Storage>& task, Index begin, Index end, const Team<Device>& team) const {
    Scratch<SetStatistics<Statistic>, kernels::kLanes> statistics;
    for (Index i = begin; i < end; ++i) {
      const Item item = item_at(i);
      if (task.known_mean != nullptr) {
        for (Index k = 0; k < item.sets; ++k) statistics[k] = task.known(item.set(k));
      } else {
        Scratch<BlockMoments<Statistic>, kernels::kLanes> moments;
        reduce(task, item, team, moments.data());
        for (Index k = 0; k < item.sets; ++k) {
          statistics[k] = finish(moments[k], task.epsilon);
          task.save(item.set(k), statistics[k]);
        }
      }
      apply(task, item, team, statistics.data());
    }
  }

  template <typename Device>
  void backward(const BackwardTask<Storage>& task, Index begin, Index end, const Team<Device>& team,
                Statistic* grad_gamma, Statistic* grad_beta) const {
    Scratch<typename BackwardTask<Storage>::SetResult, kernels::kLanes> results;
    const CellSums<Storage> sums(p_, task.sums);
    for (Index i = begin; i < end; ++i) {
      const Item item = item_at(i);
      if (p_.elements_are_cells()) {
        reduce_elements(task, item, team, results.data(), grad_gamma, grad_beta);
      } else {
        reduce_cells(task, sums, item, team);
        for (Index k = 0; k < item.sets; ++k) results[k] = sums.finish(task, item.set(k));
      }
      apply(task, item, team, results.data());
    }
  }

 private:
  /// Values kept for each lane, or each set, of every piece that an item's rows are cut into.
  static constexpr Index kPartial = 2 * kernels::kLanes;

  /// Neighbouring lanes of one panel.
  struct Item {
    Index offset, lanes;
    Index sets, first_set, set_step;

    Index set(Index k) const { return first_set + k * set_step; }
  };

  Item item_at(Index index) const {
    const Index panel = index / items_in_panel_, lane = index % items_in_panel_ * item_lanes_;
    const Index lanes = std::min(item_lanes_, panel_lanes_ - lane), sets = lanes / set_lanes_;
    const Index groups = p_.group.extent;
    if (by_channel_) {
      const Index first = panel * groups;
      return {p_.offset(first) + lane, lanes, sets, first + lane / set_lanes_, 1};
    }
    const Index first = panel / groups * p_.batch.extent * groups + panel % groups;
    return {p_.offset(first) + lane, lanes, sets, first + lane * groups, groups};
  }

  Pieces pieces_of(Index rows, Index lanes) const { return {rows, lanes, kPartial / strip_lanes_}; }

  /// Calls f(first lane, lanes) for an item's strips.
  template <typename F>
  void for_each_strip(const Item& item, const F& f) const {
    for (Index lane = 0; lane < item.lanes; lane += strip_lanes_)
      f(lane, std::min(strip_lanes_, item.lanes - lane));
  }

  /// Calls f(offset, first channel, first lane, lanes) for the strips of all panels whose rows are cells.
  template <typename F>
  void for_each_cell_strip(const Item& item, const F& f) const {
    for (Index channel = 0; channel < cells_in_panel_; ++channel) {
      for_each_strip(item, [&](Index lane, Index lanes) {
        f(item.offset + channel * p_.channel.stride + lane, channel, lane, lanes);
      });
    }
  }

  /// Calls f(lane of the strip, lanes, set of the item, channel) for the cells of a strip.
  template <typename F>
  void for_each_cell(Index first_channel, Index first_lane, Index lanes, const F& f) const {
    if (!by_channel_) {
      for (Index l = 0; l < lanes; ++l) f(l, 1, first_lane + l, first_channel);
      return;
    }
    const Index channels = p_.channel.extent, cell = first_lane / p_.inner;
    Index set = cell / channels, channel = cell % channels;
    for (Index l = 0; l < lanes; l += p_.inner) {
      f(l, p_.inner, set, channel);
      if (++channel == channels) {
        channel = 0;
        ++set;
      }
    }
  }

  /// moments[k] = those of the item's set k.
  template <typename Device>
  void reduce(const ForwardTask<Storage>& task, const Item& item, const Team<Device>& team,
              BlockMoments<Statistic>* moments) const {
    using Partial = BlockMoments<Statistic>;
    const Pieces pieces = pieces_of(rows_.count(), strip_lanes_);
    Scratch<Partial, kPartial> partial;
    for (Index k = 0; k < item.sets; ++k) moments[k] = Partial::none();
    for_each_strip(item, [&](Index lane, Index lanes) {
      const Index set_lanes = std::min(set_lanes_, lanes), sets = lanes / set_lanes;
      team.for_each(pieces.count, pieces.length * lanes, [&](Index i) {
        column_moments(task.x + item.offset + lane, rows_, lanes, set_lanes, pieces.begin(i), pieces.end(i),
                       &partial[i * sets]);
      });
      for (Index i = 0; i < pieces.count; ++i) {
        for (Index k = 0; k < sets; ++k) moments[lane / set_lanes_ + k].merge(partial[i * sets + k]);
      }
    });
  }

  /// The two sums of each cell of an item.
  template <typename Device>
  void reduce_cells(const BackwardTask<Storage>& task, const CellSums<Storage>& sums, const Item& item,
                    const Team<Device>& team) const {
    const Pieces pieces = pieces_of(cell_rows_.count(), strip_lanes_);
    Scratch<Statistic, kPartial> dy, dy_x;
    Scratch<Compute, kernels::kLanes> centers;
    for_each_cell_strip(item, [&](Index offset, Index first_channel, Index lane, Index lanes) {
      for_each_cell(first_channel, lane, lanes, [&](Index l, Index width, Index set, Index) {
        std::fill(&centers[l], &centers[l] + width, task.center(item.set(set)));
      });
      team.for_each(pieces.count, pieces.length * lanes, [&](Index i) {
        simd::run<Compute>(kernels::ColumnSums<kernels::Gradients, Storage>{
            task.x + offset, task.dy + offset, nullptr, cell_rows_, pieces.begin(i), pieces.end(i), lanes,
            centers.data(), &dy[i * lanes], &dy_x[i * lanes]});
      });
      add_pieces(pieces.count, lanes, dy, dy_x);
      for_each_cell(first_channel, lane, lanes, [&](Index l, Index width, Index set, Index channel) {
        const Index cell = item.set(set) * p_.channel.extent + channel;
        sums.dy[cell] = total(&dy[l], width);
        sums.dy_x[cell] = total(&dy_x[l], width);
      });
    });
  }

  static void add_pieces(Index pieces, Index lanes, Scratch<Statistic, kPartial>& dy,
                         Scratch<Statistic, kPartial>& dy_x) {
    for (Index i = 1; i < pieces; ++i) {
      for (Index l = 0; l < lanes; ++l) {
        dy[l] += dy[i * lanes + l];
        dy_x[l] += dy_x[i * lanes + l];
      }
    }
  }

  /// What backward needs of each lane, from its sums weighted by gamma; and what the lanes add to the
  /// gradients of gamma and beta.
  template <typename Device>
  void reduce_elements(const BackwardTask<Storage>& task, const Item& item, const Team<Device>& team,
                       typename BackwardTask<Storage>::SetResult* results, Statistic* grad_gamma,
                       Statistic* grad_beta) const {
    const Pieces pieces = pieces_of(rows_.count(), item.lanes);
    Scratch<Statistic, kPartial> dy, dy_x;
    CoefficientTable<Compute, kernels::kLanes> xhat;
    for (Index l = 0; l < item.lanes; ++l) xhat.set(l, task.of_xhat(item.set(l)));
    const Storage* x = task.x + item.offset;
    const Storage* upstream = task.dy + item.offset;
    const Index param = p_.first_param(item.set(0));
    const Compute* gamma = task.gamma == nullptr ? nullptr : task.gamma + param;
    team.for_each(pieces.count, pieces.length * item.lanes, [&](Index i) {
      const Index begin = pieces.begin(i), end = pieces.end(i);
      Statistic* piece_dy = &dy[i * item.lanes];
      Statistic* piece_dy_x = &dy_x[i * item.lanes];
      if (gamma == nullptr) {
        simd::run<Compute>(kernels::ColumnSums<kernels::Gradients, Storage>{
            x, upstream, nullptr, rows_, begin, end, item.lanes, xhat.mean(), piece_dy, piece_dy_x});
      } else {
        simd::run<Compute>(kernels::ColumnSums<kernels::WeightedGradients, Storage>{
            x, upstream, gamma, rows_, begin, end, item.lanes, xhat.mean(), piece_dy, piece_dy_x});
      }
      if (task.wants_params()) {
        simd::run<Compute>(kernels::ColumnParamSums<Storage>{x, upstream, rows_, begin, end, item.lanes,
                                                             xhat.mean(), xhat.scale(), xhat.shift(),
                                                             grad_gamma + param, grad_beta + param});
      }
    });
    add_pieces(pieces.count, item.lanes, dy, dy_x);
    for (Index l = 0; l < item.lanes; ++l)
      results[l] = task.finish(item.set(l), p_.set_size(), dy[l], dy_x[l]);
  }

  template <typename Task, typename Device>
  void apply(const Task& task, const Item& item, const Team<Device>& team,
             const typename Task::SetResult* results) const {
    CoefficientTable<Compute, kernels::kLanes> c;
    const auto apply_strip = [&](const kernels::Lines& rows, Index offset, Index lanes, const Compute* gamma,
                                 const Compute* beta) {
      const Pieces pieces(rows.count(), lanes);
      team.for_each(pieces.count, pieces.length * lanes, [&](Index i) {
        simd::run<Compute>(
            kernels::ColumnApply<typename Task::Op, Storage>{task.x + offset,
                                                             task.dy == nullptr ? nullptr : task.dy + offset,
                                                             task.out + offset,
                                                             task.streams(p_),
                                                             rows,
                                                             pieces.begin(i),
                                                             pieces.end(i),
                                                             lanes,
                                                             {c.mean(), c.scale(), c.shift(), c.slope()},
                                                             gamma,
                                                             beta});
      });
    };
    if (p_.elements_are_cells()) {
      const Index param = p_.first_param(item.set(0));
      for (Index l = 0; l < item.lanes; ++l) c.set(l, task.of_set(results[l]));
      apply_strip(rows_, item.offset, item.lanes, task.gamma == nullptr ? nullptr : task.gamma + param,
                  task.beta == nullptr ? nullptr : task.beta + param);
      return;
    }
    for_each_cell_strip(item, [&](Index offset, Index first_channel, Index lane, Index lanes) {
      for_each_cell(first_channel, lane, lanes, [&](Index l, Index width, Index set, Index channel) {
        const auto of_cell = task.of_cell(results[set], p_.first_param(item.set(set)) + channel);
        for (Index i = l; i < l + width; ++i) c.set(i, of_cell);
      });
      apply_strip(cell_rows_, offset, lanes, nullptr, nullptr);
    });
  }

  const Partition& p_;
  bool by_channel_;
  kernels::Lines rows_, cell_rows_;
  Index set_lanes_, panel_lanes_, cells_in_panel_, item_lanes_, strip_lanes_, items_in_panel_;
};

}  // namespace evenkeel
