#pragma once

#include "evenkeel/core/parallel.hpp"
#include "evenkeel/core/rescue.hpp"
#include "evenkeel/core/wide_rows.hpp"
#include "evenkeel/kernels/columns.hpp"

namespace evenkeel {
EVENKEEL_BEGIN

/// The passes over statistics sets that lie side by side in memory, one or several lanes each.
///
/// Memory is panels: rows of neighbouring lanes. In channel_columns a panel is one sample (or everything, in
/// batch norm) and its lanes are channels, or short lines of each channel; in sample_columns a panel is one
/// group of channels and its lanes are samples. A panel is taken in items, whole sets each: as many sets as
/// fit a kernel call, or one larger set in several strips.
/// kElements: every element has a parameter that none of its set shares.
template <typename Storage, bool kElements>
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
    cells_in_panel_ = by_channel_ || kElements ? 1 : p.channel.extent;
    item_lanes_ = item_sets() * set_lanes_;
    strip_lanes_ = std::min(item_lanes_, most_lanes() / p.inner * p.inner);
    items_in_panel_ = (panel_lanes_ + item_lanes_ - 1) / item_lanes_;
  }

  Blocks blocks() const {
    const Index panels = p_.size() / (panel_lanes_ * rows_.count());
    return {panels * items_in_panel_, item_lanes_ * rows_.count(), kMaxBlocks};
  }

  template <typename Device>
  void forward(const ForwardTask<Storage>& task, Index begin, Index end, const Team<Device>& team) const {
    Scratch<SetStatistics<Statistic>, kLanes> statistics;
    for (Index i = begin; i < end; ++i) {
      const Item item = item_at(i);
      if (task.known_mean != nullptr) {
        for (Index k = 0; k < item.sets; ++k) statistics[k] = task.known(item.set(k));
      } else {
        reduce(task, item, team, statistics.data());
      }
      for_each_in_range(
          item, [&](Index k) { return task.in_range(statistics[k]); },
          [&](const Item& some, Index first) { apply(task, some, team, &statistics[first]); },
          [&](Index k) { rescue(task, p_, item.set(k)); });
    }
  }

  template <typename Device>
  void backward(const BackwardTask<Storage>& task, Index begin, Index end, const Team<Device>& team,
                Statistic* grad_gamma, Statistic* grad_beta) const {
    Scratch<typename BackwardTask<Storage>::SetResult, kLanes> results;
    const CellSums<Storage> sums(p_, task.sums);
    for (Index i = begin; i < end; ++i) {
      const Item item = item_at(i);
      CoefficientTable<Compute, kElements ? kLanes : 1> xhat;
      if constexpr (kElements) {
        reduce_elements(task, item, team, xhat, results.data());
      } else {
        reduce_cells(task, sums, item, team);
        for (Index k = 0; k < item.sets; ++k) results[k] = sums.finish(task, item.set(k));
      }
      for_each_in_range(
          item, [&](Index k) { return results[k].in_range; },
          [&](const Item& some, Index first) {
            if constexpr (kElements) add_params(task, some, first, team, xhat, grad_gamma, grad_beta);
            apply(task, some, team, &results[first]);
          },
          [&](Index k) { rescue(task, p_, item.set(k), grad_gamma, grad_beta); });
    }
  }

 private:
  static constexpr Index kLanes = kernels::kLanes<Compute>;
  static constexpr Index kPivotValues = 64;  // from which a pivot is guessed

  // Values that narrow rows are put together to: few are near each other when several rows are summed at a time, many have
  // no short loops.
  static constexpr Index kSummed = kLanes / 32, kApplied = kLanes / 8;

  /// The two sums of each lane, of every piece that an item's rows are cut into.
  struct LaneSums {
    static constexpr Index kMax = 2 * kLanes;
    Scratch<Statistic, kMax> first, second;
  };

  /// Neighbouring lanes of one panel.
  struct Item {
    Index offset, lanes;
    Index sets, first_set, set_step;
    Index first_param, param_step;

    Index set(Index k) const { return first_set + k * set_step; }
    Index param(Index k, Index channel) const { return first_param + k * param_step + channel; }
  };

  Item item_at(Index index) const {
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

  /// Calls pass(part of the item, its first set) for neighbouring sets that are in range, and rescue(set) for the others.
  template <typename InRange, typename Pass, typename Rescue>
  void for_each_in_range(const Item& item, const InRange& in_range, const Pass& pass,
                         const Rescue& rescue) const {
    for (Index k = 0; k < item.sets;) {
      const Index first = k;
      while (k < item.sets && in_range(k)) ++k;
      if (first < k) {
        Item part = item;
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

  /// Gives a cell's lanes the value of its first one, and every row of a line the first row's values.
  static void spread(Compute* values, Index width, const WideRows<Storage>& rows) {
    if (width > 1)
      simd::run_baseline<Compute>(kernels::ColumnSpread<Compute>{values, rows.lanes() / width, width});
    rows.repeat(values);
  }

  /// sums.first[l], sums.second[l] = the Terms' sums over all rows of lane l, from one center a lane.
  template <typename Terms, typename Device>
  void sum(const Storage* x, const Storage* dy, const Compute* gamma, const WideRows<Storage>& rows,
           const Compute* centers, const Team<Device>& team, LaneSums& sums) const {
    const Index lanes = rows.lanes();
    const Pieces pieces = rows.pieces(std::min(Pieces::kMax, LaneSums::kMax / lanes));
    team.for_each(pieces.count, pieces.length * rows.width(), [&](Index i) {
      Statistic* first = &sums.first[i * lanes];
      Statistic* second = &sums.second[i * lanes];
      const auto sum_lines = [&](Index from, Index to, Index width, Statistic* f, Statistic* s) {
        simd::run<Compute>(
            kernels::ColumnSums<Terms, Storage>{x, dy, gamma, rows.lines(), from, to, width, centers, f, s});
      };
      if (rows.copies() == 1) {
        return sum_lines(pieces.begin(i), pieces.end(i), lanes, first, second);
      }
      std::fill(first, first + lanes, Statistic(0));
      std::fill(second, second + lanes, Statistic(0));
      Scratch<Statistic, kLanes> wide_first, wide_second;
      rows.for_each_span(pieces.begin(i), pieces.end(i), [&](Index from, Index to, Index width) {
        sum_lines(from, to, width, wide_first.data(), wide_second.data());
        add_rows(wide_first.data(), width / lanes, lanes, first);
        add_rows(wide_second.data(), width / lanes, lanes, second);
      });
    });
    if (pieces.count == 1) return;
    add_rows(&sums.first[lanes], pieces.count - 1, lanes, sums.first.data());
    add_rows(&sums.second[lanes], pieces.count - 1, lanes, sums.second.data());
  }

  static void add_rows(const Statistic* values, Index rows, Index lanes, Statistic* sums) {
    simd::run_baseline<Statistic>(kernels::ColumnTotals<Statistic>{values, rows, lanes, sums});
  }

  /// statistics[k] = those of the item's set k.
  ///
  /// Sums are taken about one pivot a set, the mean of a few of its rows. Where a pivot turns out poor, all is
  /// summed once more about the means.
  template <typename Device>
  void reduce(const ForwardTask<Storage>& task, const Item& item, const Team<Device>& team,
              SetStatistics<Statistic>* statistics) const {
    BlockMoments<Statistic> whole = BlockMoments<Statistic>::none();  // of a set in several strips
    for_each_strip(item, [&](Index lane, Index lanes) {
      const Storage* x = task.x + item.offset + lane;
      const Index width = std::min(set_lanes_, lanes), n = rows_.count() * width;
      const WideRows<Storage> rows(rows_, lanes, kSummed);
      Scratch<Compute, kLanes> pivots;
      LaneSums sums;
      guess_pivots(x, lanes, width, pivots.data());
      const auto sum_sets = [&] {
        spread(pivots.data(), width, rows);
        sum<kernels::Deviations>(x, nullptr, nullptr, rows, pivots.data(), team, sums);
        for (Index k = 0; width > 1 && k < lanes / width; ++k) {
          sums.first[k] = total(&sums.first[k * width], width);
          sums.second[k] = total(&sums.second[k * width], width);
        }
      };
      sum_sets();
      bool again = false;
      for (Index k = 0; k < lanes / width; ++k) {
        if (!kernels::is_poor_pivot(from_count<Statistic>(n), sums.first[k], sums.second[k])) continue;
        const Statistic mean = Statistic(pivots[k * width]) + sums.first[k] / from_count<Statistic>(n);
        pivots[k * width] = Compute(mean);
        again = true;
      }
      if (again) sum_sets();
      for (Index k = 0; k < lanes / width; ++k) {
        auto m =
            BlockMoments<Statistic>::about(Statistic(pivots[k * width]), n, sums.first[k], sums.second[k]);
        if (width < set_lanes_) {
          whole.merge(m);
          m = whole;
        }
        statistics[k] = finish(m, task.epsilon);
      }
    });
    for (Index k = 0; k < item.sets; ++k) task.save(item.set(k), statistics[k]);
  }

  /// pivots[l] = about the mean of the set that begins with lane l, `width` lanes each.
  ///
  /// Rows are taken from all over, since neighbours may be alike.
  void guess_pivots(const Storage* x, Index lanes, Index width, Compute* pivots) const {
    using Kernel = kernels::ColumnPivots<Storage>;
    const Index rows = std::min(rows_.count(), std::clamp<Index>(kPivotValues / width, 4, Kernel::kMaxRows));
    simd::run<Compute>(Kernel{x, rows_, rows, rows_.count() / rows, lanes, pivots});
    for (Index l = 0; width > 1 && l < lanes; l += width) pivots[l] = mean_of(pivots + l, width);
  }

  /// The sums of dy and of dy (x - center) of each cell of an item, for CellSums::finish.
  template <typename Device>
  void reduce_cells(const BackwardTask<Storage>& task, const CellSums<Storage>& sums, const Item& item,
                    const Team<Device>& team) const {
    for_each_cell_strip(item, [&](Index offset, Index first_channel, Index lane, Index lanes) {
      const WideRows<Storage> rows(cell_rows_, lanes, kSummed);
      LaneSums lane_sums;
      Scratch<Compute, kLanes> centers;
      for_each_cell(first_channel, lane, lanes,
                    [&](Index l, Index set, Index) { centers[l] = task.center(item.set(set)); });
      spread(centers.data(), p_.inner, rows);
      sum<kernels::Gradients>(task.x + offset, task.dy + offset, nullptr, rows, centers.data(), team,
                              lane_sums);
      for_each_cell(first_channel, lane, lanes, [&](Index l, Index set, Index channel) {
        const Index cell = item.set(set) * p_.channel.extent + channel;
        sums.dy[cell] = p_.inner == 1 ? lane_sums.first[l] : total(&lane_sums.first[l], p_.inner);
        sums.dy_xhat[cell] = p_.inner == 1 ? lane_sums.second[l] : total(&lane_sums.second[l], p_.inner);
      });
    });
  }

  /// What backward needs of each lane, from its sums weighted by gamma.
  template <typename Device>
  void reduce_elements(const BackwardTask<Storage>& task, const Item& item, const Team<Device>& team,
                       CoefficientTable<Compute, kLanes>& xhat,
                       typename BackwardTask<Storage>::SetResult* results) const {
    const WideRows<Storage> rows(rows_, item.lanes, 1);
    LaneSums sums;
    for (Index l = 0; l < item.lanes; ++l) xhat.set(l, task.of_xhat(item.set(l)));
    const Storage* x = task.x + item.offset;
    const Storage* dy = task.dy + item.offset;
    if (task.gamma == nullptr) {
      sum<kernels::Gradients>(x, dy, nullptr, rows, xhat.mean(), team, sums);
    } else {
      sum<kernels::WeightedGradients>(x, dy, task.gamma + item.param(0, 0), rows, xhat.mean(), team, sums);
    }
    for (Index l = 0; l < item.lanes; ++l) {
      const Index set = item.set(l);
      results[l] = task.finish(set, p_.set_size(), sums.first[l],
                               task.sum_dy_xhat(set, sums.first[l], sums.second[l]));
    }
  }

  /// What an item adds to the gradients of gamma and beta; its lanes begin with xhat's lane `first`.
  template <typename Device>
  void add_params(const BackwardTask<Storage>& task, const Item& item, Index first, const Team<Device>& team,
                  CoefficientTable<Compute, kLanes>& xhat, Statistic* grad_gamma,
                  Statistic* grad_beta) const {
    if (!task.wants_params()) return;
    const Pieces pieces = WideRows<Storage>(rows_, item.lanes, 1).pieces(Pieces::kMax);
    const Index param = item.param(0, 0);
    team.for_each(pieces.count, pieces.length * item.lanes, [&](Index i) {
      simd::run<Compute>(kernels::ColumnParamSums<Storage>{
          task.x + item.offset, task.dy + item.offset, rows_, pieces.begin(i), pieces.end(i), item.lanes,
          xhat.mean() + first, xhat.scale() + first, xhat.shift() + first, grad_gamma + param,
          grad_beta + param});
    });
  }

  /// How far ahead an apply pass asks for x: cells of several lanes are short lines, rows apart, so that the next item's is
  /// asked for; without sums before, a few lines.
  template <typename Task>
  Index ahead(const Task& task, const WideRows<Storage>& rows) const {
    if (p_.inner > 1) return rows.width();
    return task.reduces() ? 0 : kernels::kFewLines;
  }

  /// Goes backwards, so that what was summed last, and is still near, comes first.
  template <typename Task, typename Device>
  void apply(const Task& task, const Item& item, const Team<Device>& team,
             const typename Task::SetResult* results) const {
    constexpr Index kTurn = 64;
    CoefficientTable<Compute, kLanes> c;
    const auto apply_strip = [&](const WideRows<Storage>& rows, Index offset, const Compute* gamma,
                                 const Compute* beta) {
      const Pieces pieces = rows.pieces(Pieces::kMax);
      const auto apply_lines = [&](Index from, Index to, Index width) {
        simd::run<Compute>(kernels::ColumnApply<typename Task::Op, Storage, kElements>{
            task.x + offset,
            task.dy == nullptr ? nullptr : task.dy + offset,
            task.out + offset,
            task.streams,
            ahead(task, rows),
            rows.lines(),
            from,
            to,
            width,
            {c.mean(), c.scale(), c.shift(), c.slope()},
            gamma,
            beta});
      };
      team.for_each(pieces.count, pieces.length * rows.width(), [&](Index i) {
        const Index begin = pieces.begin(pieces.count - 1 - i);
        for (Index to = pieces.end(pieces.count - 1 - i); to > begin; to -= kTurn) {
          rows.for_each_span(std::max(begin, to - kTurn), to, apply_lines);
        }
      });
    };
    if constexpr (kElements) {
      const Index param = item.param(0, 0);
      for (Index l = 0; l < item.lanes; ++l) c.set(l, task.of_set(results[l]));
      apply_strip({rows_, item.lanes, 1}, item.offset, task.gamma == nullptr ? nullptr : task.gamma + param,
                  task.beta == nullptr ? nullptr : task.beta + param);
    } else {
      for_each_cell_strip(item, [&](Index offset, Index first_channel, Index lane, Index lanes) {
        const WideRows<Storage> rows(cell_rows_, lanes, kApplied);
        for_each_cell(first_channel, lane, lanes, [&](Index l, Index set, Index channel) {
          c.set(l, task.of_cell(results[set], item.param(set, channel)));
        });
        for (int kind = 0; kind < Task::Op::kCoefficients; ++kind) spread(c.values(kind), p_.inner, rows);
        apply_strip(rows, offset, nullptr, nullptr);
      });
    }
  }

  const Partition& p_;
  bool by_channel_;
  kernels::Lines rows_, cell_rows_;
  Index set_lanes_, panel_lanes_, cells_in_panel_, item_lanes_, strip_lanes_, items_in_panel_;
};

EVENKEEL_END
}  // namespace evenkeel
