#pragma once

#include "evenkeel/core/line_batches.hpp"
#include "evenkeel/core/parallel.hpp"
#include "evenkeel/core/rescue.hpp"
#include "evenkeel/kernels/row_gradients.hpp"
#include "evenkeel/kernels/whole_rows.hpp"

namespace evenkeel {
EVENKEEL_BEGIN

/// The passes over statistics sets that are lines in memory: runs and rows.
///
/// Small sets are taken several at a time, reduced and then applied while they are in the nearest cache; a
/// large one is cut into pieces.
template <typename Storage, Cells kCells>
class LineSets {
 public:
  using Compute = ComputeOf<Storage>;
  using Statistic = StatisticOf<Storage>;

  explicit LineSets(const Partition& p)
      : p_(p),
        batches_(p),
        set_lines_(p.set_lines()),
        cell_lines_(p.cell_lines()),
        set_pieces_(p.set_size(), 1),
        cell_pieces_(p.cell_size(), 1) {}

  /// A row's parameter gradients have a place in each block, so long rows make few blocks, and a block has several
  /// rows.
  Blocks blocks() const {
    if (!kRows) return {p_.sets(), p_.set_size(), kMaxBlocks};
    return {p_.sets(), p_.set_size(),
            std::clamp<Index>(p_.sets() / 8, 1, set_pieces_.count > 1 ? 8 : kMaxBlocks)};
  }

  template <typename Device>
  void forward(const ForwardTask<Storage>& task, Index begin, Index end, const Team<Device>& team) const {
    batches_.for_each(begin, end, whole_rows() ? kernels::kBatch : near_sets(),
                      [&](const LineBatch& batch) { forward(task, batch, team); });
  }

  template <typename Device>
  void backward(const BackwardTask<Storage>& task, Index begin, Index end, const Team<Device>& team,
                Statistic* grad_gamma, Statistic* grad_beta) const {
    batches_.for_each(begin, end, kRows ? few_rows() : near_sets(),
                      [&](const LineBatch& batch) { backward(task, batch, team, grad_gamma, grad_beta); });
  }

 private:
  static constexpr bool kRows = kCells == Cells::elements;

  /// Rows of at most a block, whose statistics the kernel that applies them finds.
  bool whole_rows() const { return kRows && p_.set_size() <= kRunBlock; }

  Index near_sets() const { return kernels::near_sets(p_.set_size(), kernels::kBatch); }

  /// Rows that stay in the second-level cache, and are enough to add up by feature: whole short sums, so that what
  /// they add up to does not depend on the machine.
  Index few_rows() const {
    constexpr Index kShort = kernels::kShortParamSum;
    constexpr Index kMost = 65536;  // elements: a row cut into pieces is alone
    const Index near = std::min(simd::caches().second_level / 32, kMost) / p_.set_size() / kShort * kShort;
    return std::clamp(near, std::clamp<Index>(kMost / p_.set_size(), 1, kShort), kernels::kBatch);
  }

  template <typename Device>
  void forward(const ForwardTask<Storage>& task, const LineBatch& batch, const Team<Device>& team) const {
    StatisticsTable<Statistic> statistics;
    Index done = batch.sets;
    if (whole_rows()) {
      done = normalize_rows(task, batch, statistics);
    } else {
      if (task.reduces()) {
        reduce(task, batch, team, statistics);
      } else {
        for (Index k = 0; k < batch.sets; ++k) statistics.set(k, task.known(batch.set(k)));
      }
      if (!apply(task, batch, team, statistics)) done = 0;
    }
    if (task.reduces()) task.save(batch.first, batch.step, done, statistics);
    if (done == batch.sets) return;
    if (batch.sets == 1) return rescue(task, p_, batch.first);
    batches_.for_each_part(batch, done, [&](const LineBatch& part) { forward(task, part, team); });
  }

