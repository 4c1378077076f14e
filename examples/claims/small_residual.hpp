#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "../kit/images.hpp"
#include "../kit/progress.hpp"
#include "../kit/random.hpp"
#include "../kit/sgd.hpp"
#include "../residual/train.hpp"
#include "best_rate.hpp"
#include "claim.hpp"

namespace claims {

/// Each pixel is the mean of a square of about side / 7 by side / 7: images of 28 x 28 become 7 x 7, those of 8 x 8 stay.
inline Images averaged(const Images& images) {
  constexpr Index kSide = 7;
  const Index from = images.side(), square = std::max<Index>(from / kSide, 1), side = from / square;
  Matrix<float> weights = Matrix<float>::Zero(side, from);
  for (Index i = 0; i < side * square; ++i) weights(i / square, i) = 1 / static_cast<float>(square);
  Images result(images.count(), side * side);
  result.labels = images.labels;
  for (Index n = 0; n < images.count(); ++n) {
    const Eigen::Map<const Matrix<float>> large(images.pixels.row(n).data(), from, from);
    Eigen::Map<Matrix<float>>(result.pixels.row(n).data(), side, side) =
        weights * large * weights.transpose();
  }
  return result;
}
inline Data averaged(const Data& data) { return {data.name, averaged(data.train), averaged(data.test)}; }

struct ResidualTraining {
  Index batch = 32;
  Index part = 0;         // of a batch, which goes through the network at a time; 0: all of it
  Index images = 3200;    // in all steps together
  double rate_of_32 = 0;  // the rate is in proportion to the batch (Goyal et al. 2017)
  double weight_decay = 1e-4, dropout = 0;

  Index steps() const { return images / batch; }
  double rate() const { return rate_of_32 * static_cast<double>(batch) / 32; }
};

/// The share of test images, in percent, that a new residual network of one block a stage gets wrong.
inline double residual_error(const std::string& norm, const Data& data, const ResidualTraining& training,
                             std::uint64_t seed) {
  Random random(seed);
  residual::Network network(data.train.side(), 1, norm, {training.dropout, seed}, random);
  Batches batches(data.train, training.batch, random);
  Images batch(training.batch, data.train.pixels.cols());
  SoftmaxCrossEntropy<float> loss;
  Sgd<float> sgd({0.9, training.weight_decay});
  const Index count = training.part > 0 ? training.part : training.batch;
  for (Index step = 0; step < training.steps(); ++step) {
    batches.next(batch);
    Parameters<float> parameters = network.parameters();
    std::vector<Vector<float>> sums;
    for (const auto& p : parameters) sums.push_back(Vector<float>::Zero(p.grad.size()));
    for (Index first = 0; first < training.batch; first += count) {
      const auto labels = batch.labels.begin() + first;
      loss.forward(network.forward(residual::as_tensor(batch, first, count)), {labels, labels + count});
      network.backward(loss.backward());
      for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += parameters[i].grad;
    }
    for (std::size_t i = 0; i < sums.size(); ++i)
      parameters[i].grad = sums[i] * (static_cast<float>(count) / static_cast<float>(training.batch));
    sgd.step(parameters, falling_rate(training.rate(), step, training.steps()));
  }
  constexpr Index kAtATime = 50;
  return 100 - percent_right(classes_of(residual::infer(network, data.test, kAtATime)), data.test);
}

/// For each norm the rate of least error at 32 images a step, on a seed of its own.
inline std::map<std::string, double> best_rates(const std::vector<std::string>& norms, const Data& data,
                                                ResidualTraining training, const std::vector<double>& rates) {
  constexpr std::uint64_t kSeed = 0;
  Progress progress(static_cast<Index>(norms.size()), static_cast<Index>(rates.size()));
  std::map<std::string, double> best;
  for (const std::string& norm : norms) {
    progress.begin_run("rate of " + padded(residual::full_name(norm), 10));
    Index tried = 0;
    best[norm] = best_rate(rates, [&](double rate) {
      training.rate_of_32 = rate;
      const double error = residual_error(norm, data, training, kSeed);
      progress.show(++tried, formatted("error %5.1f %%", error));
      return -error;
    });
  }
  return best;
}

/// The errors of all seeds.
inline std::vector<double> residual_errors(const std::string& norm, const Data& data,
                                           const ResidualTraining& training,
                                           const std::vector<std::uint64_t>& seeds, Progress& progress) {
  std::vector<double> errors;
  for (std::uint64_t seed : seeds) {
    errors.push_back(residual_error(norm, data, training, seed));
    progress.show(static_cast<Index>(errors.size()), formatted("error %5.1f %%", errors.back()));
  }
  return errors;
}

/// Adds one result of each seed at x.
inline void add_to(Curve& curve, double x, const std::vector<double>& of_seeds) {
  curve.x.push_back(x);
  curve.y.resize(of_seeds.size());
  for (std::size_t i = 0; i < of_seeds.size(); ++i) curve.y[i].push_back(of_seeds[i]);
}

}  // namespace claims
