#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "best_rate.hpp"
#include "claim.hpp"
#include "training.hpp"

namespace claims {

/// The root of the mean square of value - start over all parameters of this name.
inline double change_of(const Parameters<float>& parameters, std::string_view name, float start) {
  double sum = 0, count = 0;
  for (const Parameter<float>& p : parameters) {
    if (p.name != name) continue;
    sum += static_cast<double>((p.value - start).square().sum());
    count += static_cast<double>(p.value.size());
  }
  return count > 0 ? std::sqrt(sum / count) : 0;
}

/// The claim comes out if without gamma and beta the test accuracy of each pair of seeds is lower, and its median by
/// half a point, both before sigmoids and before ReLUs.
inline Outcome test_affine(const Setting& setting) {
  struct Place {
    std::string label, activation;
    bool norm_last;
  };
  const std::vector<Place> places = {{"before sigmoids", "sigmoid", false},
                                     {"behind sigmoids", "sigmoid", true},
                                     {"before ReLUs", "relu", false}};
  constexpr double kPoints = 0.5;
  const std::vector<double> rates = setting.choose<std::vector<double>>({0.3, 1, 3}, {0.3});
  Training training;
  training.steps = setting.choose<Index>(600, 80);
  training.tests = 10;

  Table table({"batch norm", "gamma, beta", "rate", "test accuracy, %", "test loss", "gamma - 1", "beta"},
              {"batch norm", "gamma, beta"});
  Chart chart("Batch norm with and without gamma and beta, on " + setting.data.name);
  chart.add_legend(1, "with gamma, beta");
  chart.add_legend(2, "without");
  Progress progress(6 * (sweep_runs(setting, rates) + static_cast<Index>(setting.seeds.size())),
                    training.steps);
  std::vector<Spread> with, without;  // accuracies by place
  std::vector<Spread> losses;
  std::vector<double> gamma_changes;
  for (const Place& place : places) {
    Panel panel{place.label,
                {"training steps", 0, static_cast<double>(training.steps)},
                {"test cross-entropy, nats", 0.005, 5, "", true},
                {}};
    for (bool affine : {true, false}) {
      MlpOptions options;
      options.inputs = setting.data.train.pixels.cols();
      options.hidden = 50;
      options.norm = "batch";
      options.activation = place.activation;
      options.norm_last = place.norm_last;
      options.affine = affine;
      training.rate = best_rate(options, setting, training, rates, progress);
      std::vector<Run> runs;
      std::vector<double> gammas, betas;
      for (std::uint64_t seed : setting.seeds) {
        progress.begin_run(padded(place.label + (affine ? "" : ", without"), 24));
        Random random(seed);
        Mlp network(options, random);
        runs.push_back(train(network, setting.data, training, random, progress, [](Index) {}));
        gammas.push_back(change_of(network.parameters(), "gamma", 1));
        betas.push_back(change_of(network.parameters(), "beta", 0));
      }
      (affine ? with : without).push_back(accuracy_of(runs));
      if (affine) gamma_changes.push_back(spread_of(gammas).median);
      const Spread loss = spread_over(runs, [](const Run& run) { return run.loss(); });
      losses.push_back(loss);
      table.add({place.label, affine ? "with" : "without", formatted("%g", training.rate),
                 text_of(accuracy_of(runs), "%.1f"), text_of(loss, "%.3f"),
                 affine ? formatted("%.2f", spread_of(gammas).median) : "",
                 affine ? formatted("%.2f", spread_of(betas).median) : ""});
      panel.curves.push_back(curve_of(affine ? 1 : 2, runs, &CurvePoint::loss));
    }
    if (!place.norm_last) chart.add(panel);
  }
  const auto is_limited = [&](std::size_t i) {
    return without[i].highest < with[i].lowest && without[i].median < with[i].median - kPoints;
  };
  const auto both = [&](std::size_t i) {
    return formatted("%.1f", without[i].median) + " and " + formatted("%.1f %%", with[i].median);
  };
  return {
      table, chart, is_limited(0) && is_limited(2),
      "Without and with gamma and beta, batch norm reaches " + both(0) + " before sigmoids (test loss " +
          formatted("%.3f", losses[1].median) + " and " + formatted("%.3f), ", losses[0].median) + both(1) +
          " behind sigmoids and " + both(2) + " before ReLUs. Training moves gamma by " +
          formatted("%.2f", gamma_changes[0]) + ", " + formatted("%.2f", gamma_changes[1]) + " and " +
          formatted("%.2f", gamma_changes[2]) +
          " there. Behind sigmoids and before ReLUs it need not, because the next layer's weights can "
          "stretch in its place; before sigmoids gamma alone decides how far they leave their linear part.",
      losses[0].highest < losses[1].lowest ? "before sigmoids the loss is higher without gamma and beta"
                                           : ""};
}

constexpr Claim kAffine = {
    "affine", "Without gamma and beta, batch norm limits what a network can represent.",
    "Ioffe and Szegedy 2015, section 3: a sigmoid would be used in its linear part alone",
    "Three hidden layers of 50 units, 600 steps of 60 images, each network at its best rate of 0.3, 1 and 3. "
    "The last "
    "columns are how far training moves gamma from 1 and beta from 0, as root of the mean square.",
    test_affine};

}  // namespace claims
