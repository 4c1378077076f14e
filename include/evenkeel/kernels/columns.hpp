#pragma once

#include <algorithm>
#include <cmath>

#include "evenkeel/base/scratch.hpp"
#include "evenkeel/kernels/lines.hpp"
#include "evenkeel/kernels/sets.hpp"
#include "evenkeel/kernels/terms.hpp"

namespace evenkeel::kernels {
EVENKEEL_BEGIN

/// pivots[l] = the mean of lane l in `count` rows, `step` apart; exact where they are equal.
template <typename Storage>
struct ColumnPivots {
  using Compute = ComputeOf<Storage>;
  static constexpr Index kMaxRows = 16;

  const Storage* x;
  Lines rows;
  Index count, step;
  Index lanes;
  Compute* pivots;

  template <int Bytes>
  EVENKEEL_INLINE void operator()() const {
    using V = simd::VecOf<Compute, Bytes>;
    Index offsets[kMaxRows];
    for (Index r = 0; r < count; ++r) offsets[r] = rows.line_offset(r * step);
    const V share = V::all(Compute(1) / from_count<Compute>(count));
    for (Index l = 0; l < lanes; l += V::kLanes) {
      const Index n = lanes - l;
      const V first = V::load(x + offsets[0] + l, n, Compute(0));
      V sum = V::all(Compute(0));
      for (Index r = 1; r < count; ++r) sum = sum + (V::load(x + offsets[r] + l, n, Compute(0)) - first);
      fma(sum, share, first).store(pivots + l, n);
    }
  }
};

/// lanes[k width + i] = lanes[k width], for i in [0, width).
template <typename Compute>
struct ColumnSpread {
  Compute* lanes;
  Index count, width;

  template <int Bytes>
  EVENKEEL_INLINE void operator()() const {
    using V = simd::VecOf<Compute, Bytes>;
    for (Compute* cell = lanes; cell != lanes + count * width; cell += width) {
      const V value = V::all(*cell);
      if (width < V::kLanes) {
        value.store(cell, width);
        continue;
      }
      for (Index i = 0; i + V::kLanes <= width; i += V::kLanes) value.store(cell + i);
      value.store(cell + width - V::kLanes);
    }
  }
};

/// first[l], second[l] = the Terms' sums over rows [begin, end) of lane l.
///
/// Row r is line r of `rows`, and its lanes are neighbours in memory. A lane has one center. Four rows are added up
/// in registers, and kShortRows in the nearest cache: with more rows at once there would be more streams than the
/// hardware fetches ahead. Sums of four and of sixteen equal values are exact, but for a tie, so that values of which
/// all but a few are alike do not all round one way. Limited by memory from the second-level cache on. Measured with
/// ColumnApply, as a batch norm of N,H,W,C, with 512-bit vectors: 2.2 times the floor inside that cache, 1.6 to 1.8
/// beyond, backward 1.7 and 1.8 to 2; with 256-bit ones, on an AMD EPYC: 2.5 and 1.8 to 2.8, backward 1.95 and 2 to
/// 2.3.
template <typename Terms, typename Storage>
struct ColumnSums {
  using Compute = ComputeOf<Storage>;
  using Statistic = StatisticOf<Storage>;

  const Storage* x;
  const Storage* dy;
  const Compute* gamma;  // one a row
  Lines rows;
  Index begin, end;
  Index lanes;  // at most kLanes
  const Compute* centers;
  Statistic* first;
  Statistic* second;

  template <int Bytes>
  EVENKEEL_INLINE void operator()() const {
    using V = simd::VecOf<Compute, Bytes>;
    std::fill(first, first + lanes, Statistic(0));
    std::fill(second, second + lanes, Statistic(0));
    ShortSums sums;
    LineCursor row(rows, begin, end);
    for (Index from = begin; from < end; from += kShortRows) {
      const Index to = std::min(end, from + kShortRows);
      for (Index r = from; r < to;) {
        if (to - r >= 4) {
          add_rows<4, V>(r, row, r > from, sums);
          r += 4;
        } else {
          add_rows<1, V>(r, row, r > from, sums);
          ++r;
        }
      }
      const auto widen = [&](Index l, Index n) EVENKEEL_INLINE_LAMBDA {
        add_lanes(V::load(sums.first.data() + l), first + l, n);
        add_lanes(V::load(sums.second.data() + l), second + l, n);
      };
      Index l = 0;
      for (; l + V::kLanes <= lanes; l += V::kLanes) widen(l, V::kLanes);
      if (l < lanes) widen(l, lanes - l);
    }
  }

