#pragma once

#include "evenkeel/core/parallel.hpp"
#include "evenkeel/core/task.hpp"
#include "evenkeel/kernels/rows.hpp"

namespace evenkeel {

/// The passes over statistics sets that are lines in memory: runs and rows.
///
/// Small sets are taken several at a time, reduced and then applied while they are in the nearest cache; a
/// large one is cut into pieces.
template <typename Storage>
class LineSets {
 public:
  using Compute = ComputeOf<Storage>;
  using Statistic = StatisticOf<Storage>;

  explicit LineSets(const Partition& p)
      : p_(p),
        set_lines_(p.set_lines()),
        cell_lines_(p.cell_lines()),
        set_pieces_(p.set_size(), 1),
        cell_pieces_(p.cell_size(), 1) {}

  /// A row's parameter gradients have a place in each block, so long rows make few blocks.
  Blocks blocks() const {
    return {p_.sets(), p_.set_size(), is_rows() && set_pieces_.count > 1 ? 8 : kMaxBlocks};
  }

  template <typename Device>
  void forward(const ForwardTask<Storage>& task, Index begin, Index end, const Team<Device>& team) const {
    Scratch<SetStatistics<Statistic>, kernels::kBatch> statistics;
    for_each_batch(begin, end, [&](Index first, Index sets) {
      if (task.known_mean != nullptr) {
        for (Index k = 0; k < sets; ++k) statistics[k] = task.known(set_at(first + k));
      } else {
        Scratch<BlockMoments<Statistic>, kernels::kBatch> moments;
        reduce(task, first, sets, team, moments.data());
        for (Index k = 0; k < sets; ++k) {
          statistics[k] = finish(moments[k], task.epsilon);
          task.save(set_at(first + k), statistics[k]);
        }
      }
      apply(task, first, sets, team, statistics.data());
    });
  }

  template <typename Device>
  void backward(const BackwardTask<Storage>& task, Index begin, Index end, const Team<Device>& team,
                Statistic* grad_gamma, Statistic* grad_beta) const {
    Scratch<typename BackwardTask<Storage>::SetResult, kernels::kBatch> results;
    const CellSums<Storage> sums(p_, task.sums);
    for_each_batch(begin, end, [&](Index first, Index sets) {
      if (is_rows()) {
        reduce_rows(task, first, sets, team, results.data());
        if (task.wants_params()) sum_params(task, first, sets, team, grad_gamma, grad_beta);
      } else {
        reduce_cells(task, sums, first, sets, team);
        for (Index k = 0; k < sets; ++k) results[k] = sums.finish(task, set_at(first + k));
      }
      apply(task, first, sets, team, results.data());
    });
  }

 private:
  static constexpr Index kNear = 8192;  // elements that stay in the nearest cache

  bool is_rows() const { return p_.walk == Walk::rows; }

  /// Rows are taken group by group, so that neighbours have the same parameters; runs as they lie in memory.
  Index set_at(Index item) const {
    if (!is_rows()) return item;
    const Index samples = p_.sets() / p_.group.extent;
    return item % samples * p_.group.extent + item / samples;
  }

  /// Calls f(first item, sets) for sets that are worked on together.
  template <typename F>
  void for_each_batch(Index begin, Index end, const F& f) const {
    const Index samples = p_.sets() / p_.group.extent;
    const Index most = std::clamp<Index>(kNear / p_.set_size(), 1, kernels::kBatch);
    for (Index first = begin; first < end;) {
      const Index sets = std::min({most, end - first, is_rows() ? samples - first % samples : most});
      f(first, sets);
      first += sets;
    }
  }

  /// Calls f(first cell, cells, begin, end, piece) for cells [begin, end): several whole ones, or a piece of
  /// one.
  template <typename Device, typename F>
  void for_each_cell(Index begin, Index end, const Team<Device>& team, const F& f) const {
    if (cell_pieces_.count == 1) {
      const Index bundle = std::clamp<Index>(kGrain / p_.cell_size(), 1, kernels::kBatch);
      team.for_each((end - begin + bundle - 1) / bundle, bundle * p_.cell_size(), [&](Index i) {
        const Index cell = begin + i * bundle;
        f(cell, std::min(bundle, end - cell), 0, p_.cell_size(), 0);
      });
    } else {
      team.for_each((end - begin) * cell_pieces_.count, cell_pieces_.length, [&](Index i) {
        const Index piece = i % cell_pieces_.count;
        f(begin + i / cell_pieces_.count, 1, cell_pieces_.begin(piece), cell_pieces_.end(piece), piece);
      });
    }
  }

