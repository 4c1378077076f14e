#pragma once

#include <algorithm>

#include "evenkeel/kernels/lines.hpp"
#include "evenkeel/kernels/terms.hpp"

namespace evenkeel::kernels {

/// out = Op(x, dy, gamma[f], beta[f]) for features f in [begin, end) of each row.
///
/// Row r begins at x + offsets[r] and has one value of each coefficient; gamma and beta may be null.
template <typename Op, typename Storage>
struct RowApply {
  using Compute = ComputeOf<Storage>;

  const Storage* x;
  const Storage* dy;
  Storage* out;
  Index begin, end;
  Index rows;
  const Index* offsets;
  const Compute* coefficients[4];  // [Op::kCoefficients][row]
  const Compute* gamma;
  const Compute* beta;

  template <int Bytes>
  EVENKEEL_INLINE void operator()() const {
    using V = simd::VecOf<Compute, Bytes>;
    for (Index r = 0; r < rows; ++r) {
      V c[Op::kCoefficients];
      for (int j = 0; j < Op::kCoefficients; ++j) c[j] = V::all(coefficients[j][r]);
      for (Index f = begin; f < end; f += V::kLanes) {
        const Index at = offsets[r] + f, n = end - f;
        V vx = V::load(x + at, n, Compute(0)), vdy = vx;
        if constexpr (Op::kInputs > 1) vdy = V::load(dy + at, n, Compute(0));
        const V vgamma = gamma == nullptr ? V::all(Compute(1)) : V::load(gamma + f, n, Compute(1));
        const V vbeta = beta == nullptr ? V::all(Compute(0)) : V::load(beta + f, n, Compute(0));
        Op::apply(vx, vdy, c, vgamma, vbeta).store(out + at, n);
      }
    }
  }
};

/// grad_beta[f] += sum over rows of dy, grad_gamma[f] += sum over rows of dy xhat, for features f in [begin,
/// end).
///
/// xhat = (x - mean) inv_std + offset, with one of each a row.
template <typename Storage>
struct RowParamSums {
  using Compute = ComputeOf<Storage>;
  using Statistic = StatisticOf<Storage>;

  const Storage* x;
  const Storage* dy;
  Index begin, end;
  Index rows;
  const Index* offsets;
  const Compute* mean;
  const Compute* inv_std;
  const Compute* offset;
  Statistic* grad_gamma;
  Statistic* grad_beta;

  template <int Bytes>
  EVENKEEL_INLINE void operator()() const {
    using V = simd::VecOf<Compute, Bytes>;
    for (Index from = 0; from < rows; from += kShortSum) {
      const Index to = std::min(rows, from + kShortSum);
      for (Index f = begin; f < end; f += V::kLanes) {
        const Index n = end - f;
        V sum_dy = V::all(Compute(0)), sum_dy_xhat = sum_dy;
        for (Index r = from; r < to; ++r) {
          const V vx = V::load(x + offsets[r] + f, n, mean[r]);
          const V vdy = V::load(dy + offsets[r] + f, n, Compute(0));
          const V xhat = fma(vx - V::all(mean[r]), V::all(inv_std[r]), V::all(offset[r]));
          sum_dy = sum_dy + vdy;
          sum_dy_xhat = fma(vdy, xhat, sum_dy_xhat);
        }
        add_lanes(sum_dy, grad_beta + f, n);
        add_lanes(sum_dy_xhat, grad_gamma + f, n);
      }
    }
  }
};

}  // namespace evenkeel::kernels
