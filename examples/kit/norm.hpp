#pragma once

#include <chrono>
#include <evenkeel/evenkeel.hpp>
#include <type_traits>
#include <utility>
#include <variant>

#include "types.hpp"

namespace kit {

/// The norm that a program chose when it started, or none. Keeps the x that backward takes, and the time that it
/// needs. T is a Matrix or a Tensor.
template <typename T>
class Norm {
 public:
  using Scalar = typename T::Scalar;
  using Layer = std::variant<std::monostate, evenkeel::BatchNorm<Scalar>, evenkeel::LayerNorm<Scalar>,
                             evenkeel::GroupNorm<Scalar>>;

  explicit Norm(Layer layer) : layer_(std::move(layer)) {}

  T forward(T x) {
    if (is_none()) return x;
    const Clock::time_point start = Clock::now();
    T y;
    x_ = std::move(x);
    visit(layer_, [&](auto& layer) { layer.forward(x_, y); });
    seconds_ += since(start);
    return y;
  }

  T infer(T x) const {
    visit(layer_, [&](const auto& layer) { layer.infer(x, x); });
    return x;
  }

  T backward(T dy) {
    if (is_none()) return dy;
    const Clock::time_point start = Clock::now();
    visit(layer_, [&](auto& layer) { layer.backward(x_, dy, dy); });
    seconds_ += since(start);
    return dy;
  }

  Parameters<Scalar> parameters() {
    Parameters<Scalar> all;
    visit(layer_, [&](auto& layer) {
      for (auto p : layer.parameters()) all.push_back({p.name, p.value, p.grad});
    });
    return all;
  }

  Layer& layer() { return layer_; }

  /// Spent in forward and backward so far.
  double seconds() const { return seconds_; }

 private:
  using Clock = std::chrono::steady_clock;

  static double since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  }

  bool is_none() const { return std::holds_alternative<std::monostate>(layer_); }

  template <typename Variant, typename Call>
  static void visit(Variant& layer, Call call) {
    std::visit(
        [&](auto& chosen) {
          if constexpr (!std::is_same_v<std::decay_t<decltype(chosen)>, std::monostate>) call(chosen);
        },
        layer);
  }

  Layer layer_;
  T x_;
  double seconds_ = 0;
};

}  // namespace kit
