#pragma once

#include <optional>
#include <utility>

#include "evenkeel/core/normalize.hpp"
#include "evenkeel/tensor_view.hpp"

namespace evenkeel {
EVENKEEL_BEGIN

// What every norm's calls have in common, once the norm has said how its tensor is partitioned.

/// "3 channels on axis 1 of [2, 3, 4]"
EVENKEEL_COLD inline std::string on_axis(const Shape& shape, int axis, const char* noun) {
  return counted(shape[axis], noun) + " on axis " + std::to_string(axis) + " of " + shape.text();
}

/// An axis as the caller counts, made non-negative.
inline int resolve_axis(const Caller& caller, const char* name, Index axis, const Shape& shape) {
  const Index rank = shape.rank();
  if (axis < -rank || axis >= rank) {
    fail(caller, {name, " is ", axis, ", must lie in [", -rank, ", ", rank - 1, "] for x ", shape.text()});
  }
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

inline void check_epsilon(const Caller& caller, double epsilon) {
  if (!is_finite(epsilon) || epsilon < 0)
    fail(caller, {"epsilon is ", shown(epsilon), ", must be finite and >= 0"});
}

inline void check_momentum(const Caller& caller, const std::optional<double>& momentum) {
  if (momentum && !(is_finite(*momentum) && *momentum >= 0 && *momentum <= 1)) {
    fail(caller, {"momentum is ", shown(*momentum), ", must lie in [0, 1]"});
  }
}

inline Index check_positive(const Caller& caller, const char* name, Index value) {
  if (value < 1) fail(caller, {name, " is ", value, ", must be at least 1"});
  return value;
}

inline void check_size(const Caller& caller, const char* name, Index size, Index expected) {
  if (size != expected) {
    fail(caller, {name, " has ", counted(size, "value"), ", expected ", expected});
  }
}

/// gamma, beta or a running statistic in memory, or null where it is empty, which means none.
template <typename Param, typename T>
const Param* param_data(const Caller& caller, const char* name, const T& values, Index expected) {
  static_assert(std::is_same_v<ScalarOf<T>, Param>,
                "evenkeel: parameters must be of the type ParamOf<Scalar>");
  if (ArgumentOf<T>::view(caller, name, values).size() == 0) return nullptr;
  const TensorView<const Param> v = input_view(caller, name, values);
  check_size(caller, name, v.size(), expected);
  return v.data;
}

/// gamma and beta as a call uses them.
template <typename Param>
struct Affine {
  const Param* gamma = nullptr;
  const Param* beta = nullptr;
};

template <typename Storage, typename Gamma, typename Beta>
Affine<ParamOf<Storage>> affine_of(const Caller& caller, const Gamma& gamma, const Beta& beta, Index params) {
  return {param_data<ParamOf<Storage>>(caller, "gamma", gamma, params),
          param_data<ParamOf<Storage>>(caller, "beta", beta, params)};
}

/// y, checked: of x's shape, and apart from all that is read.
template <typename Storage, typename Y>
Output<std::remove_reference_t<Y>> forward_output(const Caller& caller, const TensorView<const Storage>& x,
                                                  const Affine<ParamOf<Storage>>& affine, Index params,
                                                  Y& y) {
  simd::register_bytes();  // a wrong EVENKEEL_MAX_ISA is reported before anything is written
  Output<std::remove_reference_t<Y>> output(caller, "y", y, "x", x);
  output.must_not_overlap("gamma", affine.gamma, affine.gamma == nullptr ? 0 : params);
  output.must_not_overlap("beta", affine.beta, affine.beta == nullptr ? 0 : params);
  return output;
}

/// Normalizes with each set's own statistics. moments may be null.
template <typename Device, typename Storage, typename P, typename Y>
void call_forward(const Caller& caller, const Device& device, const TensorView<const Storage>& x, const P& p,
                  const Affine<ParamOf<Storage>>& affine, double epsilon, Y& y,
                  Moments<StatisticOf<Storage>>* moments) {
  static_assert(std::is_same_v<ScalarOf<Y>, Storage>, "evenkeel: y must have x's scalar type");
  auto output = forward_output<Storage>(caller, x, affine, p.params(), y);
  std::optional<Moments<StatisticOf<Storage>>> fresh;
  if (moments != nullptr && !moments->fits(p.sets())) fresh = moments->like(p.sets());
  Storage* out = output.prepare();
  if (fresh) *moments = std::move(*fresh);
  if (moments != nullptr) moments->used = p.sets();
  if (x.size() == 0) {
    if (moments != nullptr) moments->clear();
    return;
  }
  normalize(device, p,
            ForwardTask<Storage>{x.data, out, affine.gamma, affine.beta, epsilon, moments, nullptr, nullptr});
}

/// Normalizes with statistics that are given, one a set.
template <typename Device, typename Storage, typename P, typename Y>
void call_infer(const Caller& caller, const Device& device, const TensorView<const Storage>& x, const P& p,
                const Affine<ParamOf<Storage>>& affine, const ParamOf<Storage>* mean,
                const ParamOf<Storage>* variance, double epsilon, Y& y) {
  static_assert(std::is_same_v<ScalarOf<Y>, Storage>, "evenkeel: y must have x's scalar type");
  auto output = forward_output<Storage>(caller, x, affine, p.params(), y);
  output.must_not_overlap("running_mean", mean, p.sets());
  output.must_not_overlap("running_var", variance, p.sets());
  Storage* out = output.prepare();
  if (x.size() == 0) return;
  normalize(device, p,
            ForwardTask<Storage>{x.data, out, affine.gamma, affine.beta, epsilon, nullptr, mean, variance});
}

/// Where the gradient of gamma or beta goes; a null argument is a gradient that nobody wants.
template <typename Param, typename Gradient>
class ParamOutput {
 public:
  ParamOutput(const Caller& caller, const char* name, Gradient* gradient, Index params) {
    static_assert(std::is_same_v<ScalarOf<Gradient>, Param>,
                  "evenkeel: gradients must be of the type ParamOf<Scalar>");
    if (gradient == nullptr) return;
    output_.emplace(caller, name, *gradient, "gamma",
                    TensorView<const Param>{nullptr, Shape{params}, row_major});
  }
  Param* prepare() { return output_ ? output_->prepare() : nullptr; }

  template <typename Other>
  void must_not_overlap(const char* other_name, const TensorView<Other>& other) const {
    if (output_) output_->must_not_overlap(other_name, other.data, other.size());
  }
  TensorView<const Param> memory() const {
    return output_ ? output_->memory() : TensorView<const Param>{nullptr, Shape{0}, row_major};
  }

 private:
  std::optional<Output<Gradient>> output_;
};

/// dx and the gradients of gamma and beta. workspace grows as needed and is kept by the caller.
template <typename Device, typename Storage, typename Dy, typename P, typename Gamma, typename Dx,
          typename GradGamma, typename GradBeta>
void call_backward(const Caller& caller, const Device& device, const TensorView<const Storage>& x,
                   const Dy& dy, const P& p, const Gamma& gamma, const Moments<StatisticOf<Storage>>& moments,
                   Dx& dx, GradGamma* grad_gamma, GradBeta* grad_beta,
                   Vector<StatisticOf<Storage>>& workspace) {
  using Param = ParamOf<Storage>;
  static_assert(std::is_same_v<ScalarOf<Dy>, Storage>, "evenkeel: dy must have x's scalar type");
  static_assert(std::is_same_v<ScalarOf<Dx>, Storage>, "evenkeel: dx must have x's scalar type");
  simd::register_bytes();
  const TensorView<const Storage> upstream = input_view(caller, "dy", dy);
  if (upstream.shape != x.shape) {
    fail(caller, {"dy is ", upstream.shape.text(), ", expected x's shape ", x.shape.text()});
  }
  if (upstream.layout != x.layout && x.shape.rank() > 1) {
    fail(caller, {"dy is ", text_of(upstream.layout), ", x is ", text_of(x.layout)});
  }
  if (moments.size() != p.sets()) {
    fail(caller, {"moments has ", counted(moments.size(), "set"), ", expected ", p.sets()});
  }
  const auto check_moments = [&](const char* name, const Vector<StatisticOf<Storage>>& array) {
    if (!moments.has_room(array, p.sets())) check_size(caller, name, array.size(), p.sets());
  };
  check_moments("moments.mean", moments.mean);
  check_moments("moments.inv_std", moments.inv_std);
  if (moments.mean_low.size() > 0) check_moments("moments.mean_low", moments.mean_low);
  const Param* scale = param_data<Param>(caller, "gamma", gamma, p.params());
  Output<Dx> output(caller, "dx", dx, "dy", upstream);
  output.must_not_overlap("x", x.data, x.size());
  output.must_not_overlap("gamma", scale, scale == nullptr ? 0 : p.params());
  ParamOutput<Param, GradGamma> gamma_output(caller, "grad_gamma", grad_gamma, p.params());
  ParamOutput<Param, GradBeta> beta_output(caller, "grad_beta", grad_beta, p.params());
  gamma_output.must_not_overlap("grad_beta", beta_output.memory());
  const auto apart = [&](const auto& gradient) {
    gradient.must_not_overlap("x", x);
    gradient.must_not_overlap("dy", upstream);
    gradient.must_not_overlap("dx", output.memory());
    gradient.must_not_overlap(
        "gamma", TensorView<const Param>{scale, Shape{scale == nullptr ? 0 : p.params()}, row_major});
  };
  apart(gamma_output);
  apart(beta_output);

  const Index needed = x.size() == 0 ? 0 : backward_sums<Storage>(p);
  if (workspace.size() < needed) workspace = vector_of<StatisticOf<Storage>>(needed);
  Param* gamma_out = gamma_output.prepare();
  Param* beta_out = beta_output.prepare();
  Storage* out = output.prepare();
  if (x.size() == 0) {
    for (Param* gradient : {gamma_out, beta_out}) {
      if (gradient != nullptr) std::fill(gradient, gradient + p.params(), Param(0));
    }
    return;
  }
  normalize_backward(device, p,
                     BackwardTask<Storage>{x.data, upstream.data, out, scale, nullptr, moments, gamma_out,
                                           beta_out, workspace.data()});
}

EVENKEEL_END
}  // namespace evenkeel
