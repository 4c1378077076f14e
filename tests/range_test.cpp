// Values so large or so small that their squares, or what backward makes of them, leave the range of the type.
#include <gtest/gtest.h>

#include <evenkeel/evenkeel.hpp>
#include <random>
#include <vector>

#include "support/contract.hpp"

namespace ek_test {
namespace {

/// What a set is filled with, beside usual ones: normal values of this size, or, where there are ends, only these two.
struct Kind {
  const char* name;
  double size;
  double epsilon;
  double dy_size;  // so that dx can be represented
  double low_end = 0, high_end = 0;
};

template <typename Scalar>
std::vector<Kind> kinds() {
  if constexpr (std::is_same_v<Scalar, float>) {
    return {{"1e30", 1e30, 1e-5, 1},
            {"both ends", 0, 1e-5, 1e3, -3.1e38, 3.2e38},
            {"1e19, whose squares just overflow", 1e19, 1e-5, 1},
            {"1e-30", 1e-30, 0, 1},
            {"1e-30 with epsilon", 1e-30, 1e-5, 1},
            {"1e-30 with an epsilon of its size", 1e-30, 1e-60, 1},
            {"1e-20, whose squares are subnormal", 1e-20, 0, 1},
            {"1e-40, subnormal", 1e-40, 0, 1e-5},
            {"usual, dy of 1e30", 1, 1e-5, 1e30},
            {"usual, dy of 1e-30", 1, 1e-5, 1e-30}};
  } else {
    return {{"1e300", 1e300, 1e-5, 1},
            {"both ends", 0, 1e-5, 1e3, -1.6e308, 1.7e308},
            {"1e154", 1e154, 1e-5, 1},
            {"1e-300", 1e-300, 0, 1},
            {"1e-300 with epsilon", 1e-300, 1e-5, 1},
            {"1e-300 with an epsilon near", 1e-300, 1e-307, 1},
            {"1e-160", 1e-160, 0, 1},
            {"usual, dy of 1e250", 1, 1e-5, 1e250},
            {"usual, dy of 1e-250", 1, 1e-5, 1e-250}};
  }
}

/// All sets of a kind, or every third one; the others are usual.
template <typename Scalar>
std::vector<Scalar> values_of(const Kind& kind, const IndexMap& map, bool all) {
  std::vector<Scalar> x = random_values<Scalar>(map.size(), 0, 1, 5);
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (!all && map.set[i] % 3 != 1) continue;
    const auto normal = static_cast<double>(x[i]);
    const double end = normal < 0 ? kind.low_end : kind.high_end;
    x[i] = static_cast<Scalar>(kind.size > 0 ? kind.size * normal : end);
  }
  return x;
}

/// One way to lay sets out in memory.
struct Place {
  Shape shape;
  Index axis;
};

template <typename C>
class Range : public ::testing::Test {
 protected:
  using S = typename C::Scalar;
  static constexpr int kOrder = C::kOrder;

  /// make(kind) is the layer.
  template <typename Make>
  static void expect_right(const Shape& shape, const IndexMap& map, const Make& make) {
    for (const Kind& kind : kinds<S>()) {
      for (bool all : {true, false}) {
        if (!all && kind.dy_size != 1) continue;
        SCOPED_TRACE(kind.name + std::string(all ? ", all sets of " : ", some sets of ") + to_string(shape));
        auto layer = make(kind);
        const std::vector<S> x = values_of<S>(kind, map, all),
                             dy = random_values<S>(map.size(), kind.dy_size / 2, kind.dy_size, 2);
        expect_contract<kOrder>(layer, map, shape, x, dy, kind.epsilon);
        expect_same_in_place(layer, shape, x, dy);
      }
    }
  }

