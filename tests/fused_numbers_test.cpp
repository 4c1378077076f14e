// What a call fuses with its norm, against the norm alone and plain loops before or behind it.
#define EIGEN_USE_THREADS

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <evenkeel/evenkeel.hpp>
#include <initializer_list>
#include <limits>
#include <string>
#include <type_traits>
#include <unsupported/Eigen/CXX11/Tensor>
#include <utility>
#include <vector>

#include "support/contract.hpp"
#include "support/data.hpp"
#include "support/finite_differences.hpp"
#include "support/same.hpp"
#include "support/state.hpp"
#include "support/storage.hpp"

namespace ek_test {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// y = min(max(leaky(z), low), high) and its gradient, one element at a time.
struct Curve {
  std::string name;
  ek::detail::Behind<> fused;
  double slope = 1, low = -kInfinity, high = kInfinity;

  bool is_identity() const { return fused.activation.curve == ek::detail::Curve::none; }
  template <typename C>
  C leaky(C z) const {
    return z > 0 ? z : C(z * static_cast<C>(slope));
  }
  template <typename C>
  C operator()(C z) const {
    if (is_identity()) return z;
    return std::isnan(z) ? z : std::min(std::max(leaky(z), static_cast<C>(low)), static_cast<C>(high));
  }
  template <typename C>
  C gradient(C z, C dy) const {
    if (is_identity()) return dy;
    if (!(leaky(z) > static_cast<C>(low) && leaky(z) < static_cast<C>(high))) return C(0);
    return z > 0 ? dy : C(dy * static_cast<C>(slope));
  }
  /// Whether z is so near to where the gradient jumps that rounding decides on it.
  bool is_near_jump(Real z, Real margin) const {
    return std::fabs(z) <= margin || std::fabs(z - low) <= margin || std::fabs(z - high) <= margin;
  }
};

const Curve kNone{"none", {}, 1, -kInfinity, kInfinity};
std::vector<Curve> curves() {
  return {{"relu", ek::relu(), 1, 0, kInfinity},
          {"leaky_relu", ek::leaky_relu(0.01), 0.01, -kInfinity, kInfinity},
          {"clip", ek::clip(-0.5, 1.25), 1, -0.5, 1.25}};
}

/// Calls f with what stands behind the norm, with a residual or without.
template <typename F, typename... Residual>
void with_behind(bool adds, const Curve& curve, const F& f, Residual&&... residual) {
  if (adds)
    f(ek::add(residual...).then(curve.fused));
  else
    f(curve.fused);
}

/// A shape and the axis of its channels or features.
struct Place {
  Shape shape;
  Index axis;
};

/// All orders of memory, and sets of one piece and of several.
std::vector<Place> small_places() {
  return {{{4, 6, 5}, 1},  {{3, 6, 33}, 1},  {{9, 64}, 1},      {{64, 9}, 0},     {{37, 4}, 1},
          {{3, 16, 2}, 1}, {{5, 40, 9}, -1}, {{2, 3, 7, 7}, 1}, {{2, 6, 9, 5}, 2}};
}
std::vector<Place> large_places() {
  return {{{2, 6, 17011}, 1}, {{20011, 6}, 1}, {{400, 768}, 1}, {{2, 110016}, 1}};
}

/// Calls f(layer, map) for each norm over an axis.
template <typename S, int kOrder, typename F>
void for_each_norm(const Place& place, double epsilon, const F& f) {
  const Shape& shape = place.shape;
  const Index axis = place.axis, channels = shape[at(wrapped(axis, shape))];
  const std::string of = " over axis " + std::to_string(axis) + " of " + to_string(shape);
  {
    SCOPED_TRACE("batch norm" + of);
    ek::BatchNormOptions options;
    options.epsilon = epsilon;
    options.axis = axis;
    f(ek::BatchNorm<S>(channels, options), batch_norm_map(shape, kOrder, axis));
  }
  {
    SCOPED_TRACE("layer norm" + of);
    ek::LayerNormOptions options;
    options.epsilon = epsilon;
    options.axis = axis;
    f(ek::LayerNorm<S>(channels, options), layer_norm_map(shape, kOrder, axis));
  }
  {
    SCOPED_TRACE("RMS norm" + of);
    ek::RMSNormOptions options;
    options.epsilon = epsilon;
    options.axis = axis;
    f(ek::RMSNorm<S>(channels, options), rms_norm_map(shape, kOrder, axis));
  }
  {
    SCOPED_TRACE("group norm" + of);
    ek::GroupNormOptions options;
    options.epsilon = epsilon;
    options.axis = axis;
    options.batch_axis = wrapped(axis, shape) == 0 ? 1 : 0;
    const Index groups = channels % 2 == 0 ? 2 : 1;
    f(ek::GroupNorm<S>(groups, channels, options),
      group_norm_map(shape, kOrder, groups, axis, options.batch_axis));
  }
}

/// The norms that have residual_in and plus.
template <typename Layer>
struct NormalizesFeatures : std::false_type {};
template <typename S>
struct NormalizesFeatures<ek::LayerNorm<S>> : std::true_type {};
template <typename S>
struct NormalizesFeatures<ek::RMSNorm<S>> : std::true_type {};

template <typename Case>
class Fused : public ::testing::Test {
 protected:
  using S = typename Case::Scalar;
  using C = ek::ComputeOf<S>;
  static constexpr bool kIsStored = !std::is_same_v<S, C>;  // in 16 bits
  using Exact = std::conditional_t<kIsStored, Real, C>;
  static constexpr Real kMargin = 1e-4L;  // far more than the error of z in float

