// Built with -fno-exceptions: a caller's EVENKEEL_FAIL gets the message.
#include <cstdlib>
#include <iostream>

#define EVENKEEL_FAIL(message) (std::cerr << "the robot stops: " << (message) << std::endl, std::_Exit(42))

#include <gtest/gtest.h>

#include <Eigen/Core>
#include <evenkeel/evenkeel.hpp>

TEST(NoExceptionsDeathTest, BadInputCallsTheCallersMacro) {
  evenkeel::BatchNorm<float> layer(4);
  const Eigen::MatrixXf x = Eigen::MatrixXf::Random(8, 5);
  Eigen::MatrixXf y;
  EXPECT_EXIT(layer.forward(x, y), ::testing::ExitedWithCode(42),
              "the robot stops: evenkeel::BatchNorm::forward: .*5 channels.*expected 4");
}

TEST(NoExceptions, GoodInputIsNormalized) {
  evenkeel::LayerNorm<float> layer(2);
  Eigen::MatrixXf x(2, 2), expected(2, 2);
  x << 1, 3, 8, 4;
  expected << -1, 1, 1, -1;
  EXPECT_TRUE(layer.forward(x).isApprox(expected, 1e-4f));  // epsilon moves it by 5e-6
}
