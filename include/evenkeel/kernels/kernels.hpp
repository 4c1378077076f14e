// SPDX-License-Identifier: MIT
#pragma once

#include "evenkeel/base/config.hpp"
#if EVENKEEL_IS_SUPPORTED

#include "evenkeel/kernels/instruction_sets.hpp"

// Kernels by name, in the code of the chosen instruction set.

namespace evenkeel::detail {

/// X(result, kernel, arguments) of each kernel that walks the elements in every pass. The small ones take less time: they
/// are compiled for AVX2, and one by one for older machines.
#define EVENKEEL_EACH_LARGE_KERNEL(X)           \
  X(void, sum_lines, SumLines)                  \
  X(void, map_lines, MapLines)                  \
  X(void, map_gradients_of_lines, MapLines)     \
  X(void, sum_columns, SumColumns)              \
  X(void, map_columns, MapColumns)              \
  X(void, map_gradients_of_columns, MapColumns) \
  X(void, sum_params, SumParams)                \
  X(Index, normalize_rows, NormalizeRows)       \
  X(Index, normalize_rms_rows, NormalizeRows)   \
  X(Index, row_gradients, RowGradients)         \
  X(Index, rms_row_gradients, RowGradients)
/// Those of what is optional: callers without options do not compile them.
#define EVENKEEL_EACH_KERNEL_WITH_OPTIONS(X)               \
  X(void, map_lines_with_options, MapLines)                \
  X(void, sum_columns_with_options, SumColumns)            \
  X(void, map_columns_by_row, MapColumns)                  \
  X(void, map_columns_with_options, MapColumns)            \
  X(void, add_rows, AddRows)                               \
  X(Index, normalize_rows_with_options, NormalizeRows)     \
  X(Index, normalize_rms_rows_with_options, NormalizeRows) \
  X(Index, row_gradients_with_options, RowGradients)       \
  X(Index, rms_row_gradients_with_options, RowGradients)
/// Of masked lines, which no call has yet.
#define EVENKEEL_EACH_KERNEL_OF_MASKS(X) X(void, sum_lines_with_options, SumLines)
/// Those of activations in backward, and of smooth ones.
#define EVENKEEL_EACH_FUSED_KERNEL(X)                 \
  X(void, sum_fused_lines, SumLines)                  \
  X(void, map_fused_gradients_of_lines, MapLines)     \
  X(void, sum_fused_columns, SumColumns)              \
  X(void, map_fused_gradients_of_columns, MapColumns) \
  X(Index, epilogue_of_rows, EpilogueOfRows)          \
  X(Index, epilogue_of_rms_rows, EpilogueOfRows)      \
  X(void, map_smooth_lines, MapLines)                 \
  X(void, map_smooth_columns, MapColumns)             \
  X(void, sum_smooth_lines, SumLines)                 \
  X(void, sum_smooth_columns, SumColumns)             \
  X(Index, normalize_smooth_rows, NormalizeRows)      \
  X(Index, normalize_smooth_rms_rows, NormalizeRows)  \
  X(Index, smooth_epilogue_of_rows, EpilogueOfRows)   \
  X(Index, smooth_epilogue_of_rms_rows, EpilogueOfRows)
/// Those of tiny calls: without AVX-512, whose masks make the least ones slower.
#define EVENKEEL_EACH_TINY_KERNEL(X) X(Index, infer_columns, InferColumns)
#define EVENKEEL_EACH_SMALL_KERNEL(X)                        \
  X(void, pivot_lines, PivotLines)                           \
  X(void, pivot_columns, PivotColumns)                       \
  X(void, sum_wide, SumWide)                                 \
  X(void, map_wide, MapWide)                                 \
  X(void, infer_wide_lanes, InferWide)                       \
  X(void, map_gradients_wide, MapWide)                       \
  X(unsigned, finish_sums, FinishSums)                       \
  X(unsigned, finish_gradients, FinishGradients)             \
  X(void, coefficients, Coefficients)                        \
  X(unsigned, check_variances, CheckVariances)               \
  X(Index, move_statistics, MoveStatistics)                  \
  X(unsigned, inference_coefficients, InferenceCoefficients) \
  X(void, spread, Spread)                                    \
  X(void, sum_blocks, SumBlocks)                             \
  X(void, fold, Fold)                                        \
  X(void, apply_epilogue, EpilogueOfValues)

template <typename S>
inline constexpr bool kHasVectors =
    EVENKEEL_HAS_VECTORS && (std::is_same_v<ComputeOf<S>, float> ||
                             std::is_same_v<ComputeOf<S>, double>)&&(std::is_same_v<S, ComputeOf<S>> ||
                                                                     std::is_same_v<S, Eigen::half> ||
                                                                     std::is_same_v<S, Eigen::bfloat16>);

/// Whether registers of 16 bytes take S. To fill them, 16-bit elements would be converted one by one and gathered: that
/// takes a few times as long as to compute them one by one.
template <typename S>
inline constexpr bool kHasBaseline = kHasVectors<S>&& std::is_same_v<S, ComputeOf<S>>;

EVENKEEL_BEGIN

#if EVENKEEL_HAS_OWN_VECTORS
#define EVENKEEL_RUN_BASELINE(name) \
  if constexpr (kHasBaseline<S>) {  \
    return baseline::name<S>(a);    \
  } else {                          \
    return one_by_one::name<S>(a);  \
  }
#endif
#if EVENKEEL_HAS_OWN_VECTORS && EVENKEEL_HAS_CHOICE
#define EVENKEEL_RUN_LARGE(name)              \
  const int bytes = register_bytes();         \
  if (bytes == 64) return avx512::name<S>(a); \
  if (bytes == 32) return avx2::name<S>(a);   \
  EVENKEEL_RUN_BASELINE(name)
#define EVENKEEL_RUN_TINY(name)                        \
  if (register_bytes() >= 32) return avx2::name<S>(a); \
  EVENKEEL_RUN_BASELINE(name)
#define EVENKEEL_RUN_SMALL(name) return register_bytes() >= 32 ? avx2::name<S>(a) : one_by_one::name<S>(a);
#elif EVENKEEL_HAS_OWN_VECTORS
#define EVENKEEL_RUN_LARGE(name) EVENKEEL_RUN_BASELINE(name)
#define EVENKEEL_RUN_TINY(name) EVENKEEL_RUN_BASELINE(name)
#define EVENKEEL_RUN_SMALL(name) EVENKEEL_RUN_BASELINE(name)
#else
#define EVENKEEL_RUN_LARGE(name) return one_by_one::name<S>(a);
#define EVENKEEL_RUN_TINY(name) return one_by_one::name<S>(a);
#define EVENKEEL_RUN_SMALL(name) return one_by_one::name<S>(a);
#endif
#define EVENKEEL_KERNEL(Result, name, Arguments, run) \
  template <typename S>                               \
  Result name(const Arguments<S>& a) {                \
    if constexpr (kHasVectors<S>) {                   \
      run(name)                                       \
    } else {                                          \
      return one_by_one::name<S>(a);                  \
    }                                                 \
  }
#define EVENKEEL_X(Result, name, Arguments) EVENKEEL_KERNEL(Result, name, Arguments, EVENKEEL_RUN_LARGE)
EVENKEEL_EACH_LARGE_KERNEL(EVENKEEL_X)
EVENKEEL_EACH_KERNEL_WITH_OPTIONS(EVENKEEL_X)
EVENKEEL_EACH_KERNEL_OF_MASKS(EVENKEEL_X)
EVENKEEL_EACH_FUSED_KERNEL(EVENKEEL_X)
#undef EVENKEEL_X
#define EVENKEEL_X(Result, name, Arguments) EVENKEEL_KERNEL(Result, name, Arguments, EVENKEEL_RUN_TINY)
EVENKEEL_EACH_TINY_KERNEL(EVENKEEL_X)
#undef EVENKEEL_X
#define EVENKEEL_X(Result, name, Arguments) EVENKEEL_KERNEL(Result, name, Arguments, EVENKEEL_RUN_SMALL)
EVENKEEL_EACH_SMALL_KERNEL(EVENKEEL_X)
EVENKEEL_X(void, apply_smooth_epilogue, EpilogueOfValues)
#undef EVENKEEL_X
#undef EVENKEEL_KERNEL
#undef EVENKEEL_RUN_BASELINE
#undef EVENKEEL_RUN_LARGE
#undef EVENKEEL_RUN_TINY
#undef EVENKEEL_RUN_SMALL

EVENKEEL_END

}  // namespace evenkeel::detail

#endif  // EVENKEEL_IS_SUPPORTED
