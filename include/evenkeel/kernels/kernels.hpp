#pragma once

#include "evenkeel/base/config.hpp"
#if EVENKEEL_IS_SUPPORTED

#include "evenkeel/kernels/instruction_sets.hpp"

// Kernels by name, in the code of the chosen instruction set.
//
// With EVENKEEL_EXTERN_KERNELS, defined for the whole program, those of float, double, half and bfloat16 are compiled
// elsewhere: link evenkeel::compiled, or compile this header in one more translation unit with
// EVENKEEL_COMPILE_KERNELS defined. Each scalar type has one symbol, whose name says what to link.

namespace evenkeel::detail {

/// X(result, kernel, arguments) of each kernel that walks the elements, and of those that need no wider registers than
/// AVX2's.
#define EVENKEEL_EACH_LARGE_KERNEL(X)     \
  X(void, sum_lines, SumLines)            \
  X(void, map_lines, MapLines)            \
  X(void, sum_columns, SumColumns)        \
  X(void, map_columns, MapColumns)        \
  X(Index, infer_columns, InferColumns)   \
  X(void, sum_params, SumParams)          \
  X(Index, normalize_rows, NormalizeRows) \
  X(Index, row_gradients, RowGradients)
#define EVENKEEL_EACH_SMALL_KERNEL(X)                        \
  X(void, pivot_lines, PivotLines)                           \
  X(void, pivot_columns, PivotColumns)                       \
  X(void, sum_wide, SumWide)                                 \
  X(void, map_wide, MapWide)                                 \
  X(unsigned, finish_sums, FinishSums)                       \
  X(void, finish_gradients, FinishGradients)                 \
  X(void, coefficients, Coefficients)                        \
  X(unsigned, inference_coefficients, InferenceCoefficients) \
  X(void, spread, Spread)                                    \
  X(void, sum_blocks, SumBlocks)                             \
  X(void, fold, Fold)
#define EVENKEEL_EACH_KERNEL(X) EVENKEEL_EACH_LARGE_KERNEL(X) EVENKEEL_EACH_SMALL_KERNEL(X)

/// The kernels of one scalar type and one instruction set.
template <typename S>
struct KernelTable {
#define EVENKEEL_X(Result, name, Arguments) \
  Result (*name)(const Arguments<S>&);  // NOLINT(bugprone-macro-parentheses)
  EVENKEEL_EACH_KERNEL(EVENKEEL_X)
#undef EVENKEEL_X
};

template <typename S>
inline constexpr bool kHasVectors =
    EVENKEEL_HAS_VECTORS && (std::is_same_v<ComputeOf<S>, float> ||
                             std::is_same_v<ComputeOf<S>, double>)&&(std::is_same_v<S, ComputeOf<S>> ||
                                                                     std::is_same_v<S, Eigen::half> ||
                                                                     std::is_same_v<S, Eigen::bfloat16>);

#if EVENKEEL_HAS_VECTORS && (defined(EVENKEEL_EXTERN_KERNELS) || defined(EVENKEEL_COMPILE_KERNELS))
#define EVENKEEL_EACH_COMPILED_SCALAR(X) \
  X(float, float) X(double, double) X(Eigen::half, half) X(Eigen::bfloat16, bfloat16)
#define EVENKEEL_X(Scalar, name) \
  extern "C" const void* link_evenkeel_compiled_for_kernels_of_##name(int register_bytes);
EVENKEEL_EACH_COMPILED_SCALAR(EVENKEEL_X)
#undef EVENKEEL_X
#endif

EVENKEEL_BEGIN

#if EVENKEEL_HAS_VECTORS && defined(EVENKEEL_EXTERN_KERNELS) && !defined(EVENKEEL_COMPILE_KERNELS)

template <typename S>
struct CompiledKernels;
#define EVENKEEL_X(Scalar, name)                                  \
  template <>                                                     \
  struct CompiledKernels<Scalar> {                                \
    static EVENKEEL_COLD const void* table(int bytes) {           \
      return link_evenkeel_compiled_for_kernels_of_##name(bytes); \
    }                                                             \
  };
EVENKEEL_EACH_COMPILED_SCALAR(EVENKEEL_X)
#undef EVENKEEL_X

template <typename S>
EVENKEEL_COLD const KernelTable<S>& find_compiled_kernels() {
  return *static_cast<const KernelTable<S>*>(CompiledKernels<S>::table(register_bytes()));
}
template <typename S>
const KernelTable<S>& compiled_kernels() {
  static const KernelTable<S>& found = find_compiled_kernels<S>();
  return found;
}

#define EVENKEEL_X(Result, name, Arguments) \
  template <typename S>                     \
  Result name(const Arguments<S>& a) {      \
    if constexpr (kHasVectors<S>) {         \
      return compiled_kernels<S>().name(a); \
    } else {                                \
      return one_by_one::name<S>(a);        \
    }                                       \
  }
EVENKEEL_EACH_KERNEL(EVENKEEL_X)
#undef EVENKEEL_X

#else

#if EVENKEEL_HAS_CHOICE
#define EVENKEEL_RUN(widest, name)            \
  const int bytes = register_bytes();         \
  if (bytes == 64) return widest::name<S>(a); \
  return bytes == 32 ? avx2::name<S>(a) : baseline::name<S>(a);
#elif EVENKEEL_HAS_VECTORS
#define EVENKEEL_RUN(widest, name) return baseline::name<S>(a);
#else
#define EVENKEEL_RUN(widest, name) return one_by_one::name<S>(a);
#endif
#define EVENKEEL_KERNEL(Result, name, Arguments, widest) \
  template <typename S>                                  \
  Result name(const Arguments<S>& a) {                   \
    if constexpr (kHasVectors<S>) {                      \
      EVENKEEL_RUN(widest, name)                         \
    } else {                                             \
      return one_by_one::name<S>(a);                     \
    }                                                    \
  }
#define EVENKEEL_X(Result, name, Arguments) EVENKEEL_KERNEL(Result, name, Arguments, avx512)
EVENKEEL_EACH_LARGE_KERNEL(EVENKEEL_X)
#undef EVENKEEL_X
#define EVENKEEL_X(Result, name, Arguments) EVENKEEL_KERNEL(Result, name, Arguments, avx2)
EVENKEEL_EACH_SMALL_KERNEL(EVENKEEL_X)
#undef EVENKEEL_X
#undef EVENKEEL_KERNEL
#undef EVENKEEL_RUN

#endif

EVENKEEL_END

#if EVENKEEL_HAS_VECTORS && defined(EVENKEEL_COMPILE_KERNELS)

template <typename S>
const void* compiled_table([[maybe_unused]] int bytes) {
#if EVENKEEL_HAS_CHOICE
#define EVENKEEL_WIDE(Result, name, Arguments) avx512::name<S>,
#define EVENKEEL_MIDDLE(Result, name, Arguments) avx2::name<S>,
  static constexpr KernelTable<S> with_avx512 = {EVENKEEL_EACH_LARGE_KERNEL(EVENKEEL_WIDE)
                                                     EVENKEEL_EACH_SMALL_KERNEL(EVENKEEL_MIDDLE)};
  static constexpr KernelTable<S> with_avx2 = {EVENKEEL_EACH_KERNEL(EVENKEEL_MIDDLE)};
#undef EVENKEEL_WIDE
#undef EVENKEEL_MIDDLE
  if (bytes == 64) return &with_avx512;
  if (bytes == 32) return &with_avx2;
#endif
#define EVENKEEL_NARROW(Result, name, Arguments) baseline::name<S>,
  static constexpr KernelTable<S> with_baseline = {EVENKEEL_EACH_KERNEL(EVENKEEL_NARROW)};
#undef EVENKEEL_NARROW
  return &with_baseline;
}

// NOLINTBEGIN(misc-definitions-in-headers): in one translation unit, as its macro says.
#define EVENKEEL_X(Scalar, name)                                        \
  const void* link_evenkeel_compiled_for_kernels_of_##name(int bytes) { \
    return compiled_table<Scalar>(bytes);                               \
  }
EVENKEEL_EACH_COMPILED_SCALAR(EVENKEEL_X)
// NOLINTEND(misc-definitions-in-headers)
#undef EVENKEEL_X

#endif

}  // namespace evenkeel::detail

#endif  // EVENKEEL_IS_SUPPORTED
