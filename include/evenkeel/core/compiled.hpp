// SPDX-License-Identifier: MIT
#pragma once

#include "evenkeel/core/few_rows.hpp"
#include "evenkeel/core/normalize.hpp"

// What calls have the core do: in their own unit, or in one that is compiled elsewhere.
//
// With EVENKEEL_EXTERN_KERNELS, defined for the whole program, the core and the kernels of float, double, half and
// bfloat16 are compiled elsewhere: link evenkeel::compiled, or compile <evenkeel/evenkeel.hpp> in one more unit that
// defines EVENKEEL_COMPILE_KERNELS. Each scalar type has one symbol, whose name says what to link.

namespace evenkeel::detail {

/// The core of one scalar type. A unit with AVX has other names for the types of arguments, so they go without a type;
/// they are plain data and the same in every unit.
struct CoreTable {
  void (*normalize)(const void* partition, const void* pass, const void* loops);
  bool (*are_variances)(const void* values, Index count);
  void (*normalize_by)(const void* partition, const void* pass, const void* given, const void* loops);
  Index (*workspace_size)(const void* partition);
  void (*differentiate)(const void* partition, const void* pass, const void* loops);
  void (*normalize_few_rows)(const void* rows, const void* formula, const void* gamma, const void* beta,
                             const void* moments);
  const void* (*fused_kernels)(bool backward, bool smooth, bool rms);
  bool (*infer_few_rows)(const void* rows, double epsilon, const void* given, const void* gamma,
                         const void* beta);
  Index (*move_statistics)(const void* statistics);
};

#if defined(EVENKEEL_EXTERN_KERNELS) || defined(EVENKEEL_COMPILE_KERNELS)
#define EVENKEEL_EACH_COMPILED_SCALAR(X) \
  X(float, float) X(double, double) X(Eigen::half, half) X(Eigen::bfloat16, bfloat16)
#define EVENKEEL_X(Scalar, name) extern "C" const void* link_evenkeel_compiled_for_kernels_of_##name();
EVENKEEL_EACH_COMPILED_SCALAR(EVENKEEL_X)
#undef EVENKEEL_X
#endif

EVENKEEL_BEGIN

/// The core in this unit.
template <typename S>
struct Core {
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;

  template <Sets kSets>
  static void normalize(const Partition& p, const Pass<S>& pass, const ParallelFor& loops) {
    detail::normalize<kSets, S>(p, pass, loops);
  }
  /// Not if one is negative or not finite, and maybe not if one is -0.
  static bool are_variances(const C* values, Index count) {
    return check_variances(CheckVariances<S>{values, count}) == 0;
  }
  static void normalize_by(const Partition& p, const Pass<S>& pass, const GivenStatistics<C>& given,
                           const ParallelFor& loops) {
    detail::normalize_by<S>(p, pass, given, loops);
  }
  template <Sets kSets>
  static Index workspace_size(const Partition& p) {
    return detail::workspace_size<kSets, S>(p);
  }
  template <Sets kSets>
  static void differentiate(const Partition& p, const Pass<S>& pass, const ParallelFor& loops) {
    detail::differentiate<kSets, S>(p, pass, loops);
  }
  template <Sets kSets>
  static void normalize_few_rows(const FewRows<S>& rows, const Formula& formula, const C* gamma,
                                 const C* beta, const StatisticsOfSets<T>& moments) {
    detail::normalize_few_rows<S>(rows, formula, gamma, beta, moments, rows_to_normalize<kSets, S>(formula));
  }
  template <Sets kSets, bool kBackward, bool kSmooth>
  static const FusedKernels<S>& fused_kernels(bool rms) {
    return detail::fused_kernels<kSets, kBackward, kSmooth, S>(rms);
  }
  static bool infer_few_rows(const FewRows<S>& rows, double epsilon, const GivenStatistics<C>& given,
                             const C* gamma, const C* beta) {
    return detail::infer_few_rows<S>(rows, epsilon, given, gamma, beta);
  }
  static Index move_statistics(const MoveStatistics<S>& a) { return detail::move_statistics(a); }
};

#if defined(EVENKEEL_EXTERN_KERNELS) && !defined(EVENKEEL_COMPILE_KERNELS)

/// The core that is compiled elsewhere, for all orders of memory.
template <typename S, const void* (*kTable)()>
struct CompiledCore {
  using C = ComputeOf<S>;

  /// Its only reference, so that a linker without it writes one line.
  EVENKEEL_OUTLINE_MEMBER static const CoreTable& table() { return *static_cast<const CoreTable*>(kTable()); }

