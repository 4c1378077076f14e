#pragma once

#include <algorithm>
#include <cmath>

#include "evenkeel/kernels/lines.hpp"
#include "evenkeel/simd/vec.hpp"

namespace evenkeel::kernels {
EVENKEEL_BEGIN

// Small numbers of each set, kept in arrays. Limited by the divider and the root.

/// high + low = a + b exactly (Knuth 1969, TwoSum).
template <typename T>
EVENKEEL_INLINE void two_sum(const T& a, const T& b, T& high, T& low) {
  using simd::as_computed;
  const T sum = as_computed(T(a + b)), b_part = as_computed(T(sum - a));
  low = as_computed(T(a - as_computed(T(sum - b_part)))) + as_computed(T(b - b_part));
  high = sum;
}

/// The 1 / standard deviation with which Compute holds the squares of deviations, and what backward makes of them,
/// without overflow and with all digits. Other types have no bounds.
template <typename Compute>
struct InvStdRange {
  static constexpr bool kBounded = false;
};
template <>
struct InvStdRange<float> {
  static constexpr bool kBounded = true;
  static constexpr double kLow = 0x1p-50, kHigh = 0x1p50;
};
template <>
struct InvStdRange<double> {
  static constexpr bool kBounded = true;
  static constexpr double kLow = 0x1p-400, kHigh = 0x1p400;
};

/// The sizes with which the passes backward neither overflow nor lose digits: of |mean(gamma dy)| + |mean(gamma dy
/// xhat)|, from kLeast to kHigh; of the same over the variance, and of a parameter's short sums, from kLow to kHigh.
/// Where they are 0 all may have underflowed, which shows in no normal number while 1 / std is below
/// kMostInvStdOfZero.
template <typename Compute>
struct GradientRange;
template <>
struct GradientRange<float> {
  static constexpr double kLow = 0x1p-100, kHigh = 0x1p100, kLeast = 0x1p-60, kMostInvStdOfZero = 0x1p12;
};
template <>
struct GradientRange<double> {
  static constexpr double kLow = 0x1p-900, kHigh = 0x1p900, kLeast = 0x1p-500, kMostInvStdOfZero = 0x1p26;
};

/// Whether sums of this size, of a parameter's gradients, are right.
template <typename Compute>
bool is_sum_in_range(double size) {
  return is_zero(size) || is_between(size, GradientRange<Compute>::kLow, GradientRange<Compute>::kHigh);
}

/// sum + size where what is asked of the size is not between low and high: not 0, and perhaps NaN, if any size was.
template <typename V>
EVENKEEL_INLINE V add_outside(const V& asked, double low, double high, const V& size, const V& sum) {
  using T = typename V::Scalar;
  return sum + if_between(asked, T(low), T(high), V::all(T(0)), size);
}

/// The pivot was not close enough: squares about it lose more than one bit to cancellation.
template <typename T>
EVENKEEL_INLINE bool is_poor_pivot(const T& n, const T& first, const T& second) {
  return T(n * second) < T(T(first + first) * first);
}

template <int Bytes, typename T>
EVENKEEL_INLINE bool any_poor_pivot(const T& n, const T* first, const T* second, Index sets) {
  using V = simd::VecOf<T, Bytes>;
  const V one = V::all(T(1)), zero = V::all(T(0)), count = V::all(n);
  V poor = zero;
  for (Index k = 0; k < sets; k += V::kLanes) {
    const V f = V::load(first + k, sets - k, T(0)), s = V::load(second + k, sets - k, T(0));
    poor = if_less(count * s, (f + f) * f, one, poor);
  }
  return T(0) < poor.total();
}

/// Where the statistics of sets are, an array for each number.
template <typename Statistic>
struct StatisticArrays {
  Statistic* mean;
  Statistic* mean_low;
  Statistic* variance;
  Statistic* inv_std;

