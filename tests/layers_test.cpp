// What all layers share: errors, aliasing, empty batches, non-finite input, parameters, and that shapes leave
// no trace.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <evenkeel/evenkeel.hpp>
#include <limits>
#include <sstream>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/contract.hpp"
#include "support/data.hpp"
#include "support/norms.hpp"
#include "support/same.hpp"
#include "support/state.hpp"

namespace ek_test {
namespace {

constexpr int kOrder = Eigen::RowMajor;
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

template <typename Norm>
class EveryLayer : public ::testing::Test {
 protected:
  using Layer = typename Norm::Layer;

  const Shape shape_ = {4, 6, 5};
  Buffer<float> x_{random_values<float>(120, 3, 1, 1)}, dy_{random_values<float>(120, 0.5, 1, 2)};
  Buffer<float> y_{120}, dx_{120};

  auto in(const Shape& s) { return view<kOrder>(std::as_const(x_), s); }
  auto out(const Shape& s) { return view<kOrder>(y_, s); }

  /// A layer that has trained once, so that there is something to be spoilt.
  Layer trained() {
    Layer layer = Norm::make();
    randomize_parameters(layer);
    layer.forward(in(shape_), out(shape_));
    layer.backward(in(shape_), view<kOrder>(dy_, shape_), view<kOrder>(dx_, shape_));
    return layer;
  }
};

TYPED_TEST_SUITE(EveryLayer, EveryNorm, NormName);

TYPED_TEST(EveryLayer, RefusesANumberOfChannelsThatIsNotItsOwn) {
  auto layer = this->trained();
  const Shape wrong = {4, 5, 6};
  expect_refused(layer, this->y_, {TypeParam::name() + "forward:", "5", "axis 1", "[4, 5, 6]", "6"},
                 [&] { layer.forward(this->in(wrong), this->out(wrong)); });
  expect_refused(layer, this->y_, {TypeParam::name() + "infer:", "5", "axis 1", "[4, 5, 6]", "6"},
                 [&] { layer.infer(this->in(wrong), this->out(wrong)); });
  expect_refused(layer, this->dx_, {TypeParam::name() + "backward:", "[4, 5, 6]", "[4, 6, 5]"}, [&] {
    layer.backward(this->in(wrong), view<kOrder>(this->dy_, wrong), view<kOrder>(this->dx_, wrong));
  });
}

TYPED_TEST(EveryLayer, RefusesAnAxisOutsideOfX) {
  for (Index axis : {3, 5, -4}) {
    typename TypeParam::Options options;
    options.axis = axis;
    auto layer = TypeParam::make(options);
    expect_refused(layer, this->y_, {TypeParam::name() + "forward:", std::to_string(axis), "[4, 6, 5]"},
                   [&] { layer.forward(this->in(this->shape_), this->out(this->shape_)); });
    expect_refused(layer, this->y_, {TypeParam::name() + "infer:", std::to_string(axis), "[4, 6, 5]"},
                   [&] { layer.infer(this->in(this->shape_), this->out(this->shape_)); });
  }
}

TYPED_TEST(EveryLayer, RefusesAMappedOutputOfAnotherShape) {
  auto layer = this->trained();
  const auto dy = view<kOrder>(this->dy_, this->shape_);
  for (const Shape& wrong : {Shape{4, 6, 4}, Shape{24, 5}, Shape{4, 6, 5, 1}, Shape{6, 4, 5}}) {
    const std::string shape = to_string(wrong);
    expect_refused(layer, this->y_, {TypeParam::name() + "forward:", "y", shape, "[4, 6, 5]"},
                   [&] { layer.forward(this->in(this->shape_), this->out(wrong)); });
    expect_refused(layer, this->y_, {TypeParam::name() + "infer:", "y", shape, "[4, 6, 5]"},
                   [&] { layer.infer(this->in(this->shape_), this->out(wrong)); });
    expect_refused(layer, this->dx_, {TypeParam::name() + "backward:", "dx", shape, "[4, 6, 5]"},
                   [&] { layer.backward(this->in(this->shape_), dy, view<kOrder>(this->dx_, wrong)); });
    expect_refused(layer, this->dx_, {TypeParam::name() + "backward:", "dy", shape, "[4, 6, 5]"}, [&] {
      layer.backward(this->in(this->shape_), view<kOrder>(this->dy_, wrong),
                     view<kOrder>(this->dx_, this->shape_));
    });
  }
}

TYPED_TEST(EveryLayer, RefusesAnotherLayout) {
  auto layer = this->trained();
  const Shape& s = this->shape_;
  expect_refused(layer, this->y_, {TypeParam::name() + "forward:", "y"},
                 [&] { layer.forward(this->in(s), view<Eigen::ColMajor>(this->y_, s)); });
  expect_refused(layer, this->y_, {TypeParam::name() + "infer:", "y"},
                 [&] { layer.infer(this->in(s), view<Eigen::ColMajor>(this->y_, s)); });
  expect_refused(layer, this->dx_, {TypeParam::name() + "backward:", "dy"}, [&] {
    layer.backward(this->in(s), view<Eigen::ColMajor>(this->dy_, s), view<kOrder>(this->dx_, s));
  });
  expect_refused(layer, this->dx_, {TypeParam::name() + "backward:", "dx"}, [&] {
    layer.backward(this->in(s), view<kOrder>(this->dy_, s), view<Eigen::ColMajor>(this->dx_, s));
  });
  // All three column-major agree with each other, and not with what forward saw.
  expect_refused(layer, this->dx_, {TypeParam::name() + "backward:"}, [&] {
    layer.backward(view<Eigen::ColMajor>(this->x_, s), view<Eigen::ColMajor>(this->dy_, s),
                   view<Eigen::ColMajor>(this->dx_, s));
  });
}

TYPED_TEST(EveryLayer, RefusesNullData) {
  auto layer = this->trained();
  const Shape& s = this->shape_;
  float* null = nullptr;
  expect_refused(layer, this->y_, {"null"}, [&] { layer.forward(view<kOrder>(null, s), this->out(s)); });
  expect_refused(layer, this->y_, {"null"}, [&] { layer.forward(this->in(s), view<kOrder>(null, s)); });
  expect_refused(layer, this->y_, {"null"}, [&] { layer.infer(view<kOrder>(null, s), this->out(s)); });
  expect_refused(layer, this->y_, {"null"}, [&] { layer.infer(this->in(s), view<kOrder>(null, s)); });
  const auto dy = view<kOrder>(this->dy_, s), dx = view<kOrder>(this->dx_, s);
  expect_refused(layer, this->dx_, {"null"}, [&] { layer.backward(view<kOrder>(null, s), dy, dx); });
  expect_refused(layer, this->dx_, {"null"}, [&] { layer.backward(this->in(s), view<kOrder>(null, s), dx); });
  expect_refused(layer, this->dx_, {"null"}, [&] { layer.backward(this->in(s), dy, view<kOrder>(null, s)); });
}

TYPED_TEST(EveryLayer, RefusesPartialOverlap) {
  auto layer = this->trained();
  const Shape s = {2, 6, 5};
  Buffer<float> both(random_values<float>(120, 0, 1, 3));
  Buffer<float> before(60), x(random_values<float>(60, 0, 1, 4));
  layer.forward(view<kOrder>(x, s), view<kOrder>(before, s));  // so that backward knows the shape
  for (Index apart : {1, 7, 59}) {
    SCOPED_TRACE("apart by " + std::to_string(apart));
    const auto low = view<kOrder>(both.data(), s), high = view<kOrder>(both.data() + apart, s);
    const std::string name = TypeParam::name();
    expect_refused(layer, both, {name + "forward:", "y", "overlaps", "x"}, [&] { layer.forward(low, high); });
    expect_refused(layer, both, {name + "forward:", "y", "overlaps", "x"}, [&] { layer.forward(high, low); });
    expect_refused(layer, both, {name + "infer:", "y", "overlaps", "x"}, [&] { layer.infer(low, high); });
    expect_refused(layer, both, {name + "backward:", "dx", "overlaps", "dy"},
                   [&] { layer.backward(view<kOrder>(x, s), low, high); });
    expect_refused(layer, both, {name + "backward:", "dx", "overlaps", "x"},
                   [&] { layer.backward(low, view<kOrder>(x, s), high); });
  }
  // dx may be dy, but not x.
  expect_refused(layer, x, {TypeParam::name() + "backward:", "dx", "x"}, [&] {
    layer.backward(view<kOrder>(x, s), view<kOrder>(both.data(), s), view<kOrder>(x, s));
  });
  // Side by side is no overlap.
  layer.forward(view<kOrder>(both.data(), s), view<kOrder>(both.data() + 60, s));
}

TYPED_TEST(EveryLayer, RefusesBackwardBeforeForward) {
  auto layer = TypeParam::make();
  const Shape& s = this->shape_;
  const std::string rule = TypeParam::name() + "backward: called before forward; infer saves nothing for it";
  expect_refused(layer, this->dx_, {rule}, [&] {
    layer.backward(this->in(s), view<kOrder>(this->dy_, s), view<kOrder>(this->dx_, s));
  });
  layer.infer(this->in(s), this->out(s));  // is no forward
  expect_refused(layer, this->dx_, {rule}, [&] {
    layer.backward(this->in(s), view<kOrder>(this->dy_, s), view<kOrder>(this->dx_, s));
  });
}

// What a call is given that has x's shape and other values: y, dy, what y was written over, and x after another forward.
// The second shape goes straight to a kernel if it was seen before; the last one is large.
TYPED_TEST(EveryLayer, RefusesAnXThatIsNotForwards) {
  for (const Shape& s : {Shape{4, 6, 5}, TypeParam::fitting({3, 6}), Shape{2, 6, 17011}}) {
    SCOPED_TRACE(to_string(s));
    const Index size = size_of(s);
    const Buffer<float> x(random_values<float>(size, 3, 1, 1)), dy(random_values<float>(size, 0.5, 1, 2)),
        other_x(random_values<float>(size, 3, 1, 3));
    Buffer<float> y(size), in_place(x.values()), dx(size), expected(size);
    auto layer = TypeParam::make();
    randomize_parameters(layer);
    const auto forward = [&](const auto& from, const auto& to) {
      layer.forward(view<kOrder>(from, s), view<kOrder>(to, s));
    };
    const auto backward = [&](const float* from, Buffer<float>& to) {
      layer.backward(view<kOrder>(from, s), view<kOrder>(dy, s), view<kOrder>(to, s));
    };
    const auto expect_refusal = [&](const float* wrong) {
      expect_refused(layer, dx, {TypeParam::name() + "backward: x is not the last forward's x: value 0 is"},
                     [&] { backward(wrong, dx); });
    };
    forward(x, y.data());
    forward(x, y.data());
    expect_refusal(y.data());
    expect_refusal(dy.data());
    backward(x.data(), expected);

    forward(in_place, in_place.data());
    expect_refusal(in_place.data());
    backward(Buffer<float>(x.values()).data(), dx);  // a copy will do
    EXPECT_TRUE(same_bits(dx.values(), expected.values()));
    std::copy_n(x.data(), size, in_place.data());  // and so will x, put back
    backward(in_place.data(), dx);
    EXPECT_TRUE(same_bits(dx.values(), expected.values()));

    forward(x, y.data());
    forward(other_x, y.data());
    expect_refusal(x.data());
    backward(other_x.data(), dx);
  }
}

TYPED_TEST(EveryLayer, TakesAnyXIfItIsTold) {
  auto layer = this->trained();
  std::vector<float> stored = this->x_.values();
  for (float& value : stored) value = static_cast<float>(static_cast<Eigen::half>(value));  // fewer digits
  const Buffer<float> nearly(stored);
  const auto backward = [&] {
    layer.backward(view<kOrder>(nearly, this->shape_), view<kOrder>(this->dy_, this->shape_),
                   view<kOrder>(this->dx_, this->shape_));
  };
  EXPECT_TRUE(layer.checks_x());
  EXPECT_TRUE(says(refusal(backward), {"x is not the last forward's x"}));
  layer.checks_x(false);
  EXPECT_FALSE(layer.checks_x());
  const std::vector<float> exact = this->dx_.values();
  backward();
  for (std::size_t i = 0; i < exact.size(); ++i)
    EXPECT_NEAR(this->dx_.values()[i], exact[i], 0.02);  // 2^-11 of x, whose deviations are about 1
  layer.checks_x(true);
  EXPECT_TRUE(says(refusal(backward), {"x is not the last forward's x"}));
}

// A NaN in one of the places is itself.
TYPED_TEST(EveryLayer, KnowsAnXOfNaNs) {
  auto layer = TypeParam::make();
  const Buffer<float> x(std::vector<float>(120, std::numeric_limits<float>::quiet_NaN()));
  layer.forward(view<kOrder>(x, this->shape_), this->out(this->shape_));
  layer.backward(view<kOrder>(x, this->shape_), view<kOrder>(this->dy_, this->shape_),
                 view<kOrder>(this->dx_, this->shape_));
  EXPECT_TRUE(std::isnan(this->dx_.values()[0]));
}

TYPED_TEST(EveryLayer, SaysWhichAxisAVectorHas) {
  auto layer = TypeParam::make();
  Buffer<float> x(std::vector<float>(6, 1));
  EXPECT_EQ(
      refusal([&] { layer.infer(view<kOrder>(x, {6}), view<kOrder>(x, {6})); }),
      TypeParam::name() + "infer: axis is 1, must lie in [-1, 0] for x [6]; for a vector set axis = -1");
}

TYPED_TEST(EveryLayer, RefusesBackwardOnceItIsMovedFrom) {
  auto layer = this->trained();
  const auto other = std::move(layer);
  const Shape& s = this->shape_;
  EXPECT_TRUE(says(
      refusal([&] { layer.backward(this->in(s), view<kOrder>(this->dy_, s), view<kOrder>(this->dx_, s)); }),
      {TypeParam::name() + "backward:", "0"}));
}

TYPED_TEST(EveryLayer, RefusesAnyCallOnceItIsMovedFrom) {
  const Shape few = TypeParam::fitting({2, 6});
  for (const bool by_assignment : {false, true}) {
    auto layer = this->trained(), other = layer;
    layer.forward(view<kOrder>(this->x_.data(), few), view<kOrder>(this->y_.data(), few));
    const Index sets = layer.saved_inv_std().size();
    EXPECT_GT(sets, 0);
    if (by_assignment)
      other = std::move(layer);
    else
      auto constructed = std::move(layer);
    EXPECT_EQ(layer.saved_mean().size(), 0);
    EXPECT_EQ(layer.saved_inv_std().size(), 0);
    if (by_assignment) {
      EXPECT_EQ(other.saved_inv_std().size(), sets);
      continue;  // Eigen leaves the other's arrays here
    }
    const std::string rule = ": gamma has 0 values, expected 6";
    EXPECT_EQ(refusal([&] { layer.parameters(); }), TypeParam::name() + "parameters" + rule);
    for (const Shape& s : {this->shape_, few}) {
      const auto y = view<kOrder>(this->y_.data(), s);
      EXPECT_EQ(refusal([&] { layer.forward(view<kOrder>(this->x_.data(), s), y); }),
                TypeParam::name() + "forward" + rule);
      EXPECT_EQ(refusal([&] { layer.infer(view<kOrder>(this->x_.data(), s), y); }),
                TypeParam::name() + "infer" + rule);
    }
  }
}

TYPED_TEST(EveryLayer, RefusesBackwardOfAnotherShape) {
  auto layer = this->trained();
  const Shape other = {3, 6, 5};
  expect_refused(layer, this->dx_, {TypeParam::name() + "backward:", "x", "[3, 6, 5]", "[4, 6, 5]"}, [&] {
    layer.backward(this->in(other), view<kOrder>(this->dy_, other), view<kOrder>(this->dx_, other));
  });
}

TYPED_TEST(EveryLayer, RefusesParametersOfAnotherSize) {
  for (Index size : {5, 7}) {
    auto layer = this->trained();
    layer.gamma().resize(size);
    layer.gamma().setOnes();
    expect_refused(layer, this->y_, {TypeParam::name() + "forward:", "gamma", std::to_string(size), "6"},
                   [&] { layer.forward(this->in(this->shape_), this->out(this->shape_)); });
    expect_refused(layer, this->y_, {TypeParam::name() + "infer:", "gamma", std::to_string(size), "6"},
                   [&] { layer.infer(this->in(this->shape_), this->out(this->shape_)); });
    expect_refused(layer, this->dx_, {TypeParam::name() + "backward:", "gamma", std::to_string(size), "6"},
                   [&] {
                     layer.backward(this->in(this->shape_), view<kOrder>(this->dy_, this->shape_),
                                    view<kOrder>(this->dx_, this->shape_));
                   });
  }
}

// An empty array is no layer without parameters, and that takes none.
TYPED_TEST(EveryLayer, RefusesParametersThatCameOrWent) {
  typename TypeParam::Options options;
  options.axis = 1;
  options.affine = false;
  for (const bool affine : {true, false})
    for (const Shape& shape :
         {Shape{4, 6, 5}, TypeParam::fitting({2, 6})}) {  // few rows go straight to a kernel
      auto layer = this->trained();
      if (!affine) layer = TypeParam::make(options);
      Buffer<float> x(random_values<float>(size_of(shape), 0, 1, 1)), y(size_of(shape)), dx(size_of(shape));
      layer.forward(view<kOrder>(x, shape), view<kOrder>(y, shape));
      for (const bool is_gamma : {true, false}) {
        if (!is_gamma && affine && !TypeParam::kHasBeta) continue;
        auto wrong = layer;
        (is_gamma ? wrong.gamma() : wrong.beta()) = affine ? Eigen::ArrayXf() : Eigen::ArrayXf::Ones(6);
        const std::string rule = std::string(is_gamma ? "gamma" : "beta") + " has " +
                                 (affine ? "0 values, expected 6" : "6 values, expected 0");
        const auto expect = [&](const Buffer<float>& out, const std::string& function, const auto& call) {
          expect_refused(wrong, out, {TypeParam::name() + function + ": " + rule}, call);
        };
        expect(y, "forward", [&] { wrong.forward(view<kOrder>(x, shape), view<kOrder>(y, shape)); });
        expect(y, "infer", [&] { wrong.infer(view<kOrder>(x, shape), view<kOrder>(y, shape)); });
        expect(dx, "backward", [&] {
          wrong.backward(view<kOrder>(x, shape), view<kOrder>(y, shape), view<kOrder>(dx, shape));
        });
        expect(y, "parameters", [&] { wrong.parameters(); });
      }
    }
}

TYPED_TEST(EveryLayer, RefusesABadEpsilon) {
  for (double epsilon : {-1.0, -1e-30, kNan, kInfinity, -kInfinity}) {
    typename TypeParam::Options options;
    options.epsilon = epsilon;
    EXPECT_TRUE(says(refusal([&] { TypeParam::make(options); }), {TypeParam::name(), "epsilon", "0"}));
  }
  typename TypeParam::Options options;
  options.epsilon = -1;
  EXPECT_TRUE(says(refusal([&] { TypeParam::make(options); }), {"epsilon", "-1", "0"}));
  options.epsilon = 0;
  EXPECT_EQ(refusal([&] { TypeParam::make(options); }), "(nothing was thrown)");
}

// After a refused call the earlier forward still stands.
TYPED_TEST(EveryLayer, BackwardStillWorksAfterARefusedForward) {
  auto layer = this->trained(), twin = this->trained();
  EXPECT_NE(refusal([&] {
              layer.forward(this->in({4, 5, 6}), this->out({4, 5, 6}));
            }),
            "(nothing was thrown)");
  Buffer<float> one(120), other(120);
  const auto x = this->in(this->shape_);
  const auto dy = view<kOrder>(this->dy_, this->shape_);
  layer.backward(x, dy, view<kOrder>(one, this->shape_));
  twin.backward(x, dy, view<kOrder>(other, this->shape_));
  EXPECT_TRUE(same_bits(one.values(), other.values()));
}

TYPED_TEST(EveryLayer, WorksInPlaceWithTheSameBits) {
  for (const Shape& s : {Shape{4, 6, 5}, Shape{3, 6, 33}, Shape{2, 6, 7, 7}, Shape{2, 6, 17011},
                         TypeParam::fitting({20011, 6})}) {
    SCOPED_TRACE(to_string(s));
    const Index size = size_of(s);
    const std::vector<float> x = random_values<float>(size, 10, 1, 5),
                             dy = random_values<float>(size, 0.5, 1, 6);
    auto apart = TypeParam::make(), in_place = TypeParam::make();
    randomize_parameters(apart);
    randomize_parameters(in_place);
    Buffer<float> y(size), dx(size), x_and_y(x), dy_and_dx(dy), x_and_inferred(x);
    const Buffer<float> x_kept(x);

    apart.forward(view<kOrder>(x_kept, s), view<kOrder>(y, s));
    in_place.forward(view<kOrder>(x_and_y, s), view<kOrder>(x_and_y, s));
    EXPECT_TRUE(same_bits(x_and_y.values(), y.values())) << "forward";

    apart.backward(view<kOrder>(x_kept, s), view<kOrder>(Buffer<float>(dy), s), view<kOrder>(dx, s));
    in_place.backward(view<kOrder>(x_kept, s), view<kOrder>(dy_and_dx, s), view<kOrder>(dy_and_dx, s));
    EXPECT_TRUE(same_bits(dy_and_dx.values(), dx.values())) << "backward";
    EXPECT_TRUE(same_bits(state_of(in_place), state_of(apart)));

    apart.infer(view<kOrder>(x_kept, s), view<kOrder>(y, s));
    in_place.infer(view<kOrder>(x_and_inferred, s), view<kOrder>(x_and_inferred, s));
    EXPECT_TRUE(same_bits(x_and_inferred.values(), y.values())) << "infer";
    EXPECT_TRUE(x_and_y.padding_intact() && dy_and_dx.padding_intact() && x_and_inferred.padding_intact());
  }
}

/// What lies beside the `size` values at `offset` is still what a Buffer is made of.
bool untouched(const Buffer<float>& memory, Index offset, Index size) {
  const auto is_nan = [](float value) { return std::isnan(value); };
  return memory.padding_intact() && std::all_of(memory.data(), memory.data() + offset, is_nan) &&
         std::all_of(memory.data() + offset + size, memory.data() + size + 16, is_nan);
}

// Where the data lie does not show in the bits, and nothing is written beside them. The last shapes are large enough
// to be written past the caches, in planes that end inside a line of theirs.
TYPED_TEST(EveryLayer, AlignmentDoesNotShow) {
  for (const Shape& s : {Shape{3, 6, 33}, Shape{2, 6, 7, 7}, TypeParam::fitting({33, 6}), Shape{2, 6, 4099},
                         Shape{800, 6, 13, 13}, Shape{450, 6, 19, 16}}) {
    SCOPED_TRACE(to_string(s));
    const Index size = size_of(s);
    const std::vector<float> x = random_values<float>(size, 10, 1, 5),
                             dy = random_values<float>(size, 0.5, 1, 6);
    std::vector<float> first_y, first_dx;
    for (Index offset : {0, 1, 2, 3, 7, 15}) {
      Buffer<float> x_memory(size + 16), dy_memory(size + 16), y_memory(size + 16), dx_memory(size + 16);
      std::copy(x.begin(), x.end(), x_memory.data() + offset);
      std::copy(dy.begin(), dy.end(), dy_memory.data() + 15 - offset);
      auto layer = TypeParam::make();
      randomize_parameters(layer);
      const Index y_offset = (2 + 5 * offset) % 16;
      layer.forward(view<kOrder>(x_memory.data() + offset, s), view<kOrder>(y_memory.data() + y_offset, s));
      layer.backward(view<kOrder>(x_memory.data() + offset, s),
                     view<kOrder>(dy_memory.data() + 15 - offset, s),
                     view<kOrder>(dx_memory.data() + offset, s));
      const std::vector<float> y(y_memory.data() + y_offset, y_memory.data() + y_offset + size),
          dx(dx_memory.data() + offset, dx_memory.data() + offset + size);
      if (first_y.empty()) first_y = y, first_dx = dx;
      EXPECT_TRUE(same_bits(y, first_y)) << offset;
      EXPECT_TRUE(same_bits(dx, first_dx)) << offset;
      EXPECT_TRUE(untouched(y_memory, y_offset, size) && untouched(dx_memory, offset, size)) << offset;
    }
  }
}

TYPED_TEST(EveryLayer, TakesTheSameInputTwice) {
  auto layer = this->trained(), twin = this->trained();
  const Buffer<float> copy(this->x_.values());
  Buffer<float> one(120), other(120);
  layer.backward(this->in(this->shape_), this->in(this->shape_), view<kOrder>(one, this->shape_));
  twin.backward(this->in(this->shape_), view<kOrder>(copy, this->shape_), view<kOrder>(other, this->shape_));
  EXPECT_TRUE(same_bits(one.values(), other.values()));
}

TYPED_TEST(EveryLayer, TakesAnEmptyBatch) {
  auto layer = this->trained();
  const std::vector<Real> gamma = to_real(layer.gamma());
  const Shape empty = {0, 6, 5};
  float* null = nullptr;
  for (float* data : {null, this->y_.data()}) {  // empty tensors have no data
    const auto none = view<kOrder>(data, empty);
    const std::vector<float> before = this->y_.values();
    layer.forward(none, none);
    layer.infer(none, none);
    EXPECT_TRUE(same_bits(this->y_.values(), before));
    for (auto p : layer.parameters()) p.grad.setConstant(5);
    layer.backward(none, none, none);
    EXPECT_EQ(to_real(layer.grad_gamma()), std::vector<Real>(6, 0));
    EXPECT_EQ(to_real(layer.grad_beta()), std::vector<Real>(TypeParam::kHasBeta ? 6 : 0, 0));
    EXPECT_EQ(to_real(layer.gamma()), gamma);
  }
  // And the next batch is as ever.
  auto twin = this->trained();
  Buffer<float> one(120), other(120);
  layer.forward(this->in(this->shape_), view<kOrder>(one, this->shape_));
  twin.forward(this->in(this->shape_), view<kOrder>(other, this->shape_));
  EXPECT_TRUE(same_bits(one.values(), other.values()));
}

// NaN or infinity spoils its own statistics set and no other, to the bit.
TYPED_TEST(EveryLayer, NonFiniteInputStaysInItsSet) {
  for (const Shape& s :
       {Shape{4, 6, 5}, TypeParam::fitting({9, 6}), Shape{3, 6, 33}, Shape{2, 6, 7, 7}, Shape{2, 6, 17011}}) {
    SCOPED_TRACE(to_string(s));
    const IndexMap map = TypeParam::map(s);
    const std::vector<float> clean = random_values<float>(map.size(), 1, 1, 7);
    const Buffer<float> dy(random_values<float>(map.size(), 0, 1, 8));
    const auto run = [&](const std::vector<float>& x) {
      auto layer = TypeParam::make();
      randomize_parameters(layer);
      const Buffer<float> input(x);
      Buffer<float> y(map.size()), dx(map.size());
      layer.forward(view<kOrder>(input, s), view<kOrder>(y, s));
      layer.backward(view<kOrder>(input, s), view<kOrder>(dy, s), view<kOrder>(dx, s));
      return std::make_pair(y.values(), dx.values());
    };
    const auto expected = run(clean);
    for (Index where : {Index{0}, map.size() / 2, map.size() - 1})
      for (double value : {kNan, kInfinity, -kInfinity}) {
        SCOPED_TRACE(std::to_string(value) + " at " + std::to_string(where));
        std::vector<float> x = clean;
        x[at(where)] = static_cast<float>(value);
        const auto got = run(x);
        Index not_nan = 0, changed = 0;
        for (std::size_t i = 0; i < x.size(); ++i) {
          if (map.set[i] == map.set[at(where)])
            not_nan += !std::isnan(got.first[i]) + !std::isnan(got.second[i]);
          else
            changed += (got.first[i] != expected.first[i]) + (got.second[i] != expected.second[i]);
        }
        EXPECT_EQ(not_nan, 0) << "values of its own set that are not NaN";
        EXPECT_EQ(changed, 0) << "values of other sets that are not what they are without it";
      }
  }
}

// What a layer keeps from one shape must not show in the next.
TYPED_TEST(EveryLayer, RemembersNothingOfEarlierShapes) {
  const Shape shapes[] = {{4, 6, 5}, {2, 6, 17011}, {9, 6}, {2, 6, 7, 7}, {4, 6, 5}, {20011, 6}, {2, 6}};
  auto old = TypeParam::make();
  randomize_parameters(old);
  for (const Shape& shape : shapes) {
    const Shape s = TypeParam::fitting(shape);
    SCOPED_TRACE(to_string(s));
    auto fresh = TypeParam::make();
    randomize_parameters(fresh);
    const Buffer<float> x(random_values<float>(size_of(s), 1, 1, 9)),
        dy(random_values<float>(size_of(s), 0, 1, 10));
    Buffer<float> y(size_of(s)), dx(size_of(s)), fresh_y(size_of(s)), fresh_dx(size_of(s));
    old.forward(view<kOrder>(x, s), view<kOrder>(y, s));
    fresh.forward(view<kOrder>(x, s), view<kOrder>(fresh_y, s));
    EXPECT_TRUE(same_bits(y.values(), fresh_y.values()));
    EXPECT_TRUE(same_bits(old.saved_mean(), fresh.saved_mean()));
    EXPECT_TRUE(same_bits(old.saved_inv_std(), fresh.saved_inv_std()));
    old.backward(view<kOrder>(x, s), view<kOrder>(dy, s), view<kOrder>(dx, s));
    fresh.backward(view<kOrder>(x, s), view<kOrder>(dy, s), view<kOrder>(fresh_dx, s));
    EXPECT_TRUE(same_bits(dx.values(), fresh_dx.values()));
    EXPECT_TRUE(same_bits(old.grad_gamma(), fresh.grad_gamma()));  // overwritten, not added to
    EXPECT_TRUE(same_bits(old.grad_beta(), fresh.grad_beta()));
  }
}

TYPED_TEST(EveryLayer, BeginsAsTheIdentity) {
  auto layer = TypeParam::make();
  EXPECT_EQ(to_real(layer.gamma()), std::vector<Real>(6, 1));
  const std::vector<Real> no_beta(TypeParam::kHasBeta ? 6 : 0, 0);
  EXPECT_EQ(to_real(layer.beta()), no_beta);
  EXPECT_EQ(to_real(layer.grad_gamma()), std::vector<Real>(6, 0));
  EXPECT_EQ(to_real(layer.grad_beta()), no_beta);
}

TYPED_TEST(EveryLayer, ParametersAreWhatAnOptimizerWalks) {
  auto layer = this->trained();
  const std::vector<Real> gamma = to_real(layer.gamma()), dbeta = to_real(layer.grad_beta());
  std::vector<std::string> names;
  for (auto p : layer.parameters()) {
    names.push_back(p.name);
    EXPECT_EQ(p.value.size(), 6);
    EXPECT_EQ(p.grad.size(), 6);
  }
  std::vector<std::string> expected = {"gamma"};
  if (TypeParam::kHasBeta) expected.push_back("beta");
  EXPECT_EQ(names, expected);
  for (auto p : layer.parameters()) {
    const bool is_gamma = std::string(p.name) == "gamma";
    EXPECT_EQ(p.value.data(), is_gamma ? layer.gamma().data() : layer.beta().data());
    EXPECT_EQ(p.grad.data(), is_gamma ? layer.grad_gamma().data() : layer.grad_beta().data());
    p.value -= 0.5f * p.grad;
  }
  for (Index c = 0; c < 6; ++c)
    EXPECT_EQ(layer.gamma()[c], static_cast<float>(gamma[at(c)]) - 0.5f * layer.grad_gamma()[c]);
  EXPECT_EQ(to_real(layer.grad_beta()), dbeta);

  typename TypeParam::Options options;
  options.affine = false;
  auto plain = TypeParam::make(options);
  for (auto p : plain.parameters()) ADD_FAILURE() << p.name << " of a layer without parameters";
}

TYPED_TEST(EveryLayer, ParametersOfAConstLayerMayBeRead) {
  auto layer = this->trained();
  const auto& trained = layer;
  std::vector<std::string> names;
  for (auto p : trained.parameters()) {
    static_assert(std::is_const_v<std::remove_pointer_t<decltype(p.value.data())>>);
    static_assert(std::is_const_v<std::remove_pointer_t<decltype(p.grad.data())>>);
    names.push_back(p.name);
  }
  EXPECT_EQ(names.size(), TypeParam::kHasBeta ? 2U : 1U);
  EXPECT_EQ(trained.parameters()[0].value.data(), layer.gamma().data());
  if constexpr (TypeParam::kHasBeta) {
    EXPECT_EQ(trained.parameters()["beta"].grad.data(), layer.grad_beta().data());
  }
  layer.parameters()["gamma"].value.setConstant(3);
  EXPECT_EQ(layer.gamma()[5], 3);
  EXPECT_EQ(refusal([&] { trained.parameters()[2]; }),
            std::string("evenkeel::operator[]: index is 2, must be less than ") +
                (TypeParam::kHasBeta ? "2" : "1"));
  EXPECT_EQ(refusal([&] { trained.parameters()["gama"]; }),
            std::string("evenkeel::operator[]: no item is named gama; the names are gamma") +
                (TypeParam::kHasBeta ? ", beta" : ""));
  layer.gamma().resize(5);
  EXPECT_EQ(refusal([&] { trained.parameters(); }),
            TypeParam::name() + "parameters: gamma has 5 values, expected 6");
}

TYPED_TEST(EveryLayer, WritesItselfOnALine) {
  const auto layer = TypeParam::make();
  std::ostringstream line;
  line << layer << '\n';
  EXPECT_EQ(line.str(), layer.text() + "\n");
  EXPECT_EQ(layer.text(), TypeParam::text());
}

TYPED_TEST(EveryLayer, CopiesShareNothing) {
  auto layer = this->trained();
  auto copy = layer;
  const std::vector<double> state = state_of(layer);
  EXPECT_TRUE(same_bits(state_of(copy), state));
  copy.gamma().setConstant(7);
  for (auto p : copy.parameters()) p.value += 1;
  copy.forward(view<kOrder>(this->dy_, this->shape_), this->out(this->shape_));
  EXPECT_TRUE(same_bits(state_of(layer), state));
  EXPECT_EQ(copy.gamma()[0], 8);
}

template <typename Layer, typename = void>
struct TrainsWhenConst : std::false_type {};
template <typename Layer>
struct TrainsWhenConst<Layer, std::void_t<decltype(std::declval<const Layer&>().forward(
                                  std::declval<Eigen::MatrixXf&>(), std::declval<Eigen::MatrixXf&>()))>>
    : std::true_type {};

TYPED_TEST(EveryLayer, CanOnlyInferWhenConst) {
  EXPECT_FALSE(TrainsWhenConst<typename TypeParam::Layer>::value);
  auto layer = this->trained();
  const std::vector<double> state = state_of(layer);
  std::as_const(layer).infer(this->in(this->shape_), this->out(this->shape_));
  EXPECT_TRUE(same_bits(state_of(layer), state));
}

}  // namespace
}  // namespace ek_test
