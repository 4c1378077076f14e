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
  bool stream;  // past the caches
  Index begin, end;
  Index rows;
  const Index* offsets;
  const Compute* coefficients[4];  // [Op::kCoefficients][row]
  const Compute* gamma;
  const Compute* beta;

  template <int Bytes>
  EVENKEEL_INLINE void operator()() const {
    using V = simd::VecOf<Compute, Bytes>;
    if (gamma != nullptr && (beta != nullptr || Op::kInputs > 1)) {
      apply<V, true>();
    } else {
      apply<V, false>();
    }
  }

 private:
  template <typename V, bool kHasAll>
  EVENKEEL_INLINE void apply() const {
    for (Index r = 0; r < rows; ++r) {
      V c[Op::kCoefficients];
      for (int j = 0; j < Op::kCoefficients; ++j) c[j] = V::all(coefficients[j][r]);
      const Index from = offsets[r] + begin;
      write_line<V>(out + from, end - begin, stream, [&](Index i, Index n) EVENKEEL_INLINE_LAMBDA {
        const Index f = begin + i;
        V vx = V::load(x + from + i, n, Compute(0)), vdy = vx;
        if constexpr (Op::kInputs > 1) vdy = V::load(dy + from + i, n, Compute(0));
        V vgamma = V::all(Compute(1)), vbeta = V::all(Compute(0));
        if (kHasAll || gamma != nullptr) vgamma = V::load(gamma + f, n, Compute(1));
        if (Op::kInputs == 1 && (kHasAll || beta != nullptr)) vbeta = V::load(beta + f, n, Compute(0));
        return Op::apply(vx, vdy, c, vgamma, vbeta);
      });
    }
  }
};

/// What backward adds up, for features f in [begin, end) of each row:
///
///   sum_dy[r] = sum over f of gamma dy                grad_beta[f] += sum over rows of dy
///   sum_dy_x[r] = sum over f of gamma dy (x - mean)   grad_gamma[f] += sum over rows of dy xhat
///
/// xhat = (x - mean) inv_std + offset, with one of each a row. gamma may be null, and so may grad_gamma and
/// grad_beta, both together. Four rows at a time share the loads and stores of what belongs to a feature.
template <typename Storage>
struct RowGradients {
  using Compute = ComputeOf<Storage>;
  using Statistic = StatisticOf<Storage>;

  const Storage* x;
  const Storage* dy;
  const Compute* gamma;
  Index begin, end;
  Index rows;
  const Index* offsets;
  const Compute* mean;
  const Compute* inv_std;
  const Compute* offset;
  Statistic* sum_dy;
  Statistic* sum_dy_x;
  Statistic* grad_gamma;
  Statistic* grad_beta;

  template <int Bytes>
  EVENKEEL_INLINE void operator()() const {
    using V = simd::VecOf<Compute, Bytes>;
    std::fill(sum_dy, sum_dy + rows, Statistic(0));
    std::fill(sum_dy_x, sum_dy_x + rows, Statistic(0));
    // Short sums: at most kShortSum rows for each feature, and kShortSum vectors of features for each row.
    constexpr Index kFeatures = kShortSum * V::kLanes;
    for (Index row = 0; row < rows; row += kShortSum) {
      const Index last_row = std::min<Index>(rows, row + kShortSum);
      for (Index f = begin; f < end; f += kFeatures)
        take<V, kFeatures>(row, last_row, f, std::min(end - f, kFeatures));
    }
  }

 private:
  template <typename V, Index kFeatures>
  EVENKEEL_INLINE void take(Index row, Index last_row, Index f, Index features) const {
    Compute beta_sums[kFeatures], gamma_sums[kFeatures];
    for (Index i = 0; i < features; i += V::kLanes) {
      V::all(Compute(0)).store(beta_sums + i);
      V::all(Compute(0)).store(gamma_sums + i);
    }
    for (; row + 4 <= last_row; row += 4) {
      Row<V> row0(*this, row, f), row1(*this, row + 1, f), row2(*this, row + 2, f), row3(*this, row + 3, f);
      for (Index i = 0; i < features; i += V::kLanes) {
        const Index n = features - i;
        const V vgamma = gamma == nullptr ? V::all(Compute(1)) : V::load(gamma + f + i, n, Compute(0));
        V beta_sum = V::load(beta_sums + i), gamma_sum = V::load(gamma_sums + i);
        row0.add(i, n, vgamma, beta_sum, gamma_sum);
        row1.add(i, n, vgamma, beta_sum, gamma_sum);
        row2.add(i, n, vgamma, beta_sum, gamma_sum);
        row3.add(i, n, vgamma, beta_sum, gamma_sum);
        beta_sum.store(beta_sums + i);
        gamma_sum.store(gamma_sums + i);
      }
      row0.finish(*this, row);
      row1.finish(*this, row + 1);
      row2.finish(*this, row + 2);
      row3.finish(*this, row + 3);
    }
    for (; row < last_row; ++row) {
      Row<V> row0(*this, row, f);
      for (Index i = 0; i < features; i += V::kLanes) {
        const Index n = features - i;
        const V vgamma = gamma == nullptr ? V::all(Compute(1)) : V::load(gamma + f + i, n, Compute(0));
        V beta_sum = V::load(beta_sums + i), gamma_sum = V::load(gamma_sums + i);
        row0.add(i, n, vgamma, beta_sum, gamma_sum);
        beta_sum.store(beta_sums + i);
        gamma_sum.store(gamma_sums + i);
      }
      row0.finish(*this, row);
    }
    if (grad_gamma == nullptr) return;
    for (Index i = 0; i < features; i += V::kLanes) {
      add_lanes(V::load(beta_sums + i), grad_beta + f + i, features - i);
      add_lanes(V::load(gamma_sums + i), grad_gamma + f + i, features - i);
    }
  }

  /// One row on its way.
  template <typename V>
  struct Row {
    const Storage* x;
    const Storage* dy;
    Compute fill;
    V mean, inv_std, offset, sum_dy, sum_dy_x;

    EVENKEEL_INLINE Row(const RowGradients& k, Index r, Index f) {
      x = k.x + k.offsets[r] + f;
      dy = k.dy + k.offsets[r] + f;
      fill = k.mean[r];
      mean = V::all(k.mean[r]);
      inv_std = V::all(k.inv_std[r]);
      offset = V::all(k.offset[r]);
      sum_dy = sum_dy_x = V::all(Compute(0));
    }

    EVENKEEL_INLINE void add(Index i, Index n, const V& vgamma, V& beta_sum, V& gamma_sum) {
      const V centred = V::load(x + i, n, fill) - mean;
      const V vdy = V::load(dy + i, n, Compute(0));
      const V weighted = vdy * vgamma;
      sum_dy = sum_dy + weighted;
      sum_dy_x = fma(weighted, centred, sum_dy_x);
      beta_sum = beta_sum + vdy;
      gamma_sum = fma(vdy, fma(centred, inv_std, offset), gamma_sum);
    }

    EVENKEEL_INLINE void finish(const RowGradients& k, Index r) const {
      simd::WideSum<Compute, V::kLanes, Statistic> wide_dy, wide_dy_x;
      wide_dy.add(sum_dy);
      wide_dy_x.add(sum_dy_x);
      k.sum_dy[r] += wide_dy.total();
      k.sum_dy_x[r] += wide_dy_x.total();
    }
  };
};

}  // namespace evenkeel::kernels
