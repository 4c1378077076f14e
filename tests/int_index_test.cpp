// Eigen's Index may have 32 bits: sizes fit it then, and bytes need not.
#define EIGEN_DEFAULT_DENSE_INDEX_TYPE int

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <evenkeel/evenkeel.hpp>
#include <stdexcept>
#include <string>

#include "support/same.hpp"

namespace ek = evenkeel;

namespace {

static_assert(sizeof(ek::Index) == 4, "the index is an int");

using Map = Eigen::TensorMap<Eigen::Tensor<float, 2, Eigen::RowMajor, int>>;

/// An address that nothing reads.
float* far(std::uintptr_t bytes) { return reinterpret_cast<float*>(bytes); }

#if UINTPTR_MAX > 0xffffffff  // else no memory has so many bytes

TEST(IntIndex, SeesOverlapsOfMoreBytesThanItCounts) {
  const std::uintptr_t begin = std::uintptr_t(1) << 40;
  for (const int rows : {1 << 15, 40000})  // 2^32 bytes, and more
    for (const std::uintptr_t apart :
         {std::uintptr_t(4000), std::uintptr_t(1) << 31, (std::uintptr_t(1) << 32) - 4}) {
      const int columns = 1 << 15;
      const Map x(far(begin), rows, columns);
      Map y(far(begin + apart), rows, columns), before(far(begin - apart), rows, columns);
      ek::BatchNorm<float> batch(columns);
      ek::LayerNorm<float> layer(columns);
      for (Map* out : {&y, &before}) {
        const auto expect_refused = [&](const auto& call) {
          const std::string said = ek_test::refusal(call);
          EXPECT_NE(said.find("y overlaps x"), std::string::npos) << said;
        };
        expect_refused([&] { batch.forward(x, *out); });
        expect_refused([&] { batch.infer(x, *out); });
        expect_refused([&] { layer.forward(x, *out); });
      }
    }
}

TEST(IntIndex, SeesWhatLiesSideBySide) {
  using ek::detail::bytes_of;
  using ek::detail::Memory;
  const int size = 1 << 30;
  const std::uintptr_t bytes = bytes_of<float>(size);
  EXPECT_EQ(bytes, std::uintptr_t(1) << 32);
  const Memory a{"a", far(std::uintptr_t(1) << 40), size, bytes, nullptr};
  for (const std::uintptr_t apart : {bytes - 4, bytes, bytes + 4}) {
    const Memory b{"b", far((std::uintptr_t(1) << 40) + apart), size, bytes, nullptr};
    EXPECT_EQ(ek::detail::overlap(a, b), apart < bytes);
    EXPECT_EQ(ek::detail::overlap(b, a), apart < bytes);
  }
}

#endif

TEST(IntIndex, Normalizes) {
  Eigen::Tensor<float, 2, Eigen::RowMajor, int> x(4, 2), y;
  x.setValues({{1, -1}, {2, -1}, {3, 1}, {6, 1}});
  ek::BatchNorm<float> layer(2);
  layer.forward(x, y);
  EXPECT_NEAR(y(0, 0), -2 / std::sqrt(3.5f), 1e-5);
  layer.infer(x, y);
  EXPECT_NEAR(y(3, 1), 1 / std::sqrt(0.9f + 0.1f * 4 / 3), 1e-5);
}

}  // namespace
