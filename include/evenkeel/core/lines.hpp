// SPDX-License-Identifier: MIT
#pragma once

#include "evenkeel/core/cells.hpp"
#include "evenkeel/core/line_statistics.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN
EVENKEEL_BEGIN_SMALL

/// The passes over sets that are lines in memory. Small sets are taken several at a time, reduced and then mapped while
/// they are in a cache; a large one is cut into pieces.
template <typename S>
class LinePasses {
 public:
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;

  LinePasses(const Partition& p, const Pass<S>& pass)
      : p_(p), pass_(pass), channels_(p.channel.extent), cell_pieces_(p.cell_size(), 1) {}

  Blocks blocks() const { return {p_.sets(), p_.set_size(), kMaxBlocks}; }

  void forward(Index begin, Index end, const ParallelFor& loops) const {
    const LineStatistics<S> statistics(p_, pass_);
    const Index most = p_.set_size() > kSumBlock ? 1 : kBatchElements;  // a set of several blocks is alone
    for_each_batch(begin, end, most, [&](Index first, Index sets) {
      StatisticArrays<T, kBatch> s;
      bool in_range = true;
      if (pass_.makes_dz()) {
        load(first, sets, s);
        in_range = are_in_range(sets, s);
      } else {
        in_range = statistics.reduce(first, sets, loops, s);
        pass_.save(first, 1, sets, s.places());
      }
      if (in_range) return normalize(first, sets, s, loops);
      for (Index k = 0; k < sets; ++k) {
        if (!is_in_range<S>(s.inv_std[k])) {
          forward_wide(p_, pass_, run_of_set(p_, first + k));
        } else {
          normalize(first + k, 1, s, loops, k);
        }
      }
    });
  }

  void infer(Index begin, Index end, const GivenStatistics<C>& given, const ParallelFor& loops) const {
    const auto map = pass_.chosen(map_lines<S>, &FusedKernels<S>::map_lines);
    Index most = kBatch;
    for (Index first = begin, sets; first < end; first += sets) {
      sets = std::min(most, end - first);
      Scratch<C, kBatch + kPadding> c[3];
      const unsigned seen =
          inference_coefficients(InferenceCoefficients<S>{sets,
                                                          from_double<T>(pass_.formula.epsilon),
                                                          given.from(first),
                                                          pass_.gamma_from(first),
                                                          pass_.beta_from(first),
                                                          {c[0].data(), c[1].data(), c[2].data()},
                                                          pass_.gamma_offset()});
      if (seen != 0) {
        if (most > 1) {  // one by one from here on
          most = 1;
          sets = 0;
          continue;
        }
        infer_wide(p_.cell_lines(), pass_, run_of_set(p_, first), given);
        continue;
      }
      for_each_range(0, sets, loops, [&](const CellRange& range) {
        Scratch<Index, kBatch> offsets;
        const Index k = range.first;
        const Index start = p_.offset(first + k);  // of channels, which lie one stride apart
        for (Index j = 0; j < range.count; ++j) offsets[j] = start + j * p_.group.stride;
        map(MapLines<S>{pass_.x,
                        nullptr,
                        pass_.out,
                        offsets.data(),
                        range.count,
                        p_.cell_lines(),
                        range.begin,
                        range.end,
                        {&c[0][k], &c[1][k], &c[2][k], nullptr},
                        pass_.stream ? kAhead : 0,
                        pass_.stream,
                        pass_.fused.epilogue});
      });
    }
  }

  void backward(Index begin, Index end, const ParallelFor& loops, const BlockSums<S>&) const {
    const CellSums<T> sums(p_, pass_.sums);
    const T of_set = T(T(1) / from_count<T>(p_.set_size()));
    for_each_batch(begin, end, kBatchElements, [&](Index first, Index sets) {
      StatisticArrays<T, kBatch> s;
      Scratch<T, kBatch + kPadding> set_dy, set_dy_xhat;
      load(first, sets, s);
      const bool makes_dz = pass_.makes_dz() && are_in_range(sets, s);  // else it is written before
      if (pass_.makes_dz() && !makes_dz) forward(first, first + sets, loops);
      sum_gradients(first, sets, s, sums, makes_dz, loops);
      const bool cells_are = finish_gradients_of(first, sets, s, sums, set_dy.data(), set_dy_xhat.data());
      const bool makes_it_again = makes_dz && !pass_.fused.keeps_dz;
      const auto map = [&](Index k, Index count) {
        differentiate(first + k, count, k, s, set_dy.data(), set_dy_xhat.data(), makes_it_again, loops);
      };
      if (cells_are && channels_ == 1) return map(0, sets);
      bool in_range[kBatch], all_in_range = true;
      for (Index k = 0; k < sets; ++k) {
        in_range[k] = is_in_range<S>(s.inv_std[k]) &&
                      are_gradients_in_range<S>(s.inv_std[k], of_set, set_dy[k], set_dy_xhat[k]) &&
                      (cells_are || are_cells_in_range<S>(p_, sums, first + k, s.inv_std[k]));
        all_in_range = all_in_range && in_range[k];
      }
      if (all_in_range) return map(0, sets);
      for (Index k = 0; k < sets; ++k) {
        if (in_range[k]) {
          map(k, 1);
        } else {
          if (makes_it_again) forward(first + k, first + k + 1, loops);
          backward_wide<S>(p_, pass_, run_of_set(p_, first + k), nullptr, nullptr);
        }
      }
    });
  }

