// How a caller's thread treats subnormal numbers.
#pragma once

#include <cstdlib>
#include <limits>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace ek_test {

inline bool flushes() { return std::getenv("EK_TEST_FLUSHES") != nullptr; }

/// What a result may lose because it is 0 where it would be subnormal.
template <typename Scalar>
long double flushed() {
  return flushes() ? static_cast<long double>(std::numeric_limits<Scalar>::min()) : 0;
}

/// Calls f as an audio host would where EK_TEST_FLUSHES is set: subnormal numbers are 0, as inputs and as results.
template <typename F>
void as_caller(const F& f) {
#if defined(__x86_64__)
  const unsigned before = _mm_getcsr();
  if (flushes()) _mm_setcsr(before | 0x8040);
  f();
  _mm_setcsr(before);
#else
  f();
#endif
}

}  // namespace ek_test
