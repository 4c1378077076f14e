#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "claim.hpp"
#include "sweep.hpp"

namespace claims {

/// It holds if batch norm learns, with every seed, from a range of deviations that is at least a decade (two of those
/// tried) wider than the range from which a network without norm learns with any seed.
inline Outcome test_initialization(const Setting& setting) {
  const auto deviations = setting.choose<std::vector<double>>({0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10},
                                                              {0.001, 0.01, 0.1, 1});
  const auto rates = setting.choose<std::vector<double>>({0.01, 0.1, 1}, {0.1});
  constexpr double kGoal = 90;
  Training training;
  training.batch = 30;
  training.steps = setting.choose<Index>(200, 100);
  training.tests = 1;

  Table table({"deviation", "no norm, accuracy, %", "rate", "batch norm, accuracy, %", "rate"}, {});
  Chart chart("Scale of the first weights, on " + setting.data.name);
  chart.add_legend(0, "no norm");
  chart.add_legend(1, "batch norm");
  Panel panel{"after " + std::to_string(training.steps) + " steps, " + std::to_string(setting.seeds.size()) +
                  " seeds",
              {"deviation of the first weights", deviations.front(), deviations.back(), "", true},
              {"test accuracy", 0, 100, " %"},
              {}};
  Progress progress = sweep_progress(2 * deviations.size(), rates, setting);
  std::vector<Curve> curves;
  for (std::size_t style : {0U, 1U}) {
    curves.push_back({style, deviations, std::vector<std::vector<double>>(setting.seeds.size())});
  }
  std::size_t none_learns = 0, batch_learns = 0;
  bool batch_learns_from_largest = false;  // of the deviations
  for (double deviation : deviations) {
    // The accuracy at the best rate, and that rate.
    const auto try_norm = [&](const std::string& norm, Curve& curve) {
      MlpOptions options;
      options.hidden = 50;
      options.deviation = deviation;
      options.norm = norm;
      const Sweep tried =
          sweep(options, setting, training, rates,
                padded(norm, 5) + ", deviation " + padded(formatted("%g", deviation), 5), progress);
      const std::size_t best = tried.best();
      for (std::size_t seed = 0; seed < curve.y.size(); ++seed)
        curve.y[seed].push_back(tried.runs[best][seed].accuracy());
      return std::make_pair(tried.accuracy(best), rates[best]);
    };
    const auto [none, none_rate] = try_norm("none", curves[0]);
    const auto [batch, batch_rate] = try_norm("batch", curves[1]);
    none_learns += none.highest >= kGoal ? 1 : 0;
    batch_learns_from_largest = batch.lowest >= kGoal;
    batch_learns += batch_learns_from_largest ? 1 : 0;
    table.add({formatted("%g", deviation), text_of(none, "%.1f"), formatted("%g", none_rate),
               text_of(batch, "%.1f"), formatted("%g", batch_rate)});
  }
  panel.curves = curves;
  panel.goal = kGoal;
  chart.add(panel);
  std::string finding = "With batch norm all seeds reach 90 % from " + std::to_string(batch_learns) + " of " +
                        std::to_string(deviations.size()) + " deviations; without norm any seed does from " +
                        std::to_string(none_learns) + ".";
  if (!batch_learns_from_largest) {
    finding +=
        " Large weights still need care: nothing normalizes the logits, and the larger a normalized "
        "weight is, the less a step of gradient descent changes it in relation.";
  }
  return {table, chart, batch_learns >= none_learns + 2, finding};
}

constexpr Claim kInitialization = {
    "initialization", "With batch norm the first weights need less care.",
    "Ioffe and Szegedy 2015, section 1",
    "Three hidden layers of 50 ReLUs, trained for 200 steps of 30 images. The first weights of all layers "
    "are normal with the same deviation, from 0.001 to 10; He's is 0.05 for 784 inputs and 0.2 for 50. Each "
    "network has, for each deviation, the best of the rates 0.01, 0.1 and 1.",
    test_initialization};

}  // namespace claims
