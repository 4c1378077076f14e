// evenkeel.hpp is first in two translation units of one program: it needs nothing before it, and nothing is
// defined twice.
#include <evenkeel/evenkeel.hpp>
// And once more, before what the tests need.
#include <evenkeel/evenkeel.hpp>

#include "user.hpp"

#include <gtest/gtest.h>

std::vector<float> normalized_here(const std::vector<float>& x) {
  std::vector<float> y(x.size());
  const auto rows = static_cast<evenkeel::Index>(x.size() / 4);
  evenkeel::LayerNorm<float>(4).forward(evenkeel::view(x.data(), {rows, 4}, evenkeel::row_major),
                                        evenkeel::view(y.data(), {rows, 4}, evenkeel::row_major));
  return y;
}

TEST(OneDefinition, TwoTranslationUnitsAgree) {
  const std::vector<float> x = {1, 2, 3, 5, -1, 0, 4, 100};
  EXPECT_EQ(normalized_here(x), normalized_there(x));
  EXPECT_NE(normalized_here(x), x);
}

// The public names that come with evenkeel.hpp.
TEST(OneDefinition, EvenkeelBringsEverything) {
  evenkeel::BatchNorm<float> batch_norm(4);
  evenkeel::LayerNorm<> layer_norm(4);
  evenkeel::GroupNorm<double> group_norm(2, 4);
  const evenkeel::InstanceNorm<double> instance_norm(4);
  EXPECT_EQ(batch_norm.gamma().size() + layer_norm.gamma().size() + group_norm.gamma().size(), 12);
  EXPECT_EQ(instance_norm.channels(), 4);
}
