// Batch norm's numbers against the oracle: every layout, axis, width and kind of data.
#include <gtest/gtest.h>

#include <evenkeel/batch_norm.hpp>
#include <vector>

#include "support/contract.hpp"
#include "support/gradients.hpp"
#include "support/shapes.hpp"

namespace ek_test {
namespace {

ek::BatchNormOptions options_of(Index axis, double epsilon = 1e-5) {
  ek::BatchNormOptions options;
  options.axis = axis;
  options.epsilon = epsilon;
  return options;
}

Index channels_of(const Shape& shape, Index axis) { return shape[at(wrapped(axis, shape))]; }

bool trainable(const Shape& shape, Index axis) { return size_of(shape) / channels_of(shape, axis) >= 2; }

template <typename C>
class BatchNormNumbers : public ::testing::Test {
 protected:
  using S = typename C::Scalar;

  static void expect_hard_data(const Shape& shape, Index axis) {
    if (!trainable(shape, axis)) return;
    SCOPED_TRACE("axis " + std::to_string(axis));
    ek::BatchNorm<S> layer(channels_of(shape, axis), options_of(axis));
    expect_contract_on_hard_data<C::kOrder, S>(layer, batch_norm_map(shape, C::kOrder, axis), shape);
  }

  static void expect_uneven_data(const Shape& shape, Index axis) {
    SCOPED_TRACE("axis " + std::to_string(axis));
    ek::BatchNorm<S> layer(channels_of(shape, axis), options_of(axis));
    expect_contract_on_uneven_data<C::kOrder, S>(layer, batch_norm_map(shape, C::kOrder, axis), shape);
  }