  /// What a call reads.
  struct Data {
    Shape shape;
    std::vector<S> x, residual, dy;
    double epsilon = 1e-5;

    explicit Data(const Shape& s)
        : shape(s),
          x(converted<S>(random_values<C>(size_of(s), 3, 1, 1))),
          residual(converted<S>(random_values<C>(size_of(s), 0.25, 1, 2))),
          dy(converted<S>(random_values<C>(size_of(s), 0.5, 1, 3))) {}
    Reference reference(const IndexMap& map) const { return Reference(map, converted<C>(x), epsilon); }
  };

  template <typename Values>
  static auto seen(Values& values, const Shape& shape) {
    return view<Case::kOrder>(values.data(), shape);
  }

  static ::testing::AssertionResult same(const std::vector<S>& a, const std::vector<S>& b) {
    return same_bits(converted<C>(a), converted<C>(b));
  }

  /// z = norm(x) or norm(x) + residual: to the bit, or exact where half and bfloat16 round it.
  template <typename Layer>
  static std::vector<Exact> expected_z(Layer& alone, const IndexMap& map, const Reference& reference,
                                       const Data& d, bool adds) {
    std::vector<S> y(d.x.size());
    alone.forward(seen(d.x, d.shape), seen(y, d.shape));
    std::vector<Exact> z;
    if constexpr (kIsStored)
      z = reference_forward(map, reference, to_real(alone.gamma()), to_real(alone.beta()));
    else
      z = y;
    for (std::size_t i = 0; adds && i < z.size(); ++i) z[i] += static_cast<C>(d.residual[i]);
    return z;
  }

  /// In 16 bits z is not rounded before the curve: y is the exact one with the error of float, rounded once.
  static void expect_y(const std::vector<S>& y, const std::vector<Exact>& z, const Curve& curve) {
    std::vector<Exact> expected(z.size());
    for (std::size_t i = 0; i < z.size(); ++i) expected[i] = curve(z[i]);
    if constexpr (kIsStored) {
      Real scale = 1;
      for (Real value : z) scale = std::max(scale, std::fabs(value));
      expect_close(y, expected, Tolerance<float>::y * scale);
    } else {
      EXPECT_TRUE(same(y, expected)) << "y";
    }
  }

