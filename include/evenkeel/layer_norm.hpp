// SPDX-License-Identifier: MIT
#pragma once

#include "evenkeel/base/config.hpp"
#if EVENKEEL_IS_SUPPORTED

#include <optional>
#include <utility>
#include <vector>

#include "evenkeel/core/feature_layer.hpp"

namespace evenkeel {
EVENKEEL_BEGIN

/// Options of LayerNorm. layer_norm_forward, _backward and _infer read only epsilon, axis and gamma_offset.
struct LayerNormOptions {
  double epsilon = 1e-5;                     // added to the variance before the square root
  std::optional<Index> axis = std::nullopt;  // first normalized axis, may be negative; nullopt: the last axes
  bool affine = true;                        // whether the layer has gamma
  bool bias = true;                          // whether it has beta too, if affine is true
  double gamma_offset = 0;                   // added to gamma; 1 if the stored numbers are gamma - 1
};

EVENKEEL_END
}  // namespace evenkeel

namespace evenkeel::detail {
EVENKEEL_BEGIN

inline Features<Sets::features> layer_norm_features(const Shape& normalized_shape,
                                                    const LayerNormOptions& options) {
  return {normalized_shape, options.axis, options.epsilon, options.gamma_offset};
}

EVENKEEL_END
}  // namespace evenkeel::detail

namespace evenkeel {
EVENKEEL_BEGIN

/// Normalizes each sample of x over its features. The features are the elements on the axes of normalized_shape. There is
/// one sample for each index on the other axes.
///
///   y = (x - mean) / sqrt(variance + epsilon) * gamma + beta
///
/// Shapes       x, y: any of rank 1 to 8 with normalized_shape on adjacent axes; gamma, beta: as many values
///              as normalized_shape, in the order of x's memory, or empty for none; moments: one entry per
///              sample.
/// Types        stored as Scalar; computed in float for half, bfloat16 and float, else in Scalar; statistics in
///              double or a wider type.
/// Aliasing     y may be x.
/// Determinism  the same bits on every device and thread count.
/// Errors       std::invalid_argument when sizes differ, or when y overlaps x without being x.
/// Source       Ba, Kiros, Hinton 2016, equations 3 and 4.
template <typename Device, typename X, typename Gamma, typename Beta, typename Y>
void layer_norm_forward(const Device& device, const X& x, const std::vector<Index>& normalized_shape,
                        const Gamma& gamma, const Beta& beta, const LayerNormOptions& options, Y&& y,
                        Moments<StatisticOf<detail::ScalarOf<X>>>& moments) {
  detail::features_forward({"", "layer_norm_forward"}, device, x,
                           detail::layer_norm_features(normalized_shape, options), gamma, beta, y, &moments);
}

/// The same over one axis, with one feature per entry of gamma.
template <typename Device, typename X, typename Gamma, typename Beta, typename Y>
void layer_norm_forward(const Device& device, const X& x, const Gamma& gamma, const Beta& beta,
                        const LayerNormOptions& options, Y&& y,
                        Moments<StatisticOf<detail::ScalarOf<X>>>& moments) {
  detail::features_forward({"", "layer_norm_forward"}, device, x,
                           detail::layer_norm_features(Shape{gamma.size()}, options), gamma, beta, y,
                           &moments);
}

/// The gradients of layer_norm_forward, from the moments that it saved.
///
///   dx = inv_std (gamma dy - mean(gamma dy) - xhat mean(gamma dy xhat)),  grad_gamma = sum(dy xhat),
///   grad_beta = sum(dy), both over the samples
///
/// Shapes       dy, dx: x's; gamma as in layer_norm_forward; grad_gamma, grad_beta: resized if they own
///              their memory.
/// Types        as layer_norm_forward.
/// Aliasing     dx may be dy.
/// Determinism  the same bits on every device and thread count.
/// Errors       std::invalid_argument when sizes differ, when x differs from forward's x, when dx overlaps x, or when dx
///              overlaps dy without being dy.
/// Source       Ba, Kiros, Hinton 2016, differentiated.
template <typename Device, typename X, typename Dy, typename Gamma, typename Dx, typename GradGamma,
          typename GradBeta>
void layer_norm_backward(const Device& device, const X& x, const Dy& dy,
                         const std::vector<Index>& normalized_shape, const Gamma& gamma,
                         const Moments<StatisticOf<detail::ScalarOf<X>>>& moments,
                         const LayerNormOptions& options, Dx&& dx, GradGamma&& grad_gamma,
                         GradBeta&& grad_beta) {
  detail::features_backward({"", "layer_norm_backward"}, device, x, dy,
                            detail::layer_norm_features(normalized_shape, options), gamma, moments, dx,
                            &grad_gamma, &grad_beta);
}

/// The same over one axis, with one feature per entry of gamma.
template <typename Device, typename X, typename Dy, typename Gamma, typename Dx, typename GradGamma,
          typename GradBeta>
void layer_norm_backward(const Device& device, const X& x, const Dy& dy, const Gamma& gamma,
                         const Moments<StatisticOf<detail::ScalarOf<X>>>& moments,
                         const LayerNormOptions& options, Dx&& dx, GradGamma&& grad_gamma,
                         GradBeta&& grad_beta) {
  detail::features_backward({"", "layer_norm_backward"}, device, x, dy,
                            detail::layer_norm_features(Shape{gamma.size()}, options), gamma, moments, dx,
                            &grad_gamma, &grad_beta);
}

/// layer_norm_forward without moments.
template <typename Device, typename X, typename Gamma, typename Beta, typename Y>
void layer_norm_infer(const Device& device, const X& x, const std::vector<Index>& normalized_shape,
                      const Gamma& gamma, const Beta& beta, const LayerNormOptions& options, Y&& y) {
  detail::features_forward({"", "layer_norm_infer"}, device, x,
                           detail::layer_norm_features(normalized_shape, options), gamma, beta, y,
                           detail::kNoMoments<X>);
}

/// The same over one axis, with one feature per entry of gamma.
template <typename Device, typename X, typename Gamma, typename Beta, typename Y>
void layer_norm_infer(const Device& device, const X& x, const Gamma& gamma, const Beta& beta,
                      const LayerNormOptions& options, Y&& y) {
  detail::features_forward({"", "layer_norm_infer"}, device, x,
                           detail::layer_norm_features(Shape{gamma.size()}, options), gamma, beta, y,
                           detail::kNoMoments<X>);
}

/// Layer normalization with its parameters.
///
///   y = (x - mean) / sqrt(variance + epsilon) * gamma + beta
///
/// infer computes the same y as forward, saves nothing for backward and does not change the layer.
///
/// Shapes       x: any of rank 1 to 8 with normalized_shape on adjacent axes from options.axis on, the last
///              axes by default. gamma and beta lie in the order of x's memory.
/// Types        stored as Scalar; computed in float for half, bfloat16 and float, else in Scalar; statistics in
///              double or a wider type.
/// Aliasing     y may be x in forward and infer, dx may be dy in backward; any other overlap is an error.
/// Determinism  the same bits on every device and thread count.
/// Errors       std::invalid_argument, with both numbers, before anything is written.
/// Source       Ba, Kiros, Hinton 2016.
template <typename Scalar = float>
class LayerNorm : public FeatureLayer<LayerNorm<Scalar>, Scalar, LayerNormOptions> {
  using Base = FeatureLayer<LayerNorm, Scalar, LayerNormOptions>;
  friend Base;
  friend Layer<LayerNorm, Scalar>;

