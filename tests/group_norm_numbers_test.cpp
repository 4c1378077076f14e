// Group norm's numbers against the oracle: every pair of axes, number of groups, layout, width and kind of
// data.
#include <gtest/gtest.h>

#include <evenkeel/group_norm.hpp>
#include <vector>

#include "support/contract.hpp"
#include "support/gradients.hpp"
#include "support/shapes.hpp"

namespace ek_test {
namespace {

struct Axes {
  Index channel = 1, batch = 0;
};

std::string to_string(Axes axes, Index groups) {
  return std::to_string(groups) + " groups on axis " + std::to_string(axes.channel) + ", batch axis " +
         std::to_string(axes.batch);
}

template <typename Scalar>
ek::GroupNorm<Scalar> layer_of(const Shape& shape, Index groups, Axes axes, double epsilon = 1e-5) {
  ek::GroupNormOptions options;
  options.axis = axes.channel;
  options.batch_axis = axes.batch;
  options.epsilon = epsilon;
  return ek::GroupNorm<Scalar>(groups, shape[at(wrapped(axes.channel, shape))], options);
}

/// Calls visit(groups, axes) for every pair of different axes and every divisor of the channels.
template <typename Visit>
void for_every_grouping(const Shape& shape, Visit visit) {
  for (Index channel = 0; channel < rank_of(shape); ++channel)
    for (Index batch = 0; batch < rank_of(shape); ++batch)
      for (Index groups = 1; channel != batch && groups <= shape[at(channel)]; ++groups)
        if (shape[at(channel)] % groups == 0) visit(groups, Axes{channel, batch});
}

template <typename C>
class GroupNormNumbers : public ::testing::Test {
 protected:
  using S = typename C::Scalar;

  static void expect_hard_data(const Shape& shape, Index groups, Axes axes = {}) {
    SCOPED_TRACE(to_string(axes, groups));
    ek::GroupNorm<S> layer = layer_of<S>(shape, groups, axes);
    expect_contract_on_hard_data<C::kOrder, S>(
        layer, group_norm_map(shape, C::kOrder, groups, axes.channel, axes.batch), shape);
  }

  static void expect_uneven_data(const Shape& shape, Index groups, Axes axes = {}) {
    SCOPED_TRACE(to_string(axes, groups));
    ek::GroupNorm<S> layer = layer_of<S>(shape, groups, axes);
    expect_contract_on_uneven_data<C::kOrder, S>(
        layer, group_norm_map(shape, C::kOrder, groups, axes.channel, axes.batch), shape);
  }

