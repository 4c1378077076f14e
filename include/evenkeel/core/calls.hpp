// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "evenkeel/core/checks.hpp"
#include "evenkeel/core/compiled.hpp"
#include "evenkeel/core/strides.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN
EVENKEEL_BEGIN_SMALL

// What the calls of all norms share, after the norm has made its Partition.

/// What a call fuses, whatever its types: see Fused. An argument that there is not has no name.
struct FusedArguments {
  Activation<double> activation{};
  Argument residual, skip, plus;  // inputs
  Argument d_residual, sum;       // outputs
  const void* kernels = nullptr;  // FusedKernels
  void (*fuse)(const FusedArguments&, void* pass) = nullptr;
};
inline bool is_there(const Argument& a) { return a.name[0] != 0; }

/// The arguments of a forward call.
struct ForwardArguments {
  Argument x, y;
  Memory gamma, beta;
  const FusedArguments* fused = nullptr;  // may be null

  Strides strides() const { return strides_of_call(x, y); }
};

/// An input that a call fuses: of x's shape; out is another array, or may be this one itself.
EVENKEEL_OUTLINE void check_fused_input(const Caller& caller, const Argument& input, const Argument& x,
                                        const Strides& strides, const Argument& out, bool may_be_out) {
  if (!is_there(input)) return;
  if (input.shape != x.shape) {
    fail(caller, {input.name, " is ", shown(input.shape), ", expected x's shape ", shown(x.shape)});
  }
  check_layout(caller, input, x);
  check_strides(caller, input, x, strides);
  if (may_be_out && input.data == out.data && out.shape == x.shape) return;
  check_apart(caller, out, input);
}

EVENKEEL_OUTLINE void check_fused_forward(const Caller& caller, const ForwardArguments& a) {
  const FusedArguments& f = *a.fused;
  const Strides strides = a.strides();
  const bool copies_x = !are_same(a.x.strides(), strides, a.x.shape);  // to y
  check_fused_input(caller, f.residual, a.x, strides, a.y, !copies_x);
  check_fused_input(caller, f.skip, a.x, strides, a.y, !copies_x);
  if (!is_there(f.sum)) return;
  check_output(caller, f.sum, a.x);
  check_strides(caller, f.sum, a.x, strides);
  check_fused_input(caller, f.skip, a.x, strides, f.sum, true);
  check_apart(caller, f.sum, a.y);
  check_apart(caller, f.sum, a.gamma);
  check_apart(caller, f.sum, a.beta);
}

EVENKEEL_OUTLINE void check_forward(const Caller& caller, const ForwardArguments& a, Index params) {
  register_bytes();  // a wrong EVENKEEL_MAX_ISA is reported before anything is written
  check_param(caller, a.gamma, params);
  check_param(caller, a.beta, params);
  check_output(caller, a.y, a.x);
  check_apart(caller, a.y, a.gamma);
  check_apart(caller, a.y, a.beta);
  if (a.fused != nullptr) check_fused_forward(caller, a);
}

template <typename Param>
const Param* data_of(const Memory& a) {
  return a.size == 0 ? nullptr : static_cast<const Param*>(a.data);
}

template <typename S>
Pass<S> forward_pass(const ForwardArguments& a, void* out, const Formula& formula) {
  Pass<S> pass;
  pass.out = static_cast<S*>(out);
  pass.x = as_walked<S>(a.x, a.strides(), pass.out);
  pass.gamma = data_of<ComputeOf<S>>(a.gamma);
  pass.beta = data_of<ComputeOf<S>>(a.beta);
  pass.formula = formula;
  if (a.fused != nullptr) a.fused->fuse(*a.fused, &pass);
  return pass;
}

/// Keeps what backward knows forward's x by.
template <typename S>
void take_seen(const ForwardArguments& a, const S* values, Fingerprint& seen) {
  if (!a.y.has_gaps) {
    seen.take(values, a.x.size);
  } else {
    seen.take_at(values, a.x.size, [&](Index i) { return offset_of(a.x, a.strides(), i); });
  }
}

