#pragma once

#include <algorithm>

#include "evenkeel/kernels/lines.hpp"
#include "evenkeel/kernels/terms.hpp"

namespace evenkeel::kernels {

/// pivots[l] = the mean of rows [begin, end) of lane l, as RunPivots makes it.
template <typename Storage>
struct ColumnPivots {
  using Compute = ComputeOf<Storage>;

  const Storage* x;
  Lines rows;
  Index begin, end;
  Index lanes;
  Compute* pivots;

  template <int Bytes>
  EVENKEEL_INLINE void operator()() const {
    using V = simd::VecOf<Compute, Bytes>;
    const V share = V::all(Compute(1) / from_count<Compute>(end - begin));
    const LineCursor start(rows, begin, end);
    for (Index l = 0; l < lanes; l += V::kLanes) {
      const Index n = lanes - l;
      const V first = V::load(x + start.offset() + l, n, Compute(0));
      V sum = V::all(Compute(0));
      for (LineCursor row = start; !row.done(); row.next()) {
        sum = sum + (V::load(x + row.offset() + l, n, Compute(0)) - first);
      }
      fma(sum, share, first).store(pivots + l, n);
    }
  }
};

/// first[l], second[l] = the Terms' sums over rows [begin, end) of lane l.
///
/// Row r is line r of `rows`, and its lanes are neighbours in memory. A lane has one center.
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
    std::fill(first, first + lanes, Statistic(0));
    std::fill(second, second + lanes, Statistic(0));
    LineCursor row(rows, begin, end);
    for (Index from = begin; from < end; from += kShortSum) {
      Index offsets[kShortSum];
      const Index count = std::min<Index>(kShortSum, end - from);
      for (Index r = 0; r < count; ++r, row.next()) offsets[r] = row.offset();
      for (Index l = 0; l < lanes; l += V::kLanes) {
        const Index n = lanes - l;
        const V center = V::load(centers + l, n, Compute(0));
        V f = V::all(Compute(0)), s = f;
        for (Index r = 0; r < count; ++r) {
          V vx = V::load(x + offsets[r] + l, n, Compute(0)), vdy = vx, vgamma = vx;
          if constexpr (Terms::kInputs > 1) vdy = V::load(dy + offsets[r] + l, n, Compute(0));
          if constexpr (Terms::kInputs > 2) vgamma = V::all(gamma[from + r]);
          Terms::add(vx, vdy, vgamma, center, f, s);
        }
        add_lanes(f, first + l, n);
        add_lanes(s, second + l, n);
      }
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

/// out = Op(x, dy) over rows [begin, end), or Op(x, dy, gamma[r], beta[r]) where rows have parameters of
/// their own.
///
/// A lane has one value of each coefficient; gamma and beta may be null.
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
  const Compute* gamma;
  const Compute* beta;

  template <int Bytes>
  EVENKEEL_INLINE void operator()() const {
    using V = simd::VecOf<Compute, Bytes>;
    LineCursor row(rows, begin, end);
    for (Index r = begin; r < end; ++r, row.next()) {
      const V vgamma = V::all(gamma == nullptr ? Compute(1) : gamma[r]);
      const V vbeta = V::all(beta == nullptr ? Compute(0) : beta[r]);
      const auto value = [&](Index l, Index n) EVENKEEL_INLINE_LAMBDA {
        const Index at = row.offset() + l;
        V c[Op::kCoefficients];
        for (int j = 0; j < Op::kCoefficients; ++j) c[j] = V::load(coefficients[j] + l, n, Compute(0));
        V vx = V::load(x + at, n, Compute(0)), vdy = vx;
        if constexpr (Op::kInputs > 1) vdy = V::load(dy + at, n, Compute(0));
        return gamma || beta ? Op::apply(vx, vdy, c, vgamma, vbeta) : Op::apply(vx, vdy, c);
      };
      if (stream) {
        write_line<V, true>(out + row.offset(), lanes, value);
      } else {
        write_line<V, false>(out + row.offset(), lanes, value);
      }
    }
  }
};

}  // namespace evenkeel::kernels
