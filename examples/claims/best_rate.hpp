#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "claim.hpp"
#include "training.hpp"

namespace claims {

/// The rate with the highest score(rate), which must not be NaN: the first of equal ones. A single rate needs no score.
template <typename Score>
double best_rate(const std::vector<double>& rates, Score score) {
  if (rates.size() == 1) return rates[0];
  std::vector<double> scores;
  for (double rate : rates) scores.push_back(score(rate));
  const auto best = std::max_element(scores.begin(), scores.end()) - scores.begin();
  return rates[static_cast<std::size_t>(best)];
}

/// Seeds that best_rate tries each rate with: one alone picks by chance among rates that are equally good.
inline std::vector<std::uint64_t> sweep_seeds(const Setting& setting) {
  const std::size_t count = std::min<std::size_t>(setting.seeds.size(), 3);
  return {setting.seeds.begin(), setting.seeds.begin() + static_cast<std::ptrdiff_t>(count)};
}

/// How many runs of progress best_rate takes.
inline Index sweep_runs(const Setting& setting, const std::vector<double>& rates) {
  return rates.size() == 1 ? 0 : static_cast<Index>(rates.size() * sweep_seeds(setting).size());
}

/// The rate with the highest median of test accuracy.
inline double best_rate(const MlpOptions& options, const Setting& setting, Training training,
                        const std::vector<double>& rates, Progress& progress) {
  training.tests = 1;
  return best_rate(rates, [&](double rate) {
    training.rate = rate;
    std::vector<Run> runs;
    for (std::uint64_t seed : sweep_seeds(setting)) {
      progress.begin_run(padded("sweep, " + options.norm + ", rate " + formatted("%g", rate), 24));
      runs.push_back(train(options, setting.data, training, seed, progress));
    }
    return accuracy_of(runs).median;
  });
}

}  // namespace claims
