#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "../kit/cross_entropy.hpp"
#include "../kit/images.hpp"
#include "../kit/random.hpp"
#include "../kit/sgd.hpp"
#include "network.hpp"
#include "options.hpp"

namespace residual {

/// Of the test images, after a number of steps.
struct CurvePoint {
  Index step;
  double accuracy;  // in percent
  double loss;
};

struct Run {
  std::string norm;
  std::uint64_t seed;
  std::vector<CurvePoint> curve;
  double seconds = 0, norm_seconds = 0;  // of training steps: all, and their norms alone
  double accuracy_singly = 0;            // one image at a time
  Index differing = 0;                   // predictions that differ from those of many images at a time

  double accuracy() const { return curve.back().accuracy; }
  double loss() const { return curve.back().loss; }
  /// The first step seen at this accuracy; infinity if it never was.
  double steps_to(double accuracy) const {
    for (const CurvePoint& point : curve) {
      if (point.accuracy >= accuracy) return static_cast<double>(point.step);
    }
    return INFINITY;
  }
};

/// Images first to first + count - 1.
inline Tensor<float> as_tensor(const Images& images, Index first, Index count) {
  Tensor<float> x(count, 1, images.side(), images.side());
  flat(x) = flat(images.pixels).segment(first * images.pixels.cols(), x.size());
  return x;
}

/// The logits of all images, of which infer sees so many at a time.
inline Matrix<float> infer(const Network& network, const Images& images, Index at_a_time) {
  Matrix<float> logits(images.count(), kClasses);
  for (Index first = 0; first < images.count(); first += at_a_time) {
    const Index count = std::min(at_a_time, images.count() - first);
    logits.middleRows(first, count) = network.infer(as_tensor(images, first, count));
  }
  return logits;
}

/// Every norm begins with the same weights and sees the same batches. Calls report(step, run) after each step and
/// before the first one.
template <typename Report>
Run train(const std::string& norm, std::uint64_t seed, const Options& options, const Data& data,
          Report report) {
  using Clock = std::chrono::steady_clock;
  constexpr Index kAtATime = 50, kTests = 10;
  Run run{norm, seed, {}};
  Random random(seed);
  Network network(data.train.side(), options.depth, norm, {options.dropout, seed}, random);
  Batches batches(data.train, options.batch, random);
  Images batch(options.batch, data.train.pixels.cols());
  SoftmaxCrossEntropy<float> loss;
  Sgd<float> sgd({0.9, options.weight_decay});

  std::vector<Index> classes;
  const auto test = [&](Index step) {
    const Matrix<float> logits = infer(network, data.test, kAtATime);
    classes = classes_of(logits);
    run.curve.push_back({step, percent_right(classes, data.test),
                         SoftmaxCrossEntropy<float>().forward(logits, data.test.labels)});
    report(step, run);
  };

  test(0);
  const Index interval = (options.steps + kTests - 1) / kTests;
  for (Index step = 0; step < options.steps; ++step) {
    const Clock::time_point start = Clock::now();
    batches.next(batch);
    loss.forward(network.forward(as_tensor(batch, 0, batch.count())), batch.labels);
    network.backward(loss.backward());
    sgd.step(network.parameters(), falling_rate(options.rate_for(norm), step, options.steps));
    run.seconds += std::chrono::duration<double>(Clock::now() - start).count();
    if ((step + 1) % interval == 0 || step + 1 == options.steps) {
      test(step + 1);
    } else {
      report(step + 1, run);
    }
  }
  run.norm_seconds = network.norm_seconds();

  const std::vector<Index> singly = classes_of(infer(network, data.test, 1));
  run.accuracy_singly = percent_right(singly, data.test);
  run.differing = data.test.count() - count_equal(singly, classes);
  return run;
}

}  // namespace residual
