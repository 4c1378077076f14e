// SPDX-License-Identifier: MIT
#pragma once

#include "evenkeel/base/config.hpp"
#if EVENKEEL_IS_SUPPORTED

#include <algorithm>
#include <initializer_list>
#include <limits>
#include <string>
#include <type_traits>

#include "evenkeel/base/error.hpp"
#include "evenkeel/base/scalar.hpp"

namespace evenkeel {
EVENKEEL_BEGIN

/// Which axis is the fastest in memory: the last one, as in C, or the first, as in Fortran and by default in Eigen.
enum class Layout { row_major, col_major };
/// Short names, as in ek::view(pointer, {n, c, h, w}, ek::row_major).
inline constexpr Layout row_major = Layout::row_major;
inline constexpr Layout col_major = Layout::col_major;

/// "row-major" or "column-major"
inline const char* text_of(Layout layout) { return layout == row_major ? "row-major" : "column-major"; }

/// Up to eight dimensions, as the caller indexes them.
class Shape {
 public:
  /// The largest rank.
  static constexpr int kMaxRank = 8;

  /// Creates a shape of rank 0, or one with the given extents. These are a list, or any container with random-access
  /// iterators, such as std::vector<int>, std::array or Eigen::DSizes. More than kMaxRank extents throw
  /// std::invalid_argument.
  Shape() = default;
  template <typename Iterator>
  Shape(Iterator first, Iterator last) : Shape(first, static_cast<Index>(last - first)) {}
  template <typename Iterator>
  Shape(Iterator first, Index rank) : rank_(static_cast<int>(rank)) {
    if (rank > kMaxRank) detail::fail({"", "Shape"}, {"rank is ", rank, ", must be at most ", kMaxRank});
    for (int axis = 0; axis < rank_; ++axis) extents_[axis] = static_cast<Index>(first[axis]);
  }
  Shape(std::initializer_list<Index> extents) : Shape(extents.begin(), extents.end()) {}
  template <typename Extents, typename = typename Extents::const_iterator,
            std::enable_if_t<std::is_integral_v<typename Extents::value_type>, int> = 0>
  Shape(const Extents& extents) : Shape(extents.begin(), extents.end()) {}

  /// How many dimensions.
  int rank() const { return rank_; }

  /// The extent of an axis in [0, rank()), which is not checked.
  Index operator[](int axis) const { return extents_[axis]; }

  /// The extents, to loop over.
  const Index* begin() const { return extents_; }
  const Index* end() const { return extents_ + rank_; }

  /// The product of the extents.
  Index size() const {
    Index n = 1;
    for (Index extent : *this) n *= extent;
    return n;
  }

  /// "[32, 64, 56, 56]"
  EVENKEEL_COLD std::string text() const {
    std::string list;
    detail::append_list(list, extents_, rank_);
    return list;
  }

  /// Of the same rank and extents.
  friend bool operator==(const Shape& a, const Shape& b) {
    if (a.rank_ != b.rank_) return false;
    for (int axis = 0; axis < a.rank_; ++axis) {
      if (a[axis] != b[axis]) return false;
    }
    return true;
  }
  friend bool operator!=(const Shape& a, const Shape& b) { return !(a == b); }

 private:
  Index extents_[kMaxRank] = {};
  int rank_ = 0;
};

EVENKEEL_END
}  // namespace evenkeel

