#pragma once

#include <optional>

#include "evenkeel/core/moments.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN

/// Mean and variance over batches, for inference.
///
///   running = (1 - momentum) running + momentum batch
///
/// Without a momentum, momentum is 1 / number of batches: the average of all batches. The batch variance is
/// the unbiased one, n / (n - 1) of the biased. A batch with a statistic that is not finite changes nothing
/// but `rejected`.
template <typename Param>
struct RunningStatistics {
  Vector<Param> mean, variance;
  Index tracked = 0;
  Index rejected = 0;

  /// Begins with mean 0 and variance 1.
  explicit RunningStatistics(Index channels)
      : mean(vector_of(channels, Param(0))), variance(vector_of(channels, Param(1))) {}

  /// n is the number of values in each statistics set.
  template <typename Statistic>
  void update(const Moments<Statistic>& batch, Index n, const std::optional<double>& momentum) {
    const Statistic unbias = from_count<Statistic>(n) / from_count<Statistic>(n - 1);
    for (Index c = 0; c < mean.size(); ++c) {
      if (!is_finite(Param(batch.mean[c])) || !is_finite(Param(Statistic(batch.variance[c] * unbias)))) {
        ++rejected;
        return;
      }
    }
    ++tracked;
    const Statistic weight =
        momentum ? from_double<Statistic>(*momentum) : Statistic(1) / from_count<Statistic>(tracked);
    const auto move = [&](Param& running, const Statistic& value) {
      const Statistic kept = (Statistic(1) - weight) * Statistic(running), added = weight * value;
      running = Param(Statistic(kept + added));
    };
    for (Index c = 0; c < mean.size(); ++c) {
      move(mean[c], batch.mean[c]);
      move(variance[c], batch.variance[c] * unbias);
    }
  }
};

EVENKEEL_END
}  // namespace evenkeel::detail
