#pragma once

#include "evenkeel/base/config.hpp"
#if EVENKEEL_IS_SUPPORTED

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string>
#include <type_traits>
#include <unsupported/Eigen/CXX11/Tensor>
#include <vector>

#include "evenkeel/base/error.hpp"
#include "evenkeel/base/scalar.hpp"

namespace evenkeel {
EVENKEEL_BEGIN

/// Which axis is the fastest in memory: the last one, as in C, or the first, as in Fortran and by default in Eigen.
enum class Layout { row_major, col_major };
/// For short, as in ek::view(pointer, {n, c, h, w}, ek::row_major).
inline constexpr Layout row_major = Layout::row_major;
inline constexpr Layout col_major = Layout::col_major;

/// "row-major" or "column-major"
inline const char* text_of(Layout layout) { return layout == row_major ? "row-major" : "column-major"; }

/// Up to eight dimensions, as the caller indexes them.
class Shape {
 public:
  /// The most dimensions.
  static constexpr int kMaxRank = 8;

  /// Of rank 0, or of these extents; more than kMaxRank throw std::invalid_argument.
  Shape() = default;
  template <typename Iterator>
  Shape(Iterator first, Iterator last) : rank_(static_cast<int>(last - first)) {
    if (last - first > kMaxRank) {
      detail::fail({"", "Shape"}, {"rank is ", last - first, ", must be at most ", kMaxRank});
    }
    std::copy(first, last, extents_.begin());
  }
  Shape(std::initializer_list<Index> extents) : Shape(extents.begin(), extents.end()) {}
  Shape(const std::vector<Index>& extents) : Shape(extents.begin(), extents.end()) {}

  /// How many dimensions.
  int rank() const { return rank_; }

  /// The extent of an axis in [0, rank()), which is not checked.
  Index operator[](int axis) const { return extents_[static_cast<std::size_t>(axis)]; }

  /// The extents, to loop over.
  const Index* begin() const { return extents_.data(); }
  const Index* end() const { return extents_.data() + rank_; }

  /// The product of the extents.
  Index size() const {
    Index n = 1;
    for (Index extent : *this) n *= extent;
    return n;
  }

  /// "[32, 64, 56, 56]"
  EVENKEEL_COLD std::string text() const {
    std::string list = "[";
    for (int axis = 0; axis < rank_; ++axis) list += (axis > 0 ? ", " : "") + std::to_string((*this)[axis]);
    return list + "]";
  }

  /// Of the same rank and extents.
  friend bool operator==(const Shape& a, const Shape& b) {
    return a.rank_ == b.rank_ && a.extents_ == b.extents_;
  }
  friend bool operator!=(const Shape& a, const Shape& b) { return !(a == b); }

 private:
  std::array<Index, kMaxRank> extents_{};
  int rank_ = 0;
};

EVENKEEL_END
}  // namespace evenkeel

namespace evenkeel::detail {
EVENKEEL_BEGIN

/// Refuses a shape with more elements of so many bytes than an Index can count.
inline void check_countable(const Caller& caller, const char* name, const Shape& shape, std::size_t element) {
  const Index most = std::numeric_limits<Index>::max() / static_cast<Index>(element);
  Index n = 1;
  for (const Index extent : shape) {
    if (extent > 0 && n > most / extent) {
      fail(caller, {name, " ", shape.text(), " has more elements than memory can have, at most ", most});
    }
    n *= std::max<Index>(extent, 1);
  }
}

EVENKEEL_END
}  // namespace evenkeel::detail

namespace evenkeel {
EVENKEEL_BEGIN

/// Contiguous memory that somebody else owns, seen as a tensor. Scalar is const where it may only be read.
template <typename Scalar>
struct TensorView {
  Scalar* data = nullptr;     // of the first element; null only where there is none
  Shape shape;                // of rank 1 to 8
  Layout layout = row_major;  // of a contiguous tensor, so that strides follow

