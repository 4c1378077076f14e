// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <limits>
#include <optional>
#include <type_traits>

#include "evenkeel/core/compiled.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN
EVENKEEL_BEGIN_SMALL

/// One running statistic of each channel. Callers see and assign `values`. If their type is narrower than T, the digits
/// beyond it are kept too: a channel's statistic is high + low while its value is what was kept, high; else the value
/// was assigned, and is the statistic.
template <typename Param, typename T>
struct RunningStatistic {
  Vector<Param> values, high, low;

  RunningStatistic(Index channels, const Param& start) : values(vector_of(channels, start)) {
    if (!kKeepsDigits<Param>) return;
    high = values;
    low = vector_of(channels, Param(0));
  }

  T get(Index c) const {
    const Param value = values.data()[c];
    if constexpr (kKeepsDigits<Param>) {
      if (high.data()[c] == value) return T(T(value) + T(low.data()[c]));
    }
    return T(value);
  }
  void set(Index c, const T& value) {
    const Param rounded = Param(value);
    values.data()[c] = rounded;
    if constexpr (kKeepsDigits<Param>) {
      high.data()[c] = rounded;
      low.data()[c] = is_finite(rounded) ? Param(T(value - T(rounded))) : Param(0);
    }
  }
  /// With a weight of 1 the old value does not matter, though it may be NaN.
  void move(Index c, const T& value, const T& weight) {
    if (weight == T(1)) return set(c, value);
    const T kept = as_computed(T(T(T(1) - weight) * get(c))), added = as_computed(T(weight * value));
    set(c, T(kept + added));
  }
  /// From channel c on.
  RunningPlaces<Param> places(Index c) {
    if constexpr (kKeepsDigits<Param>) {
      return {values.data() + c, high.data() + c, low.data() + c};
    } else {
      return {values.data() + c, nullptr, nullptr};
    }
  }
  /// All statistics, with all digits. A layer that was moved from may lack them.
  Vector<T> all() const {
    if (high.size() != values.size()) return values.template cast<T>();
    Vector<T> all = vector_of<T>(values.size());
    for (Index c = 0; c < all.size(); ++c) all[c] = get(c);
    return all;
  }
};

inline void count_up(Index& count) {
  if (count < (std::numeric_limits<Index>::max)()) ++count;
}

/// Mean and variance over batches, for inference.
///
///   running = (1 - momentum) running + momentum batch
///
/// Without a momentum, momentum is 1 / number of batches that moved the channel: their average. The batch variance is
/// the unbiased one, n / (n - 1) of the biased, unless the biased one is asked for. Where each sample has statistics of
/// its own, batch is their average. A batch does not move a channel of which a statistic is not finite.
template <typename Param, typename T>
struct RunningStatistics {
  RunningStatistic<Param, T> mean, variance;
  Index tracked = 0;          // batches that moved a channel
  Index rejected = 0;         // batches that did not move all
  Vector<Index> rejected_of;  // of each channel: batches that did not move it
  Vector<Index> skipped_of;   // of each channel: those of them that are tracked

  /// Whether move_statistics is compiled for these types.
  static constexpr bool kHasKernel = Range<Param>::kBounded && std::is_same_v<T, StatisticOf<Param>>;

  /// Begins with mean 0 and variance 1.
  explicit RunningStatistics(Index channels)
      : mean(channels, Param(0)),
        variance(channels, Param(1)),
        rejected_of(vector_of(channels, Index(0))),
        skipped_of(vector_of(channels, Index(0))) {}

  /// n is the number of values in each statistics set; sets are numbered by sample, then by channel.
  EVENKEEL_OUTLINE_MEMBER void update(const Moments<T>& batch, Index n, const std::optional<double>& momentum,
                                      bool unbiased = true) {
    const Index channels = rejected_of.size(), sets = batch.size();
    const T *means = batch.mean.data(), *variances = batch.variance.data();
    Index *rejected_batches = rejected_of.data(), *skipped_batches = skipped_of.data();
    const T unbias = unbiased ? T(from_count<T>(n) / from_count<T>(n - 1)) : T(1);
    const T share = T(T(1) / from_count<T>(sets / channels));
    const auto average = [&](const T* of_sets, Index c) {
      T sum(0);
      for (Index set = c; set < sets; set += channels) sum = T(sum + T(of_sets[set] * share));
      return sum;
    };
    T weight = from_double<T>(momentum.value_or(0));
    Index moved = 0, batches = tracked;
    count_up(batches);
    const auto move = [&](Index c) {
      const T its_mean = average(means, c), its_variance = T(average(variances, c) * unbias);
      if (!is_finite(Param(its_mean)) || !is_finite(Param(its_variance))) {
        count_up(rejected_batches[c]);
        count_up(skipped_batches[c]);
        return;
      }
      ++moved;
      if (!momentum) {
        if (skipped_batches[c] > tracked) skipped_batches[c] = tracked;  // tracked was assigned
        weight = T(T(1) / from_count<T>(batches - skipped_batches[c]));
      }
      mean.move(c, its_mean, weight);
      variance.move(c, its_variance, weight);
    };
    for (Index c = 0; c < channels;) {
      if constexpr (kHasKernel) {  // which moves finite ones, a vector at a time
        if (momentum && sets == channels) {
          const Index finite = Core<Param>::move_statistics(
              {channels - c, means + c, variances + c, unbias, weight, mean.places(c), variance.places(c)});
          moved += finite;
          c += finite;
        }
      }
      for (const Index end = std::min(channels, c + kPadding); c < end; ++c) move(c);
    }
    if (moved < channels) count_up(rejected);
    if (moved > 0) {
      tracked = batches;
    } else {
      for (Index c = 0; c < channels; ++c) --skipped_batches[c];
    }
  }
};

EVENKEEL_END_SMALL
EVENKEEL_END
}  // namespace evenkeel::detail