  template <typename Layer>
  static void expect_same_in_place(Layer& layer, const Shape& shape, const std::vector<S>& x,
                                   const std::vector<S>& dy) {
    Buffer<S> input(x), upstream(dy), y(size_of(shape)), dx(size_of(shape)), in_place(x);
    auto vx = view<kOrder>(input, shape), vy = view<kOrder>(y, shape), vdx = view<kOrder>(dx, shape);
    auto vdy = view<kOrder>(upstream, shape), over_x = view<kOrder>(in_place, shape);
    layer.forward(vx, vy);
    layer.backward(vx, vdy, vdx);
    layer.forward(over_x, over_x);
    layer.backward(vx, vdy, vdy);
    EXPECT_TRUE(in_place.values() == y.values()) << "y over x";
    EXPECT_TRUE(upstream.values() == dx.values()) << "dx over dy";
  }
};

using RangeCases = ::testing::Types<Case<float, Eigen::RowMajor>, Case<float, Eigen::ColMajor>,
                                    Case<double, Eigen::RowMajor>, Case<double, Eigen::ColMajor>>;
TYPED_TEST_SUITE(Range, RangeCases, CaseName);

TYPED_TEST(Range, BatchNorm) {
  for (const Place& place : {Place{{4, 5, 300}, 1}, Place{{40, 33}, 1}, Place{{3, 7, 7, 7}, 1},
                             Place{{2, 5, 5, 35}, -1}, Place{{2, 3, 9001}, 1}, Place{{9001, 3}, 1}}) {
    this->expect_right(place.shape, batch_norm_map(place.shape, TypeParam::kOrder, place.axis),
                       [&](const Kind& kind) {
                         ek::BatchNormOptions options;
                         options.axis = place.axis;
                         options.epsilon = kind.epsilon;
                         return ek::BatchNorm<typename TypeParam::Scalar>(
                             place.shape[at(wrapped(place.axis, place.shape))], options);
                       });
  }
}

TYPED_TEST(Range, LayerNorm) {
  for (const Place& place : {Place{{150, 16}, 1}, Place{{139, 256}, 1}, Place{{9, 33}, 1}, Place{{9, 33}, 0},
                             Place{{2, 20, 7}, 1}, Place{{4, 9001}, 1}, Place{{9001, 4}, 0}}) {
    this->expect_right(
        place.shape, layer_norm_map(place.shape, TypeParam::kOrder, place.axis), [&](const Kind& kind) {
          ek::LayerNormOptions options;
          options.axis = place.axis;
          options.epsilon = kind.epsilon;
          return ek::LayerNorm<typename TypeParam::Scalar>(place.shape[at(place.axis)], options);
        });
  }
}

TYPED_TEST(Range, GroupNorm) {
  for (const Place& place : {Place{{4, 6, 40}, 1}, Place{{4, 6, 5, 5}, 1}, Place{{4, 5, 5, 6}, -1},
                             Place{{50, 6}, 1}, Place{{2, 6, 9001}, 1}}) {
    this->expect_right(place.shape, group_norm_map(place.shape, TypeParam::kOrder, 3, place.axis),
                       [&](const Kind& kind) {
                         ek::GroupNormOptions options;
                         options.axis = place.axis;
                         options.epsilon = kind.epsilon;
                         return ek::GroupNorm<typename TypeParam::Scalar>(3, 6, options);
                       });
  }
}

/// With statistics that are given, of every size.
TYPED_TEST(Range, BatchNormInference) {
  using Scalar = typename TypeParam::Scalar;
  constexpr int order = TypeParam::kOrder;
  const double large = std::is_same_v<Scalar, float> ? 3e38 : 1.7e308,
               small = std::is_same_v<Scalar, float> ? 1e-38 : 1e-308;
  struct Channel {
    double mean, variance, x;
  };
  const Channel channels[] = {{0, 1, 1},           {-large, large, large}, {large, 1e-10, large},
                              {0, large, large},   {0, small, small},      {large, large, -large},
                              {small, small, 1e-9}};
  const Index count = std::size(channels);
  for (const Shape& shape : {Shape{5, count}, Shape{3, count, 5}, Shape{2, count, 400}}) {
    const IndexMap map = batch_norm_map(shape, order);
    ek::BatchNormOptions options;
    options.epsilon = 0;
    ek::BatchNorm<Scalar> layer(count, options);
    randomize_parameters(layer);
    std::vector<Scalar> x;
    for (Index c = 0; c < count; ++c) {
      layer.running_mean()[c] = static_cast<Scalar>(channels[c].mean);
      layer.running_var()[c] = static_cast<Scalar>(channels[c].variance);
    }
    const std::vector<Scalar> factors = random_values<Scalar>(map.size(), 0.5, 0.1, 3);
    for (std::size_t i = 0; i < map.set.size(); ++i)
      x.push_back(static_cast<Scalar>(channels[map.set[i]].x * static_cast<double>(factors[i])));
    Buffer<Scalar> input(x), y(map.size());
    auto vx = view<order>(input, shape), vy = view<order>(y, shape);
    layer.infer(vx, vy);
    const std::vector<Real> expected =
        reference_infer(map, x, to_real(layer.gamma()), to_real(layer.beta()), to_real(layer.running_mean()),
                        to_real(layer.running_var()), 0);
    const std::vector<Scalar> got = y.values();
    for (std::size_t i = 0; i < expected.size(); ++i) {
      if (std::fabs(expected[i]) > static_cast<Real>(std::numeric_limits<Scalar>::max())) continue;
      EXPECT_LE(std::fabs(static_cast<Real>(got[i]) - expected[i]),
                Tolerance<Scalar>::y * std::max<Real>(1, std::fabs(expected[i])))
          << "channel " << map.set[i] << " of " << to_string(shape);
    }
  }
}

TYPED_TEST(Range, ConstantSetsGiveBeta) {
  using Scalar = typename TypeParam::Scalar;
  constexpr int order = TypeParam::kOrder;
  for (double epsilon : {0.0, 1e-5}) {
    for (Scalar level : {std::numeric_limits<Scalar>::max(), std::numeric_limits<Scalar>::lowest(),
                         std::numeric_limits<Scalar>::min(), std::numeric_limits<Scalar>::denorm_min()}) {
      const Shape shape = {5, 3, 100};
      const IndexMap map = batch_norm_map(shape, order);
      ek::BatchNormOptions options;
      options.epsilon = epsilon;
      ek::BatchNorm<Scalar> layer(3, options);
      randomize_parameters(layer);
      Buffer<Scalar> x(std::vector<Scalar>(at(map.size()), level)), y(map.size());
      auto vx = view<order>(x, shape), vy = view<order>(y, shape);
      layer.forward(vx, vy);
      const std::vector<Scalar> got = y.values();
      for (std::size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i], layer.beta()[map.set[i]]) << level;
    }
  }
}

}  // namespace
}  // namespace ek_test
