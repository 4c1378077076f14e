// Compiled once for each SNIPPET, by expect_compile_error.cmake; with EVALUATED, each is the right way to
// write it.
#include <Eigen/Core>
#include <evenkeel/evenkeel.hpp>
#include <unsupported/Eigen/CXX11/Tensor>

#ifdef EVALUATED
#define WRONG_OR_RIGHT(wrong, right) right
#else
#define WRONG_OR_RIGHT(wrong, right) wrong
#endif

void snippet() {
  evenkeel::BatchNorm<float> bn(4);
  Eigen::MatrixXf a(8, 4), b(8, 4), y(8, 4);
  const Eigen::MatrixXf constant(8, 4);
  const Eigen::MatrixXd doubles(8, 4);
  Eigen::Tensor<float, 2> t(8, 4), u(8, 4), v(8, 4);
#if SNIPPET == 1  // a sum of matrices
  bn.forward(WRONG_OR_RIGHT(a + b, Eigen::MatrixXf(a + b)), y);
#elif SNIPPET == 2  // a sum of tensors
  bn.forward(WRONG_OR_RIGHT(t + u, (Eigen::Tensor<float, 2>(t + u))), v);
#elif SNIPPET == 3  // a lazy expression to infer, and returning
  y = bn.infer(WRONG_OR_RIGHT(a * 2, Eigen::MatrixXf(a * 2)));
#elif SNIPPET == 4  // a lazy dy
  bn.backward(a, WRONG_OR_RIGHT(a - b, Eigen::MatrixXf(a - b)), y);
#elif SNIPPET == 5  // an output that cannot be written
  bn.forward(a, WRONG_OR_RIGHT(constant, y));
#elif SNIPPET == 6  // another scalar
  bn.forward(WRONG_OR_RIGHT(doubles, constant), y);
#endif
}
