// What can be fused into a pass: activations, residuals, masks, an offset of gamma. By the kernels of each instruction
// set.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "support/data.hpp"
#include "support/instruction_sets.hpp"

namespace ek_test {
namespace {

namespace detail = evenkeel::detail;
using Floats = std::vector<float>;
using Doubles = std::vector<double>;

constexpr Index kRows = 5, kLanes = 37, kSize = kRows * kLanes;
constexpr double kTolerance = 1e-5;  // a hundred roundings of numbers of about 1

Floats some(unsigned seed) { return random_values<float>(kSize + detail::kPadding, 0, 1, seed); }

const detail::Activation<float> kLeaky = {detail::Curve::clip, 0.125F, -0.25F, 1.5F};

double activated(double v) { return std::min(std::max(v < 0 ? 0.125 * v : v, -0.25), 1.5); }

void expect_near(float got, double expected) { EXPECT_NEAR(static_cast<double>(got), expected, kTolerance); }

const Floats x = some(1), dy = some(2), mask = some(3), residual = some(4), c0 = some(5), c1 = some(6),
             c2 = some(7), c3 = some(8);

const detail::Epilogue<float> kNothing{}, kFused = {residual.data(), nullptr, kLeaky};

double at(const Floats& values, Index i) { return static_cast<double>(values[static_cast<std::size_t>(i)]); }

void test_OfLines(const InstructionSet<float>& set) {
  std::vector<Index> offsets;
  for (Index r = 0; r < kRows; ++r) offsets.push_back(r * kLanes);
  const detail::Lines line = {1, 0, 1, 0, kLanes};
  for (const bool gradients : {false, true}) {
    Doubles first(kRows), second(kRows);
    set.kernels.sum_lines_with_options()(
        detail::SumLines<float>{x.data(), gradients ? dy.data() : nullptr, mask.data(), offsets.data(), kRows,
                                line, 0, kLanes, c0.data(), first.data(), second.data()});
    Floats out(kSize);
    const auto map = gradients ? set.kernels.map_gradients_of_lines() : set.kernels.map_lines_with_options();
    map(detail::MapLines<float>{x.data(),
                                gradients ? dy.data() : nullptr,
                                out.data(),
                                offsets.data(),
                                kRows,
                                line,
                                0,
                                kLanes,
                                {c0.data(), c1.data(), c2.data(), c3.data()},
                                0,
                                false,
                                gradients ? kNothing : kFused});
    for (Index r = 0; r < kRows; ++r) {
      double f = 0, s = 0;
      for (Index i = r * kLanes; i < (r + 1) * kLanes; ++i) {
        const double d = at(x, i) - at(c0, r),
                     value = d * at(c1, r) + at(c2, r) + (gradients ? at(dy, i) * at(c3, r) : 0);
        expect_near(out[static_cast<std::size_t>(i)], gradients ? value : activated(value + at(residual, i)));
        if (at(mask, i) <= 0) continue;
        f += gradients ? at(dy, i) : d;
        s += gradients ? at(dy, i) * d : d * d;
      }
      EXPECT_NEAR(first[static_cast<std::size_t>(r)], f, kTolerance);
      EXPECT_NEAR(second[static_cast<std::size_t>(r)], s, kTolerance);
    }
  }
}

void test_OfColumns(const InstructionSet<float>& set) {
  for (const bool gradients : {false, true}) {
    Doubles first(kLanes + detail::kPadding), second(kLanes + detail::kPadding);
    set.kernels.sum_columns_with_options()(
        detail::SumColumns<float>{x.data(), gradients ? dy.data() : nullptr, mask.data(), nullptr, kRows,
                                  kLanes, kLanes, c0.data(), first.data(), second.data()});
    Floats out(kSize);
    set.kernels.map_columns_with_options()(
        detail::MapColumns<float>{x.data(),
                                  gradients ? dy.data() : nullptr,
                                  out.data(),
                                  nullptr,
                                  nullptr,
                                  kRows,
                                  kLanes,
                                  kLanes,
                                  {c0.data(), c1.data(), c2.data(), c3.data()},
                                  0,
                                  false,
                                  gradients ? kNothing : kFused,
                                  gradients ? residual.data() : nullptr});
    for (Index l = 0; l < kLanes; ++l) {
      double f = 0, s = 0;
      for (Index i = l; i < kSize; i += kLanes) {
        const double d = at(x, i) - at(c0, l),
                     value = d * at(c1, l) + at(c2, l) + (gradients ? at(dy, i) * at(c3, l) : 0);
        const double z = value + at(residual, i);
        expect_near(out[static_cast<std::size_t>(i)], gradients ? z : activated(z));
        if (at(mask, i) <= 0) continue;
        f += gradients ? at(dy, i) : d;
        s += gradients ? at(dy, i) * d : d * d;
      }
      EXPECT_NEAR(first[static_cast<std::size_t>(l)], f, kTolerance);
      EXPECT_NEAR(second[static_cast<std::size_t>(l)], s, kTolerance);
    }
  }
}

void test_OfWidePasses(const InstructionSet<float>& set) {
  const detail::Lines rows = {1, 0, kRows, kLanes, kLanes};
  const double center = 0.25, slope = 1.5, level = 0.5;
  double first[1 + detail::kPadding], second[1 + detail::kPadding], f = 0, s = 0;
  set.kernels.sum_wide()(detail::SumWide<float>{x.data(), nullptr, mask.data(), nullptr, nullptr, rows,
                                                detail::WideShare::all, &center, nullptr, nullptr, first,
                                                second});
  Floats out(kSize);
  detail::MapWide<float> a{};
  a.x = x.data();
  a.out = out.data();
  a.lines = rows;
  a.c[0] = &center;
  a.c[1] = &slope;
  a.c[2] = &level;
  a.epilogue = kFused;
  a.apply_epilogue = set.kernels.apply_epilogue();
  set.kernels.map_wide()(a);
  for (Index i = 0; i < kSize; ++i) {
    const double d = at(x, i) - center;
    expect_near(out[static_cast<std::size_t>(i)], activated(d * slope + level + at(residual, i)));
    if (at(mask, i) <= 0) continue;
    f += d;
    s += d * d;
  }
  EXPECT_NEAR(first[0], f, kTolerance);
  EXPECT_NEAR(second[0], s, 1e-9 * s);
}

// y = activation(norm(x + skip) + residual), with rows short and long.
void test_OfRows(const InstructionSet<float>& set) {
  for (const Index n : {kLanes, Index(700)}) {
    for (const bool rms : {false, true}) {
      const Floats in = random_values<float>(3 * n, 1, 1, 11), skip = random_values<float>(3 * n, 1, 1, 12),
                   more = random_values<float>(3 * n, 0, 1, 13), gamma = random_values<float>(n, 0, 1, 14),
                   beta = random_values<float>(n, 0, 1, 15);
      Floats y(in.size()), sum(in.size());
      Doubles inv_std(3);
      unsigned char outside[3];
      detail::NormalizeRows<float> a{};
      a.x = in.data();
      a.y = y.data();
      a.rows = 3;
      a.n = a.stride = n;
      a.gamma = gamma.data();
      if (!rms) a.beta = beta.data();
      a.epsilon = 1e-5;
      a.inv_std = inv_std.data();
      a.outside = outside;
      a.gamma_offset = 1;
      a.skip = skip.data();
      a.sum = sum.data();
      a.epilogue = {more.data(), nullptr, kLeaky};
      const auto normalize =
          rms ? set.kernels.normalize_rms_rows_with_options() : set.kernels.normalize_rows_with_options();
      EXPECT_EQ(normalize(a), 0);
      for (Index r = 0; r < 3; ++r) {
        double mean = 0, squares = 0;
        for (Index i = r * n; i < (r + 1) * n; ++i)
          mean += rms ? 0 : (at(in, i) + at(skip, i)) / static_cast<double>(n);
        for (Index i = r * n; i < (r + 1) * n; ++i) squares += std::pow(at(in, i) + at(skip, i) - mean, 2);
        const double expected = 1 / std::sqrt(squares / static_cast<double>(n) + 1e-5);
        EXPECT_NEAR(inv_std[static_cast<std::size_t>(r)], expected, kTolerance);
        for (Index i = r * n; i < (r + 1) * n; ++i) {
          const double xhat = (at(in, i) + at(skip, i) - mean) * expected;
          expect_near(sum[static_cast<std::size_t>(i)], at(in, i) + at(skip, i));
          expect_near(
              y[static_cast<std::size_t>(i)],
              activated(xhat * (at(gamma, i - r * n) + 1) + (rms ? 0 : at(beta, i - r * n)) + at(more, i)));
        }
      }
    }
  }
}

// dx of rows, and what is added to it.
void test_plus(const InstructionSet<float>& set) {
  for (const Index n : {Index(16), kLanes, Index(700)}) {
    const Index rows = 9;
    const Floats in = random_values<float>(rows * n, 0, 1, 21),
                 out = random_values<float>(rows * n, 0, 1, 22),
                 more = random_values<float>(rows * n, 0, 1, 23), weights = random_values<float>(n, 1, 1, 24);
    const Doubles mean(static_cast<std::size_t>(rows), 0.25), inv_std(static_cast<std::size_t>(rows), 0.5);
    Floats scratch(static_cast<std::size_t>(4 * n)), dx(in.size()), dx_plus(in.size());
    unsigned char outside[9];
    detail::RowGradients<float> a{};
    a.x = in.data();
    a.dy = out.data();
    a.dx = dx.data();
    a.rows = rows;
    a.n = a.stride = n;
    a.weights = weights.data();
    a.mean = mean.data();
    a.inv_std = inv_std.data();
    a.scratch = scratch.data();
    a.outside = outside;
    EXPECT_EQ(set.kernels.row_gradients()(a), 0);
    a.dx = dx_plus.data();
    a.plus = more.data();
    EXPECT_EQ(set.kernels.row_gradients_with_options()(a), 0);
    for (Index i = 0; i < rows * n; ++i)
      expect_near(dx_plus[static_cast<std::size_t>(i)], at(dx, i) + at(more, i));
  }
}

TEST(Options, OfLines) {
  for (const auto& set : instruction_sets<float>()) {
    SCOPED_TRACE(set.name);
    test_OfLines(set);
  }
}
TEST(Options, OfColumns) {
  for (const auto& set : instruction_sets<float>()) {
    SCOPED_TRACE(set.name);
    test_OfColumns(set);
  }
}
TEST(Options, OfWidePasses) {
  for (const auto& set : instruction_sets<float>()) {
    SCOPED_TRACE(set.name);
    test_OfWidePasses(set);
  }
}
TEST(Options, OfRows) {
  for (const auto& set : instruction_sets<float>()) {
    SCOPED_TRACE(set.name);
    test_OfRows(set);
  }
}
TEST(Options, PlusOfRows) {
  for (const auto& set : instruction_sets<float>()) {
    SCOPED_TRACE(set.name);
    test_plus(set);
  }
}

}  // namespace
}  // namespace ek_test
