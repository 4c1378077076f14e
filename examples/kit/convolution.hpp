#pragma once

#include <algorithm>
#include <type_traits>
#include <utility>

#include "initial.hpp"
#include "random.hpp"
#include "types.hpp"

namespace kit {

struct ConvolutionOptions {
  Index kernel = 3, stride = 1, padding = 1;
};

///   y[n, o, i, j] = b[o] + sum over c, u, v of W[o, c, u, v] x[n, c, i stride + u - padding, j stride + v - padding]
///
/// x is 0 outside. With one column for each place (i, j), which holds what the sum takes of image n (im2col), that is
/// one product an image:
///
///   y[n] = W columns + b,   columns: [C kernel kernel, H' W']
///
///   dW = sum over n of dy[n] columns^T,   db = sum of dy over n, i, j,   dcolumns = W^T dy[n]
///
/// and dx adds up what dcolumns has of each pixel (col2im).
///
/// Shapes  x: [N, C, H, W]; W: [O, C kernel kernel]; b: [O]; y: [N, O, H', W'], H' = (H + 2 padding - kernel) / stride + 1.
template <typename Scalar>
class Convolution {
 public:
  Convolution(Index inputs, Index outputs, const ConvolutionOptions& options, Random& random)
      : options_(options),
        weights_(normal_matrix<Scalar>(outputs, inputs * options.kernel * options.kernel,
                                       he_deviation(inputs * options.kernel * options.kernel), random)),
        grad_weights_(Matrix<Scalar>::Zero(weights_.rows(), weights_.cols())),
        bias_(Vector<Scalar>::Zero(outputs)),
        grad_bias_(bias_) {}

  Tensor<Scalar> forward(Tensor<Scalar> x) {
    x_ = std::move(x);
    return infer(x_);
  }

  Tensor<Scalar> infer(const Tensor<Scalar>& x) const {
    const Shape shape(x, options_);
    Tensor<Scalar> y(x.dimension(0), weights_.rows(), shape.y_height, shape.y_width);
    Matrix<Scalar> columns(weights_.cols(), shape.places());
    for (Index n = 0; n < x.dimension(0); ++n) {
      im2col(shape, image(x, n), columns);
      auto y_n = planes(y, n);
      y_n.noalias() = weights_ * columns;
      y_n.colwise() += bias_.matrix();
    }
    return y;
  }

  Tensor<Scalar> backward(const Tensor<Scalar>& dy) {
    backward_parameters(dy);
    const Shape shape(x_, options_);
    Tensor<Scalar> dx(x_.dimensions());
    flat(dx).setZero();
    Matrix<Scalar> dcolumns(weights_.cols(), shape.places());
    for (Index n = 0; n < dy.dimension(0); ++n) {
      dcolumns.noalias() = weights_.transpose() * planes(dy, n);
      col2im(shape, dcolumns, image(dx, n));
    }
    return dx;
  }

  /// Without dx, which nobody needs of a network's first layer.
  void backward_parameters(const Tensor<Scalar>& dy) {
    const Shape shape(x_, options_);
    Matrix<Scalar> columns(weights_.cols(), shape.places());
    grad_weights_.setZero();
    grad_bias_.setZero();
    for (Index n = 0; n < dy.dimension(0); ++n) {
      im2col(shape, image(x_, n), columns);
      const auto dy_n = planes(dy, n);
      grad_weights_.noalias() += dy_n * columns.transpose();
      grad_bias_ += dy_n.rowwise().sum().array();
    }
  }

  Parameters<Scalar> parameters() {
    return {parameter("weights", weights_, grad_weights_), parameter("bias", bias_, grad_bias_)};
  }

 private:
  struct Shape {
    Index channels, height, width, y_height, y_width;

    Shape(const Tensor<Scalar>& x, const ConvolutionOptions& options)
        : channels(x.dimension(1)),
          height(x.dimension(2)),
          width(x.dimension(3)),
          y_height((height + 2 * options.padding - options.kernel) / options.stride + 1),
          y_width((width + 2 * options.padding - options.kernel) / options.stride + 1) {}

    Index places() const { return y_height * y_width; }
  };

  /// Image n as a matrix of one row a channel.
  template <typename T>
  static auto planes(T& tensor, Index n) {
    using Planes = std::conditional_t<std::is_const_v<T>, const Matrix<Scalar>, Matrix<Scalar>>;
    const Index channels = tensor.dimension(1), places = tensor.dimension(2) * tensor.dimension(3);
    return Eigen::Map<Planes>(tensor.data() + n * channels * places, channels, places);
  }
  template <typename T>
  static auto image(T& tensor, Index n) {
    return tensor.data() + n * (tensor.size() / tensor.dimension(0));
  }

  /// Pixels of one image row that stand side by side in a row of columns: columns[column + k] is
  /// pixel[pixel + k stride] for k below count.
  struct Run {
    Index column, pixel, count;
  };

  template <typename Visit>
  void for_each_run(const Shape& shape, Visit visit) const {
    const auto [kernel, stride, padding] = options_;
    Index row = 0;
    for (Index c = 0; c < shape.channels; ++c) {
      for (Index u = 0; u < kernel; ++u) {
        for (Index v = 0; v < kernel; ++v, ++row) {
          // j from begin to end are those with a pixel at j stride + v - padding.
          const Index begin = (std::max<Index>(padding - v, 0) + stride - 1) / stride;
          const Index end = std::min(shape.y_width, (shape.width + padding - v + stride - 1) / stride);
          if (begin >= end) continue;
          for (Index i = 0; i < shape.y_height; ++i) {
            const Index y = i * stride + u - padding, x = begin * stride + v - padding;
            if (y < 0 || y >= shape.height) continue;
            visit(Run{row * shape.places() + i * shape.y_width + begin,
                      (c * shape.height + y) * shape.width + x, end - begin});
          }
        }
      }
    }
  }

  void im2col(const Shape& shape, const Scalar* pixels, Matrix<Scalar>& columns) const {
    const Index stride = options_.stride;
    columns.setZero();
    for_each_run(shape, [&](const Run& run) {
      Scalar* to = columns.data() + run.column;
      const Scalar* from = pixels + run.pixel;
      if (stride == 1) {
        std::copy(from, from + run.count, to);
      } else {
        for (Index k = 0; k < run.count; ++k) to[k] = from[k * stride];
      }
    });
  }

  void col2im(const Shape& shape, const Matrix<Scalar>& columns, Scalar* pixels) const {
    const Index stride = options_.stride;
    for_each_run(shape, [&](const Run& run) {
      const Scalar* from = columns.data() + run.column;
      Scalar* to = pixels + run.pixel;
      if (stride == 1) {
        Eigen::Map<Vector<Scalar>>(to, run.count) += Eigen::Map<const Vector<Scalar>>(from, run.count);
      } else {
        for (Index k = 0; k < run.count; ++k) to[k * stride] += from[k];
      }
    });
  }

  ConvolutionOptions options_;
  Matrix<Scalar> weights_, grad_weights_;
  Vector<Scalar> bias_, grad_bias_;
  Tensor<Scalar> x_;
};

}  // namespace kit