namespace evenkeel::detail {
EVENKEEL_BEGIN

/// A shape in a message.
inline Piece shown(const Shape& shape) { return {Piece::Kind::list, shape.begin(), shape.rank()}; }

/// Refuses a shape with more elements of so many bytes than an Index can count.
inline void check_countable(const Caller& caller, const char* name, const Shape& shape, std::size_t element) {
  const Index most = std::numeric_limits<Index>::max() / static_cast<Index>(element);
  Index n = 1;
  for (const Index extent : shape) {
    if (extent > 0 && n > most / extent) {
      fail(caller, {name, " ", shown(shape), " has more elements than memory can have, at most ", most});
    }
    n *= std::max<Index>(extent, 1);
  }
}

/// How many elements there are from the first to the last, with what lies between them. Refuses strides with which
/// elements overlap or the fastest axis is not one of neighbours.
EVENKEEL_COLD inline Index span_of(const Caller& caller, const char* name, const Shape& shape, Layout layout,
                                   const Shape& strides, std::size_t element) {
  const int rank = shape.rank();
  if (shape.size() == 0) return 0;
  if (strides.rank() != rank) {
    fail(caller, {name, " has ", counted(strides.rank(), "stride"), " ", shown(strides), " for shape ",
                  shown(shape)});
  }
  const Index most = std::numeric_limits<Index>::max() / static_cast<Index>(element);
  Index span = 1;
  for (int i = 0; i < rank; ++i) {
    const int axis = layout == col_major ? i : rank - 1 - i;
    const Index extent = shape[axis], stride = strides[axis];
    if (extent == 1) continue;
    if (span == 1 ? stride != 1 : stride < span) {
      fail(caller, {name, " has stride ", stride, " on axis ", axis, " of ", shown(shape), ", must be ",
                    span == 1 ? "" : "at least ", span, "; copy it first"});
    }
    if (extent > 1 && stride > (most - span) / (extent - 1)) {
      fail(caller, {name, " with strides ", shown(strides),
                    " has more elements than memory can have, at most ", most});
    }
    span += (extent - 1) * stride;
  }
  return span;
}

EVENKEEL_END
}  // namespace evenkeel::detail

namespace evenkeel {
EVENKEEL_BEGIN

/// A view of memory that the caller owns, as a tensor. If Scalar is const, the view is read-only.
template <typename Scalar>
struct TensorView {
  Scalar* data = nullptr;     // the first element; null only if the view has no elements
  Shape shape;                // of rank 1 to 8
  Layout layout = row_major;  // which axis is the fastest
  Shape strides;              // on each axis, from one element to the next; of rank 0: memory is contiguous

  /// The number of elements. A default-constructed view has rank 0 and no elements.
  Index size() const { return shape.rank() == 0 ? 0 : shape.size(); }
};

/// A view of memory that the caller owns: ek::view(pointer, {n, c, h, w}, ek::row_major). For memory that is not
/// contiguous, pass strides in elements: ek::view(pointer, {h, w, c}, ek::row_major, {pitch, c, 1}) for an image with
/// padded rows.
///
/// Shapes   rank 1 to 8. Without strides, the memory is contiguous in the given order. With strides, the stride is 1 on
///          the fastest axis. On each other axis it is at least the span of the faster axes.
/// Aliasing nothing is copied; the memory must outlive the view. Gaps between elements are neither read nor written, but
///          the checks for overlaps count them as part of the view.
/// Errors   std::invalid_argument for a negative dimension, a rank that is not 1 to 8, invalid strides, or more elements
///          than memory can have.
template <typename Scalar>
TensorView<Scalar> view(Scalar* data, const Shape& shape, Layout layout = row_major,
                        const Shape& strides = {}) {
  const detail::Caller caller{"", "view"};
  if (shape.rank() == 0) detail::fail(caller, {"shape has rank 0, must have 1 to 8"});
  for (int axis = 0; axis < shape.rank(); ++axis) {
    if (shape[axis] < 0)
      detail::fail(caller, {"dimension ", axis, " of ", detail::shown(shape), " is negative"});
  }
  detail::check_countable(caller, "shape", shape, sizeof(Scalar));
  if (strides.rank() > 0) detail::span_of(caller, "view", shape, layout, strides, sizeof(Scalar));
  return {data, shape, layout, strides};
}
template <typename Scalar, typename Extent>
TensorView<Scalar> view(Scalar* data, std::initializer_list<Extent> shape, Layout layout = row_major,
                        const Shape& strides = {}) {
  return view(data, Shape(shape.begin(), shape.end()), layout, strides);
}

EVENKEEL_END
}  // namespace evenkeel

#endif  // EVENKEEL_IS_SUPPORTED
