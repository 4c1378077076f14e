#pragma once

#include <algorithm>

#include "evenkeel/kernels/lines.hpp"
#include "evenkeel/kernels/sets.hpp"
#include "evenkeel/kernels/terms.hpp"

namespace evenkeel::kernels {
EVENKEEL_BEGIN

/// pivots[k] = the mean of the first neighbours of set k, as many as a power of two: exact where they do not differ.
template <typename Storage>
struct RunPivots {
  using Compute = ComputeOf<Storage>;

  const Storage* x;
  Index neighbours;
  Index sets;
  const Index* offsets;
  Compute* pivots;

  template <int Bytes>
  EVENKEEL_INLINE void operator()() const {
    using V = simd::VecOf<Compute, Bytes>;
    constexpr int L = V::kLanes;
    Index n = kMost;
    while (n > neighbours) n /= 2;
    const V share = V::all(Compute(1) / from_count<Compute>(n));
    for (Index k = 0; k < sets; k += L) {
      const Index count = std::min<Index>(L, sets - k);
      if (n == kMost && count == L) {
        simd::totals([&](int j) EVENKEEL_INLINE_LAMBDA {
          return shares(k + j, kMost, share);
        }).store(pivots + k);
        continue;
      }
      V sums[L];
      for (Index j = 0; j < count; ++j) sums[j] = shares(k + j, n, share);
      for (Index j = count; j < L; ++j) sums[j] = V::all(Compute(0));
      simd::totals([&](int j) EVENKEEL_INLINE_LAMBDA { return sums[j]; }).store(pivots + k, count);
    }
  }

 private:
  static constexpr Index kMost = 16;

  template <typename V>
  EVENKEEL_INLINE V shares(Index k, Index n, const V& share) const {
    const Storage* set = x + offsets[k];
    V sum = V::load(set, n, Compute(0)) * share;
    for (Index i = V::kLanes; i < n; i += V::kLanes) sum = sum + V::load(set + i) * share;
    return sum;
  }
};

/// Nothing, beside RunSums.
struct NoWork {
  EVENKEEL_INLINE void operator()(Index, Index) const {}
};

/// first[k], second[k] = the Terms' sums over elements [begin, end) of set k.
///
/// Set k is `lines` from x + offsets[k] on, and has one center.
///
/// Short sets are summed one after the other and folded together, one a lane. Limited by the two ports that add
/// vectors (three operations a vector) while the data is near, by bandwidth beyond. Measured with RunApply, as a
/// batch norm of N,C,H,W that trains, with 512-bit vectors: 1.5 times the floor inside the second-level cache, 1.4
/// beyond; backward 1.5 and 1.3 to 1.55. With 256-bit ones, on an AMD EPYC: 1.5 to 1.9, backward 1.4 to 1.8.
template <typename Terms, typename Storage>
struct RunSums {
  using Compute = ComputeOf<Storage>;
  using Statistic = StatisticOf<Storage>;

  const Storage* x;
  const Storage* dy;
  Lines lines;
  Index begin, end;
  Index sets;
  const Index* offsets;
  const Compute* centers;
  Statistic* first;
  Statistic* second;

  template <int Bytes>
  EVENKEEL_INLINE void operator()() const {
    beside<Bytes>(NoWork());
  }

  /// The same, and work(k, i) after every four vectors: those from element i of a line of set k on.
  template <int Bytes, typename Work>
  EVENKEEL_INLINE void beside(const Work& work) const {
    using V = simd::VecOf<Compute, Bytes>;
    const LineCursor start(lines, begin, end);
    const bool is_short = end <= lines.length && end - begin <= kShort<V>;
    for (Index k = 0; k < sets; k += V::kLanes) {
      const Index count = std::min<Index>(V::kLanes, sets - k);
      if (is_short) {
        sum_short<V>(k, count, work);
      } else {
        for (Index j = k; j < k + count; ++j) sum<V>(j, start, work);
      }
    }
  }

 private:
  /// So many elements are summed in the compute type before they join a wide sum, in four sums a lane.
  template <typename V>
  static constexpr Index kShort = 4 * kShortSum* V::kLanes;

  // Sets k, k + 1, ..., k + count - 1: one a lane.

  template <typename V, typename Work>
  EVENKEEL_INLINE void sum_short(Index k, Index count, const Work& work) const {
    constexpr int L = V::kLanes;
    const Index n = end - begin;
    const bool few_vectors = Terms::kInputs == 1 && n % L == 0 && n <= 8 * L;
    const auto sum_few_vectors = [&](Index j) EVENKEEL_INLINE_LAMBDA {
      const V center = V::all(centers[k + j]);
      const Index from = offsets[k + j] + begin;
      simd::Two<V> set{V::all(Compute(0)), V::all(Compute(0))};
      for (Index i = 0; i < n; i += L) add(k + j, from + i, L, center, set.first, set.second);
      return set;
    };
    simd::Two<V> sums;
    if (few_vectors && count == L) {
      sums = simd::totals(sum_few_vectors);
    } else {
      simd::Two<V> each[L];
      for (Index j = 0; j < count; ++j) {
        if (few_vectors) {
          each[j] = sum_few_vectors(j);
        } else {
          sum_short_line(k + j, begin, offsets[k + j] + begin, n, each[j].first, each[j].second, work);
        }
      }
      for (Index j = count; j < L; ++j) each[j].first = each[j].second = V::all(Compute(0));
      sums = simd::totals([&](int j) EVENKEEL_INLINE_LAMBDA { return each[j]; });
    }
    simd::WideSum<Compute, L, Statistic> wide_first, wide_second;
    wide_first.add(sums.first);
    wide_second.add(sums.second);
    wide_first.store(first + k, count);
    wide_second.store(second + k, count);
  }

