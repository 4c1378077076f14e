// Values so large or so small that their squares, or what backward makes of them, leave the range of the type.
#define EIGEN_USE_THREADS

#include <gtest/gtest.h>

#include <cmath>
#include <evenkeel/evenkeel.hpp>
#include <limits>
#include <random>
#include <string>
#include <type_traits>
#include <unsupported/Eigen/CXX11/Tensor>
#include <utility>
#include <vector>

#include "support/callers_mode.hpp"
#include "support/contract.hpp"
#include "support/same.hpp"

namespace ek_test {
namespace {

/// What sets are filled with, beside usual ones: normal values of this size, or, where there are ends, only these
/// two.
struct Kind {
  const char* name;
  double size;
  double epsilon;
  double dy_size;  // so that dx can be represented; of the same sets, or of all if x is not usual
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
            {"1e14, just in range", 1e14, 1e-5, 1},
            {"1e-14, just in range", 1e-14, 0, 1},
            {"1e14, dy of 1e-15", 1e14, 1e-5, 1e-15},
            {"1e-14, dy of 1e20", 1e-14, 0, 1e20},
            {"usual, dy of 1e30", 1, 1e-5, 1e30},
            {"usual, dy of 1e-30", 1, 1e-5, 1e-30},
            {"usual, dy of 1e33", 1, 1e-5, 1e33},
            {"usual, dy of 1e-36", 1, 1e-5, 1e-36}};
  } else {
    return {{"1e300", 1e300, 1e-5, 1},
            {"both ends", 0, 1e-5, 1e3, -1.6e308, 1.7e308},
            {"1e154", 1e154, 1e-5, 1},
            {"1e-300", 1e-300, 0, 1},
            {"1e-300 with epsilon", 1e-300, 1e-5, 1},
            {"1e-300 with an epsilon near", 1e-300, 1e-307, 1},
            {"1e-160", 1e-160, 0, 1},
            {"1e115, just in range", 1e115, 1e-5, 1},
            {"1e105, in range", 1e105, 1e-5, 1},
            {"1e-105, in range", 1e-105, 0, 1},
            {"1e-115, just in range", 1e-115, 0, 1},
            {"1e115, dy of 1e-170", 1e115, 1e-5, 1e-170},
            {"1e115, dy of 1e-120", 1e115, 1e-5, 1e-120},
            {"1e-115, dy of 1e150", 1e-115, 0, 1e150},
            {"usual, dy of 1e250", 1, 1e-5, 1e250},
            {"usual, dy of 1e-250", 1, 1e-5, 1e-250},
            {"usual, dy of 1e303", 1, 1e-5, 1e303},
            {"usual, dy of 1e-290", 1, 1e-5, 1e-290}};
  }
}

/// All sets, or some in no order.
std::vector<bool> chosen_sets(const IndexMap& map, bool all) {
  std::mt19937 generator(3);
  std::vector<bool> chosen(at(map.sets));
  for (std::size_t set = 0; set < chosen.size(); ++set) chosen[set] = all || generator() % 3 == 0;
  return chosen;
}

/// The chosen sets are of a kind, the others usual.
template <typename Scalar>
std::vector<Scalar> values_of(const Kind& kind, const IndexMap& map, const std::vector<bool>& chosen) {
  std::vector<Scalar> x = random_values<Scalar>(map.size(), 0, 1, 5);
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (!chosen[at(map.set[i])]) continue;
    const auto normal = static_cast<double>(x[i]);
    const double end = normal < 0 ? kind.low_end : kind.high_end;
    x[i] = static_cast<Scalar>(kind.size > 0 ? kind.size * normal : end);
  }
  return x;
}

template <typename Scalar>
std::vector<Scalar> gradients_of(const Kind& kind, const IndexMap& map, const std::vector<bool>& chosen) {
  std::vector<Scalar> dy = random_values<Scalar>(map.size(), 0.5, 1, 2);
  for (std::size_t i = 0; i < dy.size(); ++i) {
    if (kind.size != 1 || chosen[at(map.set[i])])
      dy[i] = static_cast<Scalar>(kind.dy_size * static_cast<double>(dy[i]));
  }
  return dy;
}

