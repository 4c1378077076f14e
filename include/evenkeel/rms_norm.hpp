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

/// Options of RMSNorm. rms_norm_forward, _backward and _infer read only epsilon, axis and gamma_offset.
struct RMSNormOptions {
  double epsilon = 1e-6;                     // added to the mean of squares before the square root
  std::optional<Index> axis = std::nullopt;  // first normalized axis, may be negative; nullopt: the last axes
  bool affine = true;                        // whether the layer has gamma; it never has beta
  double gamma_offset = 0;                   // added to gamma; 1 if the stored numbers are gamma - 1
};

EVENKEEL_END
}  // namespace evenkeel

namespace evenkeel::detail {
EVENKEEL_BEGIN

inline Features<Sets::rms> rms_norm_features(const Shape& normalized_shape, const RMSNormOptions& options) {
  return {normalized_shape, options.axis, options.epsilon, options.gamma_offset};
}

EVENKEEL_END
}  // namespace evenkeel::detail

namespace evenkeel {
EVENKEEL_BEGIN

/// Divides each sample of x by the root of the mean of its squares. A sample has the elements on the axes of
/// normalized_shape. There is one sample for each index on the other axes.
///
///   y = x / sqrt(mean(x^2) + epsilon) * gamma
///
/// Shapes       x, y: any of rank 1 to 8 with normalized_shape on adjacent axes; gamma: as many values as
///              normalized_shape, in the order of x's memory, or empty for none; moments: one entry per sample,
///              inv_std = 1 / sqrt(mean(x^2) + epsilon), and mean 0 if moments.keeps_mean is true.
/// Types        stored as Scalar; computed in float for half, bfloat16 and float, else in Scalar; statistics in
///              double or a wider type.
/// Aliasing     y may be x.
/// Determinism  the same bits on every device and thread count.
/// Errors       std::invalid_argument when sizes differ, or when y overlaps x without being x.
/// Source       Zhang, Sennrich 2019, equation 4.
template <typename Device, typename X, typename Gamma, typename Y>
void rms_norm_forward(const Device& device, const X& x, const std::vector<Index>& normalized_shape,
                      const Gamma& gamma, const RMSNormOptions& options, Y&& y,
                      Moments<StatisticOf<detail::ScalarOf<X>>>& moments) {
  detail::features_forward({"", "rms_norm_forward"}, device, x,
                           detail::rms_norm_features(normalized_shape, options), gamma,
                           Vector<ParamOf<detail::ScalarOf<X>>>(), y, &moments);
}

/// The same over one axis, with one feature per entry of gamma.
template <typename Device, typename X, typename Gamma, typename Y>
void rms_norm_forward(const Device& device, const X& x, const Gamma& gamma, const RMSNormOptions& options,
                      Y&& y, Moments<StatisticOf<detail::ScalarOf<X>>>& moments) {
  detail::features_forward({"", "rms_norm_forward"}, device, x,
                           detail::rms_norm_features(Shape{gamma.size()}, options), gamma,
                           Vector<ParamOf<detail::ScalarOf<X>>>(), y, &moments);
}

/// The gradients of rms_norm_forward, from the moments that it saved.
///
///   dx = inv_std (gamma dy - xhat mean(gamma dy xhat)),  grad_gamma = sum(dy xhat) over the samples,
///   where xhat = x inv_std
///
/// Shapes       dy, dx: x's; gamma as in rms_norm_forward; grad_gamma: resized if it owns its memory.
/// Types        as rms_norm_forward.
/// Aliasing     dx may be dy.
/// Determinism  the same bits on every device and thread count.
/// Errors       std::invalid_argument when sizes differ, when x differs from forward's x, when dx overlaps x, or when dx
///              overlaps dy without being dy.
/// Source       Zhang, Sennrich 2019, differentiated.
template <typename Device, typename X, typename Dy, typename Gamma, typename Dx, typename GradGamma>
void rms_norm_backward(const Device& device, const X& x, const Dy& dy,
                       const std::vector<Index>& normalized_shape, const Gamma& gamma,
                       const Moments<StatisticOf<detail::ScalarOf<X>>>& moments,
                       const RMSNormOptions& options, Dx&& dx, GradGamma&& grad_gamma) {
  detail::features_backward({"", "rms_norm_backward"}, device, x, dy,
                            detail::rms_norm_features(normalized_shape, options), gamma, moments, dx,
                            &grad_gamma, detail::kNoGradient<X>);
}

/// The same over one axis, with one feature per entry of gamma.
template <typename Device, typename X, typename Dy, typename Gamma, typename Dx, typename GradGamma>
void rms_norm_backward(const Device& device, const X& x, const Dy& dy, const Gamma& gamma,
                       const Moments<StatisticOf<detail::ScalarOf<X>>>& moments,
                       const RMSNormOptions& options, Dx&& dx, GradGamma&& grad_gamma) {
  detail::features_backward({"", "rms_norm_backward"}, device, x, dy,
                            detail::rms_norm_features(Shape{gamma.size()}, options), gamma, moments, dx,
                            &grad_gamma, detail::kNoGradient<X>);
}

/// rms_norm_forward without moments.
template <typename Device, typename X, typename Gamma, typename Y>
void rms_norm_infer(const Device& device, const X& x, const std::vector<Index>& normalized_shape,
                    const Gamma& gamma, const RMSNormOptions& options, Y&& y) {
  detail::features_forward({"", "rms_norm_infer"}, device, x,
                           detail::rms_norm_features(normalized_shape, options), gamma,
                           Vector<ParamOf<detail::ScalarOf<X>>>(), y, detail::kNoMoments<X>);
}

/// The same over one axis, with one feature per entry of gamma.
template <typename Device, typename X, typename Gamma, typename Y>
void rms_norm_infer(const Device& device, const X& x, const Gamma& gamma, const RMSNormOptions& options,
                    Y&& y) {
  detail::features_forward({"", "rms_norm_infer"}, device, x,
                           detail::rms_norm_features(Shape{gamma.size()}, options), gamma,
                           Vector<ParamOf<detail::ScalarOf<X>>>(), y, detail::kNoMoments<X>);
}

/// Normalization by the root mean square, with its gamma.
///
///   y = x / sqrt(mean(x^2) + epsilon) * gamma
///
/// It is layer norm without a mean and a beta. infer computes the same y as forward, saves nothing for backward and does
/// not change the layer. saved_mean() is empty. saved_inv_std() is 1 / sqrt(mean(x^2) + epsilon) of each sample.
///
/// Shapes       x: any of rank 1 to 8 with normalized_shape on adjacent axes from options.axis on, the last
///              axes by default. gamma lies in the order of x's memory.
/// Types        stored as Scalar; computed in float for half, bfloat16 and float, else in Scalar; statistics in
///              double or a wider type.
/// Aliasing     y may be x in forward and infer, dx may be dy in backward; any other overlap is an error.
/// Determinism  the same bits on every device and thread count.
/// Errors       std::invalid_argument, with both numbers, before anything is written.
/// Source       Zhang, Sennrich 2019.
template <typename Scalar = float>
class RMSNorm : public FeatureLayer<RMSNorm<Scalar>, Scalar, RMSNormOptions> {
  using Base = FeatureLayer<RMSNorm, Scalar, RMSNormOptions>;
  friend Base;
  friend Layer<RMSNorm, Scalar>;

