// The examples of cmake/docs/coming_from.md, which shows them from here: what other libraries make of the same
// numbers, by their own formulas, worked out by hand.
#include <gtest/gtest.h>

#include <evenkeel/evenkeel.hpp>
#include <optional>

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
  ek::BatchNorm<float> bn(2);                                 // its options are the defaults here
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
  ek::BatchNorm<float> layer(2, ek::keras::batch_norm());
  Eigen::Tensor<float, 4, Eigen::RowMajor> x(2, 1, 2, 2), y;  // N, H, W, C
  x.setValues({{{{1, -1}, {3, -1}}}, {{{5, 1}, {7, 1}}}});
  layer.forward(x, y);  // y = layer(x, training=True)

  // Channel 0: mean 4, variance 5. Channel 1: mean 0, variance 1.
  EXPECT_NEAR(y(0, 0, 0, 0), -1.34150664, kNear);     // (1 - 4) / sqrt(5 + 1e-3)
  EXPECT_NEAR(y(0, 0, 0, 1), -0.99950037, kNear);     // (-1 - 0) / sqrt(1 + 1e-3)
  EXPECT_NEAR(layer.running_mean()[0], 0.04, kNear);  // 0.99 * 0 + 0.01 * 4
  EXPECT_NEAR(layer.running_var()[0], 1.04, kNear);   // 0.99 * 1 + 0.01 * 5
  EXPECT_NEAR(layer.running_var()[1], 1.00, kNear);   // 0.99 * 1 + 0.01 * 1
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

TEST(ComingFrom, OnnxBatchNormalization) {
  //! [onnx_batch]
  // BatchNormalization(epsilon=1, momentum=0.75, training_mode=1)
  ek::BatchNorm<float> layer(1, ek::onnx::batch_norm(1, 0.75));
  Eigen::Tensor<float, 3, Eigen::RowMajor> x(2, 1, 2), y;  // N, C, L
  x.setValues({{{1, 3}}, {{5, 7}}});
  layer.gamma() << 2;         // scale
  layer.beta() << 1;          // B
  layer.running_mean() << 8;  // input_mean
  layer.running_var() << 1;   // input_var
  layer.forward(x, y);

  // Mean 4, variance 20 / 4 = 5.
  EXPECT_NEAR(y(1, 0, 1), 3.44948974, kNear);      // (7 - 4) / sqrt(5 + 1) * 2 + 1
  EXPECT_NEAR(layer.running_mean()[0], 7, kNear);  // 0.75 * 8 + 0.25 * 4
  EXPECT_NEAR(layer.running_var()[0], 2, kNear);   // 0.75 * 1 + 0.25 * 5
  //! [onnx_batch]
}

