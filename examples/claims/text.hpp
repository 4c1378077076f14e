#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "best_rate.hpp"
#include "claim.hpp"
#include "text_network.hpp"
#include "training.hpp"

namespace claims {

namespace text_claim {

inline double accuracy_of(const TextNetwork& network, const Texts& texts) {
  const Index right = count_equal(classes_of(network.infer(texts)), texts.labels);
  return 100 * static_cast<double>(right) / static_cast<double>(texts.count());
}

struct Plan {
  std::string label, norm;
  Index batch, steps, tests;
};

inline Run train(const Plan& plan, const Texts& texts, const Texts& test, double rate, std::uint64_t seed,
                 Progress& progress) {
  progress.begin_run(padded(plan.label, 10) + formatted(" batch %2.0f", static_cast<double>(plan.batch)) +
                     formatted(" rate %-5g", rate));
  Random random(seed);
  TextNetwork network(plan.norm, random);
  SoftmaxCrossEntropy<float> loss;
  Sgd<float> sgd({0.9, 0});
  std::vector<Index> order(texts.labels.size());
  std::iota(order.begin(), order.end(), Index{0});
  auto next = order.end();
  Run run;
  for (Index step = 1; step <= plan.steps; ++step) {
    if (order.end() - next < plan.batch) {
      random.shuffle(order);
      next = order.begin();
    }
    const Texts batch = selected(texts, {next, next + plan.batch});
    next += plan.batch;
    loss.forward(network.forward(batch), batch.labels);
    network.backward(loss.backward());
    sgd.step(network.parameters(), falling_rate(rate, step - 1, plan.steps));
    if (step % (plan.steps / plan.tests) == 0) {
      run.curve.push_back({step, accuracy_of(network, test), 0});
      progress.show(step, formatted("test %5.1f %%", run.accuracy()));
    }
  }
  return run;
}

}  // namespace text_claim

/// A small transformer tells invented languages apart. The claim asks that layer norm is above batch norm and above no
/// norm by more than 1 % in each seed, in small batches and in larger ones.
inline Outcome test_text(const Setting& setting) {
  using namespace text_claim;
  constexpr std::uint64_t kSweepSeed = 100;
  constexpr double kMargin = 1;
  const TextData data = write_text_data();
  const Index steps = setting.choose<Index>(480, 40);
  const auto rates = setting.choose<std::vector<double>>({0.003, 0.01, 0.03}, {0.01});
  const std::vector<std::string> norms = {"none", "batch", "layer"},
                                 labels = {"no norm", "batch norm", "layer norm"};

  Table table({"network", "batch", "rate", "test accuracy, %"}, {"network"});
  Chart chart("Text with each norm: which of 8 invented languages");
  for (std::size_t i = 0; i < norms.size(); ++i) chart.add_legend(i, labels[i]);
  const std::vector<Index> batches = {4, 16};
  const std::size_t tried = rates.size() > 1 ? rates.size() : 0;
  Progress progress(static_cast<Index>(batches.size() * norms.size() * (tried + setting.seeds.size())),
                    steps);
  bool holds = true;
  std::string finding;
  for (const Index batch : batches) {
    Panel panel{
        "batches of " + std::to_string(batch) + " texts, " + std::to_string(setting.seeds.size()) + " seeds",
        {"training steps", 0, static_cast<double>(steps)},
        {"test accuracy", 0, 100, " %"},
        {}};
    std::vector<Spread> accuracies;
    for (std::size_t i = 0; i < norms.size(); ++i) {
      const double rate = best_rate(rates, [&](double candidate) {
        return train({labels[i], norms[i], batch, steps, 1}, data.train, data.validation, candidate,
                     kSweepSeed, progress)
            .accuracy();
      });
      std::vector<Run> runs;
      for (std::uint64_t seed : setting.seeds) {
        runs.push_back(train({labels[i], norms[i], batch, steps, setting.choose<Index>(6, 1)}, data.train,
                             data.test, rate, seed, progress));
      }
      accuracies.push_back(claims::accuracy_of(runs));
      table.add(
          {labels[i], std::to_string(batch), formatted("%g", rate), text_of(accuracies.back(), "%.1f")});
      panel.curves.push_back(curve_of(i, runs, &CurvePoint::accuracy));
    }
    chart.add(panel);
    const Spread &none = accuracies[0], &batch_norm = accuracies[1], &layer = accuracies[2];
    holds = holds && layer.lowest > std::max(none.highest, batch_norm.highest) + kMargin;
    finding += "With batches of " + std::to_string(batch) + " texts layer norm reaches " +
               formatted("%.1f %%", layer.median) + ", batch norm " +
               formatted("%.1f %%", batch_norm.median) + ", no norm " + formatted("%.1f %%", none.median) +
               ". ";
  }
  const double letters =
      static_cast<double>(data.train.letters.size()) / static_cast<double>(data.train.count());
  finding += "A text has " + formatted("%.0f", letters) +
             " letters in the mean, so batch norm's statistics rest on " + formatted("%.0f", 4 * letters) +
             " letters in a small batch and on " + formatted("%.0f", 16 * letters) + " in a large one.";
  return {table, chart, holds, finding};
}

constexpr Claim kText = {
    "text", "Layer norm is the norm for text.",
    "Ba, Kiros, Hinton 2016, section 3; Vaswani et al. 2017, section 3.1",
    "A transformer of two blocks reads texts of 2 to 71 letters, and says in which of 8 "
    "invented languages they are. "
    "The languages have the same letters; which ones follow each other tells them "
    "apart. The program makes the texts, "
    "whatever --data says. Batch norm takes the letters of all texts of a batch, "
    "without padding. Each network has the best of three rates, by texts that are held out from training.",
    test_text};

}  // namespace claims