 private:
  /// Cells of one kernel call, and the piece of each that is worked on.
  struct CellRange {
    Index first, count;  // numbered from the first cell of the batch
    Index begin, end, piece;
  };

  /// The saved statistics.
  void load(Index first, Index sets, StatisticArrays<T, kBatch>& s) const {
    const auto take = [&](const T* from, T* to) {
      if (from == nullptr) {
        set_to_zero(to, sets);
      } else {
        std::copy_n(from + first, sets, to);
      }
    };
    take(pass_.saved.mean, s.mean.data());
    take(pass_.saved.mean_low, s.mean_low.data());
    take(pass_.saved.inv_std, s.inv_std.data());
  }
  bool are_in_range(Index sets, const StatisticArrays<T, kBatch>& s) const {
    bool all = true;
    for (Index k = 0; k < sets; ++k) all = all && is_in_range<S>(s.inv_std[k]);
    return all;
  }

  /// Calls f(first set, sets) for sets that have at most `elements` together, or one that has more.
  template <typename F>
  void for_each_batch(Index begin, Index end, Index elements, const F& f) const {
    Index near = std::clamp<Index>(elements / p_.set_size(), 1, kBatch);
    if (near > 16) near = near / 16 * 16;
    for (Index first = begin; first < end; first += near) f(first, std::min(near, end - first));
  }

  /// Calls f(CellRange) for cells [first, end) of a batch: several whole ones, or a piece of one.
  template <typename F>
  void for_each_range(Index first, Index end, const ParallelFor& loops, const F& f) const {
    const Index pieces = cell_pieces_.count;
    Index bundle = pieces > 1 ? 1 : std::clamp<Index>(kGrain / p_.cell_size(), 1, kBatch);
    if (bundle > channels_) bundle = bundle / channels_ * channels_;  // whole sets
    const Index bundles = (end - first + bundle - 1) / bundle;
    const Index elements = bundle * std::min(cell_pieces_.length, p_.cell_size());
    loops.for_each(bundles * pieces, elements, [&](Index i) {
      const Index cell = first + i / pieces * bundle, piece = i % pieces;
      f(CellRange{cell, std::min(bundle, end - cell), cell_pieces_.begin(piece), cell_pieces_.end(piece),
                  piece});
    });
  }

  /// Calls f(Cells) for cells of a batch that begins with first_set, `count` from `first` on: those of one sample, whole
  /// sets or a part of one. Sets and cells are numbered from those of the batch and from `first`.
  template <typename F>
  void for_each_run(Index first, Index count, Index first_set, const F& f) const {
    for (Index k = 0, n; k < count; k += n) {
      const Index set = (first + k) / channels_, channel = (first + k) % channels_;
      const Index param = p_.first_param(first_set + set) + channel;
      n = std::min(count - k, p_.params() - param);
      n = channel > 0 || n < channels_ ? std::min(n, channels_ - channel) : n / channels_ * channels_;
      f(Cells{k, n, set, std::max<Index>(1, n / channels_), std::min(n, channels_), param});
    }
  }

  /// Where the cells of a range begin.
  void find_cells(const CellRange& range, Index first_set, Index* offsets) const {
    SetOffsets sets(p_, first_set + range.first / channels_);
    if (channels_ == 1) return sets.fill(offsets, range.count);
    Index channel = range.first % channels_;
    for (Index k = 0; k < range.count; channel = 0) {
      Index offset = sets.next() + channel * p_.channel.stride;
      for (; channel < channels_ && k < range.count; ++channel, ++k, offset += p_.channel.stride)
        offsets[k] = offset;
    }
  }

  using CellCoefficients = Scratch<C, kBatch + kPadding>[4];

