// Calls on a few rows, which go straight to a kernel: they have the bits, the errors and the range of other calls.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <evenkeel/evenkeel.hpp>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/contract.hpp"
#include "support/data.hpp"
#include "support/same.hpp"
#include "support/state.hpp"

namespace ek_test {
namespace {

/// Layers, and calls on rows of n neighbours.
template <typename C>
struct CallsOf {
  using S = typename C::Scalar;
  using Param = ek::ParamOf<S>;
  using Batch = ek::BatchNorm<S>;
  using Layer = ek::LayerNorm<S>;
  using Values = std::vector<S>;

  static constexpr bool kIsRowMajor = C::kOrder == Eigen::RowMajor;
  static constexpr Index kAxis = kIsRowMajor ? 1 : 0;  // that of neighbours
  static Shape shape_of(Index rows, Index n) { return kIsRowMajor ? Shape{rows, n} : Shape{n, rows}; }

  template <typename T>
  static auto view_of(T* data, Index rows, Index n) {
    return view<C::kOrder>(data, shape_of(rows, n));
  }
  template <typename T>
  static auto view_of(std::vector<T>& values, Index n) {
    return view_of(values.data(), static_cast<Index>(values.size()) / n, n);
  }

  static Batch batch_norm(Index channels, double epsilon = 1e-5, bool affine = true) {
    ek::BatchNormOptions options;
    options.axis = kAxis;
    options.epsilon = epsilon;
    options.affine = affine;
    Batch layer(channels, options);
    randomize_parameters(layer);
    using Statistic = ek::StatisticOf<S>;
    const auto mean = random_values<Statistic>(channels, 3, 1, 13);  // with digits that no float has
    ek::Vector<Statistic> means(channels), variances(channels);
    for (Index c = 0; c < channels; ++c) {
      means[c] = mean[at(c)];
      variances[c] = static_cast<Statistic>(0.3 + 0.1 * static_cast<double>(c % 7));
    }
    layer.set_running_stats(means, variances);
    layer.running_mean()[channels / 2] = static_cast<Param>(3);  // was assigned
    return layer;
  }
  static Layer layer_norm(Index features, double epsilon = 1e-5, bool affine = true) {
    ek::LayerNormOptions options;
    options.axis = kAxis;
    options.epsilon = epsilon;
    options.affine = affine;
    Layer layer(features, options);
    randomize_parameters(layer);
    return layer;
  }

  template <typename Norm>
  static Values infer(const Norm& layer, Values x, Index n) {
    Values y(x.size());
    layer.infer(view_of(x, n), view_of(y, n));
    return y;
  }
  /// The second forward of a shape, after one of other values.
  static Values forward_again(Layer& layer, Values x, Index n) {
    Values y = random_values<S>(static_cast<Index>(x.size()), 0, 1, 99);
    layer.forward(view_of(y, n), view_of(y, n));
    layer.forward(view_of(x, n), view_of(y, n));
    return y;
  }