  template <typename Device>
  void backward(const BackwardTask<Storage>& task, const LineBatch& batch, const Team<Device>& team,
                Statistic* grad_gamma, Statistic* grad_beta) const {
    if constexpr (kRows) {
      CoefficientTable<Compute> c;
      Scratch<Statistic, kernels::kBatch> outside;
      bool gradients_in_range;
      if (reduce_rows(task, batch, team, c, outside.data(), gradients_in_range, grad_gamma, grad_beta)) {
        if (gradients_in_range) return apply_rows(task, batch, team, c);
        return batches_.for_each_alone(
            batch, [&](Index k) { return is_zero(outside[k]); },
            [&](const LineBatch& alone, Index k) { apply_rows(task, alone, team, c, k); },
            [&](Index set) { rescue(task, p_, set, nullptr, nullptr); });
      }
      if (batch.sets == 1) return rescue(task, p_, batch.first, grad_gamma, grad_beta);
      batches_.for_each_part(
          batch, 0, [&](const LineBatch& part) { backward(task, part, team, grad_gamma, grad_beta); });
    } else {
      const CellSums<Storage> sums(p_, task.sums);
      Scratch<typename BackwardTask<Storage>::SetResult, kernels::kBatch> results;
      reduce_cells(task, sums, batch, team);
      bool in_range = true;
      for (Index k = 0; k < batch.sets; ++k) {
        results[k] = sums.finish(task, batch.set(k));
        in_range &= results[k].in_range;
      }
      if (in_range) return apply_cells(task, batch, team, results.data());
      batches_.for_each_alone(
          batch, [&](Index k) { return results[k].in_range; },
          [&](const LineBatch& alone, Index k) { apply_cells(task, alone, team, &results[k]); },
          [&](Index set) { rescue(task, p_, set, grad_gamma, grad_beta); });
    }
  }

  /// Calls f(cell, cells, begin, end, piece) for cells [first, last) of a batch: several whole ones, or a piece of
  /// one.
  template <typename Device, typename F>
  void for_each_cell(Index first, Index last, const Team<Device>& team, const F& f) const {
    if (cell_pieces_.count == 1) {
      const Index bundle = std::clamp<Index>(kGrain / p_.cell_size(), 1, kernels::kBatch);
      team.for_each((last - first + bundle - 1) / bundle, bundle * p_.cell_size(), [&](Index i) {
        const Index cell = first + i * bundle;
        f(cell, std::min(bundle, last - cell), 0, p_.cell_size(), 0);
      });
    } else {
      team.for_each((last - first) * cell_pieces_.count, cell_pieces_.length, [&](Index i) {
        const Index piece = i % cell_pieces_.count;
        f(first + i / cell_pieces_.count, 1, cell_pieces_.begin(piece), cell_pieces_.end(piece), piece);
      });
    }
  }

  /// Calls of_set(set of the batch)(k, channel) for cells first + k of a batch, k in [0, cells).
  template <typename F>
  void for_each_of(Index first, Index cells, const F& of_set) const {
    const Index channels = p_.channel.extent;
    Index set = first / channels, channel = first % channels;
    for (Index k = 0; k < cells; ++set, channel = 0) {
      const auto f = of_set(set);
      for (; channel < channels && k < cells; ++channel, ++k) f(k, channel);
    }
  }

  /// Statistics of a batch's sets. Only one set alone can be larger than a block, or be cut.
  template <typename Device>
  void reduce(const ForwardTask<Storage>& task, const LineBatch& batch, const Team<Device>& team,
              StatisticsTable<Statistic>& statistics) const {
    if (p_.set_size() <= kRunBlock) {
      run_statistics(task.x, set_lines_, batch.offsets.data(), batch.sets, p_.set_size(), task.epsilon,
                     statistics);
      return;
    }
    Scratch<BlockMoments<Statistic>, Pieces::kMax> partial;
    team.for_each(set_pieces_.count, set_pieces_.length, [&](Index i) {
      run_moments(task.x, set_lines_, batch.offsets.data(), 1, set_pieces_.begin(i), set_pieces_.end(i),
                  &partial[i]);
    });
    auto moments = BlockMoments<Statistic>::none();
    for (Index i = 0; i < set_pieces_.count; ++i) moments.merge(partial[i]);
    statistics.set(0, finish(moments, task.epsilon));
  }

