#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "data.hpp"
#include "network.hpp"
#include "random.hpp"

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

inline Index best_class(const Matrix& logits, Index image) {
  Index best = 0;
  logits.row(image).maxCoeff(&best);
  return best;
}

template <typename Norm>
std::vector<Index> classify_at_once(const Network<Norm>& network, const Matrix& images) {
  const Matrix logits = network.infer(images);
  std::vector<Index> classes;
  for (Index i = 0; i < images.rows(); ++i) classes.push_back(best_class(logits, i));
  return classes;
}

template <typename Norm>
std::vector<Index> classify_singly(const Network<Norm>& network, const Matrix& images) {
  std::vector<Index> classes;
  for (Index i = 0; i < images.rows(); ++i) classes.push_back(best_class(network.infer(images.row(i)), 0));
  return classes;
}

inline Index count_equal(const std::vector<Index>& a, const std::vector<Index>& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), Index{0}, std::plus<>(), std::equal_to<>());
}

inline double percent_right(const std::vector<Index>& classes, const Images& images) {
  return 100 * static_cast<double>(count_equal(classes, images.labels)) / static_cast<double>(images.count());
}

/// Endless batches, in a new order each time all images have been seen.
class Batches {
 public:
  Batches(const Images& images, Index size, Random& random)
      : images_(images), size_(size), random_(random), order_(images.labels.size()), next_(images.count()) {
    std::iota(order_.begin(), order_.end(), Index{0});
  }

  void next(Images& batch) {
    if (next_ + size_ > images_.count()) {
      random_.shuffle(order_);
      next_ = 0;
    }
    for (Index i = 0; i < size_; ++i, ++next_) {
      const Index image = order_[static_cast<std::size_t>(next_)];
      batch.pixels.row(i) = images_.pixels.row(image);
      batch.label(i) = images_.label(image);
    }
  }

 private:
  const Images& images_;
  Index size_;
  Random& random_;
  std::vector<Index> order_;
  Index next_;
};

/// Of the mean cross-entropy over the batch: (softmax(logits) - one_hot(label)) / batch.
inline void grad_cross_entropy(const Matrix& logits, const Images& batch, Matrix& grad) {
  grad = (logits.colwise() - logits.rowwise().maxCoeff()).array().exp();
  grad.array().colwise() /= grad.rowwise().sum().array().eval();
  for (Index i = 0; i < batch.count(); ++i) grad(i, batch.label(i)) -= 1;
  grad /= static_cast<float>(batch.count());
}

template <typename Norm>
void sgd_step(Network<Norm>& network, double rate) {
  network.for_each_layer([&](auto& layer) {
    for (auto parameter : layer.parameters()) parameter.value -= static_cast<float>(rate) * parameter.grad;
  });
}

/// Completes a run of which norm, batch and rate are given. Calls report(run) each time the test accuracy has
/// been taken: before the first step and then up to 50 times.
template <typename Norm, typename Report>
Run train(Network<Norm> network, Run run, const Data& data, Index steps, Random& random, Report report) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<Index> classes;
  const auto evaluate = [&](Index step) {
    classes = classify_at_once(network, data.test.pixels);
    run.curve.push_back({step, percent_right(classes, data.test)});
    report(run);
  };

  Batches batches(data.train, run.batch, random);
  Images batch(run.batch, data.train.pixels.cols());
  Matrix grad;
  const Index interval = (steps + 49) / 50;
  evaluate(0);
  for (Index step = 0; step < steps; ++step) {
    batches.next(batch);
    grad_cross_entropy(network.forward(batch.pixels), batch, grad);
    network.backward(grad);
    const double left = static_cast<double>(steps - step) / static_cast<double>(steps);
    sgd_step(network, run.rate * std::min(1.0, 5 * left));
    if ((step + 1) % interval == 0 || step + 1 == steps) evaluate(step + 1);
  }
  run.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  const std::vector<Index> singly = classify_singly(network, data.test.pixels);
  run.accuracy_singly = percent_right(singly, data.test);
  run.differing = data.test.count() - count_equal(singly, classes);
  return run;
}

}  // namespace digits
