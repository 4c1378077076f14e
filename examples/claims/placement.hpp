#pragma once

#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "claim.hpp"
#include "sweep.hpp"

namespace claims {

/// It holds if, with both activations, the worst seed of the norm before the activation is better than the best seed of
/// the norm behind it.
inline Outcome test_placement(const Setting& setting) {
  struct Case {
    std::string label, norm;
    bool norm_last;
  };
  const std::vector<Case> cases = {
      {"no norm", "none", false}, {"before it", "batch", false}, {"behind it", "batch", true}};
  const auto rates = setting.choose<std::vector<double>>({0.03, 0.1, 0.3, 1, 3}, {0.3});
  constexpr double kGoal = 95;
  Training training;
  training.batch = 30;
  training.steps = setting.choose<Index>(300, 60);
  training.tests = setting.choose<Index>(20, 5);

  Table table({"activation", "batch norm", "best rate", "test accuracy, %", "steps to 95 %", "at rate"},
              {"activation", "batch norm"});
  Chart chart("Batch norm before or behind the activation, on " + setting.data.name);
  Progress progress = sweep_progress(2 * cases.size(), rates, setting);
  bool holds = true, overlap = true, sigmoid_prefers_behind = false;
  std::string finding;
  for (const char* name : {"ReLU", "sigmoid"}) {
    const std::string activation = name;
    Panel panel{activation + ", " + std::to_string(setting.seeds.size()) + " seeds",
                {"training steps", 0, static_cast<double>(training.steps)},
                {"test error", 0.5, 100, " %", true},
                {}};
    std::vector<Spread> accuracies;
    for (std::size_t i = 0; i < cases.size(); ++i) {
      MlpOptions options;
      options.hidden = 50;
      options.activation = activation == "ReLU" ? "relu" : "sigmoid";
      options.norm = cases[i].norm;
      options.norm_last = cases[i].norm_last;
      const Sweep tried = sweep(options, setting, training, rates,
                                padded(activation, 7) + ", " + padded(cases[i].label, 9), progress);
      const std::size_t best = tried.best(), fastest = tried.fastest(kGoal);
      const Spread steps = tried.steps_to(fastest, kGoal);
      accuracies.push_back(tried.accuracy(best));
      table.add({activation, i == 0 ? "none" : cases[i].label, formatted("%g", rates[best]),
                 text_of(accuracies.back(), "%.1f"), steps_text(steps),
                 std::isinf(steps.median) ? "" : formatted("%g", rates[fastest])});
      Curve errors = curve_of(i, tried.runs[best], &CurvePoint::accuracy);
      for (std::vector<double>& seed : errors.y) {
        for (double& value : seed) value = 100 - value;
      }
      panel.curves.push_back(errors);
    }
    chart.add(panel);
    const Spread &before = accuracies[1], &behind = accuracies[2];
    holds = holds && before.lowest > behind.highest;
    overlap = overlap && before.lowest <= behind.highest && behind.lowest <= before.highest;
    sigmoid_prefers_behind = activation == "sigmoid" && behind.median > before.median;
    finding += (finding.empty() ? "With " : "; with ") + activation + " batch norm reaches " +
               formatted("%.1f %% before", before.median) + formatted(" and %.1f %% behind", behind.median);
  }
  chart.add_legend(0, "no norm");
  chart.add_legend(1, "before activation");
  chart.add_legend(2, "behind activation");
  finding += ".";
  if (overlap) finding += " The ranges of the seeds overlap with both: either place works.";
  if (sigmoid_prefers_behind)
    finding += " Behind a sigmoid, norm also centres outputs that otherwise lie between 0 and 1.";
  return {table, chart, holds, finding};
}

constexpr Claim kPlacement = {
    "placement",
    "Batch norm belongs before the activation, and a network with batch norm behind it does worse.",
    "Ioffe and Szegedy 2015, section 3.2",
    "Three hidden layers of 50 units, ReLUs or sigmoids, trained for 300 steps of 30 images, each "
    "network at its best of the rates 0.03, 0.1, 0.3, 1 and 3.",
    test_placement};

}  // namespace claims
