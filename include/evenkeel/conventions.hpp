// SPDX-License-Identifier: MIT
#pragma once

#include "evenkeel/base/config.hpp"
#if EVENKEEL_IS_SUPPORTED

#include <optional>

#include "evenkeel/batch_norm.hpp"
#include "evenkeel/group_norm.hpp"
#include "evenkeel/instance_norm.hpp"
#include "evenkeel/layer_norm.hpp"
#include "evenkeel/rms_norm.hpp"

// Options by the conventions of other libraries: their defaults, their order of arguments, their momentum and their
// running variance. Example: ek::BatchNorm<float> bn(64, ek::keras::batch_norm()).

/// The options of torch.nn. Except for the eps of RMSNorm, they are the defaults here too.
///
/// Source  https://docs.pytorch.org/docs/stable/nn.html#normalization-layers
namespace evenkeel::pytorch {
EVENKEEL_BEGIN

/// BatchNorm1d, BatchNorm2d and BatchNorm3d.
inline BatchNormOptions batch_norm(double eps = 1e-5, std::optional<double> momentum = 0.1,
                                   bool affine = true, bool track_running_stats = true) {
  return {eps, momentum, 1, affine, track_running_stats, true};
}
/// LayerNorm, over the last axes.
inline LayerNormOptions layer_norm(double eps = 1e-5, bool elementwise_affine = true, bool bias = true) {
  return {eps, std::nullopt, elementwise_affine, bias};
}
/// GroupNorm.
inline GroupNormOptions group_norm(double eps = 1e-5, bool affine = true) { return {eps, 1, 0, affine}; }
/// RMSNorm, over the last axes. Without an eps PyTorch uses the machine epsilon of x's type. The default here is that of
/// float.
inline RMSNormOptions rms_norm(double eps = 0x1p-23, bool elementwise_affine = true) {
  return {eps, std::nullopt, elementwise_affine};
}
/// InstanceNorm1d, InstanceNorm2d and InstanceNorm3d.
inline InstanceNormOptions instance_norm(double eps = 1e-5, std::optional<double> momentum = 0.1,
                                         bool affine = false, bool track_running_stats = false) {
  return {eps, momentum, 1, 0, affine, track_running_stats, true};
}

EVENKEEL_END
}  // namespace evenkeel::pytorch

/// The options of keras.layers, version 3: channels on the last axis. momentum is the weight of the old statistics. The
/// moving variance averages the biased variance.
///
/// Source  https://keras.io/api/layers/normalization_layers
namespace evenkeel::keras {
EVENKEEL_BEGIN

/// BatchNormalization.
inline BatchNormOptions batch_norm(Index axis = -1, double momentum = 0.99, double epsilon = 1e-3) {
  return {epsilon, 1 - momentum, axis, true, true, false};
}
/// LayerNormalization. If there are several axes, axis is the first one.
inline LayerNormOptions layer_norm(Index axis = -1, double epsilon = 1e-3) {
  return {epsilon, axis, true, true};
}
/// RMSNormalization. If there are several axes, axis is the first one.
inline RMSNormOptions rms_norm(Index axis = -1, double epsilon = 1e-6) { return {epsilon, axis, true}; }
/// GroupNormalization.
inline GroupNormOptions group_norm(Index axis = -1, double epsilon = 1e-3) {
  return {epsilon, axis, 0, true};
}

EVENKEEL_END
}  // namespace evenkeel::keras

/// The attributes of ONNX's operators. momentum is the weight of the old statistics. The running variance averages
/// the biased variance.
///
/// Source  https://onnx.ai/onnx/operators
namespace evenkeel::onnx {
EVENKEEL_BEGIN

/// BatchNormalization, opset 15.
inline BatchNormOptions batch_norm(double epsilon = 1e-5, double momentum = 0.9) {
  return {epsilon, 1 - momentum, 1, true, true, false};
}
/// LayerNormalization, opset 17. normalized_shape is all extents of x from the operator's axis on.
inline LayerNormOptions layer_norm(double epsilon = 1e-5) { return {epsilon, std::nullopt, true, true}; }
/// RMSNormalization, opset 23, with the same normalized_shape.
inline RMSNormOptions rms_norm(double epsilon = 1e-5) { return {epsilon, std::nullopt, true}; }
/// GroupNormalization, opset 21.
inline GroupNormOptions group_norm(double epsilon = 1e-5) { return {epsilon, 1, 0, true}; }
/// InstanceNormalization, opset 6 and 22.
inline InstanceNormOptions instance_norm(double epsilon = 1e-5) {
  return {epsilon, std::nullopt, 1, 0, true, false, true};
}

EVENKEEL_END
}  // namespace evenkeel::onnx

/// The options of mxnet.gluon.nn. momentum is the weight of the old statistics. The running variance averages the biased
/// variance, as MXNet does on the CPU.
///
/// Source  python/mxnet/gluon/nn/basic_layers.py and src/operator/nn/batch_norm.cc of Apache MXNet
namespace evenkeel::mxnet {
EVENKEEL_BEGIN

/// BatchNorm.
inline BatchNormOptions batch_norm(Index axis = 1, double momentum = 0.9, double epsilon = 1e-5) {
  return {epsilon, 1 - momentum, axis, true, true, false};
}
/// LayerNorm.
inline LayerNormOptions layer_norm(Index axis = -1, double epsilon = 1e-5) {
  return {epsilon, axis, true, true};
}
/// GroupNorm.
inline GroupNormOptions group_norm(double epsilon = 1e-5) { return {epsilon, 1, 0, true}; }
/// InstanceNorm. In MXNet it has only beta, unless its `scale` is true. Without `scale`, leave gamma at 1.
inline InstanceNormOptions instance_norm(Index axis = 1, double epsilon = 1e-5) {
  return {epsilon, std::nullopt, axis, 0, true, false, true};
}

EVENKEEL_END
}  // namespace evenkeel::mxnet

#endif  // EVENKEEL_IS_SUPPORTED