  /// Of n elements of set k, the first of which is element `at` of a line.
  template <typename V, typename Work>
  EVENKEEL_INLINE void sum_short_line(Index k, Index at, Index from, Index n, V& to_first, V& to_second,
                                      const Work& work) const {
    constexpr int L = V::kLanes;
    const V zero = V::all(Compute(0)), center = V::all(centers[k]);
    V f = zero, s = zero;
    Index i = 0;
    if (n >= 4 * L) {
      V f1 = zero, f2 = zero, f3 = zero, s1 = zero, s2 = zero, s3 = zero;
      for (; i + 4 * L <= n; i += 4 * L) {
        add(k, from + i, L, center, f, s);
        add(k, from + i + L, L, center, f1, s1);
        add(k, from + i + 2 * L, L, center, f2, s2);
        add(k, from + i + 3 * L, L, center, f3, s3);
        work(k, at + i);
      }
      f = (f + f1) + (f2 + f3);
      s = (s + s1) + (s2 + s3);
    }
    for (; i + L <= n; i += L) add(k, from + i, L, center, f, s);
    if (i < n && n < L) {
      add(k, from, n, center, f, s);
    } else if (i < n) {
      V vx = V::load_end(x + from + n, n - i, centers[k]), vdy = vx;
      if constexpr (Terms::kInputs > 1) vdy = V::load_end(dy + from + n, n - i, Compute(0));
      Terms::add(vx, vdy, vx, center, f, s);
    }
    to_first = f;
    to_second = s;
  }

  template <typename V, typename Work>
  EVENKEEL_INLINE void sum(Index k, LineCursor line, const Work& work) const {
    simd::WideSum<Compute, V::kLanes, Statistic> wide_first, wide_second;
    for (; !line.done(); line.next()) {
      for (Index i = 0; i < line.length(); i += kShort<V>) {
        V f, s;
        sum_short_line(k, i, offsets[k] + line.offset() + i, std::min(line.length() - i, kShort<V>), f, s,
                       work);
        wide_first.add(f);
        wide_second.add(s);
      }
    }
    first[k] = wide_first.total();
    second[k] = wide_second.total();
  }

  template <typename V>
  EVENKEEL_INLINE void add(Index k, Index offset, Index n, const V& center, V& f, V& s) const {
    V vx = V::load(x + offset, n, centers[k]), vdy = vx;
    if constexpr (Terms::kInputs > 1) vdy = V::load(dy + offset, n, Compute(0));
    Terms::add(vx, vdy, vx, center, f, s);
  }
};

/// first[k], second[k] = the sums of x - pivot and of (x - pivot)^2 over elements [begin, end) of set k, about pivots
/// that are close enough: where a pivot turns out poor, sets are summed once more about the mean.
///
/// Set k is `lines` from x + offsets[k] on.
template <typename Storage>
struct CentredSums {
  using Compute = ComputeOf<Storage>;
  using Statistic = StatisticOf<Storage>;

  const Storage* x;
  Lines lines;
  Index begin, end;
  Index sets;
  const Index* offsets;
  bool guess;
  Compute* pivots;  // read, or guessed
  Statistic* first;
  Statistic* second;

  template <int Bytes>
  EVENKEEL_INLINE void operator()() const {
    if (guess) guess_pivots<Bytes>();
    for (bool again = false;; again = true) {
      sums().template operator()<Bytes>();
      if (again || !any_poor_pivot<Bytes>(n(), first, second, sets)) return;
      improve_pivots();
    }
  }

  /// About guessed pivots, once, with work as RunSums has it. Returns whether that will do; if not, pivots are good
  /// now.
  template <int Bytes, typename Work>
  EVENKEEL_INLINE bool beside(const Work& work) const {
    guess_pivots<Bytes>();
    sums().template beside<Bytes>(work);
    if (!any_poor_pivot<Bytes>(n(), first, second, sets)) return true;
    improve_pivots();
    return false;
  }

 private:
  EVENKEEL_INLINE RunSums<Deviations, Storage> sums() const {
    return {x, nullptr, lines, begin, end, sets, offsets, pivots, first, second};
  }

  EVENKEEL_INLINE Statistic n() const { return from_count<Statistic>(end - begin); }

