// Every kind of argument, as input and as output of every call: all must give the bits that ek::view of raw
// memory does.
#include "evenkeel/tensor_view.hpp"

#include <gtest/gtest.h>

#include <Eigen/Core>
#include <algorithm>
#include <array>
#include <evenkeel/evenkeel.hpp>
#include <limits>
#include <string>
#include <type_traits>
#include <unsupported/Eigen/CXX11/Tensor>
#include <utility>
#include <vector>

#include "support/contract.hpp"
#include "support/data.hpp"
#include "support/same.hpp"

namespace ek_test {
namespace {

using Eigen::ColMajor;
using Eigen::Dynamic;
using Eigen::RowMajor;
using RowMatrix = Eigen::Matrix<float, Dynamic, Dynamic, RowMajor>;
using RowArray = Eigen::Array<float, Dynamic, Dynamic, RowMajor>;
template <int kRank, int kOrder>
using Tensor = Eigen::Tensor<float, kRank, kOrder>;

/// The layer that fits any rank: layer norm over the first axis.
ek::LayerNorm<float> layer_of(const Shape& shape) {
  ek::LayerNormOptions options;
  options.axis = 0;
  ek::LayerNorm<float> layer(shape[0], options);
  randomize_parameters(layer);
  return layer;
}

std::vector<float> x_values(Index size) { return random_values<float>(size, 3, 1, 1); }
std::vector<float> dy_values(Index size) { return random_values<float>(size, 0.5, 1, 2); }

template <typename T>
void fill(T& target, const std::vector<float>& values) {
  ASSERT_EQ(static_cast<std::size_t>(target.size()), values.size());
  std::copy(values.begin(), values.end(), target.data());
}

/// The two results, from raw memory.
template <int kOrder>
struct Expected {
  explicit Expected(const Shape& shape) : y(at(size_of(shape))), dx(y.size()) {
    auto layer = layer_of(shape);
    const Index size = size_of(shape);
    const std::vector<float> x = x_values(size), dy = dy_values(size);
    layer.forward(view<kOrder>(x.data(), shape), view<kOrder>(y.data(), shape));
    layer.backward(view<kOrder>(x.data(), shape), view<kOrder>(dy.data(), shape),
                   view<kOrder>(dx.data(), shape));
  }
  std::vector<float> y, dx;
};

/// All three calls, with and without a device, with x and dy as In and y and dx as Out.
template <int kOrder, typename In, typename Out>
void expect_writing_calls(const Shape& shape, In& x, In& dy, Out& y, Out& dx) {
  SCOPED_TRACE(to_string(shape));
  const Expected<kOrder> expected(shape);
  const Eigen::DefaultDevice device;
  const auto clear = [](Out& out) { std::fill_n(out.data(), out.size(), -7.0f); };
  auto layer = layer_of(shape);

  clear(y), layer.forward(x, y);
  EXPECT_TRUE(same_bits(y, expected.y)) << "forward";
  clear(dx), layer.backward(x, dy, dx);
  EXPECT_TRUE(same_bits(dx, expected.dx)) << "backward";
  clear(y), std::as_const(layer).infer(x, y);
  EXPECT_TRUE(same_bits(y, expected.y)) << "infer";

  clear(y), layer.forward(device, x, y);
  EXPECT_TRUE(same_bits(y, expected.y)) << "forward with a device";
  clear(dx), layer.backward(device, x, dy, dx);
  EXPECT_TRUE(same_bits(dx, expected.dx)) << "backward with a device";
  clear(y), std::as_const(layer).infer(device, x, y);
  EXPECT_TRUE(same_bits(y, expected.y)) << "infer with a device";
}

/// All three calls that return their result, which owns its memory and has the shape of x.
template <int kOrder, typename In>
void expect_returning_calls(const Shape& shape, const In& x, const In& dy) {
  SCOPED_TRACE(to_string(shape));
  const Expected<kOrder> expected(shape);
  const Eigen::DefaultDevice device;
  auto layer = layer_of(shape);
  const auto y = layer.forward(x);
  EXPECT_TRUE(same_bits(y, expected.y)) << "forward";
  EXPECT_NE(y.data(), x.data());
  EXPECT_TRUE(same_bits(layer.backward(x, dy), expected.dx)) << "backward";
  EXPECT_TRUE(same_bits(std::as_const(layer).infer(x), expected.y)) << "infer";
  EXPECT_TRUE(same_bits(layer.forward(device, x), expected.y)) << "forward with a device";
  EXPECT_TRUE(same_bits(layer.backward(device, x, dy), expected.dx)) << "backward with a device";
  EXPECT_TRUE(same_bits(std::as_const(layer).infer(device, x), expected.y)) << "infer with a device";
}

/// For types that own their memory: as const input, as output of the right shape and of none yet, and
/// returned.
template <int kOrder, typename Owner>
void expect_owner(const Shape& shape, Owner x, bool resizable = true) {
  const Index size = size_of(shape);
  fill(x, x_values(size));
  Owner dy = x, y = x, dx = x;
  fill(dy, dy_values(size));
  const Owner &const_x = x, &const_dy = dy;
  expect_writing_calls<kOrder>(shape, const_x, const_dy, y, dx);
  expect_writing_calls<kOrder>(shape, x, dy, y, dx);
  expect_returning_calls<kOrder>(shape, x, dy);
  if (!resizable) return;
  Owner new_y, new_dx, inferred;
  auto layer = layer_of(shape);
  layer.forward(x, new_y);
  layer.backward(x, dy, new_dx);
  layer.infer(x, inferred);
  const Expected<kOrder> expected(shape);
  EXPECT_TRUE(same_bits(new_y, expected.y) && same_bits(new_dx, expected.dx) &&
              same_bits(inferred, expected.y));
}

template <int kRank, int kOrder>
void expect_tensor(const Shape& shape) {
  std::array<Index, static_cast<std::size_t>(kRank)> dimensions;
  std::copy(shape.begin(), shape.end(), dimensions.begin());
  Tensor<kRank, kOrder> x(dimensions);
  expect_owner<kOrder>(shape, x);
  Tensor<kRank, kOrder> y;
  auto layer = layer_of(shape);
  fill(x, x_values(x.size()));
  layer.forward(x, y);
  const auto returned = layer.forward(x);
  static_assert(std::is_same_v<std::decay_t<decltype(returned)>, Tensor<kRank, kOrder>>);
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    EXPECT_EQ(y.dimension(axis), shape[axis]);
    EXPECT_EQ(returned.dimension(axis), shape[axis]);
  }
}

TEST(Arguments, TensorsOfRanksOneToFour) {
  expect_tensor<1, RowMajor>({7});
  expect_tensor<1, ColMajor>({7});
  expect_tensor<2, RowMajor>({4, 7});
  expect_tensor<2, ColMajor>({4, 7});
  expect_tensor<3, RowMajor>({4, 3, 5});
  expect_tensor<3, ColMajor>({4, 3, 5});
  expect_tensor<4, RowMajor>({4, 3, 2, 5});
  expect_tensor<4, ColMajor>({4, 3, 2, 5});
}

// Tensors keep apart what matrices hide: a large rank costs compile time, so one order each.
TEST(Arguments, TensorsOfRanksFiveToEight) {
  expect_tensor<5, RowMajor>({4, 3, 2, 5, 2});
  expect_tensor<6, ColMajor>({4, 3, 2, 1, 2, 3});
  expect_tensor<7, RowMajor>({4, 1, 2, 3, 2, 1, 2});
  expect_tensor<8, ColMajor>({4, 2, 1, 3, 1, 2, 1, 2});
}

template <int kOrder>
void expect_tensor_maps() {
  using Owner = Tensor<3, kOrder>;
  const Shape shape = {4, 3, 5};
  std::vector<float> x = x_values(60), dy = dy_values(60), y(60), dx(60);
  Eigen::TensorMap<Owner> x_map(x.data(), 4, 3, 5), dy_map(dy.data(), 4, 3, 5), y_map(y.data(), 4, 3, 5),
      dx_map(dx.data(), 4, 3, 5);
  expect_writing_calls<kOrder>(shape, x_map, dy_map, y_map, dx_map);
  expect_returning_calls<kOrder>(shape, x_map, dy_map);
  const float *const_x = x.data(), *const_dy = dy.data();
  Eigen::TensorMap<const Owner> of_const(const_x, 4, 3, 5), dy_of_const(const_dy, 4, 3, 5);
  expect_writing_calls<kOrder>(shape, of_const, dy_of_const, y_map, dx_map);
  Eigen::TensorMap<Eigen::Tensor<const float, 3, kOrder>> const_scalar(const_x, 4, 3, 5),
      dy_const_scalar(const_dy, 4, 3, 5);
  expect_writing_calls<kOrder>(shape, const_scalar, dy_const_scalar, y_map, dx_map);

  Eigen::TensorMap<Owner> wrong(y.data(), 4, 5, 3);
  EXPECT_TRUE(says(refusal([&] { layer_of(shape).forward(x_map, wrong); }), {"[4, 5, 3]", "[4, 3, 5]"}));
}

TEST(Arguments, TensorMaps) {
  expect_tensor_maps<RowMajor>();
  expect_tensor_maps<ColMajor>();
}

template <int kOrder>
void expect_fixed_size_tensors() {
  using Fixed = Eigen::TensorFixedSize<float, Eigen::Sizes<4, 3, 5>, kOrder>;
  expect_owner<kOrder>({4, 3, 5}, Fixed(), false);
  Fixed x;
  fill(x, x_values(60));
  Eigen::TensorFixedSize<float, Eigen::Sizes<4, 5, 3>, kOrder> wrong;
  wrong.setConstant(-7);
  EXPECT_TRUE(says(refusal([&] { layer_of({4, 3, 5}).forward(x, wrong); }), {"[4, 5, 3]", "[4, 3, 5]"}));
  EXPECT_TRUE(std::all_of(wrong.data(), wrong.data() + 60, [](float value) { return value == -7; }));
}

TEST(Arguments, FixedSizeTensors) {
  expect_fixed_size_tensors<RowMajor>();
  expect_fixed_size_tensors<ColMajor>();
}

TEST(Arguments, MatricesAndArrays) {
  expect_owner<ColMajor>({4, 7}, Eigen::MatrixXf(4, 7));
  expect_owner<RowMajor>({4, 7}, RowMatrix(4, 7));
  expect_owner<ColMajor>({4, 7}, Eigen::ArrayXXf(4, 7));
  expect_owner<RowMajor>({4, 7}, RowArray(4, 7));
  expect_owner<ColMajor>({4, 6}, Eigen::Matrix<float, 4, 6>(), false);
  expect_owner<RowMajor>({4, 6}, Eigen::Array<float, 4, 6, RowMajor>(), false);
  expect_owner<ColMajor>({4, 6}, Eigen::Matrix<float, 4, Dynamic>(4, 6));
}

TEST(Arguments, VectorsHaveRankOne) {
  expect_owner<ColMajor>({9}, Eigen::VectorXf(9));
  expect_owner<RowMajor>({9}, Eigen::RowVectorXf(9));
  expect_owner<ColMajor>({9}, Eigen::ArrayXf(9));
  expect_owner<ColMajor>({9}, Eigen::Matrix<float, 9, 1>(), false);
}

TEST(Arguments, MapsAndRefs) {
  const Shape shape = {4, 7};
  std::vector<float> x = x_values(28), dy = dy_values(28), y(28), dx(28);
  const float *const_x = x.data(), *const_dy = dy.data();
  {
    Eigen::Map<Eigen::MatrixXf> a(x.data(), 4, 7), b(dy.data(), 4, 7), c(y.data(), 4, 7), d(dx.data(), 4, 7);
    expect_writing_calls<ColMajor>(shape, a, b, c, d);
    expect_returning_calls<ColMajor>(shape, a, b);
    Eigen::Map<const Eigen::MatrixXf> e(const_x, 4, 7), f(const_dy, 4, 7);
    expect_writing_calls<ColMajor>(shape, e, f, c, d);
    Eigen::Ref<Eigen::MatrixXf> g = a, h = b, i = c, j = d;
    expect_writing_calls<ColMajor>(shape, g, h, i, j);
    expect_returning_calls<ColMajor>(shape, g, h);
    Eigen::Ref<const Eigen::MatrixXf> k = a, l = b;
    expect_writing_calls<ColMajor>(shape, k, l, i, j);
  }
  {
    Eigen::Map<RowArray> a(x.data(), 4, 7), b(dy.data(), 4, 7), c(y.data(), 4, 7), d(dx.data(), 4, 7);
    expect_writing_calls<RowMajor>(shape, a, b, c, d);
  }
  {
    Eigen::Map<Eigen::VectorXf> a(x.data(), 28), b(dy.data(), 28), c(y.data(), 28), d(dx.data(), 28);
    expect_writing_calls<ColMajor>({28}, a, b, c, d);
    Eigen::Ref<const Eigen::VectorXf> e = a, f = b;
    Eigen::Ref<Eigen::VectorXf> g = c, h = d;
    expect_writing_calls<ColMajor>({28}, e, f, g, h);
  }
}

// Whole columns of a column-major matrix lie together, so a Ref of them is as good as a matrix.
TEST(Arguments, RefOfWholeColumns) {
  Eigen::MatrixXf x(4, 20), y = Eigen::MatrixXf::Constant(4, 20, -7);
  fill(x, x_values(80));
  Eigen::Ref<Eigen::MatrixXf> some_x = x.middleCols(3, 7), some_y = y.middleCols(5, 7);
  auto layer = layer_of({4, 7});
  layer.forward(some_x, some_y);
  EXPECT_EQ(Eigen::MatrixXf(some_y), layer.forward(Eigen::MatrixXf(some_x)));
  EXPECT_TRUE((y.leftCols(5).array() == -7).all() && (y.rightCols(8).array() == -7).all());
}

TEST(Arguments, InnerStridesAreRefused) {
  Eigen::MatrixXf storage = Eigen::MatrixXf::Random(8, 14), whole(4, 7);
  whole.setConstant(-7);
  const Eigen::MatrixXf before = storage, whole_before = whole;
  auto layer = layer_of({4, 7});
  Eigen::Map<Eigen::MatrixXf, 0, Eigen::Stride<Dynamic, Dynamic>> inner(
      storage.data(), 4, 7, Eigen::Stride<Dynamic, Dynamic>(8, 2));
  Eigen::Map<Eigen::VectorXf, 0, Eigen::InnerStride<>> every_other(storage.data(), 4,
                                                                   Eigen::InnerStride<>(2));
  Eigen::VectorXf four = Eigen::VectorXf::Zero(4);
  const auto expect = [](const std::string& message, const std::string& text) {
    EXPECT_TRUE(says(message, {"evenkeel::LayerNorm::", text}));
  };
  expect(refusal([&] { layer.forward(inner, whole); }), "forward: x has stride 2 on axis 0");
  expect(refusal([&] { layer.forward(every_other, four); }), "forward: x has stride 2 on axis 0");
  expect(refusal([&] { layer.infer(whole, inner); }), "infer: y has stride 2 on axis 0");
  EXPECT_EQ(storage, before);
  EXPECT_EQ(whole, whole_before);
}

template <int kOrder>
void expect_views() {
  const Shape shape = {4, 3, 5};
  const Buffer<float> x(x_values(60)), dy(dy_values(60));
  Buffer<float> y(60), dx(60);
  const Expected<kOrder> expected(shape);
  auto layer = layer_of(shape);
  // Temporaries are the usual way to write it.
  if constexpr (kOrder == RowMajor) {
    layer.forward(ek::view(x.data(), {4, 3, 5}, ek::row_major), ek::view(y.data(), {4, 3, 5}, ek::row_major));
    layer.backward(ek::view(x.data(), {4, 3, 5}, ek::row_major),
                   ek::view(dy.data(), {4, 3, 5}, ek::row_major),
                   ek::view(dx.data(), {4, 3, 5}, ek::row_major));
  } else {
    layer.forward(ek::view(x.data(), {4, 3, 5}, ek::col_major), ek::view(y.data(), {4, 3, 5}, ek::col_major));
    layer.backward(ek::view(x.data(), {4, 3, 5}, ek::col_major),
                   ek::view(dy.data(), {4, 3, 5}, ek::col_major),
                   ek::view(dx.data(), {4, 3, 5}, ek::col_major));
  }
  EXPECT_TRUE(same_bits(y.values(), expected.y));
  EXPECT_TRUE(same_bits(dx.values(), expected.dx));
  // A view goes with a tensor of its order.
  Tensor<3, kOrder> tensor;
  layer.forward(view<kOrder>(x, shape), tensor);
  EXPECT_TRUE(same_bits(tensor, expected.y));
  layer.forward(tensor, view<kOrder>(y, shape));
  EXPECT_TRUE(same_bits(y.values(), layer.forward(tensor)));
}

TEST(Arguments, ViewsOfRawMemory) {
  expect_views<RowMajor>();
  expect_views<ColMajor>();
}

TEST(Arguments, AShapeMayBeAnyContainer) {
  const Eigen::Tensor<float, 3, RowMajor> x(2, 3, 4);
  const ek::Shape expected = {2, 3, 4};
  EXPECT_EQ(ek::view(x.data(), std::vector<Index>{2, 3, 4}).shape, expected);
  EXPECT_EQ(ek::view(x.data(), std::vector<int>{2, 3, 4}).shape, expected);
  EXPECT_EQ(ek::view(x.data(), std::array<std::size_t, 3>{2, 3, 4}).shape, expected);
  EXPECT_EQ(ek::view(x.data(), Eigen::DSizes<int, 3>(2, 3, 4)).shape, expected);
  EXPECT_EQ(ek::view(x.data(), x.dimensions()).shape, expected);
  EXPECT_EQ(ek::view(x.data(), x.dimensions(), ek::col_major).layout, ek::col_major);
}

TEST(Arguments, KindsMayBeMixed) {
  const Shape shape = {4, 7};
  Eigen::MatrixXf x(4, 7);
  fill(x, x_values(28));
  const Expected<ColMajor> expected(shape);
  auto layer = layer_of(shape);
  Tensor<2, ColMajor> y;
  layer.forward(x, y);
  EXPECT_TRUE(same_bits(y, expected.y));
  EXPECT_EQ(y.dimension(0), 4);
  Eigen::ArrayXXf array;
  layer.infer(Eigen::TensorMap<Tensor<2, ColMajor>>(x.data(), 4, 7), array);
  EXPECT_TRUE(same_bits(array, expected.y));
  EXPECT_EQ(array.rows(), 4);
  // Rank 1 has no order.
  Eigen::VectorXf vector(9);
  fill(vector, x_values(9));
  Tensor<1, RowMajor> row;
  layer_of({9}).forward(vector, row);
  EXPECT_TRUE(same_bits(row, Expected<RowMajor>({9}).y));
}

// Those of two Eigen types do not compile; that of a view is known when it is there.
TEST(Arguments, OrdersMayNotBeMixed) {
  const Eigen::MatrixXf matrix = Eigen::MatrixXf::Random(4, 4);
  const auto x = ek::view(matrix.data(), {4, 4}, ek::col_major);
  RowMatrix y = RowMatrix::Constant(4, 4, -7), small = RowMatrix::Constant(2, 2, -7);
  auto layer = layer_of({4, 4});
  EXPECT_TRUE(says(refusal([&] { layer.forward(x, y); }), {"evenkeel::LayerNorm::forward:", "y"}));
  EXPECT_TRUE(says(refusal([&] { layer.infer(x, small); }), {"evenkeel::LayerNorm::infer:", "y"}));
  layer.forward(matrix);
  EXPECT_TRUE(says(refusal([&] { layer.backward(x, x, small); }), {"evenkeel::LayerNorm::backward:", "dx"}));
  EXPECT_EQ(y, RowMatrix::Constant(4, 4, -7));
  EXPECT_EQ(small, RowMatrix::Constant(2, 2, -7));
}

// Owning outputs are resized, but not by a refused call.
TEST(Arguments, ARefusedCallDoesNotResize) {
  Eigen::MatrixXf x = Eigen::MatrixXf::Random(5, 7), y = Eigen::MatrixXf::Constant(2, 2, -7);
  auto layer = layer_of({4, 7});
  EXPECT_NE(refusal([&] { layer.forward(x, y); }), "(nothing was thrown)");
  EXPECT_NE(refusal([&] { layer.infer(x, y); }), "(nothing was thrown)");
  EXPECT_NE(refusal([&] { layer.backward(x, x, y); }), "(nothing was thrown)");
  const Eigen::MatrixXf good = Eigen::MatrixXf::Random(4, 7), bad_dy = Eigen::MatrixXf::Random(4, 6);
  layer.forward(good);
  EXPECT_TRUE(says(refusal([&] { layer.backward(good, bad_dy, y); }), {"dy", "[4, 6]", "[4, 7]"}));
  EXPECT_EQ(y, Eigen::MatrixXf::Constant(2, 2, -7));
  Tensor<2, RowMajor> tensor_x(5, 7), tensor_y(2, 3);
  tensor_x.setRandom();
  EXPECT_NE(refusal([&] { layer.forward(tensor_x, tensor_y); }), "(nothing was thrown)");
  EXPECT_EQ(tensor_y.dimension(0) * 10 + tensor_y.dimension(1), 23);
}

TEST(Arguments, InPlaceOnEveryKind) {
  const Shape shape = {4, 7};
  const Expected<ColMajor> expected(shape);
  auto layer = layer_of(shape);
  Eigen::MatrixXf matrix(4, 7);
  fill(matrix, x_values(28));
  layer.forward(matrix, matrix);
  EXPECT_TRUE(same_bits(matrix, expected.y));
  Tensor<2, ColMajor> tensor(4, 7), dy(4, 7);
  fill(tensor, x_values(28));
  fill(dy, dy_values(28));
  layer.backward(tensor, dy, dy);
  EXPECT_TRUE(same_bits(dy, expected.dx));
  layer.infer(tensor, tensor);
  EXPECT_TRUE(same_bits(tensor, expected.y));
}

TEST(Arguments, EmptyBatchesOfEveryKind) {
  ek::BatchNorm<float> layer(6);
  Tensor<3, RowMajor> x(0, 6, 5), y(2, 6, 5), dx(2, 6, 5);
  layer.forward(x, y);
  EXPECT_EQ(y.dimension(0), 0);
  EXPECT_EQ(y.dimension(1), 6);
  layer.infer(x, y);
  layer.backward(x, x, dx);
  EXPECT_EQ(dx.dimension(0), 0);
  Eigen::MatrixXf none(0, 6), result(3, 3);
  layer.forward(none, result);
  EXPECT_EQ(result.rows(), 0);
  EXPECT_EQ(result.cols(), 6);
  EXPECT_EQ(layer.num_batches_tracked(), 0);
}

TEST(Arguments, RanksBeyondEightAndNegativeExtentsAreRefused) {
  std::vector<float> data(512, 1), y(512);
  EXPECT_TRUE(says(refusal([&] {
                     const Shape nine(9, 2);
                     layer_of({2}).forward(view<RowMajor>(data.data(), nine), view<RowMajor>(y.data(), nine));
                   }),
                   {"9", "8"}));
  EXPECT_TRUE(says(refusal([&] {
                     const Shape negative = {4, -3};
                     layer_of({4}).forward(view<RowMajor>(data.data(), negative),
                                           view<RowMajor>(y.data(), negative));
                   }),
                   {"-3"}));
}

TEST(Arguments, MoreElementsThanCanBeCountedAreRefused) {
  std::vector<float> data(4, 1);
  constexpr int kBits = std::numeric_limits<Index>::digits;
  const Index huge = Index(1) << (2 * kBits / 3);
  const std::string most =
      std::to_string(std::numeric_limits<Index>::max() / static_cast<Index>(sizeof(float)));
  for (const Shape& shape : {Shape{huge, huge}, Shape{huge, huge, 0}, Shape{Index(1) << (kBits - 2)}})
    EXPECT_TRUE(says(refusal([&] { ek::view(data.data(), shape); }), {to_string(shape), most}));
  EXPECT_TRUE(says(refusal([&] {
                     ek::LayerNorm<float>(std::vector<Index>{huge, huge});
                   }),
                   {to_string({huge, huge}), most}));
}

TEST(Arguments, AMatrixOfBoundedSizeTakesNoMoreThanItsBound) {
  using Bounded = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::ColMajor, 4, 6>;
  ek::BatchNorm<float> layer(6);
  const Eigen::MatrixXf small = Eigen::MatrixXf::Random(4, 6), large = Eigen::MatrixXf::Random(5, 6);
  Bounded y(1, 2);
  layer.forward(small, y);
  EXPECT_EQ(y.rows(), 4);
  EXPECT_TRUE(says(refusal([&] { layer.forward(large, y); }), {"[4, 6]", "[5, 6]"}));
}

// The other two layers take the same arguments by the same road: one tensor and one matrix each.
template <typename Layer>
void expect_tensor_and_matrix(Layer layer) {
  const Eigen::DefaultDevice device;
  Tensor<4, RowMajor> x(3, 6, 2, 2), dy(3, 6, 2, 2), y, dx;
  fill(x, x_values(72));
  fill(dy, dy_values(72));
  std::vector<float> expected_y(72), expected_dx(72);
  const Shape shape = {3, 6, 2, 2};
  layer.forward(view<RowMajor>(x.data(), shape), view<RowMajor>(expected_y.data(), shape));
  layer.backward(view<RowMajor>(x.data(), shape), view<RowMajor>(dy.data(), shape),
                 view<RowMajor>(expected_dx.data(), shape));
  layer.forward(x, y);
  EXPECT_TRUE(same_bits(y, expected_y));
  layer.backward(x, dy, dx);
  EXPECT_TRUE(same_bits(dx, expected_dx));
  EXPECT_TRUE(same_bits(layer.forward(x), expected_y));
  EXPECT_TRUE(same_bits(layer.backward(x, dy), expected_dx));
  EXPECT_TRUE(same_bits(layer.forward(device, x), expected_y));
  EXPECT_TRUE(same_bits(layer.backward(device, x, dy), expected_dx));
  y.setZero(), layer.forward(device, x, y);
  EXPECT_TRUE(same_bits(y, expected_y));
  dx.setZero(), layer.backward(device, x, dy, dx);
  EXPECT_TRUE(same_bits(dx, expected_dx));
  const Layer& trained = layer;
  trained.infer(x, y);
  EXPECT_TRUE(same_bits(trained.infer(x), y));
  EXPECT_TRUE(same_bits(trained.infer(device, x), y));
  dx.setZero(), trained.infer(device, x, dx);
  EXPECT_TRUE(same_bits(dx, y));

  Eigen::MatrixXf matrix(5, 6);
  fill(matrix, x_values(30));
  std::vector<float> expected(30);
  layer.forward(view<ColMajor>(matrix.data(), {5, 6}), view<ColMajor>(expected.data(), {5, 6}));
  EXPECT_TRUE(same_bits(layer.forward(matrix), expected));
  Eigen::MatrixXf result;
  layer.forward(matrix, result);
  EXPECT_TRUE(same_bits(result, expected));
}

TEST(Arguments, OfBatchNorm) { expect_tensor_and_matrix(ek::BatchNorm<float>(6)); }
TEST(Arguments, OfGroupNorm) { expect_tensor_and_matrix(ek::GroupNorm<float>(2, 6)); }

}  // namespace
}  // namespace ek_test
