#pragma once

#include <cmath>

#include "evenkeel/base/scratch.hpp"
#include "evenkeel/kernels/runs.hpp"
#include "evenkeel/kernels/sets.hpp"

namespace evenkeel {
EVENKEEL_BEGIN

/// What forward leaves for backward and for running statistics, one entry a statistics set.
template <typename Statistic>
struct Moments {
  Vector<Statistic> mean;      // the nearest Statistic to the mean
  Vector<Statistic> mean_low;  // and what it lacks
  Vector<Statistic> variance;  // biased: the divisor is the number of values
  Vector<Statistic> inv_std;   // 1 / sqrt(variance + epsilon)
  bool keeps_mean_low = true;  // what is not kept stays empty
  bool keeps_variance = true;  // of which running statistics are made
  bool keeps_room = false;     // of more sets than the last forward had; the first `used` count then
  Index used = 0;              // the sets of the last forward

  /// Of no set, or with room for so many.
  Moments() = default;
  explicit Moments(Index sets) { resize(sets); }

  /// Makes room for so many sets, not initialized.
  void resize(Index sets) {
    mean = vector_of<Statistic>(sets);
    inv_std = vector_of<Statistic>(sets);
    if (keeps_mean_low) mean_low = vector_of<Statistic>(sets);
    if (keeps_variance) variance = vector_of<Statistic>(sets);
    used = sets;
  }
  /// Others for so many sets, which keep the same.
  Moments like(Index sets) const {
    Moments m;
    m.keeps_mean_low = keeps_mean_low;
    m.keeps_variance = keeps_variance;
    m.keeps_room = keeps_room;
    m.resize(sets);
    return m;
  }
  /// Whether one of the arrays has room for so many sets.
  bool has_room(const Vector<Statistic>& array, Index sets) const {
    return keeps_room ? array.size() >= sets : array.size() == sets;
  }
  /// Whether all that is kept has, and the others are empty.
  bool fits(Index sets) const {
    const auto is_right = [&](const Vector<Statistic>& array, bool kept) {
      return kept ? has_room(array, sets) : array.size() == 0;
    };
    return is_right(mean, true) && is_right(inv_std, true) && is_right(mean_low, keeps_mean_low) &&
           is_right(variance, keeps_variance);
  }

  /// How many sets there are.
  Index size() const { return keeps_room ? used : mean.size(); }
  /// mean_low of a set, 0 where it is not kept.
  Statistic low(Index set) const { return set < mean_low.size() ? mean_low[set] : Statistic(0); }
  /// Sets to 0 what is kept.
  void clear() {
    for (Vector<Statistic>* v : {&mean, &mean_low, &variance, &inv_std}) v->setConstant(Statistic(0));
  }
};

// For the library itself.

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
    kernels::two_sum(pivot, shift, m.mean, m.mean_low);
    m.m2 = not_negative(Statistic(second - first * shift));
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
    const Statistic delta = simd::as_computed(Statistic(b.mean - mean)) + (b.mean_low - mean_low);
    const Statistic weight = b.count / n;
    Statistic high, low;
    kernels::two_sum(mean, Statistic(delta * weight), high, low);
    kernels::two_sum(high, Statistic(low + mean_low), mean, mean_low);
    m2 += b.m2 + delta * delta * (count * weight);
    count = n;
  }
};

/// Statistics of a set as they are applied.
template <typename Statistic>
struct SetStatistics {
  Statistic mean, mean_low, variance, inv_std;
};

/// The same for the sets of a kernel call, an array for each number.
template <typename Statistic>
struct StatisticsTable {
  Scratch<Statistic, kernels::kBatch> mean, mean_low, variance, inv_std;

  void set(Index k, const SetStatistics<Statistic>& s) {
    mean[k] = s.mean;
    mean_low[k] = s.mean_low;
    variance[k] = s.variance;
    inv_std[k] = s.inv_std;
  }
  kernels::StatisticArrays<Statistic> arrays() {
    return {mean.data(), mean_low.data(), variance.data(), inv_std.data()};
  }
  SetStatistics<Statistic> operator[](Index k) const {
    return {mean[k], mean_low[k], variance[k], inv_std[k]};
  }
};

/// mean + mean_low - rounded: what a mean lacks once it is a Compute.
template <typename Statistic, typename Compute>
Statistic rest_of_mean(const Statistic& mean, const Statistic& mean_low, const Compute& rounded) {
  return simd::as_computed(Statistic(mean - Statistic(rounded))) + mean_low;
}

/// 1 / sqrt(variance + epsilon); 0 where both are 0, so that values that do not differ give beta.
template <typename Statistic>
Statistic inverse_std(const Statistic& variance, double epsilon) {
  using std::sqrt;
  if (variance == Statistic(0) && epsilon == 0) return Statistic(0);
  return Statistic(1) / Statistic(sqrt(Statistic(variance + from_double<Statistic>(epsilon))));
}