  template <int Bytes>
  EVENKEEL_INLINE void guess_pivots() const {
    const LineCursor start(lines, begin, end);
    RunPivots<Storage>{x + start.offset(), start.length(), sets, offsets, pivots}
        .template operator()<Bytes>();
  }

  /// The mean in place of each poor pivot.
  EVENKEEL_INLINE void improve_pivots() const {
    for (Index k = 0; k < sets; ++k) {
      if (!is_poor_pivot(n(), first[k], second[k])) continue;
      pivots[k] = static_cast<Compute>(Statistic(Statistic(pivots[k]) + first[k] / n()));
    }
  }
};

/// out = Op(x, dy) over elements [begin, end) of each cell.
///
/// Cell k is `lines` from x + offsets[k] on, and has one value of each coefficient. kSpans: cells may follow each
/// other in memory, as group norm's channels do. Limited by bandwidth: alone, as batch norm's inference, 1.15 times
/// the floor inside the second-level cache, 1.05 beyond.
template <typename Op, typename Storage, bool kSpans>
struct RunApply {
  using Compute = ComputeOf<Storage>;

  const Storage* x;
  const Storage* dy;
  Storage* out;
  bool stream;  // past the caches
  Index ahead;  // see prefetch()
  Lines lines;
  Index begin, end;
  Index cells;
  const Index* offsets;
  const Compute* coefficients[4];  // [Op::kCoefficients][cell]

  template <int Bytes>
  EVENKEEL_INLINE void operator()() const {
    using V = simd::VecOf<Compute, Bytes>;
    if (stream) {
      apply<V, true>();
    } else {
      apply<V, false>();
    }
  }

 private:
  template <typename V, bool kStream>
  EVENKEEL_INLINE void apply() const {
    if constexpr (kSpans) {
      if (follow_each_other()) return apply_span<V, kStream>();
    }
    const LineCursor start(lines, begin, end);
    for (Index k = 0; k < cells; ++k) {
      V c[Op::kCoefficients];
      spread_coefficients<Op>(coefficients, k, c);
      for (LineCursor line = start; !line.done(); line.next()) {
        const Index from = offsets[k] + line.offset();
        write_line<V, kStream>(out + from, line.length(), [&](Index i, Index n) EVENKEEL_INLINE_LAMBDA {
          return value<V, kStream>(from + i, n, c);
        });
      }
    }
  }

  template <typename V, bool kStream>
  EVENKEEL_INLINE V value(Index at, Index n, const V* c) const {
    if constexpr (kStream) prefetch(x + at, ahead);
    if constexpr (kStream && Op::kInputs > 1) prefetch(dy + at, ahead);
    V vx = V::load(x + at, n, Compute(0)), vdy = vx;
    if constexpr (Op::kInputs > 1) vdy = V::load(dy + at, n, Compute(0));
    return Op::apply(vx, vdy, c);
  }

  /// Whole cells, a line each, side by side in memory.
  EVENKEEL_INLINE bool follow_each_other() const {
    if (cells == 1 || end - begin < kCacheLine<Storage> || end - begin != lines.size()) return false;
    Index gaps = 0;
    for (Index k = 1; k < cells; ++k) gaps |= offsets[k] - offsets[k - 1] - lines.length;
    return lines.count() == 1 && gaps == 0;
  }

  /// Cells that follow each other are written as one line, and a vector that lies in two of them from both.
  template <typename V, bool kStream>
  EVENKEEL_INLINE void apply_span() const {
    constexpr Index L = V::kLanes;
    const Index first = offsets[0], length = lines.length, total = cells * length;
    Storage* to = out + first;
    StreamedPart part{0, total / L * L};
    if constexpr (kStream) {
      part = streamed_part<V>(to, total);
      if (part.begin == part.end) return apply_span<V, false>();
    }
    V c[Op::kCoefficients];
    spread_coefficients<Op>(coefficients, 0, c);
    Index i = 0;
    for (; i + L <= part.begin; i += L) value<V, kStream>(first + i, L, c).store(to + i);
    if (i < part.begin) value<V, kStream>(first + i, L, c).store_before(to + part.begin, part.begin - i);
    i = part.begin;
    for (Index k = 0; k < cells; ++k) {
      spread_coefficients<Op>(coefficients, k, c);
      const Index stop = std::min((k + 1) * length, part.end);
      for (; i + L <= stop; i += L) put<kStream>(value<V, kStream>(first + i, L, c), to + i);
      if (i < stop && k + 1 < cells) {
        V next[Op::kCoefficients];
        spread_coefficients<Op>(coefficients, k + 1, next);
        const V here = value<V, kStream>(first + i, L, c), beyond = value<V, kStream>(first + i, L, next);
        put<kStream>(first_lanes(here, stop - i, beyond), to + i);
        i += L;
      }
    }
    for (; i < total; i += L) value<V, kStream>(first + i, total - i, c).store(to + i, total - i);
  }
};

EVENKEEL_END
}  // namespace evenkeel::kernels
