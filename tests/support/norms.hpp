// The norms that tests of all layers are typed over.
#pragma once

#include <gtest/gtest.h>

#include <evenkeel/evenkeel.hpp>
#include <string>

#include "shape.hpp"

namespace ek_test {

namespace ek = evenkeel;

// Each norm over 6 channels on axis 1 of N, C, W.
struct WithBeta {
  static constexpr bool kHasBeta = true;
};

struct Batch : WithBeta {
  using Layer = ek::BatchNorm<float>;
  using Options = ek::BatchNormOptions;
  static Layer make(Options options = {}) { return Layer(6, options); }
  static std::string name() { return "evenkeel::BatchNorm::"; }
  static std::string text() {
    return "BatchNorm(6, epsilon=1e-05, momentum=0.1, axis=1, affine=true, track_running_stats=true, "
           "unbiased_running_var=true, gamma_offset=0)";
  }
  static IndexMap map(const Shape& shape) { return batch_norm_map(shape, Eigen::RowMajor); }
};

struct OneLayer : WithBeta {
  using Layer = ek::LayerNorm<float>;
  using Options = ek::LayerNormOptions;
  static Options defaults() {
    Options options;
    options.axis = 1;
    return options;
  }
  static Layer make(Options options = defaults()) { return Layer(6, options); }
  static std::string name() { return "evenkeel::LayerNorm::"; }
  static std::string text() {
    return "LayerNorm([6], epsilon=1e-05, axis=1, affine=true, bias=true, gamma_offset=0)";
  }
  static IndexMap map(const Shape& shape) { return layer_norm_map(shape, Eigen::RowMajor, 1); }
};

struct Group : WithBeta {
  using Layer = ek::GroupNorm<float>;
  using Options = ek::GroupNormOptions;
  static Layer make(Options options = {}) { return Layer(2, 6, options); }
  static std::string name() { return "evenkeel::GroupNorm::"; }
  static std::string text() {
    return "GroupNorm(2, 6, epsilon=1e-05, axis=1, batch_axis=0, affine=true, gamma_offset=0)";
  }
  static IndexMap map(const Shape& shape) { return group_norm_map(shape, Eigen::RowMajor, 2); }
};

struct RootMeanSquare {
  static constexpr bool kHasBeta = false;
  using Layer = ek::RMSNorm<float>;
  using Options = ek::RMSNormOptions;
  static Options defaults() {
    Options options;
    options.axis = 1;
    return options;
  }
  static Layer make(Options options = defaults()) { return Layer(6, options); }
  static std::string name() { return "evenkeel::RMSNorm::"; }
  static std::string text() { return "RMSNorm([6], epsilon=1e-06, axis=1, affine=true, gamma_offset=0)"; }
  static IndexMap map(const Shape& shape) { return rms_norm_map(shape, Eigen::RowMajor, 1); }
};

using EveryNorm = ::testing::Types<Batch, OneLayer, Group, RootMeanSquare>;
struct NormName {
  template <typename Norm>
  static std::string GetName(int) {
    const std::string scoped = Norm::name();  // evenkeel::BatchNorm::
    return scoped.substr(10, scoped.size() - 12);
  }
};

}  // namespace ek_test