  /// What arithmetic may be off by, and what storing may.
  static Real bound(Real expected) {
    const Real unit = std::ldexp(Real(1), -std::numeric_limits<S>::digits);
    return Tolerance<Param>::y * std::max<Real>(1, std::fabs(expected)) + unit * std::fabs(expected) +
           0x1p-25L;
  }
  static void expect_near(const Values& y, const std::vector<Real>& expected, Index n) {
    for (std::size_t i = 0; i < y.size(); ++i) {
      if (y[i] == static_cast<S>(expected[i])) continue;  // infinity too
      EXPECT_LE(std::fabs(static_cast<Real>(y[i]) - expected[i]), bound(expected[i]))
          << y[i] << ", expected " << expected[i] << ", in row " << i / at(n) << ", column " << i % at(n)
          << " of " << n;
    }
  }
};

template <typename C>
class FewRows : public ::testing::Test {};
using FewRowsCases =
    ::testing::Types<RowMajorCase<float>, ColMajorCase<float>, RowMajorCase<double>, ColMajorCase<double>,
                     RowMajorCase<Eigen::half>, ColMajorCase<Eigen::half>>;
TYPED_TEST_SUITE(FewRows, FewRowsCases, CaseName);

constexpr Index kWidths[] = {1, 3, 8, 64, 100, 257};

TYPED_TEST(FewRows, HaveTheBitsOfTheSameRowsInABatch) {
  using Calls = CallsOf<TypeParam>;
  using S = typename TypeParam::Scalar;
  for (const Index n : kWidths)
    for (const bool affine : {true, false}) {
      const auto batch = Calls::batch_norm(n, affine ? 1e-5 : 1e-300, affine);
      const auto layer = Calls::layer_norm(n, 1e-5, affine);
      const Index most = 2048 / n + 20;
      const std::vector<S> x = random_values<S>(most * n, 3, 2, 1), of_batch = Calls::infer(batch, x, n),
                           of_layer = Calls::infer(layer, x, n);
      auto whole = layer;
      Calls::forward_again(whole, x, n);
      for (Index rows = 1; rows <= 9; ++rows)
        for (const Index first : {0, 3, 10}) {
          SCOPED_TRACE(std::to_string(rows) + " rows of " + std::to_string(n) + " from " +
                       std::to_string(first) + (affine ? "" : ", no parameters"));
          const auto part = [&](const std::vector<S>& values) {
            return std::vector<S>(values.begin() + first * n, values.begin() + (first + rows) * n);
          };
          EXPECT_TRUE(same_bits(Calls::infer(batch, part(x), n), part(of_batch))) << "BatchNorm::infer";
          EXPECT_TRUE(same_bits(Calls::infer(layer, part(x), n), part(of_layer))) << "LayerNorm::infer";
          auto trained = layer;
          EXPECT_TRUE(same_bits(Calls::forward_again(trained, part(x), n), part(of_layer)))
              << "LayerNorm::forward";
          EXPECT_TRUE(same_bits(trained.saved_mean(), whole.saved_mean().segment(first, rows)));
          EXPECT_TRUE(same_bits(trained.saved_inv_std(), whole.saved_inv_std().segment(first, rows)));
          if (::testing::Test::HasFailure()) return;
        }
    }
}

TYPED_TEST(FewRows, HaveTheSameBitsInPlace) {
  using Calls = CallsOf<TypeParam>;
  using S = typename TypeParam::Scalar;
  for (const Index n : kWidths)
    for (Index rows = 1; rows <= 7; ++rows) {
      SCOPED_TRACE(std::to_string(rows) + " rows of " + std::to_string(n));
      const auto batch = Calls::batch_norm(n);
      auto layer = Calls::layer_norm(n);
      const std::vector<S> x = random_values<S>(rows * n, 3, 2, 1);
      std::vector<S> in_place = x;
      batch.infer(Calls::view_of(in_place, n), Calls::view_of(in_place, n));
      EXPECT_TRUE(same_bits(in_place, Calls::infer(batch, x, n)));
      const std::vector<S> y = Calls::forward_again(layer, x, n);
      in_place = x;
      std::as_const(layer).infer(Calls::view_of(in_place, n), Calls::view_of(in_place, n));
      EXPECT_TRUE(same_bits(in_place, y));
      in_place = x;
      layer.forward(Calls::view_of(in_place, n), Calls::view_of(in_place, n));
      EXPECT_TRUE(same_bits(in_place, y));
    }
}

// Means that are far away, where x - mean overflows or not, and a scale without room, beside usual channels.
TYPED_TEST(FewRows, InferChannelsThatAreOutOfRange) {
  using Calls = CallsOf<TypeParam>;
  using S = typename TypeParam::Scalar;
  using Param = ek::ParamOf<S>;
  const int exponent = std::is_same_v<Param, double> ? 1001 : 101,
            most = std::is_same_v<Param, double> ? 1023 : 127;
  const Index rows = 5;
  for (const Index n : {3, 8, 13, 64, 100, 257})
    for (const bool in_place : {false, true}) {
      const Index far = n / 3, farthest = n - 1, constant = 0;
      auto layer = Calls::batch_norm(n, 1e-300);
      std::vector<S> x = random_values<S>(rows * n, 3, 2, 1);
      const auto set_far = [&](Index channel, int its_exponent) {
        layer.running_mean()[channel] = std::ldexp(Param(1), its_exponent);
        layer.running_var()[channel] = Param(1);
        layer.gamma()[channel] = std::ldexp(Param(1), -its_exponent);
        if (sizeof(S) == 2) return;
        for (Index r = 0; r < rows; ++r)
          x[at(r * n + channel)] =
              static_cast<S>(std::ldexp(0.3 * static_cast<double>(r) - 1.4, its_exponent));
      };
      set_far(far, exponent);
      set_far(farthest, most);
      layer.running_mean()[constant] = Param(2);
      layer.running_var()[constant] = Param(0);
      for (Index r = 0; r < rows; ++r)
        x[at(r * n + constant)] = static_cast<S>(static_cast<float>(1 + r % 3));
      const IndexMap map = batch_norm_map(Calls::shape_of(rows, n), TypeParam::kOrder, Calls::kAxis);
      const std::vector<Real> expected =
          reference_infer(map, x, to_real(layer.gamma()), to_real(layer.beta()),
                          to_real(layer.exact_running_mean()), to_real(layer.exact_running_var()), 1e-300);
      std::vector<S> y(x.size());
      std::vector<S>& out = in_place ? x : y;
      std::as_const(layer).infer(Calls::view_of(x, n), Calls::view_of(out, n));
      Calls::expect_near(out, expected, n);
    }
}

// Squares of these leave the range of the type; there are none of half.
TYPED_TEST(FewRows, NormalizeRowsThatAreOutOfRange) {
  using Calls = CallsOf<TypeParam>;
  using S = typename TypeParam::Scalar;
  const double large = std::is_same_v<S, double> ? 1e250 : std::is_same_v<S, float> ? 1e30 : 1e4;
  const Index rows = 6;
  for (const Index n : {3, 8, 64, 100, 257}) {
    SCOPED_TRACE(std::to_string(n) + " features");
    std::vector<S> x = random_values<S>(rows * n, 3, 2, 1);
    const std::vector<S> far = random_values<S>(n, 0, large, 2), near = random_values<S>(n, 0, 1 / large, 3);
    std::copy(far.begin(), far.end(), x.begin() + n);
    std::copy(near.begin(), near.end(), x.begin() + 4 * n);
    auto layer = Calls::layer_norm(n, 0);
    const IndexMap map = layer_norm_map(Calls::shape_of(rows, n), TypeParam::kOrder, Calls::kAxis);
    const Reference reference(map, x, 0);
    const std::vector<Real> expected =
        reference_forward(map, reference, to_real(layer.gamma()), to_real(layer.beta()));
    Calls::expect_near(Calls::infer(layer, x, n), expected, n);
    Calls::expect_near(Calls::forward_again(layer, x, n), expected, n);
    for (Index r = 0; r < rows; ++r) {
      const Real bound = Tolerance<ek::ParamOf<S>>::y, mean = reference.mean[at(r)],
                 inv_std = reference.inv_std[at(r)];
      EXPECT_LE(std::fabs(layer.saved_mean()[r] - mean), bound * (1 / inv_std + std::fabs(mean)))
          << "row " << r;
      EXPECT_LE(std::fabs(layer.saved_inv_std()[r] - inv_std), bound * inv_std) << "row " << r;
    }
    std::vector<S> in_place = x;
    layer.forward(Calls::view_of(in_place, n), Calls::view_of(in_place, n));
    EXPECT_TRUE(same_bits(in_place, Calls::infer(layer, x, n)));
  }
}

TYPED_TEST(FewRows, KeepWhatBackwardNeeds) {
  using Calls = CallsOf<TypeParam>;
  using S = typename TypeParam::Scalar;
  const double large = std::is_same_v<S, double> ? 1e250 : std::is_same_v<S, float> ? 1e30 : 1e4;
  for (const Index n : kWidths)
    for (const Index rows : {1, 3, 4, 7}) {
      SCOPED_TRACE(std::to_string(rows) + " rows of " + std::to_string(n));
      std::vector<S> x = random_values<S>(rows * n, 3, 2, 1), dy = random_values<S>(rows * n, 0.5, 1, 2);
      if (rows > 3) x[at(2 * n)] = static_cast<S>(large);
      std::vector<S> y(x.size()), dx(x.size()), again_dx(x.size());
      auto fresh = Calls::layer_norm(n), again = fresh;
      fresh.forward(Calls::view_of(x, n), Calls::view_of(y, n));
      fresh.backward(Calls::view_of(x, n), Calls::view_of(dy, n), Calls::view_of(dx, n));
      EXPECT_TRUE(same_bits(Calls::forward_again(again, x, n), y));
      again.backward(Calls::view_of(x, n), Calls::view_of(dy, n), Calls::view_of(again_dx, n));
      EXPECT_TRUE(same_bits(again_dx, dx));
      EXPECT_TRUE(same_bits(state_of(again), state_of(fresh)));
    }
}

/// Calls refuse(function, call) for infer and for the second forward of a shape.
template <typename Layer, typename X, typename F>
void for_each_call(Layer& layer, const X& x, const F& refuse) {
  refuse("infer", [&](const auto& in, const auto& out) { std::as_const(layer).infer(in, out); });
  if constexpr (!HasRunningStatistics<Layer>::value) {
    std::vector<typename Layer::Scalar> y(at(x.size()));
    layer.forward(x, ek::view(y.data(), x.shape, x.layout));
    refuse("forward", [&](const auto& in, const auto& out) { layer.forward(in, out); });
  }
}

template <typename Calls, typename Layer>
void expect_refusals(const std::string& name, const Layer& right, Index rows, Index n) {
  using S = typename Layer::Scalar;
  Buffer<S> x(random_values<S>(rows * (n + 1), 3, 1, 1)), y(rows * (n + 1));
  Layer layer = right;
  const auto x_view = Calls::view_of(x.data(), rows, n), y_view = Calls::view_of(y.data(), rows, n);
  const std::string scope = "evenkeel::" + name + "::", size = std::to_string(n),
                    other = std::to_string(n + 1);
  for_each_call(layer, x_view, [&](const std::string& function, const auto& call) {
    const std::string caller = scope + function + ":";
    expect_refused(layer, y, {caller, other, size}, [&] {
      call(Calls::view_of(x.data(), rows, n + 1), Calls::view_of(y.data(), rows, n + 1));
    });
    expect_refused(layer, x, {caller, "y overlaps x"},
                   [&] { call(x_view, Calls::view_of(x.data() + 1, rows, n)); });
    const auto over = [&](auto& params) { return Calls::view_of(reinterpret_cast<S*>(params.data()), 1, n); };
    const auto row = Calls::view_of(x.data(), 1, n);
    expect_refused(layer, y, {caller, "y overlaps gamma"}, [&] { call(row, over(layer.gamma())); });
    expect_refused(layer, y, {caller, "y overlaps beta"}, [&] { call(row, over(layer.beta())); });
    if constexpr (HasRunningStatistics<Layer>::value) {
      expect_refused(layer, y, {caller, "y overlaps running_mean"},
                     [&] { call(row, over(layer.running_mean())); });
      expect_refused(layer, y, {caller, "y overlaps running_var"},
                     [&] { call(row, over(layer.running_var())); });
    }
    const auto expect_size_refused = [&](const char* param, auto& values) {
      const auto before = values;
      values.resize(n + 1);
      expect_refused(layer, y, {caller, param, other, size}, [&] { call(x_view, y_view); });
      values = before;
    };
    expect_size_refused("gamma", layer.gamma());
    expect_size_refused("beta", layer.beta());
    if constexpr (HasRunningStatistics<Layer>::value) {
      expect_size_refused("running_mean", layer.running_mean());
      expect_size_refused("running_var", layer.running_var());
    }
  });
}

TYPED_TEST(FewRows, ReportErrorsAndLeaveYAlone) {
  using Calls = CallsOf<TypeParam>;
  for (const Index n : {3, 8, 100})
    for (const Index rows : {1, 3}) {
      SCOPED_TRACE(std::to_string(rows) + " rows of " + std::to_string(n));
      expect_refusals<Calls>("BatchNorm", Calls::batch_norm(n), rows, n);
      expect_refusals<Calls>("LayerNorm", Calls::layer_norm(n), rows, n);
    }
}

// A layer without statistics of its own has none that could fit no rows.
TYPED_TEST(FewRows, OfALayerThatTracksNothing) {
  using Calls = CallsOf<TypeParam>;
  using S = typename TypeParam::Scalar;
  ek::BatchNormOptions options;
  options.axis = Calls::kAxis;
  options.affine = options.track_running_stats = false;
  for (const Index rows : {2, 3000}) {
    ek::BatchNorm<S> layer(1, options);
    if (rows == 2) {  // which infer does not read
      layer.running_mean().setConstant(1, typename Calls::Param(5));
      layer.running_var().setConstant(1, typename Calls::Param(1));
    }
    std::vector<S> x(at(rows), static_cast<S>(1));
    for (std::size_t i = 1; i < x.size(); i += 2) x[i] = static_cast<S>(3);
    std::vector<Real> expected;
    for (const S& value : x) expected.push_back((static_cast<Real>(value) - 2) / std::sqrt(1 + Real(1e-5)));
    Calls::expect_near(Calls::infer(layer, x, 1), expected, 1);
  }
  std::vector<S> wrong(10, static_cast<S>(1)), y = wrong;
  EXPECT_NE(refusal([&] {
              ek::BatchNorm<S>(3, options).infer(Calls::view_of(wrong, 5), Calls::view_of(y, 5));
            }).find("expected 3"),
            std::string::npos);
}

}  // namespace
}  // namespace ek_test
