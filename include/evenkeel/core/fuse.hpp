// SPDX-License-Identifier: MIT
#pragma once

#include "evenkeel/core/calls.hpp"
#include "evenkeel/epilogue.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN

// From the trailing argument of a call to its pass, and its checks. Only calls that have one compile this.

EVENKEEL_BEGIN_SMALL

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

EVENKEEL_OUTLINE void check_fused_forward(const Caller& caller, const ForwardArguments& a, Index) {
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

EVENKEEL_END_SMALL

/// Puts what a call fuses into its pass.
template <typename S>
void fuse(const FusedArguments& a, void* into) {
  using C = ComputeOf<S>;
  Pass<S>& pass = *static_cast<Pass<S>*>(into);
  Fused<S>& f = pass.fused;
  f.kernels = static_cast<const FusedKernels<S>*>(a.kernels);
  f.epilogue.residual = static_cast<const S*>(a.residual.data);
  const Activation<double>& act = a.activation;
  f.epilogue.activation = {act.curve, from_double<C>(act.slope), from_double<C>(act.low),
                           from_double<C>(act.high)};
  f.plus = static_cast<const S*>(a.plus.data);
  if (is_there(a.sum)) {
    f.x = pass.x;
    f.skip = static_cast<const S*>(a.skip.data);
    f.sum = static_cast<S*>(prepare(a.sum, a.skip.shape));
    pass.x = f.sum;
  }
  if (pass.dy == nullptr) return;
  S* const d_residual =
      is_there(a.d_residual) ? static_cast<S*>(prepare(a.d_residual, a.residual.shape)) : nullptr;
  if (act.curve == Curve::none) {  // dz is dy
    if (d_residual != nullptr) {
      const MemoryShape shape = memory_shape(a.residual, a.residual.strides());
      copy_lines(shape, pass.dy, shape, d_residual, sizeof(S), copy_line<S>);
    }
    return;
  }
  f.epilogue.dy = pass.dy;
  f.dz = d_residual != nullptr ? d_residual : pass.out;
  f.keeps_dz =
      f.dz == d_residual || f.epilogue.residual != nullptr || act.curve != Curve::clip || act.slope != 1;
  pass.dy = f.dz;
}

// The arguments that are fused, by their kinds.

template <typename S, typename T>
Argument fused_input(const Caller& caller, const char* name, const T& value) {
  static_assert(std::is_same_v<ScalarOf<T>, S>, "evenkeel: what is fused must have x's scalar type");
  return input_argument(caller, name, value);
}
template <typename S, typename T>
Argument fused_output(const Caller& caller, const char* name, T& value) {
  static_assert(std::is_same_v<ScalarOf<T>, S>, "evenkeel: what is fused must have x's scalar type");
  return output_argument(caller, name, value);
}

template <typename S, typename Residual, typename DResidual, bool kSmooth>
void add_fused(const Caller& caller, const Behind<Residual, DResidual, kSmooth>& f, FusedArguments& to) {
  to.activation = f.activation;
  if constexpr (!std::is_same_v<Residual, None>)
    to.residual = fused_input<S>(caller, "residual", *f.residual);
  if constexpr (!std::is_same_v<DResidual, None>) {
    to.d_residual = fused_output<S>(caller, "d_residual", *f.d_residual);
  }
}
template <typename S, typename Skip, typename Sum>
void add_fused(const Caller& caller, const Before<Skip, Sum>& f, FusedArguments& to) {
  to.skip = fused_input<S>(caller, "skip", *f.skip);
  to.sum = fused_output<S>(caller, "sum", *f.sum);
}
template <typename S, typename Plus>
void add_fused(const Caller& caller, const Added<Plus>& f, FusedArguments& to) {
  to.plus = fused_input<S>(caller, "d_sum", *f.plus);
}

template <typename T>
inline constexpr bool kIsBehind = false;
template <typename Residual, typename DResidual, bool kSmooth>
inline constexpr bool kIsBehind<Behind<Residual, DResidual, kSmooth>> = true;
template <typename T>
inline constexpr bool kIsSmooth = false;
template <typename Residual, typename DResidual>
inline constexpr bool kIsSmooth<Behind<Residual, DResidual, true>> = true;
template <typename T>
inline constexpr bool kIsAdded = false;
template <typename Plus>
inline constexpr bool kIsAdded<Added<Plus>> = true;

/// What a call of a norm fuses, if it does.
template <Sets kSets, typename S, bool kBackward, typename F>
FusedArguments fused_arguments(const Caller& caller, const F& f) {
  static_assert(kIsBehind<F> || kSets == Sets::features || kSets == Sets::rms,
                "evenkeel: residual_in and plus are for LayerNorm and RMSNorm");
  static_assert(kIsBehind<F> || kIsAdded<F> == kBackward,
                "evenkeel: residual_in is for forward and infer, plus is for backward");
  FusedArguments a;
  a.kernels = &Core<S>::template fused_kernels<kSets, kBackward, kIsSmooth<F>>(kSets == Sets::rms);
  a.fuse = fuse<S>;
  add_fused<S>(caller, f, a);
  return a;
}
template <Sets kSets, typename S, bool kBackward>
None fused_arguments(const Caller&) {
  return {};
}

inline void attach(const FusedArguments& fused, ForwardArguments& to) {
  to.fused = &fused;
  to.check_fused = check_fused_forward;
}
inline void attach(const FusedArguments& fused, BackwardArguments& to) {
  to.fused = &fused;
  to.check_fused = check_fused_backward;
}
template <typename Arguments>
void attach(None, Arguments&) {}

EVENKEEL_END
}  // namespace evenkeel::detail
