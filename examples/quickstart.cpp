// Batch normalization over N,C,H,W: train, go backward, infer.
#include <evenkeel/evenkeel.hpp>
#include <iostream>

namespace ek = evenkeel;
using Tensor = Eigen::Tensor<float, 4, Eigen::RowMajor>;

int main() {
  Tensor x(32, 3, 8, 8), y, target, dy, dx;  // N, C, H, W
  ek::BatchNorm<float> bn(3);                // 3 channels on axis 1

  // Learn y = 5 x - 2, which takes gamma = 5 std(x) and beta = 5 mean(x) - 2.
  for (int step = 0; step < 200; ++step) {
    x.setRandom();  // uniform in [0, 1)
    target = 5.0f * x - 2.0f;
    bn.forward(x, y);             // batch statistics; moves the running ones
    dy = (y - target) / 2048.0f;  // half the mean squared error over 32 x 8 x 8 values a channel
    bn.backward(x, dy, dx);       // dx, bn.grad_gamma(), bn.grad_beta()
    for (auto parameter : bn.parameters()) parameter.value -= 0.1f * parameter.grad;
  }

  bn.infer(x, y);  // running statistics
  const Eigen::Tensor<float, 0, Eigen::RowMajor> error = (y - target).abs().maximum();
  std::cout.precision(3);
  std::cout << "running mean  " << bn.running_mean().transpose() << "   (0.5 expected)\n"
            << "running var   " << bn.running_var().transpose() << "   (1/12 = 0.0833 expected)\n"
            << "gamma         " << bn.gamma().transpose() << "   (5 / sqrt(12) = 1.44 expected)\n"
            << "beta          " << bn.beta().transpose() << "   (5 / 2 - 2 = 0.5 expected)\n"
            << "infer is within " << error() << " of 5 x - 2\n";
}
