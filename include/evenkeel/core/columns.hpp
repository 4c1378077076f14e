// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <new>

#include "evenkeel/core/column_items.hpp"
#include "evenkeel/core/wide.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN
EVENKEEL_BEGIN_SMALL

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
  static constexpr Index kSummed = kLanes / 16, kMapped = kLanes / 4;

  using Lanes = Scratch<C, kRoom>;
  static_assert(kRoom >= kLanes + kMostInLine, "MapColumns::c goes on behind the lanes");
  using Coefficient = C* [4];  // a value a lane each; the last one is null without gradients

  // Where T is no wider than C, a few spans of rows are summed on their own, so that no sum has many terms.
  static constexpr Index kParts = std::is_same_v<C, T> ? 2 : 1, kFewSpans = 16;

  /// Two sums a lane.
  struct LaneSums {
    static constexpr Index kRoom = kParts * kLanes + kPadding;
    Scratch<T, kRoom> first, second;
  };

  /// The statistics of an item's sets. Mean and variance are written over the sums that they are made of.
  struct Statistics {
    LaneSums sums;
    Scratch<T, kLanes + kPadding> mean_low, inv_std;

    void set(Index k, const SetStatistics<T>& s) {
      sums.first[k] = s.mean;
      sums.second[k] = s.variance;
      mean_low[k] = s.mean_low;
      inv_std[k] = s.inv_std;
    }
    SetStatistics<T> operator[](Index k) const {
      return {sums.first[k], mean_low[k], sums.second[k], inv_std[k]};
    }
    StatisticsOfSets<const T> from(Index k) const {
      return {&sums.first[k], &mean_low[k], &sums.second[k], &inv_std[k]};
    }
  };

  static constexpr Index kFew = 64;  // of what a small kernel is called on at a time
  using FewStatistics = StatisticArrays<T, kFew>;

  using Sum = void (*)(const SumColumns<S>&);
  using Map = void (*)(const MapColumns<S>&);

  /// y of items and the statistics of their sets: map(part of an item, statistics of its sets) writes y.
  template <typename F>
  void normalize_items(Index begin, Index end, const ParallelFor& loops, const F& map) const {
    Statistics s;
    for (Index i = begin; i < end; ++i) {
      const Columns item = items_.at(i);
      bool in_range = true;
      if (pass_.makes_dz()) {
        for (Index k = 0; k < item.sets; ++k) s.set(k, pass_.load(item.set(k)));
        in_range = is_saved_in_range(item);
      } else {
        if (pass_.fused.skip != nullptr) add_skip(item, loops);
        in_range = reduce(item, loops, s);
        pass_.save(item.set(0), item.set_step, item.sets, s.from(0));
      }
      if (in_range) {
        map(item, s.from(0));
      } else {
        for_each_run(
            item, [&](Index k) { return is_in_range<S>(s.inv_std[k]); },
            [&](const Columns& some, Index first) { map(some, s.from(first)); },
            [&](const Columns& some) { forward_wide(p_, pass_, run_of(some)); });
      }
    }
  }

  /// sum = x + skip of an item.
  void add_skip(const Columns& item, const ParallelFor& loops) const {
    const Fused<S>& fused = pass_.fused;
    const Loop &outer = items_.rows().outer, &inner = items_.rows().inner;
    const Pieces pieces(inner.extent, item.lanes * outer.extent);
    loops.for_each(pieces.count, pieces.length * item.lanes * outer.extent, [&](Index i) {
      for (Index o = 0; o < outer.extent; ++o) {
        const Index at = item.offset + o * outer.stride + pieces.begin(i) * inner.stride;
        fused.kernels->add_rows({fused.x + at, fused.skip + at, fused.sum + at,
                                 pieces.end(i) - pieces.begin(i), item.lanes, inner.stride});
      }
    });
  }

  /// Whether the saved statistics of all sets are in range.
  bool is_saved_in_range(const Columns& item) const {
    bool in_range = true;
    for (Index k = 0; k < item.sets; ++k)
      in_range = in_range && is_in_range<S>(pass_.saved.inv_std[item.set(k)]);
    return in_range;
  }

  static SetRun run_of(const Columns& some) {
    return {some.first_set, some.set_step, some.sets, some.offset};
  }

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

  /// The saved statistics of a few sets of an item: where they are, or copied if there is no room for whole vectors.
  StatisticsOfSets<const T> saved(const Columns& item, Index first, Index count, FewStatistics& few) const {
    const StatisticsOfSets<const T>& all = pass_.saved;
    const Index set = item.set(first);
    if (item.set_step == 1 && count % kPadding == 0 && all.mean != nullptr)
      return {all.mean + set, all.mean_low == nullptr ? nullptr : all.mean_low + set, nullptr,
              all.inv_std + set};
    for (Index k = 0; k < count; ++k) few.set(k, pass_.load(item.set(first + k)));
    return few.places();
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

  /// Sums of cells of `width` lanes, in place of those of lanes.
  static void fold_into_cells(LaneSums& sums, Index cells, Index width) {
    for (T* sum : {sums.first.data(), sums.second.data()}) {
      if (width > 1) fold(Fold<S>{sum, cells, width, sum});
    }
  }

  /// sums = those of the lanes over all rows, from one center a lane. weights: one a row, or null. fused: null, or what
  /// gives dy.
  void sum_lanes(Sum sum, const S* x, const S* dy, const C* weights, const Loop& outer, const WideRows& rows,
                 const C* centers, const FusedDy<S>* fused, const ParallelFor& loops, LaneSums& sums) const {
    const Index width = rows.width(), room = whole_lanes(width), apart = kParts * room;
    const bool is_wide = 2 * apart > LaneSums::kRoom;  // no room for the sums of a second piece
    const Pieces pieces(rows.lines(), width * outer.extent, is_wide ? 1 : Pieces::kMax);
    const Index piece_size = pieces.length * width * outer.extent;
    // Of lanes [begin, end) of wide rows over the rows of a piece; the last of kParts sums what then joins the first.
    const auto sum_piece = [&](Index piece, Index begin, Index end, T* first, T* second) {
      const Index part = (kParts - 1) * whole_lanes(end - begin);
      set_to_zero(first, part + whole_lanes(end - begin));
      set_to_zero(second, part + whole_lanes(end - begin));
      const auto join_part = [&] {
        for (Index l = 0; l < part; ++l) {
          first[l] += first[part + l];
          second[l] += second[part + l];
          first[part + l] = second[part + l] = T(0);
        }
      };
      Index spans = 0;
      for (Index o = 0; o < outer.extent; ++o) {
        rows.for_each_span(
            pieces.begin(piece), pieces.end(piece), [&](Index offset, Index lines, Index lanes) {
              if (lanes <= begin) return;
              const Index at = o * outer.stride + offset + begin;
              const C* its_weights =
                  weights == nullptr ? nullptr : weights + o * rows.rows + offset / rows.stride;
              sum(SumColumns<S>{x + at, dy == nullptr ? nullptr : dy + at, nullptr, its_weights, lines,
                                rows.copies * rows.stride, std::min(lanes, end) - begin, centers + begin,
                                first + part, second + part,
                                fused == nullptr ? FusedDy<S>{} : fused->from(at, begin),
                                pass_.gamma_offset(), pass_.stream});
              if (++spans % kFewSpans == 0) join_part();
            });
      }
      join_part();
    };
    const auto join_copies = [&](T* of_copies) {
      add_up(of_copies, rows.lanes, rows.copies, rows.lanes, of_copies);
    };
    T *first = sums.first.data(), *second = sums.second.data();
    if (loops.threads() > 1 && is_wide) {
      loops.for_each((width + kFew - 1) / kFew, kFew * rows.lines() * outer.extent, [&](Index i) {
        Scratch<T, kParts * kFew> its_first, its_second;
        const Index begin = i * kFew, end = std::min(width, begin + kFew);
        sum_piece(0, begin, end, its_first.data(), its_second.data());
        std::copy_n(its_first.data(), end - begin, first + begin);
        std::copy_n(its_second.data(), end - begin, second + begin);
      });
      return;
    }
    if (loops.threads() > 1 && pieces.count > 1) {
      const Index size = pieces.count * apart;
      const std::unique_ptr<T[]> all(new (std::nothrow) T[static_cast<std::size_t>(2 * size)]);
      if (all != nullptr) {
        loops.for_each(pieces.count, piece_size, [&](Index i) {
          T *its_first = all.get() + i * apart, *its_second = its_first + size;
          sum_piece(i, 0, width, its_first, its_second);
          join_copies(its_first);
          join_copies(its_second);
        });
        add_up(all.get(), rows.lanes, pieces.count, apart, first);
        add_up(all.get() + size, rows.lanes, pieces.count, apart, second);
        return;
      }
    }
    sum_piece(0, 0, width, first, second);
    join_copies(first);
    join_copies(second);
    for (Index i = 1; i < pieces.count; ++i) {
      T *its_first = first + apart, *its_second = second + apart;
      sum_piece(i, 0, width, its_first, its_second);
      join_copies(its_first);
      join_copies(its_second);
      add_up(first, rows.lanes, 2, apart, first);
      add_up(second, rows.lanes, 2, apart, second);
    }
  }

  /// Lanes as kernels write them, in whole vectors.
  static Index whole_lanes(Index lanes) { return (lanes + kPadding - 1) / kPadding * kPadding; }

  /// sums[l] = terms[l] + terms[stride + l] + ..., `count` terms.
  static void add_up(const T* terms, Index lanes, Index count, Index stride, T* sums) {
    if (count > 1 || terms != sums) sum_blocks(SumBlocks<T>{terms, lanes, count, stride, sums});
  }

  /// Statistics of an item's sets; returns whether all are in range.
  bool reduce(const Columns& item, const ParallelFor& loops, Statistics& s) const {
    if (items_.set_lanes() <= items_.strip_lanes())
      return reduce_strip(item.offset, item.lanes, items_.set_lanes(), loops, s);
    BlockMoments<T> all = BlockMoments<T>::none();  // of one set in several strips
    for_each_strip(item, [&](Index lane, Index lanes) {
      reduce_strip(item.offset + lane, lanes, lanes, loops, s);
      const T n = from_count<T>(items_.rows().count() * lanes);
      const SetStatistics<T> of_strip = s[0];
      all.merge({n, of_strip.mean, of_strip.mean_low, T(of_strip.variance * n)});
    });
    s.set(0, finish<C>(all, from_double<T>(pass_.formula.epsilon)));
    return is_in_range<S>(s.inv_std[0]);
  }

  /// Of sets of `width` lanes each. Sums are taken about one pivot a set, the mean of a few of its rows; where a pivot
  /// turns out poor, all sets are summed once more, those of poor pivots about their means. RMS norm sums about 0.
  bool reduce_strip(Index offset, Index lanes, Index width, const ParallelFor& loops, Statistics& s) const {
    const S* x = pass_.x + offset;
    const Index sets = lanes / width;
    const WideRows rows = wide_rows(lanes, kSummed);
    const T n = from_count<T>(items_.rows().count() * width);
    Lanes centers;
    Scratch<C, kLanes / 2 + kPadding> of_sets;
    C* const pivots = width == 1 ? centers.data() : of_sets.data();
    T *mean = s.sums.first.data(), *variance = s.sums.second.data();
    const bool rms = pass_.formula.rms;
    if (rms) {
      std::fill_n(pivots, sets, C(0));
    } else {
      guess_pivots(x, sets, width, centers.data(), pivots);
    }
    const auto sum = [&] {
      if (width > 1) spread(Spread<S>{pivots, sets, width, centers.data()});
      rows.repeat(centers.data());
      sum_lanes(sum_columns<S>, x, nullptr, nullptr, items_.rows().outer, rows, centers.data(), nullptr,
                loops, s.sums);
      fold_into_cells(s.sums, sets, width);
      if (rms) set_to_zero(mean, sets);
      return finish_sums(FinishSums<S>{sets, n, from_double<T>(pass_.formula.epsilon), pivots, mean, variance,
                                       mean, s.mean_low.data(), variance, s.inv_std.data()});
    };
    unsigned seen = sum();
    if ((seen & kPoorPivot) != 0) {
      for (Index k = 0; k < sets; ++k) {
        const T shift = T(mean[k] - T(pivots[k]));
        if (variance[k] < T(shift * shift)) pivots[k] = static_cast<C>(mean[k]);
      }
      seen = sum();
    }
    return (seen & kOutOfRange) == 0;
  }

  /// About the mean of each set. Rows are taken from all over, since neighbours may be alike.
  void guess_pivots(const S* x, Index sets, Index width, C* of_lanes, C* pivots) const {
    const Loop& loop = items_.rows().inner;
    const Index rows = std::min(loop.extent, std::clamp<Index>(kPivotValues / width, 4, 16));
    const Index stride = loop.extent / rows * loop.stride;
    if (width < kPivotNeighbours) {
      pivot_columns(PivotColumns<S>{x, rows, stride, sets * width, width == 1 ? pivots : of_lanes});
      for (Index k = 0; width > 1 && k < sets; ++k) {
        const C* lanes = of_lanes + k * width;
        C sum(0);
        for (Index l = 1; l < width; ++l) sum = C(sum + C(lanes[l] - lanes[0]));
        pivots[k] = C(lanes[0] + C(sum / from_count<C>(width)));
      }
      return;
    }
    for (Index k = 0; k < sets; k += kFew) {
      Scratch<Index, kFew> offsets;
      const Index count = std::min(kFew, sets - k);
      for (Index j = 0; j < count; ++j) offsets[j] = (k + j) * width;
      pivot_lines(PivotLines<S>{x, offsets.data(), count, width, pivots + k, rows, stride});
    }
  }

  /// Writes y or dz, or dx where c has coefficients of dy.
  void map_rows(Map map, Index offset, const Loop& outer, const WideRows& rows, const C* gamma, const C* beta,
                const Coefficient& c, const ParallelFor& loops, Index ahead,
                const FusedDy<S>* fused = nullptr) const {
    const Index width = rows.width();
    const bool gradients = c[3] != nullptr;
    const S* const dy = fused == nullptr ? pass_.dy : fused->epilogue.dy;
    S* const out = gradients ? pass_.out : pass_.written();
    const bool stream = pass_.stream && (gradients || !pass_.makes_dz());
    const Pieces pieces(rows.lines(), width * outer.extent);
    loops.for_each(pieces.count, pieces.length * width * outer.extent, [&](Index i) {
      for (Index o = 0; o < outer.extent; ++o) {
        rows.for_each_span(pieces.begin(i), pieces.end(i), [&](Index from, Index lines, Index lanes) {
          const Index at = offset + o * outer.stride + from, row = o * rows.rows + from / rows.stride;
          map(MapColumns<S>{pass_.x + at,
                            gradients ? dy + at : nullptr,
                            out + at,
                            gamma == nullptr ? nullptr : gamma + row,
                            beta == nullptr ? nullptr : beta + row,
                            lines,
                            rows.copies * rows.stride,
                            lanes,
                            {c[0], c[1], c[2], c[3]},
                            stream ? ahead : 0,
                            stream,
                            pass_.fused.epilogue.from(at),
                            gradients && pass_.fused.plus != nullptr ? pass_.fused.plus + at : nullptr,
                            fused == nullptr ? FusedDy<S>{} : fused->from(at, 0),
                            pass_.gamma_offset()});
        });
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
