// backward against central differences of forward.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <string>
#include <vector>

#include "contract.hpp"
#include "data.hpp"
#include "finite_differences.hpp"
#include "shape.hpp"

namespace ek_test {

/// An epsilon that keeps the curvature low where a set has two close values: finite differences need that.
constexpr double kSmoothEpsilon = 0.1;

/// The gradients of sum(weights * y) with respect to x, gamma and beta, in double.
template <int kOrder, typename Layer>
void expect_gradients(Layer& layer, const Shape& shape) {
  SCOPED_TRACE(to_string(shape) + (kOrder == Eigen::RowMajor ? " row-major" : " column-major"));
  randomize_parameters(layer);
  const Index size = size_of(shape);
  std::vector<double> x = random_values<double>(size, 0.5, 1, 21), y(at(size)), dx(at(size));
  const std::vector<double> weights = random_values<double>(size, 0.25, 1, 22);
  auto x_view = view<kOrder>(x.data(), shape), y_view = view<kOrder>(y.data(), shape),
       dx_view = view<kOrder>(dx.data(), shape);

  const auto loss = [&] {
    layer.forward(x_view, y_view);
    double sum = 0;
    for (std::size_t i = 0; i < y.size(); ++i) sum += weights[i] * y[i];
    return sum;
  };
  loss();
  layer.backward(x_view, view<kOrder>(weights.data(), shape), dx_view);
  const std::vector<Real> dgamma = to_real(layer.grad_gamma()), dbeta = to_real(layer.grad_beta());

  EXPECT_LT(relative_error(dx, central_differences(x, loss)), 1e-7) << "x";
  EXPECT_LT(relative_error(dgamma, central_differences(layer.gamma(), loss)), 1e-7) << "gamma";
  EXPECT_LT(relative_error(dbeta, central_differences(layer.beta(), loss)), 1e-7) << "beta";
}

/// What holds for any norm that subtracts a mean and divides by a standard deviation, with epsilon 0.
///
///   dx sums to 0 over a set, because y does not see a shift; dx is orthogonal to xhat, because y does not
///   see a scale; y(x + c) = y(x); y(s x) = y(x); dx(s x) = dx(x) / s
///
/// A norm without a mean sees a shift.
template <int kOrder, typename Scalar, typename Layer>
void expect_identities(Layer& layer, const IndexMap& map, const Shape& shape) {
  SCOPED_TRACE(to_string(shape) + (kOrder == Eigen::RowMajor ? " row-major" : " column-major"));
  using Bound = Tolerance<Scalar>;
  randomize_parameters(layer);
  // Multiples of 1 / 64 below 2^5, so that neither adding 1024 nor multiplying by 8 rounds in float.
  std::vector<Scalar> x = random_values<Scalar>(map.size(), 1, 3, 31);
  for (Scalar& value : x) value = std::round(value * 64) / 64;
  const std::vector<Scalar> dy = random_values<Scalar>(map.size(), 0.5, 1, 32);

  struct Result {
    std::vector<Scalar> y, dx;
  };
  const auto run = [&](Scalar scale, Scalar shift) {
    std::vector<Scalar> moved = x;
    for (Scalar& value : moved) value = value * scale + shift;
    Result result{std::vector<Scalar>(x.size()), std::vector<Scalar>(x.size())};
    auto y = view<kOrder>(result.y.data(), shape), dx = view<kOrder>(result.dx.data(), shape);
    const auto input = view<kOrder>(moved.data(), shape);
    layer.forward(input, y);
    layer.backward(input, view<kOrder>(dy.data(), shape), dx);
    return result;
  };

  const Result plain = run(1, 0);
  const Reference reference(map, x, 0);
  const ReferenceGradients expected = reference_backward(map, reference, dy, to_real(layer.gamma()));
  std::vector<Sum> sum(at(map.sets)), product(at(map.sets));
  for (std::size_t i = 0; i < x.size(); ++i) {
    sum[at(map.set[i])].add(static_cast<Real>(plain.dx[i]));
    product[at(map.set[i])].add(static_cast<Real>(plain.dx[i]) * reference.normalized[i]);
  }
  for (std::size_t set = 0; set < at(map.sets); ++set) {
    // Each element of dx may be off by Bound::x * scale, and xhat has a mean square of 1.
    const Real bound = Bound::x * expected.x_scale[set] * static_cast<Real>(reference.count[set]);
    if (map.has_mean) {
      EXPECT_LE(std::fabs(sum[set].value()), bound) << "sum of dx over set " << set;
    }
    EXPECT_LE(std::fabs(product[set].value()), bound) << "dx times xhat over set " << set;
  }

  const std::vector<Real> y = converted<Real>(plain.y);
  ReferenceGradients dx = expected;
  dx.x = converted<Real>(plain.dx);
  const Result shifted = run(1, 1024), scaled = run(8, 0);
  if (map.has_mean) {
    EXPECT_LE(forward_error(map, shifted.y, y), 2 * Bound::y) << "y of x + 1024";
    EXPECT_LE(backward_error(map, shifted.dx, dx), 2 * Bound::x) << "dx of x + 1024";
  }
  EXPECT_LE(forward_error(map, scaled.y, y), 2 * Bound::y) << "y of 8 x";
  std::vector<Scalar> unscaled = scaled.dx;
  for (Scalar& value : unscaled) value *= 8;
  EXPECT_LE(backward_error(map, unscaled, dx), 2 * Bound::x) << "dx of 8 x";
}

/// A set of equal values gives exactly beta, whatever the value, and infer does so too where it uses the
/// input alone.
template <int kOrder, typename Scalar, typename Layer>
void expect_beta_of_constant_sets(Layer& layer, const IndexMap& map, const Shape& shape) {
  SCOPED_TRACE(to_string(shape) + (kOrder == Eigen::RowMajor ? " row-major" : " column-major"));
  randomize_parameters(layer);
  for (double value : {0.0, 1.0, -1234.0, 0.1, 1e6 + 0.3, 1e-20}) {
    std::vector<Scalar> x, expected;
    for (Index i = 0; i < map.size(); ++i) {
      x.push_back(static_cast<Scalar>(value * (1 + 0.3 * static_cast<double>(map.set[at(i)] % 5))));
      expected.push_back(layer.beta().size() ? layer.beta()[map.parameter[at(i)]] : Scalar(0));
    }
    const auto input = view<kOrder>(x.data(), shape);
    std::vector<Scalar> y(x.size(), Scalar(-1));
    layer.forward(input, view<kOrder>(y.data(), shape));
    EXPECT_EQ(y, expected) << "forward of " << value;
    if (!infers_by_running_statistics(layer)) {
      std::vector<Scalar> inferred(x.size(), Scalar(-1));
      layer.infer(input, view<kOrder>(inferred.data(), shape));
      EXPECT_EQ(inferred, expected) << "infer of " << value;
    }
  }
}

}  // namespace ek_test
