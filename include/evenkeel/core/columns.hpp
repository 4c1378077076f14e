#pragma once

#include "evenkeel/core/column_items.hpp"
#include "evenkeel/core/wide.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN

/// The most lanes of a kernel call: scratch on the stack is sized by them.
template <typename C>
inline constexpr Index kMostLanes = sizeof(C) <= 4 ? 2048 : 1024;

/// The passes over sets that lie side by side in memory, one or several lanes each, item by item.
template <typename S>
class ColumnPasses {
 public:
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;

  ColumnPasses(const Partition& p, const Pass<S>& pass) : p_(p), pass_(pass), items_(p, kLanes, sizeof(S)) {}

  Blocks blocks() const { return items_.blocks(); }

  void forward(Index begin, Index end, const ParallelFor& loops) const {
    Statistics s;
    for (Index i = begin; i < end; ++i) {
      const Columns item = items_.at(i);
      const bool in_range = reduce(item, loops, s);
      for (Index k = 0; k < item.sets; ++k) pass_.save(item.set(k), s[k]);
      if (in_range) {
        normalize(item, 0, s, loops);
      } else {
        for_each_run(
            item, [&](Index k) { return is_in_range<S>(s.inv_std[k]); },
            [&](const Columns& some, Index first) { normalize(some, first, s, loops); },
            [&](Index set) { forward_wide(p_, pass_, set); });
      }
    }
  }

  void infer(Index begin, Index end, const C* mean, const C* variance, const ParallelFor& loops) const {
    for (Index i = begin; i < end; ++i) {
      const Columns item = items_.at(i);
      if (infer_part(item, mean, variance, loops)) continue;
      for_each_run(
          item,
          [&](Index k) {
            const Index set = item.set(k);
            const C gamma = pass_.gamma == nullptr ? C(1) : pass_.gamma[set];
            return is_inference_in_range(mean[set], variance[set], gamma, pass_.epsilon);
          },
          [&](const Columns& some, Index) { infer_part(some, mean, variance, loops); },
          [&](Index set) {
            infer_wide(p_, pass_, set, statistics_of(mean[set], variance[set], pass_.epsilon));
          });
    }
  }

  void backward(Index begin, Index end, const ParallelFor& loops, const BlockSums<S>& block_sums) const {
    const CellSums<T> sums(p_, pass_.sums);
    Statistics s;
    Sums set_dy, set_dy_xhat;
    Scratch<bool, kLanes> in_range;
    for (Index i = begin; i < end; ++i) {
      const Columns item = items_.at(i);
      for (Index k = 0; k < item.sets; ++k) s.set(k, pass_.load(item.set(k)));
      if (p_.elements_are_cells()) {
        sum_elements(item, s, set_dy, set_dy_xhat, loops);
      } else {
        sum_cells(item, s, sums, loops);
        sum_sets_of_cells(item, sums, set_dy, set_dy_xhat);
      }
      bool all_in_range = true;
      const T share = T(T(1) / from_count<T>(p_.set_size()));
      for (Index k = 0; k < item.sets; ++k) {
        in_range[k] = is_in_range<S>(s.inv_std[k]) &&
                      are_gradients_in_range<S>(s.inv_std[k], share, set_dy[k], set_dy_xhat[k]) &&
                      are_cells_in_range(item.set(k), s.inv_std[k], sums);
        all_in_range = all_in_range && in_range[k];
      }
      const auto pass = [&](const Columns& some, Index first) {
        if (p_.elements_are_cells() && pass_.wants_params())
          add_params(some, first, s, loops, block_sums.gamma, block_sums.beta);
        differentiate(some, first, s, set_dy, set_dy_xhat, loops);
      };
      if (all_in_range) {
        pass(item, 0);
      } else {
        const bool adds = p_.elements_are_cells() && pass_.wants_params();
        for_each_run(
            item, [&](Index k) { return in_range[k]; }, pass,
            [&](Index set) {
              backward_wide(p_, pass_, set, adds ? block_sums.gamma : nullptr,
                            adds ? block_sums.beta : nullptr);
            });
      }
    }
  }

