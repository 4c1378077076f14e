#pragma once

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <string>
#include <vector>

#include "claim.hpp"
#include "training.hpp"

namespace claims {

/// The classes of images by a network that normalizes each batch by its own statistics, as training does. The order says
/// which images come together. A batch of one image holds it twice, for its statistics are the same and batch norm
/// refuses one value per channel.
inline std::vector<Index> classes_by_batches(Mlp& network, const Images& images,
                                             const std::vector<Index>& order, Index size) {
  std::vector<Index> classes(order.size());
  for (Index first = 0; first < images.count(); first += size) {
    const Index count = std::min(size, images.count() - first);
    const auto image = [&](Index i) { return order[static_cast<std::size_t>(first + i % count)]; };
    Matrix<float> batch(std::max<Index>(count, 2), images.pixels.cols());
    for (Index i = 0; i < batch.rows(); ++i) batch.row(i) = images.pixels.row(image(i));
    const std::vector<Index> found = classes_of(network.forward(batch));
    for (Index i = 0; i < count; ++i)
      classes[static_cast<std::size_t>(image(i))] = found[static_cast<std::size_t>(i)];
  }
  return classes;
}

inline std::vector<Index> classes_one_by_one(const Mlp& network, const Images& images) {
  std::vector<Index> classes;
  for (Index i = 0; i < images.count(); ++i)
    classes.push_back(classes_of(network.infer(images.pixels.row(i))).front());
  return classes;
}

inline std::vector<Index> shuffled(const Images& images, Random& random) {
  std::vector<Index> order(images.labels.size());
  std::iota(order.begin(), order.end(), Index{0});
  random.shuffle(order);
  return order;
}

inline std::vector<Index> sorted_by_class(std::vector<Index> order, const Images& images) {
  std::stable_sort(order.begin(), order.end(),
                   [&](Index a, Index b) { return images.label(a) < images.label(b); });
  return order;
}

/// A way to classify the test images with a network that has been trained.
struct InferenceWay {
  std::string statistics, order;
  Index size;  // images at a time
  std::vector<double> accuracies = {},
                      differ = {};  // of each seed, in percent; differ: from infer's predictions

  void add(const std::vector<Index>& classes, const std::vector<Index>& inferred, const Images& images) {
    accuracies.push_back(percent_right(classes, images));
    const auto same = static_cast<double>(count_equal(classes, inferred));
    differ.push_back(100 - 100 * same / static_cast<double>(images.count()));
  }
};

inline Outcome test_inference_mode(const Setting& setting) {
  constexpr Index kFew = 2, kMany = 64;
  const std::vector<Index> sizes =
      setting.choose<std::vector<Index>>({1, kFew, 4, 8, 16, 32, kMany, 128}, {1, kFew, 8, kMany});
  const Images& images = setting.data.test;
  Training training;
  training.steps = setting.choose<Index>(400, 100);
  training.tests = 5;

  InferenceWay all{"running", "any", images.count()}, single{"running", "any", 1};
  std::vector<InferenceWay> mixed, sorted;
  for (Index size : sizes) {
    mixed.push_back({"the batch's", "mixed", size});
    sorted.push_back({"the batch's", "by class", size});
  }
  Progress progress(static_cast<Index>(setting.seeds.size()), training.steps);
  for (std::uint64_t seed : setting.seeds) {
    progress.begin_run("seed " + std::to_string(seed));
    MlpOptions options;
    options.inputs = images.pixels.cols();
    options.norm = "batch";
    Random random(seed);
    Mlp network(options, random);
    train(network, setting.data, training, random, progress, [](Index) {});
    for (Index i = 0; i < options.depth; ++i) network.batch_norm(i).updates_running_stats(false);
    const std::vector<Index> inferred = classes_of(network.infer(images.pixels));
    all.add(inferred, inferred, images);
    single.add(classes_one_by_one(network, images), inferred, images);
    const std::vector<Index> order = shuffled(images, random), by_class = sorted_by_class(order, images);
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      mixed[i].add(classes_by_batches(network, images, order, sizes[i]), inferred, images);
      sorted[i].add(classes_by_batches(network, images, by_class, sizes[i]), inferred, images);
    }
  }

  Table table({"statistics", "images at a time", "order", "test accuracy, %", "other predictions, %"},
              {"statistics", "order"});
  const auto add_row = [&](const InferenceWay& way) {
    table.add({way.statistics, std::to_string(way.size), way.order,
               text_of(spread_of(way.accuracies), "%.1f"), text_of(spread_of(way.differ), "%.1f")});
  };
  add_row(all);
  add_row(single);
  for (const InferenceWay& way : mixed) add_row(way);
  for (const InferenceWay& way : sorted) add_row(way);

  const std::vector<double> places(sizes.begin(), sizes.end());
  Chart chart("Inference of one network, on " + setting.data.name);
  Panel panel{std::to_string(setting.seeds.size()) + " seeds",
              {"images at a time", places.front(), places.back(), "", true, places},
              {"test accuracy", 0, 100, " %"},
              {}};
  const auto add_curve = [&](std::size_t style, const std::string& label, auto accuracy_at) {
    Curve curve{style, places, {}};
    for (std::size_t seed = 0; seed < setting.seeds.size(); ++seed) {
      curve.y.emplace_back();
      for (std::size_t i = 0; i < sizes.size(); ++i) curve.y.back().push_back(accuracy_at(i, seed));
    }
    chart.add_legend(style, label);
    panel.curves.push_back(curve);
  };
  add_curve(0, "running statistics", [&](std::size_t, std::size_t seed) { return all.accuracies[seed]; });
  add_curve(1, "the batch's, mixed",
            [&](std::size_t i, std::size_t seed) { return mixed[i].accuracies[seed]; });
  add_curve(2, "the batch's, by class",
            [&](std::size_t i, std::size_t seed) { return sorted[i].accuracies[seed]; });
  chart.add(panel);

  const auto of_size = [&](const std::vector<InferenceWay>& ways, Index size) -> const InferenceWay& {
    return ways[static_cast<std::size_t>(std::find(sizes.begin(), sizes.end(), size) - sizes.begin())];
  };
  const Spread right = spread_of(all.accuracies), one = spread_of(mixed[0].accuracies),
               few = spread_of(of_size(mixed, kFew).accuracies),
               many = spread_of(of_size(mixed, kMany).accuracies),
               by_class = spread_of(of_size(sorted, kMany).accuracies);
  constexpr double kMargin = 5;
  const bool holds = spread_of(single.differ).highest == 0 && few.highest + kMargin < right.lowest &&
                     by_class.highest + kMargin < right.lowest;
  return {
      table, chart, holds,
      "With running statistics the network gets " + formatted("%.1f %%", right.median) +
          " right, and an image alone gets the same class as among others. With the batch's own it gets " +
          formatted("%.1f %% right of one image at a time, ", one.median) +
          formatted("%.1f %% of two, ", few.median) + formatted("%.1f %% of 64", many.median) +
          " in mixed order, and " + formatted("%.1f %% of 64", by_class.median) +
          " that come sorted by class."};
}

constexpr Claim kInferenceMode = {
    "inference-mode",
    "Batch norm that goes on to take the batch's statistics at inference gives other results: what an "
    "image is taken for depends on the images beside it.",
    "Ioffe, Szegedy 2015, section 3.1",
    "Three hidden layers of 100 ReLUs with batch norm, trained on 60 images a step, classify the test "
    "images with running statistics, and with those of each batch: in mixed order, and sorted by "
    "class. Other predictions are those that differ from the ones with running statistics.",
    test_inference_mode};

}  // namespace claims
