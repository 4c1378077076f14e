// What a call fuses with its norm: gradients, sets of one value, empty batches, outputs, devices, neighbours and errors.
#define EIGEN_USE_THREADS

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <evenkeel/evenkeel.hpp>
#include <functional>
#include <limits>
#include <string>
#include <type_traits>
#include <unsupported/Eigen/CXX11/Tensor>
#include <utility>
#include <vector>

#include "support/contract.hpp"
#include "support/data.hpp"
#include "support/finite_differences.hpp"
#include "support/gradients.hpp"
#include "support/norms.hpp"
#include "support/same.hpp"
#include "support/state.hpp"

namespace ek_test {
namespace {

constexpr int kOrder = Eigen::RowMajor;

template <typename Values>
auto seen(Values& values, const Shape& shape) {
  return view<kOrder>(values.data(), shape);
}

// Of the gradients' loss, sum(weights y), by what the caller gives.

/// y = leaky(norm(x) + residual), with no value near the kink, where there is no gradient.
template <typename Layer>
void expect_gradients_behind(Layer layer, const Shape& shape) {
  SCOPED_TRACE(to_string(shape));
  randomize_parameters(layer);
  std::vector<double> x = random_values<double>(size_of(shape), 0.5, 1, 21), y(x.size()), dx(x.size()),
                      d_residual(x.size()), residual = random_values<double>(size_of(shape), 0, 1, 23);
  const std::vector<double> weights = random_values<double>(size_of(shape), 0.25, 1, 22);
  layer.forward(seen(x, shape), seen(y, shape), ek::add(seen(residual, shape)));
  for (std::size_t i = 0; i < y.size(); ++i) residual[i] += y[i] > 0 ? 0.25 : -0.25;
  const auto loss = [&] {
    layer.forward(seen(x, shape), seen(y, shape), ek::add(seen(residual, shape)).then(ek::leaky_relu(0.2)));
    double sum = 0;
    for (std::size_t i = 0; i < y.size(); ++i) sum += weights[i] * y[i];
    return sum;
  };
  loss();
  layer.backward(seen(x, shape), seen(weights, shape), seen(dx, shape),
                 ek::add(seen(residual, shape), seen(d_residual, shape)).then(ek::leaky_relu(0.2)));
  const std::vector<Real> dgamma = to_real(layer.grad_gamma()), dbeta = to_real(layer.grad_beta());
  EXPECT_LT(relative_error(dx, central_differences(x, loss)), 1e-7) << "x";
  EXPECT_LT(relative_error(d_residual, central_differences(residual, loss)), 1e-7) << "residual";
  EXPECT_LT(relative_error(dgamma, central_differences(layer.gamma(), loss)), 1e-7) << "gamma";
  EXPECT_LT(relative_error(dbeta, central_differences(layer.beta(), loss)), 1e-7) << "beta";
}

/// sum = x + skip, which goes on beside y = norm(sum).
template <typename Layer>
void expect_gradients_around(Layer layer, const Shape& shape) {
  SCOPED_TRACE(to_string(shape));
  randomize_parameters(layer);
  std::vector<double> x = random_values<double>(size_of(shape), 0.5, 1, 21), y(x.size()), sum(x.size()),
                      dx(x.size()), skip = random_values<double>(size_of(shape), 0, 1, 23);
  const std::vector<double> weights = random_values<double>(size_of(shape), 0.25, 1, 22),
                            of_sum = random_values<double>(size_of(shape), 0.25, 1, 24);
  const auto loss = [&] {
    layer.forward(seen(x, shape), seen(y, shape), ek::residual_in(seen(skip, shape), seen(sum, shape)));
    double total = 0;
    for (std::size_t i = 0; i < y.size(); ++i) total += weights[i] * y[i] + of_sum[i] * sum[i];
    return total;
  };
  loss();
  layer.backward(seen(sum, shape), seen(weights, shape), seen(dx, shape), ek::plus(seen(of_sum, shape)));
  const std::vector<Real> dgamma = to_real(layer.grad_gamma());
  EXPECT_LT(relative_error(dx, central_differences(x, loss)), 1e-7) << "x";
  EXPECT_LT(relative_error(dx, central_differences(skip, loss)), 1e-7) << "skip";
  EXPECT_LT(relative_error(dgamma, central_differences(layer.gamma(), loss)), 1e-7) << "gamma";
}

template <typename Options>
Options smooth_options(Index axis) {
  Options options;
  options.epsilon = kSmoothEpsilon;
  options.axis = axis;
  return options;
}

TEST(FusedGradients, OfAnActivationBehindAResidual) {
  for (const Shape& shape : {Shape{4, 6, 3}, Shape{7, 6}})
    expect_gradients_behind(ek::BatchNorm<double>(6, smooth_options<ek::BatchNormOptions>(1)), shape);
  for (const Shape& shape : {Shape{4, 6, 3}, Shape{7, 6}})
    expect_gradients_behind(ek::GroupNorm<double>(2, 6, smooth_options<ek::GroupNormOptions>(1)), shape);
  for (const Shape& shape : {Shape{4, 6, 3}, Shape{7, 6}}) {
    expect_gradients_behind(ek::LayerNorm<double>(6, smooth_options<ek::LayerNormOptions>(1)), shape);
    expect_gradients_behind(ek::RMSNorm<double>(6, smooth_options<ek::RMSNormOptions>(1)), shape);
  }
}

struct Smooth {
  const char* name;
  ek::detail::Smooth fused;
  Real (*value)(Real);
};
const Smooth kSmooth[] = {
    {"silu", ek::silu(), [](Real z) { return z / (1 + std::exp(-z)); }},
    {"gelu", ek::gelu(), [](Real z) { return z * std::erfc(-z / std::sqrt(Real(2))) / 2; }},
    {"gelu_tanh", ek::gelu_tanh(),
     [](Real z) {
       const Real inner = std::sqrt(2 / std::acos(Real(-1))) * (z + 0.044715L * z * z * z);
       return z * (1 + std::tanh(inner)) / 2;
     }},
    {"tanh", ek::tanh(), [](Real z) { return std::tanh(z); }},
    {"sigmoid", ek::sigmoid(), [](Real z) { return 1 / (1 + std::exp(-z)); }}};

/// y = f(norm(x) + residual) of a smooth f, in double beside its formula and in float beside double.
template <template <typename> class Layer, typename Make>
void expect_smooth(const Shape& shape, const Make& make) {
  for (const Smooth& smooth : kSmooth) {
    SCOPED_TRACE(to_string(shape) + " " + smooth.name);
    Layer<double> layer = make(double());
    randomize_parameters(layer);
    std::vector<double> x = random_values<double>(size_of(shape), 0.5, 1, 21), y(x.size()), dx(x.size()),
                        z(x.size()), d_residual(x.size()),
                        residual = random_values<double>(size_of(shape), 0, 1, 23);
    const std::vector<double> weights = random_values<double>(size_of(shape), 0.25, 1, 22);
    const auto loss = [&] {
      layer.forward(seen(x, shape), seen(y, shape), ek::add(seen(residual, shape)).then(smooth.fused));
      double sum = 0;
      for (std::size_t i = 0; i < y.size(); ++i) sum += weights[i] * y[i];
      return sum;
    };
    layer.infer(seen(x, shape), seen(z, shape), ek::add(seen(residual, shape)));
    layer.forward(seen(x, shape), seen(z, shape), ek::add(seen(residual, shape)));
    loss();
    // z is off by the contract's bound; the slopes are at most 1.2, and y by 5 units in the last place.
    for (std::size_t i = 0; i < y.size(); ++i)
      EXPECT_NEAR(y[i], static_cast<double>(smooth.value(static_cast<Real>(z[i]))),
                  1e-15 * (1 + std::fabs(z[i])));
    layer.backward(seen(x, shape), seen(weights, shape), seen(dx, shape),
                   ek::add(seen(residual, shape), seen(d_residual, shape)).then(smooth.fused));
    const std::vector<Real> dgamma = to_real(layer.grad_gamma());
    EXPECT_LT(relative_error(dx, central_differences(x, loss)), 1e-7) << "x";
    EXPECT_LT(relative_error(d_residual, central_differences(residual, loss)), 1e-7) << "residual";
    EXPECT_LT(relative_error(dgamma, central_differences(layer.gamma(), loss)), 1e-7) << "gamma";

    // float, whose z is within 5e-7 of values of at most about 5.
    loss();
    Layer<float> narrow = make(float());
    narrow.gamma() = layer.gamma().template cast<float>();
    if (layer.beta().size() > 0) narrow.beta() = layer.beta().template cast<float>();
    const auto narrowed = [](const std::vector<double>& values) { return converted<float>(values); };
    std::vector<float> x_f = narrowed(x), y_f(x.size()), r_f = narrowed(residual), dx_f(x.size()),
                       w_f = narrowed(weights);
    narrow.forward(seen(x_f, shape), seen(y_f, shape), ek::add(seen(r_f, shape)).then(smooth.fused));
    narrow.backward(seen(x_f, shape), seen(w_f, shape), seen(dx_f, shape),
                    ek::add(seen(r_f, shape)).then(smooth.fused));
    EXPECT_LT(relative_error(y_f, y), 2e-6) << "y of float";
    EXPECT_LT(relative_error(dx_f, dx), 1e-5) << "dx of float";
  }
}

TEST(FusedGradients, OfSmoothActivations) {
  for (const Shape& shape : {Shape{4, 6, 3}, Shape{7, 6}, Shape{2, 6, 40}}) {
    expect_smooth<ek::BatchNorm>(shape, [](auto scalar) {
      return ek::BatchNorm<decltype(scalar)>(6, smooth_options<ek::BatchNormOptions>(1));
    });
    expect_smooth<ek::GroupNorm>(shape, [](auto scalar) {
      return ek::GroupNorm<decltype(scalar)>(2, 6, smooth_options<ek::GroupNormOptions>(1));
    });
    expect_smooth<ek::LayerNorm>(shape, [](auto scalar) {
      return ek::LayerNorm<decltype(scalar)>(6, smooth_options<ek::LayerNormOptions>(1));
    });
    expect_smooth<ek::RMSNorm>(shape, [](auto scalar) {
      return ek::RMSNorm<decltype(scalar)>(6, smooth_options<ek::RMSNormOptions>(1));
    });
  }
}

TEST(FusedGradients, OfASumThatGoesOn) {
  for (const Shape& shape : {Shape{4, 6, 3}, Shape{7, 6}}) {
    expect_gradients_around(ek::LayerNorm<double>(6, smooth_options<ek::LayerNormOptions>(1)), shape);
    expect_gradients_around(ek::RMSNorm<double>(6, smooth_options<ek::RMSNormOptions>(1)), shape);
  }
}

/// Over one feature, dx of layer norm is 0, so that of the sum is d_sum to the bit.
template <typename S>
void expect_d_sum_alone() {
  ek::LayerNorm<S> layer(1);
  for (const Shape& shape : {Shape{37, 1}, Shape{1, 1}}) {
    std::vector<S> x = random_values<S>(size_of(shape), 3, 1e3, 1), y(x.size()), dx(x.size());
    const std::vector<S> dy = random_values<S>(size_of(shape), 0, 1, 2),
                         d_sum = random_values<S>(size_of(shape), 0, 1, 3);
    layer.forward(seen(x, shape), seen(y, shape));
    layer.backward(seen(x, shape), seen(dy, shape), seen(dx, shape), ek::plus(seen(d_sum, shape)));
    EXPECT_TRUE(same_bits(dx, d_sum));
  }
}
TEST(FusedCalls, GiveASetOfOneValueTheGradientOfItsSum) {
  expect_d_sum_alone<float>();
  expect_d_sum_alone<double>();
}

// A clip that holds everything, and one that holds nothing.
TEST(FusedCalls, ClipToOneValueOrNotAtAll) {
  const Shape shape = {5, 6};
  const std::vector<float> x = random_values<float>(30, 3, 1, 1), dy = random_values<float>(30, 0, 1, 2);
  std::vector<float> y(30), dx(30), plain(30), plain_dx(30);
  ek::LayerNorm<float> layer(6);
  layer.forward(seen(x, shape), seen(y, shape), ek::clip(0.5, 0.5));
  EXPECT_EQ(y, std::vector<float>(30, 0.5f));
  layer.backward(seen(x, shape), seen(dy, shape), seen(dx, shape), ek::clip(0.5, 0.5));
  EXPECT_EQ(dx, std::vector<float>(30, 0));
  const double infinity = std::numeric_limits<double>::infinity();
  layer.forward(seen(x, shape), seen(y, shape), ek::clip(-infinity, infinity));
  layer.backward(seen(x, shape), seen(dy, shape), seen(dx, shape), ek::clip(-infinity, infinity));
  layer.forward(seen(x, shape), seen(plain, shape));
  layer.backward(seen(x, shape), seen(dy, shape), seen(plain_dx, shape));
  EXPECT_TRUE(same_bits(y, plain));
  EXPECT_TRUE(same_bits(dx, plain_dx));
}

// The gradients of relu and leaky_relu at 0 are those of the negative side: beta is 0 and a constant row gives it.
TEST(FusedCalls, TakeTheSmallerSlopeAtZero) {
  const Shape shape = {2, 6};
  const std::vector<float> x(12, 3), dy = random_values<float>(12, 0, 1, 2), residual(12, 0);
  std::vector<float> y(12), dx(12), d_residual(12), expected;
  for (const float value : dy) expected.push_back(0.25f * value);
  ek::LayerNorm<float> layer(6);
  layer.forward(seen(x, shape), seen(y, shape), ek::add_relu(seen(residual, shape)));
  const auto d = seen(d_residual, shape);
  layer.backward(seen(x, shape), seen(dy, shape), seen(dx, shape), ek::add_relu(seen(residual, shape), d));
  for (const float value : d_residual) EXPECT_EQ(value, 0);
  layer.backward(seen(x, shape), seen(dy, shape), seen(dx, shape),
                 ek::add(seen(residual, shape), d).then(ek::leaky_relu(0.25)));
  EXPECT_EQ(d_residual, expected);
}

TEST(FusedCalls, RefuseAClipOrASlopeThatIsNone) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(refusal([] { ek::clip(2, 1); }), "evenkeel::clip: low is 2, must be at most high, 1");
  EXPECT_TRUE(says(refusal([&] { ek::clip(nan, 1); }), {"evenkeel::clip:", "low", "1"}));
  EXPECT_TRUE(says(refusal([&] { ek::clip(0, nan); }), {"evenkeel::clip:", "low", "0"}));
  EXPECT_TRUE(says(refusal([&] { ek::leaky_relu(nan); }), {"evenkeel::leaky_relu:", "slope", "finite"}));
  EXPECT_TRUE(says(refusal([] { ek::leaky_relu(std::numeric_limits<double>::infinity()); }),
                   {"evenkeel::leaky_relu:", "slope", "finite"}));
}

// NaN in a residual is NaN beside it in y, and nowhere else; backward's mask does not let dy through there.
TEST(FusedCalls, KeepANanOfTheResidualInItsPlace) {
  const Shape shape = {4, 33};
  const std::vector<float> x = random_values<float>(132, 3, 1, 1), dy = random_values<float>(132, 0.5, 1, 2);
  std::vector<float> residual(132, 0.25f), y(132), dx(132), d_residual(132);
  residual[40] = std::numeric_limits<float>::quiet_NaN();
  ek::LayerNorm<float> layer(33);
  layer.forward(seen(x, shape), seen(y, shape), ek::add_relu(seen(residual, shape)));
  layer.backward(seen(x, shape), seen(dy, shape), seen(dx, shape),
                 ek::add_relu(seen(residual, shape), seen(d_residual, shape)));
  for (std::size_t i = 0; i < y.size(); ++i) {
    EXPECT_EQ(std::isnan(y[i]), i == 40) << i;
    EXPECT_TRUE(std::isfinite(dx[i])) << i;
  }
  EXPECT_EQ(d_residual[40], 0);
}

// Owning outputs take their shape.
TEST(FusedCalls, ResizeWhatOwnsItsMemory) {
  using Tensor = Eigen::Tensor<float, 2, Eigen::RowMajor>;
  Tensor x(5, 6), skip(5, 6), dy(5, 6), y, dx, sum, d_residual;
  for (Tensor* t : {&x, &skip, &dy}) {
    const std::vector<float> values = random_values<float>(30, 0.5, 1, static_cast<unsigned>(t - &x));
    std::copy(values.begin(), values.end(), t->data());
  }
  ek::LayerNorm<float> layer(6);
  layer.forward(x, y, ek::residual_in(skip, sum));
  ASSERT_EQ(sum.dimensions(), x.dimensions());
  for (Index i = 0; i < 30; ++i) EXPECT_EQ(sum.data()[i], x.data()[i] + skip.data()[i]);
  layer.backward(sum, dy, dx, ek::add_relu(skip, d_residual));
  ASSERT_EQ(d_residual.dimensions(), x.dimensions());
  // The forms that return, and those with a device.
  const Tensor returned = layer.forward(x, ek::relu()), inferred = layer.infer(x, ek::relu());
  Tensor with_device;
  layer.forward(Eigen::DefaultDevice(), x, with_device, ek::relu());
  EXPECT_TRUE(same_bits(returned, with_device));
  EXPECT_TRUE(same_bits(inferred, with_device));
  layer.infer(Eigen::DefaultDevice(), x, with_device, ek::add_relu(skip));
  EXPECT_TRUE(same_bits(Tensor(layer.infer(x, ek::add_relu(skip))), with_device));
  const Tensor returned_dx = layer.backward(x, dy, ek::add_relu(skip));
  layer.backward(Eigen::DefaultDevice(), x, dy, dx, ek::add_relu(skip));
  EXPECT_TRUE(same_bits(returned_dx, dx));
}

template <typename Norm>
class EveryFusedLayer : public ::testing::Test {
 protected:
  using Layer = typename Norm::Layer;

