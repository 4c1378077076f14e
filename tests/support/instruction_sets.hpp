// The kernels of each instruction set, not only of the one that was chosen.
#pragma once

#include <evenkeel/kernels/kernels.hpp>
#include <type_traits>
#include <vector>

#include "emulated_avx512.hpp"
#include "shape.hpp"

#ifdef EVENKEEL_EXTERN_KERNELS
#error "these tests have kernels in their own code"
#endif

namespace ek_test {

template <typename S>
struct InstructionSet {
  const char* name;
  Index lanes;  // of the compute type
  evenkeel::detail::KernelTable<S> kernels;
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

/// Those that this machine has; instead of an AVX-512 that it has not, an emulated one.
template <typename S>
const std::vector<InstructionSet<S>>& instruction_sets() {
  static const std::vector<InstructionSet<S>> all = [] {
    namespace detail = evenkeel::detail;
    std::vector<InstructionSet<S>> sets;
#define EK_KERNEL_OF(Result, name, Arguments) detail::EK_SET::name<S>,
#define EK_SET one_by_one
    sets.push_back({"one by one", 1, {EVENKEEL_EACH_KERNEL(EK_KERNEL_OF)}});
#undef EK_SET
#if EVENKEEL_HAS_VECTORS
    if constexpr (detail::kHasVectors<S>) {
      constexpr Index kSize = sizeof(evenkeel::ComputeOf<S>);
#define EK_SET baseline
      sets.push_back({"baseline", 16 / kSize, {EVENKEEL_EACH_KERNEL(EK_KERNEL_OF)}});
#undef EK_SET
#if EVENKEEL_HAS_CHOICE
#define EK_SET avx2
      if (has_avx2()) sets.push_back({"AVX2", 32 / kSize, {EVENKEEL_EACH_KERNEL(EK_KERNEL_OF)}});
#undef EK_SET
#define EK_SET avx512
      if (has_avx512()) sets.push_back({"AVX-512", 64 / kSize, {EVENKEEL_EACH_KERNEL(EK_KERNEL_OF)}});
#undef EK_SET
#define EK_SET emulated_avx512
      if (has_avx2() && !has_avx512())
        sets.push_back({"emulated AVX-512", 64 / kSize, {EVENKEEL_EACH_KERNEL(EK_KERNEL_OF)}});
#undef EK_SET
#endif
    }
#endif
#undef EK_KERNEL_OF
    return sets;
  }();
  return all;
}

}  // namespace ek_test
