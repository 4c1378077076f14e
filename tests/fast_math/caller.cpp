#include "caller.hpp"

#include <evenkeel/evenkeel.hpp>
#include <stdexcept>

namespace ek = evenkeel;

namespace {

template <typename Layer>
FastMathResult step(Layer& layer, const std::vector<float>& x, const std::vector<float>& dy, long columns) {
  FastMathResult result{std::vector<float>(x.size()), std::vector<float>(x.size()), {}, {}, 0};
  const std::vector<ek::Index> shape = {static_cast<ek::Index>(x.size()) / columns, columns};
  layer.forward(ek::view(x.data(), shape, ek::row_major), ek::view(result.y.data(), shape, ek::row_major));
  layer.backward(ek::view(x.data(), shape, ek::row_major), ek::view(dy.data(), shape, ek::row_major),
                 ek::view(result.dx.data(), shape, ek::row_major));
  result.grad_gamma.assign(layer.grad_gamma().data(), layer.grad_gamma().data() + columns);
  return result;
}

}  // namespace

FastMathResult batch_norm_step(const std::vector<float>& x, const std::vector<float>& dy, long channels) {
  ek::BatchNorm<float> layer(channels);
  FastMathResult result = step(layer, x, dy, channels);
  result.running_mean.assign(layer.running_mean().data(), layer.running_mean().data() + channels);
  result.rejected_batches = static_cast<long>(layer.rejected_batches());
  return result;
}

FastMathResult layer_norm_step(const std::vector<float>& x, const std::vector<float>& dy, long features) {
  ek::LayerNorm<float> layer(features);
  return step(layer, x, dy, features);
}

std::vector<float> layer_norm_values(const std::vector<float>& x, long features, double epsilon) {
  ek::LayerNormOptions options;
  options.epsilon = epsilon;
  const ek::LayerNorm<float> layer(features, options);
  const std::vector<ek::Index> shape = {static_cast<ek::Index>(x.size()) / features, features};
  std::vector<float> y(x.size());
  layer.infer(ek::view(x.data(), shape, ek::row_major), ek::view(y.data(), shape, ek::row_major));
  return y;
}

bool refuses_epsilon(double epsilon) {
  ek::BatchNormOptions options;
  options.epsilon = epsilon;
  try {
    ek::BatchNorm<float> layer(2, options);
  } catch (const std::invalid_argument&) {
    return true;
  }
  return false;
}
