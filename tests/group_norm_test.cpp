// What only group norm has: groups, and statistics per sample.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <evenkeel/group_norm.hpp>
#include <vector>

#include "support/contract.hpp"
#include "support/data.hpp"
#include "support/same.hpp"
#include "support/state.hpp"

namespace ek_test {
namespace {

// Two samples of four channels in two groups, epsilon 0: each pair is -1, 1 or 1, -1.
TEST(GroupNorm, NormalizesEachGroupOfEachSample) {
  ek::GroupNormOptions options;
  options.epsilon = 0;
  ek::GroupNorm<double> layer(2, 4, options);
  layer.gamma() << 1, 10, 100, 1000;
  layer.beta() << 0.5, 0, 0, 0;
  std::vector<double> x = {1, 3, 9, 5, 8, 0, -1, 1}, y(8);
  layer.forward(view<Eigen::RowMajor>(x.data(), {2, 4}), view<Eigen::RowMajor>(y.data(), {2, 4}));
  EXPECT_EQ(y, (std::vector<double>{-0.5, 10, 100, -1000, 1.5, -10, -100, 1000}));
  EXPECT_EQ(to_real(layer.saved_mean()), (std::vector<Real>{2, 7, 4, 0}));
  EXPECT_EQ(to_real(layer.saved_inv_std()), (std::vector<Real>{1, 0.5L, 0.25L, 1}));
}

// One group is layer norm over all that belongs to a sample, as many groups as channels is instance norm.
TEST(GroupNorm, SamplesDoNotSeeEachOther) {
  const Shape three = {3, 4, 5}, one = {1, 4, 5};
  const std::vector<float> x = random_values<float>(60, 1, 1, 1);
  for (Index groups : {1, 2, 4}) {
    ek::GroupNorm<float> layer(groups, 4);
    randomize_parameters(layer);
    std::vector<float> together(60), alone(60);
    layer.forward(view<Eigen::RowMajor>(x.data(), three), view<Eigen::RowMajor>(together.data(), three));
    for (int n = 0; n < 3; ++n)
      layer.forward(view<Eigen::RowMajor>(x.data() + 20 * n, one),
                    view<Eigen::RowMajor>(alone.data() + 20 * n, one));
    for (std::size_t i = 0; i < 60; ++i)
      EXPECT_NEAR(together[i], alone[i], 1e-6 * 5) << i;  // twice 5e-7 of max|y| < 5
  }
}

TEST(GroupNorm, OneValuePerGroupGivesBeta) {
  ek::GroupNorm<float> layer(3, 3);
  layer.gamma().setConstant(3);
  layer.beta() << 1, 2, 3;
  std::vector<float> x = {5, -1e30f, 0, 1, 2, 3}, y(6), dy = {1, 2, 3, 4, 5, 6}, dx(6, 1);
  const Shape shape = {2, 3};
  layer.forward(view<Eigen::RowMajor>(x.data(), shape), view<Eigen::RowMajor>(y.data(), shape));
  EXPECT_EQ(y, (std::vector<float>{1, 2, 3, 1, 2, 3}));
  layer.backward(view<Eigen::RowMajor>(x.data(), shape), view<Eigen::RowMajor>(dy.data(), shape),
                 view<Eigen::RowMajor>(dx.data(), shape));
  for (float value : dx)
    EXPECT_NEAR(value, 0, 1e-6 * 3 * 316.3 * 6);  // gamma is 3, inv_std 1 / sqrt(1e-5), dy at most 6
  EXPECT_EQ(to_real(layer.grad_gamma()), std::vector<Real>(3, 0));
  EXPECT_EQ(to_real(layer.grad_beta()), (std::vector<Real>{5, 7, 9}));
}

TEST(GroupNorm, RefusesGroupsThatDoNotDivideTheChannels) {
  const std::string who = "evenkeel::GroupNorm::GroupNorm:";
  EXPECT_TRUE(says(refusal([] { ek::GroupNorm<float>(3, 64); }), {who, "3", "64"}));
  EXPECT_TRUE(says(refusal([] { ek::GroupNorm<float>(128, 64); }), {who, "128", "64"}));
  EXPECT_TRUE(says(refusal([] { ek::GroupNorm<float>(0, 64); }), {who, "0"}));
  EXPECT_TRUE(says(refusal([] { ek::GroupNorm<float>(-2, 64); }), {who, "-2"}));
  EXPECT_TRUE(says(refusal([] { ek::GroupNorm<float>(2, -64); }), {who, "-64"}));
}

TEST(GroupNorm, RefusesABatchAxisThatIsNoneOfXOrTheChannelAxis) {
  const Buffer<float> x(random_values<float>(120, 0, 1, 1));
  Buffer<float> y(120);
  const Shape shape = {4, 6, 5};
  for (Index batch_axis : {3, -4}) {
    ek::GroupNormOptions options;
    options.batch_axis = batch_axis;
    ek::GroupNorm<float> layer(2, 6, options);
    expect_refused(layer, y, {"evenkeel::GroupNorm::forward:", std::to_string(batch_axis), "[4, 6, 5]"},
                   [&] { layer.forward(view<Eigen::RowMajor>(x, shape), view<Eigen::RowMajor>(y, shape)); });
  }
  // 1 and 1 may be refused as soon as they are seen; 1 and -2 are the same only for three axes.
  for (Index batch_axis : {1, -2})
    EXPECT_TRUE(says(refusal([&] {
                       ek::GroupNormOptions options;
                       options.batch_axis = batch_axis;
                       ek::GroupNorm<float> layer(2, 6, options);
                       layer.forward(view<Eigen::RowMajor>(x, shape), view<Eigen::RowMajor>(y, shape));
                     }),
                     {"evenkeel::GroupNorm", "1"}));
}

TEST(GroupNorm, SaysThatAVectorHasNoBatchAxis) {
  ek::GroupNormOptions options;
  options.axis = -1;
  const Eigen::VectorXf x = Eigen::VectorXf::Random(6);
  EXPECT_EQ(
      refusal([&] { (void)ek::GroupNorm<float>(2, 6, options).infer(x); }),
      "evenkeel::GroupNorm::infer: axis -1 and batch_axis 0 are the same axis of x [6]; for a vector set "
      "batch_axis = no_axis");
  options.batch_axis = ek::no_axis;
  EXPECT_EQ(ek::GroupNorm<float>(2, 6, options).infer(x).size(), 6);
  EXPECT_EQ(ek::GroupNorm<float>(2, 6, options).text(),
            "GroupNorm(2, 6, epsilon=1e-05, axis=-1, batch_axis=no_axis, affine=true, gamma_offset=0)");
}

template <int kOrder>
void expect_unbatched_is_a_batch_of_one() {
  for (const Shape& shape : {Shape{6}, Shape{6, 5}, Shape{5, 6}, Shape{6, 7, 9}, Shape{7, 9, 6},
                             Shape{2, 6, 3000}, Shape{6, 2, 1, 1, 2, 1, 1, 3}})
    for (Index groups : {1, 2, 6}) {
      SCOPED_TRACE(to_string(shape) + ", " + std::to_string(groups) + " groups");
      const Index axis = static_cast<Index>(std::find(shape.begin(), shape.end(), 6) - shape.begin()),
                  size = size_of(shape);
      const bool has_room = shape.size() < 8;  // for one more axis
      Shape batch = shape;
      if (has_room) batch.insert(batch.begin(), 1);
      ek::GroupNormOptions options;
      options.axis = axis;
      options.batch_axis = ek::no_axis;
      ek::GroupNorm<float> layer(groups, 6, options);
      options.axis = has_room ? axis + 1 : axis;
      options.batch_axis = has_room ? 0 : 2;  // whose extent is 1
      ek::GroupNorm<float> batched(groups, 6, options);
      randomize_parameters(layer);
      randomize_parameters(batched);
      const std::vector<float> x = random_values<float>(size, 3, 1, 1),
                               dy = random_values<float>(size, 0, 1, 2);
      std::vector<float> y(x.size()), dx = y, its_y = y, its_dx = y;
      layer.forward(view<kOrder>(x.data(), shape), view<kOrder>(y.data(), shape));
      layer.backward(view<kOrder>(x.data(), shape), view<kOrder>(dy.data(), shape),
                     view<kOrder>(dx.data(), shape));
      batched.forward(view<kOrder>(x.data(), batch), view<kOrder>(its_y.data(), batch));
      batched.backward(view<kOrder>(x.data(), batch), view<kOrder>(dy.data(), batch),
                       view<kOrder>(its_dx.data(), batch));
      EXPECT_EQ(layer.saved_mean().size(), groups);
      for (std::size_t i = 0; i < x.size(); ++i) {
        ASSERT_NEAR(y[i], its_y[i], 2e-6 * std::max(1.0f, std::fabs(y[i]))) << i;
        ASSERT_NEAR(dx[i], its_dx[i], 1e-5 * std::max(1.0f, std::fabs(dx[i]))) << i;
      }
      layer.infer(view<kOrder>(x.data(), shape), view<kOrder>(its_y.data(), shape));
      EXPECT_TRUE(same_bits(its_y, y));
    }
}

TEST(GroupNorm, OfATensorWithoutABatchAxis) {
  expect_unbatched_is_a_batch_of_one<Eigen::RowMajor>();
  expect_unbatched_is_a_batch_of_one<Eigen::ColMajor>();
  ek::GroupNormOptions options;
  options.axis = 0;
  options.batch_axis = ek::no_axis;
  ek::GroupNorm<float> layer(2, 4, options);
  const Eigen::ArrayXf x = Eigen::ArrayXf::LinSpaced(4, 1, 4);
  Eigen::ArrayXf y;
  layer.forward(x, y);
  for (Index c = 0; c < 4; ++c) EXPECT_NEAR(y[c], c % 2 == 0 ? -1 : 1, 3e-5);
}

TEST(GroupNorm, HasTheDocumentedDefaultsInTheDocumentedOrder) {
  const ek::GroupNormOptions defaults, options{1e-3, 2, 3, false};
  EXPECT_EQ(defaults.epsilon, 1e-5);
  EXPECT_EQ(defaults.axis, 1);
  EXPECT_EQ(defaults.batch_axis, 0);
  EXPECT_TRUE(defaults.affine);
  EXPECT_EQ(options.axis, 2);
  EXPECT_EQ(options.batch_axis, 3);
  EXPECT_FALSE(options.affine);
}

}  // namespace
}  // namespace ek_test
