// SPDX-License-Identifier: MIT
#pragma once

#include "evenkeel/core/pass.hpp"
#include "evenkeel/kernels/kernels.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN
EVENKEEL_BEGIN_SMALL

/// Cells of one kernel call: several sets of `of_set` cells each, or a part of one set.
struct Cells {
  Index first, count;  // numbered where they are used, as sets are
  Index set, sets, of_set;
  Index param;  // of the first cell; those of the others follow, or are the same in sample_columns
};

/// A value a cell, from one a set; room is used if they are not the same.
template <typename T>
const T* spread_over_cells(const Cells& cells, const T* of_sets, T* room) {
  if (cells.of_set == 1) return of_sets + cells.set;
  spread(Spread<T>{of_sets + cells.set, cells.sets, cells.of_set, room});
  return room;
}

/// Adds the sums of cells to those of their sets. Uses up the sums of cells.
template <typename T>
void add_to_sets(const Cells& cells, T* of_cells, T* of_sets) {
  if (cells.of_set > 1) fold(Fold<T>{of_cells, cells.sets, cells.of_set, of_cells});
  for (Index k = 0; k < cells.sets; ++k) of_sets[cells.set + k] += of_cells[k];
}

EVENKEEL_END_SMALL
EVENKEEL_END
}  // namespace evenkeel::detail