  static constexpr bool kNormalizesFeatures =
      std::is_same_v<Layer, ek::LayerNorm<float>> || std::is_same_v<Layer, ek::RMSNorm<float>>;

  const Shape shape_ = {4, 6, 5};
  Buffer<float> x_{random_values<float>(120, 3, 1, 1)}, dy_{random_values<float>(120, 0.5, 1, 2)},
      other_{random_values<float>(120, 0.5, 1, 3)};
  Buffer<float> y_{120}, dx_{120}, second_{120};

  static auto seen(Buffer<float>& buffer, const Shape& shape) { return view<kOrder>(buffer.data(), shape); }
  auto x(const Shape& s) { return seen(x_, s); }
  auto dy(const Shape& s) { return seen(dy_, s); }
  auto other(const Shape& s) { return seen(other_, s); }
  auto y(const Shape& s) { return seen(y_, s); }
  auto dx(const Shape& s) { return seen(dx_, s); }
  auto second(const Shape& s) { return seen(second_, s); }

  Layer trained() {
    Layer layer = Norm::make();
    randomize_parameters(layer);
    layer.forward(x(shape_), y(shape_));
    layer.backward(x(shape_), dy(shape_), dx(shape_));
    return layer;
  }

  /// Forward, infer and backward refuse what f(call) does with the norm's call, and nothing has changed.
  template <typename Call>
  void expect_all_unchanged(const Layer& layer, std::initializer_list<std::string> parts, const Call& call) {
    const std::vector<float> x = x_.values(), dy = dy_.values(), other = other_.values();
    expect_refused(layer, y_, parts, call);
    expect_refused(layer, dx_, parts, call);
    expect_refused(layer, second_, parts, call);
    EXPECT_TRUE(same_bits(x_.values(), x) && same_bits(dy_.values(), dy) &&
                same_bits(other_.values(), other));
  }
};
TYPED_TEST_SUITE(EveryFusedLayer, EveryNorm, NormName);

TYPED_TEST(EveryFusedLayer, RefusesOtherShapesAndLayouts) {
  auto layer = this->trained();
  const Shape& s = this->shape_;
  const std::string name = TypeParam::name();
  for (const Shape& wrong : {Shape{4, 6, 4}, Shape{24, 5}, Shape{6, 4, 5}}) {
    const std::string shape = to_string(wrong);
    this->expect_all_unchanged(layer, {name + "forward:", "residual", shape, "[4, 6, 5]"},
                               [&] { layer.forward(this->x(s), this->y(s), ek::add(this->other(wrong))); });
    this->expect_all_unchanged(layer, {name + "infer:", "residual", shape, "[4, 6, 5]"}, [&] {
      layer.infer(this->x(s), this->y(s), ek::add_relu(this->other(wrong)));
    });
    this->expect_all_unchanged(layer, {name + "backward:", "residual", shape, "[4, 6, 5]"}, [&] {
      layer.backward(this->x(s), this->dy(s), this->dx(s), ek::add_relu(this->other(wrong)));
    });
    this->expect_all_unchanged(layer, {name + "backward:", "d_residual", shape, "[4, 6, 5]"}, [&] {
      layer.backward(this->x(s), this->dy(s), this->dx(s), ek::add_relu(this->other(s), this->second(wrong)));
    });
    if constexpr (TestFixture::kNormalizesFeatures) {
      this->expect_all_unchanged(layer, {name + "forward:", "skip", shape, "[4, 6, 5]"}, [&] {
        layer.forward(this->x(s), this->y(s), ek::residual_in(this->other(wrong), this->second(s)));
      });
      this->expect_all_unchanged(layer, {name + "infer:", "sum", shape, "[4, 6, 5]"}, [&] {
        layer.infer(this->x(s), this->y(s), ek::residual_in(this->other(s), this->second(wrong)));
      });
      this->expect_all_unchanged(layer, {name + "backward:", "d_sum", shape, "[4, 6, 5]"}, [&] {
        layer.backward(this->x(s), this->dy(s), this->dx(s), ek::plus(this->other(wrong)));
      });
    }
  }
  const auto turned = view<Eigen::ColMajor>(this->other_, s),
             turned_output = view<Eigen::ColMajor>(this->second_, s);
  this->expect_all_unchanged(layer, {name + "forward:", "residual is column-major", "x is row-major"},
                             [&] { layer.forward(this->x(s), this->y(s), ek::add(turned)); });
  this->expect_all_unchanged(
      layer, {name + "backward:", "d_residual is column-major", "x is row-major"}, [&] {
        layer.backward(this->x(s), this->dy(s), this->dx(s), ek::add_relu(this->other(s), turned_output));
      });
  if constexpr (TestFixture::kNormalizesFeatures) {
    this->expect_all_unchanged(layer, {name + "forward:", "sum is column-major", "x is row-major"}, [&] {
      layer.forward(this->x(s), this->y(s), ek::residual_in(this->other(s), turned_output));
    });
    this->expect_all_unchanged(layer, {name + "backward:", "d_sum is column-major", "x is row-major"}, [&] {
      layer.backward(this->x(s), this->dy(s), this->dx(s), ek::plus(turned));
    });
  }
}

TYPED_TEST(EveryFusedLayer, RefusesNullData) {
  auto layer = this->trained();
  const Shape& s = this->shape_;
  float* null = nullptr;
  const auto none = view<kOrder>(null, s);
  this->expect_all_unchanged(layer, {TypeParam::name() + "forward:", "residual", "null"},
                             [&] { layer.forward(this->x(s), this->y(s), ek::add(none)); });
  this->expect_all_unchanged(layer, {TypeParam::name() + "backward:", "d_residual", "null"}, [&] {
    layer.backward(this->x(s), this->dy(s), this->dx(s), ek::add(this->other(s), none));
  });
  if constexpr (TestFixture::kNormalizesFeatures) {
    this->expect_all_unchanged(layer, {TypeParam::name() + "forward:", "sum", "null"}, [&] {
      layer.forward(this->x(s), this->y(s), ek::residual_in(this->other(s), none));
    });
    this->expect_all_unchanged(layer, {TypeParam::name() + "backward:", "d_sum", "null"},
                               [&] { layer.backward(this->x(s), this->dy(s), this->dx(s), ek::plus(none)); });
  }
}

/// Each output may lie over what its docstring says, and over nothing else.
TYPED_TEST(EveryFusedLayer, RefusesEveryOtherOverlap) {
  auto layer = TypeParam::make();
  randomize_parameters(layer);
  const Shape s = {2, 6, 5};
  const std::string name = TypeParam::name();
  const auto part = [&](Buffer<float>& buffer, Index apart) {
    return view<kOrder>(buffer.data() + apart, s);
  };
  const auto x = part(this->x_, 0), dy = part(this->dy_, 0), other = part(this->other_, 0);
  layer.forward(x, part(this->y_, 0));
  for (const Index apart : {1, 59}) {
    this->expect_all_unchanged(layer, {name + "forward:", "y overlaps residual"},
                               [&] { layer.forward(x, part(this->y_, apart), ek::add(part(this->y_, 0))); });
    this->expect_all_unchanged(layer, {name + "infer:", "y overlaps residual"}, [&] {
      layer.infer(x, part(this->y_, 0), ek::add_relu(part(this->y_, apart)));
    });
  }
  for (const Index apart : {0, 1, 59}) {
    const auto backward = [&](const std::string& pair, const auto& out, const auto& f) {
      this->expect_all_unchanged(layer, {name + "backward:", pair}, [&] { layer.backward(x, dy, out, f); });
    };
    const auto dx = part(this->dx_, 0), d = part(this->second_, 0);
    backward("dx overlaps residual", dx, ek::add_relu(part(this->dx_, apart)));
    backward("d_residual overlaps residual", dx, ek::add_relu(part(this->second_, apart), d));
    backward("d_residual overlaps dx", part(this->second_, apart), ek::add_relu(other, d));
    backward("d_residual overlaps dy", dx, ek::add_relu(other, part(this->dy_, apart)));
    if constexpr (TestFixture::kNormalizesFeatures) {
      backward("dx overlaps d_sum", dx, ek::plus(part(this->dx_, apart)));
    }
  }
  const auto over_x = part(this->x_, 0), apart_from_x = part(this->x_, 7);
  this->expect_all_unchanged(layer, {name + "backward:", "d_residual", "overlaps x"}, [&] {
    layer.backward(over_x, dy, part(this->dx_, 0), ek::add_relu(other, apart_from_x));
  });
  if constexpr (TestFixture::kNormalizesFeatures) {
    const auto forward = [&](const std::string& words, const auto& out, const auto& f) {
      this->expect_all_unchanged(layer, {name + "forward:", words}, [&] { layer.forward(x, out, f); });
    };
    const auto y = part(this->y_, 0), sum = part(this->second_, 0);
    for (const Index apart : {1, 59}) {
      forward("y overlaps skip", y, ek::residual_in(part(this->y_, apart), sum));
      forward("sum overlaps skip", y, ek::residual_in(part(this->second_, apart), sum));
      forward("sum overlaps x", y, ek::residual_in(other, part(this->x_, apart)));
    }
    for (const Index apart : {0, 1, 59})
      forward("sum overlaps y", y, ek::residual_in(other, part(this->y_, apart)));
  }
}

// Nor over the parameters, nor gradients over what is read: one sample is as long as they are.
TYPED_TEST(EveryFusedLayer, RefusesOutputsOverParameters) {
  if constexpr (TestFixture::kNormalizesFeatures) {
    auto layer = TypeParam::make();
    const Shape s = {1, 6};
    const std::string name = TypeParam::name();
    layer.forward(this->x(s), this->y(s));
    const auto gamma = view<kOrder>(layer.gamma().data(), s);
    const auto d_gamma = view<kOrder>(layer.grad_gamma().data(), s);
    this->expect_all_unchanged(layer, {name + "forward:", "sum overlaps gamma"}, [&] {
      layer.forward(this->x(s), this->y(s), ek::residual_in(this->other(s), gamma));
    });
    const auto backward = [&](const std::string& pair, const auto& f) {
      this->expect_all_unchanged(layer, {name + "backward:", pair},
                                 [&] { layer.backward(this->x(s), this->dy(s), this->dx(s), f); });
    };
    backward("d_residual overlaps gamma", ek::add_relu(this->other(s), gamma));
    backward("grad_gamma overlaps residual", ek::add_relu(d_gamma));
    backward("grad_gamma overlaps d_sum", ek::plus(d_gamma));
  }
}

TYPED_TEST(EveryFusedLayer, TakesAnEmptyBatch) {
  auto layer = this->trained();
  const Shape empty = {0, 6, 5};
  float* null = nullptr;
  for (float* data : {null, this->y_.data()}) {
    const auto none = view<kOrder>(data, empty);
    const std::vector<float> before = this->y_.values();
    Eigen::Tensor<float, 3, Eigen::RowMajor> owning(2, 6, 5);
    const auto expect_resized = [&] {
      EXPECT_EQ(owning.dimension(0), 0);
      owning.resize(2, 6, 5);
    };
    layer.forward(none, none, ek::add_relu(none));
    std::as_const(layer).infer(none, none, ek::add_relu(none));
    for (auto p : layer.parameters()) p.grad.setConstant(5);
    layer.backward(none, none, none, ek::add_relu(none, owning));
    expect_resized();
    for (auto p : layer.parameters()) EXPECT_EQ(to_real(p.grad), std::vector<Real>(6, 0)) << p.name;
    if constexpr (TestFixture::kNormalizesFeatures) {
      layer.forward(none, none, ek::residual_in(none, owning));
      expect_resized();
      layer.backward(none, none, none, ek::plus(none));
    }
    EXPECT_TRUE(same_bits(this->y_.values(), before));
  }
}

/// All that fused calls write.
struct Written {
  std::vector<float> y, inferred, dx, d_residual, sum, y_of_sum, dx_of_sum;
  std::vector<double> state;

