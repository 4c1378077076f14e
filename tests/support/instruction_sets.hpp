// The kernels of each instruction set, not only of the one that was chosen.
#pragma once

#include <evenkeel/kernels/kernels.hpp>
#include <type_traits>
#include <vector>

#include "compiled_kernels.hpp"
#include "shape.hpp"
#ifdef EK_TEST_EMULATED_ONLY
#include "emulated_avx512.hpp"
#endif

#ifdef EVENKEEL_EXTERN_KERNELS
#error "these tests include the kernels: compile them without EVENKEEL_EXTERN_KERNELS"
#endif

namespace ek_test {

// Those with registers of more than 16 bytes, which take every type that has vectors.
#if defined(EK_TEST_EMULATED_ONLY)
#define EK_TEST_EACH_LARGER_SET(X, kernel) X(emulated_avx512, kernel)
#elif EVENKEEL_HAS_CHOICE
#define EK_TEST_EACH_LARGER_SET(X, kernel) X(avx2, kernel) X(avx512, kernel)
#else
#define EK_TEST_EACH_LARGER_SET(X, kernel)
#endif

enum class Set { one_by_one, baseline, avx2, avx512, emulated_avx512 };

/// The kernels of one set, by their names. Those that no test of a scalar type asks for are not compiled.
template <typename S>
struct KernelsOf {
  Set set;

#define EK_TEST_X(its, kernel) \
  if (set == Set::its) return evenkeel::detail::its::kernel<S>;
#if EVENKEEL_HAS_VECTORS && !defined(EK_TEST_EMULATED_ONLY)
#define EK_TEST_BASELINE(kernel)                     \
  if constexpr (evenkeel::detail::kHasBaseline<S>) { \
    EK_TEST_X(baseline, kernel)                      \
  }
#else
#define EK_TEST_BASELINE(kernel)
#endif
#define EK_TEST_KERNEL(Result, kernel, Arguments)                          \
  auto kernel() const->Result (*)(const evenkeel::detail::Arguments<S>&) { \
    EK_TEST_BASELINE(kernel)                                               \
    if constexpr (evenkeel::detail::kHasVectors<S>) {                      \
      EK_TEST_EACH_LARGER_SET(EK_TEST_X, kernel)                           \
    }                                                                      \
    return evenkeel::detail::one_by_one::kernel<S>;                        \
  }
  EVENKEEL_EACH_LARGE_KERNEL(EK_TEST_KERNEL)
  EVENKEEL_EACH_KERNEL_WITH_OPTIONS(EK_TEST_KERNEL)
  EVENKEEL_EACH_KERNEL_OF_MASKS(EK_TEST_KERNEL)
  EVENKEEL_EACH_TINY_KERNEL(EK_TEST_KERNEL)
  EVENKEEL_EACH_SMALL_KERNEL(EK_TEST_KERNEL)
#undef EK_TEST_KERNEL
#undef EK_TEST_BASELINE
#undef EK_TEST_X
};

template <typename S>
struct InstructionSet {
  const char* name;
  Index lanes;  // of the compute type
  KernelsOf<S> kernels;
};

inline bool has_avx2() {
#if EVENKEEL_HAS_CHOICE
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  return false;
#endif
}
inline bool has_avx512() {
#if EVENKEEL_HAS_CHOICE
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
#else
  return false;
#endif
}

/// Those that this machine has, or only the AVX-512 that is emulated.
template <typename S>
std::vector<InstructionSet<S>> instruction_sets() {
  constexpr Index kSize = sizeof(evenkeel::ComputeOf<S>);
#ifdef EK_TEST_EMULATED_ONLY
  if (!has_avx2() || !evenkeel::detail::kHasVectors<S>) return {};
  return {{"emulated AVX-512", 64 / kSize, {Set::emulated_avx512}}};
#else
  std::vector<InstructionSet<S>> sets = {{"one by one", 1, {Set::one_by_one}}};
  if (evenkeel::detail::kHasBaseline<S>) sets.push_back({"baseline", 16 / kSize, {Set::baseline}});
  if (!evenkeel::detail::kHasVectors<S>) return sets;
  if (has_avx2()) sets.push_back({"AVX2", 32 / kSize, {Set::avx2}});
  if (has_avx512()) sets.push_back({"AVX-512", 64 / kSize, {Set::avx512}});
  return sets;
#endif
}

}  // namespace ek_test
