// The examples of cmake/docs/coming_from.md, which shows them from here: what other libraries make of the same
// numbers, by their own formulas, worked out by hand.
#include <gtest/gtest.h>

#include <evenkeel/evenkeel.hpp>

namespace ek_test {
namespace {

namespace ek = evenkeel;

// The library promises y within 5e-7 of max(1, max|y|), and here |y| < 4; dx within 1e-6 of
// max|gamma * inv_std * dy|, which is 0.5. A running statistic, here below 4, is computed in double and rounded once:
// 4 * 2^-24 is less.
constexpr double kNear = 2e-6;

TEST(ComingFrom, PyTorchBatchNorm2d) {
  //! [pytorch]
  // bn = torch.nn.BatchNorm2d(2)
  ek::BatchNorm<float> bn(2);
  Eigen::Tensor<float, 4, Eigen::RowMajor> x(2, 2, 1, 2), y;  // N, C, H, W
  x.setValues({{{{1, 3}}, {{-1, -1}}},                        // sample 0: channel 0, channel 1
               {{{5, 7}}, {{1, 1}}}});                        // sample 1
  bn.forward(x, y);                                           // bn.train(); y = bn(x)

  // Channel 0: mean 4, variance 20 / 4 = 5, unbiased 20 / 3. Channel 1: mean 0, variance 1, unbiased 4 / 3.
  EXPECT_NEAR(y(0, 0, 0, 0), -1.34163944, kNear);       // (1 - 4) / sqrt(5 + 1e-5)
  EXPECT_NEAR(y(0, 1, 0, 0), -0.99999500, kNear);       // (-1 - 0) / sqrt(1 + 1e-5)
  EXPECT_NEAR(bn.running_mean()[0], 0.4, kNear);        // 0.9 * 0 + 0.1 * 4
  EXPECT_NEAR(bn.running_var()[0], 1.56666667, kNear);  // 0.9 * 1 + 0.1 * 20 / 3
  EXPECT_NEAR(bn.running_var()[1], 1.03333333, kNear);  // 0.9 * 1 + 0.1 * 4 / 3

  bn.infer(x, y);                                 // bn.eval(); y = bn(x)
  EXPECT_NEAR(y(0, 0, 0, 0), 0.47935975, kNear);  // (1 - 0.4) / sqrt(1.56666667 + 1e-5)
  //! [pytorch]
}

TEST(ComingFrom, KerasBatchNormalization) {
  //! [keras]
  // layer = keras.layers.BatchNormalization()
  ek::BatchNormOptions options;
  options.axis = -1;
  options.momentum = 1 - 0.99;
  options.epsilon = 1e-3;
  ek::BatchNorm<float> layer(2, options);
  Eigen::Tensor<float, 4, Eigen::RowMajor> x(2, 1, 2, 2), y;  // N, H, W, C
  x.setValues({{{{1, -1}, {3, -1}}}, {{{5, 1}, {7, 1}}}});

  const Eigen::ArrayXf before = layer.running_var();
  layer.forward(x, y);  // y = layer(x, training=True)

  // Channel 0: mean 4, variance 5. Channel 1: mean 0, variance 1.
  EXPECT_NEAR(y(0, 0, 0, 0), -1.34150664, kNear);          // (1 - 4) / sqrt(5 + 1e-3)
  EXPECT_NEAR(y(0, 0, 0, 1), -0.99950037, kNear);          // (-1 - 0) / sqrt(1 + 1e-3)
  EXPECT_NEAR(layer.running_mean()[0], 0.04, kNear);       // 0.99 * 0 + 0.01 * 4
  EXPECT_NEAR(layer.running_var()[0], 1.05666667, kNear);  // 0.99 * 1 + 0.01 * 20 / 3: the unbiased variance

  // Where it must be Keras's moving_variance: what this batch of n values a channel has added, times (n - 1) / n.
  const float n = 4, kept = 0.99f;
  layer.running_var() = kept * before + (layer.running_var() - kept * before) * ((n - 1) / n);
  EXPECT_NEAR(layer.running_var()[0], 1.04, kNear);  // 0.99 * 1 + 0.01 * 5
  EXPECT_NEAR(layer.running_var()[1], 1.00, kNear);  // 0.99 * 1 + 0.01 * 1
  //! [keras]
}

TEST(ComingFrom, KerasLayerNormalizationWithoutScale) {
  //! [keras_without_scale]
  // y = keras.layers.LayerNormalization(scale=False, epsilon=3)(x): beta without gamma.
  const Eigen::ArrayXf none, beta{{1, 2}};
  ek::LayerNormOptions options;
  options.epsilon = 3;
  Eigen::Tensor<float, 2, Eigen::RowMajor> x(1, 2), y;
  x.setValues({{-1, 1}});
  ek::layer_norm_infer(Eigen::DefaultDevice(), x, {2}, none, beta, options, y);  // {2}: normalized_shape

  // Mean 0, variance 1.
  EXPECT_NEAR(y(0, 0), 0.5, kNear);  // -1 / sqrt(1 + 3) + 1
  EXPECT_NEAR(y(0, 1), 2.5, kNear);  // 1 / sqrt(1 + 3) + 2
  //! [keras_without_scale]
}

TEST(ComingFrom, TensorFlowFusedBatchNorm) {
  //! [tensorflow]
  // y, mean, variance = tf.compat.v1.nn.fused_batch_norm(
  //     x, scale, offset, mean, variance, epsilon=0.001, exponential_avg_factor=0.1)
  ek::BatchNormOptions options;
  options.axis = 3;
  options.momentum = 0.1;
  options.epsilon = 1e-3;
  ek::BatchNorm<float> layer(1, options);
  Eigen::Tensor<float, 4, Eigen::RowMajor> x(2, 1, 2, 1), y;  // N, H, W, C
  x.setValues({{{{1}, {3}}}, {{{5}, {7}}}});
  layer.gamma() << 2;         // scale
  layer.beta() << 0.5f;       // offset
  layer.running_mean() << 3;  // mean
  layer.running_var() << 2;   // variance
  layer.forward(x, y);

  // Mean 4, variance 20 / 4 = 5, unbiased 20 / 3.
  EXPECT_NEAR(y(1, 0, 0, 0), 1.39433776, kNear);           // (5 - 4) / sqrt(5 + 1e-3) * 2 + 0.5
  EXPECT_NEAR(layer.running_mean()[0], 3.1, kNear);        // 0.9 * 3 + 0.1 * 4
  EXPECT_NEAR(layer.running_var()[0], 2.46666667, kNear);  // 0.9 * 2 + 0.1 * 20 / 3

  // y = tf.nn.batch_normalization(x, mean=4, variance=3, offset=0.5, scale=2, variance_epsilon=1)
  options.epsilon = 1;
  const Eigen::ArrayXf mean = Eigen::ArrayXf::Constant(1, 4), variance = Eigen::ArrayXf::Constant(1, 3);
  ek::batch_norm_infer(Eigen::DefaultDevice(), x, layer.gamma(), layer.beta(), mean, variance, options, y);
  EXPECT_NEAR(y(1, 0, 0, 0), 1.5, kNear);  // (5 - 4) / sqrt(3 + 1) * 2 + 0.5
  //! [tensorflow]
}

TEST(ComingFrom, OnnxLayerNormalization) {
  //! [onnx_layer]
  // LayerNormalization(axis=1, epsilon=3): the features are all axes from 1 on.
  ek::LayerNormOptions options;
  options.epsilon = 3;
  ek::LayerNorm<float> layer({2, 2}, options);  // the last two axes of x
  Eigen::Tensor<float, 3, Eigen::RowMajor> x(1, 2, 2), y;
  x.setValues({{{-1, 1}, {-1, 1}}});
  layer.gamma() << 1, 2, 3, 4;  // Scale, of shape [2, 2]
  layer.beta() << 0, 0, 0, -1;  // B
  layer.forward(x, y);

  // Mean 0, variance 1: InvStdDev is 1 / sqrt(1 + 3).
  EXPECT_NEAR(layer.saved_mean()[0], 0, kNear);       // Mean
  EXPECT_NEAR(layer.saved_inv_std()[0], 0.5, kNear);  // InvStdDev
  EXPECT_NEAR(y(0, 0, 0), -0.5, kNear);               // -0.5 * 1
  EXPECT_NEAR(y(0, 0, 1), 1, kNear);                  // 0.5 * 2
  EXPECT_NEAR(y(0, 1, 0), -1.5, kNear);               // -0.5 * 3
  EXPECT_NEAR(y(0, 1, 1), 1, kNear);                  // 0.5 * 4 - 1
  //! [onnx_layer]
}

TEST(ComingFrom, OnnxGroupNormalization18) {
  //! [onnx_group]
  // GroupNormalization(num_groups=2, epsilon=3) of opset 18: one scale and one bias a group.
  const Eigen::ArrayXf scale{{2, 4}}, bias{{0.5f, 0.5f}};
  ek::GroupNormOptions options;
  options.epsilon = 3;
  ek::GroupNorm<float> layer(2, 4, options);  // 2 groups of 4 channels
  for (int channel = 0; channel < 4; ++channel) {
    layer.gamma()[channel] = scale[channel / 2];  // each for the 4 / 2 channels of its group
    layer.beta()[channel] = bias[channel / 2];
  }
  Eigen::Tensor<float, 3, Eigen::RowMajor> x(1, 4, 1), y;  // N, C, L
  x.setValues({{{-1}, {1}, {4}, {6}}});
  layer.forward(x, y);

  // Means 0 and 5, variances 1 and 1.
  EXPECT_NEAR(y(0, 0, 0), -0.5, kNear);  // -1 / sqrt(1 + 3) * 2 + 0.5
  EXPECT_NEAR(y(0, 1, 0), 1.5, kNear);   // 1 / sqrt(1 + 3) * 2 + 0.5
  EXPECT_NEAR(y(0, 2, 0), -1.5, kNear);  // (4 - 5) / sqrt(1 + 3) * 4 + 0.5
  //! [onnx_group]
}

TEST(ComingFrom, OneDnnBatchNormalization) {
  //! [onednn]
  // batch_normalization_backward with use_scale | use_shift and epsilon 3, of the mean and variance that
  // batch_normalization_forward in forward_training gave.
  const Eigen::ArrayXf gamma = Eigen::ArrayXf::Ones(1);
  const Eigen::ArrayXd mean = Eigen::ArrayXd::Zero(1), variance = Eigen::ArrayXd::Ones(1);
  ek::BatchNormOptions options;
  options.epsilon = 3;
  Eigen::Tensor<float, 3, Eigen::RowMajor> x(1, 1, 4), dy(1, 1, 4), dx;  // N, C, W: src, diff_dst, diff_src
  x.setValues({{{-1, -1, 1, 1}}});
  dy.setValues({{{1, 0, 0, 0}}});

  ek::Moments<double> moments;
  moments.mean = mean;                                     // DNNL_ARG_MEAN
  moments.inv_std = (variance + options.epsilon).rsqrt();  // of DNNL_ARG_VARIANCE
  Eigen::ArrayXf grad_gamma, grad_beta;                    // diff_scale, diff_shift
  ek::batch_norm_backward(Eigen::DefaultDevice(), x, dy, gamma, moments, options, dx, grad_gamma, grad_beta);

  // xhat is -0.5, -0.5, 0.5, 0.5; the mean of dy is 0.25, that of dy xhat -0.125.
  EXPECT_NEAR(dx(0, 0, 0), 0.34375, kNear);   // 0.5 * (1 - 0.25 - -0.5 * -0.125)
  EXPECT_NEAR(dx(0, 0, 1), -0.15625, kNear);  // 0.5 * (0 - 0.25 - -0.5 * -0.125)
  EXPECT_NEAR(dx(0, 0, 2), -0.09375, kNear);  // 0.5 * (0 - 0.25 - 0.5 * -0.125)
  EXPECT_NEAR(grad_gamma[0], -0.5, kNear);    // the sum of dy xhat
  EXPECT_NEAR(grad_beta[0], 1, kNear);        // the sum of dy
  //! [onednn]
}

}  // namespace
}  // namespace ek_test
