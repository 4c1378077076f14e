// The numbers of layer norm and RMS norm against the oracle: every run of adjacent axes, layout, width and kind of data.
#include <gtest/gtest.h>

#include <evenkeel/layer_norm.hpp>
#include <evenkeel/rms_norm.hpp>
#include <string>
#include <type_traits>
#include <vector>

#include "support/contract.hpp"
#include "support/gradients.hpp"
#include "support/shapes.hpp"

namespace ek_test {
namespace {

struct Layer {
  template <typename Scalar>
  using Of = ek::LayerNorm<Scalar>;
  using Options = ek::LayerNormOptions;
  static constexpr const char* kName = "LayerNorm_";
  static constexpr auto map = layer_norm_map;
};
struct RootMeanSquare {
  template <typename Scalar>
  using Of = ek::RMSNorm<Scalar>;
  using Options = ek::RMSNormOptions;
  static constexpr const char* kName = "RMSNorm_";
  static constexpr auto map = rms_norm_map;
};

/// A norm with a scalar type and an order.
template <typename N, typename C>
struct NormCase : C {
  using Norm = N;
};
struct NormCaseName {
  template <typename C>
  static std::string GetName(int i) {
    return C::Norm::kName + CaseName::GetName<C>(i);
  }
};
template <typename Cases>
struct BothNorms;
template <typename... C>
struct BothNorms<::testing::Types<C...>> {
  using type = ::testing::Types<NormCase<Layer, C>..., NormCase<RootMeanSquare, C>...>;
};

/// The layer that normalizes `count` axes of `shape` from `axis` on.
template <typename Norm, typename Scalar>
auto layer_of(const Shape& shape, Index axis, Index count, double epsilon = 1e-5) {
  const auto first = shape.begin() + wrapped(axis, shape);
  typename Norm::Options options;
  options.axis = axis;
  options.epsilon = epsilon;
  return typename Norm::template Of<Scalar>(std::vector<Index>(first, first + count), options);
}

template <typename C>
class FeatureNumbers : public ::testing::Test {
 protected:
  using S = typename C::Scalar;
  using N = typename C::Norm;

  static void expect_hard_data(const Shape& shape, Index axis, Index count = 1) {
    SCOPED_TRACE("axis " + std::to_string(axis) + ", " + std::to_string(count) + " axes");
    auto layer = layer_of<N, S>(shape, axis, count);
    expect_contract_on_hard_data<C::kOrder, S>(layer, N::map(shape, C::kOrder, axis, count), shape);
  }

  static void expect_uneven_data(const Shape& shape, Index axis, Index count = 1) {
    SCOPED_TRACE("axis " + std::to_string(axis) + ", " + std::to_string(count) + " axes");
    auto layer = layer_of<N, S>(shape, axis, count);
    expect_contract_on_uneven_data<C::kOrder, S>(layer, N::map(shape, C::kOrder, axis, count), shape);
  }

