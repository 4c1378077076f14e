#pragma once

#include <limits>
#include <optional>
#include <type_traits>

#include "evenkeel/core/moments.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN

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
    if constexpr (kKeepsDigits<Param>) {
      if (c < high.size() && high[c] == values[c]) return T(T(high[c]) + T(low[c]));
    }
    return T(values[c]);
  }
  void set(Index c, const T& value) {
    values[c] = Param(value);
    if constexpr (kKeepsDigits<Param>) {
      high[c] = values[c];
      low[c] = is_finite(high[c]) ? Param(T(value - T(high[c]))) : Param(0);
    }
  }
  /// All statistics, with all digits.
  Vector<T> all() const {
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
/// the unbiased one, n / (n - 1) of the biased. A batch does not move a channel of which a statistic is not finite.
template <typename Param, typename T>
struct RunningStatistics {
  RunningStatistic<Param, T> mean, variance;
  Index tracked = 0;          // batches that moved a channel
  Index rejected = 0;         // batches that did not move all
  Vector<Index> rejected_of;  // of each channel: batches that did not move it
  Vector<Index> skipped_of;   // of each channel: those of them that are tracked

  /// Begins with mean 0 and variance 1.
  explicit RunningStatistics(Index channels)
      : mean(channels, Param(0)),
        variance(channels, Param(1)),
        rejected_of(vector_of(channels, Index(0))),
        skipped_of(vector_of(channels, Index(0))) {}

  /// n is the number of values in each statistics set.
  void update(const Moments<T>& batch, Index n, const std::optional<double>& momentum) {
    const Index channels = rejected_of.size();
    const T unbias = from_count<T>(n) / from_count<T>(n - 1);
    const auto is_rejected = [&](Index c) {
      return !is_finite(Param(batch.mean[c])) || !is_finite(Param(T(batch.variance[c] * unbias)));
    };
    Index moved = 0, tracked_now = tracked;
    count_up(tracked_now);
    for (Index c = 0; c < channels; ++c) {
      if (is_rejected(c)) {
        count_up(rejected_of[c]);
        continue;
      }
      ++moved;
      if (skipped_of[c] > tracked) skipped_of[c] = tracked;  // tracked was assigned
      const T weight =
          momentum ? from_double<T>(*momentum) : T(T(1) / from_count<T>(tracked_now - skipped_of[c]));
      const auto move = [&](RunningStatistic<Param, T>& running, const T& value) {
        if (weight == T(1)) return running.set(c, value);  // whatever it was, as NaN
        const T kept = T(T(1) - weight) * running.get(c), added = weight * value;
        running.set(c, T(kept + added));
      };
      move(mean, batch.mean[c]);
      move(variance, T(batch.variance[c] * unbias));
    }
    if (moved < channels) count_up(rejected);
    if (moved == 0) return;
    tracked = tracked_now;
    if (moved == channels) return;
    for (Index c = 0; c < channels; ++c) {
      if (is_rejected(c)) count_up(skipped_of[c]);
    }
  }
};

EVENKEEL_END
}  // namespace evenkeel::detail