 private:
  /// The rows of a short sum: where wide sums are no wider, so many that neither is long in a few thousand rows.
  static constexpr Index kShortRows = std::is_same_v<Compute, Statistic> ? 128 : 16;

  struct ShortSums {
    Scratch<Compute, kLanes<Compute>> first, second;
  };

  /// Of kRows rows from r on; to what there is if `more`.
  template <int kRows, typename V>
  EVENKEEL_INLINE void add_rows(Index r, LineCursor& cursor, bool more, ShortSums& sums) const {
    constexpr Index L = V::kLanes;
    constexpr int kOther = kRows > 1;  // with one row, the others are it and left alone
    Index offsets[kRows];
    for (int j = 0; j < kRows; ++j, cursor.next()) offsets[j] = cursor.offset();
    const Row<V> row0(*this, r, offsets[0]), row1(*this, r + kOther, offsets[kOther]),
        row2(*this, r + 2 * kOther, offsets[2 * kOther]), row3(*this, r + 3 * kOther, offsets[3 * kOther]);
    const auto add = [&](Index l) EVENKEEL_INLINE_LAMBDA {
      const V center = V::load(centers + l);
      V f = V::all(Compute(0)), s = f;
      row0.add(l, L, center, f, s);
      if constexpr (kRows > 1) {
        row1.add(l, L, center, f, s);
        row2.add(l, L, center, f, s);
        row3.add(l, L, center, f, s);
      }
      keep(f, s, l, more, sums);
    };
    Index l = 0;
    for (; l + L <= lanes; l += L) add(l);
    if (l == lanes) return;
    const V center = V::load(centers + l, lanes - l, Compute(0));
    V f = V::all(Compute(0)), s = f;
    for (int j = 0; j < kRows; ++j) Row<V>(*this, r + j, offsets[j]).add(l, lanes - l, center, f, s);
    keep(f, s, l, more, sums);
  }

  template <typename V>
  EVENKEEL_INLINE static void keep(const V& f, const V& s, Index l, bool more, ShortSums& sums) {
    Compute* to_first = sums.first.data() + l;
    Compute* to_second = sums.second.data() + l;
    (more ? f + V::load(to_first) : f).store(to_first);
    (more ? s + V::load(to_second) : s).store(to_second);
  }

  /// One row on its way.
  template <typename V>
  struct Row {
    const Storage* x;
    const Storage* dy;
    V gamma;

    EVENKEEL_INLINE Row(const ColumnSums& k, Index r, Index offset) {
      x = k.x + offset;
      if constexpr (Terms::kInputs > 1) dy = k.dy + offset;
      if constexpr (Terms::kInputs > 2) gamma = V::all(k.gamma[r]);
    }

    EVENKEEL_INLINE void add(Index l, Index n, const V& center, V& f, V& s) const {
      V vx = V::load(x + l, n, Compute(0)), vdy = vx;
      if constexpr (Terms::kInputs > 1) vdy = V::load(dy + l, n, Compute(0));
      Terms::add(vx, vdy, gamma, center, f, s);
    }
  };
};

/// sums[l] += lane l of every row; rows follow each other.
template <typename Statistic>
struct ColumnTotals {
  const Statistic* values;
  Index rows, lanes;
  Statistic* sums;

  template <int Bytes>
  EVENKEEL_INLINE void operator()() const {
    using V = simd::VecOf<Statistic, Bytes>;
    for (Index l = 0; l < lanes; l += V::kLanes) {
      const Index n = lanes - l;
      V sum = V::load(sums + l, n, Statistic(0));
      for (Index r = 0; r < rows; ++r) sum = sum + V::load(values + r * lanes + l, n, Statistic(0));
      sum.store(sums + l, n);
    }
  }
};

/// grad_beta[r] += sum over lanes of dy, grad_gamma[r] += sum over lanes of dy xhat, for rows r in [begin,
/// end).
///
/// xhat = (x - mean) inv_std + offset, with one of each a lane.
template <typename Storage>
struct ColumnParamSums {
  using Compute = ComputeOf<Storage>;
  using Statistic = StatisticOf<Storage>;

