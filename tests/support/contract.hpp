// Runs a layer against the oracle and holds it to the numbers that the library promises.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <evenkeel/evenkeel.hpp>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "callers_mode.hpp"
#include "data.hpp"
#include "error.hpp"
#include "reference.hpp"
#include "shape.hpp"

namespace ek_test {

namespace ek = evenkeel;

/// What a typed test is instantiated with.
template <typename S, int kStorageOrder>
struct Case {
  using Scalar = S;
  static constexpr int kOrder = kStorageOrder;
};

template <typename Scalar>
using RowMajorCase = Case<Scalar, Eigen::RowMajor>;
template <typename Scalar>
using ColMajorCase = Case<Scalar, Eigen::ColMajor>;

/// One layout of each type that is computed by vectors, where a test takes long: the library has no other code for the
/// other, but for what tells which axis is which.
using LongCases = ::testing::Types<RowMajorCase<float>, ColMajorCase<double>>;

/// What is computed by vectors; and long double too, which goes one element at a time. Sanitizers see one layout of each.
#ifdef EK_TEST_ONE_LAYOUT
using VectorCases = LongCases;
using NumericCases = ::testing::Types<RowMajorCase<float>, ColMajorCase<double>, RowMajorCase<long double>>;
#else
using VectorCases =
    ::testing::Types<RowMajorCase<float>, ColMajorCase<float>, RowMajorCase<double>, ColMajorCase<double>>;
using NumericCases = ::testing::Types<RowMajorCase<float>, ColMajorCase<float>, RowMajorCase<double>,
                                      ColMajorCase<double>, RowMajorCase<long double>>;
#endif

/// Names of typed tests: float_row_major and so on.
struct CaseName {
  template <typename C>
  static std::string GetName(int) {
    using Scalar = typename C::Scalar;
    const std::string scalar = std::is_same_v<Scalar, float>             ? "float"
                               : std::is_same_v<Scalar, double>          ? "double"
                               : std::is_same_v<Scalar, Eigen::half>     ? "half"
                               : std::is_same_v<Scalar, Eigen::bfloat16> ? "bfloat16"
                                                                         : "long_double";
    return scalar + (C::kOrder == Eigen::RowMajor ? "_row_major" : "_col_major");
  }
};

template <int kOrder, typename T>
auto view(T* data, const Shape& shape) {
  if constexpr (kOrder == Eigen::RowMajor)
    return ek::view(data, shape, ek::row_major);
  else
    return ek::view(data, shape, ek::col_major);
}

template <int kOrder, typename T>
auto view(Buffer<T>& buffer, const Shape& shape) {
  return view<kOrder>(buffer.data(), shape);
}

template <int kOrder, typename T>
auto view(const Buffer<T>& buffer, const Shape& shape) {
  return view<kOrder>(buffer.data(), shape);
}

template <typename Array>
std::vector<Real> to_real(const Array& array) {
  std::vector<Real> result(at(array.size()));
  for (Index i = 0; i < array.size(); ++i) result[at(i)] = static_cast<Real>(array[i]);
  return result;
}

/// Random parameters of both signs.
template <typename Layer>
void randomize_parameters(Layer& layer) {
  using Scalar = std::decay_t<decltype(layer.gamma()[0])>;
  const auto gamma = random_values<Scalar>(layer.gamma().size(), 1, 0.5, 11);
  const auto beta = random_values<Scalar>(layer.beta().size(), 0, 1, 12);
  for (Index i = 0; i < layer.gamma().size(); ++i) layer.gamma()[i] = gamma[at(i)];
  for (Index i = 0; i < layer.beta().size(); ++i) layer.beta()[i] = beta[at(i)];
}

template <typename Layer, typename = void>
struct HasRunningStatistics : std::false_type {};
template <typename Layer>
struct HasRunningStatistics<Layer, std::void_t<decltype(std::declval<Layer&>().running_mean())>>
    : std::true_type {};

/// Whether infer takes running statistics, and not those of the input.
template <typename Layer>
bool infers_by_running_statistics([[maybe_unused]] const Layer& layer) {
  if constexpr (HasRunningStatistics<Layer>::value) return layer.running_mean().size() > 0;
  return false;
}

/// Forward, backward and, for the layers that infer from the input alone, infer.
template <int kOrder, typename Layer, typename Scalar>
void expect_contract(Layer& layer, const IndexMap& map, const Shape& shape, const std::vector<Scalar>& x,
                     const std::vector<Scalar>& dy, double epsilon = 1e-5) {
  const std::string trace = to_string(shape) + (kOrder == Eigen::RowMajor ? " row-major" : " column-major");
  SCOPED_TRACE(trace);
  using Bound = Tolerance<Scalar>;
  randomize_parameters(layer);
  const std::vector<Real> gamma = to_real(layer.gamma()), beta = to_real(layer.beta());
  const Reference reference(map, x, epsilon);
  const std::vector<Real> y = reference_forward(map, reference, gamma, beta);

  const Buffer<Scalar> x_buffer(x), dy_buffer(dy);
  Buffer<Scalar> y_buffer(map.size()), dx_buffer(map.size());
  const auto x_view = view<kOrder>(x_buffer, shape), dy_view = view<kOrder>(dy_buffer, shape);
  auto y_view = view<kOrder>(y_buffer, shape), dx_view = view<kOrder>(dx_buffer, shape);

  as_caller([&] { layer.forward(x_view, y_view); });
  EXPECT_LE(forward_error(map, y_buffer.values(), y), Bound::y) << "y of forward";
  EXPECT_TRUE(y_buffer.padding_intact()) << "forward wrote beside y";

  // The saved mean, on the scale of y, is as good as y, but for its own rounding to one number.
  const Real unit = std::numeric_limits<std::decay_t<decltype(layer.saved_mean()[0])>>::epsilon();
  const std::vector<Real> saved_mean = map.has_mean ? reference.mean : std::vector<Real>();
  EXPECT_LE(largest_error(layer.saved_mean(), saved_mean,
                          [&](std::size_t set) {
                            return 1 / reference.inv_std[set] +
                                   unit / Bound::y * std::fabs(reference.mean[set]);
                          }),
            Bound::y)
      << "saved_mean";
  EXPECT_LE(largest_error(layer.saved_inv_std(), reference.inv_std,
                          [&](std::size_t set) { return reference.inv_std[set]; }),
            Bound::y)
      << "saved_inv_std";

  as_caller([&] { layer.backward(x_view, dy_view, dx_view); });
  const ReferenceGradients expected = reference_backward(map, reference, dy, gamma);
  EXPECT_LE(backward_error(map, dx_buffer.values(), expected), Bound::x) << "dx";
  EXPECT_TRUE(dx_buffer.padding_intact()) << "backward wrote beside dx";
  if (!gamma.empty()) {
    EXPECT_LE(largest_error(
                  layer.grad_gamma(), expected.gamma,
                  [&](std::size_t p) { return expected.gamma_scale[p] + flushed<Scalar>() / Bound::sum; }),
              Bound::sum)
        << "grad_gamma";
  }
  if (!beta.empty()) {
    EXPECT_LE(
        largest_error(layer.grad_beta(), expected.beta,
                      [&](std::size_t p) { return expected.beta_scale[p] + flushed<Scalar>() / Bound::sum; }),
        Bound::sum)
        << "grad_beta";
  }

  if (!infers_by_running_statistics(layer)) {
    Buffer<Scalar> inferred(map.size());
    auto inferred_view = view<kOrder>(inferred, shape);
    as_caller([&] { static_cast<const Layer&>(layer).infer(x_view, inferred_view); });
    EXPECT_LE(forward_error(map, inferred.values(), y), Bound::y) << "y of infer";
    EXPECT_TRUE(inferred.padding_intact()) << "infer wrote beside y";
  }
  EXPECT_TRUE(x_buffer.padding_intact() && dy_buffer.padding_intact()) << "wrote beside an input";
}

/// The same at means that are far from 0 compared with the std of 1.
template <int kOrder, typename Scalar, typename Layer>
void expect_contract_at_far_means(Layer& layer, const IndexMap& map, const Shape& shape) {
  const std::vector<Scalar> dy = random_values<Scalar>(map.size(), 0.5, 1, 2);
  for (double mean : {0.0, 1e2, 1e4, 1e6}) {
    // Without a promise of its own, long double is held to means whose own rounding stays below the bound.
    if (std::is_same_v<Scalar, long double> && mean > 1e2) continue;
    SCOPED_TRACE("mean " + std::to_string(mean));
    expect_contract<kOrder>(layer, map, shape, random_values<Scalar>(map.size(), mean, 1, 1), dy);
  }
}

/// The same where the mean drifts along memory, and where one value in a constant set is another.
template <int kOrder, typename Scalar, typename Layer>
void expect_contract_on_uneven_data(Layer& layer, const IndexMap& map, const Shape& shape) {
  const std::vector<Scalar> dy = random_values<Scalar>(map.size(), 0.5, 1, 2);
  {
    SCOPED_TRACE("drift");
    expect_contract<kOrder>(layer, map, shape, drifting_values<Scalar>(map.size(), 100, 3), dy);
  }
  for (double level : {0.0, 1234.0})
    for (double step : {0.0, 0.0625, 1e4}) {
      SCOPED_TRACE("constant " + std::to_string(level) + " with an outlier of " + std::to_string(step));
      expect_contract<kOrder>(layer, map, shape, constant_with_outliers<Scalar>(map, level, step), dy);
    }
}

template <int kOrder, typename Scalar, typename Layer>
void expect_contract_on_hard_data(Layer& layer, const IndexMap& map, const Shape& shape) {
  expect_contract_at_far_means<kOrder, Scalar>(layer, map, shape);
  expect_contract_on_uneven_data<kOrder, Scalar>(layer, map, shape);
}

}  // namespace ek_test
