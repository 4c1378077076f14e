#pragma once

#include "evenkeel/base/scalar.hpp"
#include "evenkeel/simd/dispatch.hpp"
#include "evenkeel/simd/vec.hpp"

namespace evenkeel::kernels {

/// Elements in memory: outer x inner lines of `length` neighbours each.
struct Lines {
  Index outer = 1, outer_stride = 0;
  Index inner = 1, inner_stride = 0;
  Index length = 1;

  Index count() const { return outer * inner; }
  Index size() const { return count() * length; }

  Index line_offset(Index line) const { return line / inner * outer_stride + line % inner * inner_stride; }
  Index offset(Index element) const {
    return element < length ? element : line_offset(element / length) + element % length;
  }
};

/// Walks lines in order and knows where the present one begins.
class LineCursor {
 public:
  EVENKEEL_INLINE LineCursor(const Lines& lines, Index line)
      : lines_(lines),
        inner_(line % lines.inner),
        offset_(line / lines.inner * lines.outer_stride + inner_ * lines.inner_stride) {}

  EVENKEEL_INLINE Index offset() const { return offset_; }

  EVENKEEL_INLINE void next() {
    offset_ += lines_.inner_stride;
    if (++inner_ == lines_.inner) {
      inner_ = 0;
      offset_ += lines_.outer_stride - lines_.inner * lines_.inner_stride;
    }
  }

 private:
  const Lines& lines_;
  Index inner_, offset_;
};

/// So many vectors are summed in the compute type before they join the wide sum.
constexpr int kShortSum = 16;

/// The most sets, cells or lanes in one kernel call: scratch on the stack is sized by it.
constexpr Index kBatch = 128;

}  // namespace evenkeel::kernels