  EVENKEEL_INLINE StatisticArrays from(Index set) const {
    return {mean + set, mean_low + set, variance + set, inv_std + set};
  }
};

/// What first = sum of x - pivot and second = sum of (x - pivot)^2 over n values tell of each set:
///
///   mean + mean_low = pivot + first / n
///   variance = (second - first^2 / n) / n
///   inv_std = 1 / sqrt(variance + epsilon), or 0 where both are 0
template <typename Compute, typename Statistic>
struct FinishSums {
  Index sets;
  const Compute* pivots;
  const Statistic* first;
  const Statistic* second;
  Statistic n, epsilon;
  StatisticArrays<Statistic> to;

  template <int Bytes>
  EVENKEEL_INLINE void operator()() const {
    using V = simd::VecOf<Statistic, Bytes>;
    const V zero = V::all(Statistic(0)), share = V::all(Statistic(1) / n);
    for (Index k = 0; k < sets; k += V::kLanes) {
      const Index m = sets - k;
      const V sum = V::load(first + k, m, Statistic(0)), shift = sum * share;
      V high, low;
      two_sum(V::load(pivots + k, m, Statistic(0)), shift, high, low);
      high.store(to.mean + k, m);
      low.store(to.mean_low + k, m);
      const V m2 = V::load(second + k, m, Statistic(1)) - sum * shift;
      const V var = not_negative(m2) * share;
      var.store(to.variance + k, m);
      const V radicand = var + V::all(epsilon);
      if_less(zero, radicand, inverse_root(radicand), radicand).store(to.inv_std + k, m);
    }
  }
};

/// xhat = (x - mean) scale + shift of each set. The rounding error of the mean goes back in through the shift.
/// in_range is written: whether each set's inv_std lies in InvStdRange, and is not NaN.
template <typename Compute, typename Statistic>
struct NormalizeCoefficients {
  Index sets;
  const Statistic* set_mean;
  const Statistic* set_mean_low;
  const Statistic* inv_std;
  Compute* mean;
  Compute* scale;
  Compute* shift;
  bool* in_range;

  template <int Bytes>
  EVENKEEL_INLINE void operator()() const {
    using V = simd::VecOf<Statistic, Bytes>;
    using Range = InvStdRange<Compute>;
    V outside = V::all(Statistic(0));
    for (Index k = 0; k < sets; k += V::kLanes) {
      const Index m = sets - k;
      const V exact = V::load(set_mean + k, m, Statistic(0)),
              low = V::load(set_mean_low + k, m, Statistic(0));
      const V slope = V::load(inv_std + k, m, Statistic(1));
      if constexpr (Range::kBounded) {
        outside = if_between(slope, Range::kLow, Range::kHigh, outside, V::all(1));
      }
      exact.store(mean + k, m);
      slope.store(scale + k, m);
      ((difference(V::load(mean + k, m, Statistic(0)), exact) - low) * slope).store(shift + k, m);
    }
    *in_range = !(Statistic(0) < outside.total());
  }
};

/// dx = dy scale + ((x - mean) slope + shift) of each set, from sum_dy = sum of gamma dy and sum_dy_x = sum of gamma
/// dy (x - mean) over n values. in_range is written: whether that is right of each set's dy; see GradientRange. Then
/// outside, which is 0 for those of which it is.
template <typename Compute, typename Statistic>
struct GradientCoefficients {
  Index sets;
  const Statistic* set_mean;
  const Statistic* set_mean_low;
  const Statistic* inv_std;
  const Statistic* sum_dy;
  const Statistic* sum_dy_x;
  Statistic n;
  Compute* mean;
  Compute* scale;
  Compute* shift;
  Compute* slope;
  Statistic* outside;
  bool* in_range;

