// Layer norm's numbers against the oracle: every run of adjacent axes, layout, width and kind of data.
#include <gtest/gtest.h>

#include <evenkeel/layer_norm.hpp>
#include <vector>

#include "support/contract.hpp"
#include "support/gradients.hpp"
#include "support/shapes.hpp"

namespace ek_test {
namespace {

/// The layer that normalizes `count` axes of `shape` from `axis` on.
template <typename Scalar>
ek::LayerNorm<Scalar> layer_of(const Shape& shape, Index axis, Index count, double epsilon = 1e-5) {
  const auto first = shape.begin() + wrapped(axis, shape);
  ek::LayerNormOptions options;
  options.axis = axis;
  options.epsilon = epsilon;
  return ek::LayerNorm<Scalar>(std::vector<Index>(first, first + count), options);
}

template <typename C>
class LayerNormNumbers : public ::testing::Test {
 protected:
  using S = typename C::Scalar;

  static void expect_hard_data(const Shape& shape, Index axis, Index count = 1) {
    SCOPED_TRACE("axis " + std::to_string(axis) + ", " + std::to_string(count) + " axes");
    ek::LayerNorm<S> layer = layer_of<S>(shape, axis, count);
    expect_contract_on_hard_data<C::kOrder, S>(layer, layer_norm_map(shape, C::kOrder, axis, count), shape);
  }

  static void expect_uneven_data(const Shape& shape, Index axis, Index count = 1) {
    SCOPED_TRACE("axis " + std::to_string(axis) + ", " + std::to_string(count) + " axes");
    ek::LayerNorm<S> layer = layer_of<S>(shape, axis, count);
    expect_contract_on_uneven_data<C::kOrder, S>(layer, layer_norm_map(shape, C::kOrder, axis, count), shape);
  }

