#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "claim.hpp"
#include "training.hpp"

namespace claims {

/// By hidden layer, of a network with its first weights.
struct Signals {
  std::vector<double>
      deviations;                 // of a unit's input over the images: root of the mean square over the units
  std::vector<double> gradients;  // norm of the gradient of the dense product, 1 in the last layer

  double last_deviation() const { return deviations.back() / deviations.front(); }
  double first_gradient() const { return gradients.front(); }
};

inline Signals signals_of(const MlpOptions& options, const Data& data, std::uint64_t seed) {
  constexpr Index kImages = 200;
  Random random(seed);
  Mlp network(options, random);
  Batches batches(data.train, kImages, random);
  Images batch(kImages, options.inputs);
  batches.next(batch);
  SoftmaxCrossEntropy<float> loss;
  loss.forward(network.forward(batch.pixels), batch.labels);
  network.backward(loss.backward());

  Signals signals;
  for (Index i = 0; i < options.depth; ++i) {
    const Matrix<double> x = network.before_activation(i).cast<double>();
    const Matrix<double> centred = x.rowwise() - x.colwise().mean();
    signals.deviations.push_back(std::sqrt(centred.squaredNorm() / static_cast<double>(x.size())));
    signals.gradients.push_back(network.grad_dense(i).cast<double>().norm());
  }
  const double last = signals.gradients.back();
  for (double& gradient : signals.gradients) gradient /= last;
  return signals;
}

/// The claim comes out if with batch norm the first layer's gradient is between a hundredth and a hundred of the last
/// layer's at each depth, for each activation and seed, and without norm it is not.
inline Outcome test_gradients(const Setting& setting) {
  struct Case {
    std::string label, norm, activation;
    double deviation;
    std::size_t style;
    bool is_shown;
  };
  constexpr Index kHidden = 100;
  constexpr double kFactor = 100;
  const double half = he_deviation(kHidden) / 2;
  const std::vector<Case> cases = {{"no norm, sigmoid", "none", "sigmoid", 0, 0, true},
                                   {"no norm, ReLU", "none", "relu", 0, 5, true},
                                   {"no norm, ReLU, half", "none", "relu", half, 4, true},
                                   {"batch norm, sigmoid", "batch", "sigmoid", 0, 1, true},
                                   {"batch norm, ReLU", "batch", "relu", 0, 2, true},
                                   {"batch norm, ReLU, half", "batch", "relu", half, 2, false},
                                   {"layer norm, sigmoid", "layer", "sigmoid", 0, 3, false},
                                   {"layer norm, ReLU", "layer", "relu", 0, 3, true},
                                   {"layer norm, ReLU, half", "layer", "relu", half, 3, false}};
  const std::vector<Index> depths = setting.choose<std::vector<Index>>({2, 10, 20, 50}, {2, 50});
  const Index deepest = depths.back();

  std::vector<std::string> header = {"network"};
  for (Index depth : depths) header.push_back("gradient, " + std::to_string(depth) + " layers");
  header.push_back("input, " + std::to_string(deepest) + " layers");
  Table table(header, {"network"});
  Progress progress(static_cast<Index>(cases.size()), static_cast<Index>(depths.size()));
  const Axis layers{"hidden layer", 0, static_cast<double>(deepest)};
  Panel deviations{"forward", layers, {"deviation of a unit's input over images", 1, 1, "", true}, {}};
  Panel gradients{"backward", layers, {"gradient's norm, 1 in the last layer", 1, 1, "", true}, {}};
  std::vector<Spread> at_shallowest, at_deepest;
  bool batch_is_steady = true, none_is_steady = true, sigmoids_gain = true;
  for (const Case& c : cases) {
    progress.begin_run(padded(c.label, 22));
    std::vector<std::string> row = {c.label};
    MlpOptions options;
    options.inputs = setting.data.train.pixels.cols();
    options.hidden = kHidden;
    options.norm = c.norm;
    options.activation = c.activation;
    options.deviation = c.deviation;
    std::vector<Signals> all;
    for (std::size_t i = 0; i < depths.size(); ++i) {
      options.depth = depths[i];
      all.clear();
      std::vector<double> firsts;
      for (std::uint64_t seed : setting.seeds) {
        all.push_back(signals_of(options, setting.data, seed));
        firsts.push_back(all.back().first_gradient());
      }
      const Spread spread = spread_of(firsts);
      row.push_back(text_of(spread, "%.2g"));
      const bool is_steady = spread.lowest > 1 / kFactor && spread.highest < kFactor;
      if (c.norm == "batch") batch_is_steady &= is_steady;
      if (c.norm == "none") none_is_steady &= is_steady;
      if (c.activation == "sigmoid" && depths[i] == deepest && c.norm != "layer")
        sigmoids_gain &= is_steady == (c.norm == "batch");
      if (i == 0) at_shallowest.push_back(spread);
      if (depths[i] == deepest) at_deepest.push_back(spread);
      progress.show(static_cast<Index>(i + 1), "");
    }
    std::vector<double> lasts;
    Curve forward{c.style, {}, {}}, backward = forward;
    for (const Signals& signals : all) {
      lasts.push_back(signals.last_deviation());
      forward.y.push_back(signals.deviations);
      backward.y.push_back(signals.gradients);
    }
    row.push_back(text_of(spread_of(lasts), "%.2g"));
    table.add(row);
    for (Index i = 1; i <= deepest; ++i) forward.x.push_back(static_cast<double>(i));
    backward.x = forward.x;
    if (c.is_shown) {
      deviations.curves.push_back(forward);
      gradients.curves.push_back(backward);
    }
  }

  Chart chart("First step of networks of " + std::to_string(deepest) + " hidden layers, on " +
              setting.data.name);
  for (const Case& c : cases) {
    if (c.is_shown) chart.add_legend(c.style, c.label);
  }
  for (Panel* panel : {&deviations, &gradients}) {
    include_decades(panel->y, panel->curves);
    chart.add(*panel);
  }
  const auto times = [](const Spread& spread) {
    return formatted(spread.median < 1 ? "%.1g" : "%.0f", spread.median) + " times";
  };
  const auto per_layer = [&](std::size_t i) {
    const double ratio = at_deepest[i].median / at_shallowest[i].median;
    return formatted("%.2f", std::pow(ratio, 1 / static_cast<double>(deepest - depths[0])));
  };
  return {table, chart, batch_is_steady && !none_is_steady,
          "Without norm the gradient of the first of 50 layers is " + times(at_deepest[0]) +
              " the last layer's with sigmoids and " + times(at_deepest[2]) +
              " with ReLUs and half of He's weights: there batch norm keeps it from vanishing. But before "
              "ReLUs batch "
              "norm makes it " +
              times(at_deepest[4]) + ", a growth by " + per_layer(4) +
              " a layer that depends little on the weights' size and that Yang et al. 2019 derive as 1.21; "
              "before "
              "sigmoids it is " +
              per_layer(3) + ", and with He's weights and no norm " + per_layer(1) + ".",
          sigmoids_gain ? "before sigmoids batch norm keeps gradients from vanishing" : ""};
}

constexpr Claim kGradients = {
    "gradients", "With batch norm, gradients neither vanish nor explode with depth.",
    "Ioffe and Szegedy 2015, section 3.3; contested by Yang et al. 2019, A mean "
    "field theory of batch normalization",
    "Networks of 2 to 50 hidden layers of 100 units before the first step, with "
    "200 images. The weights have Glorot's "
    "deviation for sigmoids and He's for ReLUs, or half of that. Gradient is the "
    "norm of the loss's gradient by a "
    "layer's dense product, of the first layer over the last. Input is the "
    "deviation over images of what an activation "
    "takes, of the last layer over the first; near 1e-7 it is the rounding of float.",
    test_gradients};

}  // namespace claims