  static void expect_mean(const Shape& shape, Index axis, double mean) {
    SCOPED_TRACE("axis " + std::to_string(axis) + ", mean " + std::to_string(mean));
    const IndexMap map = N::map(shape, C::kOrder, axis, 1);
    auto layer = layer_of<N, S>(shape, axis, 1);
    expect_contract<C::kOrder>(layer, map, shape, random_values<S>(map.size(), mean, 1, 1),
                               random_values<S>(map.size(), 0.5, 1, 2));
  }
};

TYPED_TEST_SUITE(FeatureNumbers, BothNorms<NumericCases>::type, NormCaseName);

TYPED_TEST(FeatureNumbers, EveryRunOfAxesOfEveryShape) {
  for (const Shape& shape : small_shapes())
    for (Index axis = 0; axis < rank_of(shape); ++axis)
      for (Index count = 1; axis + count <= rank_of(shape); ++count)
        if (rank_of(shape) <= 5 || count <= 2) this->expect_hard_data(shape, axis, count);
}

TYPED_TEST(FeatureNumbers, EveryWidth) {
  for (Index width : widths()) {
    this->expect_mean({9, width}, 1, 1e2);     // rows when row-major, columns when column-major
    this->expect_mean({width, 9}, 0, 1e2);     // the other way round
    this->expect_mean({2, 5, width}, 1, 1e2);  // channels first: so many columns side by side
    this->expect_mean({width, 5, 2}, 1, 1e2);
  }
}

template <typename C>
class FeaturesOfLargeSets : public FeatureNumbers<C> {};
TYPED_TEST_SUITE(FeaturesOfLargeSets, BothNorms<LongCases>::type, NormCaseName);

TYPED_TEST(FeaturesOfLargeSets, AndOfManySets) {
  struct Large {
    Shape shape;
    Index axis;
  };
  const Large cases[] = {{{2, 110017}, 1},   {{110017, 2}, 1}, {{20011, 5}, 1}, {{5, 20011}, 1},
                         {{2, 3, 20011}, 1}, {{129, 769}, -1}, {{129, 769}, 0}, {{110017}, 0}};
  for (const Large& large : cases)
    for (double mean : {0.0, 1e6}) this->expect_mean(large.shape, large.axis, mean);
}

TYPED_TEST(FeaturesOfLargeSets, WithDriftAndOutlier) {
  this->expect_uneven_data({2, 100003}, 1);
  this->expect_uneven_data({100003, 2}, 0);
  this->expect_uneven_data({2, 5, 101, 103}, 1, 3);
}

/// Rows of whole vectors, each written while a later one is summed, and some summed twice: those whose first values
/// are no likeness of the rest.
TYPED_TEST(FeatureNumbers, ManyRowsOfWholeVectors) {
  using Scalar = typename TypeParam::Scalar;
  using Norm = typename TypeParam::Norm;
  constexpr int kOrder = TypeParam::kOrder;
  if constexpr (!std::is_same_v<Scalar, long double>) {
    for (const Shape& shape : {Shape{300, 256}, Shape{139, 768}, Shape{1030, 768}, Shape{21, 4096}}) {
      SCOPED_TRACE("rows of " + std::to_string(shape[1]));
      auto layer = layer_of<Norm, Scalar>(shape, 1, 1);
      const IndexMap map = Norm::map(shape, kOrder, 1, 1);
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

TYPED_TEST(FeatureNumbers, TheLastAxesAreTheDefault) {
  using Scalar = typename TypeParam::Scalar;
  using Norm = typename TypeParam::Norm;
  constexpr int kOrder = TypeParam::kOrder;
  const Shape shape = {3, 4, 5};
  typename Norm::Options options;
  options.epsilon = 1e-5;
  typename Norm::template Of<Scalar> one(5, options), two(std::vector<Index>{4, 5}, options);
  expect_contract_on_hard_data<kOrder, Scalar>(one, Norm::map(shape, kOrder, 2, 1), shape);
  expect_contract_on_hard_data<kOrder, Scalar>(two, Norm::map(shape, kOrder, 1, 2), shape);
}

TYPED_TEST(FeatureNumbers, WithoutParametersOrWithoutBias) {
  using Scalar = typename TypeParam::Scalar;
  using Norm = typename TypeParam::Norm;
  constexpr int kOrder = TypeParam::kOrder;
  typename Norm::Options options;
  options.epsilon = 1e-5;
  options.axis = 1;
  for (const Shape& shape : {Shape{6, 5}, Shape{3, 4, 17}, Shape{2, 33, 3}}) {
    const IndexMap map = Norm::map(shape, kOrder, 1, 1);
    const auto expect_parameters = [&](Index gammas, Index betas) {
      typename Norm::template Of<Scalar> layer(shape[1], options);
      expect_contract_on_hard_data<kOrder, Scalar>(layer, map, shape);
      EXPECT_EQ(layer.gamma().size(), gammas);
      EXPECT_EQ(layer.grad_gamma().size(), gammas);
      EXPECT_EQ(layer.beta().size(), betas);
      EXPECT_EQ(layer.grad_beta().size(), betas);
    };
    options.affine = false;
    expect_parameters(0, 0);
    options.affine = true;
    if constexpr (std::is_same_v<Norm, Layer>) {
      options.bias = false;
      expect_parameters(shape[1], 0);
      options.bias = true;
    }
  }
}

TYPED_TEST(FeatureNumbers, ConstantRowsGiveBeta) {
  using Scalar = typename TypeParam::Scalar;
  using Norm = typename TypeParam::Norm;
  constexpr int kOrder = TypeParam::kOrder;
  if (std::is_same_v<Norm, RootMeanSquare>) return;  // its rows have no mean to be equal to
  for (const Shape& shape : {Shape{7, 5}, Shape{3, 5, 33}, Shape{2, 10007}, Shape{1, 7}, Shape{7, 1}})
    for (Index axis = 0; axis < rank_of(shape); ++axis) {
      auto layer = layer_of<Norm, Scalar>(shape, axis, 1);
      expect_beta_of_constant_sets<kOrder, Scalar>(layer, Norm::map(shape, kOrder, axis, 1), shape);
    }
}

TYPED_TEST(FeatureNumbers, Identities) {
  using Scalar = typename TypeParam::Scalar;
  using Norm = typename TypeParam::Norm;
  constexpr int kOrder = TypeParam::kOrder;
  for (const Shape& shape : {Shape{8, 9}, Shape{33, 17}, Shape{5, 6, 31}})
    for (Index axis = 0; axis < rank_of(shape); ++axis) {
      auto layer = layer_of<Norm, Scalar>(shape, axis, 1, 0);
      expect_identities<kOrder, Scalar>(layer, Norm::map(shape, kOrder, axis, 1), shape);
    }
}

template <typename Norm, int kOrder>
void expect_gradients_on_all_axes() {
  for (const Shape& shape : tiny_shapes())
    for (Index axis = -rank_of(shape); axis < rank_of(shape); ++axis)
      for (Index count = 1; wrapped(axis, shape) + count <= rank_of(shape); ++count) {
        SCOPED_TRACE("axis " + std::to_string(axis) + ", " + std::to_string(count) + " axes");
        auto layer = layer_of<Norm, double>(shape, axis, count, kSmoothEpsilon);
        if (std::is_same_v<Norm, Layer> && layer.gamma().size() == 1) continue;  // all of x's are 0
        expect_gradients<kOrder>(layer, shape);
      }
}

TEST(FeatureGradients, OfLayerNorm) {
  expect_gradients_on_all_axes<Layer, Eigen::RowMajor>();
  expect_gradients_on_all_axes<Layer, Eigen::ColMajor>();
}
TEST(FeatureGradients, OfRMSNorm) {
  expect_gradients_on_all_axes<RootMeanSquare, Eigen::RowMajor>();
  expect_gradients_on_all_axes<RootMeanSquare, Eigen::ColMajor>();
}

}  // namespace
}  // namespace ek_test