 private:
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

  /// Writes nothing, and returns false, where a mean is far away.
  bool infer_part(const Columns& some, const C* mean, const C* variance, const ParallelFor& loops) const {
    const Index param = some.first_param;
    Lanes c[4];
    Scratch<C, kRoom> narrow[3];
    Scratch<C, kRoom>* to = p_.inner == 1 ? c : narrow;
    if (inference_coefficients(
            InferenceCoefficients<S>{some.sets,
                                     from_double<T>(pass_.epsilon),
                                     mean + some.first_set,
                                     variance + some.first_set,
                                     pass_.gamma == nullptr ? nullptr : pass_.gamma + param,
                                     pass_.beta == nullptr ? nullptr : pass_.beta + param,
                                     {to[0].data(), to[1].data(), to[2].data()}}) != 0) {
      return false;
    }
    const WideRows rows = wide_rows(some.lanes, kMapped);
    for (int j = 0; j < 3; ++j) {
      if (p_.inner > 1) spread(Spread<S>{narrow[j].data(), some.sets, p_.inner, c[j].data()});
      rows.repeat(c[j].data());
    }
    map_rows(map_columns<S>, some.offset, items_.rows().outer, rows, nullptr, nullptr, c, loops,
             p_.inner > 1 ? rows.width() : kFewLines);
    return true;
  }

