#pragma once

// Kernels that are compiled once, for programs of many translation units: they are most of what a norm costs to
// compile.
//
// Define EVENKEEL_EXTERN_KERNELS for the whole program, and EVENKEEL_COMPILE_KERNELS in one translation unit of each
// scalar in use, compiled for the same instruction set as those that call them:
//
//   #define EVENKEEL_COMPILE_KERNELS float   // or double, Eigen::half, Eigen::bfloat16
//   #include <evenkeel/kernels/extern.hpp>

#if defined(EVENKEEL_EXTERN_KERNELS) || defined(EVENKEEL_COMPILE_KERNELS)

#include "evenkeel/kernels/columns.hpp"
#include "evenkeel/kernels/row_gradients.hpp"
#include "evenkeel/kernels/rows.hpp"
#include "evenkeel/kernels/runs.hpp"
#include "evenkeel/kernels/whole_rows.hpp"
#include "evenkeel/simd/dispatch.hpp"

#define EVENKEEL_KERNEL(declaration, Storage, ...) \
  declaration void run<ComputeOf<Storage>>(const kernels::__VA_ARGS__&);

#define EVENKEEL_KERNELS(declaration, Storage)                                               \
  EVENKEEL_KERNEL(declaration, Storage, CentredSums<Storage>)                                \
  EVENKEEL_KERNEL(declaration, Storage, RunSums<kernels::Gradients, Storage>)                \
  EVENKEEL_KERNEL(declaration, Storage, RunApply<kernels::Normalize, Storage, false>)        \
  EVENKEEL_KERNEL(declaration, Storage, RunApply<kernels::Normalize, Storage, true>)         \
  EVENKEEL_KERNEL(declaration, Storage, RunApply<kernels::InputGradient, Storage, false>)    \
  EVENKEEL_KERNEL(declaration, Storage, RunApply<kernels::InputGradient, Storage, true>)     \
  EVENKEEL_KERNEL(declaration, Storage, NormalizeRows<Storage>)                              \
  EVENKEEL_KERNEL(declaration, Storage, RowGradients<Storage>)                               \
  EVENKEEL_KERNEL(declaration, Storage, RowApply<kernels::Normalize, Storage>)               \
  EVENKEEL_KERNEL(declaration, Storage, RowApply<kernels::InputGradient, Storage>)           \
  EVENKEEL_KERNEL(declaration, Storage, ColumnPivots<Storage>)                               \
  EVENKEEL_KERNEL(declaration, Storage, ColumnParamSums<Storage>)                            \
  EVENKEEL_KERNEL(declaration, Storage, ColumnSums<kernels::Deviations, Storage>)            \
  EVENKEEL_KERNEL(declaration, Storage, ColumnSums<kernels::Gradients, Storage>)             \
  EVENKEEL_KERNEL(declaration, Storage, ColumnSums<kernels::WeightedGradients, Storage>)     \
  EVENKEEL_KERNEL(declaration, Storage, ColumnApply<kernels::Normalize, Storage, false>)     \
  EVENKEEL_KERNEL(declaration, Storage, ColumnApply<kernels::Normalize, Storage, true>)      \
  EVENKEEL_KERNEL(declaration, Storage, ColumnApply<kernels::InputGradient, Storage, false>) \
  EVENKEEL_KERNEL(declaration, Storage, ColumnApply<kernels::InputGradient, Storage, true>)

namespace evenkeel::simd {
EVENKEEL_BEGIN

#ifdef EVENKEEL_EXTERN_KERNELS
EVENKEEL_KERNELS(extern template, float)
EVENKEEL_KERNELS(extern template, double)
EVENKEEL_KERNELS(extern template, Eigen::half)
EVENKEEL_KERNELS(extern template, Eigen::bfloat16)
#endif
#ifdef EVENKEEL_COMPILE_KERNELS
EVENKEEL_KERNELS(template, EVENKEEL_COMPILE_KERNELS)
#endif

EVENKEEL_END
}  // namespace evenkeel::simd

#undef EVENKEEL_KERNELS
#undef EVENKEEL_KERNEL

#endif
