// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>

#include "evenkeel/core/wide.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN
EVENKEEL_BEGIN_SMALL

/// Sets are summed in blocks of so many elements, which fit the nearest cache.
constexpr Index kSumBlock = 8192;

/// A batch of sets has at most so many elements, which fit the second-level cache.
constexpr Index kBatchElements = 4 * kSumBlock;

/// The most sets, or cells, in one kernel call.
constexpr Index kBatch = 128;

/// The statistics of sets that are lines in memory.
template <typename S>
class LineStatistics {
 public:
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;

  LineStatistics(const Partition& p, const Pass<S>& pass) : p_(p), pass_(pass), pieces_(p.set_size(), 1) {}

  /// Of several sets of at most a block, or of one that is larger; returns whether all are in range.
  bool reduce(Index first_set, Index sets, const ParallelFor& loops, StatisticArrays<T, kBatch>& s) const {
    return p_.set_size() <= kSumBlock ? reduce_small(first_set, sets, s) : reduce_large(first_set, loops, s);
  }

 private:
  bool reduce_small(Index first_set, Index sets, StatisticArrays<T, kBatch>& s) const {
    const Lines lines = p_.set_lines();
    Scratch<Index, kBatch> offsets;
    Scratch<C, kBatch + kPadding> pivots;
    Scratch<T, kBatch + kPadding> first, second;
    SetOffsets(p_, first_set).fill(offsets.data(), sets);
    const Loop places = pivot_places(lines);
    pivot_lines(PivotLines<S>{pass_.x, offsets.data(), sets, lines.length, pivots.data(), places.extent,
                              places.stride});
    const T n = from_count<T>(p_.set_size());
    const auto sum = [&](Index k, Index count) {
      sum_lines(SumLines<S>{pass_.x, nullptr, nullptr, &offsets[k], count, lines, 0, p_.set_size(),
                            &pivots[k], &first[k], &second[k]});
    };
    const auto finish = [&] {
      return finish_sums(FinishSums<S>{sets, n, from_double<T>(pass_.formula.epsilon), pivots.data(),
                                       first.data(), second.data(), s.mean.data(), s.mean_low.data(),
                                       s.variance.data(), s.inv_std.data()});
    };
    sum(0, sets);
    unsigned seen = finish();
    if ((seen & kPoorPivot) != 0) {
      const auto is_poor = [&](Index k) { return k < sets && is_poor_pivot(n, first[k], second[k]); };
      for (Index k = 0; k < sets; ++k) {  // neighbours with poor pivots; the others keep their sums
        Index count = 0;
        for (; is_poor(k + count); ++count) pivots[k + count] = static_cast<C>(s.mean[k + count]);
        if (count > 0) sum(k, count);
        k += count;
      }
      seen = finish();
    }
    return (seen & kOutOfRange) == 0;
  }

  /// A few places of a set that lie apart, since neighbours may be alike: lines, or parts of the only one.
  static Loop pivot_places(const Lines& lines) {
    constexpr Index kFew = 4;
    Loop all{std::max<Index>(1, lines.length / kPivotNeighbours), kPivotNeighbours};
    if (lines.outer > 1) {
      all = {lines.outer, lines.outer_stride};
    } else if (lines.inner > 1) {
      all = {lines.inner, lines.inner_stride};
    }
    const Index count = std::min(all.extent, kFew);
    return {count, all.extent / count * all.stride};
  }

  /// Block by block, each about the mean of the blocks before.
  bool reduce_large(Index set, const ParallelFor& loops, StatisticArrays<T, kBatch>& s) const {
    const Lines lines = p_.set_lines();
    const Index offset = p_.offset(set);
    Scratch<BlockMoments<T>, Pieces::kMax> partial;
    loops.for_each(pieces_.count, pieces_.length, [&](Index i) {
      partial[i] = moments_of(lines, offset, pieces_.begin(i), pieces_.end(i));
    });
    BlockMoments<T> all = BlockMoments<T>::none();
    for (Index i = 0; i < pieces_.count; ++i) all.merge(partial[i]);
    s.set(0, finish<C>(all, from_double<T>(pass_.formula.epsilon)));
    return is_in_range<S>(s.inv_std[0]);
  }

  BlockMoments<T> moments_of(const Lines& lines, Index offset, Index begin, Index end) const {
    BlockMoments<T> all = BlockMoments<T>::none();
    C pivot(0);
    for (Index from = begin; from < end; from += kSumBlock) {
      const Index to = std::min(end, from + kSumBlock), n = to - from;
      if (from > begin) {
        pivot = static_cast<C>(all.mean);
      } else {
        const Index line = from / lines.length, at = from % lines.length;
        const Index where =
            offset + line / lines.inner * lines.outer_stride + line % lines.inner * lines.inner_stride + at;
        pivot_lines(PivotLines<S>{pass_.x, &where, 1, std::min(lines.length - at, n), &pivot});
      }
      T first, second;
      const auto sum = [&] {
        sum_lines(
            SumLines<S>{pass_.x, nullptr, nullptr, &offset, 1, lines, from, to, &pivot, &first, &second});
      };
      sum();
      const T count = from_count<T>(n);
      if (is_poor_pivot(count, first, second)) {
        pivot = static_cast<C>(T(T(pivot) + T(first / count)));
        sum();
      }
      all.merge(BlockMoments<T>::about(T(pivot), n, first, second));
    }
    return all;
  }

  const Partition& p_;
  const Pass<S>& pass_;
  Pieces pieces_;
};

EVENKEEL_END_SMALL
EVENKEEL_END
}  // namespace evenkeel::detail
