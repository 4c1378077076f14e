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

TEST(Fail, KnowsPluralsNumbersAndLists) {
  namespace detail = ek::detail;
  const Eigen::Index extents[] = {2, 30, 4};
  EXPECT_EQ(refusal([&] {
              detail::fail({"", "f"}, {detail::counted(0, "row"), ", ", detail::counted(1, "row"), ", ",
                                       detail::counted(64, "row"), ", ", detail::shown(1e-5), ", ", -3, ", ",
                                       detail::Piece(detail::Piece::Kind::list, extents, 3)});
            }),
            "evenkeel::f: 0 rows, 1 row, 64 rows, 1e-05, -3, [2, 30, 4]");
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