  /// How many elements: 0 for a view of nothing, which has rank 0.
  Index size() const { return shape.rank() == 0 ? 0 : shape.size(); }
};

/// A view of anybody's memory: ek::view(pointer, {n, c, h, w}, ek::row_major).
///
/// Shapes   rank 1 to 8; the memory holds the product of the dimensions, contiguous in the given order.
/// Aliasing nothing is copied; the memory must outlive the view.
/// Errors   std::invalid_argument for a negative dimension, a rank that is not 1 to 8, or more elements than memory
///          can have.
template <typename Scalar>
TensorView<Scalar> view(Scalar* data, const Shape& shape, Layout layout = row_major) {
  if (shape.rank() == 0) detail::fail({"", "view"}, {"shape has rank 0, must have 1 to 8"});
  for (int axis = 0; axis < shape.rank(); ++axis) {
    if (shape[axis] < 0)
      detail::fail({"", "view"}, {"dimension ", axis, " of ", shape.text(), " is negative"});
  }
  detail::check_countable({"", "view"}, "shape", shape, sizeof(Scalar));
  return {data, shape, layout};
}
template <typename Scalar, typename Extent>
TensorView<Scalar> view(Scalar* data, std::initializer_list<Extent> shape, Layout layout = row_major) {
  return view(data, Shape(shape.begin(), shape.end()), layout);
}

EVENKEEL_END
}  // namespace evenkeel

namespace evenkeel::detail {
EVENKEEL_BEGIN

/// How an argument type becomes a TensorView. The primary template stands for types that cannot.
template <typename T, typename = void>
struct ArgumentTraits {
  static constexpr bool kIsArgument = false;
};

template <typename T>
struct TensorArgument {
  using Scalar = std::remove_const_t<typename T::Scalar>;
  static constexpr bool kIsArgument = true;
  static constexpr int kRank = static_cast<int>(T::NumDimensions);
  static_assert(kRank >= 1 && kRank <= Shape::kMaxRank, "evenkeel: a tensor must have rank 1 to 8");

  template <typename Self>
  static auto view(const Caller&, const char*, Self& tensor) {
    using Element = std::remove_pointer_t<decltype(tensor.data())>;
    Index extents[static_cast<std::size_t>(kRank)];
    for (int axis = 0; axis < kRank; ++axis)
      extents[axis] = tensor.dimension(static_cast<unsigned char>(axis));
    return TensorView<Element>{
        tensor.data(), Shape(extents, extents + kRank),
        static_cast<int>(T::Layout) == static_cast<int>(Eigen::RowMajor) ? row_major : col_major};
  }

  static bool resizable_to(const Shape&) { return false; }
  static void resize(const T&, const Shape&) {}
};

template <typename Scalar_, int Rank, int Options, typename TensorIndex>
struct ArgumentTraits<Eigen::Tensor<Scalar_, Rank, Options, TensorIndex>>
    : TensorArgument<Eigen::Tensor<Scalar_, Rank, Options, TensorIndex>> {
  using Owning = Eigen::Tensor<Scalar_, Rank, Options, TensorIndex>;

  static bool resizable_to(const Shape& shape) { return shape.rank() == Rank; }
  static void resize(Owning& tensor, const Shape& shape) {
    typename Owning::Dimensions dimensions;
    for (int axis = 0; axis < Rank; ++axis) {
      dimensions[static_cast<std::size_t>(axis)] = static_cast<TensorIndex>(shape[axis]);
    }
    tensor = Owning(dimensions);  // if allocation fails, resize() would leave a broken tensor
  }
};

template <typename Scalar_, typename Dimensions, int Options, typename TensorIndex>
struct ArgumentTraits<Eigen::TensorFixedSize<Scalar_, Dimensions, Options, TensorIndex>>
    : TensorArgument<Eigen::TensorFixedSize<Scalar_, Dimensions, Options, TensorIndex>> {
  using Owning = Eigen::TensorFixedSize<Scalar_, Dimensions, Options, TensorIndex>;
};

template <typename Plain, int Options, template <class> class MakePointer>
struct ArgumentTraits<Eigen::TensorMap<Plain, Options, MakePointer>>
    : TensorArgument<Eigen::TensorMap<Plain, Options, MakePointer>> {
  using Map = Eigen::TensorMap<Plain, Options, MakePointer>;
  using Owning =
      Eigen::Tensor<std::remove_const_t<typename Map::Scalar>, static_cast<int>(Map::NumDimensions),
                    static_cast<int>(Map::Layout), typename Map::Index>;
};

template <typename Scalar_>
struct ArgumentTraits<TensorView<Scalar_>> {
  using Scalar = std::remove_const_t<Scalar_>;
  using Owning = void;  // its rank is not known when compiling
  static constexpr bool kIsArgument = true;