template <typename S>
EVENKEEL_OUTLINE void call_forward(const Caller& caller, const ParallelFor& loops, const ForwardArguments& a,
                                   const Partition& p, const Formula& formula,
                                   Moments<StatisticOf<S>>* moments,
                                   void (*run)(const Partition&, const Pass<S>&, const ParallelFor&)) {
  check_forward(caller, a, p.params());
  const bool needs_room = moments != nullptr && !moments->fits(p.sets());
  Moments<StatisticOf<S>> fresh;
  if (needs_room) moments->make_room(p.sets(), fresh);
  Pass<S> pass = forward_pass<S>(a, prepare(a.y, a.x.shape), formula);
  if (needs_room) moments->swap(fresh);
  if (moments != nullptr) moments->used = p.sets();
  if (a.x.size == 0) {
    if (moments != nullptr) moments->clear();
    return;
  }
  if (moments != nullptr) {
    pass.moments = moments->places();
    if (pass.fused.skip == nullptr) take_seen(a, pass.x, moments->seen);
  }
  run(p, pass, loops);
  if (moments != nullptr && pass.fused.skip != nullptr) take_seen(a, pass.x, moments->seen);
}

/// Normalizes with each set's own statistics. moments may be null.
template <Sets kSets, typename S>
void call_forward(const Caller& caller, const ParallelFor& loops, const ForwardArguments& a,
                  const Partition& p, const Formula& formula, Moments<StatisticOf<S>>* moments) {
  call_forward<S>(caller, loops, a, p, formula, moments, Core<S>::template normalize<kSets>);
}

/// The given statistics of a call: arrays of the caller's, and what a layer keeps of the mean beside its own.
struct InferenceArguments {
  Memory mean, variance;
  const void* high = nullptr;  // see GivenStatistics
  const void* low = nullptr;
};

template <typename C>
EVENKEEL_COLD void refuse_no_variances(const Caller& caller, const Memory& variance) {
  const C* values = static_cast<const C*>(variance.data);
  for (Index c = 0; c < variance.size; ++c) {
    if (is_finite(values[c]) && !(values[c] < C(0))) continue;
    if constexpr (std::is_arithmetic_v<C>) {
      fail(caller, {variance.name, "[", c, "] is ", shown(static_cast<double>(values[c])),
                    ", must be finite and >= 0"});
    } else {
      fail(caller, {variance.name, "[", c, "] must be finite and >= 0"});
    }
  }
}

/// Given statistics, one a set, in which all variances are finite and >= 0.
template <typename S>
GivenStatistics<ComputeOf<S>> checked_statistics(const Caller& caller, const InferenceArguments& given,
                                                 Index sets) {
  using C = ComputeOf<S>;
  const GivenStatistics<C> statistics{static_cast<const C*>(given.mean.data),
                                      static_cast<const C*>(given.variance.data),
                                      static_cast<const C*>(given.high), static_cast<const C*>(given.low)};
  if (!Core<S>::are_variances(statistics.variance, sets)) refuse_no_variances<C>(caller, given.variance);
  return statistics;
}

/// Normalizes with given statistics, one a set.
template <typename S>
EVENKEEL_OUTLINE void call_infer(const Caller& caller, const ParallelFor& loops, const ForwardArguments& a,
                                 const InferenceArguments& given, const Partition& p,
                                 const Formula& formula) {
  check_forward(caller, a, p.params());
  check_apart(caller, a.y, given.mean);
  check_apart(caller, a.y, given.variance);
  const auto statistics = checked_statistics<S>(caller, given, p.params());
  const Pass<S> pass = forward_pass<S>(a, prepare(a.y, a.x.shape), formula);
  if (a.x.size == 0) return;
  Core<S>::normalize_by(p, pass, statistics, loops);
}

