#pragma once

#include <cmath>

#include "evenkeel/base/scratch.hpp"
#include "evenkeel/kernels/runs.hpp"

namespace evenkeel {

/// What forward leaves for backward and for running statistics, one entry a statistics set.
template <typename Statistic>
struct Moments {
  Vector<Statistic> mean;      // the nearest Statistic to the mean
  Vector<Statistic> mean_low;  // and what it lacks
  Vector<Statistic> variance;  // biased: the divisor is the number of values
  Vector<Statistic> inv_std;   // 1 / sqrt(variance + epsilon)

  Moments() = default;
  explicit Moments(Index sets) : mean(sets), mean_low(sets), variance(sets), inv_std(sets) {}

  Index size() const { return mean.size(); }
  void clear() {
    for (Vector<Statistic>* v : {&mean, &mean_low, &variance, &inv_std}) v->setConstant(Statistic(0));
  }
};

/// high + low = a + b exactly (Knuth 1969, TwoSum).
template <typename T>
void two_sum(const T& a, const T& b, T& high, T& low) {
  const T sum = a + b;
  const T b_part = sum - a;
  low = T(a - T(sum - b_part)) + T(b - b_part);
  high = sum;
}

/// Count, mean and M2 = sum (x - mean)^2 of some values.
template <typename Statistic>
struct BlockMoments {
  Statistic count, mean, mean_low, m2;

  static BlockMoments none() { return {Statistic(0), Statistic(0), Statistic(0), Statistic(0)}; }

  /// From first = sum (x - pivot) and second = sum (x - pivot)^2.
  static BlockMoments about(const Statistic& pivot, Index n, const Statistic& first,
                            const Statistic& second) {
    BlockMoments m = none();
    m.count = from_count<Statistic>(n);
    const Statistic shift = first / m.count;
    two_sum(pivot, shift, m.mean, m.mean_low);
    m.m2 = second - first * shift;
    if (m.m2 < Statistic(0)) m.m2 = Statistic(0);
    return m;
  }

  /// Chan, Golub and LeVeque 1979: m2 = m2_a + m2_b + delta^2 n_a n_b / n.
  void merge(const BlockMoments& b) {
    if (count == Statistic(0)) {
      *this = b;
      return;
    }
    if (b.count == Statistic(0)) return;
    const Statistic n = count + b.count;
    const Statistic delta = (b.mean - mean) + (b.mean_low - mean_low);
    const Statistic weight = b.count / n;
    Statistic high, low;
    two_sum(mean, Statistic(delta * weight), high, low);
    two_sum(high, Statistic(low + mean_low), mean, mean_low);
    m2 += b.m2 + delta * delta * (count * weight);
    count = n;
  }
};

/// Statistics of a set as they are applied.
template <typename Statistic>
struct SetStatistics {
  Statistic mean, mean_low, variance, inv_std;
};

/// 1 / sqrt(variance + epsilon); 0 where both are 0, so that values that do not differ give beta.
template <typename Statistic>
Statistic inverse_std(const Statistic& variance, double epsilon) {
  using std::sqrt;
  if (variance == Statistic(0) && epsilon == 0) return Statistic(0);
  return Statistic(1) / Statistic(sqrt(Statistic(variance + Statistic(epsilon))));
}

/// A set's statistics from all its values.
///
/// The door for the range rescue: here a variance that is not finite, or is 0 or subnormal over values that
/// differ, tells that the set has to be summed again with its values scaled.
template <typename Statistic>
SetStatistics<Statistic> finish(const BlockMoments<Statistic>& m, double epsilon) {
  const Statistic variance = m.m2 / m.count;
  return {m.mean, m.mean_low, variance, inverse_std(variance, epsilon)};
}

/// The pivot was close enough: squares about it lose at most one bit to cancellation.
template <typename Statistic>
bool well_centred(Index n, const Statistic& first, const Statistic& second) {
  return Statistic(2) * first * first <= Statistic(from_count<Statistic>(n) * second);
}

/// How many values a first pivot is guessed from.
constexpr Index kPivotValues = 64;

/// A sum in a fixed order, four at a time.
template <typename T>
T total(const T* values, Index count) {
  T sum0(0), sum1(0), sum2(0), sum3(0);
  Index i = 0;
  for (; i + 4 <= count; i += 4) {
    sum0 += values[i];
    sum1 += values[i + 1];
    sum2 += values[i + 2];
    sum3 += values[i + 3];
  }
  for (; i < count; ++i) sum0 += values[i];
  return T(T(sum0 + sum1) + T(sum2 + sum3));
}

/// A mean that is exact where the values do not differ; four sums at a time.
template <typename T>
T mean_of(const T* values, Index count) {
  const T& first = values[0];
  T sum0(0), sum1(0), sum2(0), sum3(0);
  Index i = 0;
  for (; i + 4 <= count; i += 4) {
    sum0 += T(values[i] - first);
    sum1 += T(values[i + 1] - first);
    sum2 += T(values[i + 2] - first);
    sum3 += T(values[i + 3] - first);
  }
  for (; i < count; ++i) sum0 += T(values[i] - first);
  return T(first + T(T(sum0 + sum1) + T(sum2 + sum3)) / from_count<T>(count));
}

/// moments[k] = those of elements [begin, end) of set k, for at most kBatch sets.
///
/// Set k is `lines` from x + offsets[k] on. A block is summed in one pass about a pivot: the mean of the blocks before
/// it, or at first that of a few values. Where the pivot turns out poor the block is summed once more about its mean;
/// blocks fit the nearest cache, so that this second pass is cheap.
template <typename Storage>
void run_moments(const Storage* x, const kernels::Lines& lines, const Index* offsets, Index sets, Index begin,
                 Index end, BlockMoments<StatisticOf<Storage>>* moments) {
  using Compute = ComputeOf<Storage>;
  using Statistic = StatisticOf<Storage>;
  constexpr Index kBlock = 8192;
  Scratch<Compute, kernels::kBatch> pivots;
  Scratch<Statistic, kernels::kBatch> first, second;

  for (Index k = 0; k < sets; ++k) moments[k] = BlockMoments<Statistic>::none();
  for (Index from = begin; from < end; from += kBlock) {
    const Index to = std::min(end, from + kBlock), n = to - from;
    const auto sum = [&](Index k, Index count) {
      simd::run<Compute>(kernels::RunSums<kernels::Deviations, Storage>{
          x, nullptr, lines, from, to, count, offsets + k, &pivots[k], &first[k], &second[k]});
    };
    if (from == begin) {
      const Index few = std::min(to, from + kPivotValues);
      simd::run<Compute>(kernels::RunPivots<Storage>{x, lines, from, few, sets, offsets, pivots.data()});
    } else {
      for (Index k = 0; k < sets; ++k) pivots[k] = static_cast<Compute>(moments[k].mean);
    }
    sum(0, sets);
    for (Index k = 0; k < sets; ++k) {
      if (!well_centred(n, first[k], second[k])) {
        pivots[k] = static_cast<Compute>(Statistic(pivots[k]) + first[k] / from_count<Statistic>(n));
        sum(k, 1);
      }
      moments[k].merge(BlockMoments<Statistic>::about(Statistic(pivots[k]), n, first[k], second[k]));
    }
  }
}

}  // namespace evenkeel
