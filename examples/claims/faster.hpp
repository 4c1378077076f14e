#pragma once

#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "claim.hpp"
#include "sweep.hpp"

namespace claims {

/// It holds if, in both networks, batch norm at its best rate takes less than half the steps (Ioffe and Szegedy found 2.3
/// times fewer with batch norm alone), its slowest seed is faster than the fastest one without norm, and its best rate
/// is higher.
inline Outcome test_faster(const Setting& setting) {
  struct Network {
    std::string label, activation;
    Index depth;
    std::vector<double> rates;
  };
  const Network sigmoids{"3 layers of sigmoids", "sigmoid", 3, {0.1, 0.3, 1, 3, 10}};
  const Network relus{"10 layers of ReLUs", "relu", 10, {0.01, 0.03, 0.1, 0.3, 1}};
  const Network quick_relus{"10 layers of ReLUs", "relu", 10, {0.1}};
  const auto networks = setting.choose<std::vector<Network>>({sigmoids, relus}, {quick_relus});
  constexpr double kGoal = 90;
  Training training;
  training.batch = 30;
  training.steps = setting.choose<Index>(1200, 300);
  training.goal = kGoal;

  Table table({"network", "norm", "best rate", "steps to 90 %", "times fewer"}, {"network", "norm"});
  Chart chart("Steps to 90 % test accuracy, on " + setting.data.name);
  chart.add_legend(0, "no norm");
  chart.add_legend(1, "batch norm");
  bool holds = true, takes_fewer = true, sigmoid_needs_rate = false;
  std::string finding;
  for (const Network& network : networks) {
    const std::vector<double>& rates = network.rates;
    Progress progress = sweep_progress(2, rates, setting);
    Panel panel{network.label + ", " + std::to_string(setting.seeds.size()) + " seeds",
                {"learning rate", 0.01, 10, "", true},
                {"training steps", 10, static_cast<double>(training.steps), "", true},
                {}};
    const auto try_norm = [&](std::size_t style, const std::string& norm) {
      MlpOptions options;
      options.activation = network.activation;
      options.depth = network.depth;
      options.hidden = 50;
      options.norm = norm;
      const Sweep tried =
          sweep(options, setting, training, rates, network.label + ", " + padded(norm, 5), progress);
      panel.curves.push_back(tried.over_rates(style, [](const Run& run) { return run.steps_to(kGoal); }));
      return tried;
    };
    const Sweep none = try_norm(0, "none"), batch = try_norm(1, "batch");
    const std::size_t none_best = none.fastest(kGoal), batch_best = batch.fastest(kGoal);
    const Spread without = none.steps_to(none_best, kGoal), with = batch.steps_to(batch_best, kGoal);
    const bool gets_there = std::isfinite(without.median);
    const double ratio = (gets_there ? without.median : static_cast<double>(training.steps)) / with.median;
    const std::string times = formatted(gets_there ? "%.1f" : "more than %.1f", ratio);
    table.add({network.label, "none", gets_there ? formatted("%g", rates[none_best]) : "none",
               steps_text(without), ""});
    table.add({network.label, "batch", formatted("%g", rates[batch_best]), steps_text(with), times});
    takes_fewer = takes_fewer && ratio >= 2 && with.highest < without.lowest;
    holds = holds && takes_fewer && (!gets_there || rates[batch_best] > rates[none_best]);
    finding += (finding.empty() ? "Batch norm takes " : ", and ") + times + " times fewer steps with " +
               network.label + formatted(" (at a rate of %g", rates[batch_best]) +
               (gets_there ? formatted(" against %g)", rates[none_best]) : ")");
    sigmoid_needs_rate = sigmoid_needs_rate || (network.activation == "sigmoid" && gets_there &&
                                                rates[batch_best] <= rates[none_best]);
    chart.add(panel);
  }
  finding += ".";
  if (sigmoid_needs_rate) {
    finding +=
        " Higher rates do not come out with sigmoids: without norm each of them passes on a quarter of "
        "the gradient at most, so that network needs a high rate to learn at all.";
  }
  return {table, chart, holds, finding, takes_fewer ? "batch norm takes less than half the steps" : ""};
}

constexpr Claim kFaster = {
    "faster", "Networks with batch norm learn in far fewer steps, and at higher rates.",
    "Ioffe and Szegedy 2015, sections 4.1 and 4.2",
    "Networks of layers of 50 units, three with sigmoids as in section 4.1 and ten with ReLUs. Each is "
    "trained, in steps of 30 images, until it classifies 90 % of the test images, at several rates, "
    "which are the same with and without norm; the best rate takes the fewest steps. The chart leaves "
    "out rates at which a seed does not get there.",
    test_faster};

}  // namespace claims
