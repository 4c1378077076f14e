#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <string>
#include <vector>

#include "claim.hpp"
#include "training.hpp"

namespace claims {

/// Whether the last batches' loss is below 2, where guessing gives log 10 = 2.3.
inline bool has_learned(const Run& run) {
  const std::size_t last = std::min<std::size_t>(20, run.batch_losses.size());
  const double sum = std::accumulate(run.batch_losses.end() - static_cast<std::ptrdiff_t>(last),
                                     run.batch_losses.end(), 0.0);
  return sum / static_cast<double>(last) < 2;  // NaN is not
}

/// It holds if at every depth batch norm's largest rate, with its worst seed, is more than twice (one step of the rates)
/// that of the network without norm with its best seed.
inline Outcome test_rate(const Setting& setting) {
  const auto depths = setting.choose<std::vector<Index>>({2, 4, 8, 16}, {4, 8});
  const double highest = setting.choose(16., 8.), lowest = setting.choose(1. / 256, 1. / 16);
  Training training;
  training.batch = 30;
  training.steps = setting.choose<Index>(200, 60);
  training.tests = 1;

  Table table({"hidden layers", "no norm, largest rate", "batch norm, largest rate", "times larger"}, {});
  Chart chart("Largest stable rate, on " + setting.data.name);
  chart.add_legend(0, "no norm");
  chart.add_legend(1, "batch norm");
  Panel panel{std::to_string(training.steps) + " steps, " + std::to_string(setting.seeds.size()) + " seeds",
              {"hidden layers", 0, static_cast<double>(depths.back())},
              {"learning rate", lowest, highest, "", true},
              {}};
  Progress progress(static_cast<Index>(2 * depths.size()), static_cast<Index>(setting.seeds.size()), "seed");
  Progress quiet = Progress::quiet();
  std::vector<Curve> curves = {{0, {}, {}}, {1, {}, {}}};
  for (Curve& curve : curves) curve.y.resize(setting.seeds.size());
  struct Failures {
    Index all = 0, not_finite = 0;

    std::string text() const { return std::to_string(not_finite) + " of " + std::to_string(all); }
  };
  Failures none_failures, batch_failures;
  bool holds = true, medians_hold = true;
  std::string times, exceptions;
  for (Index depth : depths) {
    // Of each seed, 0 where none learns.
    const auto largest = [&](const std::string& norm, Curve& curve, Failures& failures) {
      MlpOptions options;
      options.hidden = 50;
      options.depth = depth;
      options.norm = norm;
      progress.begin_run(padded(std::to_string(depth), 2) + " layers, " + padded(norm, 5));
      std::vector<double> rates;
      for (std::size_t i = 0; i < setting.seeds.size(); ++i) {
        Training at_rate = training;
        for (at_rate.rate = highest; at_rate.rate >= lowest; at_rate.rate /= 2) {
          const Run run = train(options, setting.data, at_rate, setting.seeds[i], quiet);
          if (has_learned(run)) break;
          ++failures.all;
          failures.not_finite += std::isfinite(run.batch_losses.back()) ? 0 : 1;
        }
        rates.push_back(at_rate.rate < lowest ? 0 : at_rate.rate);
        curve.y[i].push_back(rates.back());
        progress.show(static_cast<Index>(i) + 1, formatted("rate %g", rates.back()));
      }
      curve.x.push_back(static_cast<double>(depth));
      return spread_of(rates);
    };
    const Spread none = largest("none", curves[0], none_failures),
                 batch = largest("batch", curves[1], batch_failures);
    const bool is_larger = batch.lowest > 2 * none.highest;
    holds = holds && is_larger;
    medians_hold = medians_hold && batch.median > 2 * none.median;
    if (!is_larger)
      exceptions +=
          " With " + std::to_string(depth) +
          " layers the worst seed with batch norm is not two steps of the rates above the best one without.";
    const std::string ratio =
        none.median > 0 ? formatted("%.0f", batch.median / none.median) : "no rate learns";
    table.add({std::to_string(depth), text_of(none, "%.2g"), text_of(batch, "%.2g"), ratio});
    times += (times.empty() ? "" : ", ") + ratio + " (" + std::to_string(depth) + " layers)";
  }
  panel.curves = curves;
  chart.add(panel);
  return {table, chart, holds,
          "The largest stable rate with batch norm is higher than without norm by a factor of " + times +
              ". At higher rates the loss overflowed in " + none_failures.text() +
              " trainings without norm and in " + batch_failures.text() + " with batch norm." + exceptions,
          medians_hold ? "in the median the largest rate is more than twice as high at each depth" : ""};
}

constexpr Claim kRate = {
    "rate", "Without batch norm large steps diverge; with it much higher rates are stable.",
    "Bjorck, Gomes, Selman, Weinberger 2018, section 3",
    "Networks of 2 to 16 hidden layers of 50 ReLUs, trained for 200 steps of 30 images at rates that "
    "fall by halves from 16, until one learns: the mean loss of its last 20 batches is below 2, where "
    "guessing gives 2.3.",
    test_rate};

}  // namespace claims
