// SPDX-License-Identifier: MIT
#pragma once

#include <utility>

#include "evenkeel/base/scratch.hpp"
#include "evenkeel/core/fingerprint.hpp"
#include "evenkeel/kernels/kernels.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN
EVENKEEL_BEGIN_SMALL

/// The statistics of each set; all but inv_std may be null, or all of them.
template <typename T>
struct StatisticsOfSets {
  T* mean = nullptr;
  T* mean_low = nullptr;
  T* variance = nullptr;
  T* inv_std = nullptr;
};

/// A number that is 0 once it is moved from, as the size of an array is.
class Count {
 public:
  Count(Index count = 0) : count_(count) {}
  Count(const Count&) = default;
  Count(Count&& other) noexcept : count_(std::exchange(other.count_, 0)) {}
  Count& operator=(const Count&) = default;
  Count& operator=(Count&& other) noexcept {
    count_ = std::exchange(other.count_, 0);
    return *this;
  }
  operator Index() const { return count_; }

 private:
  Index count_;
};

EVENKEEL_END
}  // namespace evenkeel::detail

namespace evenkeel {
EVENKEEL_BEGIN

/// The statistics that forward saves for backward and for running statistics. One entry per statistics set, which is the set
/// of values that share one mean and variance.
template <typename Statistic>
struct Moments {
  Vector<Statistic> mean;      // the mean, rounded to Statistic; RMS norm has none
  Vector<Statistic> mean_low;  // the rounding error of mean
  Vector<Statistic> variance;  // biased: the divisor is the number of values
  Vector<Statistic> inv_std;   // 1 / sqrt(variance + epsilon)
  bool keeps_mean = true;      // if false, mean stays empty
  bool keeps_mean_low = true;  // if false, mean_low stays empty
  bool keeps_variance = true;  // if false, variance stays empty; running statistics need it
  bool keeps_room = false;     // arrays may have room for more sets; then only the first `used` entries count
  bool checks_x = true;        // backward refuses an x that differs from forward's x in one of eight values
  detail::Count used;          // the number of sets of the last forward
  detail::Fingerprint seen;    // of the last forward's x

  /// Creates moments of no set, or with room for this number of sets.
  Moments() = default;
  explicit Moments(Index sets) { resize(sets); }

  /// Makes room for this number of sets, without initializing them.
  void resize(Index sets) {
    inv_std = detail::vector_of<Statistic>(sets);
    if (keeps_mean) mean = detail::vector_of<Statistic>(sets);
    if (keeps_mean_low) mean_low = detail::vector_of<Statistic>(sets);
    if (keeps_variance) variance = detail::vector_of<Statistic>(sets);
    used = sets;
    seen.forget();
  }
  /// Makes room in `fresh` for this number of sets, in the same arrays that this object keeps.
  EVENKEEL_OUTLINE_MEMBER void make_room(Index sets, Moments& fresh) const {
    fresh.keeps_mean = keeps_mean;
    fresh.keeps_mean_low = keeps_mean_low;
    fresh.keeps_variance = keeps_variance;
    fresh.keeps_room = keeps_room;
    fresh.resize(sets);
  }
  /// Swaps the arrays with those of other moments, which must keep the same arrays.
  void swap(Moments& other) {
    mean.swap(other.mean);
    mean_low.swap(other.mean_low);
    variance.swap(other.variance);
    inv_std.swap(other.inv_std);
  }
  /// Whether an array has room for this number of sets.
  bool has_room(const Vector<Statistic>& array, Index sets) const {
    return keeps_room ? array.size() >= sets : array.size() == sets;
  }
  /// Whether all kept arrays have room for this number of sets and the others are empty.
  bool fits(Index sets) const {
    const auto is_right = [&](const Vector<Statistic>& array, bool kept) {
      return kept ? has_room(array, sets) : array.size() == 0;
    };
    return is_right(inv_std, true) && is_right(mean, keeps_mean) && is_right(mean_low, keeps_mean_low) &&
           is_right(variance, keeps_variance);
  }