  /// Calls pass(part of the item, its first set) for neighbouring sets that are in range, and rescue(set) for the others.
  template <typename InRange, typename Map, typename Rescue>
  EVENKEEL_COLD void for_each_run(const Columns& item, const InRange& in_range, const Map& map,
                                  const Rescue& rescue) const {
    for (Index k = 0; k < item.sets;) {
      const Index first = k;
      while (k < item.sets && in_range(k)) ++k;
      if (first < k) map(items_.part(item, first, k - first), first);
      if (k < item.sets) rescue(item.set(k++));
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

  /// Calls f(offset, channel, first lane, lanes) for strips whose rows are cells: of sample_columns, those of a channel.
  template <typename F>
  void for_each_cell_strip(const Columns& item, const F& f) const {
    const Index panels = items_.by_channel() ? 1 : p_.channel.extent;
    for (Index channel = 0; channel < panels; ++channel) {
      for_each_strip(item, [&](Index lane, Index lanes) {
        f(item.offset + channel * p_.channel.stride + lane, channel, lane, lanes);
      });
    }
  }

  /// Calls f(lane of the strip, set of the item, channel) for the cells of a strip, p_.inner lanes each.
  template <typename F>
  void for_each_cell(Index channel, Index first_lane, Index lanes, const F& f) const {
    if (!items_.by_channel()) {
      for (Index l = 0; l < lanes; ++l) f(l, first_lane + l, channel);
      return;
    }
    const Index channels = p_.channel.extent, cell = first_lane / p_.inner;
    Index set = cell / channels, c = cell % channels, k = 0;
    for (Index l = 0; l < lanes; l += p_.inner, ++k) {
      f(k, set, c);
      if (++c == channels) {
        c = 0;
        ++set;
      }
    }
  }

  /// sums = those of `lanes` lanes over all rows, from one center a lane.
  void sum_lanes(const S* x, const S* dy, const C* weights, const Loop& outer, const WideRows& rows,
                 const C* centers, const ParallelFor& loops, LaneSums& sums) const {
    const Index lanes = rows.lanes, width = rows.width();
    const Index room =
        (width + kPadding - 1) / kPadding * kPadding;  // of a piece: kernels write whole vectors
    // Where T is no wider than C, a few spans are summed on their own, so that no sum has many terms.
    constexpr Index kFewSpans = 16;
    const bool in_parts = std::is_same_v<C, T> && 2 * room <= LaneSums::kMost;
    const Index apart = in_parts ? 2 * room : room, part = in_parts ? room : 0;
    const Pieces pieces(rows.lines(), width * outer.extent, std::min(Pieces::kMax, LaneSums::kMost / apart));
    std::fill_n(sums.first.data(), pieces.count * apart, T(0));
    std::fill_n(sums.second.data(), pieces.count * apart, T(0));
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
          sum_columns(SumColumns<S>{x + at, dy == nullptr ? nullptr : dy + at, nullptr, its_weights, lines,
                                    rows.copies * rows.stride, of_line, centers, first + part,
                                    second + part});
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
    LaneSums sums, of_sets;
    guess_pivots(x, lanes, width, centers.data(), pivots.data());
    const auto sum = [&] {
      C* of_lanes = width == 1 ? pivots.data() : centers.data();
      if (width > 1) spread(Spread<S>{pivots.data(), sets, width, of_lanes});
      rows.repeat(of_lanes);
      sum_lanes(x, nullptr, nullptr, items_.rows().outer, rows, of_lanes, loops, sums);
      LaneSums& result = width == 1 ? sums : of_sets;
      if (width > 1) {
        fold(Fold<S>{sums.first.data(), sets, width, of_sets.first.data()});
        fold(Fold<S>{sums.second.data(), sets, width, of_sets.second.data()});
      }
      return finish_sums(FinishSums<S>{sets, n, from_double<T>(pass_.epsilon), pivots.data(),
                                       result.first.data(), result.second.data(), s.mean.data(),
                                       s.mean_low.data(), s.variance.data(), s.inv_std.data()});
    };
    unsigned seen = sum();
    if ((seen & kPoorPivot) != 0) {
      const LaneSums& result = width == 1 ? sums : of_sets;
      for (Index k = 0; k < sets; ++k) {
        if (is_poor_pivot(n, result.first[k], result.second[k])) pivots[k] = static_cast<C>(s.mean[k]);
      }
      seen = sum();
    }
    return (seen & kOutOfRange) == 0;
  }

  /// About the mean of each set. Rows are taken from all over, since neighbours may be alike.
  void guess_pivots(const S* x, Index lanes, Index width, C* of_lanes, C* pivots) const {
    const Loop& loop = items_.rows().inner;
    const Index rows = std::min(loop.extent, std::clamp<Index>(kPivotValues / width, 4, 16));
    pivot_columns(
        PivotColumns<S>{x, rows, loop.extent / rows * loop.stride, lanes, width == 1 ? pivots : of_lanes});
    for (Index k = 0; width > 1 && k < lanes / width; ++k) {
      const C* some = of_lanes + k * width;
      C sum(0);
      for (Index l = 1; l < width; ++l) sum = C(sum + C(some[l] - some[0]));
      pivots[k] = C(some[0] + C(sum / from_count<C>(width)));
    }
  }

  /// The sums of dy and of dy xhat of each cell of an item.
  void sum_cells(const Columns& item, const Statistics& s, const CellSums<T>& sums,
                 const ParallelFor& loops) const {
    for_each_cell_strip(item, [&](Index offset, Index channel, Index lane, Index lanes) {
      const Index cells = lanes / p_.inner;
      const WideRows rows(items_.cell_rows().inner, lanes, kSummed, kCacheLine, kLanes);
      Lanes centers, of_cells;
      LaneSums lane_sums, folded;
      StatisticArrays<T, kLanes> cell;
      C* narrow = p_.inner == 1 ? centers.data() : of_cells.data();
      for_each_cell(channel, lane, lanes, [&](Index k, Index set, Index) {
        cell.set(k, s[set]);
        narrow[k] = static_cast<C>(s.mean[set]);
      });
      if (p_.inner > 1) spread(Spread<S>{narrow, cells, p_.inner, centers.data()});
      rows.repeat(centers.data());
      sum_lanes(pass_.x + offset, pass_.dy + offset, nullptr, items_.cell_rows().outer, rows, centers.data(),
                loops, lane_sums);
      LaneSums& result = p_.inner == 1 ? lane_sums : folded;
      if (p_.inner > 1) {
        fold(Fold<S>{lane_sums.first.data(), cells, p_.inner, folded.first.data()});
        fold(Fold<S>{lane_sums.second.data(), cells, p_.inner, folded.second.data()});
      }
      finish_gradients(FinishGradients<S>{cells, narrow, cell.mean.data(), cell.mean_low.data(),
                                          cell.inv_std.data(), result.first.data(), result.second.data()});
      for_each_cell(channel, lane, lanes, [&](Index k, Index set, Index c) {
        const Index at = item.set(set) * p_.channel.extent + c;
        sums.dy[at] = result.first[k];
        sums.dy_xhat[at] = result.second[k];
      });
    });
  }

  /// Those of an item's sets, weighted by gamma.
  void sum_sets_of_cells(const Columns& item, const CellSums<T>& sums, Sums& set_dy,
                         Sums& set_dy_xhat) const {
    const Index channels = p_.channel.extent;
    for (Index k = 0; k < item.sets; ++k) {
      const Index set = item.set(k);
      const C* gamma = pass_.gamma == nullptr ? nullptr : pass_.gamma + p_.first_param(set);
      set_dy[k] = set_dy_xhat[k] = T(0);
      for (Index channel = 0; channel < channels; ++channel) {
        const T weight(gamma == nullptr ? C(1) : gamma[channel]);
        set_dy[k] += weight * sums.dy[set * channels + channel];
        set_dy_xhat[k] += weight * sums.dy_xhat[set * channels + channel];
      }
    }
  }

  bool are_cells_in_range(Index set, const T& inv_std, const CellSums<T>& sums) const {
    if (p_.elements_are_cells() || p_.channel.extent == 1) return true;
    const T share = T(T(1) / from_count<T>(p_.cell_size()));
    for (Index cell = set * p_.channel.extent; cell < (set + 1) * p_.channel.extent; ++cell) {
      if (!are_gradients_in_range<S>(inv_std, share, sums.dy[cell], sums.dy_xhat[cell])) return false;
    }
    return true;
  }

  /// The weighted sums of an item's lanes, each of which is a set.
  void sum_elements(const Columns& item, const Statistics& s, Sums& dy, Sums& dy_xhat,
                    const ParallelFor& loops) const {
    const WideRows rows(items_.rows().inner, item.lanes, 1, kCacheLine, kLanes);
    Lanes centers;
    LaneSums sums;
    for (Index l = 0; l < item.lanes; ++l) centers[l] = static_cast<C>(s.mean[l]);
    sum_lanes(pass_.x + item.offset, pass_.dy + item.offset,
              pass_.gamma == nullptr ? nullptr : pass_.gamma + item.first_param, items_.rows().outer, rows,
              centers.data(), loops, sums);
    finish_gradients(FinishGradients<S>{item.lanes, centers.data(), s.mean.data(), s.mean_low.data(),
                                        s.inv_std.data(), sums.first.data(), sums.second.data()});
    std::copy_n(sums.first.data(), item.lanes, dy.data());
    std::copy_n(sums.second.data(), item.lanes, dy_xhat.data());
  }

  /// What an item adds to the gradients of gamma and beta; its statistics begin at `first`.
  void add_params(const Columns& item, Index first, const Statistics& s, const ParallelFor& loops,
                  T* grad_gamma, T* grad_beta) const {
    const Loop& loop = items_.rows().inner;
    const Pieces pieces(loop.extent, item.lanes);
    Lanes c[3];
    coefficients(Coefficients<S>{item.sets,
                                 T(1),
                                 s.mean.data() + first,
                                 s.mean_low.data() + first,
                                 s.inv_std.data() + first,
                                 nullptr,
                                 nullptr,
                                 nullptr,
                                 nullptr,
                                 {c[0].data(), c[1].data(), c[2].data(), nullptr},
                                 false});
    loops.for_each(pieces.count, pieces.length * item.lanes, [&](Index i) {
      const Index begin = pieces.begin(i), at = item.offset + begin * loop.stride,
                  param = item.first_param + begin;
      sum_params(SumParams<S>{pass_.x + at,
                              pass_.dy + at,
                              pieces.end(i) - begin,
                              loop.stride,
                              item.lanes,
                              {c[0].data(), c[1].data(), c[2].data()},
                              grad_gamma + param,
                              grad_beta + param});
    });
  }

  /// y of an item by its statistics, which begin at `first`.
  void normalize(const Columns& item, Index first, const Statistics& s, const ParallelFor& loops) const {
    map_cells(map_columns<S>, item, first, s, nullptr, nullptr, loops);
  }

  void differentiate(const Columns& item, Index first, const Statistics& s, const Sums& dy,
                     const Sums& dy_xhat, const ParallelFor& loops) const {
    map_cells(map_gradients_of_columns<S>, item, first, s, dy.data() + first, dy_xhat.data() + first, loops);
  }

  using Map = void (*)(const MapColumns<S>&);

  void map_cells(Map map, const Columns& item, Index first, const Statistics& s, const T* set_dy,
                 const T* set_dy_xhat, const ParallelFor& loops) const {
    const int kinds = set_dy == nullptr ? 3 : 4;
    const T n = from_count<T>(p_.set_size());
    if (p_.elements_are_cells()) {
      Lanes c[4];
      coefficients(Coefficients<S>{item.sets,
                                   n,
                                   s.mean.data() + first,
                                   s.mean_low.data() + first,
                                   s.inv_std.data() + first,
                                   nullptr,
                                   nullptr,
                                   set_dy,
                                   set_dy_xhat,
                                   {c[0].data(), c[1].data(), c[2].data(), c[3].data()},
                                   false});
      const Index param = item.first_param;
      map_rows(map, item.offset, items_.rows().outer,
               WideRows(items_.rows().inner, item.lanes, 1, kCacheLine, kLanes),
               pass_.gamma == nullptr ? nullptr : pass_.gamma + param,
               pass_.beta == nullptr ? nullptr : pass_.beta + param, c, loops, 0);
      return;
    }
    for_each_cell_strip(item, [&](Index offset, Index channel, Index lane, Index lanes) {
      const Index cells = lanes / p_.inner;
      StatisticArrays<T, kLanes> cell;
      Sums dy, dy_xhat;
      Scratch<C, kLanes> gamma, beta;
      for_each_cell(channel, lane, lanes, [&](Index k, Index set, Index of) {
        const Index param = p_.first_param(item.set(set)) + of;
        cell.set(k, s[first + set]);
        if (set_dy != nullptr) {
          dy[k] = set_dy[set];
          dy_xhat[k] = set_dy_xhat[set];
        }
        if (pass_.gamma != nullptr) gamma[k] = pass_.gamma[param];
        if (pass_.beta != nullptr) beta[k] = pass_.beta[param];
      });
      Lanes narrow[4], c[4];
      Lanes* to = p_.inner == 1 ? c : narrow;
      coefficients(Coefficients<S>{cells,
                                   n,
                                   cell.mean.data(),
                                   cell.mean_low.data(),
                                   cell.inv_std.data(),
                                   pass_.gamma == nullptr ? nullptr : gamma.data(),
                                   pass_.beta == nullptr ? nullptr : beta.data(),
                                   set_dy == nullptr ? nullptr : dy.data(),
                                   dy_xhat.data(),
                                   {to[0].data(), to[1].data(), to[2].data(), to[3].data()},
                                   false});
      for (int j = 0; p_.inner > 1 && j < kinds; ++j)
        spread(Spread<S>{narrow[j].data(), cells, p_.inner, c[j].data()});
      const WideRows rows(items_.cell_rows().inner, lanes, kMapped, kCacheLine, kLanes);
      for (int j = 0; j < kinds; ++j) rows.repeat(c[j].data());
      map_rows(map, offset, items_.cell_rows().outer, rows, nullptr, nullptr, c, loops,
               p_.inner > 1 ? rows.width() : 0);
    });
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

EVENKEEL_END
}  // namespace evenkeel::detail