  /// The coefficients for the cells of a range, by the statistics of their sets, which begin at `from`: those of y, or with
  /// weighted sums those of dx.
  void find_coefficients(const CellRange& range, Index first_set, const StatisticArrays<T, kBatch>& s,
                         Index from, const T* set_dy, const T* set_dy_xhat, CellCoefficients& c) const {
    for_each_run(range.first, range.count, first_set, [&](const Cells& cells) {
      Scratch<T, kBatch + kPadding> room[5];
      const Index k = cells.first;
      const auto of_cells = [&](const T* of_sets, int j) {
        return of_sets == nullptr ? nullptr : spread_over_cells(cells, of_sets + from, room[j].data());
      };
      coefficients(Coefficients<S>{cells.count,
                                   from_count<T>(p_.set_size()),
                                   of_cells(s.mean.data(), 0),
                                   of_cells(s.mean_low.data(), 1),
                                   of_cells(s.inv_std.data(), 2),
                                   pass_.gamma_from(cells.param),
                                   pass_.beta_from(cells.param),
                                   of_cells(set_dy, 3),
                                   of_cells(set_dy_xhat, 4),
                                   {&c[0][k], &c[1][k], &c[2][k], &c[3][k]},
                                   false,
                                   pass_.gamma_offset()});
    });
  }

  /// y, or dz, of sets from `first_set` on, by their statistics, which begin at `from`.
  void normalize(Index first_set, Index sets, const StatisticArrays<T, kBatch>& s, const ParallelFor& loops,
                 Index from = 0) const {
    MapLines<S> a{};
    a.out = pass_.written();
    a.stream = pass_.stream && !pass_.makes_dz();
    a.epilogue = pass_.fused.epilogue;
    map_cells(pass_.chosen(map_lines<S>, &FusedKernels<S>::map_lines), a, first_set, sets, s, from, nullptr,
              nullptr, false, loops);
  }

  /// dx of sets from `first_set` on, by their statistics and weighted sums, which begin at `from`; of dz, if it is made
  /// here.
  void differentiate(Index first_set, Index sets, Index from, const StatisticArrays<T, kBatch>& s,
                     const T* set_dy, const T* set_dy_xhat, bool makes_dz, const ParallelFor& loops) const {
    MapLines<S> a{};
    a.dy = makes_dz ? pass_.fused.epilogue.dy : pass_.dy;
    a.out = pass_.out;
    a.stream = pass_.stream;
    map_cells(makes_dz ? pass_.fused.kernels->map_gradients_of_lines : map_gradients_of_lines<S>, a,
              first_set, sets, s, from, set_dy, set_dy_xhat, makes_dz, loops);
  }

  /// Maps the cells of sets. The kernel's other arguments are those of `all`.
  EVENKEEL_OUTLINE_MEMBER void map_cells(void (*map)(const MapLines<S>&), const MapLines<S>& all,
                                         Index first_set, Index sets, const StatisticArrays<T, kBatch>& s,
                                         Index from, const T* set_dy, const T* set_dy_xhat, bool makes_dz,
                                         const ParallelFor& loops) const {
    if (pass_.out == nullptr) return;
    for_each_range(0, sets * channels_, loops, [&](const CellRange& range) {
      Scratch<Index, kBatch> offsets;
      CellCoefficients of_y, c;
      find_cells(range, first_set, offsets.data());
      find_coefficients(range, first_set, s, from, set_dy, set_dy_xhat, c);
      MapLines<S> a = all;
      a.x = pass_.x;
      a.offsets = offsets.data();
      a.cells = range.count;
      a.lines = p_.cell_lines();
      a.begin = range.begin;
      a.end = range.end;
      for (int j = 0; j < 4; ++j) a.c[j] = c[j].data();
      a.ahead = ahead(sets);
      if (makes_dz) {
        find_coefficients(range, first_set, s, from, nullptr, nullptr, of_y);
        a.fused = fused_dy(of_y);
      }
      map(a);
    });
  }

  /// How far ahead a map asks for its inputs: the next batch, if that has room in a cache.
  Index ahead(Index sets) const {
    constexpr Index kRoom = Index(1) << 20;  // bytes
    if (!pass_.stream) return 0;
    const std::int64_t bytes =
        static_cast<std::int64_t>(sizeof(S)) * sets * p_.set_size() * (pass_.dy == nullptr ? 1 : 2);
    return bytes > kRoom ? 0 : sets * p_.group.stride;
  }

