// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "evenkeel/core/moments.hpp"
#include "evenkeel/core/parallel.hpp"
#include "evenkeel/core/partition.hpp"

#if EVENKEEL_HAS_VECTORS && defined(__x86_64__)
#include <cpuid.h>
#endif

namespace evenkeel::detail {
EVENKEEL_BEGIN
EVENKEEL_BEGIN_SMALL

/// What the formulas of norms differ in.
struct Formula {
  double epsilon = 0;
  bool rms = false;         // the mean is 0, and the variance the mean of squares
  double gamma_offset = 0;  // what is added to gamma

  /// -0 in place of 0, so that a gamma of -0 stays what it is whether it is added or not.
  double added_to_gamma() const { return gamma_offset == 0 ? -0.0 : gamma_offset; }
};

/// The kernels of a call that fuses something. Calls that do not have none, so that they do not compile them.
template <typename S>
struct FusedKernels {
  void (*map_lines)(const MapLines<S>&);
  void (*map_columns)(const MapColumns<S>&);
  void (*sum_lines)(const SumLines<S>&);
  void (*sum_columns)(const SumColumns<S>&);
  void (*map_gradients_of_lines)(const MapLines<S>&);
  void (*map_gradients_of_columns)(const MapColumns<S>&);
  void (*add_rows)(const AddRows<S>&);
  Index (*normalize_rows)(const NormalizeRows<S>&);
  Index (*epilogue_of_rows)(const EpilogueOfRows<S>&);
  Index (*row_gradients)(const RowGradients<S>&);
  void (*apply_epilogue)(const EpilogueOfValues<S>&);
};

/// What a call fuses with the norm.
///
/// Forward writes y = activation(norm(x) + residual). Backward needs dz = dy activation'(z), the gradient by
/// z = norm(x) + residual, with the bits that z had in forward. To write dz, it goes the way of forward, set by set, with
/// the saved statistics; then it takes dz for dy. Where values are in range and cells are large, kernels make dz while
/// they sum, and keep it or make it again when they map.
template <typename S>
struct Fused {
  const FusedKernels<S>* kernels = nullptr;
  Epilogue<S> epilogue{};
  S* dz = nullptr;        // backward with an activation; epilogue.dy is the dy of the caller
  bool keeps_dz = false;  // so it is also written where it could be made again
  const S* x = nullptr;   // with a skip: forward writes x + skip to sum, and normalizes that
  const S* skip = nullptr;
  S* sum = nullptr;
  const S* plus = nullptr;  // backward adds it to dx
};

/// What a call works on. Forward and backward are one shape of pass: reduce each set, then map its elements.
template <typename S>
struct Pass {
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;

  const S* x = nullptr;
  const S* dy = nullptr;  // backward
  S* out = nullptr;       // y, or dx; null if only statistics, or sums of cells, are wanted
  const C* gamma = nullptr;
  const C* beta = nullptr;
  Formula formula;
  StatisticsOfSets<T> moments;      // forward: written, may be null
  StatisticsOfSets<const T> saved;  // backward: what forward wrote
  C* grad_gamma = nullptr;          // backward, may be null
  C* grad_beta = nullptr;           // backward, may be null
  T* sums = nullptr;                // backward: workspace for the sums behind the parameters' gradients
  bool stream = false;              // the output goes past the caches

  Fused<S> fused;

  // The kernels of rows: layer norm's or RMS norm's.
  Index (*normalize_rows)(const NormalizeRows<S>&) = nullptr;
  Index (*row_gradients)(const RowGradients<S>&) = nullptr;

  /// Whether this is backward with an activation. What goes the way of forward then writes dz.
  bool makes_dz() const { return fused.dz != nullptr; }
  S* written() const { return makes_dz() ? fused.dz : out; }
  /// A kernel, or the one that a call takes instead if it fuses something.
  template <typename Kernel>
  Kernel* chosen(Kernel* plain, Kernel* FusedKernels<S>::*fusing) const {
    return fused.kernels == nullptr ? plain : fused.kernels->*fusing;
  }

  C gamma_offset() const { return from_double<C>(formula.added_to_gamma()); }
  const C* gamma_from(Index param) const { return gamma == nullptr ? nullptr : gamma + param; }
  const C* beta_from(Index param) const { return beta == nullptr ? nullptr : beta + param; }
  bool wants_params() const { return grad_gamma != nullptr || grad_beta != nullptr; }

