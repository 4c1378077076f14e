#pragma once

#include <algorithm>
#include <numeric>

#include "evenkeel/core/parallel.hpp"
#include "evenkeel/kernels/lines.hpp"

namespace evenkeel {
EVENKEEL_BEGIN

/// The fewest rows of `lanes` Storage values each that fill whole cache lines.
template <typename Storage>
Index rows_of_whole_lines(Index lanes) {
  const Index line = std::max<Index>(1, 64 / static_cast<Index>(sizeof(Storage)));
  return line / std::gcd(lanes, line);
}

/// Rows of neighbouring lanes. Narrow rows that follow each other in memory make lines of several rows, so that
/// no vector is left half empty and no loop is short; the last line may have fewer rows.
template <typename Storage>
class WideRows {
 public:
  /// A line has at least `enough` values if rows are not as wide, and may be put together.
  WideRows(const kernels::Lines& rows, Index lanes, Index enough)
      : lines_(rows), lanes_(lanes), rows_(rows.count()) {
    const bool follow = (rows.inner == 1 || rows.inner_stride == lanes) &&
                        (rows.outer == 1 || rows.outer_stride == rows.inner * lanes);
    if (!follow || lanes >= enough) return;
    const Index whole = rows_of_whole_lines<Storage>(lanes), least = enough / lanes;
    copies_ = (least + whole - 1) / whole * whole;
    if (copies_ * lanes > kernels::kLanes<ComputeOf<Storage>> / 2) copies_ = least;
    lines_ = {1, 0, (rows_ + copies_ - 1) / copies_, width(), 1};
  }

  /// Rows in a line, and values.
  Index copies() const { return copies_; }
  Index width() const { return copies_ * lanes_; }
  Index lanes() const { return lanes_; }
  const kernels::Lines& lines() const { return lines_; }

  Pieces pieces(Index most) const { return {lines_.count(), width(), most}; }

  /// values[0 .. width) = the first row's values, over and over.
  template <typename T>
  void repeat(T* values) const {
    for (Index c = 1; c < copies_; ++c) std::copy(values, values + lanes_, values + c * lanes_);
  }

  /// Calls f(first, last, values in a line) for lines [begin, end): the last one apart if it is shorter.
  template <typename F>
  void for_each_span(Index begin, Index end, const F& f) const {
    const Index whole = std::min(end, rows_ / copies_);
    if (begin < whole) f(begin, whole, width());
    if (whole < end) f(whole, end, (rows_ - whole * copies_) * lanes_);
  }

 private:
  kernels::Lines lines_;
  Index lanes_, rows_, copies_ = 1;
};

EVENKEEL_END
}  // namespace evenkeel