  /// Pointers to the arrays; null for those that are not kept.
  detail::StatisticsOfSets<Statistic> places() {
    const auto place = [](Vector<Statistic>& array, bool kept) { return kept ? array.data() : nullptr; };
    return {place(mean, keeps_mean), place(mean_low, keeps_mean_low), place(variance, keeps_variance),
            inv_std.data()};
  }
  detail::StatisticsOfSets<const Statistic> places() const {
    return {mean.size() > 0 ? mean.data() : nullptr, mean_low.size() > 0 ? mean_low.data() : nullptr, nullptr,
            inv_std.data()};
  }

  /// The number of sets.
  Index size() const { return keeps_room ? Index(used) : keeps_mean ? mean.size() : inv_std.size(); }
  /// Sets all kept entries to 0.
  void clear() {
    seen.forget();
    for (Vector<Statistic>* v : {&mean, &mean_low, &variance, &inv_std}) v->setConstant(Statistic(0));
  }
};

EVENKEEL_END
}  // namespace evenkeel

namespace evenkeel::detail {
EVENKEEL_BEGIN

/// Count, mean and M2 = sum (x - mean)^2 of some values.
template <typename T>
struct BlockMoments {
  T count, mean, mean_low, m2;

  static BlockMoments none() { return {T(0), T(0), T(0), T(0)}; }

  /// From first = sum (x - pivot) and second = sum (x - pivot)^2.
  static BlockMoments about(const T& pivot, Index n, const T& first, const T& second) {
    BlockMoments m = none();
    m.count = from_count<T>(n);
    const auto finished = one_by_one::finish_sums<T>(pivot, first, second, T(T(1) / m.count));
    m.mean = finished.mean;
    m.mean_low = finished.mean_low;
    m.m2 = T(finished.variance * m.count);
    return m;
  }

  /// Chan, Golub and LeVeque 1979: m2 = m2_a + m2_b + delta^2 n_a n_b / n.
  void merge(const BlockMoments& b) {
    if (count == T(0)) {
      *this = b;
      return;
    }
    if (b.count == T(0)) return;
    const T n = T(count + b.count), delta = T(as_computed(T(b.mean - mean)) + T(b.mean_low - mean_low));
    const T weight = T(b.count / n);
    T high, low;
    one_by_one::two_sum(mean, T(delta * weight), high, low);
    one_by_one::two_sum(high, T(low + mean_low), mean, mean_low);
    m2 = T(T(m2 + b.m2) + as_computed(T(T(delta * delta) * T(count * weight))));
    count = n;
  }
};

/// The pivot was not close enough: squares about it lose more than one bit to cancellation, or as many as there are to
/// `spare`.
template <typename T>
bool is_poor_pivot(const T& n, const T& first, const T& second, const T& spare = T(1)) {
  return T(T(n * second) * spare) < T(T(first + first) * first);
}

/// The statistics of one set, as they are applied.
template <typename T>
struct SetStatistics {
  T mean, mean_low, variance, inv_std;
};
/// Of elements that are computed as C. If T has more digits, the mean needs no rest: backward has the mean that forward had.
template <typename C, typename T>
SetStatistics<T> finish(const BlockMoments<T>& m, const T& epsilon) {
  const T variance = T(m.m2 / m.count);
  return {m.mean, kHasRoom<C> ? T(0) : m.mean_low, variance, one_by_one::inverse_std<T>(variance, epsilon)};
}

/// Statistics of several sets, an array for each number, with room for whole vectors.
template <typename T, Index kSets>
struct StatisticArrays {
  Scratch<T, kSets + kPadding> mean, mean_low, variance, inv_std;

  void set(Index k, const SetStatistics<T>& s) {
    mean[k] = s.mean;
    mean_low[k] = s.mean_low;
    variance[k] = s.variance;
    inv_std[k] = s.inv_std;
  }
  SetStatistics<T> operator[](Index k) const { return {mean[k], mean_low[k], variance[k], inv_std[k]}; }
  StatisticsOfSets<const T> places() const {
    return {mean.data(), mean_low.data(), variance.data(), inv_std.data()};
  }
};

EVENKEEL_END_SMALL
EVENKEEL_END
}  // namespace evenkeel::detail
