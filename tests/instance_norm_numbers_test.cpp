// Instance norm's numbers against the oracle: every pair of axes, layout, width and kind of data, with parameters and
// without, which is walked in another way.
#include <gtest/gtest.h>

#include <evenkeel/instance_norm.hpp>
#include <vector>

#include "support/contract.hpp"
#include "support/gradients.hpp"
#include "support/shapes.hpp"

namespace ek_test {
namespace {

struct Axes {
  Index channel = 1, batch = 0;
};

template <typename Scalar>
ek::InstanceNorm<Scalar> layer_of(const Shape& shape, Axes axes, bool affine, double epsilon = 1e-5) {
  ek::InstanceNormOptions options;
  options.axis = axes.channel;
  options.batch_axis = axes.batch;
  options.epsilon = epsilon;
  options.affine = affine;
  return ek::InstanceNorm<Scalar>(shape[at(wrapped(axes.channel, shape))], options);
}

/// Whether each channel of a sample has two values.
bool trainable(const Shape& shape, Axes axes) {
  const Index channel = wrapped(axes.channel, shape), batch = wrapped(axes.batch, shape);
  return channel != batch && size_of(shape) >= 2 * shape[at(channel)] * shape[at(batch)];
}

template <typename Visit>
void for_every_pair_of_axes(const Shape& shape, Visit visit) {
  for (Index channel = 0; channel < rank_of(shape); ++channel)
    for (Index batch = 0; batch < rank_of(shape); ++batch)
      if (trainable(shape, {channel, batch})) visit(Axes{channel, batch});
}

template <typename C>
class InstanceNormNumbers : public ::testing::Test {
 protected:
  using S = typename C::Scalar;

  /// Calls check(layer, map) with parameters and without.
  template <typename Check>
  static void for_each_layer(const Shape& shape, Axes axes, Check check) {
    if (!trainable(shape, axes)) return;
    const IndexMap map = instance_norm_map(shape, C::kOrder, axes.channel, axes.batch);
    for (bool affine : {true, false}) {
      SCOPED_TRACE("axis " + std::to_string(axes.channel) + ", batch axis " + std::to_string(axes.batch) +
                   (affine ? "" : ", not affine"));
      ek::InstanceNorm<S> layer = layer_of<S>(shape, axes, affine);
      check(layer, map);
    }
  }

  static void expect_hard_data(const Shape& shape, Axes axes = {}) {
    for_each_layer(shape, axes, [&](auto& layer, const IndexMap& map) {
      expect_contract_on_hard_data<C::kOrder, S>(layer, map, shape);
    });
  }

  static void expect_mean(const Shape& shape, Axes axes, double mean) {
    for_each_layer(shape, axes, [&](auto& layer, const IndexMap& map) {
      expect_contract<C::kOrder>(layer, map, shape, random_values<S>(map.size(), mean, 1, 1),
                                 random_values<S>(map.size(), 0.5, 1, 2));
    });
  }
};

TYPED_TEST_SUITE(InstanceNormNumbers, NumericCases, CaseName);

TYPED_TEST(InstanceNormNumbers, ChannelsFirstOverEveryShape) {
  for (const Shape& shape : small_shapes()) this->expect_hard_data(shape);
}

TYPED_TEST(InstanceNormNumbers, EveryPairOfAxes) {
  for (const Shape& shape : {Shape{3, 4, 2}, Shape{4, 6, 5}, Shape{2, 4, 3, 6}, Shape{2, 3, 2, 4, 2}})
    for_every_pair_of_axes(shape, [&](Axes axes) { this->expect_mean(shape, axes, 1e4); });
}

TYPED_TEST(InstanceNormNumbers, HardDataOnTheUnusualAxes) {
  this->expect_hard_data({3, 5, 7, 12}, {-1, 0});  // channels last
  this->expect_hard_data({12, 7, 5, 3}, {0, 3});   // batch last
  this->expect_hard_data({12, 3, 5, 7}, {0, 1});   // batch after the channels
  this->expect_hard_data({5, 3, 12, 17}, {2, 1});  // space before and after
}

TYPED_TEST(InstanceNormNumbers, EveryWidth) {
  for (Index width : widths()) {
    this->expect_mean({2, 6, width}, {1, 0},
                      1e2);  // planes that are rows without parameters, if they are short
    this->expect_mean({6, 2, width}, {0, 1}, 1e2);      // rows apart
    this->expect_mean({width, 6, 2}, {1, 0}, 1e2);      // channels of many samples
    this->expect_mean({2, 3, 2 * width}, {2, 0}, 1e2);  // channels last
    this->expect_mean({2 * width, 3, 2}, {0, 2}, 1e2);  // samples last
  }
}

template <typename C>
class InstanceNormOfLargeSets : public InstanceNormNumbers<C> {};
TYPED_TEST_SUITE(InstanceNormOfLargeSets, LongCases, CaseName);

// Group norm's tests have more of them.
TYPED_TEST(InstanceNormOfLargeSets, AndOfManySets) {
  this->expect_mean({1, 2, 20011}, {1, 0}, 1e6);
  this->expect_mean({151, 64, 5}, {1, 0}, 1e6);
  this->expect_mean({2, 20011, 2}, {1, 0}, 1e6);
  this->expect_mean({2, 49, 1100}, {2, 0}, 1e6);
  this->expect_mean({2, 2, 10007}, {0, 1}, 1e6);
}

TYPED_TEST(InstanceNormNumbers, ConstantChannelsGiveBeta) {
  using Scalar = typename TypeParam::Scalar;
  constexpr int kOrder = TypeParam::kOrder;
  for (const Shape& shape : {Shape{3, 4, 33}, Shape{2, 6, 7, 7}, Shape{2, 4, 5003}})
    for (Axes axes : {Axes{1, 0}, Axes{0, 1}, Axes{-1, 0}})
      this->for_each_layer(shape, axes, [&](auto& layer, const IndexMap& map) {
        expect_beta_of_constant_sets<kOrder, Scalar>(layer, map, shape);
      });
}

TYPED_TEST(InstanceNormNumbers, Identities) {
  using Scalar = typename TypeParam::Scalar;
  constexpr int kOrder = TypeParam::kOrder;
  for (const Shape& shape : {Shape{3, 16, 5}, Shape{2, 4, 31}, Shape{2, 6, 7, 7}})
    for (Axes axes : {Axes{1, 0}, Axes{-1, 0}, Axes{1, -1}})
      for (bool affine : {true, false}) {
        ek::InstanceNorm<Scalar> layer = layer_of<Scalar>(shape, axes, affine, 0);
        expect_identities<kOrder, Scalar>(layer, instance_norm_map(shape, kOrder, axes.channel, axes.batch),
                                          shape);
      }
}

template <int kOrder>
void expect_gradients_of_every_pair_of_axes() {
  for (const Shape& shape : tiny_shapes())
    for_every_pair_of_axes(shape, [&](Axes axes) {
      for (bool affine : {true, false}) {
        SCOPED_TRACE("axis " + std::to_string(axes.channel) + ", batch axis " + std::to_string(axes.batch));
        ek::InstanceNorm<double> layer = layer_of<double>(shape, axes, affine, kSmoothEpsilon);
        expect_gradients<kOrder>(layer, shape);
      }
    });
}

TEST(InstanceNormGradients, RowMajor) { expect_gradients_of_every_pair_of_axes<Eigen::RowMajor>(); }
TEST(InstanceNormGradients, ColumnMajor) { expect_gradients_of_every_pair_of_axes<Eigen::ColMajor>(); }

}  // namespace
}  // namespace ek_test