TEST(ComingFrom, OnnxLayerNormalization) {
  //! [onnx_layer]
  // LayerNormalization(axis=1, epsilon=3): the features are all axes from 1 on.
  ek::LayerNorm<float> layer({2, 2}, ek::onnx::layer_norm(3));  // the last two axes of x
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
  ek::GroupNorm<float> layer(2, 4, ek::onnx::group_norm(3));  // 2 groups of 4 channels
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

TEST(ComingFrom, MxNetBatchNorm) {
  //! [mxnet]
  // layer = mxnet.gluon.nn.BatchNorm(epsilon=1)
  ek::BatchNorm<float> layer(1, ek::mxnet::batch_norm(1, 0.9, 1));  // axis, momentum, epsilon
  Eigen::Tensor<float, 3, Eigen::RowMajor> x(2, 1, 2), y;           // N, C, W
  x.setValues({{{1, 3}}, {{5, 7}}});
  layer.forward(x, y);

  // Mean 4, variance 20 / 4 = 5.
  EXPECT_NEAR(y(0, 0, 0), -1.22474487, kNear);       // (1 - 4) / sqrt(5 + 1)
  EXPECT_NEAR(layer.running_mean()[0], 0.4, kNear);  // 0.9 * 0 + 0.1 * 4
  EXPECT_NEAR(layer.running_var()[0], 1.4, kNear);   // 0.9 * 1 + 0.1 * 5
  //! [mxnet]
}

// A network of Keras whose batch norm is frozen, and what PyTorch calls eval() on it while the others train.
TEST(ComingFrom, AFrozenLayer) {
  //! [frozen]
  // layer.trainable = False; tape.gradient(loss, x), where y = layer(x)
  ek::BatchNorm<float> layer(1, ek::keras::batch_norm(-1, 0.99, 1));
  layer.gamma() << 6;
  layer.running_mean() << 2;
  layer.running_var() << 3;
  Eigen::Tensor<float, 2, Eigen::RowMajor> x(2, 1), dy(2, 1), y, dx;
  x.setValues({{2}, {4}});
  dy.setValues({{1}, {0.5f}});
  layer.infer(x, y);
  layer.infer_backward(x, dy, dx);

  EXPECT_NEAR(y(1, 0), 6, kNear);                  // (4 - 2) / sqrt(3 + 1) * 6
  EXPECT_NEAR(dx(0, 0), 3, kNear);                 // 1 * 6 / sqrt(3 + 1): the statistics are constants
  EXPECT_NEAR(dx(1, 0), 1.5, kNear);               // 0.5 * 6 / sqrt(3 + 1)
  EXPECT_NEAR(layer.grad_gamma()[0], 0.5, kNear);  // 1 * 0 + 0.5 * (4 - 2) / sqrt(3 + 1)
  EXPECT_NEAR(layer.grad_beta()[0], 1.5, kNear);   // 1 + 0.5
  //! [frozen]
}

// The defaults that the libraries' own documents state.
TEST(Conventions, AreTheLibrariesDefaults) {
  const auto expect_batch = [](const ek::BatchNormOptions& options, double epsilon, double momentum,
                               ek::Index axis, bool unbiased) {
    EXPECT_EQ(options.epsilon, epsilon);
    EXPECT_NEAR(options.momentum.value(), momentum, 1e-15);
    EXPECT_EQ(options.axis, axis);
    EXPECT_TRUE(options.affine && options.track_running_stats);
    EXPECT_EQ(options.unbiased_running_var, unbiased);
  };
  expect_batch(ek::pytorch::batch_norm(), 1e-5, 0.1, 1, true);
  expect_batch(ek::keras::batch_norm(), 1e-3, 0.01, -1, false);
  expect_batch(ek::onnx::batch_norm(), 1e-5, 0.1, 1, false);
  expect_batch(ek::mxnet::batch_norm(), 1e-5, 0.1, 1, false);
  EXPECT_FALSE(ek::pytorch::batch_norm(1e-5, std::nullopt).momentum.has_value());
  EXPECT_FALSE(ek::pytorch::batch_norm(1e-5, 0.1, false, false).affine);
  EXPECT_FALSE(ek::pytorch::batch_norm(1e-5, 0.1, false, false).track_running_stats);

  const auto expect_layer = [](const ek::LayerNormOptions& options, double epsilon,
                               std::optional<ek::Index> axis) {
    EXPECT_EQ(options.epsilon, epsilon);
    EXPECT_EQ(options.axis, axis);
    EXPECT_TRUE(options.affine && options.bias);
  };
  expect_layer(ek::pytorch::layer_norm(), 1e-5, std::nullopt);
  expect_layer(ek::keras::layer_norm(), 1e-3, -1);
  expect_layer(ek::onnx::layer_norm(), 1e-5, std::nullopt);
  expect_layer(ek::mxnet::layer_norm(), 1e-5, -1);
  EXPECT_FALSE(ek::pytorch::layer_norm(1e-5, false).affine);
  EXPECT_FALSE(ek::pytorch::layer_norm(1e-5, true, false).bias);

  const auto expect_group = [](const ek::GroupNormOptions& options, double epsilon, ek::Index axis) {
    EXPECT_EQ(options.epsilon, epsilon);
    EXPECT_EQ(options.axis, axis);
    EXPECT_EQ(options.batch_axis, 0);
    EXPECT_TRUE(options.affine);
  };
  expect_group(ek::pytorch::group_norm(), 1e-5, 1);
  expect_group(ek::keras::group_norm(), 1e-3, -1);
  expect_group(ek::onnx::group_norm(), 1e-5, 1);
  expect_group(ek::mxnet::group_norm(), 1e-5, 1);

  const auto expect_instance = [](const ek::InstanceNormOptions& options, ek::Index axis, bool affine) {
    EXPECT_EQ(options.epsilon, 1e-5);
    EXPECT_EQ(options.axis, axis);
    EXPECT_EQ(options.batch_axis, 0);
    EXPECT_EQ(options.affine, affine);
    EXPECT_FALSE(options.track_running_stats);
  };
  expect_instance(ek::pytorch::instance_norm(), 1, false);
  expect_instance(ek::onnx::instance_norm(), 1, true);
  expect_instance(ek::mxnet::instance_norm(), 1, true);
  EXPECT_EQ(ek::pytorch::instance_norm().momentum, 0.1);
  EXPECT_TRUE(ek::pytorch::instance_norm(1e-5, 0.1, true, true).track_running_stats);
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
