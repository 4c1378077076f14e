#pragma once

#include "evenkeel/simd/vec.hpp"

#if EVENKEEL_HAS_VECTORS && defined(__x86_64__)
#include <cpuid.h>
#endif

namespace evenkeel::simd {
EVENKEEL_BEGIN

/// What is known of this machine's caches, in bytes. It decides only what does not show in a result.
struct Caches {
  Index second_level;                  // of one core
  Index streaming, threads_streaming;  // see streaming_on()

  /// Of a pass's inputs and output: from there on its output had better go past the caches.
  Index streaming_on(int threads) const { return threads > 1 ? threads_streaming : streaming; }
};

inline Caches find_caches() {
  Caches caches{Index(2) << 20, Index(2) << 20, Index(2) << 20};
#if EVENKEEL_HAS_VECTORS && defined(__x86_64__)
  unsigned eax, ebx, ecx = 0, edx;
  if (__get_cpuid(0x80000006, &eax, &ebx, &ecx, &edx) != 0 && ecx >> 16 >= 128) {  // KiB; some tell nothing
    caches.second_level = Index(ecx >> 16) << 10;
  }
  // Measured: on an Intel Xeon where the second level ends; on an AMD EPYC, whose third level is nearer, later, and
  // later still on several threads, since what goes past that level does not grow with them.
  if (__builtin_cpu_is("amd")) {
    caches.streaming = Index(6) << 20;
    caches.threads_streaming = Index(16) << 20;
  }
#endif
  return caches;
}

inline const Caches& caches() {
  static const Caches found = find_caches();
  return found;
}

EVENKEEL_END
}  // namespace evenkeel::simd
