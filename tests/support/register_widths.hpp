// Kernels in the code of each register width, not only of the instruction set that was chosen.
#pragma once

#include <gtest/gtest.h>

#include <evenkeel/simd/dispatch.hpp>
#include <string>
#include <type_traits>

#include "shape.hpp"

namespace ek_test {

/// Runs a kernel in the code of one register width; false where this machine has no such registers.
template <typename T, typename Kernel>
bool run_with(int bytes, const Kernel& kernel) {
  if (bytes == 0) {
    kernel.template operator()<0>();
    return true;
  }
#if EVENKEEL_HAS_VECTORS
  if constexpr (std::is_same_v<T, float> || std::is_same_v<T, double>) {
    if (bytes == 16) {
      kernel.template operator()<16>();
      return true;
    }
#if EVENKEEL_HAS_CHOICE
    if (bytes == 32 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
      evenkeel::simd::run_avx2(kernel);
      return true;
    }
    if (bytes == 64 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) {
      evenkeel::simd::run_avx512(kernel);
      return true;
    }
#endif
  }
#endif
  return false;
}

/// Calls f(bytes, lanes) for every width of vectors of T.
template <typename T, typename F>
void for_each_width(const F& f) {
  for (const int bytes : {0, 16, 32, 64}) {
    if (bytes > 0 && !std::is_same_v<T, float> && !std::is_same_v<T, double>) continue;
    const Index lanes = bytes == 0 ? 1 : bytes / static_cast<Index>(sizeof(T));
    SCOPED_TRACE(std::to_string(lanes) + " lanes");
    f(bytes, lanes);
  }
}

}  // namespace ek_test
