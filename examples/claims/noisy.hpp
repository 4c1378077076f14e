#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "claim.hpp"
#include "training.hpp"

namespace claims {

/// Santurkar et al. 2018: noise behind batch norm makes the distributions of its outputs shift from step to step more than
/// they do in a network without norm, and yet it learns faster.
inline Outcome test_noisy(const Setting& setting) {
  struct Case {
    std::string label, norm;
    double noise;
  };
  const std::vector<Case> cases = {
      {"no norm", "none", 0}, {"batch norm", "batch", 0}, {"batch norm + noise", "batch", 0.3}};
  Training training;
  training.steps = setting.choose<Index>(400, 100);

  Table table({"network", "test accuracy, %", "steps to 90 %"}, {"network"});
  Chart chart("Noise behind batch norm, on " + setting.data.name);
  Panel panel{"3 hidden layers, " + std::to_string(setting.seeds.size()) + " seeds",
              {"training steps", 0, static_cast<double>(training.steps)},
              {"test accuracy", 0, 100, " %"},
              {}};
  Progress progress(static_cast<Index>(cases.size() * setting.seeds.size()), training.steps);
  std::vector<Spread> accuracies;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    MlpOptions options;
    options.activation = "sigmoid";
    options.norm = cases[i].norm;
    options.noise = cases[i].noise;
    std::vector<Run> runs;
    for (std::uint64_t seed : setting.seeds) {
      progress.begin_run(padded(cases[i].label, 18));
      runs.push_back(train(options, setting.data, training, seed, progress));
    }
    accuracies.push_back(accuracy_of(runs));
    table.add({cases[i].label, text_of(accuracies.back(), "%.1f"),
               steps_text(spread_over(runs, [](const Run& run) { return run.steps_to(90); }).median)});
    chart.add_legend(i, cases[i].label);
    panel.curves.push_back(curve_of(i, runs, &CurvePoint::accuracy));
  }
  chart.add(panel);
  const Spread &none = accuracies[0], &noisy = accuracies[2];
  return {table, chart, noisy.lowest > none.highest + 1,
          "Batch norm with noise behind it reaches " + formatted("%.1f %%", noisy.median) +
              ", the network without norm " + formatted("%.1f %%", none.median) + " in the same steps."};
}

constexpr Claim kNoisy = {"noisy",
                          "Batch norm does not help by keeping distributions steady: with noise behind it, "
                          "which makes them shift in each step, "
                          "a network still learns faster than without norm.",
                          "Santurkar, Tsipras, Ilyas, Madry 2018, section 2.1",
                          "Three hidden layers of 100 sigmoids, trained with the same rate for all. The "
                          "noise shifts and stretches each unit anew "
                          "in each step, by a third of its deviation.",
                          test_noisy};

}  // namespace claims