/// The arguments of a backward call. A gradient that is not wanted has no output.
struct BackwardArguments {
  Argument x, dy, dx, grad_gamma, grad_beta;
  Memory gamma;
  Memory beta;                            // where something is fused
  const FusedArguments* fused = nullptr;  // may be null

  Strides strides() const { return strides_of_call(x, dx); }
};

/// The argument of a gradient, or that of none.
template <typename Param, typename Gradient>
Argument gradient_argument(const Caller& caller, const char* name, Gradient* gradient) {
  static_assert(std::is_same_v<ScalarOf<Gradient>, Param>,
                "evenkeel: gradients must be of the type ParamOf<Scalar>");
  if (gradient != nullptr) {
    check_contiguous(caller, name, *gradient);
    return output_argument(caller, name, *gradient);
  }
  Argument none;
  none.name = name;
  return none;
}

EVENKEEL_OUTLINE void check_fused_backward(const Caller& caller, const BackwardArguments& a, Index params) {
  const FusedArguments& f = *a.fused;
  check_param(caller, a.beta, params);
  check_apart(caller, a.dx, a.beta);
  const Strides strides = a.strides();
  check_fused_input(caller, f.residual, a.x, strides, a.dx, false);
  check_fused_input(caller, f.plus, a.x, strides, a.dx, false);
  for (const Argument* gradient : {&a.grad_gamma, &a.grad_beta}) {
    check_apart(caller, *gradient, f.residual);
    check_apart(caller, *gradient, f.plus);
  }
  if (!is_there(f.d_residual)) return;
  check_output(caller, f.d_residual, a.x);
  check_strides(caller, f.d_residual, a.x, strides);
  for (const Memory* other :
       {static_cast<const Memory*>(&a.x), static_cast<const Memory*>(&a.dy),
        static_cast<const Memory*>(&a.dx), static_cast<const Memory*>(&f.residual), &a.gamma, &a.beta,
        static_cast<const Memory*>(&a.grad_gamma), static_cast<const Memory*>(&a.grad_beta)}) {
    check_apart(caller, f.d_residual, *other);
  }
}

EVENKEEL_OUTLINE void check_backward_arguments(const Caller& caller, const BackwardArguments& a,
                                               Index params) {
  register_bytes();
  if (a.dy.shape != a.x.shape) {
    fail(caller, {"dy is ", shown(a.dy.shape), ", expected x's shape ", shown(a.x.shape)});
  }
  check_layout(caller, a.dy, a.x);
  check_param(caller, a.gamma, params);
  check_output(caller, a.dx, a.dy);
  check_apart(caller, a.dx, a.x);
  check_apart(caller, a.dx, a.gamma);
  Argument expected;
  expected.name = "gamma";
  expected.shape = Shape{params};
  for (const Argument* gradient : {&a.grad_gamma, &a.grad_beta}) {
    if (gradient->object == nullptr) continue;
    check_output(caller, *gradient, expected);
    for (const Memory* other : {static_cast<const Memory*>(&a.x), static_cast<const Memory*>(&a.dy),
                                static_cast<const Memory*>(&a.dx), &a.gamma}) {
      check_apart(caller, *gradient, *other);
    }
  }
  check_apart(caller, a.grad_gamma, a.grad_beta);
  if (a.fused != nullptr) check_fused_backward(caller, a, params);
}

/// Checks that moments come from a forward call with so many sets.
template <typename T>
EVENKEEL_OUTLINE void check_moments(const Caller& caller, const Moments<T>& moments, Index sets, bool rms) {
  if (moments.size() != sets)
    fail(caller, {"moments has ", counted(moments.size(), "set"), ", expected ", sets});
  const auto check = [&](const char* name, const Vector<T>& array) {
    if (!moments.has_room(array, sets)) check_size(caller, name, array.size(), sets);
  };
  if (!rms) check("moments.mean", moments.mean);
  check("moments.inv_std", moments.inv_std);
  if (moments.mean_low.size() > 0) check("moments.mean_low", moments.mean_low);
}

