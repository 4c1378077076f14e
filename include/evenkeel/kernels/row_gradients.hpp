#pragma once

#include <algorithm>
#include <cmath>

#include "evenkeel/kernels/lines.hpp"
#include "evenkeel/kernels/sets.hpp"
#include "evenkeel/kernels/terms.hpp"

namespace evenkeel::kernels {
EVENKEEL_BEGIN

/// What backward adds up, for features f in [begin, end) of each row:
///
///   sum_dy[r] = sum over f of gamma dy                grad_beta[f] += sum over rows of dy
///   sum_dy_x[r] = sum over f of gamma dy (x - mean)   grad_gamma[f] += sum over rows of dy xhat
///
/// xhat = (x - mean) scale + shift, with one of each a row. gamma may be null, and so may grad_gamma and grad_beta,
/// both together. A few rows at a time, as registers allow, share the loads and stores of what belongs to a feature.
/// Limited by the two ports that multiply vectors: seven operations a vector. Measured with RowApply, as layer norm's
/// backward, with 512-bit vectors: 2.8 times the floor inside the second-level cache (clang++: 2.4), 1.7 beyond, 2.4
/// for rows of 16; with 256-bit ones, on an AMD EPYC: 3.7, 1.65 to 1.9 (2.4 inside the third-level cache), and 3.8.
template <typename Storage>
struct RowGradients {
  using Compute = ComputeOf<Storage>;
  using Statistic = StatisticOf<Storage>;

  const Storage* x;
  const Storage* dy;
  const Compute* gamma;
  Index begin, end;
  Index rows, offset, stride;
  const Compute* mean;
  const Compute* scale;
  const Compute* shift;
  Statistic* sum_dy;
  Statistic* sum_dy_x;
  Statistic* grad_gamma;
  Statistic* grad_beta;
  Index ahead;  // x is asked for here, dy when all is applied; see prefetch()

  template <int Bytes>
  EVENKEEL_INLINE void operator()() const {
    using V = simd::VecOf<Compute, Bytes>;
    std::fill(sum_dy, sum_dy + rows, Statistic(0));
    std::fill(sum_dy_x, sum_dy_x + rows, Statistic(0));
    Compute ones[kWide * V::kLanes];  // for gamma
    if (gamma == nullptr) std::fill(ones, ones + std::min<Index>(end - begin, kWide * V::kLanes), Compute(1));
    for (Index row = 0; row < rows; row += kShortParamSum) {
      for (Index f = begin; f < end; f += kWide * V::kLanes) {
        take<V>(row, f, gamma == nullptr ? ones : gamma + f);
      }
    }
  }

 private:
  static constexpr int kWide = 8 * kShortParamSum;
  static constexpr bool kBounded = InvStdRange<Compute>::kBounded;
  using Range = GradientRange<Compute>;

  /// Of at most kShortParamSum rows and kWide vectors of features: a short sum for each feature, a few short sums
  /// added up for each row.
  template <typename V>
  struct Sums {
    Compute beta[kWide * V::kLanes], gamma[kWide * V::kLanes];
    V dy[kShortParamSum], dy_x[kShortParamSum];
  };

  template <typename V>
  EVENKEEL_INLINE void take(Index row, Index f, const Compute* weights) const {
    constexpr int L = V::kLanes;
    const Index features = std::min<Index>(end - f, kWide * L),
                count = std::min<Index>(rows - row, kShortParamSum);
    constexpr int kHeld = simd::kRegisters<V>;
    constexpr int kAtOnce = kHeld >= 32 ? 4 : 2;
    Sums<V> sums;
    Index r = 0;
    if (features == L) {
      add_narrow_rows<1>(row, count, f, weights, sums);
      r = count;
    } else if (features == 2 * L) {
      add_narrow_rows<2>(row, count, f, weights, sums);
      r = count;
    } else if (count >= kAtOnce) {
      add_rows<kAtOnce, true>(row, r, f, features, weights, sums);
      for (r = kAtOnce; r + kAtOnce <= count; r += kAtOnce) {
        add_rows<kAtOnce, false>(row, r, f, features, weights, sums);
      }
    }
    if (r == 0) add_rows<1, true>(row, r++, f, features, weights, sums);
    for (; r < count; ++r) add_rows<1, false>(row, r, f, features, weights, sums);
    for (; r < kShortParamSum; ++r) sums.dy[r] = sums.dy_x[r] = V::all(Compute(0));
    for (r = 0; r < count; r += L) {
      const auto both = simd::totals([&](int j) EVENKEEL_INLINE_LAMBDA {
        return simd::Two<V>{sums.dy[r + j], sums.dy_x[r + j]};
      });
      add_lanes(both.first, sum_dy + row + r, count - r);
      add_lanes(both.second, sum_dy_x + row + r, count - r);
    }
    if (grad_gamma != nullptr) add_params(row, count, f, features, sums);
  }

