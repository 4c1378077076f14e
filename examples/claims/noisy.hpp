#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "claim.hpp"
#include "sweep.hpp"

namespace claims {

/// Santurkar et al. 2018: noise behind batch norm makes the distributions of its outputs shift from step to step more than
/// they do in a network without norm, and yet it learns faster.
///
/// It holds if batch norm with noise takes less than half the steps of the network without norm, and its slowest seed
/// fewer than the fastest one without norm.
inline Outcome test_noisy(const Setting& setting) {
  struct Case {
    std::string label, norm;
    double noise;
  };
  const std::vector<Case> cases = {
      {"no norm", "none", 0}, {"batch norm", "batch", 0}, {"batch norm + noise", "batch", 0.3}};
  const auto rates = setting.choose<std::vector<double>>({0.1, 0.3, 1, 3, 10}, {1});
  constexpr double kGoal = 90;
  Training training;
  training.batch = 30;
  training.steps = setting.choose<Index>(600, 150);
  training.tests = setting.choose<Index>(40, 10);

  Table table({"network", "best rate", "steps to 90 %", "test accuracy, %"}, {"network"});
  Chart chart("Noise behind batch norm, on " + setting.data.name);
  Panel panel{"3 hidden layers, " + std::to_string(setting.seeds.size()) + " seeds",
              {"training steps", 0, static_cast<double>(training.steps)},
              {"test accuracy", 0, 100, " %"},
              {}};
  Progress progress = sweep_progress(cases.size(), rates, setting);
  std::vector<Spread> steps;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    MlpOptions options;
    options.hidden = 50;
    options.activation = "sigmoid";
    options.norm = cases[i].norm;
    options.noise = cases[i].noise;
    const Sweep tried = sweep(options, setting, training, rates, padded(cases[i].label, 18), progress);
    const std::size_t best = tried.fastest(kGoal);
    steps.push_back(tried.steps_to(best, kGoal));
    table.add({cases[i].label, formatted("%g", rates[best]), steps_text(steps.back()),
               text_of(tried.accuracy(best), "%.1f")});
    chart.add_legend(i, cases[i].label);
    panel.curves.push_back(curve_of(i, tried.runs[best], &CurvePoint::accuracy));
  }
  chart.add(panel);
  const Spread &none = steps[0], &noisy = steps[2];
  return {table, chart, 2 * noisy.median < none.median && noisy.highest < none.lowest,
          "The median steps to 90 % are " + steps_text(noisy.median) + " with noise behind batch norm, " +
              steps_text(steps[1].median) + " with batch norm alone, and " + steps_text(none.median) +
              " without norm."};
}

constexpr Claim kNoisy = {
    "noisy",
    "Batch norm does not help by keeping distributions steady: with noise behind it, which makes them "
    "shift in each step, a network still learns faster than without norm.",
    "Santurkar, Tsipras, Ilyas, Madry 2018, section 2.1",
    "Three hidden layers of 50 sigmoids, trained for 600 steps of 30 images, each network at the best "
    "of the rates from 0.1 to 10, which takes the fewest steps. The noise shifts and stretches each "
    "unit anew in each step, by a third of its deviation.",
    test_noisy};

}  // namespace claims
