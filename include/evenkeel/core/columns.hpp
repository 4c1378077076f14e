#pragma once

#include "evenkeel/core/column_items.hpp"
#include "evenkeel/core/wide.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN
EVENKEEL_BEGIN_SMALL

/// The most lanes of a kernel call: scratch on the stack is sized by them.
template <typename C>
inline constexpr Index kMostLanes = sizeof(C) <= 4 ? 2048 : 1024;

/// What the passes over sets that lie side by side in memory share: sums and maps of an item, one or several lanes a set.
template <typename S>
class ColumnPasses {
 public:
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;

  ColumnPasses(const Partition& p, const Pass<S>& pass) : p_(p), pass_(pass), items_(p, kLanes, sizeof(S)) {}

  Blocks blocks() const { return items_.blocks(); }

 protected:
  static constexpr Index kLanes = kMostLanes<C>;
  static constexpr Index kRoom =
      kLanes + 4 * kPadding;  // whole tiles of four vectors, and what Spread writes beyond
  static constexpr Index kCacheLine = sizeof(S) < 64 ? 64 / static_cast<Index>(sizeof(S)) : 1;
  static constexpr Index kPivotValues = 64;  // from which a pivot is guessed

  // Lanes that narrow rows are put together to: few are near each other when several rows are summed at a time, many
  // have no short loops.
  static constexpr Index kSummed = kLanes / 32, kMapped = kLanes / 8;

  using Statistics = StatisticArrays<T, kLanes>;
  using Lanes = Scratch<C, kRoom>;
  using Sums = Scratch<T, kRoom>;

  /// Two sums a lane, of every piece that rows are cut into.
  struct LaneSums {
    static constexpr Index kMost = 2 * kLanes;
    Scratch<T, kMost + kPadding> first, second;
  };

  using Sum = void (*)(const SumColumns<S>&);
  using Map = void (*)(const MapColumns<S>&);

  /// y of items and the statistics of their sets: map(part of an item, its first set, statistics) writes y.
  template <typename F>
  void normalize_items(Index begin, Index end, const ParallelFor& loops, const F& map) const {
    Statistics s;
    for (Index i = begin; i < end; ++i) {
      const Columns item = items_.at(i);
      const bool in_range = reduce(item, loops, s);
      for (Index k = 0; k < item.sets; ++k) pass_.save(item.set(k), s[k]);
      if (in_range) {
        map(item, 0, s);
      } else {
        for_each_run(
            item, [&](Index k) { return is_in_range<S>(s.inv_std[k]); },
            [&](const Columns& some, Index first) { map(some, first, s); },
            [&](const Columns& some) { forward_wide(p_, pass_, run_of(some)); });
      }
    }
  }

  static SetRun run_of(const Columns& some) { return {some.first_set, some.set_step, some.sets, some.offset}; }

  /// Calls map(part of the item, its first set) for neighbouring sets that are in range, and rescue(part) for the others.
  template <typename InRange, typename Map, typename Rescue>
  EVENKEEL_COLD void for_each_run(const Columns& item, const InRange& in_range, const Map& map,
                                  const Rescue& rescue) const {
    for (Index k = 0; k < item.sets;) {
      const Index first = k;
      const bool is_in_range = in_range(k);
      while (k < item.sets && in_range(k) == is_in_range) ++k;
      const Columns part = items_.part(item, first, k - first);
      if (is_in_range) {
        map(part, first);
      } else {
        rescue(part);
      }
    }
  }

  WideRows wide_rows(Index lanes, Index enough) const {
    return {items_.rows().inner, lanes, enough, kCacheLine, kLanes};
  }

  /// Calls f(first lane, lanes) for an item's strips.
  template <typename F>
  void for_each_strip(const Columns& item, const F& f) const {
    for (Index lane = 0; lane < item.lanes; lane += items_.strip_lanes()) {
      f(lane, std::min(items_.strip_lanes(), item.lanes - lane));
    }
  }

