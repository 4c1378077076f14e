#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "../kit/activations.hpp"
#include "../kit/dense.hpp"
#include "../kit/dropout.hpp"
#include "../kit/images.hpp"
#include "../kit/pooling.hpp"
#include "../kit/random.hpp"
#include "block.hpp"

namespace residual {

/// Images of side x side pixels through a convolution, three stages of blocks with 8, 16 and 32 channels, the second and
/// third of which halve the sides, the mean over all places, dropout, and a dense layer to the classes.
class Network {
 public:
  /// depth: blocks a stage; norm: a name that make_norm() knows.
  Network(Index side, Index depth, const std::string& norm, const Dropout<Matrix<float>>& dropout,
          Random& random)
      : stem_(1, kChannels, side, {3, 1, 1}, norm, random),
        dropout_(dropout),
        dense_(kChannels << (kStages - 1), kClasses, he_deviation(kChannels << (kStages - 1)), random) {
    Index inputs = kChannels;
    for (Index stage = 0; stage < kStages; ++stage) {
      const Index outputs = kChannels << stage;
      if (stage > 0) side = (side + 1) / 2;
      for (Index i = 0; i < depth; ++i) {
        blocks_.emplace_back(inputs, outputs, side, stage > 0 && i == 0 ? 2 : 1, norm, random);
        inputs = outputs;
      }
    }
  }

  /// Training: from [N, 1, side, side] to the logits, [N, classes].
  Matrix<float> forward(Tensor<float> x) {
    x = stem_relu_.forward(stem_.forward(std::move(x)));
    for (Block<float>& block : blocks_) x = block.forward(x);
    return dense_.forward(dropout_.forward(pooling_.forward(x)));
  }

  Matrix<float> infer(const Tensor<float>& images) const {
    Tensor<float> x = stem_relu_.infer(stem_.infer(images));
    for (const Block<float>& block : blocks_) x = block.infer(x);
    return dense_.infer(dropout_.infer(pooling_.infer(x)));
  }

  void backward(const Matrix<float>& grad_logits) {
    Tensor<float> dy = pooling_.backward(dropout_.backward(dense_.backward(grad_logits)));
    for (std::size_t i = blocks_.size(); i-- > 0;) dy = blocks_[i].backward(std::move(dy));
    stem_.backward_parameters(stem_relu_.backward(std::move(dy)));
  }

  Parameters<float> parameters() {
    Parameters<float> all = parameters_of(stem_, dense_);
    for (Block<float>& block : blocks_) {
      for (const auto& p : block.parameters()) all.push_back(p);
    }
    return all;
  }

  /// What all norms have taken of forward and backward so far.
  double norm_seconds() const {
    double seconds = stem_.norm_seconds();
    for (const Block<float>& block : blocks_) seconds += block.norm_seconds();
    return seconds;
  }

 private:
  static constexpr Index kChannels = 8, kStages = 3;

  NormedConvolution<float> stem_;
  Relu<Tensor<float>> stem_relu_;
  std::vector<Block<float>> blocks_;
  GlobalAveragePooling<float> pooling_;
  Dropout<Matrix<float>> dropout_;
  Dense<float> dense_;
};

}  // namespace residual
