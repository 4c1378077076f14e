// Gammas that are stored without an offset: every call has the bits of gammas that are stored whole.
#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <evenkeel/evenkeel.hpp>
#include <limits>
#include <string>
#include <vector>

#include "support/contract.hpp"
#include "support/data.hpp"
#include "support/norms.hpp"
#include "support/same.hpp"

namespace ek_test {
namespace {

/// Multiples of 1 / 64, so that no sum with 1 rounds.
float some_gamma(Index i) { return std::round(64 * std::sin(static_cast<float>(i + 1))) / 64; }

template <typename Norm>
struct Parts {
  typename Norm::Layer layer;
  std::vector<float> y, inferred, dx, fused, fused_dx, grad_gamma;

  Parts(const typename Norm::Layer& start, const Shape& shape, const std::vector<float>& x,
        const std::vector<float>& dy)
      : layer(start), y(x.size()), inferred(x.size()), dx(x.size()), fused(x.size()), fused_dx(x.size()) {
    const auto in = view<Eigen::RowMajor>(x.data(), shape), d = view<Eigen::RowMajor>(dy.data(), shape);
    const auto out = [&](std::vector<float>& values) { return view<Eigen::RowMajor>(values.data(), shape); };
    layer.forward(in, out(fused), ek::relu());
    layer.backward(in, d, out(fused_dx), ek::relu());
    layer.forward(in, out(y));
    layer.backward(in, d, out(dx));
    layer.infer(in, out(inferred));
    const auto& gradient = layer.grad_gamma();
    grad_gamma.assign(gradient.data(), gradient.data() + gradient.size());
  }
};

template <typename Norm>
class GammaOffset : public ::testing::Test {};
TYPED_TEST_SUITE(GammaOffset, EveryNorm, NormName);

template <typename Norm, typename = void>
struct DefaultsOf {
  static typename Norm::Options get() { return {}; }
};
template <typename Norm>
struct DefaultsOf<Norm, std::void_t<decltype(Norm::defaults())>> {
  static typename Norm::Options get() { return Norm::defaults(); }
};

// Few rows, lines, channels side by side, large sets, and values out of range, which are computed apart.
TYPED_TEST(GammaOffset, HasTheBitsOfWholeGammas) {
  for (const double size : {1.0, 1e-30}) {
    for (const Shape& shape :
         {TypeParam::fitting({5, 6}), Shape{3, 6, 5}, Shape{2, 6, 40, 33}, Shape{700, 6, 2}}) {
      SCOPED_TRACE(to_string(shape) + (size < 1 ? " of small values" : ""));
      auto options = DefaultsOf<TypeParam>::get();
      options.epsilon = size < 1 ? 1e-70 : 1e-5;
      auto offset = options;
      offset.gamma_offset = 1;
      auto plain = TypeParam::make(options), moved = TypeParam::make(offset);
      EXPECT_EQ(moved.gamma()[0], 0) << "gamma begins so that it counts as 1";
      for (Index i = 0; i < plain.gamma().size(); ++i) {
        moved.gamma()[i] = some_gamma(i);
        plain.gamma()[i] = some_gamma(i) + 1;
      }
      std::vector<float> x = random_values<float>(size_of(shape), 0.5, 1, 1);
      for (float& value : x) value *= static_cast<float>(size);
      const std::vector<float> dy = random_values<float>(size_of(shape), 0, 1, 2);
      const Parts<TypeParam> expected(plain, shape, x, dy), got(moved, shape, x, dy);
      EXPECT_TRUE(same_bits(got.y, expected.y));
      EXPECT_TRUE(same_bits(got.inferred, expected.inferred));
      EXPECT_TRUE(same_bits(got.dx, expected.dx));
      EXPECT_TRUE(same_bits(got.fused, expected.fused));
      EXPECT_TRUE(same_bits(got.fused_dx, expected.fused_dx));
      EXPECT_TRUE(same_bits(got.grad_gamma, expected.grad_gamma));
    }
  }
}

TYPED_TEST(GammaOffset, MustBeFinite) {
  auto options = DefaultsOf<TypeParam>::get();
  options.gamma_offset = std::numeric_limits<double>::infinity();
  EXPECT_TRUE(
      says(refusal([&] { TypeParam::make(options); }), {TypeParam::name(), "gamma_offset", "inf", "finite"}));
}

}  // namespace
}  // namespace ek_test
