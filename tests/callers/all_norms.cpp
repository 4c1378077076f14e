#include <Eigen/Core>
#include <evenkeel/evenkeel.hpp>
#include <unsupported/Eigen/CXX11/Tensor>

namespace {

using Tensor = Eigen::Tensor<float, 4, Eigen::RowMajor>;

template <typename Norm, typename Batch>
float use(Norm norm, const Batch& x) {
  Batch y = norm.forward(x);
  const Batch dx = norm.backward(x, y);
  norm.infer(dx, y);
  return y.data()[0];
}

}  // namespace

int main() {
  Tensor x(2, 4, 3, 3);
  x.setRandom();
  const Eigen::MatrixXd columns = Eigen::MatrixXd::Random(4, 5);
  evenkeel::LayerNormOptions of_columns;
  of_columns.axis = 0;
  const double sum =
      static_cast<double>(use(evenkeel::BatchNorm<float>(4), x) + use(evenkeel::LayerNorm<float>(3), x) +
                          use(evenkeel::GroupNorm<float>(2, 4), x) +
                          use(evenkeel::InstanceNorm<float>(4), x)) +
      evenkeel::LayerNorm<double>(4, of_columns).infer(columns).sum();
  return sum == sum ? 0 : 1;
}
