// What the examples share: backward against central differences, forward against plain loops and numbers by hand.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "../../examples/kit/activations.hpp"
#include "../../examples/kit/chart.hpp"
#include "../../examples/kit/convolution.hpp"
#include "../../examples/kit/cross_entropy.hpp"
#include "../../examples/kit/dense.hpp"
#include "../../examples/kit/dropout.hpp"
#include "../../examples/kit/embedding.hpp"
#include "../../examples/kit/images.hpp"
#include "../../examples/kit/norm.hpp"
#include "../../examples/kit/pooling.hpp"
#include "../../examples/kit/recurrent.hpp"
#include "../../examples/kit/sgd.hpp"
#include "../../examples/kit/spread.hpp"
#include "../../examples/residual/block.hpp"
#include "support/layer_gradients.hpp"

namespace kit {
namespace {

using namespace ek_test;

Tensor<double> random_tensor(Index n, Index channels, Index height, Index width, std::uint64_t seed) {
  Tensor<double> values(n, channels, height, width);
  flat(values) = random_matrix(values.size(), 1, seed).array();
  return values;
}

TEST(KitGradients, Dense) {
  Random random(1);
  expect_gradients(Dense<double>(4, 3, 1, random), random_matrix(5, 4, 2));
}

const std::vector<ConvolutionOptions> kConvolutions = {{3, 1, 1}, {3, 2, 1}, {1, 2, 0},
                                                       {1, 1, 0}, {2, 3, 2}, {4, 1, 0}};

TEST(KitGradients, Convolution) {
  for (const ConvolutionOptions& options : kConvolutions) {
    SCOPED_TRACE(testing::Message() << options.kernel << ' ' << options.stride << ' ' << options.padding);
    Random random(1);
    expect_gradients(Convolution<double>(3, 2, options, random), random_tensor(2, 3, 5, 6, 2));
  }
}

TEST(KitGradients, GlobalAveragePooling) {
  expect_gradients(GlobalAveragePooling<double>(), random_tensor(2, 3, 4, 5, 2));
}

/// Relu has a corner at 0, which the differences must not cross: they go 0.002 to either side.
TEST(KitGradients, Relu) {
  Matrix<double> x = random_matrix(4, 5, 2);
  x = x.array() + x.array().sign() * 0.1;
  expect_gradients(Relu<Matrix<double>>(), x);
}

TEST(KitGradients, Sigmoid) { expect_gradients(Sigmoid<Tensor<double>>(), random_tensor(2, 2, 2, 3, 2)); }

TEST(KitGradients, Dropout) { expect_gradients(Dropout<Matrix<double>>(0.4, 3), random_matrix(6, 7, 2)); }

TEST(KitGradients, Embedding) {
  Random random(1);
  Embedding<double> layer(4, 3, 1, random);
  const std::vector<Index> tokens = {2, 0, 2, 3};  // one twice, one never
  layer.forward(tokens);
  const Matrix<double> weights = random_matrix(4, 3, 7);
  layer.backward(weights);
  auto table = layer.parameters()[0];
  expect_equal({{"weights", to_vector(table.grad), central_differences(table.value, [&] {
                   return layer.infer(tokens).cwiseProduct(weights).sum();
                 })}});
}

TEST(KitGradients, Recurrent) {
  constexpr std::size_t kSteps = 4;
  Random random(1);
  Recurrent<double> layer(3, 5, random);
  Sequence<double> x, weights;
  for (std::size_t t = 0; t < kSteps; ++t) {
    x.push_back(random_matrix(2, 3, 10 + t));
    weights.push_back(random_matrix(2, 5, 20 + t));
  }
  layer.forward(x);
  const Sequence<double> dx = layer.backward(weights);
  const auto loss = [&] {
    const Sequence<double> h = layer.infer(x);
    double sum = 0;
    for (std::size_t t = 0; t < kSteps; ++t) sum += h[t].cwiseProduct(weights[t]).sum();
    return sum;
  };
  std::vector<Gradient> gradients;
  for (auto p : layer.parameters()) {
    gradients.push_back({p.name, to_vector(p.grad), central_differences(p.value, loss)});
  }
  for (std::size_t t = 0; t < kSteps; ++t) {
    auto x_values = flat(x[t]);
    gradients.push_back({"x of a step", to_vector(dx[t]), central_differences(x_values, loss)});
  }
  expect_equal(gradients);
}

TEST(KitGradients, SoftmaxCrossEntropy) {
  Matrix<double> z = random_matrix(4, 5, 2);
  const std::vector<Index> labels = {0, 4, 2, 2};
  SoftmaxCrossEntropy<double> loss;
  loss.forward(z, labels);
  const Matrix<double> dz = loss.backward();
  auto z_values = flat(z);
  expect_equal(
      {{"z", to_vector(dz), central_differences(z_values, [&] { return loss.forward(z, labels); })}});
}

TEST(KitGradients, Norm) {
  for (const char* name : {"none", "batch", "layer", "group"}) {
    SCOPED_TRACE(name);
    expect_gradients(residual::make_norm<double>(name, 8, 2), random_tensor(4, 8, 2, 2, 2));
  }
}

/// A beta of 5 behind a norm keeps the relus away from their corners, which are 5 deviations away.
TEST(KitGradients, ResidualBlock) {
  for (const char* name : {"batch", "layer", "group"}) {
    for (Index stride : {1, 2}) {
      SCOPED_TRACE(testing::Message() << name << ", stride " << stride);
      Random random(1);
      residual::Block<double> block(4, stride == 1 ? 4 : 8, 4 / stride, stride, name, random);
      for (auto p : block.parameters()) {
        if (std::string(p.name) == "beta") p.value = 5;
      }
      expect_gradients(block, random_tensor(3, 4, 4, 4, 2));
    }
  }
}

TEST(Kit, ConvolvesAsItsEquationSays) {
  for (const ConvolutionOptions& options : kConvolutions) {
    const auto [kernel, stride, padding] = options;
    Random random(1);
    Convolution<double> layer(3, 2, options, random);
    const auto weights = layer.parameters()[0].value;
    auto bias = layer.parameters()[1].value;
    bias << 0.5, -2;
    const Tensor<double> x = random_tensor(2, 3, 5, 6, 2), y = layer.infer(x);
    ASSERT_EQ(y.dimension(2), (5 + 2 * padding - kernel) / stride + 1);
    ASSERT_EQ(y.dimension(3), (6 + 2 * padding - kernel) / stride + 1);
    for (Index n = 0; n < 2; ++n) {
      for (Index o = 0; o < 2; ++o) {
        for (Index i = 0; i < y.dimension(2); ++i) {
          for (Index j = 0; j < y.dimension(3); ++j) {
            double sum = bias[o];
            for (Index c = 0; c < 3; ++c) {
              for (Index u = 0; u < kernel; ++u) {
                for (Index v = 0; v < kernel; ++v) {
                  const Index row = i * stride + u - padding, column = j * stride + v - padding;
                  if (row < 0 || row >= 5 || column < 0 || column >= 6) continue;
                  sum += weights[((o * 3 + c) * kernel + u) * kernel + v] * x(n, c, row, column);
                }
              }
            }
            // Two sums of at most 48 terms of size 1, rounded in two different orders.
            EXPECT_NEAR(y(n, o, i, j), sum, 1e-13) << n << ' ' << o << ' ' << i << ' ' << j;
          }
        }
      }
    }
  }
}

TEST(Kit, DropsTheShareOfItsRateAndKeepsTheMean) {
  constexpr Index kValues = 40000;
  Dropout<Matrix<double>> layer(0.25, 1);
  const Matrix<double> ones = Matrix<double>::Ones(1, kValues), y = layer.forward(ones);
  // A share of 40000 draws has a deviation of sqrt(0.25 * 0.75 / 40000) = 0.0022; the bound is four of them.
  EXPECT_NEAR((y.array() == 0).cast<double>().mean(), 0.25, 0.009);
  for (double value : y.reshaped()) EXPECT_TRUE(value == 0 || value == 1 / 0.75) << value;
  EXPECT_FALSE(layer.forward(ones) == y) << "the second mask is the first";
  EXPECT_TRUE(layer.infer(ones) == ones);
}

TEST(Kit, CrossEntropyOfLargeLogitsIsFinite) {
  Matrix<float> z(2, 3);
  z << 1000, 1000, 0, 0, 0, 0;
  SoftmaxCrossEntropy<float> loss;
  EXPECT_FLOAT_EQ(loss.forward(z, {1, 2}), static_cast<float>((std::log(2) + std::log(3)) / 2));
}

TEST(Kit, SgdByHand) {
  Matrix<double> weights(1, 2), grad(1, 2), bias(1, 1), grad_bias(1, 1);
  weights << 1, -2;
  grad << 0.5, 0;
  bias << 3;
  grad_bias << 1;
  Sgd<double> sgd({0.5, 0.25});
  const Parameters<double> parameters = {parameter("weights", weights, grad),
                                         parameter("bias", bias, grad_bias)};
  sgd.step(parameters, 2);  // v = 0.5 + 0.25 * 1 and 0.25 * -2; the bias does not decay: v = 1
  EXPECT_EQ(weights, (Matrix<double>(1, 2) << -0.5, -1).finished());
  EXPECT_EQ(bias(0), 1);
  sgd.step(parameters, 1);  // v = 0.5 * 0.75 + 0.5 + 0.25 * -0.5 and 0.5 * -0.5 + 0.25 * -1; v = 0.5 + 1
  EXPECT_EQ(weights, (Matrix<double>(1, 2) << -1.25, -0.5).finished());
  EXPECT_EQ(bias(0), -0.5);
}

TEST(Kit, RateFallsOverTheLastFifth) {
  EXPECT_EQ(falling_rate(3, 0, 10), 3);
  EXPECT_EQ(falling_rate(3, 8, 10), 3);
  EXPECT_EQ(falling_rate(3, 9, 10), 1.5);
}

TEST(Kit, SpreadOfSeeds) {
  const Spread odd = spread_of({3, 1, 2}), even = spread_of({4, 1, 3, 2});
  EXPECT_EQ(odd.lowest, 1);
  EXPECT_EQ(odd.median, 2);
  EXPECT_EQ(odd.highest, 3);
  EXPECT_EQ(even.median, 2.5);
  EXPECT_EQ(spread_of({NAN, 1, 2}).median, 2);
  EXPECT_EQ(spread_of({NAN, 1, 2}).highest, INFINITY);
}

TEST(Kit, TicksAreRoundNumbers) {
  using Ticks = std::vector<double>;
  EXPECT_EQ(linear_ticks(0, 100), (Ticks{0, 20, 40, 60, 80, 100}));
  EXPECT_EQ(linear_ticks(0, 300), (Ticks{0, 50, 100, 150, 200, 250, 300}));
  EXPECT_EQ(linear_ticks(-1.5, 2), (Ticks{-1, 0, 1, 2}));
  EXPECT_EQ(logarithmic_ticks(0.5, 500), (Ticks{1, 10, 100}));
  EXPECT_EQ(logarithmic_ticks(1, 20), (Ticks{1, 2, 5, 10, 20}));
  EXPECT_EQ(logarithmic_ticks(1e-24, 1).size(), 9);
}

TEST(Kit, PlacesOnAnAxis) {
  EXPECT_EQ(place_on({"", 10, 20}, 15), 0.5);
  EXPECT_EQ(place_on({"", 10, 20}, 25), 1);
  // A quotient of logarithms, which are rounded.
  EXPECT_NEAR(place_on({"", 0.01, 100, "", true}, 1), 0.5, 1e-15);
}

TEST(Kit, ChartLeavesOutWhatIsNotFinite) {
  Chart chart("a < b");
  chart.add({"", {"steps", 0, 4}, {"loss", 0, 1}, {{0, {0, 2, 4}, {{0, NAN, 1}, {1, 0, 1}}}}});
  const std::string path = testing::TempDir() + "kit_test.svg";
  chart.save(path);
  std::ifstream file(path);
  const std::string svg{std::istreambuf_iterator<char>(file), {}};
  const std::string after = svg.substr(std::min(svg.find("<polyline"), svg.size()));
  const std::string line = after.substr(0, after.find('\n'));
  EXPECT_EQ(std::count(line.begin(), line.end(), ','), 2) << line;  // "x,y " of two places
  EXPECT_NE(svg.find(">a &lt; b<"), std::string::npos) << svg;
}

TEST(Kit, EnlargedImagesAreLinearBetweenPixels) {
  Images images(1, 4);
  images.pixels << 0, 1, 2, 5;
  images.label(0) = 7;
  const Images large = enlarged(images, 3);
  EXPECT_EQ(large.pixels, (Matrix<float>(1, 9) << 0, 0.5, 1, 1, 2, 3, 2, 3.5, 5).finished());
  EXPECT_EQ(large.label(0), 7);
}

TEST(Kit, EveryImageIsInOneBatchOfEachRound) {
  Images images(6, 1), batch(2, 1);
  for (Index i = 0; i < 6; ++i) images.label(i) = i;
  Random random(1);
  Batches batches(images, 2, random);
  for (int round = 0; round < 3; ++round) {
    std::vector<Index> seen;
    for (int i = 0; i < 3; ++i) {
      batches.next(batch);
      seen.insert(seen.end(), batch.labels.begin(), batch.labels.end());
    }
    std::sort(seen.begin(), seen.end());
    EXPECT_EQ(seen, images.labels);
  }
}

}  // namespace
}  // namespace kit