  static void expect_mean(const Shape& shape, Index groups, Axes axes, double mean) {
    SCOPED_TRACE(to_string(axes, groups) + ", mean " + std::to_string(mean));
    const IndexMap map = group_norm_map(shape, C::kOrder, groups, axes.channel, axes.batch);
    ek::GroupNorm<S> layer = layer_of<S>(shape, groups, axes);
    expect_contract<C::kOrder>(layer, map, shape, random_values<S>(map.size(), mean, 1, 1),
                               random_values<S>(map.size(), 0.5, 1, 2));
  }
};

TYPED_TEST_SUITE(GroupNormNumbers, NumericCases, CaseName);

TYPED_TEST(GroupNormNumbers, ChannelsFirstOverEveryShape) {
  for (const Shape& shape : small_shapes())
    for (Index groups = 1; groups <= shape[1]; ++groups)
      if (shape[1] % groups == 0) this->expect_hard_data(shape, groups);
}

TYPED_TEST(GroupNormNumbers, EveryPairOfAxes) {
  for (const Shape& shape : {Shape{3, 4}, Shape{4, 6, 5}, Shape{2, 4, 3, 6}, Shape{2, 3, 2, 4, 2}})
    for_every_grouping(shape, [&](Index groups, Axes axes) { this->expect_mean(shape, groups, axes, 1e4); });
}

TYPED_TEST(GroupNormNumbers, HardDataOnTheUnusualAxes) {
  this->expect_hard_data({3, 5, 7, 12}, 4, {-1, 0});  // channels last
  this->expect_hard_data({12, 7, 5, 3}, 4, {0, 3});   // batch last
  this->expect_hard_data({3, 12, 5, 9}, 3, {1, -1});  // batch last, space around the channels
  this->expect_hard_data({5, 3, 12, 17}, 6, {2, 1});  // space before and after
}

TYPED_TEST(GroupNormNumbers, EveryWidth) {
  for (Index width : widths()) {
    this->expect_mean({2, 6, width}, 3, {1, 0}, 1e2);      // runs when row-major
    this->expect_mean({width, 6, 2}, 3, {1, 2}, 1e2);      // and when column-major
    this->expect_mean({width, 6, 2}, 3, {1, 0}, 1e2);      // samples side by side when column-major
    this->expect_mean({2, 6, width}, 3, {1, 2}, 1e2);      // and when row-major
    this->expect_mean({2, 3, 2 * width}, 2, {2, 0}, 1e2);  // channels last: columns, folded
    this->expect_mean({2 * width, 3, 2}, 2, {0, 2}, 1e2);
  }
}

// A kernel takes 128 channels at a time: a group of 129 leaves one, and a group of 171 ends within such a part.
TYPED_TEST(GroupNormNumbers, ManyChannelsAGroup) {
  for (Index channels : {128, 129, 130, 171, 257}) {
    this->expect_mean({3, channels, 100}, 1, {1, 0}, 1e2);
    this->expect_mean({100, channels, 3}, 1, {1, 2}, 1e2);
  }
  this->expect_mean({2, 258, 70}, 2, {1, 0}, 1e2);
}

// Sets that are summed again beside others that are not: lines, short lines and single lanes.
TYPED_TEST(GroupNormNumbers, PoorPivots) {
  using Scalar = typename TypeParam::Scalar;
  constexpr int kOrder = TypeParam::kOrder;
  for (const Shape& shape : {Shape{9, 8, 12, 41}, Shape{70, 8, 40}, Shape{3, 8, 40, 30}}) {
    ek::GroupNorm<Scalar> layer(4, 8);
    randomize_parameters(layer);
    const IndexMap map = group_norm_map(shape, kOrder, 4);
    expect_contract<kOrder>(layer, map, shape, values_with_poor_pivots<Scalar>(map, 1),
                            random_values<Scalar>(map.size(), 0.5, 1, 2));
  }
}

template <typename C>
class GroupNormOfLargeSets : public GroupNormNumbers<C> {};
TYPED_TEST_SUITE(GroupNormOfLargeSets, LongCases, CaseName);

TYPED_TEST(GroupNormOfLargeSets, AndOfManySets) {
  struct Large {
    Shape shape;
    Index groups;
    Axes axes;
  };
  const Large cases[] = {{{1, 2, 251, 257}, 1, {1, 0}}, {{1, 4, 50021}, 2, {1, 0}},
                         {{151, 64, 5}, 32, {1, 0}},    {{1, 50021, 4}, 2, {2, 0}},
                         {{50021, 4, 2}, 2, {1, 0}},    {{4, 2, 50021}, 2, {0, 1}},
                         {{4, 64, 14, 14}, 32, {1, 0}}, {{4, 20011, 2}, 4, {0, 1}},
                         {{4, 400, 13, 13}, 8, {1, 0}}, {{5, 1100, 7, 7}, 20, {1, 0}}};
  for (const Large& large : cases)
    for (double mean : {0.0, 1e6}) this->expect_mean(large.shape, large.groups, large.axes, mean);
}

TYPED_TEST(GroupNormOfLargeSets, WithDriftAndOutlier) {
  this->expect_uneven_data({2, 4, 101, 263}, 2);
  this->expect_uneven_data({2, 101, 263, 4}, 2, {3, 0});
}

TYPED_TEST(GroupNormNumbers, WithoutParameters) {
  using Scalar = typename TypeParam::Scalar;
  constexpr int kOrder = TypeParam::kOrder;
  ek::GroupNormOptions options;
  options.affine = false;
  for (const Shape& shape : {Shape{3, 6}, Shape{2, 6, 17}, Shape{2, 6, 7, 7}}) {
    ek::GroupNorm<Scalar> layer(2, 6, options);
    EXPECT_EQ(layer.gamma().size(), 0);
    EXPECT_EQ(layer.beta().size(), 0);
    expect_contract_on_hard_data<kOrder, Scalar>(layer, group_norm_map(shape, kOrder, 2), shape);
    EXPECT_EQ(layer.grad_gamma().size(), 0);
    EXPECT_EQ(layer.grad_beta().size(), 0);
  }
}

TYPED_TEST(GroupNormNumbers, ConstantGroupsGiveBeta) {
  using Scalar = typename TypeParam::Scalar;
  constexpr int kOrder = TypeParam::kOrder;
  for (const Shape& shape :
       {Shape{5, 6}, Shape{3, 4, 33}, Shape{2, 6, 7, 7}, Shape{2, 4, 5003}, Shape{3, 6, 1}})
    for (Axes axes : {Axes{1, 0}, Axes{0, 1}})
      for (Index groups : {Index{1}, shape[at(axes.channel)]}) {
        ek::GroupNorm<Scalar> layer = layer_of<Scalar>(shape, groups, axes);
        expect_beta_of_constant_sets<kOrder, Scalar>(
            layer, group_norm_map(shape, kOrder, groups, axes.channel, axes.batch), shape);
      }
}

TYPED_TEST(GroupNormNumbers, Identities) {
  using Scalar = typename TypeParam::Scalar;
  constexpr int kOrder = TypeParam::kOrder;
  for (const Shape& shape : {Shape{3, 16}, Shape{2, 4, 31}, Shape{2, 6, 7, 7}})
    for (Axes axes : {Axes{1, 0}, Axes{-1, 0}, Axes{1, -1}}) {
      if (wrapped(axes.channel, shape) == wrapped(axes.batch, shape)) continue;
      ek::GroupNorm<Scalar> layer = layer_of<Scalar>(shape, 1, axes, 0);
      expect_identities<kOrder, Scalar>(layer, group_norm_map(shape, kOrder, 1, axes.channel, axes.batch),
                                        shape);
    }
}

template <int kOrder>
void expect_gradients_of_every_grouping() {
  for (const Shape& shape : tiny_shapes())
    for_every_grouping(shape, [&](Index groups, Axes axes) {
      const Index samples = shape[at(axes.batch)];
      if (size_of(shape) == groups * samples) return;  // of one value, all of x's gradients are 0
      SCOPED_TRACE(to_string(axes, groups));
      ek::GroupNorm<double> layer = layer_of<double>(shape, groups, axes, kSmoothEpsilon);
      expect_gradients<kOrder>(layer, shape);
    });
}

TEST(GroupNormGradients, RowMajor) { expect_gradients_of_every_grouping<Eigen::RowMajor>(); }
TEST(GroupNormGradients, ColumnMajor) { expect_gradients_of_every_grouping<Eigen::ColMajor>(); }

}  // namespace
}  // namespace ek_test
