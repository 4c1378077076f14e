#pragma once

#include "evenkeel/core/column_items.hpp"
#include "evenkeel/core/parallel.hpp"
#include "evenkeel/core/rescue.hpp"
#include "evenkeel/core/wide_rows.hpp"
#include "evenkeel/kernels/columns.hpp"

namespace evenkeel {
EVENKEEL_BEGIN

/// The passes over statistics sets that lie side by side in memory, one or several lanes each, item by item; see
/// ColumnItems. kElements: every element has a parameter that none of its set shares.
template <typename Storage, bool kElements>
class ColumnSets {
 public:
  using Compute = ComputeOf<Storage>;
  using Statistic = StatisticOf<Storage>;

  explicit ColumnSets(const Partition& p) : p_(p), items_(p) {}

  Blocks blocks() const { return items_.blocks(); }

  template <typename Device>
  void forward(const ForwardTask<Storage>& task, Index begin, Index end, const Team<Device>& team) const {
    Scratch<SetStatistics<Statistic>, kLanes> statistics;
    for (Index i = begin; i < end; ++i) {
      const ColumnItem item = items_.at(i);
      if (task.known_mean != nullptr) {
        for (Index k = 0; k < item.sets; ++k) statistics[k] = task.known(item.set(k));
      } else {
        reduce(task, item, team, statistics.data());
      }
      items_.for_each_in_range(
          item, [&](Index k) { return task.in_range(statistics[k]); },
          [&](const ColumnItem& some, Index first) { apply(task, some, team, &statistics[first]); },
          [&](Index k) { rescue(task, p_, item.set(k)); });
    }
  }

  template <typename Device>
  void backward(const BackwardTask<Storage>& task, Index begin, Index end, const Team<Device>& team,
                Statistic* grad_gamma, Statistic* grad_beta) const {
    Scratch<typename BackwardTask<Storage>::SetResult, kLanes> results;
    const CellSums<Storage> sums(p_, task.sums);
    for (Index i = begin; i < end; ++i) {
      const ColumnItem item = items_.at(i);
      CoefficientTable<Compute, kElements ? kLanes : 1> xhat;
      if constexpr (kElements) {
        reduce_elements(task, item, team, xhat, results.data());
      } else {
        reduce_cells(task, sums, item, team);
        for (Index k = 0; k < item.sets; ++k) results[k] = sums.finish(task, item.set(k));
      }
      items_.for_each_in_range(
          item, [&](Index k) { return results[k].in_range; },
          [&](const ColumnItem& some, Index first) {
            if constexpr (kElements) add_params(task, some, first, team, xhat, grad_gamma, grad_beta);
            apply(task, some, team, &results[first]);
          },
          [&](Index k) { rescue(task, p_, item.set(k), grad_gamma, grad_beta); });
    }
  }

 private:
  static constexpr Index kLanes = kernels::kLanes<Compute>;
  static constexpr Index kPivotValues = 64;  // from which a pivot is guessed

  // Values that narrow rows are put together to: few are near each other when several rows are summed at a time, many
  // have no short loops.
  static constexpr Index kSummed = kLanes / 32, kApplied = kLanes / 8;