  /// The sums of dy and of dy (x - center) of each cell of a batch, for CellSums::finish.
  template <typename Device>
  void reduce_cells(const BackwardTask<Storage>& task, const CellSums<Storage>& sums, const LineBatch& batch,
                    const Team<Device>& team) const {
    const Index cells_of_batch = batch.sets * p_.channel.extent, before = batch.first * p_.channel.extent;
    const auto sum = [&](Index cell, Index cells, Index from, Index to, Statistic* dy, Statistic* dy_x) {
      Scratch<Index, kernels::kBatch> offsets;
      Scratch<Compute, kernels::kBatch> centers;
      for_each_of(cell, cells, [&](Index set) {
        return
            [&, offset = batch.offsets[set], center = task.center(batch.set(set))](Index k, Index channel) {
              offsets[k] = offset + channel * p_.channel.stride;
              centers[k] = center;
            };
      });
      simd::run<Compute>(kernels::RunSums<kernels::Gradients, Storage>{
          task.x, task.dy, cell_lines_, from, to, cells, offsets.data(), centers.data(), dy, dy_x});
    };
    if (cell_pieces_.count == 1) {
      for_each_cell(0, cells_of_batch, team, [&](Index cell, Index cells, Index from, Index to, Index) {
        sum(cell, cells, from, to, sums.dy + before + cell, sums.dy_xhat + before + cell);
      });
      return;
    }
    for (Index cell = 0; cell < cells_of_batch; ++cell) {
      Scratch<Statistic, Pieces::kMax> dy, dy_x;
      for_each_cell(cell, cell + 1, team, [&](Index, Index, Index from, Index to, Index piece) {
        sum(cell, 1, from, to, &dy[piece], &dy_x[piece]);
      });
      sums.dy[before + cell] = total(dy.data(), cell_pieces_.count);
      sums.dy_xhat[before + cell] = total(dy_x.data(), cell_pieces_.count);
    }
  }

  /// What backward applies to each row, and what the rows add to the gradients of gamma and beta; nothing, and false,
  /// if the statistics of one are out of range. For outside see GradientCoefficients.
  template <typename Device>
  bool reduce_rows(const BackwardTask<Storage>& task, const LineBatch& batch, const Team<Device>& team,
                   CoefficientTable<Compute>& c, Statistic* outside, bool& gradients_in_range,
                   Statistic* grad_gamma, Statistic* grad_beta) const {
    Scratch<Statistic, kernels::kBatch> some_means, some_lows, some_inv_stds;
    const auto of_batch = [&](const Vector<Statistic>& all, auto& some) -> const Statistic* {
      if (batch.step == 1 && all.size() > 0) return &all[batch.first];
      for (Index r = 0; r < batch.sets; ++r) some[r] = all.size() > 0 ? all[batch.set(r)] : Statistic(0);
      return some.data();
    };
    const Statistic* mean = of_batch(task.moments.mean, some_means);
    const Statistic* mean_low =
        of_batch(task.moments.mean_low, some_lows);  // none if there is no room for it
    const Statistic* inv_std = of_batch(task.moments.inv_std, some_inv_stds);
    CoefficientTable<Compute> xhat;
    bool in_range;
    simd::run<Statistic>(kernels::NormalizeCoefficients<Compute, Statistic>{
        batch.sets, mean, mean_low, inv_std, xhat.mean(), xhat.scale(), xhat.shift(), &in_range});
    if (!in_range) return false;
    const Index param = p_.first_param(batch.first);
    const bool wanted = task.wants_params();
    Scratch<Statistic, kernels::kBatch> dy, dy_x;
    const auto sum = [&](Index from, Index to, Statistic* row_dy, Statistic* row_dy_x) {
      simd::run<Compute>(kernels::RowGradients<Storage>{
          task.x, task.dy, task.gamma == nullptr ? nullptr : task.gamma + param, from, to, batch.sets,
          batch.offsets[0], p_.batch.stride, xhat.mean(), xhat.scale(), xhat.shift(), row_dy, row_dy_x,
          wanted ? grad_gamma + param : nullptr, wanted ? grad_beta + param : nullptr,
          task.streams ? ahead(task, batch) : 0});
    };
    if (set_pieces_.count == 1) {
      sum(0, p_.set_size(), dy.data(), dy_x.data());
    } else {
      team.for_each(set_pieces_.count, set_pieces_.length,
                    [&](Index i) { sum(set_pieces_.begin(i), set_pieces_.end(i), &dy[i], &dy_x[i]); });
      dy[0] = total(dy.data(), set_pieces_.count);
      dy_x[0] = total(dy_x.data(), set_pieces_.count);
    }
    simd::run<Statistic>(kernels::GradientCoefficients<Compute, Statistic>{
        batch.sets, mean, mean_low, inv_std, dy.data(), dy_x.data(), from_count<Statistic>(p_.set_size()),
        c.mean(), c.scale(), c.shift(), c.slope(), outside, &gradients_in_range});
    return true;
  }

