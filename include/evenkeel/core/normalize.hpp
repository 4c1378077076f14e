#pragma once

#include "evenkeel/core/column_sets.hpp"
#include "evenkeel/core/line_sets.hpp"
#include "evenkeel/kernels/extern.hpp"

namespace evenkeel {
EVENKEEL_BEGIN

/// Calls f(LineSets or ColumnSets), whichever walks the partition.
template <typename Storage, Cells kCells, typename F>
void with_walk_of(const Partition& p, const F& f) {
  if (p.walk == (kCells == Cells::elements ? Walk::rows : Walk::runs)) {
    f(LineSets<Storage, kCells>(p));
  } else {
    f(ColumnSets<Storage, kCells == Cells::elements>(p));
  }
}

template <typename Storage, typename P, typename F>
void with_walk(const P& p, const F& f) {
  if constexpr (std::is_same_v<P, ChannelPartition>) {
    with_walk_of<Storage, Cells::sets>(p, f);
  } else {
    if constexpr (!std::is_same_v<P, FeaturePartition>) {
      if (!p.elements_are_cells()) return with_walk_of<Storage, Cells::channels>(p, f);
    }
    with_walk_of<Storage, Cells::elements>(p, f);
  }
}

/// y = (x - mean) inv_std gamma + beta over every set of a partition that is not empty.
template <typename Device, typename P, typename Storage>
void normalize(const Device& device, const P& p, ForwardTask<Storage> task) {
  const Team<Device> team(device, p.size());
  task.streams = goes_past_caches(p, task, team.threads());
  with_walk<Storage>(p, [&](const auto& walk) {
    walk.blocks().for_each(team, [&](Index, Index begin, Index end, const Team<Device>& of_block) {
      walk.forward(task, begin, end, of_block);
    });
  });
}

/// How many statistics `normalize_backward` needs to work in.
template <typename Storage, typename P>
Index backward_sums(const P& p) {
  Index count = 0;
  with_walk<Storage>(p, [&](const auto& walk) {
    count = p.elements_are_cells() ? BlockSums<Storage>::values_needed(p, walk.blocks().count)
                                   : CellSums<Storage>::values_needed(p);
  });
  return count;
}

/// dx, and the gradients of gamma and beta, over a partition that is not empty.
template <typename Device, typename P, typename Storage>
void normalize_backward(const Device& device, const P& p, BackwardTask<Storage> task) {
  const Team<Device> team(device, p.size());
  task.streams = goes_past_caches(p, task, team.threads());
  with_walk<Storage>(p, [&](const auto& walk) {
    const Blocks blocks = walk.blocks();
    const BlockSums<Storage> block_sums{p.params(), blocks.count, task.sums};
    blocks.for_each(team, [&](Index block, Index begin, Index end, const Team<Device>& of_block) {
      if (p.elements_are_cells()) {
        block_sums.clear(block);
        walk.backward(task, begin, end, of_block, block_sums.gamma(block), block_sums.beta(block));
      } else {
        walk.backward(task, begin, end, of_block, nullptr, nullptr);
      }
    });
    if (!task.wants_params()) return;
    const CellSums<Storage> cell_sums(p, task.sums);
    const Index terms = p.elements_are_cells() ? blocks.count : p.sets() / p.group.extent;
    const Index bundle = p.elements_are_cells() ? 256 : CellSums<Storage>::kMaxParams;
    team.for_each((p.params() + bundle - 1) / bundle, bundle * terms, [&](Index i) {
      const Index begin = i * bundle, end = std::min(p.params(), begin + bundle);
      if (p.elements_are_cells()) {
        block_sums.finish_params(task, begin, end);
      } else {
        cell_sums.finish_params(task, begin, end);
      }
    });
  });
}

EVENKEEL_END
}  // namespace evenkeel