  /// Short sums that are out of range are left out, and made again one element at a time.
  template <typename V>
  EVENKEEL_INLINE void add_params(Index row, Index count, Index f, Index features,
                                  const Sums<V>& sums) const {
    constexpr int L = V::kLanes;
    const V zero = V::all(Compute(0));
    V outside = zero;
    for (Index i = 0; i < features; i += L) {
      V beta = V::load(sums.beta + i, features - i, Compute(0)),
        of_gamma = V::load(sums.gamma + i, features - i, Compute(0));
      if constexpr (kBounded) {
        const V size = magnitude(beta) + magnitude(of_gamma);
        outside = add_outside(size, Range::kLow, Range::kHigh, size, outside);
        beta = if_between(size, Compute(Range::kLow), Compute(Range::kHigh), beta, zero);
        of_gamma = if_between(size, Compute(Range::kLow), Compute(Range::kHigh), of_gamma, zero);
      }
      add_lanes(beta, grad_beta + f + i, features - i);
      add_lanes(of_gamma, grad_gamma + f + i, features - i);
    }
    if constexpr (kBounded) {
      if (!is_zero(static_cast<double>(outside.total()))) {
        const RowGradients copy = *this;  // whose members may be in memory
        copy.add_outside_params(row, count, f, features, sums.beta, sums.gamma);
      }
    }
  }

  EVENKEEL_COLD void add_outside_params(Index row, Index count, Index f, Index features, const Compute* beta,
                                        const Compute* of_gamma) const {
    for (Index i = 0; i < features; ++i) {
      const Compute size = std::fabs(beta[i]) + std::fabs(of_gamma[i]);
      if (is_sum_in_range<Compute>(double(size))) continue;
      const Index at = offset + row * stride + f + i;
      add_one_by_one(x + at, dy + at, count, stride, mean + row, scale + row, shift + row, grad_gamma[f + i],
                     grad_beta[f + i]);
    }
  }

  /// All `count` rows, of kVectors vectors: what is added up by feature stays in registers.
  template <int kVectors, typename V>
  EVENKEEL_INLINE void add_narrow_rows(Index row, Index count, Index f, const Compute* weights,
                                       Sums<V>& sums) const {
    constexpr int L = V::kLanes;
    const V gamma0 = V::load(weights), gamma1 = V::load(weights + (kVectors - 1) * L);
    V beta_sum0 = V::all(Compute(0)), gamma_sum0 = beta_sum0, beta_sum1 = beta_sum0, gamma_sum1 = beta_sum0;
    for (Index r = 0; r < count; ++r) {
      Row<V> one(*this, row + r, f);
      prefetch(one.x, ahead);
      one.add([](const Storage* p, Compute) EVENKEEL_INLINE_LAMBDA { return V::load(p); }, gamma0, beta_sum0,
              gamma_sum0);
      if constexpr (kVectors > 1) {
        one.add([](const Storage* p, Compute) EVENKEEL_INLINE_LAMBDA { return V::load(p + L); }, gamma1,
                beta_sum1, gamma_sum1);
      }
      one.keep(sums, r, false);
    }
    beta_sum0.store(sums.beta);
    gamma_sum0.store(sums.gamma);
    if constexpr (kVectors > 1) {
      beta_sum1.store(sums.beta + L);
      gamma_sum1.store(sums.gamma + L);
    }
  }

