// The choice of the instruction set, and that it is obeyed.
#include "evenkeel/simd/dispatch.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "support/same.hpp"

namespace ek_test {
namespace {

namespace simd = evenkeel::simd;

struct TellWidth {
  int* bytes;
  template <int kBytes>
  EVENKEEL_INLINE void operator()() const {
    *bytes = kBytes;
  }
};

TEST(Dispatch, RunsTheKernelOfTheChosenWidth) {
  int bytes = -1;
  simd::run<float>(TellWidth{&bytes});
  EXPECT_EQ(bytes, simd::register_bytes());
  bytes = -1;
  simd::run<double>(TellWidth{&bytes});
  EXPECT_EQ(bytes, simd::register_bytes());
}

TEST(Dispatch, OtherTypesGoOneByOne) {
  int bytes = -1;
  simd::run<long double>(TellWidth{&bytes});
  EXPECT_EQ(bytes, 0);
}

#ifdef EVENKEEL_NO_SIMD

TEST(Dispatch, WithoutSimdThereAreNoRegisters) { EXPECT_EQ(simd::register_bytes(), 0); }

#elif EVENKEEL_HAS_CHOICE

#ifdef _WIN32
void setenv(const char* name, const char* value, int) { _putenv_s(name, value); }
void unsetenv(const char* name) { _putenv_s(name, ""); }
#endif

TEST(Dispatch, ObeysTheEnvironment) {
  const char* before = std::getenv("EVENKEEL_MAX_ISA");
  const std::string kept = before == nullptr ? "" : before;
  const auto chosen_for = [](const char* cap) {
    setenv("EVENKEEL_MAX_ISA", cap, 1);
    return simd::choose_register_bytes();
  };
  EXPECT_EQ(chosen_for("sse2"), 16);
  EXPECT_EQ(chosen_for("avx2"), __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? 32 : 16);
  const int widest = chosen_for("avx512");
  EXPECT_TRUE(
      says(refusal([&] { chosen_for("mmx"); }), {"EVENKEEL_MAX_ISA", "mmx", "sse2", "avx2", "avx512"}));
  EXPECT_EQ(chosen_for(""), widest);
  unsetenv("EVENKEEL_MAX_ISA");
  EXPECT_EQ(simd::choose_register_bytes(), widest);
  if (before != nullptr) setenv("EVENKEEL_MAX_ISA", kept.c_str(), 1);
}

// ctest runs this program once for each cap.
TEST(Dispatch, ThisProcessKeepsToItsCap) {
  const char* cap = std::getenv("EVENKEEL_MAX_ISA");
  const std::string isa = cap == nullptr ? "" : cap;
  EXPECT_LE(simd::register_bytes(), isa == "sse2" ? 16 : isa == "avx2" ? 32 : 64);
  EXPECT_GE(simd::register_bytes(), 16);
}

#endif

}  // namespace
}  // namespace ek_test