/// Checks that x is the one that forward took, as far as the fingerprint tells.
template <typename S>
EVENKEEL_OUTLINE void check_seen(const Caller& caller, const Argument& x, const Fingerprint& seen) {
  if constexpr (kHasFingerprint<S>) {
    if (seen.size() == 0) return;
    if (x.size != seen.size())
      fail(caller, {"x has ", counted(x.size, "value"), ", forward's x had ", seen.size()});
    const auto* values = static_cast<const S*>(x.data);
    const auto at = [&](Index i) { return x.has_gaps ? strided_offset(x, x.strides(), i) : i; };
    const int k = seen.first_other(values, at);
    if (k == Fingerprint::kPlaces) return;
    const Index i = Fingerprint::place(k, x.size);
    fail(caller,
         {"x is not the last forward's x: value ", i, " is ", shown(static_cast<double>(values[at(i)]), 9),
          ", was ", shown(seen.value<S>(k), 9),
          "; keep a copy where y is x, call backward before the next forward, or switch checks_x off"});
  }
}

/// How much of the workspace a copy of x takes, if it is not laid out as dx.
template <typename S>
Index copy_size(const Caller& caller, const BackwardArguments& a) {
  using T = StatisticOf<S>;
  const Strides strides = a.strides();
  if (are_same(a.x.strides(), strides, a.x.shape)) return 0;
  if constexpr (std::is_same_v<S, T> || (std::is_trivially_copyable_v<S> && alignof(S) <= alignof(T))) {
    const std::uintptr_t bytes = strides.are_none() ? bytes_of<S>(a.x.size) : a.dx.bytes;
    return static_cast<Index>((bytes + sizeof(T) - 1) / sizeof(T));
  } else {
    const Shape own = a.x.strides().shape(), expected = strides.shape();
    fail(caller, {"x has strides ", shown(own), ", dx has ", shown(expected), "; copy it first"});
  }
}

/// Gives the outputs their shapes, and the workspace its size; gradients of an empty batch are 0.
template <typename S>
Pass<S> backward_pass(const Caller& caller, const BackwardArguments& a, Index params, Index needed,
                      Vector<StatisticOf<S>>& workspace) {
  using C = ComputeOf<S>;
  const Index all = needed + copy_size<S>(caller, a);
  if (workspace.size() < all) workspace = vector_of<StatisticOf<S>>(all);
  const auto prepare_gradient = [&](const Argument& gradient) {
    return gradient.object == nullptr ? nullptr : static_cast<C*>(prepare(gradient, Shape{params}));
  };
  Pass<S> pass;
  pass.grad_gamma = prepare_gradient(a.grad_gamma);
  pass.grad_beta = prepare_gradient(a.grad_beta);
  pass.out = static_cast<S*>(prepare(a.dx, a.x.shape));
  if (a.x.size == 0) {
    if (a.fused != nullptr && is_there(a.fused->d_residual)) prepare(a.fused->d_residual, a.x.shape);
    for (C* gradient : {pass.grad_gamma, pass.grad_beta}) {
      if (gradient != nullptr) std::fill_n(gradient, params, C(0));
    }
  }
  const Strides strides = a.strides();
  pass.x = as_walked(a.x, strides, reinterpret_cast<S*>(workspace.data() + needed));
  pass.dy = as_walked(a.dy, strides, pass.out);
  pass.gamma = data_of<C>(a.gamma);
  pass.beta = data_of<C>(a.beta);
  pass.sums = workspace.data();
  return pass;
}

