#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "claim.hpp"
#include "training.hpp"

namespace claims {

/// Seeds that best_rate tries each rate with: one alone picks by chance among rates that are equally good.
inline std::vector<std::uint64_t> sweep_seeds(const Setting& setting) {
  const std::size_t count = std::min<std::size_t>(setting.seeds.size(), 3);
  return {setting.seeds.begin(), setting.seeds.begin() + static_cast<std::ptrdiff_t>(count)};
}

/// How many runs of progress best_rate takes.
inline Index sweep_runs(const Setting& setting, const std::vector<double>& rates) {
  return rates.size() == 1 ? 0 : static_cast<Index>(rates.size() * sweep_seeds(setting).size());
}

/// The rate with the highest median of test accuracy, of equal ones the first.
inline double best_rate(const MlpOptions& options, const Setting& setting, Training training,
                        const std::vector<double>& rates, Progress& progress) {
  if (rates.size() == 1) return rates[0];
  double best = rates.at(0), highest = -1;
  training.tests = 1;
  for (double rate : rates) {
    training.rate = rate;
    std::vector<Run> runs;
    for (std::uint64_t seed : sweep_seeds(setting)) {
      progress.begin_run(padded("sweep, " + options.norm + ", rate " + formatted("%g", rate), 24));
      runs.push_back(train(options, setting.data, training, seed, progress));
    }
    if (accuracy_of(runs).median > highest) {
      best = rate;
      highest = accuracy_of(runs).median;
    }
  }
  return best;
}

}  // namespace claims
