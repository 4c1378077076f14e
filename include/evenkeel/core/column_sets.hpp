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
    item_lanes_ = std::min(panel_lanes_, std::max(kernels::kBatch / set_lanes_, Index(1)) * set_lanes_);
    strip_lanes_ = std::min(item_lanes_, kernels::kBatch / p.inner * p.inner);
    items_in_panel_ = (panel_lanes_ + item_lanes_ - 1) / item_lanes_;
  }

  Blocks blocks() const {
    const Index panels = p_.size() / (panel_lanes_ * rows_.count());
    return {panels * items_in_panel_, item_lanes_ * rows_.count(), kMaxBlocks};
  }

  template <typename Device>
  void forward(const ForwardTask<Storage>& task, Index begin, Index end, const Team<Device>& team) const {
    Scratch<SetStatistics<Statistic>, kernels::kBatch> statistics;
    for (Index i = begin; i < end; ++i) {
      const Item item = item_at(i);
      if (task.known_mean != nullptr) {
        for (Index k = 0; k < item.sets; ++k) statistics[k] = task.known(item.set(k));
      } else {
        Scratch<BlockMoments<Statistic>, kernels::kBatch> moments;
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
    Scratch<typename BackwardTask<Storage>::SetResult, kernels::kBatch> results;
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

  /// Calls f(first lane, lanes) for an item's strips.
  template <typename F>
  void for_each_strip(const Item& item, const F& f) const {
    for (Index lane = 0; lane < item.lanes; lane += strip_lanes_)
      f(lane, std::min(strip_lanes_, item.lanes - lane));
  }

  /// moments[k] = those of the item's set k: of its lanes, merged.
  template <typename Device>
  void reduce(const ForwardTask<Storage>& task, const Item& item, const Team<Device>& team,
              BlockMoments<Statistic>* moments) const {
    using Partial = BlockMoments<Statistic>;
    const Pieces pieces(rows_.count(), strip_lanes_);
    Scratch<Partial, Pieces::kMax * kernels::kBatch> partial;
    for (Index k = 0; k < item.sets; ++k) moments[k] = Partial::none();
    for_each_strip(item, [&](Index lane, Index lanes) {
      team.for_each(pieces.count, pieces.length * lanes, [&](Index i) {
        column_moments(task.x + item.offset + lane, rows_, lanes, pieces.begin(i), pieces.end(i),
                       &partial[i * kernels::kBatch]);
      });
      for (Index l = 0; l < lanes; ++l) {
        Partial& lane_moments = partial[l];
        for (Index i = 1; i < pieces.count; ++i) lane_moments.merge(partial[i * kernels::kBatch + l]);
        moments[(lane + l) / set_lanes_].merge(lane_moments);
      }
    });
  }

  /// The two sums of each cell of an item.
  template <typename Device>
  void reduce_cells(const BackwardTask<Storage>& task, const CellSums<Storage>& sums, const Item& item,
                    const Team<Device>& team) const {
    const Pieces pieces(cell_rows_.count(), strip_lanes_);
    Scratch<Statistic, Pieces::kMax * kernels::kBatch> dy, dy_x;
    Scratch<Compute, kernels::kBatch> centers;
    for_each_cell_strip(item, [&](Index offset, Index channel, Index lane, Index lanes) {
      for (Index l = 0; l < lanes; ++l) centers[l] = task.center(item.set((lane + l) / set_lanes_));
      team.for_each(pieces.count, pieces.length * lanes, [&](Index i) {
        simd::run<Compute>(kernels::ColumnSums<kernels::Gradients, Storage>{
            task.x + offset, task.dy + offset, nullptr, cell_rows_, pieces.begin(i), pieces.end(i), lanes,
            centers.data(), &dy[i * kernels::kBatch], &dy_x[i * kernels::kBatch]});
      });
      for (Index l = 0; l < lanes; ++l) {
        const Index set = item.set((lane + l) / set_lanes_);
        const Index cell = set * p_.channel.extent + channel_of(channel, lane + l);
        if ((lane + l) % p_.inner == 0) sums.dy[cell] = sums.dy_x[cell] = Statistic(0);
        for (Index i = 0; i < pieces.count; ++i) {
          sums.dy[cell] += dy[i * kernels::kBatch + l];
          sums.dy_x[cell] += dy_x[i * kernels::kBatch + l];
        }
      }
    });
  }

  /// What backward needs of each lane, from its sums weighted by gamma; and what the lanes add to the
  /// gradients of gamma and beta.
  template <typename Device>
  void reduce_elements(const BackwardTask<Storage>& task, const Item& item, const Team<Device>& team,
                       typename BackwardTask<Storage>::SetResult* results, Statistic* grad_gamma,
                       Statistic* grad_beta) const {
    const Pieces pieces(rows_.count(), item.lanes);
    Scratch<Statistic, Pieces::kMax * kernels::kBatch> dy, dy_x;
    Scratch<Compute, kernels::kBatch> centers;
    CoefficientTable<Compute> xhat;
    for (Index l = 0; l < item.lanes; ++l) {
      centers[l] = task.center(item.set(l));
      xhat.set(l, task.of_xhat(item.set(l)));
    }
    const Storage* x = task.x + item.offset;
    const Storage* upstream = task.dy + item.offset;
    const Index param = p_.first_param(item.set(0));
    const Compute* gamma = task.gamma == nullptr ? nullptr : task.gamma + param;
    team.for_each(pieces.count, pieces.length * item.lanes, [&](Index i) {
      const Index begin = pieces.begin(i), end = pieces.end(i);
      Statistic* piece_dy = &dy[i * kernels::kBatch];
      Statistic* piece_dy_x = &dy_x[i * kernels::kBatch];
      if (gamma == nullptr) {
        simd::run<Compute>(kernels::ColumnSums<kernels::Gradients, Storage>{
            x, upstream, nullptr, rows_, begin, end, item.lanes, centers.data(), piece_dy, piece_dy_x});
      } else {
        simd::run<Compute>(kernels::ColumnSums<kernels::WeightedGradients, Storage>{
            x, upstream, gamma, rows_, begin, end, item.lanes, centers.data(), piece_dy, piece_dy_x});
      }
      if (task.wants_params()) {
        simd::run<Compute>(kernels::ColumnParamSums<Storage>{x, upstream, rows_, begin, end, item.lanes,
                                                             xhat.mean(), xhat.scale(), xhat.shift(),
                                                             grad_gamma + param, grad_beta + param});
      }
    });
    for (Index l = 0; l < item.lanes; ++l) {
      for (Index i = 1; i < pieces.count; ++i) {
        dy[l] += dy[i * kernels::kBatch + l];
        dy_x[l] += dy_x[i * kernels::kBatch + l];
      }
      results[l] = task.finish(item.set(l), p_.set_size(), dy[l], dy_x[l]);
    }
  }

  template <typename Task, typename Device>
  void apply(const Task& task, const Item& item, const Team<Device>& team,
             const typename Task::SetResult* results) const {
    const auto apply_strip = [&](const kernels::Lines& rows, Index offset, Index lanes,
                                 CoefficientTable<Compute>& c, const Compute* gamma, const Compute* beta) {
      const Pieces pieces(rows.count(), lanes);
      team.for_each(pieces.count, pieces.length * lanes, [&](Index i) {
        simd::run<Compute>(
            kernels::ColumnApply<typename Task::Op, Storage>{task.x + offset,
                                                             task.dy == nullptr ? nullptr : task.dy + offset,
                                                             task.out + offset,
                                                             rows,
                                                             pieces.begin(i),
                                                             pieces.end(i),
                                                             lanes,
                                                             {c.mean(), c.scale(), c.shift(), c.slope()},
                                                             gamma,
                                                             beta});
      });
    };
    CoefficientTable<Compute> c;
    if (p_.elements_are_cells()) {
      const Index param = p_.first_param(item.set(0));
      for (Index l = 0; l < item.lanes; ++l) c.set(l, task.of_set(results[l]));
      apply_strip(rows_, item.offset, item.lanes, c, task.gamma == nullptr ? nullptr : task.gamma + param,
                  task.beta == nullptr ? nullptr : task.beta + param);
      return;
    }
    for_each_cell_strip(item, [&](Index offset, Index channel, Index lane, Index lanes) {
      for (Index l = 0; l < lanes; ++l) {
        const Index k = (lane + l) / set_lanes_;
        c.set(l, task.of_cell(results[k], p_.first_param(item.set(k)) + channel_of(channel, lane + l)));
      }
      apply_strip(cell_rows_, offset, lanes, c, nullptr, nullptr);
    });
  }

  /// Calls f(offset, first channel, first lane, lanes) for lanes whose rows are cells.
  template <typename F>
  void for_each_cell_strip(const Item& item, const F& f) const {
    for (Index channel = 0; channel < cells_in_panel_; ++channel) {
      for_each_strip(item, [&](Index lane, Index lanes) {
        f(item.offset + channel * p_.channel.stride + lane, channel, lane, lanes);
      });
    }
  }

  /// The channel of an item's lane within its set.
  Index channel_of(Index first_channel, Index lane) const {
    return first_channel + lane % set_lanes_ / p_.inner;
  }

  const Partition& p_;
  bool by_channel_;
  kernels::Lines rows_, cell_rows_;
  Index set_lanes_, panel_lanes_, cells_in_panel_, item_lanes_, strip_lanes_, items_in_panel_;
};

}  // namespace evenkeel
