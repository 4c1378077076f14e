#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "claim.hpp"
#include "training.hpp"

namespace claims {

/// Running statistics of all layers, moved by each batch with one weight of the new. A training has several of them at
/// once, for they do not change what it learns.
class RunningStatistics {
 public:
  RunningStatistics(double weight, const std::vector<evenkeel::BatchNorm<float>*>& layers) : weight_(weight) {
    for (const auto* layer : layers) layers_.push_back(*layer);
  }

  double weight() const { return weight_; }
  const evenkeel::BatchNorm<float>& layer(std::size_t i) const { return layers_[i]; }

  /// By the last batch of layers that do not update themselves.
  void update(const std::vector<evenkeel::BatchNorm<float>*>& layers) {
    for (std::size_t i = 0; i < layers.size(); ++i) {
      evenkeel::BatchNorm<float> moved = *layers[i];
      copy(layers_[i], moved);
      moved.momentum(weight_);
      moved.update_running_stats();
      layers_[i] = moved;
    }
  }

  static void copy(const evenkeel::BatchNorm<float>& from, evenkeel::BatchNorm<float>& to) {
    to.set_running_stats(from.exact_running_mean(), from.exact_running_var());
  }

 private:
  double weight_;
  std::vector<evenkeel::BatchNorm<float>> layers_;
};

/// What running statistics of one weight give in the end of a training.
struct MomentumResult {
  double mean_error;      // in deviations of the units, root mean square over units and layers
  double variance_error;  // in percent of the variance, likewise
  double accuracy;        // of infer, in percent
};

/// One result for each weight, then one of the statistics of many images at once, which the others are held against.
inline std::vector<MomentumResult> train_momentum(const Data& data, const Training& training,
                                                  const std::vector<double>& weights, std::uint64_t seed,
                                                  Progress& progress) {
  constexpr Index kMany = 2000;
  MlpOptions options;
  options.inputs = data.train.pixels.cols();
  options.norm = "batch";
  Random random(seed);
  Mlp network(options, random);
  std::vector<evenkeel::BatchNorm<float>*> layers;
  for (Index i = 0; i < options.depth; ++i) {
    layers.push_back(&network.batch_norm(i));
    layers.back()->updates_running_stats(false);
  }
  std::vector<RunningStatistics> statistics;
  for (double weight : weights) statistics.emplace_back(weight, layers);
  train(network, data, training, random, progress, [&](Index) {
    for (RunningStatistics& running : statistics) {
      running.update(layers);
      for (std::size_t i = 0; i < layers.size() && running.weight() == options.momentum; ++i)
        RunningStatistics::copy(running.layer(i), *layers[i]);
    }
  });

  network.forward(data.train.pixels.topRows(std::min(kMany, data.train.count())));
  RunningStatistics exact(1, layers);
  exact.update(layers);
  statistics.push_back(exact);

  std::vector<MomentumResult> results;
  for (const RunningStatistics& running : statistics) {
    MomentumResult result{0, 0, 0};
    for (std::size_t i = 0; i < layers.size(); ++i) {
      const auto mean = exact.layer(i).exact_running_mean(), variance = exact.layer(i).exact_running_var();
      const auto units = static_cast<double>(mean.size() * options.depth);
      // A unit that is the same on all images has no deviation to measure in.
      const auto least = 1e-6 * variance.mean();
      result.mean_error +=
          ((running.layer(i).exact_running_mean() - mean).square() / variance.max(least)).sum() / units;
      result.variance_error +=
          (running.layer(i).exact_running_var() / variance.max(least) - 1).square().sum() / units;
      RunningStatistics::copy(running.layer(i), *layers[i]);
    }
    result.mean_error = std::sqrt(result.mean_error);
    result.variance_error = 100 * std::sqrt(result.variance_error);
    result.accuracy = percent_right(classes_of(network.infer(data.test.pixels)), data.test);
    results.push_back(result);
  }
  return results;
}

/// By theory, were weights at rest and batches independent, the error of a running mean would be sqrt(weight / (2 -
/// weight)) of a batch's: 0.23 of it at 0.1, and 0.90 of it at 0.9.
inline Outcome test_momentum(const Setting& setting) {
  constexpr double kRight = 0.1, kWrong = 0.9;
  const std::vector<double> weights = setting.choose<std::vector<double>>(
      {0.001, 0.003, 0.01, 0.03, kRight, 0.3, kWrong, 0.99}, {0.01, kRight, kWrong});
  const std::vector<Index> batches = setting.choose<std::vector<Index>>({4, 16, 64}, {4, 16});
  const Index images = setting.choose<Index>(24000, 6000);

  Table table({"images a step", "weight of the new", "error of means, deviations", "error of variances, %",
               "test accuracy, %"},
              {});
  Chart chart("Running statistics after training, on " + setting.data.name);
  const Axis weight_axis{"weight of the new batch", weights.front(), 1, "", true};
  Panel errors{"error of the running means", weight_axis, {"deviations of the unit", 0.01, 1, "", true}, {}};
  Panel accuracies{"accuracy of inference", weight_axis, {"test accuracy", 40, 100, " %"}, {}};
  bool holds = true;
  double least_variance_error = 0;  // at the fewest images
  std::vector<std::string> changes, factors;
  for (std::size_t i = 0; i < batches.size(); ++i) {
    Training training;
    training.batch = batches[i];
    training.steps = images / batches[i];
    training.rate *= static_cast<double>(batches[i]) / 64;
    training.tests = 5;
    Progress progress(static_cast<Index>(setting.seeds.size()), training.steps);
    const std::string label = std::to_string(batches[i]) + " images a step";
    std::vector<std::vector<MomentumResult>> results;
    for (std::uint64_t seed : setting.seeds) {
      progress.begin_run(padded(label, 17));
      results.push_back(train_momentum(setting.data, training, weights, seed, progress));
    }
    const auto spread_at = [&](std::size_t weight, double MomentumResult::*value) {
      std::vector<double> values;
      for (const auto& of_weights : results) values.push_back(of_weights[weight].*value);
      return spread_of(values);
    };
    const auto curve_of = [&](double MomentumResult::*value) {
      Curve curve{i + 1, weights, {}};
      for (const auto& of_weights : results) {
        curve.y.emplace_back();
        for (std::size_t k = 0; k < weights.size(); ++k) curve.y.back().push_back(of_weights[k].*value);
      }
      return curve;
    };

    for (std::size_t k = 0; k <= weights.size(); ++k) {
      table.add({std::to_string(batches[i]), k < weights.size() ? formatted("%g", weights[k]) : "exact",
                 text_of(spread_at(k, &MomentumResult::mean_error), "%.3f"),
                 text_of(spread_at(k, &MomentumResult::variance_error), "%.1f"),
                 text_of(spread_at(k, &MomentumResult::accuracy), "%.1f")});
    }
    chart.add_legend(i + 1, label);
    errors.curves.push_back(curve_of(&MomentumResult::mean_error));
    accuracies.curves.push_back(curve_of(&MomentumResult::accuracy));

    const auto index_of = [&](double weight) {
      return static_cast<std::size_t>(std::find(weights.begin(), weights.end(), weight) - weights.begin());
    };
    const Spread right = spread_at(index_of(kRight), &MomentumResult::accuracy),
                 wrong = spread_at(index_of(kWrong), &MomentumResult::accuracy),
                 right_error = spread_at(index_of(kRight), &MomentumResult::mean_error),
                 wrong_error = spread_at(index_of(kWrong), &MomentumResult::mean_error);
    holds = holds && wrong_error.lowest > right_error.highest;
    if (i == 0) {
      holds = holds && wrong.highest + 1 < right.lowest;
      least_variance_error = INFINITY;
      for (std::size_t k = 0; k < weights.size(); ++k)
        least_variance_error =
            std::min(least_variance_error, spread_at(k, &MomentumResult::variance_error).median);
    }
    changes.push_back(formatted("from %.1f", right.median) + formatted(" to %.1f %% at ", wrong.median) +
                      std::to_string(batches[i]));
    factors.push_back(formatted("%.1f", wrong_error.median / right_error.median));
  }
  chart.add(errors);
  chart.add(accuracies);
  return {
      table, chart, holds,
      "A weight of 0.9 in place of 0.1 changes test accuracy " + listed(changes) +
          " images a step, and makes the error of the running means " + listed(factors) +
          " times as large. Weights that are too small err too, for they still hold the first mean of 0 and "
          "variance of 1 when training ends. At " +
          std::to_string(batches[0]) + " images a step no weight takes the error of the variances below " +
          formatted("%.0f %%", least_variance_error) +
          ": a layer's inputs, which the layer before it normalizes by as few images, are not distributed as "
          "those at inference."};
}

constexpr Claim kMomentum = {
    "momentum",
    "Momentum is the weight of the new batch in some frameworks and of the old statistics in others; "
    "taken for the other, it spoils inference.",
    "Ioffe, Szegedy 2015, algorithm 2; PyTorch: 0.1 of the new; Keras and TensorFlow: 0.99 of the old, "
    "Caffe2: 0.9",
    "Three hidden layers of 100 ReLUs with batch norm, trained on 24000 images at 4, 16 and 64 a step, "
    "with a rate in proportion to the batch. Each training moves running statistics with several "
    "weights at once, for it does not depend on them. They are held against the statistics of 2000 "
    "images at once (\"exact\").",
    test_momentum};

}  // namespace claims