  template <typename Array>
  static void expect_sums(const Array& got, const Array& alone, const std::vector<Real>& scale,
                          const char* of) {
    ASSERT_EQ(got.size(), alone.size());
    for (Index i = 0; i < got.size(); ++i) {
      if (std::isnan(got[i]) && std::isnan(alone[i])) continue;
      EXPECT_LE(std::fabs(static_cast<Real>(got[i]) - static_cast<Real>(alone[i])),
                2 * Tolerance<C>::sum * scale[at(i)])  // either is right within one
          << of << ' ' << i;
    }
  }

  /// y, dx and the residual's gradient, out of place and in place, and the moments.
  template <typename Layer>
  static void expect_behind(const Layer& layer, const IndexMap& map, const Reference& reference, Data d,
                            const Curve& curve, bool adds) {
    SCOPED_TRACE(curve.name + (adds ? " behind a residual" : ""));
    Layer alone = layer, fused = layer;
    const std::vector<Exact> z = expected_z(alone, map, reference, d, adds);
    const Shape& shape = d.shape;
    std::vector<S> y(d.x.size()), in_place = d.x, over_residual = d.residual;
    const auto x_view = seen(std::as_const(d.x), shape), residual = seen(std::as_const(d.residual), shape);

    with_behind(
        adds, curve, [&](const auto& f) { fused.forward(x_view, seen(y, shape), f); }, residual);
    expect_y(y, z, curve);
    EXPECT_TRUE(same_bits(state_of(fused), state_of(alone))) << "moments, running statistics";
    const auto in_one_place = [&](auto& values, const auto& f) {
      Layer other = layer;
      other.forward(seen(values, shape), seen(values, shape), f);
    };
    with_behind(
        adds, curve, [&](const auto& f) { in_one_place(in_place, f); }, residual);
    EXPECT_TRUE(same(in_place, y)) << "y is x";
    if (adds) {
      Layer other = layer;
      const auto both = seen(over_residual, shape);
      other.forward(x_view, both, ek::add(both).then(curve.fused));
      EXPECT_TRUE(same(over_residual, y)) << "y is the residual";
    }
    if constexpr (!HasRunningStatistics<Layer>::value) {
      std::vector<S> inferred(y.size());
      with_behind(
          adds, curve, [&](const auto& f) { std::as_const(fused).infer(x_view, seen(inferred, shape), f); },
          residual);
      EXPECT_TRUE(same(inferred, y)) << "infer";
    }

    std::vector<S> dz(d.dy.size());
    for (std::size_t i = 0; i < dz.size(); ++i) {
      if (kIsStored && curve.is_near_jump(z[i], kMargin)) d.dy[i] = S(0);
      dz[i] = static_cast<S>(curve.gradient(static_cast<C>(z[i]), static_cast<C>(d.dy[i])));
    }
    std::vector<S> dx(y.size()), over_dy = d.dy, expected_dx(y.size()), d_residual(y.size()),
                                 second(y.size());
    const auto dy_view = seen(std::as_const(d.dy), shape);
    const auto dx_view = seen(dx, shape);
    alone.backward(x_view, seen(std::as_const(dz), shape), seen(expected_dx, shape));
    const auto differentiate = [&](const auto& f) { fused.backward(x_view, dy_view, dx_view, f); };
    const ReferenceGradients scale =
        reference_backward(map, reference, converted<C>(dz), to_real(layer.gamma()));
    const auto expect_same = [&](const char* how) {
      EXPECT_TRUE(same(dx, expected_dx)) << "dx" << how;
      expect_sums(fused.grad_gamma(), alone.grad_gamma(), scale.gamma_scale, "grad_gamma");
      expect_sums(fused.grad_beta(), alone.grad_beta(), scale.beta_scale, "grad_beta");
    };
    with_behind(adds, curve, differentiate, residual);
    expect_same("");
    const auto over = seen(over_dy, shape);
    with_behind(
        adds, curve, [&](const auto& f) { fused.backward(x_view, over, over, f); }, residual);
    EXPECT_TRUE(same(over_dy, expected_dx)) << "dx is dy";
    if (!adds) return;
    differentiate(ek::add(residual, seen(d_residual, shape)).then(curve.fused));
    expect_same(" beside a d_residual");
    EXPECT_TRUE(same(d_residual, dz)) << "d_residual";
    over_dy = d.dy;
    fused.backward(x_view, over, over, ek::add(residual, seen(second, shape)).then(curve.fused));
    EXPECT_TRUE(same(over_dy, expected_dx)) << "dx is dy beside a d_residual";
    EXPECT_TRUE(same(second, dz)) << "d_residual where dx is dy";
  }

