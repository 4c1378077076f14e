#pragma once

#include <utility>
#include <vector>

#include "../kit/activations.hpp"
#include "../kit/dense.hpp"
#include "../kit/images.hpp"
#include "../kit/norm.hpp"
#include "../kit/random.hpp"

namespace digits {

using namespace kit;

constexpr Index kHidden = 100;

/// The network of Ioffe and Szegedy 2015, section 4.1: three hidden layers of 100 sigmoids, each behind a
/// dense layer and a norm, then a dense layer to the ten classes. The weights start as small random Gaussian
/// values, whatever the norm.
class Network {
 public:
  /// Each hidden layer gets its own copy of norm, which is one over kHidden features.
  Network(Index inputs, const Norm<Matrix<float>>& norm, Random& random)
      : blocks_{{Dense<float>(inputs, kHidden, kDeviation, random), norm, {}},
                {Dense<float>(kHidden, kHidden, kDeviation, random), norm, {}},
                {Dense<float>(kHidden, kHidden, kDeviation, random), norm, {}}},
        output_(kHidden, kClasses, kDeviation, random) {}

  /// Training: the logits, [batch, classes].
  Matrix<float> forward(Matrix<float> x) {
    for (Block& block : blocks_) {
      x = block.sigmoid.forward(block.norm.forward(block.dense.forward(std::move(x))));
    }
    return output_.forward(std::move(x));
  }

  void backward(const Matrix<float>& grad_logits) {
    Matrix<float> dy = output_.backward(grad_logits);
    for (std::size_t i = blocks_.size(); i-- > 0;) {
      Block& block = blocks_[i];
      dy = block.norm.backward(block.sigmoid.backward(std::move(dy)));
      if (i > 0) {
        dy = block.dense.backward(dy);
      } else {
        block.dense.backward_parameters(dy);
      }
    }
  }

  Matrix<float> infer(Matrix<float> x) const {
    for (const Block& block : blocks_) x = block.sigmoid.infer(block.norm.infer(block.dense.infer(x)));
    return output_.infer(x);
  }

  Parameters<float> parameters() {
    Parameters<float> all = output_.parameters();
    for (Block& block : blocks_) {
      for (const auto& p : parameters_of(block.dense, block.norm)) all.push_back(p);
    }
    return all;
  }

 private:
  static constexpr double kDeviation = 0.1;

  struct Block {
    Dense<float> dense;
    Norm<Matrix<float>> norm;
    Sigmoid<Matrix<float>> sigmoid;
  };

  std::vector<Block> blocks_;
  Dense<float> output_;
};

}  // namespace digits
