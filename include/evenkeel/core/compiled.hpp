// SPDX-License-Identifier: MIT
#pragma once

#include "evenkeel/core/call_checks.hpp"
#include "evenkeel/core/few_rows.hpp"
#include "evenkeel/core/normalize.hpp"
#include "evenkeel/core/partitions.hpp"

// What calls have the core do: in their own unit, or in one that is compiled elsewhere.
//
// With EVENKEEL_EXTERN_KERNELS, defined for the whole program, the core and the kernels of float, double, half and
// bfloat16 are compiled elsewhere: link evenkeel::compiled, or compile <evenkeel/evenkeel.hpp> in one more unit that
// defines EVENKEEL_COMPILE_KERNELS. Each scalar type has one symbol, whose name says what to link.

namespace evenkeel::detail {

/// Writes the partition of x by some axes; see partition_of.
using PartitionBy = void(const void* caller, const void* x, const void* strides, const void* axes,
                         void* partition);

/// The core of one scalar type. A unit with AVX has other names for the types of arguments, so they go without a type;
/// they lie in memory alike in every unit.
struct CoreTable {
  PartitionBy *partition_by_channels, *partition_by_features, *partition_by_groups;
  void (*check_forward)(const void* caller, const void* arguments, Index params);
  void (*check_backward)(const void* caller, const void* arguments, Index params, const void* seen);
  void (*copy_input)(const void* input, const void* strides, void* to);
  void (*take_seen_with_gaps)(const void* arguments, const void* values, void* seen);
  void (*normalize)(const void* partition, void* pass, const void* loops);
  void (*check_given)(const void* caller, const void* statistics, Index channels);
  void (*normalize_by)(const void* partition, void* pass, const void* given, const void* loops);
  Index (*workspace_size)(const void* partition);
  void (*differentiate)(const void* partition, void* pass, const void* loops);
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

