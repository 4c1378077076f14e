// Compiled in many ways: EK_WAY is the way's name, EK_NORM a Norm, EK_SCALAR float or double.
#include "caller.hpp"

#include <algorithm>
#include <evenkeel/evenkeel.hpp>
#include <stdexcept>

namespace {

namespace ek = evenkeel;
using Scalar = EK_SCALAR;

template <typename Options>
Options options() {
#if __cplusplus >= 202002L
  return {.epsilon = kEpsilon};
#else
  Options options;
  options.epsilon = kEpsilon;
  return options;
#endif
}

template <>
[[maybe_unused]] ek::BatchNormOptions options() {
#if __cplusplus >= 202002L
  return {.epsilon = kEpsilon, .momentum = 1.0};
#else
  ek::BatchNormOptions options;
  options.epsilon = kEpsilon;
  options.momentum = 1.0;
  return options;
#endif
}

template <Norm kNorm>
auto layer_of(long channels) {
  if constexpr (kNorm == Norm::batch) {
    return ek::BatchNorm<Scalar>(channels, options<ek::BatchNormOptions>());
  } else if constexpr (kNorm == Norm::layer) {
    return ek::LayerNorm<Scalar>(channels, options<ek::LayerNormOptions>());
  } else {
    return ek::GroupNorm<Scalar>(kGroups, channels, options<ek::GroupNormOptions>());
  }
}

template <Norm kNorm>
void take(const Step<Scalar>& s) {
  const ek::Shape shape(s.shape, s.shape + s.rank);
  const auto tensor = [&](auto* data) {
    return ek::view(data, shape, s.row_major ? ek::row_major : ek::col_major);
  };
  auto layer = layer_of<kNorm>(s.params);
  std::copy(s.gamma, s.gamma + s.params, layer.gamma().data());
  std::copy(s.beta, s.beta + s.params, layer.beta().data());
  layer.forward(tensor(s.x), tensor(s.y));
  layer.backward(tensor(s.x), tensor(s.dy), tensor(s.dx));
  layer.infer(tensor(s.x), tensor(s.inferred));
  for (const auto& parameter : layer.parameters()) {
    Scalar* to = parameter.value.data() == layer.gamma().data() ? s.grad_gamma : s.grad_beta;
    std::copy(parameter.grad.data(), parameter.grad.data() + s.params, to);
  }
  if constexpr (kNorm == Norm::batch) {
    const auto mean = layer.exact_running_mean(), variance = layer.exact_running_var();
    std::copy(mean.data(), mean.data() + s.params, s.running_mean);
    std::copy(variance.data(), variance.data() + s.params, s.running_var);
  }
}

bool refuses() {
#ifdef __cpp_exceptions
  try {
    layer_of<Norm::EK_NORM>(0);
  } catch (const std::invalid_argument&) {
    return true;
  }
  return false;
#else
  return true;
#endif
}

}  // namespace

extern const Way<Scalar> EK_WAY;
const Way<Scalar> EK_WAY = {Norm::EK_NORM, take<Norm::EK_NORM>, refuses};
