#pragma once

#include <algorithm>
#include <cmath>
#include <unsupported/Eigen/CXX11/Tensor>

// Plain loops, as norms written by hand are. Each stands for one call of evenkeel, in main.cpp.

namespace loops {

using Eigen::Index;
using Vector = Eigen::ArrayXf;
using Tensor = Eigen::Tensor<float, 3>;  // column-major: channels, height, width
using Rows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// Group norm and ReLU of one sample. The variance is E[x^2] - E[x]^2, with n - 1.
inline void group_norm_relu(const Tensor& x, Index groups, const Vector& gamma, const Vector& beta,
                            Tensor& y) {
  const Index height = x.dimension(1), width = x.dimension(2), per_group = x.dimension(0) / groups;
  const float n = static_cast<float>(per_group * height * width);
  for (Index g = 0; g < groups; ++g) {
    float sum = 0, squares = 0;
    for (Index w = 0; w < width; ++w) {
      for (Index h = 0; h < height; ++h) {
        for (Index c = g * per_group; c < (g + 1) * per_group; ++c) {
          sum += x(c, h, w);
          squares += x(c, h, w) * x(c, h, w);
        }
      }
    }
    const float mean = sum / n;
    const float variance = (squares - n * mean * mean) / (n - 1);
    const float inv_std = 1 / std::sqrt(variance + 1e-5f);
    for (Index w = 0; w < width; ++w) {
      for (Index h = 0; h < height; ++h) {
        for (Index c = g * per_group; c < (g + 1) * per_group; ++c) {
          const float z = (x(c, h, w) - mean) * inv_std * gamma[c] + beta[c];
          y(c, h, w) = z < 0 ? 0 : z;
        }
      }
    }
  }
}

/// Layer norm of alpha x + skip.
inline void skip_layer_norm(const Rows& x, float alpha, const Rows& skip, const Vector& gamma,
                            const Vector& beta, Rows& sum, Rows& y) {
  const float n = static_cast<float>(x.cols());
  for (Index r = 0; r < x.rows(); ++r) {
    float mean = 0, variance = 0;
    for (Index i = 0; i < x.cols(); ++i) {
      sum(r, i) = alpha * x(r, i) + skip(r, i);
      mean += sum(r, i);
    }
    mean /= n;
    for (Index i = 0; i < x.cols(); ++i) variance += (sum(r, i) - mean) * (sum(r, i) - mean);
    const float inv_std = 1 / std::sqrt(variance / n + 1e-5f);
    for (Index i = 0; i < x.cols(); ++i) y(r, i) = (sum(r, i) - mean) * inv_std * gamma[i] + beta[i];
  }
}

/// Inference of batch norm and ReLU, channels last.
inline void batch_norm_relu(const Rows& x, const Vector& mean, const Vector& variance, const Vector& gamma,
                            const Vector& beta, Rows& y) {
  for (Index n = 0; n < x.rows(); ++n) {
    for (Index c = 0; c < x.cols(); ++c) {
      const float z = (x(n, c) - mean[c]) / std::sqrt(variance[c] + 1e-5f) * gamma[c] + beta[c];
      y(n, c) = std::max(z, 0.0f);
    }
  }
}

}  // namespace loops