  template <typename Axes>
  static Partition partition(const Caller& caller, const Argument& x, const Strides& strides,
                             const Axes& axes) {
    return partition_of(caller, x, strides, axes);
  }
  static void check_forward(const Caller& caller, const ForwardArguments& a, Index params) {
    detail::check_forward(caller, a, params);
  }
  static void check_backward(const Caller& caller, const BackwardArguments& a, Index params,
                             const Fingerprint* seen) {
    detail::check_backward<S>(caller, a, params, seen);
  }
  static void copy_input(const Argument& input, const Strides& strides, S* to) {
    detail::copy_input(input, strides, to);
  }
  static void take_seen_with_gaps(const ForwardArguments& a, const S* values, Fingerprint& seen) {
    detail::take_seen_with_gaps(a, values, seen);
  }
  template <Sets kSets>
  static void normalize(const Partition& p, Pass<S>& pass, const ParallelFor& loops) {
    detail::normalize<kSets, S>(p, pass, loops);
  }
  static void check_given(const Caller& caller, const InferenceArguments& given, Index channels) {
    detail::check_given<S>(caller, given, channels);
  }
  static void normalize_by(const Partition& p, Pass<S>& pass, const GivenStatistics<C>& given,
                           const ParallelFor& loops) {
    detail::normalize_by<S>(p, pass, given, loops);
  }
  template <Sets kSets>
  static Index workspace_size(const Partition& p) {
    return detail::workspace_size<kSets, S>(p);
  }
  template <Sets kSets>
  static void differentiate(const Partition& p, Pass<S>& pass, const ParallelFor& loops) {
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

  static Partition partition(const Caller& caller, const Argument& x, const Strides& strides,
                             const ChannelAxis& axes) {
    return partition_by(table().partition_by_channels, caller, x, strides, &axes);
  }
  static Partition partition(const Caller& caller, const Argument& x, const Strides& strides,
                             const FeatureAxes& axes) {
    return partition_by(table().partition_by_features, caller, x, strides, &axes);
  }
  static Partition partition(const Caller& caller, const Argument& x, const Strides& strides,
                             const GroupAxes& axes) {
    return partition_by(table().partition_by_groups, caller, x, strides, &axes);
  }
  static void check_forward(const Caller& caller, const ForwardArguments& a, Index params) {
    table().check_forward(&caller, &a, params);
  }
  static void check_backward(const Caller& caller, const BackwardArguments& a, Index params,
                             const Fingerprint* seen) {
    table().check_backward(&caller, &a, params, seen);
  }
  static void copy_input(const Argument& input, const Strides& strides, S* to) {
    table().copy_input(&input, &strides, to);
  }
  static void take_seen_with_gaps(const ForwardArguments& a, const S* values, Fingerprint& seen) {
    table().take_seen_with_gaps(&a, values, &seen);
  }
  template <Sets>
  static void normalize(const Partition& p, Pass<S>& pass, const ParallelFor& loops) {
    table().normalize(&p, &pass, &loops);
  }
  static void check_given(const Caller& caller, const InferenceArguments& given, Index channels) {
    table().check_given(&caller, &given, channels);
  }
  static void normalize_by(const Partition& p, Pass<S>& pass, const GivenStatistics<C>& given,
                           const ParallelFor& loops) {
    table().normalize_by(&p, &pass, &given, &loops);
  }
  template <Sets>
  static Index workspace_size(const Partition& p) {
    return table().workspace_size(&p);
  }
  template <Sets>
  static void differentiate(const Partition& p, Pass<S>& pass, const ParallelFor& loops) {
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

 private:
  EVENKEEL_OUTLINE_MEMBER static Partition partition_by(PartitionBy* make, const Caller& caller,
                                                        const Argument& x, const Strides& strides,
                                                        const void* axes) {
    Partition p;
    make(&caller, &x, &strides, axes, &p);
    return p;
  }
};
#define EVENKEEL_X(Scalar, name) \
  template <>                    \
  struct Core<Scalar> : CompiledCore<Scalar, link_evenkeel_compiled_for_kernels_of_##name> {};
EVENKEEL_EACH_COMPILED_SCALAR(EVENKEEL_X)
#undef EVENKEEL_X

#endif

EVENKEEL_END

#ifdef EVENKEEL_COMPILE_KERNELS

template <typename Axes>
void write_partition(const void* caller, const void* x, const void* strides, const void* axes,
                     void* partition) {
  *static_cast<Partition*>(partition) =
      partition_of(*static_cast<const Caller*>(caller), *static_cast<const Argument*>(x),
                   *static_cast<const Strides*>(strides), *static_cast<const Axes*>(axes));
}

template <typename S>
const void* core_table() {
  using C = ComputeOf<S>;
  static constexpr CoreTable table = {
      write_partition<ChannelAxis>,
      write_partition<FeatureAxes>,
      write_partition<GroupAxes>,
      [](const void* caller, const void* a, Index params) {
        check_forward(*static_cast<const Caller*>(caller), *static_cast<const ForwardArguments*>(a), params);
      },
      [](const void* caller, const void* a, Index params, const void* seen) {
        check_backward<S>(*static_cast<const Caller*>(caller), *static_cast<const BackwardArguments*>(a),
                          params, static_cast<const Fingerprint*>(seen));
      },
      [](const void* input, const void* strides, void* to) {
        copy_input(*static_cast<const Argument*>(input), *static_cast<const Strides*>(strides),
                   static_cast<S*>(to));
      },
      [](const void* a, const void* values, void* seen) {
        take_seen_with_gaps(*static_cast<const ForwardArguments*>(a), static_cast<const S*>(values),
                            *static_cast<Fingerprint*>(seen));
      },
      [](const void* p, void* pass, const void* loops) {
        normalize<Sets::all, S>(*static_cast<const Partition*>(p), *static_cast<Pass<S>*>(pass),
                                *static_cast<const ParallelFor*>(loops));
      },
      [](const void* caller, const void* given, Index channels) {
        check_given<S>(*static_cast<const Caller*>(caller), *static_cast<const InferenceArguments*>(given),
                       channels);
      },
      [](const void* p, void* pass, const void* given, const void* loops) {
        normalize_by<S>(*static_cast<const Partition*>(p), *static_cast<Pass<S>*>(pass),
                        *static_cast<const GivenStatistics<C>*>(given),
                        *static_cast<const ParallelFor*>(loops));
      },
      [](const void* p) { return workspace_size<Sets::all, S>(*static_cast<const Partition*>(p)); },
      [](const void* p, void* pass, const void* loops) {
        differentiate<Sets::all, S>(*static_cast<const Partition*>(p), *static_cast<Pass<S>*>(pass),
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
