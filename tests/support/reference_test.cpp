// The oracle against values worked out by hand: what it says is the truth for all other tests.
#include "reference.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "data.hpp"
#include "finite_differences.hpp"
#include "same.hpp"

namespace ek_test {
namespace {

TEST(IndexMap, BatchNormFollowsTheChannelInBothOrders) {
  const Shape shape = {2, 3, 2};
  EXPECT_EQ(batch_norm_map(shape, Eigen::RowMajor).set,
            (std::vector<Index>{0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2}));
  EXPECT_EQ(batch_norm_map(shape, Eigen::ColMajor).set,
            (std::vector<Index>{0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2}));
  EXPECT_EQ(batch_norm_map(shape, Eigen::RowMajor, 2).set,
            (std::vector<Index>{0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1}));
  EXPECT_EQ(batch_norm_map(shape, Eigen::ColMajor, -1).set,
            (std::vector<Index>{0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1}));
  EXPECT_EQ(batch_norm_map(shape, Eigen::ColMajor, 0).parameters, 2);
}

TEST(IndexMap, LayerNormNumbersInMemoryOrder) {
  const Shape shape = {2, 2, 3};  // two normalized axes in the middle of nothing: [2] sets of [2, 3]
  const IndexMap row = layer_norm_map(shape, Eigen::RowMajor, 1, 2);
  EXPECT_EQ(row.set, (std::vector<Index>{0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1}));
  EXPECT_EQ(row.parameter, (std::vector<Index>{0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5}));
  const IndexMap col = layer_norm_map(shape, Eigen::ColMajor, 1, 2);
  EXPECT_EQ(col.set, (std::vector<Index>{0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1}));
  EXPECT_EQ(col.parameter, (std::vector<Index>{0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5}));
  const IndexMap middle = layer_norm_map(shape, Eigen::RowMajor, -2);
  EXPECT_EQ(middle.set, (std::vector<Index>{0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5}));
  EXPECT_EQ(middle.parameter, (std::vector<Index>{0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1}));
}

TEST(IndexMap, GroupNormNumbersSamplesThenGroups) {
  const IndexMap row = group_norm_map({2, 4, 2}, Eigen::RowMajor, 2);
  EXPECT_EQ(row.set, (std::vector<Index>{0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3}));
  EXPECT_EQ(row.parameter, (std::vector<Index>{0, 0, 1, 1, 2, 2, 3, 3, 0, 0, 1, 1, 2, 2, 3, 3}));
  const IndexMap col = group_norm_map({2, 4}, Eigen::ColMajor, 2);
  EXPECT_EQ(col.set, (std::vector<Index>{0, 2, 0, 2, 1, 3, 1, 3}));
  EXPECT_EQ(col.parameter, (std::vector<Index>{0, 0, 1, 1, 2, 2, 3, 3}));
  const IndexMap swapped = group_norm_map({4, 2}, Eigen::RowMajor, 2, 0, 1);
  EXPECT_EQ(swapped.set, (std::vector<Index>{0, 2, 0, 2, 1, 3, 1, 3}));
}

// One set of 1, 2, 3, 6: mean 3, biased variance 14 / 4 = 3.5; epsilon 0.5 makes inv_std 1 / 2.
TEST(Reference, ForwardAndBackwardByHand) {
  const IndexMap map = batch_norm_map({4, 1}, Eigen::RowMajor);
  const std::vector<double> x = {1, 2, 3, 6}, dy = {1, 0, 0, 0};
  const std::vector<Real> gamma = {3}, beta = {10};
  const Reference reference(map, x, 0.5L);
  EXPECT_EQ(reference.mean, std::vector<Real>{3});
  EXPECT_EQ(reference.variance, std::vector<Real>{3.5L});
  EXPECT_EQ(reference.inv_std, std::vector<Real>{0.5L});
  EXPECT_EQ(reference_forward(map, reference, gamma, beta), (std::vector<Real>{7, 8.5L, 10, 14.5L}));

  // g = 3, 0, 0, 0; xhat = -1, -1/2, 0, 3/2; mean(g) = 3/4; mean(g xhat) = -3/4.
  const ReferenceGradients gradients = reference_backward(map, reference, dy, gamma);
  EXPECT_EQ(gradients.x, (std::vector<Real>{0.75L, -0.5625L, -0.375L, 0.1875L}));
  EXPECT_EQ(gradients.gamma, std::vector<Real>{-1});
  EXPECT_EQ(gradients.beta, std::vector<Real>{1});
  EXPECT_EQ(gradients.x_scale, std::vector<Real>{1.5L});
  EXPECT_EQ(reference_infer(map, x, gamma, beta, {2}, {3.5L}, 0.5L),
            (std::vector<Real>{8.5L, 10, 11.5L, 16}));
}

// Numbers k / 64 around 2^20: their mean is no long double, and yet x - mean must be right to 2^-64 of its
// size. Moved by the exact 2^20, the same data lie around 0, where nothing is lost.
TEST(Reference, FarMeanCostsNothing) {
  std::vector<double> near, far;
  for (int i = 0; i < 1003; ++i) {
    near.push_back(((i * 7919) % 257 - 128) / 64.0);
    far.push_back(near.back() + 1048576);
  }
  const IndexMap map = batch_norm_map({1003, 1}, Eigen::RowMajor);
  const Reference a(map, near, 0), b(map, far, 0);
  for (std::size_t i = 0; i < near.size(); ++i)
    ASSERT_NEAR(static_cast<double>(a.normalized[i] - b.normalized[i]), 0, 1e-18) << i;
}

TEST(Reference, SumKeepsWhatPlainAdditionLoses) {
  Sum sum;
  for (Real term : {1.0L, 1e30L, 1.0L, -1e30L}) sum.add(term);
  EXPECT_EQ(sum.value(), 2);
}

TEST(FiniteDifferences, AreRightForAPolynomialAndASine) {
  std::vector<double> at = {0.5, -1.25};
  const auto gradient =
      central_differences(at, [&] { return at[0] * at[0] * at[0] + std::sin(at[1]) * at[0]; });
  EXPECT_NEAR(gradient[0], 0.75 + std::sin(-1.25), 1e-11);
  EXPECT_NEAR(gradient[1], 0.5 * std::cos(-1.25), 1e-11);
  EXPECT_EQ(at, (std::vector<double>{0.5, -1.25}));
  EXPECT_LT(relative_error(gradient, {0.75 + std::sin(-1.25), 0.5 * std::cos(-1.25)}), 1e-10);
  EXPECT_NEAR(relative_error(std::vector<double>{1, 2.5}, {1, 2}), 0.25, 1e-15);
  EXPECT_GT(relative_error(std::vector<double>{1, NAN}, {1, 2}), 1e300);
}

TEST(Buffer, BeginsBesideABoundaryAndIsPadded) {
  Buffer<float> buffer(std::vector<float>{1, 2, 3});
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64, sizeof(float));
  EXPECT_EQ(buffer.values(), (std::vector<float>{1, 2, 3}));
  EXPECT_TRUE(buffer.padding_intact());
  for (const Index beside : {-16, -1, 3, 66}) {
#ifdef EK_TEST_ADDRESS_SANITIZER
    if (beside > 0) continue;
#endif
    const float guard = buffer.data()[beside];
    EXPECT_TRUE(std::isnan(guard));
    buffer.data()[beside] = std::numeric_limits<float>::quiet_NaN();
    EXPECT_FALSE(buffer.padding_intact());
    std::memcpy(buffer.data() + beside, &guard, sizeof guard);
    EXPECT_TRUE(buffer.padding_intact());
  }
}

TEST(Says, LooksForWholeNumbers) {
  EXPECT_TRUE(says("x has 128 channels, expected 64", {"128", "64"}));
  EXPECT_FALSE(says("x has 128 channels, expected 64", {"128", "6"}));
  EXPECT_TRUE(says("channel -3", {"-3"}));
  EXPECT_TRUE(says("evenkeel::BatchNorm::forward: no", {"evenkeel::", "evenkeel::BatchNorm::forward:"}));
  EXPECT_FALSE(says("dy overlaps dx", {"x"}));
}

}  // namespace
}  // namespace ek_test