  /// A value a lane of wide rows, from one a cell of `width` lanes.
  static void spread_over(const C* of_cells, Index cells, Index width, const WideRows& rows, C* of_lanes) {
    if (width > 1) {
      spread(Spread<S>{of_cells, cells, width, of_lanes});
    } else {
      std::copy_n(of_cells, cells, of_lanes);
    }
    rows.repeat(of_lanes);
  }
  /// Sums of cells of `width` lanes, in place of those of lanes.
  static void fold_into_cells(LaneSums& sums, Index cells, Index width) {
    for (T* sum : {sums.first.data(), sums.second.data()}) {
      if (width > 1) fold(Fold<S>{sum, cells, width, sum});
    }
  }

  /// sums = those of `lanes` lanes over all rows, from one center a lane. weights: one a row, or null.
  void sum_lanes(Sum sum, const S* x, const S* dy, const C* weights, const Loop& outer, const WideRows& rows,
                 const C* centers, const ParallelFor& loops, LaneSums& sums) const {
    const Index lanes = rows.lanes, width = rows.width();
    const Index room =
        (width + kPadding - 1) / kPadding * kPadding;  // of a piece: kernels write whole vectors
    // Where T is no wider than C, a few spans are summed on their own, so that no sum has many terms.
    constexpr Index kFewSpans = 16;
    const bool in_parts = std::is_same_v<C, T> && 2 * room <= LaneSums::kMost;
    const Index apart = in_parts ? 2 * room : room, part = in_parts ? room : 0;
    const Pieces pieces(rows.lines(), width * outer.extent, std::min(Pieces::kMax, LaneSums::kMost / apart));
    set_to_zero(sums.first.data(), pieces.count * apart);
    set_to_zero(sums.second.data(), pieces.count * apart);
    loops.for_each(pieces.count, pieces.length * width * outer.extent, [&](Index i) {
      T *first = &sums.first[i * apart], *second = &sums.second[i * apart];
      const auto join_part = [&] {
        for (Index l = 0; l < part; ++l) {
          first[l] += first[part + l];
          second[l] += second[part + l];
          first[part + l] = second[part + l] = T(0);
        }
      };
      Index spans = 0;
      for (Index o = 0; o < outer.extent; ++o) {
        rows.for_each_span(pieces.begin(i), pieces.end(i), [&](Index offset, Index lines, Index of_line) {
          const Index at = o * outer.stride + offset;
          const C* its_weights =
              weights == nullptr ? nullptr : weights + o * rows.rows + offset / rows.stride;
          sum(SumColumns<S>{x + at, dy == nullptr ? nullptr : dy + at, nullptr, its_weights, lines,
                            rows.copies * rows.stride, of_line, centers, first + part, second + part});
          if (++spans % kFewSpans == 0) join_part();
        });
      }
      join_part();
    });
    for (Index k = 1; k < pieces.count * rows.copies; ++k) {
      const Index from = k / rows.copies * apart + k % rows.copies * lanes;
      for (Index l = 0; l < lanes; ++l) {
        sums.first[l] += sums.first[from + l];
        sums.second[l] += sums.second[from + l];
      }
    }
  }

  /// Statistics of an item's sets; returns whether all are in range.
  bool reduce(const Columns& item, const ParallelFor& loops, Statistics& s) const {
    if (items_.set_lanes() <= items_.strip_lanes())
      return reduce_strip(item.offset, item.lanes, items_.set_lanes(), loops, s);
    BlockMoments<T> all = BlockMoments<T>::none();  // of one set in several strips
    for_each_strip(item, [&](Index lane, Index lanes) {
      reduce_strip(item.offset + lane, lanes, lanes, loops, s);
      const Index n = items_.rows().count() * lanes;
      all.merge({from_count<T>(n), s.mean[0], s.mean_low[0], T(s.variance[0] * from_count<T>(n))});
    });
    s.set(0, finish(all, from_double<T>(pass_.epsilon)));
    return is_in_range<S>(s.inv_std[0]);
  }