  static void expect_mean(const Shape& shape, Index axis, double mean) {
    SCOPED_TRACE("axis " + std::to_string(axis) + ", mean " + std::to_string(mean));
    const IndexMap map = batch_norm_map(shape, C::kOrder, axis);
    ek::BatchNorm<S> layer(map.parameters, options_of(axis));
    expect_contract<C::kOrder>(layer, map, shape, random_values<S>(map.size(), mean, 1, 1),
                               random_values<S>(map.size(), 0.5, 1, 2));
  }
};

TYPED_TEST_SUITE(BatchNormNumbers, NumericCases, CaseName);

TYPED_TEST(BatchNormNumbers, EveryAxisOfEveryShape) {
  for (const Shape& shape : small_shapes())
    for (Index axis = 0; axis < rank_of(shape); ++axis) this->expect_hard_data(shape, axis);
}

TYPED_TEST(BatchNormNumbers, EveryWidth) {
  for (Index width : widths()) {
    this->expect_mean({3, 5, width}, 1, 1e2);  // runs of this length when row-major
    this->expect_mean({width, 5, 3}, 1, 1e2);  // and when column-major
    this->expect_mean({7, width}, 1, 1e2);     // so many columns
    this->expect_mean({width, 7}, 0, 1e2);
    if (width < 70) this->expect_mean({3, width, 7, 7}, 1, 1e2);  // short planes
  }
}

template <typename C>
class BatchNormOfLargeSets : public BatchNormNumbers<C> {};
TYPED_TEST_SUITE(BatchNormOfLargeSets, LongCases, CaseName);

// More than 100k values in one set, and many sets: the library must cut these into blocks and merge them.
TYPED_TEST(BatchNormOfLargeSets, AndOfManySets) {
  struct Large {
    Shape shape;
    Index axis;
  };
  const Large cases[] = {{{2, 2, 251, 257}, 1}, {{110017, 2}, 1},     {{2, 110017}, 0},
                         {{2, 20011}, 1},       {{2053, 67}, 1},      {{1, 1, 1, 110017}, 1},
                         {{32, 130, 7, 7}, 1},  {{32, 50, 13, 13}, 1}};
  for (const Large& large : cases)
    for (double mean : {0.0, 1e6}) this->expect_mean(large.shape, large.axis, mean);
}

TYPED_TEST(BatchNormOfLargeSets, WithDriftAndOutlier) {
  this->expect_uneven_data({5, 2, 101, 103}, 1);
  this->expect_uneven_data({50021, 3}, 1);
}

// Sets that are summed again beside others that are not: lines, short lines and single lanes.
TYPED_TEST(BatchNormNumbers, PoorPivots) {
  using Scalar = typename TypeParam::Scalar;
  constexpr int kOrder = TypeParam::kOrder;
  for (const Shape& shape : {Shape{3, 70, 300}, Shape{32, 70, 20}, Shape{64, 70, 5}, Shape{200, 70}}) {
    ek::BatchNorm<Scalar> layer(70);
    randomize_parameters(layer);
    const IndexMap map = batch_norm_map(shape, kOrder);
    expect_contract<kOrder>(layer, map, shape, values_with_poor_pivots<Scalar>(map, 1),
                            random_values<Scalar>(map.size(), 0.5, 1, 2));
  }
}

TYPED_TEST(BatchNormNumbers, InferUsesTheRunningStatistics) {
  using Scalar = typename TypeParam::Scalar;
  constexpr int kOrder = TypeParam::kOrder;
  for (const Shape& shape : small_shapes())
    for (Index axis = 0; axis < rank_of(shape); ++axis)
      for (double mean : {0.0, 1e2, 1e6}) {
        SCOPED_TRACE(to_string(shape) + " axis " + std::to_string(axis) + " mean " + std::to_string(mean));
        const IndexMap map = batch_norm_map(shape, kOrder, axis);
        ek::BatchNorm<Scalar> layer(map.parameters, options_of(axis));
        randomize_parameters(layer);
        const auto means = random_values<Scalar>(map.parameters, mean, 1, 41);
        for (Index c = 0; c < map.parameters; ++c) {
          layer.running_mean()[c] = means[at(c)];
          layer.running_var()[c] = static_cast<Scalar>(0.3 + 0.1 * static_cast<double>(c % 7));
        }
        const Buffer<Scalar> x(random_values<Scalar>(map.size(), mean, 1, 42));
        Buffer<Scalar> y(map.size());
        const ek::BatchNorm<Scalar>& trained = layer;
        trained.infer(view<kOrder>(x, shape), view<kOrder>(y, shape));
        EXPECT_LE(
            forward_error(map, y.values(),
                          reference_infer(map, x.values(), to_real(layer.gamma()), to_real(layer.beta()),
                                          to_real(layer.running_mean()), to_real(layer.running_var()), 1e-5)),
            Tolerance<Scalar>::y);
        EXPECT_TRUE(x.padding_intact() && y.padding_intact());
      }
}

TYPED_TEST(BatchNormNumbers, WithoutTrackingInferUsesTheBatch) {
  using Scalar = typename TypeParam::Scalar;
  constexpr int kOrder = TypeParam::kOrder;
  const Shape shape = {4, 3, 5};
  const IndexMap map = batch_norm_map(shape, kOrder);
  ek::BatchNormOptions options;
  options.track_running_stats = false;
  ek::BatchNorm<Scalar> layer(3, options);
  randomize_parameters(layer);
  const std::vector<Scalar> x = random_values<Scalar>(map.size(), 100, 1, 1);
  std::vector<Scalar> y(x.size());
  layer.infer(view<kOrder>(x.data(), shape), view<kOrder>(y.data(), shape));
  const Reference reference(map, x, 1e-5);
  EXPECT_LE(
      forward_error(map, y, reference_forward(map, reference, to_real(layer.gamma()), to_real(layer.beta()))),
      Tolerance<Scalar>::y);
}

TYPED_TEST(BatchNormNumbers, WithoutParameters) {
  using Scalar = typename TypeParam::Scalar;
  constexpr int kOrder = TypeParam::kOrder;
  ek::BatchNormOptions options;
  options.affine = false;
  for (const Shape& shape : {Shape{6, 3}, Shape{4, 3, 17}, Shape{4, 5, 7, 7}}) {
    ek::BatchNorm<Scalar> layer(shape[1], options);
    EXPECT_EQ(layer.gamma().size(), 0);
    EXPECT_EQ(layer.beta().size(), 0);
    expect_contract_on_hard_data<kOrder, Scalar>(layer, batch_norm_map(shape, kOrder), shape);
    EXPECT_EQ(layer.grad_gamma().size(), 0);
    EXPECT_EQ(layer.grad_beta().size(), 0);
  }
}

TYPED_TEST(BatchNormNumbers, ConstantChannelsGiveBeta) {
  using Scalar = typename TypeParam::Scalar;
  constexpr int kOrder = TypeParam::kOrder;
  for (const Shape& shape :
       {Shape{7, 5}, Shape{3, 5, 33}, Shape{5, 3, 7, 7}, Shape{2, 2, 101, 103}, Shape{5003, 3}})
    for (Index axis : {0, 1}) {
      ek::BatchNorm<Scalar> layer(shape[at(axis)], options_of(axis));
      expect_beta_of_constant_sets<kOrder, Scalar>(layer, batch_norm_map(shape, kOrder, axis), shape);
    }
}

TYPED_TEST(BatchNormNumbers, Identities) {
  using Scalar = typename TypeParam::Scalar;
  constexpr int kOrder = TypeParam::kOrder;
  for (const Shape& shape : {Shape{8, 3}, Shape{33, 17}, Shape{3, 4, 31}, Shape{4, 3, 7, 7}})
    for (Index axis = 0; axis < rank_of(shape); ++axis) {
      ek::BatchNorm<Scalar> layer(shape[at(axis)], options_of(axis, 0));
      expect_identities<kOrder, Scalar>(layer, batch_norm_map(shape, kOrder, axis), shape);
    }
}

template <int kOrder>
void expect_gradients_on_every_axis() {
  for (const Shape& shape : tiny_shapes())
    for (Index axis = -rank_of(shape); axis < rank_of(shape); ++axis) {
      SCOPED_TRACE("axis " + std::to_string(axis));
      ek::BatchNorm<double> layer(channels_of(shape, axis), options_of(axis, kSmoothEpsilon));
      expect_gradients<kOrder>(layer, shape);
    }
}

TEST(BatchNormGradients, RowMajor) { expect_gradients_on_every_axis<Eigen::RowMajor>(); }
TEST(BatchNormGradients, ColumnMajor) { expect_gradients_on_every_axis<Eigen::ColMajor>(); }

}  // namespace
}  // namespace ek_test
