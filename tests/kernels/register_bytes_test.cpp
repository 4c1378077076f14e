// The choice of the instruction set. That kernels run with it is seen in kernels_test.cpp.
#include "evenkeel/kernels/register_bytes.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "support/same.hpp"

namespace ek_test {
namespace {

namespace detail = evenkeel::detail;

#ifdef EVENKEEL_NO_SIMD

TEST(RegisterBytes, WithoutSimdThereAreNone) { EXPECT_EQ(detail::register_bytes(), 0); }

#elif EVENKEEL_HAS_CHOICE

#ifdef _WIN32
void setenv(const char* name, const char* value, int) { _putenv_s(name, value); }
void unsetenv(const char* name) { _putenv_s(name, ""); }
#endif

TEST(RegisterBytes, ObeysTheEnvironment) {
  const char* before = std::getenv("EVENKEEL_MAX_ISA");
  const std::string kept = before == nullptr ? "" : before;
  const auto chosen_for = [](const char* cap) {
    setenv("EVENKEEL_MAX_ISA", cap, 1);
    return detail::choose_register_bytes();
  };
  EXPECT_EQ(chosen_for("sse2"), 16);
  EXPECT_EQ(chosen_for("avx2"), __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? 32 : 16);
  const int widest = chosen_for("avx512");
  EXPECT_TRUE(
      says(refusal([&] { chosen_for("mmx"); }), {"EVENKEEL_MAX_ISA", "mmx", "sse2", "avx2", "avx512"}));
  EXPECT_EQ(chosen_for(""), widest);
  unsetenv("EVENKEEL_MAX_ISA");
  EXPECT_EQ(detail::choose_register_bytes(), widest);
  if (before != nullptr) setenv("EVENKEEL_MAX_ISA", kept.c_str(), 1);
}

// ctest runs this program once for each cap.
TEST(RegisterBytes, ThisProcessKeepsToItsCap) {
  const char* cap = std::getenv("EVENKEEL_MAX_ISA");
  const std::string isa = cap == nullptr ? "" : cap;
  EXPECT_LE(detail::register_bytes(), isa == "sse2" ? 16 : isa == "avx2" ? 32 : 64);
  EXPECT_GE(detail::register_bytes(), 16);
}

#endif

}  // namespace
}  // namespace ek_test