  /// The two sums of each lane, of every piece that an item's rows are cut into.
  struct LaneSums {
    static constexpr Index kMax = 2 * kLanes;
    Scratch<Statistic, kMax> first, second;
  };

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
  void reduce(const ForwardTask<Storage>& task, const ColumnItem& item, const Team<Device>& team,
              SetStatistics<Statistic>* statistics) const {
    BlockMoments<Statistic> whole = BlockMoments<Statistic>::none();  // of a set in several strips
    items_.for_each_strip(item, [&](Index lane, Index lanes) {
      const Storage* x = task.x + item.offset + lane;
      const Index width = std::min(items_.set_lanes(), lanes), n = items_.rows().count() * width;
      const WideRows<Storage> rows(items_.rows(), lanes, kSummed);
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
        if (width < items_.set_lanes()) {
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
    const Index rows =
        std::min(items_.rows().count(), std::clamp<Index>(kPivotValues / width, 4, Kernel::kMaxRows));
    simd::run<Compute>(Kernel{x, items_.rows(), rows, items_.rows().count() / rows, lanes, pivots});
    for (Index l = 0; width > 1 && l < lanes; l += width) pivots[l] = mean_of(pivots + l, width);
  }

  /// The sums of dy and of dy (x - center) of each cell of an item, for CellSums::finish.
  template <typename Device>
  void reduce_cells(const BackwardTask<Storage>& task, const CellSums<Storage>& sums, const ColumnItem& item,
                    const Team<Device>& team) const {
    items_.for_each_cell_strip(item, [&](Index offset, Index first_channel, Index lane, Index lanes) {
      const WideRows<Storage> rows(items_.cell_rows(), lanes, kSummed);
      LaneSums lane_sums;
      Scratch<Compute, kLanes> centers;
      items_.for_each_cell(first_channel, lane, lanes,
                           [&](Index l, Index set, Index) { centers[l] = task.center(item.set(set)); });
      spread(centers.data(), p_.inner, rows);
      sum<kernels::Gradients>(task.x + offset, task.dy + offset, nullptr, rows, centers.data(), team,
                              lane_sums);
      items_.for_each_cell(first_channel, lane, lanes, [&](Index l, Index set, Index channel) {
        const Index cell = item.set(set) * p_.channel.extent + channel;
        sums.dy[cell] = p_.inner == 1 ? lane_sums.first[l] : total(&lane_sums.first[l], p_.inner);
        sums.dy_xhat[cell] = p_.inner == 1 ? lane_sums.second[l] : total(&lane_sums.second[l], p_.inner);
      });
    });
  }

  /// What backward needs of each lane, from its sums weighted by gamma.
  template <typename Device>
  void reduce_elements(const BackwardTask<Storage>& task, const ColumnItem& item, const Team<Device>& team,
                       CoefficientTable<Compute, kLanes>& xhat,
                       typename BackwardTask<Storage>::SetResult* results) const {
    const WideRows<Storage> rows(items_.rows(), item.lanes, 1);
    LaneSums sums;
    for (Index l = 0; l < item.lanes; ++l) xhat.set(l, task.of_xhat(item.set(l)));
    const Storage* x = task.x + item.offset;
    const Storage* dy = task.dy + item.offset;
    if (task.gamma == nullptr) {
      sum<kernels::Gradients>(x, dy, nullptr, rows, xhat.mean(), team, sums);
    } else {
      sum<kernels::WeightedGradients>(x, dy, task.gamma + item.param(0, 0), rows, xhat.mean(), team, sums);
    }
    const GradientSums<Storage> right_sums(p_.set_size());
    for (Index l = 0; l < item.lanes; ++l) {
      const Index set = item.set(l);
      results[l] = task.finish(set, p_.set_size(), right_sums, sums.first[l],
                               task.sum_dy_xhat(set, sums.first[l], sums.second[l]));
    }
  }

  /// What an item adds to the gradients of gamma and beta; its lanes begin with xhat's lane `first`.
  template <typename Device>
  void add_params(const BackwardTask<Storage>& task, const ColumnItem& item, Index first,
                  const Team<Device>& team, CoefficientTable<Compute, kLanes>& xhat, Statistic* grad_gamma,
                  Statistic* grad_beta) const {
    if (!task.wants_params()) return;
    const Pieces pieces = WideRows<Storage>(items_.rows(), item.lanes, 1).pieces(Pieces::kMax);
    const Index param = item.param(0, 0);
    team.for_each(pieces.count, pieces.length * item.lanes, [&](Index i) {
      simd::run<Compute>(kernels::ColumnParamSums<Storage>{
          task.x + item.offset, task.dy + item.offset, items_.rows(), pieces.begin(i), pieces.end(i),
          item.lanes, xhat.mean() + first, xhat.scale() + first, xhat.shift() + first, grad_gamma + param,
          grad_beta + param});
    });
  }

  /// How far ahead an apply pass asks for x: cells of several lanes are short lines, rows apart, so that the next
  /// item's is asked for; without sums before, a few lines.
  template <typename Task>
  Index ahead(const Task& task, const WideRows<Storage>& rows) const {
    if (p_.inner > 1) return rows.width();
    return task.reduces() ? 0 : kernels::kFewLines;
  }

  /// Goes backwards, so that what was summed last, and is still near, comes first.
  template <typename Task, typename Device>
  void apply(const Task& task, const ColumnItem& item, const Team<Device>& team,
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
      apply_strip({items_.rows(), item.lanes, 1}, item.offset,
                  task.gamma == nullptr ? nullptr : task.gamma + param,
                  task.beta == nullptr ? nullptr : task.beta + param);
    } else {
      items_.for_each_cell_strip(item, [&](Index offset, Index first_channel, Index lane, Index lanes) {
        const WideRows<Storage> rows(items_.cell_rows(), lanes, kApplied);
        items_.for_each_cell(first_channel, lane, lanes, [&](Index l, Index set, Index channel) {
          c.set(l, task.of_cell(results[set], item.param(set, channel)));
        });
        for (int kind = 0; kind < Task::Op::kCoefficients; ++kind) spread(c.values(kind), p_.inner, rows);
        apply_strip(rows, offset, nullptr, nullptr);
      });
    }
  }

  const Partition& p_;
  ColumnItems<Storage, kElements> items_;
};

EVENKEEL_END
}  // namespace evenkeel