  template <Sets>
  static void normalize(const Partition& p, const Pass<S>& pass, const ParallelFor& loops) {
    table().normalize(&p, &pass, &loops);
  }
  static bool are_variances(const C* values, Index count) { return table().are_variances(values, count); }
  static void normalize_by(const Partition& p, const Pass<S>& pass, const GivenStatistics<C>& given,
                           const ParallelFor& loops) {
    table().normalize_by(&p, &pass, &given, &loops);
  }
  template <Sets>
  static Index workspace_size(const Partition& p) {
    return table().workspace_size(&p);
  }
  template <Sets>
  static void differentiate(const Partition& p, const Pass<S>& pass, const ParallelFor& loops) {
    table().differentiate(&p, &pass, &loops);
  }
  template <Sets>
  static void normalize_few_rows(const FewRows<S>& rows, const Formula& formula, const C* gamma,
                                 const C* beta, const StatisticsOfSets<StatisticOf<S>>& moments) {
    table().normalize_few_rows(&rows, &formula, gamma, beta, &moments);
  }
  template <Sets, bool kBackward, bool kSmooth>
  static const FusedKernels<S>& fused_kernels(bool rms) {
    return *static_cast<const FusedKernels<S>*>(table().fused_kernels(kBackward, kSmooth, rms));
  }
  static bool infer_few_rows(const FewRows<S>& rows, double epsilon, const GivenStatistics<C>& given,
                             const C* gamma, const C* beta) {
    return table().infer_few_rows(&rows, epsilon, &given, gamma, beta);
  }
  static Index move_statistics(const MoveStatistics<S>& a) { return table().move_statistics(&a); }
};
#define EVENKEEL_X(Scalar, name) \
  template <>                    \
  struct Core<Scalar> : CompiledCore<Scalar, link_evenkeel_compiled_for_kernels_of_##name> {};
EVENKEEL_EACH_COMPILED_SCALAR(EVENKEEL_X)
#undef EVENKEEL_X

#endif

EVENKEEL_END

#ifdef EVENKEEL_COMPILE_KERNELS

template <typename S>
const void* core_table() {
  using C = ComputeOf<S>;
  static constexpr CoreTable table = {
      [](const void* p, const void* pass, const void* loops) {
        normalize<Sets::all, S>(*static_cast<const Partition*>(p), *static_cast<const Pass<S>*>(pass),
                                *static_cast<const ParallelFor*>(loops));
      },
      [](const void* values, Index count) {
        return check_variances(CheckVariances<S>{static_cast<const C*>(values), count}) == 0;
      },
      [](const void* p, const void* pass, const void* given, const void* loops) {
        normalize_by<S>(*static_cast<const Partition*>(p), *static_cast<const Pass<S>*>(pass),
                        *static_cast<const GivenStatistics<C>*>(given),
                        *static_cast<const ParallelFor*>(loops));
      },
      [](const void* p) { return workspace_size<Sets::all, S>(*static_cast<const Partition*>(p)); },
      [](const void* p, const void* pass, const void* loops) {
        differentiate<Sets::all, S>(*static_cast<const Partition*>(p), *static_cast<const Pass<S>*>(pass),
                                    *static_cast<const ParallelFor*>(loops));
      },
      [](const void* rows, const void* formula, const void* gamma, const void* beta, const void* moments) {
        normalize_few_rows<S>(*static_cast<const FewRows<S>*>(rows), *static_cast<const Formula*>(formula),
                              static_cast<const C*>(gamma), static_cast<const C*>(beta),
                              *static_cast<const StatisticsOfSets<StatisticOf<S>>*>(moments),
                              rows_to_normalize<Sets::all, S>(*static_cast<const Formula*>(formula)));
      },
      [](bool backward, bool smooth, bool rms) -> const void* {
        if (backward) {
          return smooth ? &fused_kernels<Sets::all, true, true, S>(rms)
                        : &fused_kernels<Sets::all, true, false, S>(rms);
        }
        return smooth ? &fused_kernels<Sets::all, false, true, S>(rms)
                      : &fused_kernels<Sets::all, false, false, S>(rms);
      },
      [](const void* rows, double epsilon, const void* given, const void* gamma, const void* beta) {
        return infer_few_rows<S>(*static_cast<const FewRows<S>*>(rows), epsilon,
                                 *static_cast<const GivenStatistics<C>*>(given), static_cast<const C*>(gamma),
                                 static_cast<const C*>(beta));
      },
      [](const void* a) { return move_statistics(*static_cast<const MoveStatistics<S>*>(a)); }};
  return &table;
}

#ifndef EVENKEEL_COMPILED_SCALARS  // or a unit compiles some of them, as cmake/compiled.cmake has it
#define EVENKEEL_COMPILED_SCALARS EVENKEEL_EACH_COMPILED_SCALAR
#endif
// NOLINTBEGIN(misc-definitions-in-headers): in one unit, as its macro says.
#define EVENKEEL_X(Scalar, name) \
  const void* link_evenkeel_compiled_for_kernels_of_##name() { return core_table<Scalar>(); }
EVENKEEL_COMPILED_SCALARS(EVENKEEL_X)
// NOLINTEND(misc-definitions-in-headers)
#undef EVENKEEL_X

#endif

}  // namespace evenkeel::detail
