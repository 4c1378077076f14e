#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "../kit/activations.hpp"
#include "../kit/convolution.hpp"
#include "../kit/dense.hpp"
#include "../kit/images.hpp"
#include "../kit/random.hpp"
#include "../residual/block.hpp"

namespace claims {

using namespace kit;

/// Centre and sides, in tenths of a scene's side: numbers of a size that a network's first outputs are near.
using Box = Eigen::Array4f;

/// Scenes of 56 x 56 pixels with one digit each.
struct Scenes {
  Tensor<float> pixels;  // [N, 1, 56, 56]
  std::vector<Index> labels;
  Matrix<float> boxes;  // [N, 4]
};

constexpr Index kScene = 56;

/// A digit in 24 to 32 of the 56 rows and columns, at any place, on noise that covers the whole scene. The box is the
/// smallest one around the ink. Fainter ink is left out, so that the digit's own noise does not show where it is.
template <typename Pixels>
Box paint_scene(const Pixels& digit, Index side, Random& random, float* scene) {
  constexpr float kFaint = 0.3F, kNoise = 0.2F;
  const auto size = static_cast<Index>(random.uniform(24, 33));
  const auto place = [&] {
    return static_cast<Index>(random.uniform(0, static_cast<double>(kScene - size + 1)));
  };
  const Index top = place(), left = place();
  const auto ink = [&](Index i, Index j) { return digit[i * side + j] < kFaint ? 0 : digit[i * side + j]; };
  for (Index k = 0; k < kScene * kScene; ++k) {
    scene[k] = kNoise * static_cast<float>(random.uniform(0, 1));
  }
  Index first_row = kScene, last_row = -1, first_column = kScene, last_column = -1;
  for (Index i = 0; i < size; ++i) {
    for (Index j = 0; j < size; ++j) {
      // Bilinear, corner on corner.
      const float y = static_cast<float>(i * (side - 1)) / static_cast<float>(size - 1);
      const float x = static_cast<float>(j * (side - 1)) / static_cast<float>(size - 1);
      const Index row = std::min(static_cast<Index>(y), side - 2),
                  column = std::min(static_cast<Index>(x), side - 2);
      const float v = y - static_cast<float>(row), u = x - static_cast<float>(column);
      const float value = (1 - v) * ((1 - u) * ink(row, column) + u * ink(row, column + 1)) +
                          v * ((1 - u) * ink(row + 1, column) + u * ink(row + 1, column + 1));
      float& pixel = scene[(top + i) * kScene + left + j];
      pixel = std::min(1.F, pixel + value);
      if (value < kFaint) continue;
      first_row = std::min(first_row, top + i);
      last_row = std::max(last_row, top + i);
      first_column = std::min(first_column, left + j);
      last_column = std::max(last_column, left + j);
    }
  }
  if (last_row < 0) return Box::Constant(5);  // nothing but faint ink
  const auto tenths = [](Index pixels) { return 10 * static_cast<float>(pixels) / kScene; };
  return {tenths(first_column + last_column + 1) / 2, tenths(first_row + last_row + 1) / 2,
          tenths(last_column + 1 - first_column), tenths(last_row + 1 - first_row)};
}

inline Scenes paint_scenes(const Images& digits, Random& random) {
  Scenes scenes{Tensor<float>(digits.count(), 1, kScene, kScene), digits.labels,
                Matrix<float>(digits.count(), 4)};
  for (Index n = 0; n < digits.count(); ++n) {
    scenes.boxes.row(n) =
        paint_scene(digits.pixels.row(n), digits.side(), random, scenes.pixels.data() + n * kScene * kScene)
            .matrix()
            .transpose();
  }
  return scenes;
}

/// The area that two boxes share, over the area that they cover together: 1 for equal boxes, 0 for apart ones.
inline double overlap(const Box& a, const Box& b) {
  const auto sides = [](const Box& box) { return box.tail<2>().max(0).eval(); };
  const auto low = [&](const Box& box) { return (box.head<2>() - sides(box) / 2).eval(); };
  const auto high = [&](const Box& box) { return (box.head<2>() + sides(box) / 2).eval(); };
  const float both = (high(a).min(high(b)) - low(a).max(low(b))).max(0).prod();
  const float either = sides(a).prod() + sides(b).prod() - both;
  return either > 0 ? both / either : 0;
}

///   loss = mean over n of the sum over k of huber(p[n, k] - b[n, k]),   huber(d) = d^2 / 2 where |d| < 1, |d| - 1/2 else
///
/// Source  Girshick 2015, equation 3, the smooth L1 loss.
template <typename Scalar>
class BoxLoss {
 public:
  Scalar forward(const Matrix<Scalar>& boxes, const Matrix<Scalar>& truth) {
    difference_ = boxes - truth;
    const auto size = difference_.array().abs();
    return (size < 1).select(size.square() / 2, size - Scalar(0.5)).sum() / static_cast<Scalar>(boxes.rows());
  }
  Matrix<Scalar> backward() const {
    return difference_.cwiseMax(-1).cwiseMin(1) / static_cast<Scalar>(difference_.rows());
  }

 private:
  Matrix<Scalar> difference_;
};

/// Four convolutions with stride 2, each with a norm and a ReLU, and a dense layer to the classes and the box.
class DetectionNetwork {
 public:
  DetectionNetwork(const std::string& norm, Random& random)
      : dense_(kPlaces * kChannels.back(), kClasses + 4, glorot_deviation(kPlaces * kChannels.back()),
               random) {
    Index inputs = 1, side = kScene;
    for (Index outputs : kChannels) {
      side = (side + 1) / 2;
      convolutions_.emplace_back(inputs, outputs, side, ConvolutionOptions{3, 2, 1}, norm, random);
      inputs = outputs;
    }
    relus_.resize(convolutions_.size());
  }

  /// Training: logits and boxes, [N, classes + 4].
  Matrix<float> forward(Tensor<float> x) {
    for (std::size_t i = 0; i < relus_.size(); ++i)
      x = relus_[i].forward(convolutions_[i].forward(std::move(x)));
    shape_ = x.dimensions();
    return dense_.forward(as_rows(x));
  }

  Matrix<float> infer(Tensor<float> x) const {
    for (std::size_t i = 0; i < relus_.size(); ++i) x = relus_[i].infer(convolutions_[i].infer(x));
    return dense_.infer(as_rows(x));
  }

  void backward(const Matrix<float>& dy) {
    const Matrix<float> rows = dense_.backward(dy);
    Tensor<float> dx(shape_);
    flat(dx) = flat(rows);
    for (std::size_t i = relus_.size(); i-- > 1;) {
      dx = convolutions_[i].backward(relus_[i].backward(std::move(dx)));
    }
    convolutions_[0].backward_parameters(relus_[0].backward(std::move(dx)));
  }

  Parameters<float> parameters() {
    Parameters<float> all = dense_.parameters();
    for (auto& convolution : convolutions_) {
      for (const auto& p : convolution.parameters()) all.push_back(p);
    }
    return all;
  }

 private:
  static constexpr std::array<Index, 4> kChannels = {8, 16, 32, 32};
  static constexpr Index kPlaces = 4 * 4;  // that are left of 56 x 56

  static Matrix<float> as_rows(const Tensor<float>& x) {
    return Eigen::Map<const Matrix<float>>(x.data(), x.dimension(0), x.size() / x.dimension(0));
  }

  std::vector<residual::NormedConvolution<float>> convolutions_;
  std::vector<Relu<Tensor<float>>> relus_;
  Dense<float> dense_;
  Tensor<float>::Dimensions shape_;
};

}  // namespace claims