  Scratch<Index, kernels::kBatch> set_offsets(Index first, Index sets) const {
    Scratch<Index, kernels::kBatch> offsets;
    for (Index k = 0; k < sets; ++k) offsets[k] = p_.offset(set_at(first + k));
    return offsets;
  }

  Scratch<Index, kernels::kBatch> cell_offsets(Index first, Index cells) const {
    Scratch<Index, kernels::kBatch> offsets;
    const Index channels = p_.channel.extent;
    for (Index k = 0; k < cells; ++k) {
      offsets[k] = p_.offset((first + k) / channels) + (first + k) % channels * p_.channel.stride;
    }
    return offsets;
  }

  /// moments[k] = those of item first + k. Only one set alone can be large enough to be cut.
  template <typename Device>
  void reduce(const ForwardTask<Storage>& task, Index first, Index sets, const Team<Device>& team,
              BlockMoments<Statistic>* moments) const {
    Scratch<Index, kernels::kBatch> offsets = set_offsets(first, sets);
    if (set_pieces_.count == 1) {
      run_moments(task.x, set_lines_, offsets.data(), sets, 0, p_.set_size(), moments);
      return;
    }
    Scratch<BlockMoments<Statistic>, Pieces::kMax> partial;
    team.for_each(set_pieces_.count, set_pieces_.length, [&](Index i) {
      run_moments(task.x, set_lines_, offsets.data(), 1, set_pieces_.begin(i), set_pieces_.end(i),
                  &partial[i]);
    });
    moments[0] = BlockMoments<Statistic>::none();
    for (Index i = 0; i < set_pieces_.count; ++i) moments[0].merge(partial[i]);
  }

  /// The two sums of each cell of some sets.
  template <typename Device>
  void reduce_cells(const BackwardTask<Storage>& task, const CellSums<Storage>& sums, Index first, Index sets,
                    const Team<Device>& team) const {
    const Index channels = p_.channel.extent, begin = first * channels, end = (first + sets) * channels;
    const auto sum = [&](Index cell, Index cells, Index from, Index to, Statistic* dy, Statistic* dy_x) {
      Scratch<Index, kernels::kBatch> offsets = cell_offsets(cell, cells);
      Scratch<Compute, kernels::kBatch> centers;
      for (Index k = 0; k < cells; ++k) centers[k] = task.center((cell + k) / channels);
      simd::run<Compute>(kernels::RunSums<kernels::Gradients, Storage>{
          task.x, task.dy, nullptr, cell_lines_, from, to, cells, offsets.data(), centers.data(), dy, dy_x});
    };
    if (cell_pieces_.count == 1) {
      for_each_cell(begin, end, team, [&](Index cell, Index cells, Index from, Index to, Index) {
        sum(cell, cells, from, to, sums.dy + cell, sums.dy_x + cell);
      });
      return;
    }
    for (Index cell = begin; cell < end; ++cell) {
      Scratch<Statistic, Pieces::kMax> dy, dy_x;
      for_each_cell(cell, cell + 1, team, [&](Index, Index, Index from, Index to, Index piece) {
        sum(cell, 1, from, to, &dy[piece], &dy_x[piece]);
      });
      sums.dy[cell] = total(dy.data(), cell_pieces_.count);
      sums.dy_x[cell] = total(dy_x.data(), cell_pieces_.count);
    }
  }

  /// What backward needs of each row, from its sums weighted by gamma.
  template <typename Device>
  void reduce_rows(const BackwardTask<Storage>& task, Index first, Index rows, const Team<Device>& team,
                   typename BackwardTask<Storage>::SetResult* results) const {
    Scratch<Index, kernels::kBatch> offsets = set_offsets(first, rows);
    Scratch<Compute, kernels::kBatch> centers;
    for (Index r = 0; r < rows; ++r) centers[r] = task.center(set_at(first + r));
    Scratch<Statistic, kernels::kBatch> dy, dy_x;
    const auto sum = [&](Index from, Index to, Statistic* row_dy, Statistic* row_dy_x) {
      if (task.gamma == nullptr) {
        simd::run<Compute>(kernels::RunSums<kernels::Gradients, Storage>{task.x, task.dy, nullptr, set_lines_,
                                                                         from, to, rows, offsets.data(),
                                                                         centers.data(), row_dy, row_dy_x});
      } else {
        simd::run<Compute>(kernels::RunSums<kernels::WeightedGradients, Storage>{
            task.x, task.dy, task.gamma + p_.first_param(set_at(first)), set_lines_, from, to, rows,
            offsets.data(), centers.data(), row_dy, row_dy_x});
      }
    };
    if (set_pieces_.count == 1) {
      sum(0, p_.set_size(), dy.data(), dy_x.data());
    } else {
      team.for_each(set_pieces_.count, set_pieces_.length,
                    [&](Index i) { sum(set_pieces_.begin(i), set_pieces_.end(i), &dy[i], &dy_x[i]); });
      dy[0] = total(dy.data(), set_pieces_.count);
      dy_x[0] = total(dy_x.data(), set_pieces_.count);
    }
    for (Index r = 0; r < rows; ++r) {
      results[r] = task.finish(set_at(first + r), p_.set_size(), dy[r], dy_x[r]);
    }
  }

