// The norms that tests of all layers are typed over.
#pragma once

#include <gtest/gtest.h>

#include <evenkeel/evenkeel.hpp>
#include <string>
#include <type_traits>

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
  static Shape fitting(const Shape& shape) { return shape; }
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
  static Shape fitting(const Shape& shape) { return shape; }
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
  static Shape fitting(const Shape& shape) { return shape; }
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
  static Shape fitting(const Shape& shape) { return shape; }
};

struct Instance : WithBeta {
  using Layer = ek::InstanceNorm<float>;
  using Options = ek::InstanceNormOptions;
  static Options defaults() {
    Options options;
    options.affine = true;
    return options;
  }
  static Layer make(Options options = defaults()) { return Layer(6, options); }
  static std::string name() { return "evenkeel::InstanceNorm::"; }
  static std::string text() {
    return "InstanceNorm(6, epsilon=1e-05, momentum=0.1, axis=1, batch_axis=0, affine=true, "
           "track_running_stats=false, unbiased_running_var=true, gamma_offset=0)";
  }
  static IndexMap map(const Shape& shape) { return instance_norm_map(shape, Eigen::RowMajor); }
  /// A channel of a sample needs two places.
  static Shape fitting(Shape shape) {
    if (shape.size() == 2) shape.push_back(2);
    return shape;
  }
};

struct TrackingInstance : Instance {
  static Options defaults() {
    Options options = Instance::defaults();
    options.track_running_stats = true;
    return options;
  }
  static Layer make(Options options = defaults()) { return Layer(6, options); }
  static std::string text() {
    return "InstanceNorm(6, epsilon=1e-05, momentum=0.1, axis=1, batch_axis=0, affine=true, "
           "track_running_stats=true, unbiased_running_var=true, gamma_offset=0)";
  }
};

using EveryNorm = ::testing::Types<Batch, OneLayer, Group, RootMeanSquare, Instance, TrackingInstance>;
struct NormName {
  template <typename Norm>
  static std::string GetName(int) {
    const std::string scoped = Norm::name();  // evenkeel::BatchNorm::
    return (std::is_same_v<Norm, TrackingInstance> ? "Tracking" : "") + scoped.substr(10, scoped.size() - 12);
  }
};

}  // namespace ek_test
