// What only layer norm has: the normalized shape and where it lies.
#include <gtest/gtest.h>

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <evenkeel/layer_norm.hpp>
#include <memory>
#include <optional>
#include <string>
#include <unsupported/Eigen/CXX11/Tensor>
#include <utility>
#include <vector>

#include "support/contract.hpp"
#include "support/data.hpp"
#include "support/same.hpp"
#include "support/state.hpp"

namespace ek_test {
namespace {

ek::LayerNormOptions on_axis(std::optional<Index> axis) {
  ek::LayerNormOptions options;
  options.axis = axis;
  return options;
}

// Rows of 1, 3 and of 0, 8 with epsilon 0: the one is -1, 1, and so is the other.
TEST(LayerNorm, NormalizesRowsByDefault) {
  ek::LayerNormOptions options;
  options.epsilon = 0;
  ek::LayerNorm<double> layer(2, options);
  layer.gamma() << 10, 100;
  layer.beta() << 1, 2;
  std::vector<double> x = {1, 3, 0, 8}, y(4);
  layer.forward(view<Eigen::RowMajor>(x.data(), {2, 2}), view<Eigen::RowMajor>(y.data(), {2, 2}));
  EXPECT_EQ(y, (std::vector<double>{-9, 102, -9, 102}));
  EXPECT_EQ(to_real(layer.saved_mean()), (std::vector<Real>{2, 4}));
  EXPECT_EQ(to_real(layer.saved_inv_std()), (std::vector<Real>{1, 0.25L}));
}

// The columns of an Eigen matrix of (features, samples).
TEST(LayerNorm, NormalizesEachColumnOfAMatrixOnAxisZero) {
  ek::LayerNormOptions options = on_axis(0);
  options.epsilon = 0;
  ek::LayerNorm<double> layer(2, options);
  layer.gamma() << 10, 100;
  layer.beta() << 1, 2;
  Eigen::MatrixXd x(2, 3), y, expected(2, 3);
  x << 1, 0, 9,  //
      3, 8, 5;
  expected << -9, -9, 11,  //
      102, 102, -98;
  layer.forward(x, y);
  EXPECT_EQ(y, expected);
  EXPECT_EQ(to_real(layer.saved_mean()), (std::vector<Real>{2, 4, 7}));
}

// Such rows are written while later ones are summed.
TEST(LayerNorm, WritesManyRowsInPlaceWithTheSameBits) {
  for (const Index features : {256, 768, 2048}) {
    SCOPED_TRACE(std::to_string(features) + " features");
    const Shape shape = {170, features};
    std::vector<float> x = random_values<float>(size_of(shape), 3, 2, 1), y(x.size());
    ek::LayerNorm<float> layer(features);
    layer.forward(view<Eigen::RowMajor>(std::as_const(x).data(), shape),
                  view<Eigen::RowMajor>(y.data(), shape));
    layer.forward(view<Eigen::RowMajor>(x.data(), shape), view<Eigen::RowMajor>(x.data(), shape));
    EXPECT_TRUE(same_bits(x, y));
  }
}

/// The first element of a line of the cache: 15 more are wanted than used.
float* on_a_line(std::vector<float>& memory) {
  void* first = memory.data();
  std::size_t size = memory.size() * sizeof(float);
  return static_cast<float*>(std::align(64, 1, first, size));
}

// Rows of one, two and four vectors, and of three: so many that they are written past the caches, and a few at a
// time, that are not.
TEST(LayerNorm, ManyShortRowsHaveTheBitsOfAFewOfThem) {
  for (const Index features : {4, 8, 16, 32, 64, 24}) {
    for (const bool affine : {true, false}) {
      SCOPED_TRACE(std::to_string(features) + " features" + (affine ? "" : ", no parameters"));
      ek::LayerNormOptions options;
      options.affine = affine;
      ek::LayerNorm<float> all(features, options);
      for (Index f = 0; affine && f < features; ++f) {
        all.gamma()[f] = static_cast<float>(f) - 1.5f;
        all.beta()[f] = 0.1f * static_cast<float>(f);
      }
      ek::LayerNorm<float> few = all;
      const Index rows = 1200000 / features, some = 96;
      const std::vector<float> x = random_values<float>(rows * features, 3, 2, 1),
                               dy = random_values<float>(rows * features, 0.5, 1, 2);
      std::vector<float> y(x.size() + 15), dx(x.size() + 15), few_y(x.size() + 15), few_dx(x.size() + 15);
      const auto run = [&](ek::LayerNorm<float>& layer, Index first, Index count, float* to, float* to_dx) {
        const auto part = [&](auto* p) {
          return view<Eigen::RowMajor>(p + first * features, {count, features});
        };
        layer.forward(part(x.data()), part(to));
        layer.backward(part(x.data()), part(dy.data()), part(to_dx));
      };
      run(all, 0, rows, on_a_line(y), on_a_line(dx));
      for (Index r = 0; r < rows; r += some)
        run(few, r, std::min(some, rows - r), on_a_line(few_y), on_a_line(few_dx));
      const auto values = [&](std::vector<float>& memory) {
        return std::vector<float>(on_a_line(memory), on_a_line(memory) + x.size());
      };
      EXPECT_TRUE(same_bits(values(y), values(few_y)));
      EXPECT_TRUE(same_bits(values(dx), values(few_dx)));
    }
  }
}

// The ConvNeXt one: the channels of each pixel of N, C, H, W.
TEST(LayerNorm, NormalizesTheChannelsOfEachPixelOnAxisOne) {
  Eigen::Tensor<float, 4, Eigen::RowMajor> x(2, 24, 5, 7), y;
  const std::vector<float> values = random_values<float>(x.size(), 3, 2, 1);
  std::copy(values.begin(), values.end(), x.data());
  ek::LayerNorm<float> layer(24, on_axis(1));
  layer.forward(x, y);
  for (Index n = 0; n < 2; ++n)
    for (Index h = 0; h < 5; ++h)
      for (Index w = 0; w < 7; ++w) {
        double mean = 0, square = 0;
        for (Index c = 0; c < 24; ++c) mean += static_cast<double>(x(n, c, h, w)) / 24;
        for (Index c = 0; c < 24; ++c) square += std::pow(static_cast<double>(x(n, c, h, w)) - mean, 2) / 24;
        for (Index c = 0; c < 24; ++c)
          ASSERT_NEAR(y(n, c, h, w), (static_cast<double>(x(n, c, h, w)) - mean) / std::sqrt(square + 1e-5),
                      2e-6);
      }
}

// gamma of several axes lies as x does: for a column-major tensor, the first normalized axis runs fastest.
TEST(LayerNorm, GammaOfSeveralAxesLiesInTheOrderOfX) {
  ek::LayerNormOptions options;
  options.epsilon = 0;
  ek::LayerNorm<double> layer(std::vector<Index>{2, 3}, options);
  EXPECT_EQ(layer.gamma().size(), 6);
  layer.gamma() << 1, 2, 3, 4, 5, 6;
  Eigen::Tensor<double, 3, Eigen::RowMajor> row(1, 2, 3), row_y;
  Eigen::Tensor<double, 3> col(1, 2, 3), col_y;
  for (Index i = 0; i < 2; ++i)
    for (Index j = 0; j < 3; ++j) row(0, i, j) = col(0, i, j) = (i + j) % 2 ? 1 : -1;  // mean 0, variance 1
  layer.forward(row, row_y);
  EXPECT_NEAR(row_y(0, 0, 1), 2, 1e-14);
  EXPECT_NEAR(row_y(0, 1, 0), 4, 1e-14);
  layer.forward(col, col_y);
  EXPECT_NEAR(col_y(0, 0, 1), 3, 1e-14);
  EXPECT_NEAR(col_y(0, 1, 0), 2, 1e-14);
}

TEST(LayerNorm, OneFeatureGivesBeta) {
  ek::LayerNorm<float> layer(1);
  layer.gamma()[0] = 3;
  layer.beta()[0] = -7;
  std::vector<float> x = {1, -1e30f, 5, 0}, y(4), dy = {1, 2, 3, 4}, dx(4, 1);
  const Shape shape = {4, 1};
  layer.forward(view<Eigen::RowMajor>(x.data(), shape), view<Eigen::RowMajor>(y.data(), shape));
  EXPECT_EQ(y, std::vector<float>(4, -7));
  layer.backward(view<Eigen::RowMajor>(x.data(), shape), view<Eigen::RowMajor>(dy.data(), shape),
                 view<Eigen::RowMajor>(dx.data(), shape));
  for (float value : dx)
    EXPECT_NEAR(value, 0, 1e-6 * 3 * 316.3 * 4);  // gamma is 3, inv_std 1 / sqrt(1e-5), dy at most 4
  EXPECT_EQ(layer.grad_gamma()[0], 0);
  EXPECT_EQ(layer.grad_beta()[0], 10);
}

TEST(LayerNorm, RefusesANormalizedShapeThatIsNotThere) {
  ek::LayerNorm<float> layer(std::vector<Index>{6, 5});
  const Buffer<float> x(random_values<float>(120, 0, 1, 1));
  Buffer<float> y(120);
  const auto forward = [&](const Shape& shape) {
    layer.forward(view<Eigen::RowMajor>(x, shape), view<Eigen::RowMajor>(y, shape));
  };
  expect_refused(layer, y, {"evenkeel::LayerNorm::forward:", "[4, 5, 6]", "6", "5"}, [&] {
    forward({4, 5, 6});
  });
  expect_refused(layer, y, {"evenkeel::LayerNorm::forward:", "[4, 30]", "6"}, [&] { forward({4, 30}); });
  expect_refused(layer, y, {"evenkeel::LayerNorm::forward:", "[120]", "2"}, [&] { forward({120}); });
  ek::LayerNorm<float> beyond(std::vector<Index>{5, 6},
                              on_axis(-1));  // the second axis would lie beyond the last
  expect_refused(beyond, y, {"evenkeel::LayerNorm::forward:", "[6, 4, 5]", "2"}, [&] {
    beyond.forward(view<Eigen::RowMajor>(x, {6, 4, 5}), view<Eigen::RowMajor>(y, {6, 4, 5}));
  });
}

TEST(LayerNorm, RefusesABadNormalizedShape) {
  EXPECT_TRUE(says(refusal([] { ek::LayerNorm<float>(-3); }), {"evenkeel::LayerNorm::LayerNorm:", "-3"}));
  EXPECT_TRUE(says(refusal([] {
                     ek::LayerNorm<float>(std::vector<Index>{4, -3});
                   }),
                   {"evenkeel::LayerNorm::LayerNorm:", "-3"}));
  EXPECT_TRUE(
      says(refusal([] { ek::LayerNorm<float>(std::vector<Index>{}); }), {"evenkeel::LayerNorm::LayerNorm:"}));
}

template <typename Scalar>
void expect_no_gradient_of_one_value() {
  ek::LayerNorm<Scalar> layer(1);
  layer.gamma()[0] = Scalar(1.7);
  Eigen::Tensor<Scalar, 2, Eigen::RowMajor> x(37, 1), dy(37, 1);
  x.setRandom();
  dy.setRandom();
  layer.forward(x);
  const auto dx = layer.backward(x, dy);
  for (Index i = 0; i < 37; ++i) EXPECT_EQ(dx(i, 0), Scalar(0)) << i;
}
TEST(LayerNorm, OneValueHasNoGradient) {
  expect_no_gradient_of_one_value<float>();
  expect_no_gradient_of_one_value<double>();
}

TEST(LayerNorm, ParametersWithoutBiasAreGammaAlone) {
  ek::LayerNormOptions options;
  options.bias = false;
  ek::LayerNorm<float> layer(4, options);
  int count = 0;
  for (auto p : layer.parameters()) {
    EXPECT_EQ(std::string(p.name), "gamma");
    ++count;
  }
  EXPECT_EQ(count, 1);
}

TEST(LayerNorm, HasTheDocumentedDefaultsInTheDocumentedOrder) {
  const ek::LayerNormOptions defaults, options{1e-3, 2, false, false};
  EXPECT_EQ(defaults.epsilon, 1e-5);
  EXPECT_FALSE(defaults.axis.has_value());
  EXPECT_TRUE(defaults.affine && defaults.bias);
  EXPECT_EQ(options.axis, 2);
  EXPECT_FALSE(options.affine || options.bias);
}

}  // namespace
}  // namespace ek_test