  static void expect_mean(const Shape& shape, Index axis, double mean) {
    SCOPED_TRACE("axis " + std::to_string(axis) + ", mean " + std::to_string(mean));
    const IndexMap map = layer_norm_map(shape, C::kOrder, axis);
    ek::LayerNorm<S> layer = layer_of<S>(shape, axis, 1);
    expect_contract<C::kOrder>(layer, map, shape, random_values<S>(map.size(), mean, 1, 1),
                               random_values<S>(map.size(), 0.5, 1, 2));
  }
};

TYPED_TEST_SUITE(LayerNormNumbers, NumericCases, CaseName);

TYPED_TEST(LayerNormNumbers, EveryRunOfAxesOfEveryShape) {
  for (const Shape& shape : small_shapes())
    for (Index axis = 0; axis < rank_of(shape); ++axis)
      for (Index count = 1; axis + count <= rank_of(shape); ++count)
        if (rank_of(shape) <= 5 || count <= 2) this->expect_hard_data(shape, axis, count);
}

TYPED_TEST(LayerNormNumbers, EveryWidth) {
  for (Index width : widths()) {
    this->expect_mean({9, width}, 1, 1e2);     // rows when row-major, columns when column-major
    this->expect_mean({width, 9}, 0, 1e2);     // the other way round
    this->expect_mean({2, 5, width}, 1, 1e2);  // channels first: so many columns side by side
    this->expect_mean({width, 5, 2}, 1, 1e2);
  }
}

TYPED_TEST(LayerNormNumbers, LargeSetsAndManySets) {
  using Scalar = typename TypeParam::Scalar;
  struct Large {
    Shape shape;
    Index axis;
  };
  const Large cases[] = {{{2, 110017}, 1},   {{110017, 2}, 1}, {{20011, 5}, 1}, {{5, 20011}, 1},
                         {{2, 3, 20011}, 1}, {{129, 769}, -1}, {{129, 769}, 0}, {{110017}, 0}};
  for (const Large& large : cases)
    for (double mean : {0.0, 1e6}) {
      if (std::is_same_v<Scalar, long double>) continue;
      this->expect_mean(large.shape, large.axis, mean);
    }
}

TYPED_TEST(LayerNormNumbers, LargeSetWithDriftAndOutlier) {
  using Scalar = typename TypeParam::Scalar;
  if constexpr (!std::is_same_v<Scalar, long double>) {
    this->expect_uneven_data({2, 100003}, 1);
    this->expect_uneven_data({100003, 2}, 0);
    this->expect_uneven_data({2, 5, 101, 103}, 1, 3);
  }
}

/// Rows of whole vectors, each written while a later one is summed, and some summed twice: those whose first values
/// are no likeness of the rest.
TYPED_TEST(LayerNormNumbers, ManyRowsOfWholeVectors) {
  using Scalar = typename TypeParam::Scalar;
  constexpr int kOrder = TypeParam::kOrder;
  if constexpr (!std::is_same_v<Scalar, long double>) {
    for (const Shape& shape : {Shape{300, 256}, Shape{139, 768}, Shape{1030, 768}, Shape{21, 4096}}) {
      SCOPED_TRACE("rows of " + std::to_string(shape[1]));
      ek::LayerNorm<Scalar> layer = layer_of<Scalar>(shape, 1, 1);
      const IndexMap map = layer_norm_map(shape, kOrder, 1);
      std::vector<Scalar> x = random_values<Scalar>(map.size(), 100, 1, 1);
      for (Index row = 5; row < shape[0]; row += 7) {
        for (Index i = 0; i < 16; ++i) {
          const Index at = kOrder == Eigen::RowMajor ? row * shape[1] + i : i * shape[0] + row;
          x[static_cast<std::size_t>(at)] += Scalar(1e5);
        }
      }
      expect_contract<kOrder>(layer, map, shape, x, random_values<Scalar>(map.size(), 0.5, 1, 2));
    }
  }
}

TYPED_TEST(LayerNormNumbers, TheLastAxesAreTheDefault) {
  using Scalar = typename TypeParam::Scalar;
  constexpr int kOrder = TypeParam::kOrder;
  const Shape shape = {3, 4, 5};
  ek::LayerNorm<Scalar> one(5), two(std::vector<Index>{4, 5});
  expect_contract_on_hard_data<kOrder, Scalar>(one, layer_norm_map(shape, kOrder, 2), shape);
  expect_contract_on_hard_data<kOrder, Scalar>(two, layer_norm_map(shape, kOrder, 1, 2), shape);
}

TYPED_TEST(LayerNormNumbers, WithoutParametersOrWithoutBias) {
  using Scalar = typename TypeParam::Scalar;
  constexpr int kOrder = TypeParam::kOrder;
  ek::LayerNormOptions plain, no_bias;
  plain.affine = false;
  no_bias.bias = false;
  plain.axis = no_bias.axis = 1;
  for (const Shape& shape : {Shape{6, 5}, Shape{3, 4, 17}, Shape{2, 33, 3}}) {
    const IndexMap map = layer_norm_map(shape, kOrder, 1);
    ek::LayerNorm<Scalar> without(shape[1], plain), scaled(shape[1], no_bias);
    EXPECT_EQ(without.gamma().size(), 0);
    EXPECT_EQ(without.beta().size(), 0);
    EXPECT_EQ(scaled.gamma().size(), shape[1]);
    EXPECT_EQ(scaled.beta().size(), 0);
    expect_contract_on_hard_data<kOrder, Scalar>(without, map, shape);
    expect_contract_on_hard_data<kOrder, Scalar>(scaled, map, shape);
    EXPECT_EQ(without.grad_gamma().size(), 0);
    EXPECT_EQ(without.grad_beta().size(), 0);
    EXPECT_EQ(scaled.grad_beta().size(), 0);
  }
}

TYPED_TEST(LayerNormNumbers, ConstantRowsGiveBeta) {
  using Scalar = typename TypeParam::Scalar;
  constexpr int kOrder = TypeParam::kOrder;
  for (const Shape& shape : {Shape{7, 5}, Shape{3, 5, 33}, Shape{2, 10007}, Shape{1, 7}, Shape{7, 1}})
    for (Index axis = 0; axis < rank_of(shape); ++axis) {
      ek::LayerNorm<Scalar> layer = layer_of<Scalar>(shape, axis, 1);
      expect_beta_of_constant_sets<kOrder, Scalar>(layer, layer_norm_map(shape, kOrder, axis), shape);
    }
}

TYPED_TEST(LayerNormNumbers, Identities) {
  using Scalar = typename TypeParam::Scalar;
  constexpr int kOrder = TypeParam::kOrder;
  for (const Shape& shape : {Shape{8, 9}, Shape{33, 17}, Shape{5, 6, 31}})
    for (Index axis = 0; axis < rank_of(shape); ++axis) {
      ek::LayerNorm<Scalar> layer = layer_of<Scalar>(shape, axis, 1, 0);
      expect_identities<kOrder, Scalar>(layer, layer_norm_map(shape, kOrder, axis), shape);
    }
}

template <int kOrder>
void expect_gradients_on_all_axes() {
  for (const Shape& shape : tiny_shapes())
    for (Index axis = -rank_of(shape); axis < rank_of(shape); ++axis)
      for (Index count = 1; wrapped(axis, shape) + count <= rank_of(shape); ++count) {
        SCOPED_TRACE("axis " + std::to_string(axis) + ", " + std::to_string(count) + " axes");
        ek::LayerNorm<double> layer = layer_of<double>(shape, axis, count, kSmoothEpsilon);
        if (layer.gamma().size() > 1)
          expect_gradients<kOrder>(layer, shape);  // of one value, all of x's are 0
      }
}

TEST(LayerNormGradients, RowMajor) { expect_gradients_on_all_axes<Eigen::RowMajor>(); }
TEST(LayerNormGradients, ColumnMajor) { expect_gradients_on_all_axes<Eigen::ColMajor>(); }

}  // namespace
}  // namespace ek_test