  void save(Index set, const SetStatistics<T>& s) const {
    if (moments.inv_std == nullptr) return;
    moments.inv_std[set] = s.inv_std;
    if (moments.mean != nullptr) moments.mean[set] = s.mean;
    if (moments.mean_low != nullptr) moments.mean_low[set] = s.mean_low;
    if (moments.variance != nullptr) moments.variance[set] = s.variance;
  }
  /// Saves the statistics of `count` sets, which lie side by side in s: of first, first + step, and so on.
  void save(Index first, Index step, Index count, const StatisticsOfSets<const T>& s) const {
    if (moments.inv_std == nullptr) return;
    T* const to[] = {moments.inv_std, moments.mean, moments.mean_low, moments.variance};
    const T* const from[] = {s.inv_std, s.mean, s.mean_low, s.variance};
    for (int j = 0; j < 4; ++j) {
      if (to[j] == nullptr) continue;
      for (Index k = 0; k < count; ++k) to[j][first + k * step] = from[j][k];
    }
  }
  SetStatistics<T> load(Index set) const {
    return {saved.mean == nullptr ? T(0) : saved.mean[set],
            saved.mean_low == nullptr ? T(0) : saved.mean_low[set], T(0), saved.inv_std[set]};
  }
};

/// Whether a subnormal variance of inference matters beside epsilon.
template <typename C>
bool is_small_epsilon(double epsilon) {
  using Limits = std::numeric_limits<double>;
  return Range<C>::kBounded && epsilon < (sizeof(C) < 8 ? 0x1p-103 : Limits::min() / Limits::epsilon());
}

/// Sizes that follow from this machine's caches, in bytes. They never change a result.
struct Caches {
  Index second_level;  // of one core
  Index streaming,
      threads_streaming;  // of a pass's inputs and output: from there on the output goes past the caches
};

EVENKEEL_COLD inline Caches find_caches() {
  Caches caches{Index(2) << 20, Index(2) << 20, Index(2) << 20};
#if EVENKEEL_HAS_VECTORS && defined(__x86_64__)
  unsigned eax, ebx, ecx = 0, edx;
  if (__get_cpuid(0x80000006, &eax, &ebx, &ecx, &edx) != 0 && ecx >> 16 >= 128) {  // KiB; some tell nothing
    caches.second_level = Index(ecx >> 16) << 10;
  }
  __builtin_cpu_init();
  // AMD's third level is close to its cores, and several threads do not store faster past it.
  if (__builtin_cpu_is("amd")) {
    caches.streaming = Index(6) << 20;
    caches.threads_streaming = Index(16) << 20;
  }
#endif
  return caches;
}
inline const Caches& caches() {
  static const Caches found = find_caches();
  return found;
}

/// Whether the output goes past the caches: it is too large to be found there later, and does not lie over an input,
/// whose lines are there already.
template <typename S>
bool goes_past_caches(const Partition& p, const Pass<S>& pass, int threads) {
  const S* const dy = pass.makes_dz() && !pass.fused.keeps_dz ? pass.fused.epilogue.dy : pass.dy;
  const std::int64_t bytes = static_cast<std::int64_t>(sizeof(S)) * p.size() * (pass.dy == nullptr ? 2 : 3);
  if (bytes < (1 << 20) || pass.out == pass.x || pass.out == dy) return false;
  return bytes >= (threads > 1 ? caches().threads_streaming : caches().streaming);
}

/// How many elements ahead a map prefetches if it reads straight on.
constexpr Index kAhead = 512;

/// Where the sums over each cell are, cell = set * channels + channel: of dy, and of dy xhat. Sets' sums and
/// parameters' gradients are made of them.
template <typename T>
struct CellSums {
  T* dy;
  T* dy_xhat;

  static Index size(const Partition& p) { return 2 * p.sets() * p.channel.extent; }
  CellSums(const Partition& p, T* sums)
      : dy(p.elements_are_cells() ? nullptr : sums),
        dy_xhat(dy == nullptr ? nullptr : sums + p.sets() * p.channel.extent) {}
};

/// Where a block of sets adds to the gradients of parameters, if every element is a cell of its own; else null.
template <typename S>
struct BlockSums {
  StatisticOf<S>* gamma;
  StatisticOf<S>* beta;
  ComputeOf<S>* short_sums;  // of rows: 4 n, and n weights
};

template <typename T>
void set_to_zero(T* values, Index count) {
  if constexpr (std::is_arithmetic_v<T>) {
    std::memset(values, 0, static_cast<std::size_t>(count) * sizeof(T));
  } else {
    std::fill_n(values, count, T(0));
  }
}

/// A sum in a fixed order, four at a time.
template <typename T>
T total_of(const T* values, Index count) {
  T sum0(0), sum1(0), sum2(0), sum3(0);
  Index i = 0;
  for (; i + 4 <= count; i += 4) {
    sum0 += values[i];
    sum1 += values[i + 1];
    sum2 += values[i + 2];
    sum3 += values[i + 3];
  }
  for (; i < count; ++i) sum0 += values[i];
  return T(T(sum0 + sum1) + T(sum2 + sum3));
}

EVENKEEL_END_SMALL
EVENKEEL_END
}  // namespace evenkeel::detail
