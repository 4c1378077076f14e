// Legal data that is out of range of the usual passes is not much slower than usual data.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <evenkeel/evenkeel.hpp>
#include <limits>
#include <string>
#include <unsupported/Eigen/CXX11/Tensor>
#include <vector>

#include "support/data.hpp"
#include "support/shape.hpp"

namespace ek_test {
namespace {

namespace ek = evenkeel;

// 4 is what is documented of float with AVX2. Other programs run beside a test, double takes up to 8, and wide kernels have
// no code for AVX-512, with which usual calls are faster. Before there was a bound, calls were 15 to 150 times slower.
constexpr double kMost = 25;

template <typename F>
double seconds_of(const F& f) {
  const auto begin = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// The least time of `unusual` over that of `usual`, which take turns.
template <typename Usual, typename Unusual>
double times_slower(const Usual& usual, const Unusual& unusual) {
  double least_usual = 1e9, least_unusual = 1e9;
  for (int turn = 0; turn < 15; ++turn) {
    least_usual = std::min(least_usual, seconds_of(usual));
    least_unusual = std::min(least_unusual, seconds_of(unusual));
  }
  return least_unusual / least_usual;
}

template <typename Scalar>
class Cliff : public ::testing::Test {};
using Scalars = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Cliff, Scalars);

template <typename Scalar>
struct Data {
  Eigen::Tensor<Scalar, 3, Eigen::RowMajor> values;

  Data(const Shape& shape, double size) : values(shape[0], shape[1], shape[2]) {
    const std::vector<Scalar> some = random_values<Scalar>(values.size(), 0, size, 1);
    std::copy(some.begin(), some.end(), values.data());
  }
  /// With one NaN in each row.
  Data with_nan() const {
    Data other = *this;
    for (Index i = 0; i < values.size(); i += values.dimension(2)) {
      other.values.data()[i + 1] = std::numeric_limits<Scalar>::quiet_NaN();
    }
    return other;
  }
};

/// Calls on unusual data, of a layer that make() makes with and without an epsilon.
template <typename Scalar, typename Make>
void expect_no_cliff(const Shape& shape, const Make& make) {
  constexpr bool is_float = sizeof(Scalar) == 4;
  const double large = is_float ? 1e20 : 1e200, small = is_float ? 1e-36 : 1e-300;
  const Data<Scalar> usual(shape, 1);
  auto y = usual.values;
  auto layer = make(1e-5);
  const auto expect_forward = [&](const char* what, double epsilon, const Data<Scalar>& data) {
    auto other = make(epsilon);
    EXPECT_LE(times_slower([&] { layer.forward(usual.values, y); }, [&] { other.forward(data.values, y); }),
              kMost)
        << "forward of " << what;
    EXPECT_LE(times_slower([&] { layer.backward(usual.values, usual.values, y); },
                           [&] { other.backward(data.values, usual.values, y); }),
              kMost)
        << "backward of " << what;
  };
  expect_forward("large values", 1e-5, Data<Scalar>(shape, large));
  expect_forward("small values", 0, Data<Scalar>(shape, small));
  expect_forward("zeros", 0, Data<Scalar>(shape, 0));
  expect_forward("a NaN a row", 1e-5, usual.with_nan());
  const auto expect_backward = [&](const char* what, const Data<Scalar>& dy) {
    EXPECT_LE(times_slower([&] { layer.backward(usual.values, usual.values, y); },
                           [&] { layer.backward(usual.values, dy.values, y); }),
              kMost)
        << "backward with " << what;
  };
  expect_backward("small gradients", Data<Scalar>(shape, small));
  expect_backward("vanishing gradients", Data<Scalar>(shape, 1e-17));
  expect_backward("gradients of 0", Data<Scalar>(shape, 0));
  expect_backward("large gradients", Data<Scalar>(shape, is_float ? 1e35 : 1e305));
  expect_backward("a NaN a row", usual.with_nan());
}

TYPED_TEST(Cliff, LayerNorm) {
  for (const Index axis : {1, 2}) {
    const Shape shape{2, 100, 301};
    expect_no_cliff<TypeParam>(shape, [&](double epsilon) {
      ek::LayerNormOptions options;
      options.axis = axis;
      options.epsilon = epsilon;
      return ek::LayerNorm<TypeParam>(shape[at(axis)], options);
    });
  }
}

TYPED_TEST(Cliff, BatchNorm) {
  const auto expect = [](const Shape& shape, Index axis) {
    expect_no_cliff<TypeParam>(shape, [&](double epsilon) {
      ek::BatchNormOptions options;
      options.axis = axis;
      options.epsilon = epsilon;
      return ek::BatchNorm<TypeParam>(shape[at(axis)], options);
    });
  };
  expect({4, 24, 400}, 1);
  expect({8, 100, 49}, 1);
  expect({8, 100, 48}, 2);
}

TYPED_TEST(Cliff, GroupNorm) {
  const auto expect = [](const Shape& shape, Index axis, Index batch_axis) {
    expect_no_cliff<TypeParam>(shape, [&](double epsilon) {
      ek::GroupNormOptions options;
      options.axis = axis;
      options.batch_axis = batch_axis;
      options.epsilon = epsilon;
      return ek::GroupNorm<TypeParam>(8, shape[at(axis)], options);
    });
  };
  expect({4, 24, 400}, 1, 0);
  expect({8, 100, 48}, 2, 0);
  expect({24, 60, 40}, 0, 2);
}

TYPED_TEST(Cliff, Inference) {
  constexpr bool is_float = sizeof(TypeParam) == 4;
  const double huge = is_float ? 1e35 : 1e305;
  const auto expect = [&](const Shape& shape, Index axis) {
    const Data<TypeParam> usual(shape, 1);
    auto y = usual.values;
    ek::BatchNormOptions options;
    options.axis = axis;
    const Index channels = shape[at(axis)];
    ek::BatchNorm<TypeParam> layer(channels, options), far(channels, options), wide(channels, options);
    far.running_mean().setConstant(static_cast<TypeParam>(huge));
    wide.running_var()[1] = static_cast<TypeParam>(huge);
    for (const auto* other : {&far, &wide}) {
      EXPECT_LE(times_slower([&] { layer.infer(usual.values, y); }, [&] { other->infer(usual.values, y); }),
                kMost)
          << (other == &far ? "far means" : "one wide channel") << " on axis " << axis;
    }
  };
  expect({4, 24, 400}, 1);
  expect({8, 100, 49}, 1);
  expect({8, 100, 48}, 2);
}

}  // namespace
}  // namespace ek_test