  /// sum = x + skip and the norm of it, and dx + d_sum.
  template <typename Layer>
  static void expect_around(const Layer& layer, const IndexMap& map, const Data& d) {
    Layer alone = layer, fused = layer;
    const Shape& shape = d.shape;
    const std::vector<S>& skip = d.residual;
    std::vector<S> sum(d.x.size()), expected_y(d.x.size()), dx(d.x.size());
    for (std::size_t i = 0; i < d.x.size(); ++i)
      sum[i] = static_cast<S>(C(static_cast<C>(d.x[i]) + static_cast<C>(skip[i])));
    alone.forward(seen(std::as_const(sum), shape), seen(expected_y, shape));

    // Which array is which: sum its own, x or skip; y its own, x or skip, but not sum.
    for (const std::string place :
         {"own own", "x own", "skip own", "own x", "own skip", "x skip", "skip x"}) {
      SCOPED_TRACE("sum and y: " + place);
      std::vector<S> x = d.x, other = skip, own_sum(x.size()), own_y(x.size());
      const auto array = [&](const std::string& name, std::vector<S>& own) -> std::vector<S>& {
        return name == "x" ? x : name == "skip" ? other : own;
      };
      const std::size_t space = place.find(' ');
      std::vector<S>&to = array(place.substr(0, space), own_sum), &y = array(place.substr(space + 1), own_y);
      const auto skip_view = seen(other, shape), to_view = seen(to, shape);
      const auto f = ek::residual_in(skip_view, to_view);
      fused.forward(seen(x, shape), seen(y, shape), f);
      EXPECT_TRUE(same(to, sum)) << "sum";
      EXPECT_TRUE(same(y, expected_y)) << "y";
      EXPECT_TRUE(same_bits(state_of(fused), state_of(alone))) << "moments";
      x = d.x;
      other = skip;
      std::as_const(fused).infer(seen(x, shape), seen(y, shape), f);
      EXPECT_TRUE(same(to, sum)) << "sum of infer";
      EXPECT_TRUE(same(y, expected_y)) << "y of infer";
    }

    const auto sum_view = seen(std::as_const(sum), shape), dy = seen(d.dy, shape), d_sum = seen(skip, shape);
    alone.backward(sum_view, dy, seen(dx, shape));
    std::vector<S> got(dx.size()), over_dy = d.dy;
    fused.backward(sum_view, dy, seen(got, shape), ek::plus(d_sum));
    if constexpr (kIsStored) {
      const Reference reference(map, converted<C>(sum), d.epsilon);
      const ReferenceGradients exact =
          reference_backward(map, reference, converted<C>(d.dy), to_real(layer.gamma()));
      std::vector<Real> expected = exact.x;
      for (std::size_t i = 0; i < expected.size(); ++i) {
        expected[i] += static_cast<Real>(static_cast<float>(skip[i]));
      }
      // Adding d_sum rounds once more, to 2^-24 of a sum of a few.
      const Real scale = 4 + *std::max_element(exact.x_scale.begin(), exact.x_scale.end());
      expect_close(got, expected, Tolerance<float>::x * scale);
    } else {
      for (std::size_t i = 0; i < dx.size(); ++i) dx[i] = S(dx[i] + skip[i]);
      EXPECT_TRUE(same(got, dx)) << "dx";
    }
    EXPECT_TRUE(same_bits(to_real(fused.grad_gamma()), to_real(alone.grad_gamma()))) << "grad_gamma";
    EXPECT_TRUE(same_bits(to_real(fused.grad_beta()), to_real(alone.grad_beta()))) << "grad_beta";
    fused.backward(sum_view, seen(over_dy, shape), seen(over_dy, shape), ek::plus(d_sum));
    EXPECT_TRUE(same(over_dy, got)) << "dx is dy";
    fused.backward(sum_view, d_sum, seen(dx, shape), ek::plus(d_sum));
    alone.backward(sum_view, d_sum, seen(got, shape));
    if constexpr (!kIsStored) {
      for (std::size_t i = 0; i < dx.size(); ++i) got[i] = S(got[i] + skip[i]);
      EXPECT_TRUE(same(dx, got)) << "d_sum is dy";
    }
  }

