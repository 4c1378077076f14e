#pragma once

#include <evenkeel/evenkeel.hpp>
#include <optional>
#include <string>
#include <utility>

#include "../kit/activations.hpp"
#include "../kit/convolution.hpp"
#include "../kit/norm.hpp"
#include "../kit/random.hpp"

namespace residual {

using namespace kit;

/// A norm of [N, channels, side, side] by its name: none, batch, layer or group.
///
/// Layer norm takes its statistics over all channels and pixels of an image, as Ba et al. 2016 define it over all units
/// of a layer. Statistics over the channels of each pixel alone would scale up the pixels of an empty background.
/// Group norm has four channels a group.
template <typename Scalar>
Norm<Tensor<Scalar>> make_norm(const std::string& name, Index channels, Index side) {
  using Any = Norm<Tensor<Scalar>>;
  if (name == "batch") return Any(evenkeel::BatchNorm<Scalar>(channels));
  if (name == "layer") return Any(evenkeel::LayerNorm<Scalar>({channels, side, side}));
  if (name == "group") return Any(evenkeel::GroupNorm<Scalar>(channels / 4, channels));
  return Any({});
}

/// A convolution with a norm behind it.
template <typename Scalar>
class NormedConvolution {
 public:
  NormedConvolution(Index inputs, Index outputs, Index side, const ConvolutionOptions& options,
                    const std::string& norm, Random& random)
      : convolution_(inputs, outputs, options, random), norm_(make_norm<Scalar>(norm, outputs, side)) {}

  Tensor<Scalar> forward(Tensor<Scalar> x) { return norm_.forward(convolution_.forward(std::move(x))); }
  Tensor<Scalar> infer(const Tensor<Scalar>& x) const { return norm_.infer(convolution_.infer(x)); }
  Tensor<Scalar> backward(Tensor<Scalar> dy) { return convolution_.backward(norm_.backward(std::move(dy))); }
  /// Without dx, which nobody needs of a network's first layer.
  void backward_parameters(Tensor<Scalar> dy) {
    convolution_.backward_parameters(norm_.backward(std::move(dy)));
  }

  Parameters<Scalar> parameters() { return parameters_of(convolution_, norm_); }
  double norm_seconds() const { return norm_.seconds(); }

 private:
  Convolution<Scalar> convolution_;
  Norm<Tensor<Scalar>> norm_;
};

/// y = relu(norm(conv(relu(norm(conv(x))))) + shortcut(x))
///
/// The shortcut is x itself, or norm(conv 1x1(x)) where the block changes the shape. Source: He et al. 2016, figure 2
/// and section 3.3 (B).
template <typename Scalar>
class Block {
 public:
  /// side: of y.
  Block(Index inputs, Index outputs, Index side, Index stride, const std::string& norm, Random& random)
      : first_(inputs, outputs, side, {3, stride, 1}, norm, random),
        second_(outputs, outputs, side, {3, 1, 1}, norm, random) {
    if (inputs != outputs || stride != 1) {
      projection_.emplace(inputs, outputs, side, ConvolutionOptions{1, stride, 0}, norm, random);
    }
  }

  Tensor<Scalar> forward(const Tensor<Scalar>& x) {
    Tensor<Scalar> y = second_.forward(inner_relu_.forward(first_.forward(x)));
    flat(y) += flat(projection_ ? projection_->forward(x) : x);
    return outer_relu_.forward(std::move(y));
  }

  Tensor<Scalar> infer(const Tensor<Scalar>& x) const {
    Tensor<Scalar> y = second_.infer(inner_relu_.infer(first_.infer(x)));
    flat(y) += flat(projection_ ? projection_->infer(x) : x);
    return outer_relu_.infer(std::move(y));
  }

  Tensor<Scalar> backward(Tensor<Scalar> dy) {
    dy = outer_relu_.backward(std::move(dy));
    Tensor<Scalar> dx = first_.backward(inner_relu_.backward(second_.backward(dy)));
    flat(dx) += flat(projection_ ? projection_->backward(dy) : dy);
    return dx;
  }

  Parameters<Scalar> parameters() {
    return projection_ ? parameters_of(first_, second_, *projection_) : parameters_of(first_, second_);
  }

  double norm_seconds() const {
    return first_.norm_seconds() + second_.norm_seconds() + (projection_ ? projection_->norm_seconds() : 0);
  }

 private:
  NormedConvolution<Scalar> first_, second_;
  std::optional<NormedConvolution<Scalar>> projection_;
  Relu<Tensor<Scalar>> inner_relu_, outer_relu_;
};

}  // namespace residual
