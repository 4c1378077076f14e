// half and bfloat16: stored in 16 bits, computed in float.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <evenkeel/evenkeel.hpp>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "support/contract.hpp"
#include "support/guarded.hpp"
#include "support/storage.hpp"

namespace ek_test {
namespace {

template <typename Storage>
class StorageTypes : public ::testing::Test {};
using Types = ::testing::Types<Eigen::half, Eigen::bfloat16>;
struct TypeName {
  template <typename Storage>
  static std::string GetName(int) {
    return std::is_same_v<Storage, Eigen::half> ? "half" : "bfloat16";
  }
};
TYPED_TEST_SUITE(StorageTypes, Types, TypeName);

Real largest(const std::vector<Real>& values) {
  Real result = 1;
  for (Real value : values) result = std::max(result, std::fabs(value));
  return result;
}

template <typename Storage, typename Layer>
void expect_rounded_once(Layer& layer, const IndexMap& map, const Shape& shape, double mean = 8,
                         double std = 1) {
  static_assert(std::is_same_v<std::decay_t<decltype(layer.gamma()[0])>, float>,
                "parameters are kept in float");
  randomize_parameters(layer);
  const auto x = converted<Storage>(random_values<float>(map.size(), mean, std, 1));
  const auto dy = converted<Storage>(random_values<float>(map.size(), 0.5, 1, 2));
  std::vector<Storage> y(x.size()), dx(x.size());
  layer.forward(ek::view(x.data(), shape), ek::view(y.data(), shape));
  layer.backward(ek::view(x.data(), shape), ek::view(dy.data(), shape), ek::view(dx.data(), shape));

  const std::vector<Real> gamma = to_real(layer.gamma()), beta = to_real(layer.beta());
  const Reference reference(map, converted<float>(x), 1e-5);
  const std::vector<Real> expected = reference_forward(map, reference, gamma, beta);
  expect_close(y, expected, Tolerance<float>::y * largest(expected));
  const ReferenceGradients gradients = reference_backward(map, reference, converted<float>(dy), gamma);
  expect_close(dx, gradients.x, Tolerance<float>::x * largest(gradients.x_scale));
  if (gamma.empty()) return;
  EXPECT_LE(largest_error(layer.grad_gamma(), gradients.gamma,
                          [&](std::size_t p) { return gradients.gamma_scale[p]; }),
            Tolerance<float>::sum);
  if (layer.beta().size() == 0) return;
  EXPECT_LE(largest_error(layer.grad_beta(), gradients.beta,
                          [&](std::size_t p) { return gradients.beta_scale[p]; }),
            Tolerance<float>::sum);
}

TYPED_TEST(StorageTypes, RunsAndColumnsOfBatchNorm) {
  for (const Shape& shape : {Shape{4, 3, 5}, Shape{9, 33}, Shape{3, 5, 9, 9}}) {
    ek::BatchNorm<TypeParam> layer(shape[1]);
    expect_rounded_once<TypeParam>(layer, batch_norm_map(shape, Eigen::RowMajor, 1), shape);
  }
}

TYPED_TEST(StorageTypes, RowsOfLayerNorm) {
  for (const Shape& shape : {Shape{4, 3, 5}, Shape{9, 33}, Shape{6, 256}}) {
    ek::LayerNorm<TypeParam> layer(shape.back());
    expect_rounded_once<TypeParam>(layer, layer_norm_map(shape, Eigen::RowMajor, rank_of(shape) - 1, 1),
                                   shape);
  }
}

TYPED_TEST(StorageTypes, RowsOfRMSNorm) {
  ek::RMSNormOptions options;
  options.epsilon = 1e-5;
  for (const Shape& shape : {Shape{4, 3, 5}, Shape{9, 33}, Shape{6, 256}}) {
    ek::RMSNorm<TypeParam> layer(shape.back(), options);
    const IndexMap map = rms_norm_map(shape, Eigen::RowMajor, rank_of(shape) - 1);
    expect_rounded_once<TypeParam>(layer, map, shape);
    // The squares have no room in half: implementations that square before they convert give 0.
    expect_rounded_once<TypeParam>(layer, map, shape, 0, 1e4);
  }
}

TYPED_TEST(StorageTypes, LargeValues) {
  const double size = std::is_same_v<TypeParam, Eigen::half> ? 1e4 : 1e30;
  const Shape rows = {9, 33}, planes = {4, 3, 50};
  ek::LayerNorm<TypeParam> layer_norm(33);
  expect_rounded_once<TypeParam>(layer_norm, layer_norm_map(rows, Eigen::RowMajor, 1), rows, 0, size);
  ek::BatchNorm<TypeParam> batch_norm(3);
  expect_rounded_once<TypeParam>(batch_norm, batch_norm_map(planes, Eigen::RowMajor, 1), planes, 0, size);
}

TYPED_TEST(StorageTypes, GroupNorm) {
  const Shape shape = {3, 6, 5, 7};
  ek::GroupNorm<TypeParam> layer(2, 6);
  expect_rounded_once<TypeParam>(layer, group_norm_map(shape, Eigen::RowMajor, 2), shape);
}

TYPED_TEST(StorageTypes, InstanceNorm) {
  for (const Shape& shape : {Shape{3, 6, 5, 7}, Shape{2, 3, 200}})
    for (bool affine : {true, false}) {
      ek::InstanceNormOptions options;
      options.affine = affine;
      ek::InstanceNorm<TypeParam> layer(shape[1], options);
      expect_rounded_once<TypeParam>(layer, instance_norm_map(shape, Eigen::RowMajor), shape);
    }
}

TYPED_TEST(StorageTypes, FrozenBatchNorm) {
  for (const Shape& shape : {Shape{4, 3, 5}, Shape{9, 33}, Shape{3, 5, 900}}) {
    const IndexMap map = batch_norm_map(shape, Eigen::RowMajor, 1);
    ek::BatchNorm<TypeParam> layer(shape[1]);
    randomize_parameters(layer);
    layer.running_mean().setLinSpaced(shape[1], 1, 3);
    layer.running_var().setLinSpaced(shape[1], 0.5f, 2);
    const auto x = converted<TypeParam>(random_values<float>(map.size(), 2, 1, 1));
    const auto dy = converted<TypeParam>(random_values<float>(map.size(), 0.5, 1, 2));
    std::vector<TypeParam> dx(x.size());
    layer.infer_backward(ek::view(x.data(), shape), ek::view(dy.data(), shape), ek::view(dx.data(), shape));
    const ReferenceGradients expected =
        reference_infer_backward(map, converted<float>(x), converted<float>(dy), to_real(layer.gamma()),
                                 to_real(layer.running_mean()), to_real(layer.running_var()), 1e-5);
    expect_close(dx, expected.x, Tolerance<float>::x * largest(expected.x_scale));
    EXPECT_LE(largest_error(layer.grad_gamma(), expected.gamma,
                            [&](std::size_t p) { return expected.gamma_scale[p]; }),
              Tolerance<float>::sum);
    EXPECT_LE(largest_error(layer.grad_beta(), expected.beta,
                            [&](std::size_t p) { return expected.beta_scale[p]; }),
              Tolerance<float>::sum);
  }
}

// DeepSpeed#581: with an epsilon of 1e-12 a constant row, as padding is, gave NaN where the variance was rounded to
// 16 bits.
template <typename Scalar>
void expect_constant_rows_with_little_epsilon() {
  ek::LayerNormOptions options;
  options.epsilon = 1e-12;
  ek::LayerNorm<Scalar> layer(64, options);
  Eigen::Tensor<Scalar, 2, Eigen::RowMajor> x(3, 64), dy(3, 64);
  for (Index i = 0; i < 64; ++i) {
    x(0, i) = Scalar(0);
    x(1, i) = Scalar(1.5);
    x(2, i) = Scalar(static_cast<float>(i % 2));
    dy(0, i) = dy(1, i) = dy(2, i) = Scalar(static_cast<float>(i % 3));
  }
  const auto y = layer.forward(x);
  const auto dx = layer.backward(x, dy);
  for (Index i = 0; i < 64; ++i) {
    EXPECT_EQ(static_cast<float>(y(0, i)), 0);
    EXPECT_EQ(static_cast<float>(y(1, i)), 0);
    EXPECT_NEAR(static_cast<float>(y(2, i)), i % 2 == 0 ? -1 : 1, 1e-6);
    for (Index row = 0; row < 3; ++row) EXPECT_FALSE(std::isnan(static_cast<float>(dx(row, i))));
  }
}
TEST(PublishedFailures, DeepSpeed581AnEpsilonOf1e12) {
  expect_constant_rows_with_little_epsilon<Eigen::half>();
  expect_constant_rows_with_little_epsilon<Eigen::bfloat16>();
}

// The compiler's own types have the bits of Eigen's.

/// Values of another type, bit for bit.
template <typename T, typename S>
std::vector<T> same_bits_as(const std::vector<S>& values) {
  static_assert(sizeof(T) == sizeof(S));
  std::vector<T> result(values.size());
  std::memcpy(static_cast<void*>(result.data()), values.data(), values.size() * sizeof(S));
  return result;
}

template <typename Scalar>
struct Bits {
  std::vector<Scalar> y, dx, inferred;
};
template <typename Scalar, typename Layer>
Bits<Scalar> bits_of(Layer layer, const Shape& shape, const std::vector<Scalar>& x,
                     const std::vector<Scalar>& dy) {
  randomize_parameters(layer);
  Bits<Scalar> bits{x, x, x};
  layer.forward(ek::view(x.data(), shape), ek::view(bits.y.data(), shape));
  layer.backward(ek::view(x.data(), shape), ek::view(dy.data(), shape), ek::view(bits.dx.data(), shape));
  layer.infer(ek::view(x.data(), shape), ek::view(bits.inferred.data(), shape));
  return bits;
}

template <typename Scalar, typename Same>
void expect_bits_of_eigens_type() {
  static_assert(std::is_same_v<ek::ParamOf<Scalar>, float>, "parameters are kept in float");
  static_assert(std::is_same_v<typename ek::GroupNorm<Scalar>::Scalar, Scalar>);
  for (const Shape& shape : {Shape{2, 6, 3, 3}, Shape{9, 6}, Shape{3, 6, 40, 6}}) {
    const auto x = random_values<Same>(size_of(shape), 3, 1, 1),
               dy = random_values<Same>(size_of(shape), 0.5, 1, 2);
    const auto expect_same = [&](auto layer, auto its_layer) {
      const Bits<Same> expected = bits_of<Same>(layer, shape, x, dy);
      const Bits<Scalar> got =
          bits_of<Scalar>(its_layer, shape, same_bits_as<Scalar>(x), same_bits_as<Scalar>(dy));
      EXPECT_TRUE(same_bytes(same_bits_as<Same>(got.y), expected.y));
      EXPECT_TRUE(same_bytes(same_bits_as<Same>(got.dx), expected.dx));
      EXPECT_TRUE(same_bytes(same_bits_as<Same>(got.inferred), expected.inferred));
    };
    expect_same(ek::BatchNorm<Same>(6), ek::BatchNorm<Scalar>(6));
    expect_same(ek::GroupNorm<Same>(2, 6), ek::GroupNorm<Scalar>(2, 6));
    expect_same(ek::LayerNorm<Same>(shape.back()), ek::LayerNorm<Scalar>(shape.back()));
    expect_same(ek::RMSNorm<Same>(shape.back()), ek::RMSNorm<Scalar>(shape.back()));
    if (shape.size() > 2) expect_same(ek::InstanceNorm<Same>(6), ek::InstanceNorm<Scalar>(6));
  }
}

template <typename Scalar>
void expect_tensor() {
  Eigen::Tensor<Scalar, 2, Eigen::RowMajor> x(4, 3);
  for (Index i = 0; i < 12; ++i) x.data()[i] = static_cast<Scalar>(static_cast<float>(i % 3));
  ek::LayerNorm<Scalar> layer(3);
  const auto y = layer.forward(x);
  EXPECT_EQ(static_cast<float>(y(3, 1)), 0);
  EXPECT_NEAR(static_cast<float>(y(3, 2)), std::sqrt(1.5), 1e-2);
}

#define EK_TEST_ONE(Scalar, Same) +1
#if 0 EVENKEEL_EACH_COMPILER_SCALAR(EK_TEST_ONE)  // how many there are
TEST(CompilerTypes, HaveTheBitsOfEigens) {
#define EK_TEST_X(Scalar, Same)               \
  expect_bits_of_eigens_type<Scalar, Same>(); \
  expect_tensor<Scalar>();
  EVENKEEL_EACH_COMPILER_SCALAR(EK_TEST_X)
}
#endif

}  // namespace
}  // namespace ek_test
