// SPDX-License-Identifier: MIT
#pragma once

#include <optional>

#include "evenkeel/core/argument.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN
EVENKEEL_BEGIN_SMALL

// Checks of single arguments and options, whatever their types.

/// An axis as the caller counts, made non-negative.
EVENKEEL_OUTLINE int resolve_axis(const Caller& caller, const char* name, Index axis, const Shape& shape,
                                  const char* of = "x") {
  const Index rank = shape.rank();
  if (axis < -rank || axis >= rank) {
    fail(caller, {name, " is ", axis, ", must lie in [", -rank, ", ", rank - 1, "] for ", of, " ",
                  shown(shape), rank == 1 ? "; for a vector set axis = -1" : ""});
  }
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

EVENKEEL_OUTLINE void check_epsilon(const Caller& caller, double epsilon) {
  if (!is_finite(epsilon) || epsilon < 0)
    fail(caller, {"epsilon is ", shown(epsilon), ", must be finite and >= 0"});
}

EVENKEEL_OUTLINE void check_gamma_offset(const Caller& caller, double offset) {
  if (!is_finite(offset)) fail(caller, {"gamma_offset is ", shown(offset), ", must be finite"});
}

EVENKEEL_OUTLINE void check_momentum(const Caller& caller, const std::optional<double>& momentum) {
  if (momentum && !(is_finite(*momentum) && *momentum >= 0 && *momentum <= 1)) {
    fail(caller, {"momentum is ", shown(*momentum), ", must lie in [0, 1]"});
  }
}

EVENKEEL_OUTLINE Index check_positive(const Caller& caller, const char* name, Index value) {
  if (value < 1) fail(caller, {name, " is ", value, ", must be at least 1"});
  return value;
}

EVENKEEL_OUTLINE void check_size(const Caller& caller, const char* name, Index size, Index expected) {
  if (size != expected) fail(caller, {name, " has ", counted(size, "value"), ", expected ", expected});
}

/// There are `expected` of what `noun` names on the axis.
EVENKEEL_OUTLINE void check_extent(const Caller& caller, const Shape& shape, int axis, const char* noun,
                                   Index expected, const char* of = "x") {
  if (shape[axis] != expected) {
    fail(caller, {of, " has ", counted(shape[axis], noun), " on axis ", axis, " of ", shown(shape),
                  ", expected ", expected});
  }
}

EVENKEEL_OUTLINE void check_param(const Caller& caller, const Memory& a, Index expected) {
  if (a.size == 0) return;
  if (a.data == nullptr) fail(caller, {a.name, " has null data and ", counted(a.size, "value")});
  check_size(caller, a.name, a.size, expected);
}

EVENKEEL_END_SMALL
EVENKEEL_END
}  // namespace evenkeel::detail