  /// What some rows add to the gradients of gamma and beta.
  template <typename Device>
  void sum_params(const BackwardTask<Storage>& task, Index first, Index rows, const Team<Device>& team,
                  Statistic* grad_gamma, Statistic* grad_beta) const {
    Scratch<Index, kernels::kBatch> offsets = set_offsets(first, rows);
    CoefficientTable<Compute> xhat;
    for (Index r = 0; r < rows; ++r) xhat.set(r, task.of_xhat(set_at(first + r)));
    const Index param = p_.first_param(set_at(first));
    team.for_each(set_pieces_.count, set_pieces_.length * rows, [&](Index i) {
      simd::run<Compute>(kernels::RowParamSums<Storage>{
          task.x, task.dy, set_pieces_.begin(i), set_pieces_.end(i), rows, offsets.data(), xhat.mean(),
          xhat.scale(), xhat.shift(), grad_gamma + param, grad_beta + param});
    });
  }

  template <typename Task, typename Device>
  void apply(const Task& task, Index first, Index sets, const Team<Device>& team,
             const typename Task::SetResult* results) const {
    if (is_rows()) {
      apply_rows(task, first, sets, team, results);
    } else {
      apply_cells(task, first, sets, team, results);
    }
  }

  template <typename Task, typename Device>
  void apply_rows(const Task& task, Index first, Index rows, const Team<Device>& team,
                  const typename Task::SetResult* results) const {
    Scratch<Index, kernels::kBatch> offsets = set_offsets(first, rows);
    CoefficientTable<Compute> c;
    for (Index r = 0; r < rows; ++r) c.set(r, task.of_set(results[r]));
    const Index param = p_.first_param(set_at(first));
    team.for_each(set_pieces_.count, set_pieces_.length * rows, [&](Index i) {
      simd::run<Compute>(
          kernels::RowApply<typename Task::Op, Storage>{task.x,
                                                        task.dy,
                                                        task.out,
                                                        set_pieces_.begin(i),
                                                        set_pieces_.end(i),
                                                        rows,
                                                        offsets.data(),
                                                        {c.mean(), c.scale(), c.shift(), c.slope()},
                                                        task.gamma == nullptr ? nullptr : task.gamma + param,
                                                        task.beta == nullptr ? nullptr : task.beta + param});
    });
  }

  template <typename Task, typename Device>
  void apply_cells(const Task& task, Index first, Index sets, const Team<Device>& team,
                   const typename Task::SetResult* results) const {
    const Index channels = p_.channel.extent;
    for_each_cell(first * channels, (first + sets) * channels, team,
                  [&](Index cell, Index cells, Index begin, Index end, Index) {
                    Scratch<Index, kernels::kBatch> offsets = cell_offsets(cell, cells);
                    CoefficientTable<Compute> c;
                    for (Index k = 0; k < cells; ++k) {
                      const Index set = (cell + k) / channels, channel = (cell + k) % channels;
                      c.set(k, task.of_cell(results[set - first], p_.first_param(set) + channel));
                    }
                    simd::run<Compute>(kernels::RunApply<typename Task::Op, Storage>{
                        task.x,
                        task.dy,
                        task.out,
                        cell_lines_,
                        begin,
                        end,
                        cells,
                        offsets.data(),
                        {c.mean(), c.scale(), c.shift(), c.slope()}});
                  });
  }

  const Partition& p_;
  kernels::Lines set_lines_, cell_lines_;
  Pieces set_pieces_, cell_pieces_;
};

}  // namespace evenkeel
