#pragma once

#include <Eigen/Core>
#include <array>
#include <cstddef>
#include <vector>

#include "data.hpp"
#include "random.hpp"

namespace digits {

/// What an optimizer needs, under the names that every evenkeel layer uses.
struct Parameter {
  const char* name;
  Eigen::Map<Eigen::ArrayXf> value, grad;
};

/// y = x W + b, with x: [batch, inputs], W: [inputs, outputs], y: [batch, outputs].
class Dense {
 public:
  Dense(Index inputs, Index outputs, double deviation, Random& random)
      : weights_(inputs, outputs),
        grad_weights_(Matrix::Zero(inputs, outputs)),
        bias_(Eigen::RowVectorXf::Zero(outputs)),
        grad_bias_(bias_) {
    for (float& w : weights_.reshaped()) w = static_cast<float>(deviation * random.normal());
  }

  void infer(const Matrix& x, Matrix& y) const {
    y.noalias() = x * weights_;
    y.rowwise() += bias_;
  }
  void backward(const Matrix& x, const Matrix& dy) {
    grad_weights_.noalias() = x.transpose() * dy;
    grad_bias_ = dy.colwise().sum();
  }
  Matrix grad_input(const Matrix& dy) const { return dy * weights_.transpose(); }

  std::array<Parameter, 2> parameters() {
    return {{{"weights", {weights_.data(), weights_.size()}, {grad_weights_.data(), grad_weights_.size()}},
             {"bias", {bias_.data(), bias_.size()}, {grad_bias_.data(), grad_bias_.size()}}}};
  }

 private:
  Matrix weights_, grad_weights_;
  Eigen::RowVectorXf bias_, grad_bias_;
};

/// Stands where the others have a norm.
struct NoNorm {
  void forward(const Matrix& x, Matrix& y) { y = x; }
  void backward(const Matrix&, const Matrix& dy, Matrix& dx) { dx = dy; }
  void infer(const Matrix& x, Matrix& y) const { y = x; }
  std::array<Parameter, 0> parameters() { return {}; }
};

constexpr Index kHidden = 100;

/// The network of Ioffe and Szegedy 2015, section 4.1: three hidden layers of 100 sigmoids, each behind a
/// dense layer and a norm, then a dense layer to the ten classes. The weights start as small random Gaussian
/// values, whatever the norm.
template <typename Norm>
class Network {
 public:
  /// Each hidden layer gets its own copy of norm, which is one over kHidden features.
  Network(Index inputs, const Norm& norm, Random& random)
      : blocks_{{Dense(inputs, kHidden, kDeviation, random), norm, {}, {}, {}},
                {Dense(kHidden, kHidden, kDeviation, random), norm, {}, {}, {}},
                {Dense(kHidden, kHidden, kDeviation, random), norm, {}, {}, {}}},
        output_(kHidden, kClasses, kDeviation, random) {}

  /// Training: the logits, [batch, classes].
  const Matrix& forward(const Matrix& images) {
    const Matrix* x = &images;
    for (Block& block : blocks_) {
      block.input = *x;
      block.dense.infer(block.input, block.sum);
      block.norm.forward(block.sum, block.output);
      block.output = block.output.array().logistic();
      x = &block.output;
    }
    output_.infer(*x, logits_);
    return logits_;
  }

  void backward(const Matrix& grad_logits) {
    output_.backward(blocks_.back().output, grad_logits);
    Matrix grad = output_.grad_input(grad_logits);
    for (std::size_t i = blocks_.size(); i-- > 0;) {
      Block& block = blocks_[i];
      grad.array() *= block.output.array() * (1 - block.output.array());
      block.norm.backward(block.sum, grad, grad);
      block.dense.backward(block.input, grad);
      if (i > 0) grad = block.dense.grad_input(grad);
    }
  }

  Matrix infer(const Matrix& images) const {
    Matrix x = images, sum;
    for (const Block& block : blocks_) {
      block.dense.infer(x, sum);
      block.norm.infer(sum, x);
      x = x.array().logistic();
    }
    output_.infer(x, sum);
    return sum;
  }

  template <typename Visit>
  void for_each_layer(Visit visit) {
    for (Block& block : blocks_) {
      visit(block.dense);
      visit(block.norm);
    }
    visit(output_);
  }

 private:
  static constexpr double kDeviation = 0.1;

  struct Block {
    Dense dense;
    Norm norm;
    Matrix input, sum, output;
  };

  std::vector<Block> blocks_;
  Dense output_;
  Matrix logits_;
};

}  // namespace digits