  template <typename F>
  void for_each_pair(const Written& other, const F& f) const {
    f("y", y, other.y);
    f("y of infer", inferred, other.inferred);
    f("dx", dx, other.dx);
    f("d_residual", d_residual, other.d_residual);
    f("sum", sum, other.sum);
    f("y of sum", y_of_sum, other.y_of_sum);
    f("dx of sum", dx_of_sum, other.dx_of_sum);
  }
};

template <bool kNormalizesFeatures, typename Layer, typename Device>
Written run_fused(Layer layer, const Device& device, const Shape& shape, const std::vector<float>& x,
                  const std::vector<float>& residual, const std::vector<float>& dy) {
  const std::vector<float> zeros(x.size());
  Written w{zeros, zeros, zeros, zeros, zeros, zeros, zeros, {}};
  const auto behind = ek::leaky_relu(0.1);
  const auto x_view = seen(x, shape), r = seen(residual, shape), dy_view = seen(dy, shape);
  layer.forward(device, x_view, seen(w.y, shape), ek::add(r).then(behind));
  std::as_const(layer).infer(device, x_view, seen(w.inferred, shape), ek::add(r).then(behind));
  const auto d = seen(w.d_residual, shape);
  layer.backward(device, x_view, dy_view, seen(w.dx, shape), ek::add(r, d).then(behind));
  w.state = state_of(layer);
  if constexpr (kNormalizesFeatures) {
    const auto sum = seen(w.sum, shape);
    layer.forward(device, x_view, seen(w.y_of_sum, shape), ek::residual_in(r, sum));
    layer.backward(device, sum, dy_view, seen(w.dx_of_sum, shape), ek::plus(r));
  }
  return w;
}

// Large enough for a team, with channels first, last, and alone.
TYPED_TEST(EveryFusedLayer, GivesTheSameBitsOnEveryDevice) {
  for (const Shape& shape : {Shape{9, 6, 5003}, TypeParam::fitting({50021, 6}), Shape{2003, 6, 25}}) {
    SCOPED_TRACE(to_string(shape));
    auto layer = TypeParam::make();
    randomize_parameters(layer);
    const Index size = size_of(shape);
    ASSERT_GT(ek::detail::team_size(size, 3), 1);
    const std::vector<float> x = random_values<float>(size, 10, 1, 1),
                             r = random_values<float>(size, 0, 1, 2),
                             dy = random_values<float>(size, 0.5, 1, 3);
    constexpr bool kHasSkip = TestFixture::kNormalizesFeatures;
    const Written expected = run_fused<kHasSkip>(layer, Eigen::DefaultDevice(), shape, x, r, dy);
    for (const int threads : {1, 2, 3, 7}) {
      SCOPED_TRACE(std::to_string(threads) + " threads");
      Eigen::ThreadPool pool(threads);
      const Written got =
          run_fused<kHasSkip>(layer, Eigen::ThreadPoolDevice(&pool, threads), shape, x, r, dy);
      got.for_each_pair(expected, [](const char* name, const auto& a, const auto& b) {
        EXPECT_TRUE(same_bits(a, b)) << name;
      });
      EXPECT_TRUE(same_bits(got.state, expected.state)) << "moments, gradients, running statistics";
    }
  }
}

// A sample has the same bits alone as in any batch; of batch norm, whose samples share statistics, inference has.
TYPED_TEST(EveryFusedLayer, GivesASampleItsBitsInAnyBatch) {
  constexpr bool kHasSkip = TestFixture::kNormalizesFeatures;
  for (const Index inner : {0, 2, 5, 16, 33, 301}) {
    auto layer = TypeParam::make();
    randomize_parameters(layer);
    Shape shape = {37, 6};
    if (inner > 0) shape.push_back(inner);
    shape = TypeParam::fitting(shape);
    SCOPED_TRACE(to_string(shape));
    const Index size = size_of(shape), each = size / shape[0];
    // Some samples lie where the fast path has no room.
    std::vector<float> x = random_values<float>(size, 3, 1, 1);
    for (Index i = 5 * each; i < 6 * each; ++i) x[at(i)] *= 1e30f;
    const std::vector<float> r = random_values<float>(size, 0, 1, 2),
                             dy = random_values<float>(size, 0.5, 1, 3);
    const Written all = run_fused<kHasSkip>(layer, Eigen::DefaultDevice(), shape, x, r, dy);
    Shape one = shape;
    one[0] = 2;
    for (const Index sample : {Index{0}, Index{5}, Index{17}, Index{35}}) {
      SCOPED_TRACE("sample " + std::to_string(sample));
      const auto part = [&](const std::vector<float>& v) {
        return std::vector<float>(v.begin() + sample * each, v.begin() + (sample + 2) * each);
      };
      const Written alone =
          run_fused<kHasSkip>(layer, Eigen::DefaultDevice(), one, part(x), part(r), part(dy));
      all.for_each_pair(alone, [&](const std::string& what, const auto& in_batch, const auto& by_itself) {
        if (HasRunningStatistics<decltype(layer)>::value) return;
        EXPECT_TRUE(same_bits(part(in_batch), by_itself)) << what;
      });
      if constexpr (HasRunningStatistics<decltype(layer)>::value) {
        std::vector<float> whole(x.size()), piece(at(2 * each));
        layer.infer(seen(x, shape), seen(whole, shape), ek::add_relu(seen(r, shape)));
        const std::vector<float> its_x = part(x), its_r = part(r);
        layer.infer(seen(its_x, one), seen(piece, one), ek::add_relu(seen(its_r, one)));
        EXPECT_TRUE(same_bits(part(whole), piece)) << "infer";
      }
    }
  }
}

}  // namespace
}  // namespace ek_test