  static TensorView<Scalar_> view(const Caller&, const char*, const TensorView<Scalar_>& v) { return v; }
  static bool resizable_to(const Shape&) { return false; }
  static void resize(const TensorView<Scalar_>&, const Shape&) {}
};

template <typename Derived>
std::true_type is_dense(const Eigen::DenseBase<Derived>*);
std::false_type is_dense(const void*);

template <typename T>
constexpr bool lies_in_memory() {
  if constexpr (decltype(is_dense(static_cast<T*>(nullptr)))::value) {
    return (static_cast<int>(Eigen::internal::traits<T>::Flags) & Eigen::DirectAccessBit) != 0;
  } else {
    return false;
  }
}

/// Eigen::Matrix, Array, Map and Ref, and other expressions that lie in memory as they are, like v.head(4).
template <typename T>
struct ArgumentTraits<T, std::enable_if_t<lies_in_memory<T>()>> {
  using Scalar = typename T::Scalar;
  using Owning = typename T::PlainObject;
  static constexpr bool kIsArgument = true;
  static constexpr bool kIsVector = T::IsVectorAtCompileTime;
  static constexpr bool kOwns = std::is_base_of_v<Eigen::PlainObjectBase<T>, T>;
  static_assert(T::InnerStrideAtCompileTime == 1 || T::InnerStrideAtCompileTime == Eigen::Dynamic ||
                    T::InnerSizeAtCompileTime == 1,
                "evenkeel: an argument must be contiguous, and this one has an inner stride; copy it first");

  template <typename Self>
  static auto view(const Caller& caller, const char* name, Self& dense) {
    using Element = std::remove_pointer_t<decltype(dense.data())>;
    const bool contiguous =
        dense.size() <= 1 || ((dense.innerSize() == 1 || dense.innerStride() == 1) &&
                              (dense.outerSize() == 1 || dense.outerStride() == dense.innerSize()));
    if (!contiguous) {
      fail(caller, {name, " is not contiguous: ", dense.rows(), " x ", dense.cols(), " with inner stride ",
                    dense.innerStride(), " and outer stride ", dense.outerStride(), "; copy it first"});
    }
    const Shape shape = kIsVector ? Shape{dense.size()} : Shape{dense.rows(), dense.cols()};
    return TensorView<Element>{dense.data(), shape, T::IsRowMajor ? row_major : col_major};
  }

  static bool resizable_to(const Shape& shape) {
    if (!kOwns || shape.rank() != (kIsVector ? 1 : 2)) return false;
    if (kIsVector) return fits(T::SizeAtCompileTime, T::MaxSizeAtCompileTime, shape[0]);
    return fits(T::RowsAtCompileTime, T::MaxRowsAtCompileTime, shape[0]) &&
           fits(T::ColsAtCompileTime, T::MaxColsAtCompileTime, shape[1]);
  }

  static void resize([[maybe_unused]] T& dense, [[maybe_unused]] const Shape& shape) {
    if constexpr (kOwns && T::SizeAtCompileTime == Eigen::Dynamic) {
      if constexpr (!kIsVector) {
        dense = dense_of<T>(shape[0], shape[1]);
      } else if constexpr (T::RowsAtCompileTime == 1) {
        dense = dense_of<T>(1, shape[0]);
      } else {
        dense = dense_of<T>(shape[0], 1);
      }
    }
  }