  /// The sums of dy and of dy (x - center) of each cell of a batch; of dz, if it is made here.
  void sum_gradients(Index first_set, Index sets, const StatisticArrays<T, kBatch>& s,
                     const CellSums<T>& sums, bool makes_dz, const ParallelFor& loops) const {
    const Index before = first_set * channels_;
    const auto sum = [&](const CellRange& range, T* dy, T* dy_x) {
      Scratch<Index, kBatch> offsets;
      Scratch<C, kBatch> centers;
      find_cells(range, first_set, offsets.data());
      if (makes_dz) {
        CellCoefficients c;
        find_coefficients(range, first_set, s, 0, nullptr, nullptr, c);
        return pass_.fused.kernels->sum_lines(SumLines<S>{pass_.x, nullptr, nullptr, offsets.data(),
                                                          range.count, p_.cell_lines(), range.begin,
                                                          range.end, c[0].data(), dy, dy_x, fused_dy(c)});
      }
      Index set = range.first / channels_, channel = range.first % channels_;
      for (Index k = 0; k < range.count; ++set, channel = 0) {
        const C center = static_cast<C>(s.mean[set]);
        for (; channel < channels_ && k < range.count; ++channel, ++k) centers[k] = center;
      }
      sum_lines(SumLines<S>{pass_.x, pass_.dy, nullptr, offsets.data(), range.count, p_.cell_lines(),
                            range.begin, range.end, centers.data(), dy, dy_x});
    };
    if (cell_pieces_.count == 1) {
      for_each_range(0, sets * channels_, loops, [&](const CellRange& range) {
        sum(range, sums.dy + before + range.first, sums.dy_xhat + before + range.first);
      });
      return;
    }
    for (Index cell = 0; cell < sets * channels_; ++cell) {
      Scratch<T, Pieces::kMax> dy, dy_x;
      for_each_range(cell, cell + 1, loops,
                     [&](const CellRange& range) { sum(range, &dy[range.piece], &dy_x[range.piece]); });
      sums.dy[before + cell] = total_of(dy.data(), cell_pieces_.count);
      sums.dy_xhat[before + cell] = total_of(dy_x.data(), cell_pieces_.count);
    }
  }

  /// How a kernel makes dz, and where it keeps it.
  FusedDy<S> fused_dy(const CellCoefficients& c) const {
    const Fused<S>& fused = pass_.fused;
    return {c[1].data(), c[2].data(), fused.epilogue, fused.keeps_dz ? fused.dz : nullptr};
  }

  /// The sums of cells as they are used, and those of sets. Returns whether all cells are in range; where channels_ is 1,
  /// whether all sets are.
  bool finish_gradients_of(Index first_set, Index sets, const StatisticArrays<T, kBatch>& s,
                           const CellSums<T>& sums, T* set_dy, T* set_dy_xhat) const {
    unsigned seen = 0;
    if (channels_ > 1) {
      set_to_zero(set_dy, sets);
      set_to_zero(set_dy_xhat, sets);
    }
    const Index before = first_set * channels_, end = sets * channels_;
    for (Index first = 0, count; first < end; first += count) {
      // Whole sets, or a part of one, so that a set is summed as it is alone.
      count = channels_ < kBatch ? std::min(kBatch / channels_ * channels_, end - first)
                                 : std::min(kBatch, channels_ - first % channels_);
      for_each_run(first, count, first_set, [&](const Cells& cells) {
        Scratch<T, kBatch + kPadding> room[3], of_cells[2];
        const bool are_sets = channels_ == 1;
        T *const weighted_dy = are_sets ? set_dy + cells.set : of_cells[0].data(),
                 *const weighted_dy_xhat = are_sets ? set_dy_xhat + cells.set : of_cells[1].data();
        const Index at = before + first + cells.first;
        seen |= finish_gradients(FinishGradients<S>{
            cells.count, from_count<T>(p_.cell_size()),
            spread_over_cells(cells, s.mean.data(), room[0].data()),
            spread_over_cells(cells, s.mean_low.data(), room[1].data()),
            spread_over_cells(cells, s.inv_std.data(), room[2].data()), pass_.gamma_from(cells.param),
            sums.dy + at, sums.dy_xhat + at, weighted_dy, weighted_dy_xhat, false, pass_.gamma_offset()});
        if (are_sets) return;
        add_to_sets(cells, weighted_dy, set_dy);
        add_to_sets(cells, weighted_dy_xhat, set_dy_xhat);
      });
    }
    return seen == 0;
  }

  const Partition& p_;
  const Pass<S>& pass_;
  Index channels_;
  Pieces cell_pieces_;
};

EVENKEEL_END_SMALL
EVENKEEL_END
}  // namespace evenkeel::detail
