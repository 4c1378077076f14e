#pragma once

#include "evenkeel/simd/vec.hpp"

#if EVENKEEL_HAS_VECTORS && defined(__x86_64__)
#include <cpuid.h>
#endif

namespace evenkeel::simd {

/// What is known of this machine's caches. It decides how work is cut where the cut does not show in the result.
struct Caches {
  Index second_level;  // bytes, of one core
  Index
      streaming;  // bytes that a pass reads and writes in all, from which it had better write past the caches
};

inline Caches find_caches() {
  Caches caches{Index(2) << 20, Index(2) << 20};
#if EVENKEEL_HAS_VECTORS && defined(__x86_64__)
  unsigned eax, ebx, ecx = 0, edx;
  if (__get_cpuid(0x80000006, &eax, &ebx, &ecx, &edx) != 0 && ecx >> 26 != 0) {  // 64 KiB and more
    caches.second_level = Index(ecx >> 16) << 10;
  }
  // Measured: with a fast third level that few cores share, much later than where the second one ends.
  if (__builtin_cpu_is("amd")) caches.streaming = Index(6) << 20;
#endif
  return caches;
}

inline const Caches& caches() {
  static const Caches found = find_caches();
  return found;
}

}  // namespace evenkeel::simd
