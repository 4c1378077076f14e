#pragma once

#include <algorithm>

#include "evenkeel/kernels/lines.hpp"
#include "evenkeel/kernels/terms.hpp"

namespace evenkeel::kernels {

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
/// Row r is line r of `rows`, and its lanes are neighbours in memory. A lane has one center. Short sums of four
/// vectors at a time stay in registers; what limits it is memory, from the second-level cache on.
template <typename Terms, typename Storage>
struct ColumnSums {
  using Compute = ComputeOf<Storage>;
  using Statistic = StatisticOf<Storage>;

  const Storage* x;
  const Storage* dy;
  const Compute* gamma;  // one a row
  Lines rows;
  Index begin, end;
  Index lanes;
  const Compute* centers;
  Statistic* first;
  Statistic* second;

  template <int Bytes>
  EVENKEEL_INLINE void operator()() const {
    using V = simd::VecOf<Compute, Bytes>;
    constexpr Index L = V::kLanes;
    std::fill(first, first + lanes, Statistic(0));
    std::fill(second, second + lanes, Statistic(0));
    LineCursor row(rows, begin, end);
    for (Index from = begin; from < end; from += kShortSum) {
      Index offsets[kShortSum];
      const Index count = std::min<Index>(kShortSum, end - from);
      for (Index r = 0; r < count; ++r, row.next()) offsets[r] = row.offset();
      Index l = 0;
      for (; l + 4 * L <= lanes; l += 4 * L) {
        Sums<V> a(centers + l, L), b(centers + l + L, L), c(centers + l + 2 * L, L),
            d(centers + l + 3 * L, L);
        for (Index r = 0; r < count; ++r) {
          const Index at = offsets[r] + l;
          const V vgamma = gamma_of<V>(from + r);
          add(at, L, vgamma, a);
          add(at + L, L, vgamma, b);
          add(at + 2 * L, L, vgamma, c);
          add(at + 3 * L, L, vgamma, d);
        }
        store(a, l, L);
        store(b, l + L, L);
        store(c, l + 2 * L, L);
        store(d, l + 3 * L, L);
      }
      for (; l < lanes; l += L) {
        Sums<V> sums(centers + l, lanes - l);
        for (Index r = 0; r < count; ++r) add(offsets[r] + l, lanes - l, gamma_of<V>(from + r), sums);
        store(sums, l, lanes - l);
      }
    }
  }

 private:
  template <typename V>
  struct Sums {
    V center, first, second;

    EVENKEEL_INLINE Sums(const Compute* centers, Index n) {
      center = V::load(centers, n, Compute(0));
      first = V::all(Compute(0));
      second = first;
    }
  };

  template <typename V>
  EVENKEEL_INLINE V gamma_of(Index row) const {
    return V::all(Terms::kInputs > 2 ? gamma[row] : Compute(1));
  }

  template <typename V>
  EVENKEEL_INLINE void add(Index at, Index n, const V& vgamma, Sums<V>& sums) const {
    V vx = V::load(x + at, n, Compute(0)), vdy = vx;
    if constexpr (Terms::kInputs > 1) vdy = V::load(dy + at, n, Compute(0));
    Terms::add(vx, vdy, vgamma, sums.center, sums.first, sums.second);
  }

  template <typename V>
  EVENKEEL_INLINE void store(const Sums<V>& sums, Index l, Index n) const {
    add_lanes(sums.first, first + l, n);
    add_lanes(sums.second, second + l, n);
  }
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
      for (Index from = 0; from < lanes; from += kShortSum * V::kLanes) {
        const Index to = std::min(lanes, from + kShortSum * V::kLanes);
        V sum_dy = V::all(Compute(0)), sum_dy_xhat = sum_dy;
        for (Index l = from; l < to; l += V::kLanes) {
          const Index n = lanes - l;
          const V vmean = V::load(mean + l, n, Compute(0));
          const V vx = V::load(x + row.offset() + l, n, Compute(0));
          const V vdy = V::load(dy + row.offset() + l, n, Compute(0));
          const V xhat =
              fma(vx - vmean, V::load(inv_std + l, n, Compute(0)), V::load(offset + l, n, Compute(0)));
          sum_dy = sum_dy + vdy;
          sum_dy_xhat = fma(vdy, xhat, sum_dy_xhat);
        }
        wide_dy.add(sum_dy);
        wide_dy_xhat.add(sum_dy_xhat);
      }
      grad_beta[r] += wide_dy.total();
      grad_gamma[r] += wide_dy_xhat.total();
    }
  }
};

/// out = Op(x, dy, gamma[r], beta[r]) over rows [begin, end); without gamma it is 1, without beta 0.
///
/// A lane has one value of each coefficient. What limits it is memory.
template <typename Op, typename Storage>
struct ColumnApply {
  using Compute = ComputeOf<Storage>;

  const Storage* x;
  const Storage* dy;
  Storage* out;
  bool stream;  // past the caches
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
      const V vgamma = V::all(gamma == nullptr ? Compute(1) : gamma[r]);
      const V vbeta = V::all(beta == nullptr ? Compute(0) : beta[r]);
      const Storage* row_x = x + row.offset();
      const Storage* row_dy = Op::kInputs > 1 ? dy + row.offset() : nullptr;
      write_line<V, kStream>(out + row.offset(), lanes, [&](Index l, Index n) EVENKEEL_INLINE_LAMBDA {
        V c[Op::kCoefficients];
        load_coefficients<Op>(coefficients, l, n, c);
        V vx = V::load(row_x + l, n, Compute(0)), vdy = vx;
        if constexpr (Op::kInputs > 1) vdy = V::load(row_dy + l, n, Compute(0));
        return Op::apply(vx, vdy, c, vgamma, vbeta);
      });
    }
  }
};

}  // namespace evenkeel::kernels