  /// Of sets of `width` lanes each. Sums are taken about one pivot a set, the mean of a few of its rows; where a pivot
  /// turns out poor, all is summed once more about the means.
  bool reduce_strip(Index offset, Index lanes, Index width, const ParallelFor& loops, Statistics& s) const {
    const S* x = pass_.x + offset;
    const Index sets = lanes / width;
    const WideRows rows = wide_rows(lanes, kSummed);
    const T n = from_count<T>(items_.rows().count() * width);
    Lanes centers, pivots;
    LaneSums sums;
    guess_pivots(x, lanes, width, centers.data(), pivots.data());
    const auto sum = [&] {
      spread_over(pivots.data(), sets, width, rows, centers.data());
      sum_lanes(sum_columns<S>, x, nullptr, nullptr, items_.rows().outer, rows, centers.data(), loops, sums);
      fold_into_cells(sums, sets, width);
      return finish_sums(FinishSums<S>{sets, n, from_double<T>(pass_.epsilon), pivots.data(),
                                       sums.first.data(), sums.second.data(), s.mean.data(),
                                       s.mean_low.data(), s.variance.data(), s.inv_std.data()});
    };
    unsigned seen = sum();
    if ((seen & kPoorPivot) != 0) {
      for (Index k = 0; k < sets; ++k) {
        if (is_poor_pivot(n, sums.first[k], sums.second[k])) pivots[k] = static_cast<C>(s.mean[k]);
      }
      seen = sum();
    }
    return (seen & kOutOfRange) == 0;
  }

  /// About the mean of each set. Rows are taken from all over, since neighbours may be alike.
  void guess_pivots(const S* x, Index lanes, Index width, C* of_lanes, C* pivots) const {
    const Loop& loop = items_.rows().inner;
    const Index rows = std::min(loop.extent, std::clamp<Index>(kPivotValues / width, 4, 16));
    const Index few = std::min<Index>(width, 16);
    pivot_columns(
        PivotColumns<S>{x, rows, loop.extent / rows * loop.stride, lanes, width == 1 ? pivots : of_lanes});
    for (Index k = 0; width > 1 && k < lanes / width; ++k) {
      const C* some = of_lanes + k * width;
      C sum(0);
      for (Index l = 1; l < few; ++l) sum = C(sum + C(some[l] - some[0]));
      pivots[k] = C(some[0] + C(sum / from_count<C>(few)));
    }
  }

  /// Goes backwards, so that what was summed last, and is still near, comes first.
  void map_rows(Map map, Index offset, const Loop& outer, const WideRows& rows, const C* gamma, const C* beta,
                const Lanes* c, const ParallelFor& loops, Index ahead) const {
    constexpr Index kTurn = 64;
    const Index width = rows.width();
    const Pieces pieces(rows.lines(), width * outer.extent);
    loops.for_each(pieces.count, pieces.length * width * outer.extent, [&](Index i) {
      const Index piece = pieces.count - 1 - i, begin = pieces.begin(piece);
      for (Index o = outer.extent - 1; o >= 0; --o) {
        for (Index to = pieces.end(piece); to > begin; to -= kTurn) {
          rows.for_each_span(std::max(begin, to - kTurn), to, [&](Index from, Index lines, Index lanes) {
            const Index at = offset + o * outer.stride + from, row = o * rows.rows + from / rows.stride;
            map(MapColumns<S>{pass_.x + at,
                              pass_.dy == nullptr ? nullptr : pass_.dy + at,
                              pass_.out + at,
                              gamma == nullptr ? nullptr : gamma + row,
                              beta == nullptr ? nullptr : beta + row,
                              lines,
                              rows.copies * rows.stride,
                              lanes,
                              {c[0].data(), c[1].data(), c[2].data(), c[3].data()},
                              pass_.stream ? ahead : 0,
                              pass_.stream,
                              Epilogue<S>{}});
          });
        }
      }
    });
  }

  const Partition& p_;
  const Pass<S>& pass_;
  ColumnItems items_;
};

EVENKEEL_END_SMALL
EVENKEEL_END
}  // namespace evenkeel::detail
