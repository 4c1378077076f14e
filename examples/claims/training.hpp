#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "../kit/chart.hpp"
#include "../kit/cross_entropy.hpp"
#include "../kit/images.hpp"
#include "../kit/progress.hpp"
#include "../kit/random.hpp"
#include "../kit/sgd.hpp"
#include "../kit/spread.hpp"
#include "../kit/table.hpp"
#include "mlp.hpp"

namespace claims {

struct Training {
  double rate = 0.1;
  Index batch = 60, steps = 500;
  SgdOptions sgd = {};
  Index tests = 20;  // how often test accuracy is taken, beside before the first step
  // Stops at this test accuracy, or when the loss is not finite. Tests then come at steps that grow by an eighth.
  std::optional<double> goal = std::nullopt;
};

/// On the test images, after a number of steps.
struct CurvePoint {
  Index step;
  double accuracy;  // in percent
  double loss;
};

struct Run {
  std::vector<CurvePoint> curve;
  std::vector<double> batch_losses;  // of each step

  double accuracy() const { return curve.back().accuracy; }
  double loss() const { return curve.back().loss; }
  /// The first step with this accuracy; infinity if there is none.
  double steps_to(double accuracy) const {
    for (const CurvePoint& point : curve) {
      if (point.accuracy >= accuracy) return static_cast<double>(point.step);
    }
    return INFINITY;
  }
};

/// Trains the network, which keeps what it learned. Calls after_step(step) behind each step, counted from 1.
template <typename AfterStep>
Run train(Mlp& network, const Data& data, const Training& training, Random& random, Progress& progress,
          AfterStep after_step) {
  Run run;
  const auto test = [&](Index step) {
    const Matrix<float> logits = network.infer(data.test.pixels);
    run.curve.push_back(
        {step, percent_right(classes_of(logits), data.test),
         static_cast<double>(SoftmaxCrossEntropy<float>().forward(logits, data.test.labels))});
    progress.show(step, formatted("test %5.1f %%", run.accuracy()));
  };
  Batches batches(data.train, training.batch, random);
  Images batch(training.batch, data.train.pixels.cols());
  SoftmaxCrossEntropy<float> loss;
  Sgd<float> sgd(training.sgd);
  const Index interval = std::max<Index>(training.steps / training.tests, 1);
  Index next_test = training.goal ? 16 : interval;
  test(0);
  for (Index step = 1; step <= training.steps; ++step) {
    batches.next(batch);
    run.batch_losses.push_back(
        static_cast<double>(loss.forward(network.forward(batch.pixels), batch.labels)));
    network.backward(loss.backward());
    sgd.step(network.parameters(), training.rate);
    after_step(step);
    if (step != next_test && step != training.steps) continue;
    test(step);
    next_test += training.goal ? step / 8 : interval;
    if (training.goal && (run.accuracy() >= *training.goal || !std::isfinite(run.loss()))) break;
  }
  return run;
}

/// A new network that begins with the weights of a seed, and sees the batches of that seed.
inline Run train(MlpOptions options, const Data& data, const Training& training, std::uint64_t seed,
                 Progress& progress) {
  options.inputs = data.train.pixels.cols();
  Random random(seed);
  Mlp network(options, random);
  return train(network, data, training, random, progress, [](Index) {});
}

/// value(run) of each run.
template <typename Value>
Spread spread_over(const std::vector<Run>& runs, Value value) {
  std::vector<double> values;
  for (const Run& run : runs) values.push_back(value(run));
  return spread_of(values);
}
inline Spread accuracy_of(const std::vector<Run>& runs) {
  return spread_over(runs, [](const Run& run) { return run.accuracy(); });
}

/// "97.1 (96.5 to 97.4)"
inline std::string text_of(const Spread& spread, const char* format) {
  return formatted(format, spread.median) + " (" + formatted(format, spread.lowest) + " to " +
         formatted(format, spread.highest) + ")";
}

/// "40", or "never".
inline std::string steps_text(double steps) { return std::isinf(steps) ? "never" : formatted("%.0f", steps); }

/// A value of the runs' points over steps, for a chart.
inline Curve curve_of(std::size_t style, const std::vector<Run>& runs, double CurvePoint::*value) {
  Curve curve{style, {}, {}};
  for (const CurvePoint& point : runs.at(0).curve) curve.x.push_back(static_cast<double>(point.step));
  for (const Run& run : runs) {
    curve.y.emplace_back();
    for (const CurvePoint& point : run.curve) curve.y.back().push_back(point.*value);
  }
  return curve;
}

/// Widens a logarithmic axis to the decades that the curves' values are in, down to 1e-36 and up to 1e36.
inline void include_decades(Axis& axis, const std::vector<Curve>& curves) {
  for (const Curve& curve : curves) {
    for (const std::vector<double>& seed : curve.y) {
      for (double value : seed) {
        if (!std::isfinite(value)) continue;
        const double decade = std::log10(std::clamp(value, 1e-36, 1e36));
        axis.low = std::min(axis.low, std::pow(10, std::floor(decade)));
        axis.high = std::max(axis.high, std::pow(10, std::ceil(decade)));
      }
    }
  }
}

}  // namespace claims