  template <int Bytes>
  EVENKEEL_INLINE void operator()() const {
    using V = simd::VecOf<Statistic, Bytes>;
    const V share = V::all(Statistic(1) / n), zero = V::all(Statistic(0));
    V any_outside = zero;
    for (Index k = 0; k < sets; k += V::kLanes) {
      const Index m = sets - k;
      const V exact = V::load(set_mean + k, m, Statistic(0)), rstd = V::load(inv_std + k, m, Statistic(0));
      const V dy = V::load(sum_dy + k, m, Statistic(0)), dy_x = V::load(sum_dy_x + k, m, Statistic(0));
      exact.store(mean + k, m);
      rstd.store(scale + k, m);
      const V low =
          difference(exact, V::load(mean + k, m, Statistic(0))) + V::load(set_mean_low + k, m, Statistic(0));
      const V mean_dy_xhat = rstd * ((dy_x - low * dy) * share);
      const V tilt = zero - rstd * rstd * mean_dy_xhat;
      tilt.store(slope + k, m);
      (zero - rstd * dy * share - tilt * low).store(shift + k, m);
      if constexpr (InvStdRange<Compute>::kBounded) {
        using Range = GradientRange<Compute>;
        const V least = if_less(rstd, V::all(Range::kMostInvStdOfZero), zero, V::all(0x1p-1000));
        const V size = magnitude(dy * share) + magnitude(mean_dy_xhat) + least;
        const V out = add_outside(rstd * rstd * size, Range::kLow, Range::kHigh, size,
                                  add_outside(size, Range::kLeast, Range::kHigh, size, zero));
        out.store(outside + k, m);
        any_outside = any_outside + out;
      }
    }
    *in_range = is_zero(any_outside.total());
  }
};

/// What `count` elements, `stride` apart, add to the gradients of the gamma and beta that they share, in Statistic:
/// for sums that Compute has no room for. xhat = (x - mean) scale + shift, with one of each an element.
template <typename Storage, typename Compute, typename Statistic>
EVENKEEL_COLD void add_one_by_one(const Storage* x, const Storage* dy, Index count, Index stride,
                                  const Compute* mean, const Compute* scale, const Compute* shift,
                                  Statistic& grad_gamma, Statistic& grad_beta) {
  const auto value = [&](const Storage* p, Index i) {
    return Statistic(static_cast<Compute>(p[i * stride]));
  };
  Statistic largest(0), sum_dy(0), sum_dy_xhat(0);
  for (Index i = 0; i < count; ++i) {
    if (is_finite(value(dy, i))) largest = std::max(largest, Statistic(std::fabs(value(dy, i))));
  }
  const Statistic unit(largest < 1 ? 0x1p200 : 0x1p-200);
  for (Index i = 0; i < count; ++i) {
    const Statistic scaled = value(dy, i) * unit;
    const Statistic centred = simd::as_computed(Statistic(value(x, i) - Statistic(mean[i])));
    sum_dy += scaled;
    sum_dy_xhat += scaled * (centred * Statistic(scale[i]) + Statistic(shift[i]));
  }
  grad_beta += sum_dy / unit;
  grad_gamma += sum_dy_xhat / unit;
}

/// to = from, past the caches.
template <typename T>
struct StreamCopy {
  const T* from;
  T* to;
  Index count;

  template <int Bytes>
  EVENKEEL_INLINE void operator()() const {
    using V = simd::VecOf<T, Bytes>;
    const StreamedPart part = streamed_part<V>(to, count);
    std::copy(from, from + part.begin, to);
    for (Index i = part.begin; i < part.end; i += V::kLanes) put<true>(V::load(from + i), to + i);
    std::copy(from + part.end, from + count, to + part.end);
  }
};

/// out[i] = the sum over blocks b of sums[b * stride + i].
template <typename Compute, typename Statistic>
struct SumBlocks {
  Index count;
  Index blocks, stride;
  const Statistic* sums;
  Compute* out;

  template <int Bytes>
  EVENKEEL_INLINE void operator()() const {
    using V = simd::VecOf<Statistic, Bytes>;
    const auto add_up = [&](Index i, Index n) EVENKEEL_INLINE_LAMBDA {
      V sum = V::load(sums + i, n, Statistic(0));
      for (Index b = 1; b < blocks; ++b) sum = sum + V::load(sums + b * stride + i, n, Statistic(0));
      sum.store(out + i, n);
    };
    Index i = 0;
    for (; i + V::kLanes <= count; i += V::kLanes) add_up(i, V::kLanes);
    if (i < count) add_up(i, count - i);
  }
};

EVENKEEL_END
}  // namespace evenkeel::kernels
