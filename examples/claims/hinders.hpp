#pragma once

#include <algorithm>
#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "../kit/options.hpp"
#include "claim.hpp"
#include "small_residual.hpp"
#include "training.hpp"

namespace claims {

/// Comes out if under each condition but the usual one some other network errs at least a point less than the one with
/// batch norm, beyond the spread of seeds, and under the usual one none does.
inline Outcome test_hinders(const Setting& setting) {
  struct Condition {
    std::string name;
    Index batch = 16, images = 0;  // to train on; 0: all
    double weight_decay = 1e-4, dropout = 0;
  };
  constexpr Index kSmallBatch = 2, kFewImages = 200;
  constexpr double kDecay = 0.03, kDropout = 0.7;
  std::vector<Condition> conditions = {{"usual"},
                                       {"2 a step", kSmallBatch},
                                       {"few data", 16, kFewImages},
                                       {"decay", 16, 0, kDecay},
                                       {"dropout", 16, 0, 1e-4, kDropout},
                                       {"all four", kSmallBatch, kFewImages, kDecay, kDropout}};
  if (setting.quick) conditions = {conditions.front(), conditions.back()};
  const std::vector<std::string> norms =
      setting.choose<std::vector<std::string>>(residual::all_norms(), {"batch", "layer"});
  const Data data = averaged(setting.data);
  const Data few{data.name, segment(data.train, 0, kFewImages), data.test};
  ResidualTraining usual;
  usual.batch = conditions[0].batch;
  usual.images = setting.choose<Index>(2560, 640);
  std::map<std::string, double> rates =
      best_rates(norms, data, usual, setting.choose<std::vector<double>>({0.01, 0.03, 0.1, 0.3, 1}, {0.1}));

  Table table({"condition", "norm", "rate", "test error, %"}, {"condition", "norm"});
  Chart chart("Residual networks, on " + data.name);
  Axis places{"condition", 0.5, static_cast<double>(conditions.size()) + 0.5};
  for (const Condition& condition : conditions) {
    places.ticks.push_back(static_cast<double>(places.ticks.size() + 1));
    places.names.push_back(condition.name);
  }
  Panel panel{
      std::to_string(usual.images) + " images in all, " + std::to_string(setting.seeds.size()) + " seeds",
      places,
      {"test error", 1, 99, " %", true},
      {}};
  for (std::size_t style = 0; style < residual::all_norms().size(); ++style) {
    if (!contains(norms, residual::all_norms()[style])) continue;
    panel.curves.push_back({style, {}, {}, false});
    chart.add_legend(style, residual::full_name(residual::all_norms()[style]));
  }

  Progress progress(static_cast<Index>(norms.size() * conditions.size()),
                    static_cast<Index>(setting.seeds.size()));
  std::vector<std::string> hindered, gaps;
  bool usual_is_fine = false;
  for (std::size_t i = 0; i < conditions.size(); ++i) {
    const Condition& condition = conditions[i];
    ResidualTraining training = usual;
    training.batch = condition.batch;
    training.weight_decay = condition.weight_decay;
    training.dropout = condition.dropout;
    std::map<std::string, Spread> errors;
    for (std::size_t k = 0; k < norms.size(); ++k) {
      training.rate_of_32 = rates[norms[k]];
      progress.begin_run(padded(condition.name, 9) + padded(residual::full_name(norms[k]), 10));
      const std::vector<double> of_seeds =
          residual_errors(norms[k], condition.images > 0 ? few : data, training, setting.seeds, progress);
      errors[norms[k]] = spread_of(of_seeds);
      table.add({condition.name, residual::full_name(norms[k]), formatted("%g", training.rate()),
                 text_of(errors[norms[k]], "%.1f")});
      const double aside = 0.16 * (static_cast<double>(k) - static_cast<double>(norms.size() - 1) / 2);
      add_to(panel.curves[k], places.ticks[i] + aside, of_seeds);
    }

    const Spread batch = errors["batch"];
    errors.erase("batch");
    std::string best = errors.begin()->first;
    bool is_worse = false;
    for (const auto& [norm, error] : errors) {
      if (error.median < errors[best].median) best = norm;
      is_worse = is_worse || error.highest + 1 < batch.lowest;
    }
    if (i == 0) usual_is_fine = !is_worse;
    if (is_worse) hindered.push_back(condition.name);
    gaps.push_back(formatted("%.1f", batch.median) + formatted(" against %.1f (", errors[best].median) +
                   condition.name + ")");
  }
  chart.add(panel);
  std::string finding = hindered.empty()
                            ? "Under no condition does another network beat batch norm by a point "
                              "beyond the spread of the seeds."
                            : "Another network beats batch norm by a point beyond the spread of the "
                              "seeds under: " +
                                  listed(hindered) + ".";
  finding +=
      " Against the best of the others (median errors, in percent), batch norm has " + listed(gaps) + ".";
  return {table, chart, usual_is_fine && hindered.size() + 1 == conditions.size(), finding};
}

constexpr Claim kHinders = {
    "hinders",
    "Batch norm hinders training where batches or data are small, or other regularization is strong.",
    "\"Does batch normalization hinder training?\"",
    "A residual network of one block a stage, on images averaged to 7 x 7 pixels (8 x 8 of optdigits). "
    "Usual are 16 images a step, all training images, a weight decay of 1e-4 and no dropout. The "
    "conditions change one of them to 2 images a step (more steps, at a rate in proportion), 200 "
    "images to train on, a decay of 0.03, or a dropout of 0.7; the last one changes all. Each norm has "
    "the best of five rates under the usual condition, on another seed.",
    test_hinders};

}  // namespace claims
