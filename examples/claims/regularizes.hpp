#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "best_rate.hpp"
#include "claim.hpp"
#include "training.hpp"

namespace claims {

/// A few of the training images, drawn anew for each seed, and all test images.
inline Data few_images(const Data& data, Index count, std::uint64_t seed) {
  Data few{data.name, Images(count, data.train.pixels.cols()), data.test};
  Random random(seed);
  Batches(data.train, count, random).next(few.train);
  return few;
}

/// The claim comes out if batch norm without dropout is at most half a point behind the network without norm at its
/// best dropout, each at its best batch size, and if it is the noise that does it: its smallest batch, which has most of
/// it, is better than its largest in each pair of seeds.
inline Outcome test_regularizes(const Setting& setting) {
  struct Case {
    std::string label, norm;
    std::vector<double> dropouts;
    std::vector<std::vector<Spread>> accuracies;  // [dropout][batch]
    std::vector<Curve> curves;
  };
  constexpr double kPoints = 0.5;
  constexpr Index kImages = 200;
  const std::vector<double> dropouts = setting.choose<std::vector<double>>({0, 0.2, 0.5}, {0, 0.5});
  const std::vector<Index> batches = setting.choose<std::vector<Index>>({8, 25, 100}, {8, 100});
  const std::vector<double> rates = setting.choose<std::vector<double>>({0.1, 0.3}, {0.1});
  std::vector<Case> cases = {{"no norm", "none", dropouts, {}, {}},
                             {"batch norm", "batch", dropouts, {}, {}},
                             {"layer norm", "layer", {0}, {}, {}}};
  const Index epochs = setting.choose<Index>(50, 20);

  std::vector<Data> few;
  for (std::uint64_t seed : setting.seeds) few.push_back(few_images(setting.data, kImages, seed));
  const Setting first{few.at(0), setting.seeds, setting.quick};
  double lowest = 100;
  for (Index batch : batches) {
    Training training;
    training.batch = batch;
    training.steps = epochs * kImages / batch;
    training.tests = 1;
    Progress progress(static_cast<Index>(2 * dropouts.size() + 1) *
                          (sweep_runs(setting, rates) + static_cast<Index>(setting.seeds.size())),
                      training.steps);
    for (Case& c : cases) {
      c.accuracies.resize(c.dropouts.size());
      c.curves.resize(c.dropouts.size(), {0, {}, std::vector<std::vector<double>>(few.size())});
      for (std::size_t d = 0; d < c.dropouts.size(); ++d) {
        MlpOptions options;
        options.inputs = setting.data.train.pixels.cols();
        options.hidden = 50;
        options.depth = 2;
        options.norm = c.norm;
        options.dropout = c.dropouts[d];
        training.rate = best_rate(options, first, training, rates, progress);
        std::vector<Run> runs;
        Curve& curve = c.curves[d];
        for (std::size_t i = 0; i < few.size(); ++i) {
          progress.begin_run(padded(c.label + ", batch " + std::to_string(batch), 24));
          runs.push_back(train(options, few[i], training, setting.seeds[i], progress));
          curve.y[i].push_back(runs.back().accuracy());
        }
        curve.style = d + 1;
        curve.x.push_back(static_cast<double>(batch));
        c.accuracies[d].push_back(accuracy_of(runs));
        lowest = std::min(lowest, accuracy_of(runs).lowest);
      }
    }
  }

  std::vector<std::string> header = {"norm", "dropout"};
  for (Index batch : batches) header.push_back("batch " + std::to_string(batch));
  Table table(header, {"norm"});
  for (const Case& c : cases) {
    for (std::size_t d = 0; d < c.dropouts.size(); ++d) {
      std::vector<std::string> row = {c.label, formatted("%g", c.dropouts[d])};
      for (const Spread& accuracy : c.accuracies[d]) row.push_back(text_of(accuracy, "%.1f"));
      table.add(row);
    }
  }

  Chart chart(std::to_string(kImages) + " training images, of " + setting.data.name);
  for (std::size_t d = 0; d < dropouts.size(); ++d)
    chart.add_legend(d + 1, "dropout " + formatted("%g", dropouts[d]));
  for (const Case& c : {cases[0], cases[1]}) {
    chart.add({c.label,
               {"images a step", static_cast<double>(batches.front()), static_cast<double>(batches.back()),
                "", true},
               {"test accuracy", 10 * std::floor(lowest / 10), 100, " %"},
               c.curves});
  }

  const auto best = [](const std::vector<Spread>& spreads) {
    return std::max_element(spreads.begin(), spreads.end(),
                            [](const Spread& a, const Spread& b) { return a.median < b.median; })
        ->median;
  };
  std::vector<double> none;  // by dropout, at the best batch size
  for (const std::vector<Spread>& spreads : cases[0].accuracies) none.push_back(best(spreads));
  const auto best_dropout =
      static_cast<std::size_t>(std::max_element(none.begin(), none.end()) - none.begin());
  const std::vector<Spread>&batch = cases[1].accuracies[0], &layer = cases[2].accuracies[0];
  const bool stands_in = best(batch) >= none[best_dropout] - kPoints;
  const bool is_noise = batch.front().lowest > batch.back().highest;
  double with_dropout = 0;
  for (std::size_t d = 1; d < dropouts.size(); ++d)
    with_dropout = std::max(with_dropout, best(cases[1].accuracies[d]));
  const auto percent = [](double accuracy) { return formatted("%.1f %%", accuracy); };
  std::string finding = "Batch norm without dropout reaches " + percent(best(batch)) + ", no norm " +
                        percent(none[0]) + " without dropout and " + percent(none[best_dropout]) +
                        " at its best dropout of " + formatted("%g", dropouts[best_dropout]) +
                        "; batch norm with dropout " + percent(with_dropout) + ". With " +
                        std::to_string(batches.front()) + " images a step batch norm reaches " +
                        percent(batch.front().median) + " and with " + std::to_string(batches.back()) + " " +
                        percent(batch.back().median) + "; layer norm, which has no such noise, " +
                        percent(layer.front().median) + " and " + percent(layer.back().median) + ".";
  if (none[best_dropout] < none[0] + 1) {
    finding +=
        " Dropout itself gains the network without norm less than a point here, so there is little to stand "
        "in for.";
  }
  return {table, chart, stands_in && is_noise, finding};
}

constexpr Claim kRegularizes = {
    "regularizes", "The noise of batch norm's statistics regularizes, so that it can stand in for dropout.",
    "Ioffe and Szegedy 2015, section 3.4",
    "Two hidden layers of 50 ReLUs, trained on 200 images, which are other ones for each seed, for 50 "
    "epochs, each "
    "network at its better rate of 0.1 and 0.3. Dropout is behind each hidden layer. The columns are test "
    "accuracies in "
    "percent by images a step.",
    test_regularizes};

}  // namespace claims