  template <typename Change>
  static void expect_all(const std::vector<Place>& places, const std::vector<Curve>& all, double epsilon,
                         const Change& change) {
    for (const Place& place : places) {
      for_each_norm<S, Case::kOrder>(place, epsilon, [&](auto layer, const IndexMap& map) {
        randomize_parameters(layer);
        Data d(place.shape);
        d.epsilon = epsilon;
        change(map, d);
        const Reference reference = d.reference(map);
        for (const Curve& curve : all)
          for (const bool adds : {true, false}) expect_behind(layer, map, reference, d, curve, adds);
        expect_behind(layer, map, reference, d, kNone, true);
        if constexpr (NormalizesFeatures<decltype(layer)>::value) expect_around(layer, map, d);
      });
      if (::testing::Test::HasFailure()) return;
    }
  }
  static void keep(const IndexMap&, const Data&) {}
};

// As LongCases.
using Cases = ::testing::Types<RowMajorCase<float>, ColMajorCase<double>, ColMajorCase<Eigen::half>,
                               RowMajorCase<Eigen::bfloat16>>;
TYPED_TEST_SUITE(Fused, Cases, CaseName);

TYPED_TEST(Fused, IsTheNormAndPlainLoops) {
  this->expect_all(small_places(), curves(), 1e-5, TestFixture::keep);
}

TYPED_TEST(Fused, LargeSetsAndManySets) {
  this->expect_all(large_places(), {curves()[0]}, 1e-5, TestFixture::keep);
}

/// Every width, as rows and as columns.
TYPED_TEST(Fused, EveryWidth) {
  for (const Index width : {1, 2, 3, 4, 6, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 129, 256}) {
    this->expect_all({{{5, width}, 1}, {{width + 1, 5}, 1}, {{3, 4, width}, 1}}, {curves()[0]}, 1e-5,
                     TestFixture::keep);
    if (::testing::Test::HasFailure()) return;
  }
}

/// A set that the fast path has no room for goes another way, and its mask is that of forward on this way. Half has no
/// such sets, but far ones.
TYPED_TEST(Fused, OneSetOutOfRange) {
  using Scalar = typename TypeParam::Scalar;
  std::vector<Place> places = small_places();
  places.push_back({{300, 256}, 1});
  const double far = std::is_same_v<Scalar, Eigen::half> ? 4e3 : 1e30;
  for (const double size : {far, 1 / far, std::numeric_limits<double>::quiet_NaN()}) {
    if (TestFixture::kIsStored && std::isnan(size)) continue;
    SCOPED_TRACE(size);
    this->expect_all(places, curves(), size < 1 ? 0 : 1e-5, [&](const IndexMap& map, auto& d) {
      for (std::size_t i = 0; i < d.x.size(); ++i) {
        if (map.set[i] == map.sets / 2) d.x[i] = static_cast<Scalar>(static_cast<double>(d.x[i]) * size);
      }
    });
  }
}

}  // namespace
}  // namespace ek_test