  /// How far ahead an apply pass asks for its inputs: a few lines; if a pass over the next batch comes before, and
  /// both find room, that batch.
  template <typename Task>
  Index ahead(const Task& task, const LineBatch& batch) const {
    constexpr Index kRoom = Index(1) << 20;  // bytes
    if (!task.reduces()) return kernels::kFewLines;
    if (task.bytes_read(batch.sets * p_.set_size()) > kRoom) return 0;
    return batch.sets * (kRows ? p_.set_size() : p_.group.stride);
  }

  /// Returns how many rows it wrote before one that is out of range.
  Index normalize_rows(const ForwardTask<Storage>& task, const LineBatch& batch,
                       StatisticsTable<Statistic>& statistics) const {
    Index written = 0;
    if constexpr (kRows) {
      const Index param = p_.first_param(batch.first);
      simd::run<Compute>(kernels::NormalizeRows<Storage>{
          task.x, task.out, task.streams, p_.set_size(), batch.sets, batch.offsets[0], p_.batch.stride,
          task.gamma == nullptr ? nullptr : task.gamma + param,
          task.beta == nullptr ? nullptr : task.beta + param, from_double<Statistic>(task.epsilon),
          statistics.arrays(), &written});
    }
    return written;
  }

  /// Writes a batch whose statistics are all in range, and returns whether they are.
  template <typename Device>
  bool apply(const ForwardTask<Storage>& task, const LineBatch& batch, const Team<Device>& team,
             StatisticsTable<Statistic>& statistics) const {
    bool in_range = true;
    if constexpr (kRows) {
      CoefficientTable<Compute> c;
      simd::run<Statistic>(kernels::NormalizeCoefficients<Compute, Statistic>{
          batch.sets, statistics.mean.data(), statistics.mean_low.data(), statistics.inv_std.data(), c.mean(),
          c.scale(), c.shift(), &in_range});
      if (in_range) apply_rows(task, batch, team, c);
    } else {
      for (Index k = 0; k < batch.sets; ++k) in_range &= task.in_range(statistics[k]);
      if (in_range) apply_cells(task, batch, team, statistics);
    }
    return in_range;
  }

  /// c has the coefficients of the batch's rows from its row `first` on.
  template <typename Task, typename Device>
  void apply_rows(const Task& task, const LineBatch& batch, const Team<Device>& team,
                  CoefficientTable<Compute>& c, Index first = 0) const {
    const Index param = p_.first_param(batch.first);
    team.for_each(set_pieces_.count, set_pieces_.length * batch.sets, [&](Index i) {
      simd::run<Compute>(kernels::RowApply<typename Task::Op, Storage>{
          task.x,
          task.dy,
          task.out,
          task.streams,
          ahead(task, batch),
          set_pieces_.begin(i),
          set_pieces_.end(i),
          batch.sets,
          batch.offsets[0],
          p_.batch.stride,
          {c.mean() + first, c.scale() + first, c.shift() + first, c.slope() + first},
          task.gamma == nullptr ? nullptr : task.gamma + param,
          task.beta == nullptr ? nullptr : task.beta + param});
    });
  }

  template <typename Task, typename Results, typename Device>
  void apply_cells(const Task& task, const LineBatch& batch, const Team<Device>& team,
                   const Results& results) const {
    for_each_cell(
        0, batch.sets * p_.channel.extent, team, [&](Index cell, Index cells, Index begin, Index end, Index) {
          Scratch<Index, kernels::kBatch> offsets;
          CoefficientTable<Compute> c;
          for_each_of(cell, cells, [&](Index set) {
            return [&, offset = batch.offsets[set], param = p_.first_param(batch.set(set)),
                    result = results[set]](Index k, Index channel) {
              offsets[k] = offset + channel * p_.channel.stride;
              c.set(k, task.of_cell(result, param + channel));
            };
          });
          simd::run<Compute>(kernels::RunApply<typename Task::Op, Storage, kCells == Cells::channels>{
              task.x,
              task.dy,
              task.out,
              task.streams,
              ahead(task, batch),
              cell_lines_,
              begin,
              end,
              cells,
              offsets.data(),
              {c.mean(), c.scale(), c.shift(), c.slope()}});
        });
  }

  const Partition& p_;
  LineBatches<kRows> batches_;
  kernels::Lines set_lines_, cell_lines_;
  Pieces set_pieces_, cell_pieces_;
};

EVENKEEL_END
}  // namespace evenkeel
