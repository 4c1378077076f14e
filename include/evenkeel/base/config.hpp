#pragma once

#define EVENKEEL_VERSION_MAJOR 0
#define EVENKEEL_VERSION_MINOR 1
#define EVENKEEL_VERSION_PATCH 0

// A caller may define before the first include:
//   EVENKEEL_NO_SIMD         compute one element at a time, with no compiler extension
//   EVENKEEL_FAIL(message)   what happens on bad input when exceptions are off; must not return

#if defined(__GNUC__) || defined(__clang__)
#define EVENKEEL_INLINE inline __attribute__((always_inline))
#define EVENKEEL_INLINE_LAMBDA __attribute__((always_inline))
#define EVENKEEL_COLD __attribute__((cold, noinline))
#else
#define EVENKEEL_INLINE inline
#define EVENKEEL_INLINE_LAMBDA
#define EVENKEEL_COLD
#endif