  const Storage* x;
  const Storage* dy;
  Lines rows;
  Index begin, end;
  Index lanes;
  const Compute* mean;
  const Compute* inv_std;
  const Compute* offset;
  Statistic* grad_gamma;
  Statistic* grad_beta;

  template <int Bytes>
  EVENKEEL_INLINE void operator()() const {
    using V = simd::VecOf<Compute, Bytes>;
    LineCursor row(rows, begin, end);
    for (Index r = begin; r < end; ++r, row.next()) {
      simd::WideSum<Compute, V::kLanes, Statistic> wide_dy, wide_dy_xhat;
      for (Index from = 0; from < lanes; from += kShortParamSum * V::kLanes) {
        const Index to = std::min(lanes, from + kShortParamSum * V::kLanes);
        V sum_dy = V::all(Compute(0)), sum_dy_xhat = sum_dy;
        for (Index l = from; l < to; l += V::kLanes) {
          const Index n = lanes - l;
          const V vmean = V::load(mean + l, n, Compute(0));
          const V vx = V::load(x + row.offset() + l, n, Compute(0));
          const V vdy = V::load(dy + row.offset() + l, n, Compute(0));
          const V xhat = fma(difference(vx, vmean), V::load(inv_std + l, n, Compute(0)),
                             V::load(offset + l, n, Compute(0)));
          sum_dy = sum_dy + vdy;
          sum_dy_xhat = fma(vdy, xhat, sum_dy_xhat);
        }
        wide_dy.add(sum_dy);
        wide_dy_xhat.add(sum_dy_xhat);
      }
      const Statistic of_beta = wide_dy.total(), of_gamma = wide_dy_xhat.total();
      if constexpr (InvStdRange<Compute>::kBounded) {
        if (!is_sum_in_range<Compute>(std::fabs(of_beta) + std::fabs(of_gamma))) {
          add_one_by_one(x + row.offset(), dy + row.offset(), lanes, 1, mean, inv_std, offset, grad_gamma[r],
                         grad_beta[r]);
          continue;
        }
      }
      grad_beta[r] += of_beta;
      grad_gamma[r] += of_gamma;
    }
  }
};

/// out = Op(x, dy), or with kElements Op(x, dy, gamma[r], beta[r]), over rows [begin, end); without gamma it is 1,
/// without beta 0.
///
/// A lane has one value of each coefficient. What limits it is memory.
template <typename Op, typename Storage, bool kElements>
struct ColumnApply {
  using Compute = ComputeOf<Storage>;

  const Storage* x;
  const Storage* dy;
  Storage* out;
  bool stream;  // past the caches
  Index ahead;  // see prefetch()
  Lines rows;
  Index begin, end;
  Index lanes;
  const Compute* coefficients[4];  // [Op::kCoefficients][lane]
  const Compute* gamma;            // one a row
  const Compute* beta;             // one a row

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
    LineCursor row(rows, begin, end);
    for (Index r = begin; r < end; ++r, row.next()) {
      const V vgamma = V::all(kElements && gamma != nullptr ? gamma[r] : Compute(1));
      const V vbeta = V::all(kElements && beta != nullptr ? beta[r] : Compute(0));
      const Storage* row_x = x + row.offset();
      const Storage* row_dy = Op::kInputs > 1 ? dy + row.offset() : nullptr;
      write_line<V, kStream>(out + row.offset(), lanes, [&](Index l, Index n) EVENKEEL_INLINE_LAMBDA {
        if constexpr (kStream && Op::kInputs == 1) prefetch(row_x + l, ahead);
        V c[Op::kCoefficients];
        load_coefficients<Op>(coefficients, l, n, c);
        V vx = V::load(row_x + l, n, Compute(0)), vdy = vx;
        if constexpr (Op::kInputs > 1) vdy = V::load(row_dy + l, n, Compute(0));
        return kElements ? Op::apply(vx, vdy, c, vgamma, vbeta) : Op::apply(vx, vdy, c);
      });
    }
  }
};

EVENKEEL_END
}  // namespace evenkeel::kernels
