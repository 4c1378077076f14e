#pragma once

#include <algorithm>

#include "evenkeel/base/scratch.hpp"
#include "evenkeel/core/partition.hpp"
#include "evenkeel/kernels/lines.hpp"

namespace evenkeel {
EVENKEEL_BEGIN

/// Sets that are worked on together, and where they begin; of rows, which are p.batch.stride apart, the first.
struct LineBatch {
  Index first, step, sets;
  Scratch<Index, kernels::kBatch> offsets;

  Index set(Index k) const { return first + k * step; }
};

/// How statistics sets that are lines in memory are taken, several at a time: rows group by group, so that a batch
/// has the same parameters; runs as they lie in memory.
template <bool kRows>
class LineBatches {
 public:
  explicit LineBatches(const Partition& p) : p_(p) {}

  /// Calls f(batch) for items [begin, end), at most `most` in a batch.
  template <typename F>
  void for_each(Index begin, Index end, Index most, const F& f) const {
    const Index groups = p_.group.extent, samples = p_.sets() / groups;
    LineBatch batch;
    for (Index item = begin; item < end; item += batch.sets) {
      batch.sets = std::min(most, end - item);
      if (kRows) {
        batch.first = item % samples * groups + item / samples;
        batch.step = groups;
        batch.sets = std::min(batch.sets, samples - item % samples);
        batch.offsets[0] = p_.offset(batch.first);
      } else {
        batch.first = item;
        batch.step = 1;
        for (Index k = 0; k < batch.sets; ++k) batch.offsets[k] = p_.offset(item + k);
      }
      f(batch);
    }
  }

  /// Calls f(batch) for a batch's sets from `begin` on, some of which are out of range: in whole short sums, so that
  /// what rows add up to does not depend on how many there are in the batch, and of at most that many each alone.
  template <typename F>
  void for_each_part(const LineBatch& batch, Index begin, const F& f) const {
    const Index most = batch.sets > kernels::kShortParamSum ? kernels::kShortParamSum : 1;
    for (Index k = begin; k < batch.sets; k += most) with_part(batch, k, std::min(most, batch.sets - k), f);
  }

  /// For each set k of a batch: pass(the set as a batch, k) if it is in range, else rescue(set).
  template <typename InRange, typename Pass, typename Rescue>
  EVENKEEL_COLD void for_each_alone(const LineBatch& batch, const InRange& in_range, const Pass& pass,
                                    const Rescue& rescue) const {
    for (Index k = 0; k < batch.sets; ++k) {
      if (in_range(k)) {
        with_part(batch, k, 1, [&](const LineBatch& alone) { pass(alone, k); });
      } else {
        rescue(batch.set(k));
      }
    }
  }

 private:
  /// Calls f(sets k, k + 1, ... of a batch as a batch of their own).
  template <typename F>
  void with_part(const LineBatch& batch, Index k, Index sets, const F& f) const {
    LineBatch part;
    part.first = batch.set(k);
    part.step = batch.step;
    part.sets = sets;
    for (Index j = 0; j < sets; ++j) part.offsets[j] = p_.offset(part.set(j));
    f(part);
  }

  const Partition& p_;
};

EVENKEEL_END
}  // namespace evenkeel
