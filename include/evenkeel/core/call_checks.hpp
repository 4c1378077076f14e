// SPDX-License-Identifier: MIT
#pragma once

#include <type_traits>

#include "evenkeel/core/checks.hpp"
#include "evenkeel/core/fingerprint.hpp"
#include "evenkeel/core/strides.hpp"
#include "evenkeel/kernels/kernels.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN
EVENKEEL_BEGIN_SMALL

// The arguments of calls, whatever their types, and what must hold for them.

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
  void (*check_fused)(const Caller&, const ForwardArguments&, Index params) = nullptr;

  Strides strides() const { return strides_of_call(x, y); }
};

/// Keeps what backward knows forward's x by. values: x as the call walks it.
template <typename S>
EVENKEEL_COLD void take_seen_with_gaps(const ForwardArguments& a, const S* values, Fingerprint& seen) {
  seen.take_at(values, a.x.size, [&](Index i) { return offset_of(a.x, a.strides(), i); });
}

EVENKEEL_OUTLINE void check_forward(const Caller& caller, const ForwardArguments& a, Index params) {
  register_bytes();  // a wrong EVENKEEL_MAX_ISA is reported before anything is written
  check_param(caller, a.gamma, params);
  check_param(caller, a.beta, params);
  check_output(caller, a.y, a.x);
  check_apart(caller, a.y, a.gamma);
  check_apart(caller, a.y, a.beta);
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

/// There are statistics of each channel, and all variances are finite and >= 0. The kernel may take a -0 for another.
template <typename S>
void check_given(const Caller& caller, const InferenceArguments& given, Index channels) {
  using C = ComputeOf<S>;
  for (const Memory* statistic : {&given.mean, &given.variance}) {
    check_param(caller, *statistic, channels);
    check_size(caller, statistic->name, statistic->size, channels);  // check_param takes none for all
  }
  if (check_variances(CheckVariances<S>{static_cast<const C*>(given.variance.data), channels}) != 0) {
    refuse_no_variances<C>(caller, given.variance);
  }
}

/// The arguments of a backward call. A gradient that is not wanted has no output.
struct BackwardArguments {
  Argument x, dy, dx, grad_gamma, grad_beta;
  Memory gamma;
  Memory beta;                            // where something is fused
  const FusedArguments* fused = nullptr;  // may be null
  void (*check_fused)(const Caller&, const BackwardArguments&, Index params) = nullptr;

  Strides strides() const { return strides_of_call(x, dx); }
};

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

/// seen: the last forward's x, or null if it may be another one.
template <typename S>
void check_backward(const Caller& caller, const BackwardArguments& a, Index params, const Fingerprint* seen) {
  check_backward_arguments(caller, a, params);
  if (seen != nullptr) check_seen<S>(caller, a.x, *seen);
}

EVENKEEL_END_SMALL
EVENKEEL_END
}  // namespace evenkeel::detail
