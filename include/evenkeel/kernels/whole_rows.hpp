#pragma once

#include "evenkeel/kernels/rows.hpp"
#include "evenkeel/kernels/runs.hpp"
#include "evenkeel/kernels/sets.hpp"

namespace evenkeel::kernels {
EVENKEEL_BEGIN

/// y = (x - mean) inv_std gamma[f] + beta[f] of each row, and the row's statistics: CentredSums, FinishSums,
/// NormalizeCoefficients and RowApply for a few rows at a time. Rows of whole vectors are written while the next few
/// are summed, since sums wait for arithmetic and writing for memory.
///
/// Row r begins at x + offset + r stride and has n features; gamma and beta may be null. Statistics are written at
/// the row's number. Before rows that are out of range it stops, see InvStdRange; `written` says how many it wrote.
///
/// Limited by the ports that shuffle and add vectors for rows of one vector, by bandwidth beyond. Measured, as layer
/// norm, with 512-bit vectors, before rows were written beside sums: 1.35 times the floor for rows of 768 (1.7 inside
/// the second-level cache), 1.7 for 64, 2.6 for 16; with 256-bit ones, on an AMD EPYC: 1.2 to 1.35 (1.8 to 2.5 inside
/// the third-level cache, 2.3 to 3.1 inside the second), 2.3 to 3.4 and 3.4 to 4.9.
template <typename Storage>
struct NormalizeRows {
  using Compute = ComputeOf<Storage>;
  using Statistic = StatisticOf<Storage>;

  const Storage* x;
  Storage* out;
  bool stream;  // past the caches
  Index n;
  Index rows, offset, stride;  // rows: at most kBatch
  const Compute* gamma;
  const Compute* beta;
  Statistic epsilon;
  StatisticArrays<Statistic> statistics;
  Index* written;

  template <int Bytes>
  EVENKEEL_INLINE void operator()() const {
    using V = simd::VecOf<Compute, Bytes>;
    const Lines row{1, 0, 1, 0, n};
    const Index at_once = std::min(rows, near_sets(n, kMost));
    Index offsets[kMost];
    for (Index r = 0; r < at_once; ++r) offsets[r] = r * stride;
    Compute pivots[kMost], means[kBatch], scales[kBatch], shifts[kBatch];
    Statistic first[kMost], second[kMost];

    const auto apply = [&](Index from, Index some, Index ahead) EVENKEEL_INLINE_LAMBDA {
      return RowApply<Normalize, Storage>{x,
                                          nullptr,
                                          out,
                                          stream,
                                          ahead,
                                          0,
                                          n,
                                          some,
                                          offset + from * stride,
                                          stride,
                                          {means + from, scales + from, shifts + from, nullptr},
                                          gamma,
                                          beta};
    };
    const bool in_parts = n > 8 * V::kLanes && apply(0, rows, 0).template has_parts<V>();
    const Index ahead = (in_parts ? 2 : 1) * at_once * stride;
    Index done = 0;
    for (Index r = 0; r < rows; r += at_once) {
      const Index some = std::min(at_once, rows - r);
      const bool beside = in_parts && r > 0;
      const CentredSums<Storage> sums{
          x + offset + r * stride, row, 0, n, some, offsets, !beside, pivots, first, second};
      bool summed = false;
      if (beside) {
        const auto before = apply(done, some, ahead);
        summed = sums.template beside<Bytes>([before](Index k, Index i)
                                                 EVENKEEL_INLINE_LAMBDA { before.template part<V>(k, i); });
        done += some;
      }
      if (!summed) sums.template operator()<Bytes>();
      const StatisticArrays<Statistic> to = statistics.from(r);
      FinishSums<Compute, Statistic>{some, pivots, first, second, from_count<Statistic>(n), epsilon, to}
          .template operator()<Bytes>();
      bool in_range;
      NormalizeCoefficients<Compute, Statistic>{some,      to.mean,    to.mean_low, to.inv_std,
                                                means + r, scales + r, shifts + r,  &in_range}
          .template operator()<Bytes>();
      if (!in_range) break;
      if (in_parts && r + some < rows) continue;
      apply(done, r + some - done, ahead).template operator()<Bytes>();
      done = r + some;
    }
    *written = done;
  }

 private:
  static constexpr Index kMost = kBatch / 2;  // rows at a time
};

EVENKEEL_END
}  // namespace evenkeel::kernels
