#pragma once

#include "evenkeel/kernels/rows.hpp"
#include "evenkeel/kernels/runs.hpp"
#include "evenkeel/kernels/sets.hpp"

namespace evenkeel::kernels {

/// y = (x - mean) inv_std gamma[f] + beta[f] of each row, and the row's statistics: CentredSums, FinishSums,
/// NormalizeCoefficients and RowApply for a few rows at a time, so that arithmetic and memory work side by side.
///
/// Row r begins at x + offset + r stride and has n features; gamma and beta may be null. Statistics are written at
/// the row's number. Limited by the ports that shuffle and add vectors for rows of one vector, by bandwidth beyond.
/// Measured, as layer norm, with 512-bit vectors: 1.35 times the floor for rows of 768 (1.7 inside the second-level cache),
/// 1.7 for 64, 2.6 for 16; with 256-bit ones, on an AMD EPYC: 1.5 (2.3 to 3.1), 1.9 and 4.8.
template <typename Storage>
struct NormalizeRows {
  using Compute = ComputeOf<Storage>;
  using Statistic = StatisticOf<Storage>;

  const Storage* x;
  Storage* out;
  bool stream;  // past the caches
  Index ahead;  // see prefetch()
  Index n;
  Index rows, offset, stride;
  const Compute* gamma;
  const Compute* beta;
  Statistic epsilon;
  StatisticArrays<Statistic> statistics;

  template <int Bytes>
  EVENKEEL_INLINE void operator()() const {
    constexpr Index kAtOnce = 64;
    const Lines row{1, 0, 1, 0, n};
    Index offsets[kAtOnce];
    for (Index j = 0; j < kAtOnce; ++j) offsets[j] = j * stride;
    Compute pivots[kAtOnce], means[kAtOnce], scales[kAtOnce], shifts[kAtOnce];
    Statistic first[kAtOnce], second[kAtOnce];
    for (Index r = 0; r < rows; r += kAtOnce) {
      const Index some = std::min(kAtOnce, rows - r), begin = offset + r * stride;
      CentredSums<Storage>{x + begin, row, 0, n, some, offsets, true, pivots, first, second}
          .template operator()<Bytes>();
      const StatisticArrays<Statistic> to = statistics.from(r);
      FinishSums<Compute, Statistic>{some, pivots, first, second, from_count<Statistic>(n), epsilon, to}
          .template operator()<Bytes>();
      NormalizeCoefficients<Compute, Statistic>{some, to.mean, to.mean_low, to.inv_std, means, scales, shifts}
          .template operator()<Bytes>();
      RowApply<Normalize, Storage>{
          x,     nullptr, out, stream, ahead, 0, n, some, begin, stride, {means, scales, shifts, nullptr},
          gamma, beta}
          .template operator()<Bytes>();
    }
  }
};

}  // namespace evenkeel::kernels