 public:
  /// Creates a layer that normalizes over one axis with this number of features.
  explicit RMSNorm(Index features, RMSNormOptions options = {})
      : RMSNorm(std::vector<Index>{features}, options) {}

  /// Creates a layer that normalizes over adjacent axes of these extents, in the order of x's axes.
  explicit RMSNorm(std::vector<Index> normalized_shape, RMSNormOptions options = {})
      : Base({kScope, "RMSNorm"}, std::move(normalized_shape), options, false) {
    this->moments_.keeps_mean = this->moments_.keeps_mean_low = false;
  }

  /// "RMSNorm([64], epsilon=1e-06, axis=nullopt, affine=true, gamma_offset=0)", as << writes it.
  EVENKEEL_COLD std::string text() const {
    using detail::shown;
    const RMSNormOptions& o = this->options();
    return detail::joined("RMSNorm(", {shown(Shape(this->normalized_shape())), ", epsilon=", shown(o.epsilon),
                                       ", axis=", o.axis ? detail::Piece(*o.axis) : "nullopt", ", affine=",
                                       shown(o.affine), ", gamma_offset=", shown(o.gamma_offset), ")"});
  }

 private:
  static constexpr const char* kScope = "RMSNorm::";
  static constexpr auto kSets = detail::Sets::rms;
  static constexpr auto features_of = detail::rms_norm_features;
};

EVENKEEL_END
}  // namespace evenkeel

#endif  // EVENKEEL_IS_SUPPORTED
