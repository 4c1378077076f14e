// Errors and scalar types.
#include <gtest/gtest.h>

#include <limits>
#include <type_traits>

#include "evenkeel/base/error.hpp"
#include "evenkeel/base/scalar.hpp"
#include "support/same.hpp"

namespace ek_test {
namespace {

namespace ek = evenkeel;

TEST(Fail, ThrowsTheCallerAndTheRule) {
  EXPECT_EQ(refusal([] {
              ek::detail::fail({"BatchNorm::", "forward"}, {"3 is not ", 4});
            }),
            "evenkeel::BatchNorm::forward: 3 is not 4");
  EXPECT_EQ(refusal([] { ek::detail::fail({"", "view"}, {"no"}); }), "evenkeel::view: no");
}

TEST(Counted, KnowsThePlural) {
  EXPECT_EQ(ek::detail::counted(1, "channel"), "1 channel");
  EXPECT_EQ(ek::detail::counted(0, "channel"), "0 channels");
  EXPECT_EQ(ek::detail::counted(64, "channel"), "64 channels");
}

template <typename T>
void expect_is_finite() {
  using Limits = std::numeric_limits<T>;
  for (T value : {T(0), T(-1), Limits::max(), Limits::lowest(), Limits::denorm_min()})
    EXPECT_TRUE(ek::detail::is_finite(value)) << value;
  for (T value : {Limits::infinity(), T(-Limits::infinity()), Limits::quiet_NaN(), T(-Limits::quiet_NaN())})
    EXPECT_FALSE(ek::detail::is_finite(value)) << value;
}

TEST(IsFinite, OfEveryFloatingType) {
  expect_is_finite<float>();
  expect_is_finite<double>();
  expect_is_finite<long double>();
}

template <typename Scalar, typename Param, typename Compute, typename Statistic>
constexpr bool kTypesAre = std::is_same_v<ek::ParamOf<Scalar>, Param>&&
    std::is_same_v<ek::ComputeOf<Scalar>, Compute>&& std::is_same_v<ek::StatisticOf<Scalar>, Statistic>;

TEST(ScalarTraits, FollowTheDesign) {
  EXPECT_TRUE((kTypesAre<float, float, float, double>));
  EXPECT_TRUE((kTypesAre<double, double, double, double>));
  EXPECT_TRUE((kTypesAre<long double, long double, long double, long double>));
  EXPECT_TRUE((kTypesAre<Eigen::half, float, float, double>));
  EXPECT_TRUE((kTypesAre<Eigen::bfloat16, float, float, double>));
}

}  // namespace
}  // namespace ek_test
