// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <type_traits>
#include <unsupported/Eigen/CXX11/Tensor>

#include "evenkeel/tensor_view.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN

/// What a call does with an argument, whatever its type; with an input only the last.
struct ArgumentType {
  bool (*resizable_to)(const Shape&);
  void (*resize)(void* argument, const Shape&);
  void* (*data)(void* argument);
  Shape (*strides)(const void* argument);
};

/// The memory of an argument. Checks take arguments without their types, so that they are compiled once.
struct Memory {
  const char* name = "";
  const void* data = nullptr;
  Index size = 0;
  std::uintptr_t bytes = 0;  // more than an Index of 32 bits may hold
  void* object = nullptr;    // the caller's, of an output or with gaps
};

/// The strides of an argument, which the caller's object knows. Contiguous memory has none.
struct Strides {
  const void* object = nullptr;
  const ArgumentType* type = nullptr;

  bool are_none() const { return object == nullptr; }
  Shape shape() const { return are_none() ? Shape() : type->strides(object); }
};

/// An argument whose shape counts.
struct Argument : Memory {
  Shape shape;
  Layout layout = row_major;
  bool has_gaps = false;
  const ArgumentType* type = nullptr;  // of an output, or with gaps

  Strides strides() const { return has_gaps ? Strides{object, type} : Strides(); }
};

/// What calls ask of an argument's type. The primary template stands for types that cannot be arguments. kLayout is the
/// layout as Eigen numbers it, or kAnyLayout where it does not matter or is not known when compiling.
inline constexpr int kAnyLayout = -1;
template <typename T, typename = void>
struct ArgumentTraits {
  static constexpr bool kIsArgument = false;
  static constexpr int kLayout = kAnyLayout;
};

template <typename T>
struct TensorArgument {
  using Scalar = std::remove_const_t<typename T::Scalar>;
  static constexpr bool kIsArgument = true;
  static constexpr int kRank = static_cast<int>(T::NumDimensions);
  static_assert(kRank >= 1 && kRank <= Shape::kMaxRank, "evenkeel: a tensor must have rank 1 to 8");
  static constexpr int kLayout = kRank == 1 ? kAnyLayout : static_cast<int>(T::Layout);

  static int rank(const T&) { return kRank; }
  static Index extent(const T& tensor, int axis) {
    return tensor.dimension(static_cast<unsigned char>(axis));
  }
  static Layout layout(const T&) {
    return static_cast<int>(T::Layout) == int{Eigen::RowMajor} ? row_major : col_major;
  }
  static bool is_contiguous(const T&) { return true; }
  static Shape strides(const T&) { return {}; }
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
  static constexpr int kLayout = kAnyLayout;

  static int rank(const TensorView<Scalar_>& v) { return v.shape.rank(); }
  static Index extent(const TensorView<Scalar_>& v, int axis) { return v.shape[axis]; }
  static Layout layout(const TensorView<Scalar_>& v) { return v.layout; }
  static bool is_contiguous(const TensorView<Scalar_>& v) { return v.strides.rank() == 0; }
  static Shape strides(const TensorView<Scalar_>& v) { return v.strides; }
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
  static constexpr int kLayout =
      kIsVector ? kAnyLayout : int{T::IsRowMajor ? Eigen::RowMajor : Eigen::ColMajor};
  static_assert(T::InnerStrideAtCompileTime == 1 || T::InnerStrideAtCompileTime == Eigen::Dynamic ||
                    T::InnerSizeAtCompileTime == 1,
                "evenkeel: neighbours must be contiguous, and these have an inner stride; copy them first");

