#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

#include "evenkeel/base/error.hpp"
#include "evenkeel/simd/vec.hpp"

// One program has kernels for several instruction sets. Not by g++ for Windows, which spills wide registers to a stack
// that is aligned for narrow ones (GCC's bug 54412).
#if EVENKEEL_HAS_VECTORS && defined(__x86_64__) && (!defined(_WIN32) || defined(__clang__))
#define EVENKEEL_HAS_CHOICE 1
#else
#define EVENKEEL_HAS_CHOICE 0
#endif

namespace evenkeel::simd {
EVENKEEL_BEGIN

#if EVENKEEL_HAS_CHOICE

/// The widest register that EVENKEEL_MAX_ISA (sse2, avx2, avx512) allows, in bytes.
inline int max_register_bytes() {
  const char* cap = std::getenv("EVENKEEL_MAX_ISA");
  if (cap == nullptr || *cap == 0 || std::string_view(cap) == "avx512") return 64;
  if (std::string_view(cap) == "avx2") return 32;
  if (std::string_view(cap) == "sse2") return 16;
  fail({"", "EVENKEEL_MAX_ISA"}, {"is '", cap, "', must be sse2, avx2 or avx512"});
}

inline int choose_register_bytes() {
  const int cap = max_register_bytes();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  return avx512 && cap >= 64 ? 64 : avx2 && cap >= 32 ? 32 : 16;
}

/// A copy that stores cannot reach, so that members stay in registers. In words: a wide load from what has just been
/// stored word by word would wait until all stores before it have left the core.
template <typename Kernel>
EVENKEEL_INLINE Kernel copy_of(const Kernel& kernel) {
  static_assert(std::is_trivially_copyable_v<Kernel> && sizeof(Kernel) % sizeof(std::uint64_t) == 0);
  Kernel copy;
  for (std::size_t i = 0; i < sizeof(Kernel); i += sizeof(std::uint64_t)) {
    std::uint64_t word;
    std::memcpy(&word, reinterpret_cast<const char*>(&kernel) + i, sizeof word);
    asm("" : "+r"(word));
    std::memcpy(reinterpret_cast<char*>(&copy) + i, &word, sizeof word);
  }
  return copy;
}

template <typename Kernel>
[[gnu::target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")]] void run_avx512(const Kernel& kernel) {
  const Kernel local = copy_of(kernel);
  local.template operator()<64>();
}

template <typename Kernel>
[[gnu::target("avx2,fma")]] void run_avx2(const Kernel& kernel) {
  const Kernel local = copy_of(kernel);
  local.template operator()<32>();
}

#endif

/// Bytes of a register in the instruction set that this process uses, chosen once; 0 is one element at a
/// time.
inline int register_bytes() {
#if EVENKEEL_HAS_CHOICE
  static const int chosen = choose_register_bytes();
  return chosen;
#elif EVENKEEL_HAS_VECTORS
  return 16;
#else
  return 0;
#endif
}

template <typename T>
constexpr bool kHasVectors = EVENKEEL_HAS_VECTORS && (std::is_same_v<T, float> || std::is_same_v<T, double>);

/// Calls kernel.operator()<Bytes>() compiled for what every machine of this kind has: for passes over so few numbers
/// that speed is worth less than code. T is what the kernel computes in.
template <typename T, typename Kernel>
[[gnu::noinline]] void run_baseline(const Kernel& kernel) {
  kernel.template operator()<kHasVectors<T> ? 16 : 0>();
}

/// The same, compiled for this machine's instruction set.
template <typename T, typename Kernel>
void run(const Kernel& kernel) {
#if EVENKEEL_HAS_CHOICE
  if constexpr (kHasVectors<T>) {
    const int bytes = register_bytes();
    if (bytes == 64) return run_avx512(kernel);
    if (bytes == 32) return run_avx2(kernel);
  }
#endif
  run_baseline<T>(kernel);
}

EVENKEEL_END
}  // namespace evenkeel::simd