 public:
  /// Creates a layer that normalizes over one axis with this number of features.
  explicit LayerNorm(Index features, LayerNormOptions options = {})
      : LayerNorm(std::vector<Index>{features}, options) {}

  /// Creates a layer that normalizes over adjacent axes of these extents, in the order of x's axes.
  explicit LayerNorm(std::vector<Index> normalized_shape, LayerNormOptions options = {})
      : Base({kScope, "LayerNorm"}, std::move(normalized_shape), options, options.affine && options.bias) {}

  /// "LayerNorm([64], epsilon=1e-05, axis=nullopt, affine=true, bias=true, gamma_offset=0)", as << writes it.
  EVENKEEL_COLD std::string text() const {
    using detail::shown;
    const LayerNormOptions& o = this->options();
    return detail::joined(
        "LayerNorm(", {shown(Shape(this->normalized_shape())), ", epsilon=", shown(o.epsilon),
                       ", axis=", o.axis ? detail::Piece(*o.axis) : "nullopt", ", affine=", shown(o.affine),
                       ", bias=", shown(o.bias), ", gamma_offset=", shown(o.gamma_offset), ")"});
  }

 private:
  static constexpr const char* kScope = "LayerNorm::";
  static constexpr auto kSets = detail::Sets::features;
  static constexpr auto features_of = detail::layer_norm_features;
};

EVENKEEL_END
}  // namespace evenkeel

#endif  // EVENKEEL_IS_SUPPORTED