template <typename S>
EVENKEEL_OUTLINE void call_backward(const Caller& caller, const ParallelFor& loops,
                                    const BackwardArguments& a, const Partition& p, const Formula& formula,
                                    const Moments<StatisticOf<S>>& moments, Vector<StatisticOf<S>>& workspace,
                                    Index (*workspace_size)(const Partition&),
                                    void (*run)(const Partition&, const Pass<S>&, const ParallelFor&)) {
  check_moments(caller, moments, p.sets(), formula.rms);
  check_backward_arguments(caller, a, p.params());
  if (moments.checks_x) check_seen<S>(caller, a.x, moments.seen);
  const bool is_empty = a.x.size == 0;
  Pass<S> pass = backward_pass<S>(caller, a, p.params(), is_empty ? 0 : workspace_size(p), workspace);
  if (is_empty) return;
  pass.formula = formula;
  pass.saved = moments.places();
  if (formula.rms) pass.saved.mean = pass.saved.mean_low = nullptr;
  if (a.fused != nullptr) a.fused->fuse(*a.fused, &pass);
  run(p, pass, loops);
}

/// dx and the gradients of gamma and beta. workspace grows as needed and is kept by the caller.
template <Sets kSets, typename S>
void call_backward(const Caller& caller, const ParallelFor& loops, const BackwardArguments& a,
                   const Partition& p, const Formula& formula, const Moments<StatisticOf<S>>& moments,
                   Vector<StatisticOf<S>>& workspace) {
  call_backward<S>(caller, loops, a, p, formula, moments, workspace, Core<S>::template workspace_size<kSets>,
                   Core<S>::template differentiate<kSets>);
}

/// The arguments of a call whose scalar type is x's.
template <typename X, typename Gamma, typename Beta, typename Y>
ForwardArguments forward_arguments(const Caller& caller, const X& x, const Gamma& gamma, const Beta& beta,
                                   Y& y) {
  using S = ScalarOf<X>;
  static_assert(std::is_same_v<ScalarOf<Y>, S>, "evenkeel: y must have x's scalar type");
  static_assert(kMayShareLayout<X, Y>,
                "evenkeel: x and y must have one layout, and here one is row-major and one column-major");
  return {input_argument(caller, "x", x), output_argument(caller, "y", y),
          param_argument<ParamOf<S>>(caller, "gamma", gamma),
          param_argument<ParamOf<S>>(caller, "beta", beta), nullptr};
}
template <typename X, typename Dy, typename Gamma, typename Dx, typename GradGamma, typename GradBeta>
BackwardArguments backward_arguments(const Caller& caller, const X& x, const Dy& dy, const Gamma& gamma,
                                     Dx& dx, GradGamma* grad_gamma, GradBeta* grad_beta) {
  using S = ScalarOf<X>;
  static_assert(std::is_same_v<ScalarOf<Dy>, S>, "evenkeel: dy must have x's scalar type");
  static_assert(std::is_same_v<ScalarOf<Dx>, S>, "evenkeel: dx must have x's scalar type");
  static_assert(kMayShareLayout<X, Dy>,
                "evenkeel: x and dy must have one layout, and here one is row-major and one column-major");
  static_assert(kMayShareLayout<X, Dx>,
                "evenkeel: x and dx must have one layout, and here one is row-major and one column-major");
  return {input_argument(caller, "x", x),
          input_argument(caller, "dy", dy),
          output_argument(caller, "dx", dx),
          gradient_argument<ParamOf<S>>(caller, "grad_gamma", grad_gamma),
          gradient_argument<ParamOf<S>>(caller, "grad_beta", grad_beta),
          param_argument<ParamOf<S>>(caller, "gamma", gamma),
          {},
          nullptr};
}

EVENKEEL_OUTLINE void check_same_as_forwards(const Caller& caller, const Argument& x, const Shape& shape,
                                             Layout layout) {
  if (shape.rank() == 0) fail(caller, {"called before forward; infer saves nothing for it"});
  if (x.shape != shape) fail(caller, {"x is ", shown(x.shape), ", forward's x was ", shown(shape)});
  if (x.layout != layout && shape.rank() > 1) {
    fail(caller, {"x is ", text_of(x.layout), ", forward's x was ", text_of(layout)});
  }
}

EVENKEEL_END_SMALL
EVENKEEL_END
}  // namespace evenkeel::detail
