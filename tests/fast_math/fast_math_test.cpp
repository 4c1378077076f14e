// The library inside a caller's -ffast-math: the numbers stand, and what is not finite is still seen.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "../support/data.hpp"
#include "../support/reference.hpp"
#include "caller.hpp"

namespace ek_test {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN(),
                kInfinity = std::numeric_limits<float>::infinity();

/// y to 5e-7 of max(1, max|y|) and dx to 1e-6 of max|inv_std dy|, as everywhere; here the maxima are over all
/// sets.
void expect_contract(const FastMathResult& result, const IndexMap& map, const std::vector<float>& x,
                     const std::vector<float>& dy) {
  const Reference reference(map, x, 1e-5);
  const std::vector<Real> y = reference_forward(map, reference, {}, {});
  const ReferenceGradients gradients = reference_backward(map, reference, dy, {});
  Real y_scale = 1, dx_scale = 0, y_error = 0, dx_error = 0;
  for (Real value : y) y_scale = std::fmax(y_scale, std::fabs(value));
  for (Real value : gradients.x_scale) dx_scale = std::fmax(dx_scale, value);
  for (std::size_t i = 0; i < x.size(); ++i) {
    ASSERT_TRUE(std::isfinite(result.y[i]) && std::isfinite(result.dx[i])) << i;
    y_error = std::fmax(y_error, std::fabs(static_cast<Real>(result.y[i]) - y[i]));
    dx_error = std::fmax(dx_error, std::fabs(static_cast<Real>(result.dx[i]) - gradients.x[i]));
  }
  EXPECT_LE(y_error / y_scale, 5e-7L);
  EXPECT_LE(dx_error / dx_scale, 1e-6L);
  for (std::size_t p = 0; p < result.grad_gamma.size(); ++p)
    EXPECT_LE(std::fabs(static_cast<Real>(result.grad_gamma[p]) - gradients.gamma[p]),
              1e-6L * gradients.gamma_scale[p]);
}

TEST(FastMath, TheContractStands) {
  for (double mean : {0.0, 1e2, 1e4, 1e6}) {
    SCOPED_TRACE(mean);
    for (Index columns : {3, 33, 257}) {
      const Shape shape = {301, columns};
      const std::vector<float> x = random_values<float>(size_of(shape), mean, 1, 1),
                               dy = random_values<float>(size_of(shape), 0.5, 1, 2);
      expect_contract(batch_norm_step(x, dy, static_cast<long>(columns)),
                      batch_norm_map(shape, Eigen::RowMajor), x, dy);
      expect_contract(layer_norm_step(x, dy, static_cast<long>(columns)),
                      layer_norm_map(shape, Eigen::RowMajor, 1), x, dy);
    }
  }
}

TEST(FastMath, SquaresMayOverflow) {
  for (double size : {1e19, 1e30, 5e37}) {
    SCOPED_TRACE(size);
    for (Index columns : {3, 33, 64, 257}) {
      const Shape shape = {301, columns};
      const std::vector<float> x = random_values<float>(size_of(shape), 0, size, 1),
                               dy = random_values<float>(size_of(shape), 0.5, 1, 2);
      expect_contract(batch_norm_step(x, dy, static_cast<long>(columns)),
                      batch_norm_map(shape, Eigen::RowMajor), x, dy);
      expect_contract(layer_norm_step(x, dy, static_cast<long>(columns)),
                      layer_norm_map(shape, Eigen::RowMajor, 1), x, dy);
    }
  }
}

/// g++ links what sets flush-to-zero, so that 1e-40 is 0 to a caller's own arithmetic.
TEST(FastMath, SubnormalNumbersAreNumbers) {
  std::vector<float> x;
  for (std::uint32_t i = 1; i <= 4; ++i) {
    const std::uint32_t bits = 71362 * i;  // i 1e-40
    float value;
    std::memcpy(&value, &bits, sizeof value);
    x.push_back(value);
  }
  const std::vector<float> y = layer_norm_values(x, 4, 0);
  const float expected[] = {-1.3416408f, -0.4472136f, 0.4472136f, 1.3416408f};
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(y[i], expected[i], 2e-5f) << i;
}

TEST(FastMath, ConstantRowsGiveZero) {
  const std::vector<float> x(99, 1e6f + 0.3f), dy(99, 1);
  EXPECT_EQ(layer_norm_step(x, dy, 33).y, std::vector<float>(99, 0));
  EXPECT_EQ(batch_norm_step(x, dy, 3).y, std::vector<float>(99, 0));
}

TEST(FastMath, ChannelsThatAreNotFiniteAreRejected) {
  std::vector<float> x = random_values<float>(90, 1, 1, 1);
  const std::vector<float> dy = random_values<float>(90, 0, 1, 2);
  EXPECT_EQ(batch_norm_step(x, dy, 3).rejected_batches, 0);
  for (float bad : {kNan, kInfinity, -kInfinity}) {
    x[4] = bad;  // channel 1
    const FastMathResult result = batch_norm_step(x, dy, 3);
    EXPECT_EQ(result.rejected_batches, 1) << bad;
    for (std::size_t c = 0; c < 3; ++c)
      EXPECT_NEAR(result.running_mean[c], c == 1 ? 0 : 0.1, c == 1 ? 0 : 0.09) << bad << " in channel " << c;
    for (std::size_t i = 0; i < x.size(); ++i)
      EXPECT_EQ(std::isnan(result.y[i]), i % 3 == 1) << bad << " at " << i;
  }
}

TEST(FastMath, EpsilonIsStillChecked) {
  EXPECT_TRUE(refuses_epsilon(std::numeric_limits<double>::quiet_NaN()));
  EXPECT_TRUE(refuses_epsilon(std::numeric_limits<double>::infinity()));
  EXPECT_TRUE(refuses_epsilon(-1));
  EXPECT_FALSE(refuses_epsilon(0));
}

}  // namespace
}  // namespace ek_test
