// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdlib>
#include <cstring>

#include "evenkeel/base/error.hpp"

#if !defined(EVENKEEL_NO_SIMD) && (defined(__GNUC__) || defined(__clang__)) && \
    (defined(__x86_64__) || defined(__aarch64__))
#define EVENKEEL_HAS_VECTORS 1
#else
#define EVENKEEL_HAS_VECTORS 0
#endif

// If the core is compiled elsewhere, this unit computes other types alone.
#if EVENKEEL_HAS_VECTORS && (!defined(EVENKEEL_EXTERN_KERNELS) || defined(EVENKEEL_COMPILE_KERNELS))
#define EVENKEEL_HAS_OWN_VECTORS 1
#else
#define EVENKEEL_HAS_OWN_VECTORS 0
#endif

// One program has kernels for several instruction sets, unless g++ for Windows compiles it: that spills wide registers
// to a stack that is aligned for narrow ones (GCC's bug 54412).
#if EVENKEEL_HAS_VECTORS && defined(__x86_64__) && (!defined(_WIN32) || defined(__clang__))
#define EVENKEEL_HAS_CHOICE 1
#else
#define EVENKEEL_HAS_CHOICE 0
#endif

#if EVENKEEL_HAS_CHOICE
#include <cpuid.h>
#endif

namespace evenkeel::detail {
EVENKEEL_BEGIN

#if EVENKEEL_HAS_CHOICE

/// Whether this machine converts half: every one with AVX2 does, but an emulator may not.
EVENKEEL_COLD inline bool has_f16c() {
  unsigned eax, ebx, ecx = 0, edx;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}

/// The most bytes of a register that EVENKEEL_MAX_ISA allows.
EVENKEEL_COLD inline int max_register_bytes() {
  static constexpr const char* names[] = {"sse2", "avx2", "avx512", ""};
  const char* cap = std::getenv("EVENKEEL_MAX_ISA");
  if (cap == nullptr) cap = "";
  for (int k = 0; k < 4; ++k) {
    if (std::strcmp(cap, names[k]) == 0) return 16 << k;
  }
  fail({"", "EVENKEEL_MAX_ISA"}, {"is '", cap, "', must be sse2, avx2 or avx512"});
}

EVENKEEL_COLD inline int choose_register_bytes() {
  __builtin_cpu_init();  // a caller may come before the constructors of libgcc
  const int most = max_register_bytes();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  return avx512 && most >= 64 ? 64 : avx2 && most >= 32 ? 32 : 16;
}

inline std::atomic<int> chosen_register_bytes{0};  // 0: not yet

EVENKEEL_COLD inline int remember_register_bytes() {
  const int bytes = choose_register_bytes();
  chosen_register_bytes.store(bytes, std::memory_order_relaxed);
  return bytes;
}

/// The bytes of the registers that kernels use, chosen once. Every kernel's dispatch repeats this code.
inline int register_bytes() {
  const int bytes = chosen_register_bytes.load(std::memory_order_relaxed);
  return bytes != 0 ? bytes : remember_register_bytes();
}

#else

/// 0: one element at a time.
constexpr int choose_register_bytes() { return EVENKEEL_HAS_VECTORS ? 16 : 0; }
constexpr int register_bytes() { return choose_register_bytes(); }

#endif

EVENKEEL_END
}  // namespace evenkeel::detail
