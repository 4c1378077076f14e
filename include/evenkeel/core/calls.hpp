// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "evenkeel/core/compiled.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN
EVENKEEL_BEGIN_SMALL

// What the calls of all norms share, after the norm has made its Partition.

template <typename Param>
const Param* data_of(const Memory& a) {
  return a.size == 0 ? nullptr : static_cast<const Param*>(a.data);
}

/// An input as a call walks it: where it lies, or copied to an array with these strides.
template <typename S>
const S* as_walked(const Argument& input, const Strides& strides, S* to) {
  if (are_same(input.strides(), strides, input.shape)) return static_cast<const S*>(input.data);
  Core<S>::copy_input(input, strides, to);
  return to;
}

/// Checks what a call fuses.
template <typename Arguments>
void check_fused(const Caller& caller, const Arguments& a, Index params) {
  if (a.fused != nullptr) a.check_fused(caller, a, params);
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
    Core<S>::take_seen_with_gaps(a, values, seen);
  }
}

template <typename S>
EVENKEEL_OUTLINE void call_forward(const Caller& caller, const ParallelFor& loops, const ForwardArguments& a,
                                   const Partition& p, const Formula& formula,
                                   Moments<StatisticOf<S>>* moments,
                                   void (*run)(const Partition&, Pass<S>&, const ParallelFor&)) {
  Core<S>::check_forward(caller, a, p.params());
  check_fused(caller, a, p.params());
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

template <typename S>
GivenStatistics<ComputeOf<S>> given_statistics(const InferenceArguments& given) {
  using C = ComputeOf<S>;
  return {static_cast<const C*>(given.mean.data), static_cast<const C*>(given.variance.data),
          static_cast<const C*>(given.high), static_cast<const C*>(given.low)};
}

/// Normalizes with given statistics, one a set.
template <typename S>
EVENKEEL_OUTLINE void call_infer(const Caller& caller, const ParallelFor& loops, const ForwardArguments& a,
                                 const InferenceArguments& given, const Partition& p,
                                 const Formula& formula) {
  Core<S>::check_forward(caller, a, p.params());
  check_fused(caller, a, p.params());
  check_apart(caller, a.y, given.mean);
  check_apart(caller, a.y, given.variance);
  Pass<S> pass = forward_pass<S>(a, prepare(a.y, a.x.shape), formula);
  if (a.x.size == 0) return;
  Core<S>::normalize_by(p, pass, given_statistics<S>(given), loops);
}

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
                                    void (*run)(const Partition&, Pass<S>&, const ParallelFor&)) {
  check_moments(caller, moments, p.sets(), formula.rms);
  Core<S>::check_backward(caller, a, p.params(), moments.checks_x ? &moments.seen : nullptr);
  check_fused(caller, a, p.params());
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
EVENKEEL_OUTLINE BackwardArguments backward_arguments(const Caller& caller, const X& x, const Dy& dy,
                                                      const Gamma& gamma, Dx& dx, GradGamma* grad_gamma,
                                                      GradBeta* grad_beta) {
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
