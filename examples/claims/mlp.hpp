#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "../kit/activations.hpp"
#include "../kit/dense.hpp"
#include "../kit/dropout.hpp"
#include "../kit/images.hpp"
#include "../kit/norm.hpp"
#include "../kit/random.hpp"

namespace claims {

using namespace kit;

struct MlpOptions {
  Index inputs = 784, hidden = 100, depth = 3;
  std::string norm = "none";        // none, batch, layer or group, of ten groups
  std::string activation = "relu";  // or sigmoid
  double deviation = 0;             // of the first weights; 0: He's for relu, Glorot's for sigmoid
  bool affine = true;               // whether norms have gamma and beta
  bool norm_last = false;           // behind the activation, not before it
  double dropout = 0;               // behind each hidden layer
  double noise = 0;                 // of NoisyUnits behind each norm
  double momentum = 0.1;            // of batch norm's running statistics
};

/// Shifts and stretches each unit by random numbers that are drawn anew in each step (Santurkar et al. 2018, section 2.1):
///
///   y[n, k] = x[n, k] (1 + noise s[k]) + noise m[k] + noise e[n, k],   s, m, e normal
class NoisyUnits {
 public:
  NoisyUnits(double noise, std::uint64_t seed) : noise_(noise), random_(seed) {}

  Matrix<float> forward(Matrix<float> x) {
    if (noise_ == 0) return x;
    scale_.resize(x.cols());
    for (Index k = 0; k < x.cols(); ++k) {
      scale_[k] = static_cast<float>(1 + noise_ * random_.normal());
      const double shift = noise_ * random_.normal();
      for (Index n = 0; n < x.rows(); ++n)
        x(n, k) = x(n, k) * scale_[k] + static_cast<float>(shift + noise_ * random_.normal());
    }
    return x;
  }
  Matrix<float> backward(Matrix<float> dy) const {
    if (noise_ != 0) dy.array().rowwise() *= scale_.transpose();
    return dy;
  }

 private:
  double noise_;
  Random random_;
  Vector<float> scale_;
};

/// Dense layers with a norm and an activation each, then a dense layer to the classes.
class Mlp {
 public:
  Mlp(const MlpOptions& options, Random& random)
      : options_(options), output_(options.hidden, kClasses, deviation(options, options.hidden), random) {
    Index inputs = options.inputs;
    for (Index i = 0; i < options.depth; ++i) {
      const auto seed = static_cast<std::uint64_t>(i + 1);
      blocks_.push_back({Dense<float>(inputs, options.hidden, deviation(options, inputs), random),
                         norm_of(options),
                         {},
                         {},
                         Dropout<Matrix<float>>(options.dropout, seed),
                         NoisyUnits(options.noise, seed),
                         {},
                         {}});
      inputs = options.hidden;
    }
  }

  /// Training: the logits, [batch, classes].
  Matrix<float> forward(Matrix<float> x) {
    for (Block& block : blocks_) {
      x = block.dense.forward(std::move(x));
      if (!options_.norm_last) x = block.noise.forward(block.norm.forward(std::move(x)));
      block.before_activation = x;
      x = activate(block, std::move(x));
      if (options_.norm_last) x = block.noise.forward(block.norm.forward(std::move(x)));
      if (options_.dropout > 0) x = block.dropout.forward(std::move(x));
    }
    return output_.forward(std::move(x));
  }

  void backward(const Matrix<float>& grad_logits) {
    Matrix<float> dy = output_.backward(grad_logits);
    for (std::size_t i = blocks_.size(); i-- > 0;) {
      Block& block = blocks_[i];
      if (options_.dropout > 0) dy = block.dropout.backward(std::move(dy));
      if (options_.norm_last) dy = block.norm.backward(block.noise.backward(std::move(dy)));
      dy = is_sigmoid() ? block.sigmoid.backward(std::move(dy)) : block.relu.backward(std::move(dy));
      if (!options_.norm_last) dy = block.norm.backward(block.noise.backward(std::move(dy)));
      block.grad_dense = dy;
      if (i > 0) {
        dy = block.dense.backward(dy);
      } else {
        block.dense.backward_parameters(dy);
      }
    }
  }

  Matrix<float> infer(Matrix<float> x) const {
    for (const Block& block : blocks_) {
      x = block.dense.infer(x);
      if (!options_.norm_last) x = block.norm.infer(std::move(x));
      x = is_sigmoid() ? block.sigmoid.infer(std::move(x)) : block.relu.infer(std::move(x));
      if (options_.norm_last) x = block.norm.infer(std::move(x));
    }
    return output_.infer(x);
  }

  Parameters<float> parameters() {
    Parameters<float> all = output_.parameters();
    for (Block& block : blocks_) {
      for (const auto& p : parameters_of(block.dense, block.norm)) all.push_back(p);
    }
    return all;
  }

  /// Of a hidden layer, in a network with batch norm.
  evenkeel::BatchNorm<float>& batch_norm(Index layer) {
    return std::get<evenkeel::BatchNorm<float>>(blocks_.at(static_cast<std::size_t>(layer)).norm.layer());
  }

  /// What the activation of a hidden layer took in the last forward, [batch, hidden].
  const Matrix<float>& before_activation(Index layer) const { return at(layer).before_activation; }
  /// The gradient of a hidden layer's dense product in the last backward, [batch, hidden].
  const Matrix<float>& grad_dense(Index layer) const { return at(layer).grad_dense; }

 private:
  struct Block {
    Dense<float> dense;
    Norm<Matrix<float>> norm;
    Relu<Matrix<float>> relu;
    Sigmoid<Matrix<float>> sigmoid;
    Dropout<Matrix<float>> dropout;
    NoisyUnits noise;
    Matrix<float> before_activation, grad_dense;
  };

  static double deviation(const MlpOptions& options, Index inputs) {
    if (options.deviation > 0) return options.deviation;
    return options.activation == "relu" ? he_deviation(inputs) : glorot_deviation(inputs);
  }

  static Norm<Matrix<float>> norm_of(const MlpOptions& options) {
    namespace ek = evenkeel;
    using Any = Norm<Matrix<float>>;
    constexpr Index kGroups = 10;
    ek::BatchNormOptions batch;
    batch.affine = options.affine;
    batch.momentum = options.momentum;
    ek::LayerNormOptions layer;
    layer.affine = options.affine;
    ek::GroupNormOptions group;
    group.affine = options.affine;
    if (options.norm == "batch") return Any(ek::BatchNorm<float>(options.hidden, batch));
    if (options.norm == "layer") return Any(ek::LayerNorm<float>(options.hidden, layer));
    if (options.norm == "group") return Any(ek::GroupNorm<float>(kGroups, options.hidden, group));
    return Any({});
  }

  bool is_sigmoid() const { return options_.activation == "sigmoid"; }
  Matrix<float> activate(Block& block, Matrix<float> x) const {
    return is_sigmoid() ? block.sigmoid.forward(std::move(x)) : block.relu.forward(std::move(x));
  }
  const Block& at(Index layer) const { return blocks_.at(static_cast<std::size_t>(layer)); }

  MlpOptions options_;
  std::vector<Block> blocks_;
  Dense<float> output_;
};

}  // namespace claims
