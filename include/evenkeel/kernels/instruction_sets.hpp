// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "evenkeel/base/range.hpp"
#include "evenkeel/base/scalar.hpp"
#include "evenkeel/base/subnormals.hpp"
#include "evenkeel/kernels/register_bytes.hpp"
#include "evenkeel/kernels/set_args.hpp"
#if defined(__aarch64__) && EVENKEEL_HAS_VECTORS
#include <arm_neon.h>
#endif

// The kernels of every instruction set: one text, included once for each in a namespace and a target region of its own.
// A caller's -ffast-math is switched off in it, since a difference of near numbers must stay as it is.

// Without optimization what is inlined keeps its place on the stack: a kernel of words would take a hundred KiB.
#if defined(__OPTIMIZE__)
#define EVENKEEL_WORD inline __attribute__((always_inline))
#define EVENKEEL_CALL inline __attribute__((noinline))
#define EVENKEEL_WORD_LAMBDA __attribute__((always_inline))
#else
#define EVENKEEL_WORD inline
#define EVENKEEL_CALL inline
#define EVENKEEL_WORD_LAMBDA
#endif

#if defined(__clang__) || __GNUC__ >= 12
#define EVENKEEL_SHUFFLE(Int, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define EVENKEEL_SHUFFLE(Int, a, b, ...) __builtin_shuffle(a, b, Int{__VA_ARGS__})
#endif

// With -ffast-math clang++ fuses a product and a sum in spite of the pragma below, which makes its __arithmetic_fence do
// nothing.
#if defined(__clang__) && defined(__FAST_MATH__) && defined(__x86_64__)
#define EVENKEEL_KEEP(value) asm("" : "+x"(value))
#else
#define EVENKEEL_KEEP(value)
#endif

#if defined(__clang__)
#define EVENKEEL_PRAGMA(text) _Pragma(#text)
#define EVENKEEL_BEGIN_TARGET(isa) \
  EVENKEEL_PRAGMA(clang attribute push(__attribute__((target(isa))), apply_to = function))
#define EVENKEEL_END_TARGET EVENKEEL_PRAGMA(clang attribute pop)
#elif defined(__GNUC__)
#define EVENKEEL_PRAGMA(text) _Pragma(#text)
#define EVENKEEL_BEGIN_TARGET(isa) EVENKEEL_PRAGMA(GCC push_options) EVENKEEL_PRAGMA(GCC target(isa))
#define EVENKEEL_END_TARGET EVENKEEL_PRAGMA(GCC pop_options)
#endif

#if defined(__clang__)
#pragma float_control(precise, on, push)
#elif defined(__GNUC__)
#pragma GCC push_options
#pragma GCC optimize("no-fast-math", "fp-contract=off", "no-tree-loop-distribute-patterns")
#endif
#if defined(__clang__) || defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpsabi"           // calls with vectors stay inside of an instruction set
#pragma GCC diagnostic ignored "-Wold-style-cast"  // vectors' bits as integers
#pragma GCC diagnostic ignored "-Wcast-align"      // vectors in memory are as aligned as their lanes
#pragma GCC diagnostic ignored "-Wsign-conversion"
#endif

namespace evenkeel::detail {
EVENKEEL_BEGIN

namespace one_by_one {
#define EVENKEEL_REGISTER 0
#define EVENKEEL_REGISTERS 16
#include "evenkeel/kernels/kernels.inl"
#undef EVENKEEL_REGISTER
#undef EVENKEEL_REGISTERS
}  // namespace one_by_one

// clang-format off
#if EVENKEEL_HAS_OWN_VECTORS
#if EVENKEEL_HAS_CHOICE
EVENKEEL_BEGIN_SMALL  // for machines that are few by now
#endif
namespace baseline {
#define EVENKEEL_REGISTER 16
#ifdef __aarch64__
#define EVENKEEL_REGISTERS 32
#else
#define EVENKEEL_REGISTERS 16
#endif
#include "evenkeel/kernels/kernels.inl"
#undef EVENKEEL_REGISTER
#undef EVENKEEL_REGISTERS
}  // namespace baseline
#if EVENKEEL_HAS_CHOICE
EVENKEEL_END_SMALL
EVENKEEL_BEGIN_TARGET("avx2,fma,f16c")
namespace avx2 {
#define EVENKEEL_REGISTER 32
#define EVENKEEL_REGISTERS 16
#include "evenkeel/kernels/kernels.inl"
#undef EVENKEEL_REGISTER
#undef EVENKEEL_REGISTERS
}  // namespace avx2
EVENKEEL_END_TARGET
EVENKEEL_BEGIN_TARGET("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,f16c")
namespace avx512 {
#define EVENKEEL_REGISTER 64
#define EVENKEEL_REGISTERS 32
#include "evenkeel/kernels/kernels.inl"
#undef EVENKEEL_REGISTER
#undef EVENKEEL_REGISTERS
}  // namespace avx512
EVENKEEL_END_TARGET
#endif
#endif
EVENKEEL_END
}  // namespace evenkeel::detail

#if defined(__clang__) || defined(__GNUC__)
#pragma GCC diagnostic pop
#endif
#if defined(__clang__)
#pragma float_control(pop)
#elif defined(__GNUC__)
#pragma GCC pop_options
#endif