  template <int kRows, bool kFirst, typename V>
  EVENKEEL_INLINE void add_rows(Index row, Index r, Index f, Index features, const Compute* weights,
                                Sums<V>& sums) const {
    constexpr int L = V::kLanes;
    // Where there are fewer rows, the others are the first, and left alone.
    constexpr int k1 = kRows > 1, k2 = kRows > 2 ? 2 : 0, k3 = kRows > 2 ? 3 : 0;
    Row<V> row0(*this, row + r, f), row1(*this, row + r + k1, f), row2(*this, row + r + k2, f),
        row3(*this, row + r + k3, f);
    const auto step = [&](Index i, bool more, const V& vgamma, const auto& load) EVENKEEL_INLINE_LAMBDA {
      prefetch(row0.x + i, ahead);
      if constexpr (kRows > 1) prefetch(row1.x + i, ahead);
      if constexpr (kRows > 2) prefetch(row2.x + i, ahead);
      if constexpr (kRows > 2) prefetch(row3.x + i, ahead);
      V beta_sum = V::all(Compute(0)), gamma_sum = beta_sum;
      if (more) beta_sum = V::load(sums.beta + i), gamma_sum = V::load(sums.gamma + i);
      row0.add(load, vgamma, beta_sum, gamma_sum);
      if constexpr (kRows == 2) row1.add(load, vgamma, beta_sum, gamma_sum);
      if constexpr (kRows > 2) {
        V beta_sum2 = V::all(Compute(0)), gamma_sum2 = beta_sum2;
        row1.add(load, vgamma, beta_sum2, gamma_sum2);
        row2.add(load, vgamma, beta_sum, gamma_sum);
        row3.add(load, vgamma, beta_sum2, gamma_sum2);
        beta_sum = beta_sum + beta_sum2;
        gamma_sum = gamma_sum + gamma_sum2;
      }
      beta_sum.store(sums.beta + i);
      gamma_sum.store(sums.gamma + i);
    };
    const auto keep = [&](bool more) EVENKEEL_INLINE_LAMBDA {
      row0.keep(sums, r, more);
      if constexpr (kRows > 1) row1.keep(sums, r + 1, more);
      if constexpr (kRows > 2) row2.keep(sums, r + 2, more);
      if constexpr (kRows > 2) row3.keep(sums, r + 3, more);
    };
    Index i = 0;
    for (Index last = 0;; keep(last > kShortParamSum * L)) {
      last = std::min(features, last + kShortParamSum * L);
      for (; i + L <= last; i += L) {
        step(i, !kFirst, V::load(weights + i),
             [&](const Storage* p, Compute) EVENKEEL_INLINE_LAMBDA { return V::load(p + i); });
      }
      if (last == features) break;
    }
    if (i < features && features < L) {
      step(0, !kFirst, V::load(weights, features, Compute(0)),
           [&](const Storage* p, Compute fill) EVENKEEL_INLINE_LAMBDA { return V::load(p, features, fill); });
    } else if (i < features) {
      if (kFirst) V::all(Compute(0)).store(sums.beta + i), V::all(Compute(0)).store(sums.gamma + i);
      step(features - L, true, V::load(weights + features - L),
           [&](const Storage* p, Compute fill)
               EVENKEEL_INLINE_LAMBDA { return V::load_end(p + features, features - i, fill); });
    }
    keep(features > kShortParamSum * L);
  }

  /// One row on its way.
  template <typename V>
  struct Row {
    const Storage* x;
    const Storage* dy;
    Compute center;
    V mean, scale, shift, sum_dy, sum_dy_x;

    EVENKEEL_INLINE Row(const RowGradients& k, Index r, Index f) {
      x = k.x + k.offset + r * k.stride + f;
      dy = k.dy + k.offset + r * k.stride + f;
      center = k.mean[r];
      mean = V::all(center);
      scale = V::all(k.scale[r]);
      shift = V::all(k.shift[r]);
      sum_dy = sum_dy_x = V::all(Compute(0));
    }

    template <typename Load>
    EVENKEEL_INLINE void add(const Load& load, const V& vgamma, V& beta_sum, V& gamma_sum) {
      const V centred = difference(mean, load(x, center));
      const V vdy = load(dy, Compute(0));
      const V weighted = vdy * vgamma;
      sum_dy = sum_dy + weighted;
      sum_dy_x = fnma(weighted, centred, sum_dy_x);
      beta_sum = beta_sum + vdy;
      gamma_sum = fma(vdy, fnma(centred, scale, shift), gamma_sum);
    }

    /// To what there is if `more`.
    EVENKEEL_INLINE void keep(Sums<V>& sums, Index r, bool more) {
      sums.dy[r] = more ? sums.dy[r] + sum_dy : sum_dy;
      sums.dy_x[r] = more ? sums.dy_x[r] + sum_dy_x : sum_dy_x;
      sum_dy = sum_dy_x = V::all(Compute(0));
    }
  };
};

EVENKEEL_END
}  // namespace evenkeel::kernels
