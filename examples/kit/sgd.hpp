#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <vector>

#include "types.hpp"

namespace kit {

struct SgdOptions {
  double momentum = 0, weight_decay = 0;
};

/// Gradient descent with momentum and weight decay:
///
///   v = momentum v + dw + weight_decay w,   w = w - rate v
///
/// Weights alone decay: biases, gamma and beta do not.
template <typename Scalar>
class Sgd {
 public:
  explicit Sgd(const SgdOptions& options = {}) : options_(options) {}

  /// The parameters must be the same ones in each step.
  void step(const Parameters<Scalar>& parameters, double rate) {
    velocities_.resize(parameters.size());
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      auto [name, w, dw] = parameters[i];
      Vector<Scalar>& v = velocities_[i];
      if (v.size() == 0) v = Vector<Scalar>::Zero(w.size());
      const double decay = std::string_view(name) == "weights" ? options_.weight_decay : 0;
      v = static_cast<Scalar>(options_.momentum) * v + dw + static_cast<Scalar>(decay) * w;
      w -= static_cast<Scalar>(rate) * v;
    }
  }

 private:
  SgdOptions options_;
  std::vector<Vector<Scalar>> velocities_;
};

/// The rate of a step out of steps: it falls linearly to 0 over the last fifth of them.
inline double falling_rate(double rate, Index step, Index steps) {
  const double left = static_cast<double>(steps - step) / static_cast<double>(steps);
  return rate * std::min(1.0, 5 * left);
}

}  // namespace kit
