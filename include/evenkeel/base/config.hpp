// SPDX-License-Identifier: MIT
#pragma once

// For the library itself.

// If this cannot be compiled, the caller sees one error and nothing after it.
#if __cplusplus < 201703L && (!defined(_MSVC_LANG) || _MSVC_LANG < 201703L)
#error "evenkeel needs C++17: compile with -std=c++17 or newer"
#define EVENKEEL_IS_SUPPORTED 0
#else
#include <Eigen/Core>
#if !EIGEN_VERSION_AT_LEAST(3, 4, 0)
#error "evenkeel needs Eigen 3.4 or newer"
#define EVENKEEL_IS_SUPPORTED 0
#else
#define EVENKEEL_IS_SUPPORTED 1
#endif
#endif

// For callers again.

/// The version, as in major.minor.patch; see https://semver.org.
#define EVENKEEL_VERSION_MAJOR 0
#define EVENKEEL_VERSION_MINOR 1
#define EVENKEEL_VERSION_PATCH 0

// For the library itself.

// A caller may define for the whole program, before the first include:
//   EVENKEEL_NO_SIMD         compute one element at a time, with no compiler extension
//   EVENKEEL_FAIL(message)   what happens on bad input, instead of an exception; must not return
//   EVENKEEL_EXTERN_KERNELS  core and kernels are compiled elsewhere; see core/compiled.hpp

#if defined(__GNUC__) || defined(__clang__)
#define EVENKEEL_INLINE inline __attribute__((always_inline))
#define EVENKEEL_INLINE_LAMBDA __attribute__((always_inline))
#define EVENKEEL_COLD __attribute__((cold, noinline))
#define EVENKEEL_OUTLINE inline __attribute__((noinline))
#define EVENKEEL_OUTLINE_MEMBER __attribute__((noinline))
#define EVENKEEL_FLATTEN __attribute__((flatten))
#else
#define EVENKEEL_INLINE inline
#define EVENKEEL_INLINE_LAMBDA
#define EVENKEEL_COLD
#define EVENKEEL_OUTLINE inline
#define EVENKEEL_OUTLINE_MEMBER
#define EVENKEEL_FLATTEN
#endif

// Without exceptions there is nothing to catch.
#if defined(__cpp_exceptions) || defined(_CPPUNWIND)
#define EVENKEEL_HAS_EXCEPTIONS 1
#define EVENKEEL_TRY try
#define EVENKEEL_CATCH_ALL catch (...)
#else
#define EVENKEEL_HAS_EXCEPTIONS 0
#define EVENKEEL_TRY if (true)
#define EVENKEEL_CATCH_ALL else
#endif

// A caller's -ffast-math, and a compiler that fuses products and sums as it likes, are switched off inside of the library:
// it gives the same bits for all of a caller's options.
#if defined(__clang__) && (defined(__FAST_MATH__) || defined(__FMA__) || defined(__aarch64__))
#define EVENKEEL_BEGIN_PRECISE \
  _Pragma("float_control(push)") _Pragma("float_control(precise, on)") _Pragma("clang fp contract(off)")
#define EVENKEEL_END_PRECISE _Pragma("float_control(pop)")
#elif defined(__GNUC__) && !defined(__clang__) && \
    (defined(__FAST_MATH__) || defined(__ASSOCIATIVE_MATH__) || defined(__FMA__) || defined(__aarch64__))
#define EVENKEEL_BEGIN_PRECISE \
  _Pragma("GCC push_options") _Pragma("GCC optimize(\"no-fast-math\", \"fp-contract=off\")")
#define EVENKEEL_END_PRECISE _Pragma("GCC pop_options")
#else
#define EVENKEEL_BEGIN_PRECISE
#define EVENKEEL_END_PRECISE
#endif

// What does not walk elements itself is compiled for size, but for a caller's -O0. Not in units with AVX: std::min and the
// like are functions then, and the linker keeps one copy for units of all instruction sets.
#if defined(__AVX__)
#define EVENKEEL_BEGIN_SMALL
#define EVENKEEL_END_SMALL
#elif defined(__clang__)
#define EVENKEEL_BEGIN_SMALL _Pragma("clang attribute push(__attribute__((minsize)), apply_to = function)")
#define EVENKEEL_END_SMALL _Pragma("clang attribute pop")
#elif defined(__GNUC__) && defined(__OPTIMIZE__)
#define EVENKEEL_BEGIN_SMALL _Pragma("GCC push_options") _Pragma("GCC optimize(\"Os\")")
#define EVENKEEL_END_SMALL _Pragma("GCC pop_options")
#else
#define EVENKEEL_BEGIN_SMALL
#define EVENKEEL_END_SMALL
#endif

// One program may have translation units compiled for different instruction sets. The linker keeps one copy of an
// inline function for all. So units with AVX have names of their own: a machine without it never runs their code. A
// function that takes a layer is not found when linking from one kind to the other. Eigen's types could not be handed
// over anyway, since AVX changes their alignment.
#if defined(__AVX512F__)
#define EVENKEEL_BEGIN EVENKEEL_BEGIN_PRECISE inline namespace with_avx512 {
#define EVENKEEL_END \
  }                  \
  EVENKEEL_END_PRECISE
#elif defined(__AVX2__) || defined(__FMA__)
#define EVENKEEL_BEGIN EVENKEEL_BEGIN_PRECISE inline namespace with_avx2 {
#define EVENKEEL_END \
  }                  \
  EVENKEEL_END_PRECISE
#elif defined(__AVX__)
#define EVENKEEL_BEGIN EVENKEEL_BEGIN_PRECISE inline namespace with_avx {
#define EVENKEEL_END \
  }                  \
  EVENKEEL_END_PRECISE
#else
#define EVENKEEL_BEGIN EVENKEEL_BEGIN_PRECISE
#define EVENKEEL_END EVENKEEL_END_PRECISE
#endif
