#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "../kit/cross_entropy.hpp"
#include "../kit/images.hpp"
#include "../kit/random.hpp"
#include "../kit/sgd.hpp"
#include "network.hpp"

namespace digits {

struct CurvePoint {
  Index step;
  double accuracy;  // on the test images, in percent
};

struct Run {
  std::string norm;
  Index batch;
  double rate;
  std::vector<CurvePoint> curve;
  double seconds = 0;
  double accuracy_singly = 0;  // one image at a time
  Index differing = 0;         // predictions that differ from those of one large batch

  double accuracy() const { return curve.back().accuracy; }
  /// The first step seen at this accuracy; 0 when it never was.
  Index steps_to(double accuracy) const {
    for (const CurvePoint& point : curve) {
      if (point.accuracy >= accuracy) return point.step;
    }
    return 0;
  }
};

inline std::vector<Index> classify_singly(const Network& network, const Matrix<float>& images) {
  std::vector<Index> classes;
  for (Index i = 0; i < images.rows(); ++i) classes.push_back(classes_of(network.infer(images.row(i)))[0]);
  return classes;
}

/// Completes a run of which norm, batch and rate are given. Calls report(run) each time the test accuracy has
/// been taken: before the first step and then up to 50 times.
template <typename Report>
Run train(Network network, Run run, const Data& data, Index steps, Random& random, Report report) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<Index> classes;
  const auto evaluate = [&](Index step) {
    classes = classes_of(network.infer(data.test.pixels));
    run.curve.push_back({step, percent_right(classes, data.test)});
    report(run);
  };

  Batches batches(data.train, run.batch, random);
  Images batch(run.batch, data.train.pixels.cols());
  SoftmaxCrossEntropy<float> loss;
  Sgd<float> sgd;
  const Index interval = (steps + 49) / 50;
  evaluate(0);
  for (Index step = 0; step < steps; ++step) {
    batches.next(batch);
    loss.forward(network.forward(batch.pixels), batch.labels);
    network.backward(loss.backward());
    sgd.step(network.parameters(), falling_rate(run.rate, step, steps));
    if ((step + 1) % interval == 0 || step + 1 == steps) evaluate(step + 1);
  }
  run.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  const std::vector<Index> singly = classify_singly(network, data.test.pixels);
  run.accuracy_singly = percent_right(singly, data.test);
  run.differing = data.test.count() - count_equal(singly, classes);
  return run;
}

}  // namespace digits
