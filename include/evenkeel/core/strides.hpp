// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>

#include "evenkeel/core/argument.hpp"
#include "evenkeel/core/partition.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN
EVENKEEL_BEGIN_SMALL

// Memory with gaps: the strides of a call, and copies of what is laid out otherwise.

/// The strides of a call are those that its output has or will have. An input of others is copied first: x into y, dy
/// into dx, and backward's x into the workspace.
inline Strides strides_of_call(const Argument& x, const Argument& out) {
  const bool has_its = out.has_gaps && out.shape == x.shape && out.layout == x.layout;
  return has_its ? out.strides() : Strides();
}

/// Memory of an argument's shape and these strides.
EVENKEEL_OUTLINE MemoryShape memory_shape(const Argument& a, const Strides& strides) {
  MemoryShape shape(a.shape, a.layout);
  if (!strides.are_none()) shape.set_strides(strides.shape());
  return shape;
}

EVENKEEL_COLD inline void refuse_loops(const Caller& caller, const Argument& x, const Strides& strides) {
  const Shape its = strides.shape();
  fail(caller, {"strides ", shown(its), " of ", shown(x.shape),
                " take more loops than this norm walks; use contiguous memory"});
}
/// Refuses strides that the partition cannot walk.
inline void check_walkable(const Caller& caller, const Argument& x, const Strides& strides,
                           const Partition& p) {
  if (!p.is_walkable) refuse_loops(caller, x, strides);
}

/// Copies `size` neighbours.
template <typename S>
void copy_line(const void* from, void* to, Index size) {
  std::copy_n(static_cast<const S*>(from), size, static_cast<S*>(to));
}

/// Copies elements of so many bytes between memory of one shape.
EVENKEEL_COLD inline void copy_lines(const MemoryShape& here, const void* from, const MemoryShape& there,
                                     void* to, std::size_t element, void (*copy)(const void*, void*, Index)) {
  const int line = std::max(here.line_axis(), there.line_axis());
  const Index lines = here.product(0, line), size = here.product(line, here.rank);
  const auto bytes = [&](const MemoryShape& shape, Index i) {
    return static_cast<std::size_t>(shape.offset(i * size)) * element;
  };
  for (Index i = 0; i < lines; ++i)
    copy(static_cast<const char*>(from) + bytes(here, i), static_cast<char*>(to) + bytes(there, i), size);
}

/// Copies an input to an array with these strides.
template <typename S>
EVENKEEL_COLD void copy_input(const Argument& input, const Strides& strides, S* to) {
  copy_lines(memory_shape(input, input.strides()), input.data, memory_shape(input, strides), to, sizeof(S),
             copy_line<S>);
}

EVENKEEL_COLD inline Index strided_offset(const Argument& a, const Strides& strides, Index i) {
  return memory_shape(a, strides).offset(i);
}
/// Where the element lies that is number i in the order of memory.
inline Index offset_of(const Argument& a, const Strides& strides, Index i) {
  return strides.are_none() ? i : strided_offset(a, strides, i);
}

/// What is fused is never copied: it has the strides of the call, or will have.
EVENKEEL_OUTLINE void check_strides(const Caller& caller, const Argument& a, const Argument& x,
                                    const Strides& strides) {
  const Strides its = strides_of_call(x, a);
  if (are_same(its, strides, x.shape)) return;
  const Shape has = its.shape(), expected = strides.shape();
  fail(caller, {a.name, " has strides ", shown(has), ", expected the output's ", shown(expected),
                "; those of contiguous memory are []"});
}

EVENKEEL_END_SMALL
EVENKEEL_END
}  // namespace evenkeel::detail
