#include <iostream>
#include <standardize.hpp>

int main() {
  Eigen::MatrixXf x(2, 2);
  x << 1, 1000,  //
      3, 1002;
  const Eigen::MatrixXf y = Standardize(2)(x);
  std::cout << y << "\n";
  Eigen::MatrixXf expected(2, 2);
  expected << -1, -1,  //
      1, 1;
  return y.isApprox(expected, 1e-4f) ? 0 : 1;  // epsilon takes 5e-6
}