template <typename C>
class Range : public ::testing::Test {
 protected:
  using S = typename C::Scalar;
  static constexpr int kOrder = C::kOrder;

  static void expect_batch_norm(const Shape& shape, Index axis);
  static void expect_layer_norm(const Shape& shape, Index axis);
  static void expect_rms_norm(const Shape& shape, Index axis);
  static void expect_group_norm(const Shape& shape, Index axis);  // 3 groups of 2 channels
  static void expect_instance_norm(const Shape& shape, Index axis, bool affine);

  /// make(kind) is the layer.
  template <typename Make>
  static void expect_right(const Shape& shape, const IndexMap& map, const Make& make) {
    for (const Kind& kind : kinds<S>()) {
      for (bool all : {true, false}) {
        if (!all && kind.size != 1 && kind.dy_size != 1) continue;
        SCOPED_TRACE(kind.name + std::string(all ? ", all sets of " : ", some sets of ") + to_string(shape));
        auto layer = make(kind);
        const std::vector<bool> chosen = chosen_sets(map, all);
        const std::vector<S> x = values_of<S>(kind, map, chosen), dy = gradients_of<S>(kind, map, chosen);
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
    as_caller([&] {
      layer.forward(vx, vy);
      layer.backward(vx, vdy, vdx);
      layer.forward(over_x, over_x);
      layer.backward(vx, vdy, vdy);
    });
    EXPECT_TRUE(in_place.values() == y.values()) << "y over x";
    EXPECT_TRUE(upstream.values() == dx.values()) << "dx over dy";
  }
};

TYPED_TEST_SUITE(Range, LongCases, CaseName);

template <typename C>
void Range<C>::expect_batch_norm(const Shape& shape, Index axis) {
  expect_right(shape, batch_norm_map(shape, kOrder, axis), [&](const Kind& kind) {
    ek::BatchNormOptions options;
    options.axis = axis;
    options.epsilon = kind.epsilon;
    return ek::BatchNorm<S>(shape[at(wrapped(axis, shape))], options);
  });
}

template <typename C>
void Range<C>::expect_layer_norm(const Shape& shape, Index axis) {
  expect_right(shape, layer_norm_map(shape, kOrder, axis), [&](const Kind& kind) {
    ek::LayerNormOptions options;
    options.axis = axis;
    options.epsilon = kind.epsilon;
    return ek::LayerNorm<S>(shape[at(axis)], options);
  });
}

template <typename C>
void Range<C>::expect_rms_norm(const Shape& shape, Index axis) {
  expect_right(shape, rms_norm_map(shape, kOrder, axis), [&](const Kind& kind) {
    ek::RMSNormOptions options;
    options.axis = axis;
    options.epsilon = kind.epsilon;
    return ek::RMSNorm<S>(shape[at(axis)], options);
  });
}

template <typename C>
void Range<C>::expect_group_norm(const Shape& shape, Index axis) {
  expect_right(shape, group_norm_map(shape, kOrder, 3, axis), [&](const Kind& kind) {
    ek::GroupNormOptions options;
    options.axis = axis;
    options.epsilon = kind.epsilon;
    return ek::GroupNorm<S>(3, 6, options);
  });
}

template <typename C>
void Range<C>::expect_instance_norm(const Shape& shape, Index axis, bool affine) {
  expect_right(shape, instance_norm_map(shape, kOrder, axis), [&](const Kind& kind) {
    ek::InstanceNormOptions options;
    options.axis = axis;
    options.epsilon = kind.epsilon;
    options.affine = affine;
    return ek::InstanceNorm<S>(shape[at(wrapped(axis, shape))], options);
  });
}

TYPED_TEST(Range, BatchNorm) {
  this->expect_batch_norm({4, 5, 300}, 1);
  this->expect_batch_norm({40, 33}, 1);
  this->expect_batch_norm({3, 7, 7, 7}, 1);
  this->expect_batch_norm({2, 5, 5, 35}, -1);
}

TYPED_TEST(Range, LayerNorm) {
  this->expect_layer_norm({150, 16}, 1);
  this->expect_layer_norm({139, 256}, 1);
  this->expect_layer_norm({9, 33}, 1);
  this->expect_layer_norm({9, 33}, 0);
  this->expect_layer_norm({2, 20, 7}, 1);
}

TYPED_TEST(Range, RMSNorm) {
  this->expect_rms_norm({139, 256}, 1);
  this->expect_rms_norm({9, 33}, 1);
  this->expect_rms_norm({9, 33}, 0);
  this->expect_rms_norm({2, 20, 7}, 1);
}

TYPED_TEST(Range, GroupNorm) {
  this->expect_group_norm({4, 6, 40}, 1);
  this->expect_group_norm({4, 6, 5, 5}, 1);
  this->expect_group_norm({4, 5, 5, 6}, -1);
  this->expect_group_norm({50, 6}, 1);
}

TYPED_TEST(Range, InstanceNorm) {
  this->expect_instance_norm({4, 6, 5, 5}, 1, true);
  this->expect_instance_norm({4, 6, 5, 5}, 1, false);
  this->expect_instance_norm({4, 5, 5, 6}, -1, true);
}

TYPED_TEST(Range, LargeSets) {
  this->expect_batch_norm({2, 3, 9001}, 1);
  this->expect_batch_norm({9001, 3}, 1);
  this->expect_layer_norm({4, 9001}, 1);
  this->expect_layer_norm({9001, 4}, 0);
  this->expect_rms_norm({4, 9001}, 1);
  this->expect_rms_norm({9001, 4}, 0);
  this->expect_group_norm({2, 6, 9001}, 1);
}

/// A row out of range that is not the first of its batch: those before it and after it are what they are without it.
TYPED_TEST(Range, OneLateRow) {
  using Scalar = typename TypeParam::Scalar;
  constexpr int order = TypeParam::kOrder;
  for (const Shape& shape : {Shape{139, 256}, Shape{139, 33}, Shape{139, 16}, Shape{700, 4}}) {
    const IndexMap map = layer_norm_map(shape, order, 1);
    const std::vector<Scalar> clean = random_values<Scalar>(map.size(), 0, 1, 5),
                              dy = random_values<Scalar>(map.size(), 0.5, 1, 2);
    std::vector<Scalar> x = clean;
    const auto is_large = [](Index row) { return row == 70 || row == 127; };
    for (std::size_t i = 0; i < x.size(); ++i)
      if (is_large(map.set[i])) x[i] *= static_cast<Scalar>(kinds<Scalar>().front().size);
    ek::LayerNorm<Scalar> layer(shape[1]);
    expect_contract<order>(layer, map, shape, x, dy);
    const auto run = [&](const std::vector<Scalar>& input) {
      std::vector<Scalar> y(x.size()), dx(x.size());
      as_caller([&] {
        layer.forward(view<order>(input.data(), shape), view<order>(y.data(), shape));
        layer.backward(view<order>(input.data(), shape), view<order>(dy.data(), shape),
                       view<order>(dx.data(), shape));
      });
      return std::make_pair(y, dx);
    };
    const auto expected = run(clean), got = run(x);
    Index changed = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (is_large(map.set[i])) continue;
      changed += (got.first[i] != expected.first[i]) + (got.second[i] != expected.second[i]);
    }
    EXPECT_EQ(changed, 0) << to_string(shape);
  }
}

/// Shapes that are cut among threads, and sets that are cut in pieces.
TYPED_TEST(Range, LargeSetsOnEveryDevice) {
  using Scalar = typename TypeParam::Scalar;
  constexpr int order = TypeParam::kOrder;
  const Kind kind = kinds<Scalar>().front();
  for (const Shape& shape : {Shape{40, 5, 2000}, Shape{1, 3, 100003}, Shape{9001, 33}, Shape{3, 100003}}) {
    const IndexMap map = batch_norm_map(shape, order);
    const std::vector<Scalar> x = values_of<Scalar>(kind, map, chosen_sets(map, false)),
                              dy = random_values<Scalar>(map.size(), 0.5, 1, 2);
    const auto run = [&](const auto& device, auto layer) {
      std::vector<Scalar> y(x.size()), dx(x.size());
      as_caller([&] {
        layer.forward(device, view<order>(x.data(), shape), view<order>(y.data(), shape));
        layer.backward(device, view<order>(x.data(), shape), view<order>(dy.data(), shape),
                       view<order>(dx.data(), shape));
      });
      y.insert(y.end(), dx.begin(), dx.end());
      for (Index c = 0; c < layer.grad_gamma().size(); ++c) y.push_back(layer.grad_gamma()[c]);
      return y;
    };
    ek::LayerNormOptions last;
    last.axis = static_cast<Index>(shape.size()) - 1;
    const ek::BatchNorm<Scalar> batch_norm(shape[1]);
    const ek::LayerNorm<Scalar> layer_norm(shape.back(), last);
    for (int threads : {2, 5}) {
      Eigen::ThreadPool pool(threads);
      const Eigen::ThreadPoolDevice device(&pool, threads);
      EXPECT_TRUE(same_bits(run(device, batch_norm), run(Eigen::DefaultDevice(), batch_norm)));
      EXPECT_TRUE(same_bits(run(device, layer_norm), run(Eigen::DefaultDevice(), layer_norm)));
    }
  }
}

/// Gradients of some features are far larger or smaller than those of others, which their own parameters still get
/// right, in rows and in columns, and where gamma hides them from dx.
TYPED_TEST(Range, GradientsOfOneFeature) {
  using Scalar = typename TypeParam::Scalar;
  constexpr int order = TypeParam::kOrder;
  constexpr bool is_float = std::is_same_v<Scalar, float>;
  const double sizes[] = {is_float ? 1e35 : 1e300, 1, 0, is_float ? 1e-36 : 1e-290};
  for (const Shape& shape : {Shape{40, 9}, Shape{3, 33}, Shape{70, 1100}, Shape{9, 40, 7}}) {
    const IndexMap map = layer_norm_map(shape, order, 1, rank_of(shape) - 1);
    ek::LayerNormOptions options;
    options.axis = 1;
    const std::vector<Index> features(shape.begin() + 1, shape.end());
    ek::LayerNorm<Scalar> layer(features, options);
    for (bool is_hidden : {false, true}) {
      const std::vector<Scalar> x = random_values<Scalar>(map.size(), 3, 2, 1);
      std::vector<Scalar> dy = random_values<Scalar>(map.size(), 0.5, 1, 2);
      for (std::size_t i = 0; i < dy.size(); ++i) {
        dy[i] = static_cast<Scalar>(static_cast<double>(dy[i]) * sizes[map.parameter[i] / 3 % 4]);
      }
      randomize_parameters(layer);
      if (is_hidden) layer.gamma().setConstant(Scalar(0));
      const Buffer<Scalar> vx(x), vdy(dy);
      Buffer<Scalar> out(map.size());
      auto to = view<order>(out, shape);
      as_caller([&] {
        layer.forward(view<order>(vx, shape), to);
        layer.backward(view<order>(vx, shape), view<order>(vdy, shape), to);
      });
      const Reference reference(map, x, options.epsilon);
      const ReferenceGradients expected = reference_backward(map, reference, dy, to_real(layer.gamma()));
      using Bound = Tolerance<Scalar>;
      const Real lost = static_cast<Real>(shape[0]) * flushed<Scalar>() / Bound::sum;  // of each term
      const auto gamma_scale = [&](std::size_t p) { return expected.gamma_scale[p] + lost; };
      const auto beta_scale = [&](std::size_t p) { return expected.beta_scale[p] + lost; };
      EXPECT_LE(largest_error(layer.grad_gamma(), expected.gamma, gamma_scale), Bound::sum)
          << to_string(shape);
      EXPECT_LE(largest_error(layer.grad_beta(), expected.beta, beta_scale), Bound::sum) << to_string(shape);
      EXPECT_LE(backward_error(map, out.values(), expected), Bound::x) << to_string(shape);
    }
  }
}

/// Rows of layer norm whose gradients vanish in each other, or in gamma, on the way.
template <typename Scalar>
void expect_right_rows(const std::vector<Scalar>& x, const std::vector<Scalar>& dy,
                       const std::vector<Scalar>& gamma, double epsilon) {
  const Index features = static_cast<Index>(gamma.size());
  const Shape shape{static_cast<Index>(x.size()) / features, features};
  ek::LayerNormOptions options;
  options.epsilon = epsilon;
  ek::LayerNorm<Scalar> layer(features, options);
  for (Index f = 0; f < features; ++f) layer.gamma()[f] = gamma[at(f)];
  const Buffer<Scalar> vx(x), vdy(dy);
  Buffer<Scalar> out(size_of(shape));
  auto to = view<Eigen::RowMajor>(out, shape);
  as_caller([&] {
    layer.forward(view<Eigen::RowMajor>(vx, shape), to);
    layer.backward(view<Eigen::RowMajor>(vx, shape), view<Eigen::RowMajor>(vdy, shape), to);
  });
  const IndexMap map = layer_norm_map(shape, Eigen::RowMajor, 1);
  const Reference reference(map, x, epsilon);
  const ReferenceGradients expected = reference_backward(map, reference, dy, to_real(layer.gamma()));
  using Bound = Tolerance<Scalar>;
  EXPECT_LE(backward_error(map, out.values(), expected), Bound::x);
  EXPECT_LE(largest_error(layer.grad_gamma(), expected.gamma,
                          [&](std::size_t p) { return expected.gamma_scale[p]; }),
            Bound::sum);
  EXPECT_LE(
      largest_error(layer.grad_beta(), expected.beta, [&](std::size_t p) { return expected.beta_scale[p]; }),
      Bound::sum);
}

TEST(RangeOfRows, ProductsThatAllUnderflow) {
  expect_right_rows<float>({-1e-14F, 1e-14F}, {1e-33F, -1e-33F}, {1, 1}, 0);
  expect_right_rows<float>({-1e-10F, 1e-10F, 3e-10F}, {1e-22F, -5e-22F, 2e-22F}, {1e-16F, 2e-16F, 1e-16F}, 0);
}

TEST(RangeOfRows, TinyGammaOfLargeGradients) {
  expect_right_rows<double>({-1e-150, 1e-150, 3e-150}, {1e300, -5e299, 2e299}, {1e-240, 2e-240, 1e-240}, 0);
}

TEST(RangeOfRows, GammaHidesTheLargest) {
  expect_right_rows<double>({1, 2, 4, 9}, {1e300, 1e-290, 2e-290, -3e-290}, {0, 1, 1, 1}, 1e-5);
}

TEST(RangeOfRows, RowsThatCancel) {
  expect_right_rows<double>({1, 2, 4, 1, 2, 4, 3, 5, 1}, {1e300, 1, 2, -1e300, 1, 2, 1e-290, 1, 1}, {1, 1, 1},
                            1e-5);
}

/// With statistics that are given, of every size.
TYPED_TEST(Range, BatchNormInference) {
  using Scalar = typename TypeParam::Scalar;
  constexpr int order = TypeParam::kOrder;
  constexpr bool is_float = std::is_same_v<Scalar, float>;
  const double large = is_float ? 3e38 : 1.6e308, small = is_float ? 1e-38 : 1e-300,
               least = is_float ? 1e-44 : 1e-320;
  struct Channel {
    double mean, variance, x, spread;
  };
  const double far = is_float ? 1e35 : 1e307;
  const Channel channels[] = {{0, 1, 0, 1},
                              {-large, large, large, 0},  // x - mean overflows
                              {far, 1e-10, far, 0},       // beta
                              {far, is_float ? 1e38 : 1e300, far, is_float ? 1e30 : 1e300},
                              {0, large, 0, std::sqrt(large)},
                              {0, small, 0, std::sqrt(small)},
                              {0, least, 0, 1},  // 1 / variance overflows, y does not
                              {0, 0, 0, small}};
  const Index count = std::size(channels);
  for (const Shape& shape : {Shape{5, count}, Shape{3, count, 5}, Shape{2, count, 400}}) {
    const IndexMap map = batch_norm_map(shape, order);
    ek::BatchNormOptions options;
    options.epsilon = 0;
    ek::BatchNorm<Scalar> layer(count, options);
    randomize_parameters(layer);
    for (Index c = 0; c < count; ++c) {
      layer.running_mean()[c] = static_cast<Scalar>(channels[c].mean);
      layer.running_var()[c] = static_cast<Scalar>(channels[c].variance);
    }
    const std::vector<double> normal = random_values<double>(map.size(), 0, 1, 3);
    std::vector<Scalar> x;
    for (std::size_t i = 0; i < map.set.size(); ++i) {
      const Channel& c = channels[map.set[i]];
      x.push_back(static_cast<Scalar>(static_cast<Scalar>(c.x) + static_cast<Scalar>(c.spread * normal[i])));
    }
    Buffer<Scalar> input(x), y(map.size());
    auto vx = view<order>(input, shape), vy = view<order>(y, shape);
    as_caller([&] { layer.infer(vx, vy); });
    const std::vector<Real> expected =
        reference_infer(map, x, to_real(layer.gamma()), to_real(layer.beta()), to_real(layer.running_mean()),
                        to_real(layer.running_var()), 0);
    const std::vector<Scalar> got = y.values();
    for (std::size_t i = 0; i < expected.size(); ++i) {
      // Without a variance and epsilon the inverse of the standard deviation is 0 here.
      const Real right =
          channels[map.set[i]].variance > 0 ? expected[i] : static_cast<Real>(layer.beta()[map.set[i]]);
      ASSERT_LE(std::fabs(right), static_cast<Real>(std::numeric_limits<Scalar>::max()));
      EXPECT_LE(std::fabs(static_cast<Real>(got[i]) - right),
                Tolerance<Scalar>::y * std::max<Real>(1, std::fabs(right)))
          << "channel " << map.set[i] << " of " << to_string(shape);
    }
  }
}

TYPED_TEST(Range, ConstantSetsGiveBeta) {
  using Scalar = typename TypeParam::Scalar;
  constexpr int order = TypeParam::kOrder;
  using Limits = std::numeric_limits<Scalar>;
  for (double epsilon : {0.0, 1e-5, 1e-300})
    for (Scalar level : {Limits::max(), Limits::lowest(), Limits::min(), Limits::denorm_min()}) {
      const auto expect_beta = [&](auto layer, const IndexMap& map, const Shape& shape) {
        randomize_parameters(layer);
        const std::vector<Scalar> x(at(map.size()), level);
        std::vector<Scalar> y(x.size());
        as_caller([&] { layer.forward(view<order>(x.data(), shape), view<order>(y.data(), shape)); });
        for (std::size_t i = 0; i < y.size(); ++i)
          ASSERT_EQ(y[i], layer.beta()[map.parameter[i]]) << level << " in " << to_string(shape);
        const double inv_std = epsilon == 0 ? 0 : 1 / std::sqrt(epsilon);
        for (Index set = 0; set < map.sets; ++set)
          ASSERT_NEAR(static_cast<double>(layer.saved_inv_std()[set]), inv_std, 1e-14 * inv_std);
      };
      ek::BatchNormOptions batch_options;
      batch_options.epsilon = epsilon;
      for (const Shape& shape : {Shape{5, 3, 100}, Shape{5, 3, 400}, Shape{400, 3, 5}})
        expect_beta(ek::BatchNorm<Scalar>(3, batch_options), batch_norm_map(shape, order), shape);
      ek::LayerNormOptions layer_options;
      layer_options.epsilon = epsilon;
      layer_options.axis = 1;
      for (const Shape& shape : {Shape{9, 256}, Shape{9, 33}, Shape{3, 5, 7}})
        expect_beta(ek::LayerNorm<Scalar>(shape[1], layer_options), layer_norm_map(shape, order, 1), shape);
    }
}

}  // namespace
}  // namespace ek_test
