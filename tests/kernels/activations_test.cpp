// Smooth activations and their slopes, of each instruction set, against long double: floats of every size, and all of
// those near where something changes.
#define EK_TEST_ALSO_FOR_EACH_SET "kernels/activations_of_set.inl"
#include <gtest/gtest.h>

#include <Eigen/Core>
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <unsupported/Eigen/AutoDiff>
#include <vector>

#include "each_set.hpp"
#include "support/callers_mode.hpp"

namespace ek_test {
namespace {

namespace detail = evenkeel::detail;
using detail::Curve;
using Real = long double;

template <typename C>
using Values = std::vector<C>;
template <typename C>
constexpr C kInfinity = std::numeric_limits<C>::infinity();

// The oracle.

Real logistic(Real x) { return 1 / (1 + std::exp(-x)); }
Real phi(Real z) { return std::exp(-z * z / 2) * 0.398942280401432677939946L; }
Real normal(Real z) { return std::erfc(-z * std::sqrt(0.5L)) / 2; }
constexpr Real kC1 = 1.595769121605730711759784L;  // sqrt(8 / pi)
Real tanh_exponent(Real z) { return kC1 * (z + 0.044715L * z * z * z); }

struct Activation {
  const char* name;
  Curve kind;
  Real (*value)(Real);
  Real (*slope)(Real);
  Real (*exponent)(Real);  // x of e^x in the tail: the oracle rounds it
  std::vector<double> changes;
};

const std::vector<Activation>& activations() {
  static const std::vector<Activation> all = {
      {"silu",
       Curve::silu,
       [](Real z) { return z * logistic(z); },
       [](Real z) { return logistic(z) * (1 + z * logistic(-z)); },
       [](Real z) { return z; },
       {-1.2784645, -17, -91.9, -103.5, -108, -110}},
      {"gelu",
       Curve::gelu,
       [](Real z) { return z * normal(z); },
       [](Real z) { return normal(z) + z * phi(z); },
       [](Real z) { return z * z / 2; },
       {-0.7517916, -13.1, -14.1, -14.3, -14.9}},
      {"gelu_tanh",
       Curve::gelu_tanh,
       [](Real z) { return z * logistic(tanh_exponent(z)); },
       [](Real z) {
         const Real x = tanh_exponent(z);
         return logistic(x) * (1 + z * kC1 * (1 + 3 * 0.044715L * z * z) * logistic(-x));
       },
       tanh_exponent,
       {-0.7524614, -10, -10.6, -10.75, -11}},
      {"tanh",
       Curve::tanh,
       [](Real z) { return std::tanh(z); },
       [](Real z) { return 4 * logistic(2 * z) * logistic(-2 * z); },
       [](Real z) { return 2 * z; },
       {9.01, 20, 43.7, 51.9, 55}},
      {"sigmoid",
       Curve::sigmoid,
       logistic,
       [](Real z) { return logistic(z) * logistic(-z); },
       [](Real z) { return z; },
       {-16.6, -87.3, -103.3, -104, -110}},
  };
  return all;
}

// What is tested.

template <typename C>
struct Set {
  const char* name;
  Index lanes;
  bool fuses;
  void (*values)(Curve, const C*, C*);
  void (*slopes)(Curve, const C*, C*);
};
template <typename C, typename Curves>
Set<C> set_of(const char* name, bool fuses) {
  return {name, Curves::kCount, fuses, Curves::values, Curves::slopes};
}
template <typename C>
std::vector<Set<C>> sets() {
  std::vector<Set<C>> all = {set_of<C, detail::one_by_one::Curves<C>>("one by one", false)};
#if EVENKEEL_HAS_VECTORS
  all.push_back(set_of<C, detail::baseline::Curves<C>>("baseline", false));
#if EVENKEEL_HAS_CHOICE
  if (has_avx2()) all.push_back(set_of<C, detail::avx2::Curves<C>>("AVX2", true));
  if (has_avx512()) all.push_back(set_of<C, detail::avx512::Curves<C>>("AVX-512", true));
  if (has_avx2() && !has_avx512())
    all.push_back(set_of<C, detail::emulated_avx512::Curves<C>>("emulated AVX-512", true));
#endif
#endif
  return all;
}

template <typename C>
Values<C> run(void (*function)(Curve, const C*, C*), Index lanes, Curve kind, Values<C> z) {
  const std::size_t count = z.size(), step = static_cast<std::size_t>(lanes);
  z.resize((count + step - 1) / step * step);
  Values<C> y(z.size());
  as_caller([&] {
    for (std::size_t i = 0; i < z.size(); i += step) function(kind, z.data() + i, y.data() + i);
  });
  y.resize(count);
  return y;
}

// Numbers.

template <typename C>
using Bits = std::conditional_t<sizeof(C) == 4, std::uint32_t, std::uint64_t>;
template <typename C>
C of_bits(Bits<C> bits) {
  C value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
template <typename C>
Bits<C> bits_of(C value) {
  Bits<C> bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

/// A unit in the last place of a C near value.
template <typename C>
Real unit_of(Real value) {
  using Limits = std::numeric_limits<C>;
  int exponent = 0;
  std::frexp(value, &exponent);
  return std::ldexp(1.0L, std::max(exponent, Limits::min_exponent) - Limits::digits);
}

/// Numbers of all sizes, and neighbours of 0, of where exponents are rounded, and of where an activation changes.
template <typename C>
Values<C> numbers(const Activation& a) {
  Values<C> z;
  if (sizeof(C) == 4) {
    for (std::uint64_t bits = 0; bits < std::uint64_t{1} << 32; bits += 7919)
      z.push_back(of_bits<C>(static_cast<Bits<C>>(bits)));
  } else {
    std::mt19937_64 generator(1);
    std::uniform_real_distribution<double> log_size(-40, 7), size(-40, 40);
    for (int i = 0; i < 20000; ++i) z.push_back(of_bits<C>(static_cast<Bits<C>>(generator())));
    for (int i = 0; i < 60000; ++i) {
      const double large = std::exp(log_size(generator));
      z.insert(z.end(), {static_cast<C>(large), static_cast<C>(-large), static_cast<C>(size(generator))});
    }
  }
  std::vector<double> centers = a.changes;
  for (int k = 1; k < 200; k += 2) centers.push_back(k * 0.34657359);
  for (const double center : centers) {
    const Bits<C> bits = bits_of(static_cast<C>(std::fabs(center)));
    for (Bits<C> b = bits - 200; b < bits + 200; ++b) z.insert(z.end(), {of_bits<C>(b), -of_bits<C>(b)});
  }
  for (Bits<C> b = 0; b < 2000; ++b) z.insert(z.end(), {of_bits<C>(b), -of_bits<C>(b)});
  z.erase(std::remove_if(z.begin(), z.end(), [](C v) { return !std::isfinite(v); }), z.end());
  return z;
}

/// That no y is further from what is right than bound(z, right).
template <typename C, typename F>
void expect_near(const std::string& what, const Values<C>& z, const Values<C>& y,
                 const std::vector<Real>& right, const F& bound) {
  Real most = 1;
  std::size_t worst = z.size();
  for (std::size_t i = 0; i < z.size(); ++i) {
    const Real error =
        std::fabs(static_cast<Real>(y[i]) - right[i]) / bound(static_cast<Real>(z[i]), right[i]);
    if (error <= most) continue;
    most = error;
    worst = i;
  }
  if (worst < z.size())
    ADD_FAILURE() << what << " of " << static_cast<Real>(z[worst]) << " is " << static_cast<Real>(y[worst])
                  << ", expected " << right[worst] << ", apart by " << most << " of what is allowed";
}

/// What the oracle's own rounding of an exponent may add.
Real of_oracle(const Activation& a, Real z, Real right) {
  return std::fabs(a.exponent(z) * right) * 4 * std::numeric_limits<Real>::epsilon();
}

template <typename C>
std::vector<Real> each(Real (*function)(Real), const Values<C>& z) {
  std::vector<Real> all;
  for (const C v : z) all.push_back(function(static_cast<Real>(v)));
  return all;
}

// Two units for float, as the headers promise. For double, gelu's tail is made of about eight rounded terms; without a
// fused multiply-add they are more.
template <typename C>
void test_values() {
  for (const Activation& a : activations()) {
    const Values<C> z = numbers<C>(a);
    const std::vector<Real> right = each(a.value, z);
    for (const Set<C>& set : sets<C>()) {
      const Real units = sizeof(C) == 4 ? 2 : set.fuses ? 4 : 5;
      expect_near(
          std::string(a.name) + ", " + set.name, z, run(set.values, set.lanes, a.kind, z), right,
          [&](Real at, Real y) { return units * unit_of<C>(y) + of_oracle(a, at, y) + flushed<C>(); });
    }
  }
}

// Tails keep their digits. Elsewhere slopes have those of 1.
template <typename C>
void test_slopes() {
  const Real tail_units = sizeof(C) == 4 ? 4 : 6, units_of_1 = sizeof(C) == 4 ? 1 : 1.5L;
  for (const Activation& a : activations()) {
    const Values<C> z = numbers<C>(a);
    const std::vector<Real> right = each(a.slope, z);
    for (const Set<C>& set : sets<C>()) {
      expect_near(std::string("slope of ") + a.name + ", " + set.name, z,
                  run(set.slopes, set.lanes, a.kind, z), right, [&](Real at, Real slope) {
                    const Real units = at < -3 ? tail_units * unit_of<C>(slope)
                                               : units_of_1 * std::numeric_limits<C>::epsilon();
                    return units + of_oracle(a, at, slope) + flushed<C>();
                  });
    }
  }
}

TEST(Activations, OfFloat) { test_values<float>(); }
TEST(Activations, SlopesOfFloat) { test_slopes<float>(); }
#if LDBL_MANT_DIG >= 64  // where the oracle has more digits than double
TEST(Activations, OfDouble) { test_values<double>(); }
TEST(Activations, SlopesOfDouble) { test_slopes<double>(); }
#endif

template <typename C>
void test_ends() {
  constexpr C kMost = (std::numeric_limits<C>::max)(), kNan = std::numeric_limits<C>::quiet_NaN();
  for (const Set<C>& set : sets<C>()) {
    for (const Activation& a : activations()) {
      SCOPED_TRACE(std::string(a.name) + ", " + set.name);
      const bool is_gated = a.value(9) > 2;
      const Values<C> z = {kInfinity<C>, kMost, C(0), C(-0.0), -kMost, -kInfinity<C>, kNan, -kNan};
      const Values<C> y = run(set.values, set.lanes, a.kind, z),
                      slopes = run(set.slopes, set.lanes, a.kind, z);
      const C least = a.kind == Curve::tanh ? C(-1) : C(0);
      EXPECT_EQ(y[0], is_gated ? kInfinity<C> : C(1));
      EXPECT_EQ(y[1], is_gated ? kMost : C(1));
      EXPECT_EQ(y[2], a.kind == Curve::sigmoid ? C(0.5) : C(0));
      EXPECT_EQ(y[3], y[2]);
      EXPECT_EQ(std::signbit(y[2]), false);
      EXPECT_EQ(std::signbit(y[3]), a.kind != Curve::sigmoid);
      EXPECT_EQ(y[4], least);
      EXPECT_EQ(y[5], least);
      EXPECT_TRUE(std::isnan(y[6]) && std::isnan(y[7]));
      EXPECT_EQ(slopes[0], is_gated ? C(1) : C(0));
      EXPECT_EQ(slopes[1], slopes[0]);
      EXPECT_EQ(slopes[4], C(0));
      EXPECT_EQ(slopes[5], C(0));
      EXPECT_TRUE(std::isnan(slopes[6]) && std::isnan(slopes[7]));
    }
  }
}
TEST(Activations, EndsOfFloat) { test_ends<float>(); }
TEST(Activations, EndsOfDouble) { test_ends<double>(); }

// A lane has the same bits whatever lies beside it.
template <typename C>
void test_lanes() {
  const Values<C> z = {C(-90), C(-1.3), C(-1e-3), C(-0.0), C(0.7), C(3), C(100)};
  const Values<C> beside = {C(0), kInfinity<C>, std::numeric_limits<C>::quiet_NaN(), C(-1e30), C(0.3)};
  for (const Set<C>& set : sets<C>()) {
    for (const Activation& a : activations()) {
      for (const auto function : {set.values, set.slopes}) {
        const Values<C> alone = run(function, set.lanes, a.kind, z);
        for (std::size_t i = 0; i < z.size(); ++i) {
          for (const C other : beside) {
            Values<C> in(static_cast<std::size_t>(set.lanes), other);
            for (std::size_t lane = 0; lane < in.size(); ++lane) {
              in[lane] = z[i];
              EXPECT_EQ(bits_of(run(function, set.lanes, a.kind, in)[lane]), bits_of(alone[i]))
                  << a.name << ", " << set.name << ", " << z[i];
              in[lane] = other;
            }
          }
        }
      }
    }
  }
}
TEST(Activations, LanesOfFloat) { test_lanes<float>(); }
TEST(Activations, LanesOfDouble) { test_lanes<double>(); }

TEST(Activations, SlopesAreDifferences) {
  const double h = 0x1p-12;
  Values<double> z, low, high;
  for (int i = -800; i <= 800; ++i) {
    z.push_back(i / 64.0);
    low.push_back(z.back() - h);
    high.push_back(z.back() + h);
  }
  for (const Set<double>& set : sets<double>()) {
    for (const Activation& a : activations()) {
      const Values<double> below = run(set.values, set.lanes, a.kind, low),
                           above = run(set.values, set.lanes, a.kind, high),
                           slopes = run(set.slopes, set.lanes, a.kind, z);
      // h^2 / 6 times a third derivative of at most 4; values of up to 12 with 4 units of error, divided by 2 h.
      for (std::size_t i = 0; i < z.size(); ++i)
        EXPECT_NEAR(slopes[i], (above[i] - below[i]) / (2 * h), 4.1e-8)
            << a.name << ", " << set.name << ", " << z[i];
    }
  }
}

// A type that has only the functions of Eigen's own, and gelu with the digits of double.
TEST(Activations, OfAutodiff) {
  using Dual = Eigen::AutoDiffScalar<Eigen::Matrix<double, 1, 1>>;
  using Curves = detail::one_by_one::Curves<Dual>;
  for (const Activation& a : activations()) {
    for (int i = -160; i <= 160; ++i) {
      const double at = i / 16.0;
      const Dual z(at, 1, 0);
      Dual y, slope;
      Curves::values(a.kind, &z, &y);
      Curves::slopes(a.kind, &z, &slope);
      // A few roundings of numbers of the size of y, of 1 and of the slope's terms, which are less than 100.
      EXPECT_NEAR(y.value(), static_cast<double>(a.value(at)), 1e-14) << a.name << ", " << at;
      EXPECT_NEAR(y.derivatives()[0], static_cast<double>(a.slope(at)), 1e-13) << a.name << ", " << at;
      EXPECT_NEAR(slope.value(), static_cast<double>(a.slope(at)), 1e-14) << a.name << ", " << at;
    }
  }
}

TEST(Activations, OfLongDouble) {
  using Curves = detail::one_by_one::Curves<Real>;
  for (const Activation& a : activations()) {
    for (int i = -640; i <= 640; ++i) {
      const Real z = i / 32.0L, unit = std::numeric_limits<Real>::epsilon();
      Real y = 0, slope = 0;
      Curves::values(a.kind, &z, &y);
      Curves::slopes(a.kind, &z, &slope);
      // A few roundings, and those of an exponent on both sides.
      const Real bound = unit * (8 + 8 * std::fabs(a.exponent(z)));
      ASSERT_LE(std::fabs(y - a.value(z)), bound * std::fabs(a.value(z))) << a.name << ", " << z;
      ASSERT_LE(std::fabs(slope - a.slope(z)), bound) << a.name << ", " << z;
    }
  }
}

TEST(Activations, AnyOtherIsNone) {
  for (const Set<float>& set : sets<float>()) {
    for (const Curve kind : {Curve::none, Curve::clip}) {
      EXPECT_EQ(run(set.values, set.lanes, kind, Values<float>{-3}), Values<float>{-3});
      EXPECT_EQ(run(set.slopes, set.lanes, kind, Values<float>{-3}), Values<float>{1});
    }
  }
}

}  // namespace
}  // namespace ek_test
