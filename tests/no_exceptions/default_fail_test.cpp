// Built with -fno-exceptions: bad input prints its message and aborts.
#include <gtest/gtest.h>

#include <Eigen/Core>
#include <evenkeel/evenkeel.hpp>

TEST(NoExceptionsDeathTest, BadInputPrintsItsMessageAndAborts) {
  evenkeel::BatchNorm<float> layer(4);
  const Eigen::MatrixXf x = Eigen::MatrixXf::Random(8, 5);
  Eigen::MatrixXf y;
  const char* message = "evenkeel::BatchNorm::forward: .*5 channels.*expected 4";
#ifdef _WIN32  // which has no signals
  EXPECT_DEATH(layer.forward(x, y), message);
#else
  EXPECT_EXIT(layer.forward(x, y), ::testing::KilledBySignal(SIGABRT), message);
#endif
}
