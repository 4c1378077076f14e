#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "claim.hpp"
#include "training.hpp"

namespace claims {

/// One network at several rates.
struct Sweep {
  std::vector<double> rates;
  std::vector<std::vector<Run>> runs;  // [rate][seed]

  Spread accuracy(std::size_t rate) const { return accuracy_of(runs.at(rate)); }
  Spread steps_to(std::size_t rate, double accuracy) const {
    return spread_over(runs.at(rate), [=](const Run& run) { return run.steps_to(accuracy); });
  }

  /// Which rate has the highest median accuracy in the end.
  std::size_t best() const {
    std::size_t best = 0;
    for (std::size_t i = 1; i < rates.size(); ++i) {
      if (accuracy(i).median > accuracy(best).median) best = i;
    }
    return best;
  }
  /// Which rate takes the fewest steps, in the median, to this accuracy; best() if none gets there.
  std::size_t fastest(double goal) const {
    std::size_t best = this->best();
    for (std::size_t i = 0; i < rates.size(); ++i) {
      if (steps_to(i, goal).median < steps_to(best, goal).median) best = i;
    }
    return best;
  }

  /// value(run) of all runs over the rates, for a chart.
  template <typename Value>
  Curve over_rates(std::size_t style, Value value) const {
    Curve curve{style, rates, {}};
    for (std::size_t seed = 0; seed < runs.at(0).size(); ++seed) {
      curve.y.emplace_back();
      for (const std::vector<Run>& at_rate : runs) curve.y.back().push_back(value(at_rate[seed]));
    }
    return curve;
  }
};

/// "60 (55 to 62)", or "never" for a seed that does not get there.
inline std::string steps_text(const Spread& steps) {
  if (std::isinf(steps.lowest)) return "never";
  return steps_text(steps.median) + " (" + steps_text(steps.lowest) + " to " + steps_text(steps.highest) +
         ")";
}

/// Trains a network at each rate with each seed; that is one run of progress, and a training is a step of it.
inline Sweep sweep(const MlpOptions& options, const Setting& setting, Training training,
                   const std::vector<double>& rates, const std::string& label, Progress& progress) {
  Sweep result{rates, {}};
  Progress quiet = Progress::quiet();
  progress.begin_run(label);
  Index done = 0;
  for (double rate : rates) {
    training.rate = rate;
    std::vector<Run>& runs = result.runs.emplace_back();
    for (std::uint64_t seed : setting.seeds) {
      runs.push_back(train(options, setting.data, training, seed, quiet));
      progress.show(++done, padded(formatted("rate %g", rate), 9) +
                                formatted("  test %5.1f %%", runs.back().accuracy()));
    }
  }
  return result;
}

/// The progress of so many sweeps.
inline Progress sweep_progress(std::size_t sweeps, const std::vector<double>& rates, const Setting& setting) {
  return {static_cast<Index>(sweeps), static_cast<Index>(rates.size() * setting.seeds.size()), "training"};
}

}  // namespace claims