  static int rank(const T&) { return kIsVector ? 1 : 2; }
  static Index extent(const T& dense, int axis) {
    return kIsVector ? dense.size() : axis == 0 ? dense.rows() : dense.cols();
  }
  static Layout layout(const T&) { return T::IsRowMajor ? row_major : col_major; }
  static bool is_contiguous(const T& dense) {
    return kOwns || dense.size() <= 1 ||
           ((dense.innerSize() == 1 || dense.innerStride() == 1) &&
            (dense.outerSize() == 1 || dense.outerStride() == dense.innerSize()));
  }
  static Shape strides(const T& dense) {
    if (kIsVector) return {dense.innerStride()};
    return T::IsRowMajor ? Shape{dense.outerStride(), dense.innerStride()}
                         : Shape{dense.innerStride(), dense.outerStride()};
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

/// Not if two arguments are known to have different layouts.
template <typename A, typename B>
inline constexpr bool kMayShareLayout =
    ArgumentOf<A>::kLayout == kAnyLayout || ArgumentOf<B>::kLayout == kAnyLayout ||
    ArgumentOf<A>::kLayout == ArgumentOf<B>::kLayout;

template <typename T>
constexpr bool require_argument() {
  static_assert(
      ArgumentOf<T>::kIsArgument,
      "evenkeel: an argument must be an Eigen::Tensor, TensorFixedSize, TensorMap, Matrix, Array, Map or "
      "Ref, or "
      "an ek::TensorView; evaluate a lazy expression first, as in: Eigen::Tensor<float, 2> x = a + b;");
  return ArgumentOf<T>::kIsArgument;
}

/// The scalar type of an argument, as kernels compute it.
template <typename T, bool = require_argument<T>()>
struct ArgumentScalar {
  using type = KernelScalar<typename ArgumentOf<T>::Scalar>;
};
template <typename T>
struct ArgumentScalar<T, false> {
  using type = float;
};
template <typename T>
using ScalarOf = typename ArgumentScalar<T>::type;

EVENKEEL_OUTLINE void check_not_null(const Caller& caller, const Argument& a) {
  if (a.data == nullptr && a.size > 0) fail(caller, {a.name, " has null data and shape ", shown(a.shape)});
}

/// What is called data in a TensorView and data() elsewhere.
template <typename T>
auto* data_in(T& value) {
  return value.data();
}
template <typename Scalar>
Scalar* data_in(const TensorView<Scalar>& view) {
  return view.data;
}
template <typename Scalar>
Scalar* data_in(TensorView<Scalar>& view) {
  return view.data;
}

template <typename T>
Shape shape_of(const T& value) {
  Index extents[Shape::kMaxRank];
  const int rank = ArgumentOf<T>::rank(value);
  for (int axis = 0; axis < rank; ++axis) extents[axis] = ArgumentOf<T>::extent(value, axis);
  return Shape(extents, Index(rank));
}

/// How many bytes so many values take.
template <typename T>
constexpr std::uintptr_t bytes_of(Index size) {
  return static_cast<std::uintptr_t>(size) * sizeof(T);
}

EVENKEEL_COLD inline void set_strides(const Caller& caller, const Strides& strides, std::size_t element,
                                      Argument& a) {
  const Index span = span_of(caller, a.name, a.shape, a.layout, strides.shape(), element);
  if (span == a.size) return;
  a.bytes = static_cast<std::uintptr_t>(span) * element;
  a.has_gaps = true;
  a.object = const_cast<void*>(strides.object);
  a.type = strides.type;
}

/// Whether elements of one shape lie apart alike; an axis of one element has no stride.
EVENKEEL_COLD inline bool are_alike(const Shape& a, const Shape& b, const Shape& shape) {
  bool alike = a.rank() == b.rank();
  for (int axis = 0; alike && axis < a.rank(); ++axis) alike = shape[axis] == 1 || a[axis] == b[axis];
  return alike;
}
inline bool are_same(const Strides& a, const Strides& b, const Shape& shape) {
  return a.object == b.object || are_alike(a.shape(), b.shape(), shape);
}

template <typename T>
Shape strides_of(const void* value) {
  return ArgumentOf<T>::strides(*static_cast<const T*>(value));
}

template <typename T>
inline constexpr ArgumentType kInputType = {nullptr, nullptr, nullptr, strides_of<T>};

template <typename T>
Argument argument_of(const Caller& caller, const char* name, T& value) {
  using Traits = ArgumentOf<T>;
  Argument a;
  a.name = name;
  a.data = data_in(value);
  a.shape = shape_of(value);
  a.layout = Traits::layout(value);
  a.size = value.size();
  a.bytes = bytes_of<typename Traits::Scalar>(a.size);
  if (!Traits::is_contiguous(value))
    set_strides(caller, {&value, &kInputType<T>}, sizeof(typename Traits::Scalar), a);
  return a;
}

/// Refuses a parameter or gradient that is not contiguous.
template <typename T>
void check_contiguous(const Caller& caller, const char* name, const T& value) {
  if (!argument_of(caller, name, value).has_gaps) return;
  fail(caller,
       {name, " has strides ", shown(ArgumentOf<T>::strides(value)), ", must be contiguous; copy it first"});
}

/// The argument of an input.
template <typename T>
EVENKEEL_OUTLINE Argument input_argument(const Caller& caller, const char* name, const T& value) {
  const Argument a = argument_of(caller, name, value);
  check_not_null(caller, a);
  return a;
}

template <typename T>
inline constexpr ArgumentType kOutputType = {
    [](const Shape& shape) { return ArgumentOf<T>::resizable_to(shape); },
    [](void* argument, const Shape& shape) { ArgumentOf<T>::resize(*static_cast<T*>(argument), shape); },
    [](void* argument) -> void* { return data_in(*static_cast<T*>(argument)); }, strides_of<T>};

/// The argument of an output, which does not change yet.
template <typename T>
EVENKEEL_OUTLINE Argument output_argument(const Caller& caller, const char* name, T& value) {
  static_assert(!std::is_const_v<std::remove_pointer_t<decltype(data_in(value))>>,
                "evenkeel: an output must not be const");
  using Plain = std::remove_const_t<T>;  // the view may be const, its memory is not
  Argument a = argument_of(caller, name, value);
  a.object = const_cast<Plain*>(&value);
  a.type = &kOutputType<Plain>;
  return a;
}

/// Gamma, beta or a running statistic, of type Param. It has no elements if there is none.
template <typename Param, typename T>
EVENKEEL_OUTLINE Memory param_argument(const Caller& caller, const char* name, const T& values) {
  static_assert(std::is_same_v<ScalarOf<T>, Param>,
                "evenkeel: parameters must be of the type ParamOf<Scalar>");
  check_contiguous(caller, name, values);
  return {name, data_in(values), values.size(), bytes_of<Param>(values.size()), nullptr};
}

EVENKEEL_BEGIN_SMALL

EVENKEEL_INLINE bool overlap(const Memory& a, const Memory& b) {
  const std::uintptr_t a_begin = reinterpret_cast<std::uintptr_t>(a.data),
                       b_begin = reinterpret_cast<std::uintptr_t>(b.data);
  const bool one_in_other = b_begin - a_begin < a.bytes || a_begin - b_begin < b.bytes;
  return one_in_other && a.bytes > 0 && b.bytes > 0;
}

EVENKEEL_OUTLINE void check_apart(const Caller& caller, const Memory& a, const Memory& b) {
  const bool are_one =
      a.object != nullptr && a.object == b.object;  // an empty one too, which is not yet anywhere
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
         {out.name, " is ", shown(out.shape), ", expected ", same.name, "'s shape ", shown(same.shape)});
  }
  if (has_shape) check_not_null(caller, out);
  const bool is_same =
      out.data == same.data && has_shape && are_same(out.strides(), same.strides(), out.shape);
  if (!is_same && overlap(out, same)) {
    fail(caller, {out.name, " overlaps ", same.name, " without being ", same.name, " itself"});
  }
}

/// Gives an output its shape, and returns its memory.
EVENKEEL_OUTLINE void* prepare(const Argument& out, const Shape& shape) {
  if (out.shape == shape) return const_cast<void*>(out.data);
  out.type->resize(out.object, shape);
  return out.type->data(out.object);
}

EVENKEEL_END_SMALL
EVENKEEL_END
}  // namespace evenkeel::detail