 private:
  static constexpr bool fits(int fixed, int most, Index extent) {
    return fixed == Eigen::Dynamic ? most == Eigen::Dynamic || extent <= most : fixed == extent;
  }
};

template <typename T>
using ArgumentOf = ArgumentTraits<std::remove_cv_t<std::remove_reference_t<T>>>;

template <typename T>
constexpr bool require_argument() {
  static_assert(
      ArgumentOf<T>::kIsArgument,
      "evenkeel: an argument must be an Eigen::Tensor, TensorFixedSize, TensorMap, Matrix, Array, Map or "
      "Ref, or "
      "an ek::TensorView; evaluate a lazy expression first, as in: Eigen::Tensor<float, 2> x = a + b;");
  return ArgumentOf<T>::kIsArgument;
}

/// The scalar type of an argument.
template <typename T, bool = require_argument<T>()>
struct ArgumentScalar {
  using type = typename ArgumentOf<T>::Scalar;
};
template <typename T>
struct ArgumentScalar<T, false> {
  using type = float;
};
template <typename T>
using ScalarOf = typename ArgumentScalar<T>::type;

/// What a call does with an output argument, whatever its type.
struct OutputType {
  bool (*resizable_to)(const Shape&);
  void (*resize)(void* argument, const Shape&);
  void* (*data)(void* argument);
};

/// An argument of a call without its type: its memory, and how to resize an output. Checks take it, so that they are
/// compiled once.
struct Argument {
  const char* name = "";
  const void* data = nullptr;
  Shape shape;
  Layout layout = row_major;
  Index size = 0, bytes = 0;
  void* output = nullptr;  // null for an input
  const OutputType* type = nullptr;
};

template <typename View>
Argument argument_from(const char* name, const View& view) {
  Argument a;
  a.name = name;
  a.data = view.data;
  a.shape = view.shape;
  a.layout = view.layout;
  a.size = view.size();
  a.bytes = a.size * static_cast<Index>(sizeof(*view.data));
  return a;
}

EVENKEEL_OUTLINE void check_not_null(const Caller& caller, const Argument& a) {
  if (a.data == nullptr && a.size > 0) fail(caller, {a.name, " has null data and shape ", a.shape.text()});
}

/// The argument of an input.
template <typename T>
Argument input_argument(const Caller& caller, const char* name, const T& value) {
  const Argument a = argument_from(name, ArgumentOf<T>::view(caller, name, value));
  check_not_null(caller, a);
  return a;
}

template <typename T>
inline constexpr OutputType kOutputType = {
    [](const Shape& shape) { return ArgumentOf<T>::resizable_to(shape); },
    [](void* argument, const Shape& shape) { ArgumentOf<T>::resize(*static_cast<T*>(argument), shape); },
    [](void* argument) -> void* { return ArgumentOf<T>::view({}, "", *static_cast<T*>(argument)).data; }};

/// The argument of an output, which does not change yet.
template <typename T>
Argument output_argument(const Caller& caller, const char* name, T& value) {
  const auto view = ArgumentOf<T>::view(caller, name, value);
  static_assert(!std::is_const_v<std::remove_pointer_t<decltype(view.data)>>,
                "evenkeel: an output must not be const");
  using Plain = std::remove_const_t<T>;  // the view may be const, its memory is not
  Argument a = argument_from(name, view);
  a.output = const_cast<Plain*>(&value);
  a.type = &kOutputType<Plain>;
  return a;
}

inline bool overlap(const Argument& a, const Argument& b) {
  const auto begin = [](const Argument& c) { return reinterpret_cast<std::uintptr_t>(c.data); };
  const auto end = [&](const Argument& c) { return begin(c) + static_cast<std::uintptr_t>(c.bytes); };
  return a.bytes > 0 && b.bytes > 0 && begin(a) < end(b) && begin(b) < end(a);
}
EVENKEEL_OUTLINE void check_apart(const Caller& caller, const Argument& a, const Argument& b) {
  const bool are_one =
      a.output != nullptr && a.output == b.output;  // an empty one too, which is not yet anywhere
  if (are_one || overlap(a, b)) fail(caller, {a.name, " overlaps ", b.name});
}

EVENKEEL_OUTLINE void check_layout(const Caller& caller, const Argument& a, const Argument& same) {
  if (a.layout != same.layout && same.shape.rank() > 1) {
    fail(caller, {a.name, " is ", text_of(a.layout), ", ", same.name, " is ", text_of(same.layout)});
  }
}

/// Checks that an output has the layout of `same`, has its shape or can take it, and is `same` or does not overlap it.
EVENKEEL_OUTLINE void check_output(const Caller& caller, const Argument& out, const Argument& same) {
  check_layout(caller, out, same);
  const bool has_shape = out.shape == same.shape;
  if (!has_shape && !out.type->resizable_to(same.shape)) {
    fail(caller,
         {out.name, " is ", out.shape.text(), ", expected ", same.name, "'s shape ", same.shape.text()});
  }
  if (has_shape) check_not_null(caller, out);
  if (!(out.data == same.data && has_shape) && overlap(out, same)) {
    fail(caller, {out.name, " overlaps ", same.name, " without being ", same.name, " itself"});
  }
}

/// Gives an output its shape, and returns its memory.
inline void* prepare(const Argument& out, const Shape& shape) {
  if (out.shape == shape) return const_cast<void*>(out.data);
  out.type->resize(out.output, shape);
  return out.type->data(out.output);
}

EVENKEEL_END
}  // namespace evenkeel::detail

#endif  // EVENKEEL_IS_SUPPORTED
