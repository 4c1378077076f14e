// SPDX-License-Identifier: MIT
#pragma once

#include "evenkeel/base/config.hpp"
#if EVENKEEL_IS_SUPPORTED

#include <limits>
#include <type_traits>

#include "evenkeel/base/error.hpp"
#include "evenkeel/kernels/args.hpp"

// Operations that a call of a layer fuses with its norm: the last argument of forward, backward and infer. It keeps
// pointers to its arrays, so create it inside the call.

namespace evenkeel::detail {
EVENKEEL_BEGIN

/// Stands for an argument that there is not.
struct None {};

/// y = activation(norm(x) + residual), and where backward writes the residual's gradient.
template <typename Residual = None, typename DResidual = None, bool kSmooth = false>
struct Behind {
  Activation<double> activation{Curve::none, 1, 0, 0};
  const Residual* residual = nullptr;
  DResidual* d_residual = nullptr;

  /// The same with the activation of another.
  template <bool kOtherIsSmooth>
  Behind<Residual, DResidual, kOtherIsSmooth> then(const Behind<None, None, kOtherIsSmooth>& other) const {
    return {other.activation, residual, d_residual};
  }
};

/// sum = x + skip, y = norm(sum).
template <typename Skip, typename Sum>
struct Before {
  const Skip* skip;
  Sum* sum;
};

/// dx = the gradient through the norm + plus.
template <typename Plus>
struct Added {
  const Plus* plus;
};

template <typename T>
struct IsFused : std::false_type {};
template <typename Residual, typename DResidual, bool kSmooth>
struct IsFused<Behind<Residual, DResidual, kSmooth>> : std::true_type {};
template <typename Skip, typename Sum>
struct IsFused<Before<Skip, Sum>> : std::true_type {};
template <typename Plus>
struct IsFused<Added<Plus>> : std::true_type {};

using Smooth = Behind<None, None, true>;
inline Smooth smooth(Curve curve) { return {{curve, 1, 0, 0}, nullptr, nullptr}; }

inline constexpr double kInfinity = std::numeric_limits<double>::infinity();

EVENKEEL_END
}  // namespace evenkeel::detail

namespace evenkeel {
EVENKEEL_BEGIN

/// y = min(max(norm(x), low), high). Its gradient is the gradient of norm where low < norm(x) < high, else 0.
///
/// Errors       std::invalid_argument unless low <= high.
inline detail::Behind<> clip(double low, double high) {
  if (!(low <= high)) {
    detail::fail({"", "clip"},
                 {"low is ", detail::shown(low), ", must be at most high, ", detail::shown(high)});
  }
  return {{detail::Curve::clip, 1, low, high}, nullptr, nullptr};
}

/// y = max(norm(x), 0). Its gradient is the gradient of norm where norm(x) > 0, else 0.
inline detail::Behind<> relu() { return clip(0, detail::kInfinity); }

/// y = norm(x) where norm(x) > 0, else slope norm(x).
///
/// Errors       std::invalid_argument unless slope is finite.
inline detail::Behind<> leaky_relu(double slope = 0.01) {
  if (!(slope - slope == 0)) {
    detail::fail({"", "leaky_relu"}, {"slope is ", detail::shown(slope), ", must be finite"});
  }
  return {{detail::Curve::clip, slope, -detail::kInfinity, detail::kInfinity}, nullptr, nullptr};
}

// Smooth activations of z = norm(x). Values of float are within 2 units in the last place, those of double within 4, or 5 on
// machines without a fused multiply-add.

/// y = z / (1 + e^-z), which is also called swish (Hendrycks, Gimpel 2016).
inline detail::Smooth silu() { return detail::smooth(detail::Curve::silu); }
/// y = z Phi(z) = z (1 + erf(z / sqrt(2))) / 2 (Hendrycks, Gimpel 2016).
inline detail::Smooth gelu() { return detail::smooth(detail::Curve::gelu); }
/// y = z (1 + tanh(sqrt(2 / pi) (z + 0.044715 z^3))) / 2, which is close to gelu.
inline detail::Smooth gelu_tanh() { return detail::smooth(detail::Curve::gelu_tanh); }
/// y = tanh(z)
inline detail::Smooth tanh() { return detail::smooth(detail::Curve::tanh); }
/// y = 1 / (1 + e^-z)
inline detail::Smooth sigmoid() { return detail::smooth(detail::Curve::sigmoid); }

/// y = norm(x) + residual. An activation may follow, as in ek::add(residual).then(ek::silu()).
///
/// Pass the same argument to backward. If it has d_residual, backward writes the residual's gradient to it.
///
/// Shapes       residual, d_residual: x's; d_residual is resized if it owns its memory.
/// Types        as x.
/// Aliasing     residual may be x or y; d_residual must overlap nothing.
template <typename Residual>
detail::Behind<Residual> add(const Residual& residual) {
  return {{detail::Curve::none, 1, 0, 0}, &residual, nullptr};
}
template <typename Residual, typename DResidual>
detail::Behind<Residual, std::remove_reference_t<DResidual>> add(const Residual& residual,
                                                                 DResidual&& d_residual) {
  return {{detail::Curve::none, 1, 0, 0}, &residual, &d_residual};
}

/// y = max(norm(x) + residual, 0), with arguments as for add.
template <typename Residual>
detail::Behind<Residual> add_relu(const Residual& residual) {
  return add(residual).then(relu());
}
template <typename Residual, typename DResidual>
detail::Behind<Residual, std::remove_reference_t<DResidual>> add_relu(const Residual& residual,
                                                                      DResidual&& d_residual) {
  return add(residual, d_residual).then(relu());
}

/// sum = x + skip, y = norm(sum), in layer norm and RMS norm. The call writes both sum and y. Pass sum to backward as its x.
///
/// Shapes       skip, sum: x's; sum is resized if it owns its memory.
/// Types        as x; y is the norm of the sum after it was rounded to x's type.
/// Aliasing     sum may be x or skip. y may be x or skip. y and sum must not overlap.
/// Source       ONNX Runtime, SkipLayerNormalization.
template <typename Skip, typename Sum>
detail::Before<Skip, std::remove_reference_t<Sum>> residual_in(const Skip& skip, Sum&& sum) {
  return {&skip, &sum};
}

/// dx = the gradient through the norm + d_sum, in backward of layer norm and RMS norm. The sum that residual_in wrote has a
/// second gradient, along the path around the norm; d_sum is that gradient.
///
/// Shapes       d_sum: x's.
/// Aliasing     d_sum must not overlap dx.
template <typename DSum>
detail::Added<DSum> plus(const DSum& d_sum) {
  return {&d_sum};
}

EVENKEEL_END
}  // namespace evenkeel

#endif  // EVENKEEL_IS_SUPPORTED