/// Whether there is a range that the passes are right in; see kernels::InvStdRange.
template <typename Storage>
constexpr bool is_bounded() {
  return kernels::InvStdRange<ComputeOf<Storage>>::kBounded;
}

/// Whether a set with this 1 / standard deviation lies in that range; not if it is NaN.
template <typename Storage, typename Statistic>
bool is_in_range(const Statistic& inv_std) {
  using Range = kernels::InvStdRange<ComputeOf<Storage>>;
  if constexpr (Range::kBounded) {
    return is_between(inv_std, Range::kLow, Range::kHigh);
  }
  return true;
}

/// Which sums over n values the passes backward are right for; see kernels::GradientRange.
template <typename Storage>
class GradientSums {
 public:
  explicit GradientSums(Index n) {
    if constexpr (is_bounded<Storage>()) {
      using Range = kernels::GradientRange<ComputeOf<Storage>>;
      const auto count = from_count<double>(n);
      least_ = count * Range::kLeast;
      low_ = count * Range::kLow;
      high_ = count * Range::kHigh;
    }
  }

  /// Of dy and of dy xhat, in a set with this 1 / standard deviation.
  template <typename Statistic>
  bool contain(const Statistic& inv_std, const Statistic& dy, const Statistic& dy_xhat) const {
    if constexpr (is_bounded<Storage>()) {
      const double size = std::fabs(dy) + std::fabs(dy_xhat);
      if (is_zero(size)) return inv_std < kernels::GradientRange<ComputeOf<Storage>>::kMostInvStdOfZero;
      return is_between(size, least_, high_) && is_between(inv_std * inv_std * size, low_, high_);
    }
    return true;
  }

 private:
  double least_ = 0, low_ = 0, high_ = 0;
};

/// A set's statistics from all its values.
template <typename Statistic>
SetStatistics<Statistic> finish(const BlockMoments<Statistic>& m, double epsilon) {
  const Statistic variance = m.m2 / m.count;
  return {m.mean, m.mean_low, variance, inverse_std(variance, epsilon)};
}

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

/// Sets are summed in blocks of so many elements, which fit the nearest cache.
constexpr Index kRunBlock = 8192;

/// Sums of x - pivot and of (x - pivot)^2 for each set of a kernel call.
template <typename Storage>
struct PivotSums {
  Scratch<ComputeOf<Storage>, kernels::kBatch> pivots;
  Scratch<StatisticOf<Storage>, kernels::kBatch> first, second;

  void sum(const Storage* x, const kernels::Lines& lines, const Index* offsets, Index sets, Index begin,
           Index end, bool guess_pivots) {
    simd::run<ComputeOf<Storage>>(kernels::CentredSums<Storage>{
        x, lines, begin, end, sets, offsets, guess_pivots, pivots.data(), first.data(), second.data()});
  }
};

/// Statistics of at most kBatch sets of at most kRunBlock elements. Set k is `lines` from x + offsets[k] on.
template <typename Storage>
void run_statistics(const Storage* x, const kernels::Lines& lines, const Index* offsets, Index sets,
                    Index elements, double epsilon, StatisticsTable<StatisticOf<Storage>>& statistics) {
  using Statistic = StatisticOf<Storage>;
  PivotSums<Storage> sums;
  sums.sum(x, lines, offsets, sets, 0, elements, true);
  simd::run_baseline<Statistic>(kernels::FinishSums<ComputeOf<Storage>, Statistic>{
      sets, sums.pivots.data(), sums.first.data(), sums.second.data(), from_count<Statistic>(elements),
      from_double<Statistic>(epsilon), statistics.arrays()});
}

/// moments[k] = those of elements [begin, end) of set k, for at most kBatch sets of any size: block by block, each
/// about the mean of the blocks before.
template <typename Storage>
void run_moments(const Storage* x, const kernels::Lines& lines, const Index* offsets, Index sets, Index begin,
                 Index end, BlockMoments<StatisticOf<Storage>>* moments) {
  using Statistic = StatisticOf<Storage>;
  PivotSums<Storage> sums;
  for (Index k = 0; k < sets; ++k) moments[k] = BlockMoments<Statistic>::none();
  for (Index from = begin; from < end; from += kRunBlock) {
    const Index to = std::min(end, from + kRunBlock);
    for (Index k = 0; from > begin && k < sets; ++k)
      sums.pivots[k] = static_cast<ComputeOf<Storage>>(moments[k].mean);
    sums.sum(x, lines, offsets, sets, from, to, from == begin);
    for (Index k = 0; k < sets; ++k) {
      moments[k].merge(BlockMoments<Statistic>::about(Statistic(sums.pivots[k]), to - from, sums.first[k],
                                                      sums.second[k]));
    }
  }
}

EVENKEEL_END
}  // namespace evenkeel
