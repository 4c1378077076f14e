#pragma once

#include <evenkeel/layer_norm.hpp>

/// A layer that gives each column of a matrix mean 0 and variance 1.
class Standardize {
 public:
  explicit Standardize(Eigen::Index rows);
  Eigen::MatrixXf operator()(const Eigen::MatrixXf& columns) const;

 private:
  evenkeel::LayerNorm<float> norm_;
};
