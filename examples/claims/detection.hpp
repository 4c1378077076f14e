#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "best_rate.hpp"
#include "claim.hpp"
#include "detection_network.hpp"
#include "training.hpp"

namespace claims {

namespace detection_claim {

/// Both in percent.
struct Score {
  double accuracy, overlap;
};

inline Score score_of(const DetectionNetwork& network, const Scenes& test) {
  constexpr Index kAtATime = 50;
  const Index count = test.boxes.rows();
  Index right = 0;
  double overlaps = 0;
  for (Index first = 0; first < count; first += kAtATime) {
    const Index size = std::min(kAtATime, count - first);
    Tensor<float> x(size, 1, kScene, kScene);
    flat(x) = flat(test.pixels).segment(first * kScene * kScene, x.size());
    const Matrix<float> y = network.infer(std::move(x));
    const std::vector<Index> classes = classes_of(y.leftCols(kClasses));
    for (Index n = 0; n < size; ++n) {
      const Box found = y.row(n).tail(4).transpose(), truth = test.boxes.row(first + n).transpose();
      if (classes[static_cast<std::size_t>(n)] == test.labels[static_cast<std::size_t>(first + n)]) ++right;
      if (found.allFinite()) overlaps += overlap(found, truth);
    }
  }
  return {100 * static_cast<double>(right) / static_cast<double>(count),
          100 * overlaps / static_cast<double>(count)};
}

struct Plan {
  std::string label, norm;
  std::size_t style;
  Index batch;
};

/// Of one training: after a number of images.
struct DetectionRun {
  std::vector<double> images;
  std::vector<Score> scores;
};

/// Each image stands at a new place each time.
inline DetectionRun train(const Plan& plan, const Data& data, const Scenes& test, double rate, Index images,
                          Index tests, std::uint64_t seed, Progress& progress) {
  progress.begin_run(padded(plan.label, 10) + formatted(" rate %-6g", rate));
  Random random(seed);
  DetectionNetwork network(plan.norm, random);
  Batches batches(data.train, plan.batch, random);
  Images digits(plan.batch, data.train.pixels.cols());
  SoftmaxCrossEntropy<float> class_loss;
  BoxLoss<float> box_loss;
  Sgd<float> sgd({0.9, 0});
  DetectionRun run;
  const Index steps = images / plan.batch;
  for (Index step = 1; step <= steps; ++step) {
    batches.next(digits);
    const Scenes scenes = paint_scenes(digits, random);
    const Matrix<float> y = network.forward(scenes.pixels);
    class_loss.forward(y.leftCols(kClasses), scenes.labels);
    box_loss.forward(y.rightCols(4), scenes.boxes);
    Matrix<float> dy(y.rows(), y.cols());
    dy << class_loss.backward(), box_loss.backward();
    network.backward(dy);
    sgd.step(network.parameters(), falling_rate(rate, step - 1, steps));
    if (step % (steps / tests) == 0) {
      run.images.push_back(static_cast<double>(step * plan.batch));
      run.scores.push_back(score_of(network, test));
      progress.show(step * plan.batch, formatted("class %5.1f %%", run.scores.back().accuracy) +
                                           formatted(", overlap %5.1f %%", run.scores.back().overlap));
    }
  }
  return run;
}

}  // namespace detection_claim

/// One digit somewhere in a larger image: its class and its box, trained at two images a step. The claim asks that group
/// norm is above batch norm in each seed, by more than 1 % in class and in overlap.
inline Outcome test_detection(const Setting& setting) {
  using namespace detection_claim;
  constexpr double kMargin = 1;
  constexpr std::uint64_t kSweepSeed = 100;
  const Index images = setting.choose<Index>(8000, 600), tests = setting.choose<Index>(5, 1);
  const auto rates = setting.choose<std::vector<double>>({0.001, 0.003, 0.01}, {0.003});
  std::vector<Plan> plans = {{"batch norm", "batch", 1, 2}, {"group norm", "group", 2, 2}};

  Random random(1);
  const Index count = std::min<Index>(setting.data.test.count(), 400);
  const Scenes test = paint_scenes(segment(setting.data.test, 0, count), random);
  const Data held = held_out(setting.data);
  const Scenes validation = paint_scenes(segment(held.test, 0, std::min(count, held.test.count())), random);

  Table table({"network", "images a step", "rate", "class right, %", "overlap of the box, %"}, {"network"});
  Chart chart("Class and box of one digit in a larger image, on " + setting.data.name);
  const std::string seeds = std::to_string(setting.seeds.size()) + " seeds";
  const Axis seen = {"training images", 0, static_cast<double>(images)};
  Panel class_panel{"class, " + seeds, seen, {"classes right in test", 0, 100, " %"}, {}};
  Panel box_panel{"box, " + seeds, seen, {"overlap of the box (IoU)", 0, 100, " %"}, {}};
  const std::size_t tried = rates.size() > 1 ? rates.size() : 0;
  Progress progress(static_cast<Index>(plans.size() * (tried + setting.seeds.size())), images);
  std::vector<Spread> accuracies, overlaps;
  for (const Plan& plan : plans) {
    const double rate = best_rate(rates, [&](double candidate) {
      const auto run = train(plan, held, validation, candidate, images / 2, 1, kSweepSeed, progress);
      return run.scores.back().accuracy + run.scores.back().overlap;
    });
    Curve classes{plan.style, {}, {}}, boxes = classes;
    std::vector<double> last_accuracy, last_overlap;
    for (std::uint64_t seed : setting.seeds) {
      const auto run = train(plan, setting.data, test, rate, images, tests, seed, progress);
      classes.x = boxes.x = run.images;
      classes.y.emplace_back();
      boxes.y.emplace_back();
      for (const Score& score : run.scores) {
        classes.y.back().push_back(score.accuracy);
        boxes.y.back().push_back(score.overlap);
      }
      last_accuracy.push_back(run.scores.back().accuracy);
      last_overlap.push_back(run.scores.back().overlap);
    }
    accuracies.push_back(spread_of(last_accuracy));
    overlaps.push_back(spread_of(last_overlap));
    table.add({plan.norm + " norm", std::to_string(plan.batch), formatted("%g", rate),
               text_of(accuracies.back(), "%.1f"), text_of(overlaps.back(), "%.1f")});
    chart.add_legend(plan.style, plan.label);
    class_panel.curves.push_back(classes);
    box_panel.curves.push_back(boxes);
  }
  chart.add(class_panel);
  chart.add(box_panel);

  const bool finds_box = overlaps[1].lowest > overlaps[0].highest + kMargin;
  const bool holds = finds_box && accuracies[1].lowest > accuracies[0].highest + kMargin;
  const auto both = [&](std::size_t i) {
    return formatted("%.1f %% of the classes", accuracies[i].median) +
           formatted(" and an overlap of %.1f %%", overlaps[i].median);
  };
  const std::string finding =
      "At two images a step group norm reaches " + both(1) + ", batch norm " + both(0) + ".";
  return {table, chart, holds, finding, finds_box ? "group norm finds the box better" : ""};
}

constexpr Claim kDetection = {
    "detection",
    "Detection is trained with one or two images a step, so it takes group norm instead of batch norm.",
    "Wu and He 2018, section 4.2",
    "One digit of 24 to 32 pixels is somewhere in an image of 56 x 56. Four convolutions of stride 2 with a "
    "norm each, "
    "and a dense layer, give its class and its box. Group norm has four channels a group. Both see two "
    "images a step. "
    "Each network has the best of three rates, by images that are held out from training.",
    test_detection};

}  // namespace claims
