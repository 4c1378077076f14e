// SPDX-License-Identifier: MIT
#pragma once

#include "evenkeel/core/cell_columns.hpp"
#include "evenkeel/core/element_columns.hpp"
#include "evenkeel/core/lines.hpp"
#include "evenkeel/core/rows.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN
EVENKEEL_BEGIN_SMALL

// A call cuts the sets into blocks, one a thread. A block is cut into batches that stay in a cache. Of each batch one
// kernel reduces and one maps.

/// The sets of a norm. A norm compiles only what it may need: for channels lines and columns, for features rows and
/// columns of elements, of which those of RMS norm are `rms`, for groups and for all norms all.
enum class Sets { channels, features, rms, groups, all };

inline constexpr bool has_rows(Sets sets) { return sets != Sets::channels; }
inline constexpr bool has_cells(Sets sets) { return sets != Sets::features && sets != Sets::rms; }

/// The kernels of rows are RMS norm's or those of the other norms.
template <Sets kSets, typename S>
auto rows_to_normalize([[maybe_unused]] const Formula& formula) -> Index (*)(const NormalizeRows<S>&) {
  if constexpr (kSets == Sets::all) {
    if (formula.rms) return normalize_rms_rows<S>;
  }
  if constexpr (kSets == Sets::rms) {
    return normalize_rms_rows<S>;
  } else {
    return normalize_rows<S>;
  }
}
template <Sets kSets, typename S>
auto rows_to_differentiate([[maybe_unused]] const Formula& formula) -> Index (*)(const RowGradients<S>&) {
  if constexpr (kSets == Sets::all) {
    if (formula.rms) return rms_row_gradients<S>;
  }
  if constexpr (kSets == Sets::rms) {
    return rms_row_gradients<S>;
  } else {
    return row_gradients<S>;
  }
}

/// The kernels of what a norm may fuse in one direction, smooth activations or others; `rms` counts for Sets::all.
template <Sets kSets, bool kBackward, bool kSmooth, typename S>
const FusedKernels<S>& fused_kernels([[maybe_unused]] bool rms) {
  if constexpr (kSets == Sets::all) {
    if (!rms) return fused_kernels<Sets::groups, kBackward, kSmooth, S>(false);
  }
  static constexpr FusedKernels<S> kKernels = [] {
    constexpr bool kRms = kSets == Sets::rms || kSets == Sets::all;
    FusedKernels<S> k{};
    if constexpr (kSmooth) {
      k.map_columns = map_smooth_columns<S>;
      k.apply_epilogue = apply_smooth_epilogue<S>;
      if constexpr (has_cells(kSets)) k.map_lines = map_smooth_lines<S>;
      if constexpr (has_cells(kSets) && kBackward) {
        k.sum_lines = sum_smooth_lines<S>;
        k.sum_columns = sum_smooth_columns<S>;
      }
      if constexpr (has_rows(kSets) && kRms && !kBackward) k.normalize_rows = normalize_smooth_rms_rows<S>;
      if constexpr (has_rows(kSets) && kRms && kBackward) k.epilogue_of_rows = smooth_epilogue_of_rms_rows<S>;
      if constexpr (has_rows(kSets) && !kRms && !kBackward) k.normalize_rows = normalize_smooth_rows<S>;
      if constexpr (has_rows(kSets) && !kRms && kBackward) k.epilogue_of_rows = smooth_epilogue_of_rows<S>;
    } else {
      k.map_columns = map_columns_with_options<S>;
      k.apply_epilogue = apply_epilogue<S>;
      if constexpr (has_cells(kSets)) k.map_lines = map_lines_with_options<S>;
      if constexpr (has_cells(kSets) && kBackward) {
        k.sum_lines = sum_fused_lines<S>;
        k.sum_columns = sum_fused_columns<S>;
        k.map_gradients_of_lines = map_fused_gradients_of_lines<S>;
        k.map_gradients_of_columns = map_fused_gradients_of_columns<S>;
      }
      if constexpr (has_rows(kSets) && !kBackward) k.add_rows = add_rows<S>;
      if constexpr (has_rows(kSets) && kRms && !kBackward)
        k.normalize_rows = normalize_rms_rows_with_options<S>;
      if constexpr (has_rows(kSets) && kRms && kBackward) {
        k.epilogue_of_rows = epilogue_of_rms_rows<S>;
        k.row_gradients = rms_row_gradients_with_options<S>;
      }
      if constexpr (has_rows(kSets) && !kRms && !kBackward) k.normalize_rows = normalize_rows_with_options<S>;
      if constexpr (has_rows(kSets) && !kRms && kBackward) {
        k.epilogue_of_rows = epilogue_of_rows<S>;
        k.row_gradients = row_gradients_with_options<S>;
      }
    }
    return k;
  }();
  return kKernels;
}

/// Calls f(passes) with the passes over a partition's order of memory.
template <Sets kSets, typename S, typename F>
void with_passes(const Partition& p, const Pass<S>& pass, const F& f) {
  if constexpr (has_cells(kSets)) {
    if (p.order == MemoryOrder::lines) return f(LinePasses<S>(p, pass));
    if (!p.elements_are_cells()) return f(CellColumnPasses<S>(p, pass));
  }
  if constexpr (has_rows(kSets)) {
    if (p.order == MemoryOrder::rows) return f(RowPasses<S>(p, pass));
    f(ElementColumnPasses<S>(p, pass));
  }
}

// Each of the following writes into the pass what follows from it: the kernels, and whether its output is streamed.

/// y = (x - mean) inv_std gamma + beta over every set of a partition that is not empty, and the statistics.
template <Sets kSets, typename S>
void normalize(const Partition& p, Pass<S>& pass, const ParallelFor& loops) {
  if constexpr (has_rows(kSets)) pass.normalize_rows = rows_to_normalize<kSets, S>(pass.formula);
  pass.stream = goes_past_caches(p, pass, loops.threads());
  with_passes<kSets>(p, pass, [&](const auto& passes) {
    passes.blocks().for_each(loops, pass.stream,
                             [&](Index, Index begin, Index end, const ParallelFor& its_loops) {
                               passes.forward(begin, end, its_loops);
                             });
  });
}

/// y = (x - mean) / sqrt(variance + epsilon) gamma + beta with given statistics of each channel.
template <typename S>
void normalize_by(const Partition& p, Pass<S>& pass, const GivenStatistics<ComputeOf<S>>& given,
                  const ParallelFor& loops) {
  pass.stream = goes_past_caches(p, pass, loops.threads());
  with_passes<Sets::channels>(p, pass, [&](const auto& passes) {
    passes.blocks().for_each(
        loops, pass.stream, [&](Index, Index begin, Index end, const ParallelFor& its_loops) {
          const SubnormalNumbers numbers(is_small_epsilon<ComputeOf<S>>(pass.formula.epsilon));
          passes.infer(begin, end, given, its_loops);
        });
  });
}

/// Where the sums of a backward call lie in its workspace.
template <typename S>
struct Workspace {
  using T = StatisticOf<S>;

  Index cells;   // sums of cells; 0 where every element is one
  Index blocks;  // each of which has params sums and row values
  Index params;
  Index row;  // of rows: short sums and weights

  Workspace(const Partition& p, Index block_count)
      : cells(p.elements_are_cells() ? 0 : CellSums<T>::size(p)),
        blocks(block_count),
        params(cells > 0 ? 0 : p.params()),
        row(p.order == MemoryOrder::rows ? 5 * p.set_size() : 0) {}

  Index size() const { return cells + blocks * (2 * params + row); }
  T* gamma(T* all, Index block) const { return all + 2 * block * params; }
  T* beta(T* all, Index block) const { return gamma(all, block) + params; }
  ComputeOf<S>* short_sums(T* all, Index block) const {
    static_assert(sizeof(ComputeOf<S>) <= sizeof(T) && alignof(ComputeOf<S>) <= alignof(T),
                  "a statistic has room for a value of the compute type");
    return reinterpret_cast<ComputeOf<S>*>(all + 2 * blocks * params + block * row);
  }
};

/// The size of the workspace of `differentiate`, in statistics.
template <Sets kSets, typename S>
Index workspace_size(const Partition& p) {
  Index size = 0;
  with_passes<kSets>(p, Pass<S>(),
                     [&](const auto& passes) { size = Workspace<S>(p, passes.blocks().count).size(); });
  return size;
}

/// dx of sets of one value: exactly 0 where it is finite, and what is added to it.
template <typename S>
EVENKEEL_COLD void clear_finite(const Partition& p, S* dx, const S* plus) {
  using C = ComputeOf<S>;
  for (Index set = 0; set < p.sets(); ++set) {
    const Index at = p.offset(set);
    const C value = value_at(dx + at), zero = C(value - value);
    put_value(dx + at, plus == nullptr ? zero : C(zero + value_at(plus + at)));
  }
}

/// dx, and the gradients of gamma and beta, over a partition that is not empty.
template <Sets kSets, typename S>
void differentiate(const Partition& p, Pass<S>& pass, const ParallelFor& loops) {
  using T = StatisticOf<S>;
  if constexpr (has_rows(kSets)) pass.row_gradients = rows_to_differentiate<kSets, S>(pass.formula);
  // Sets of one value, which do not move y, have no gradient but what is added to it.
  const bool has_none = p.set_size() == 1 && !pass.formula.rms;
  const S* const plus = pass.fused.plus;
  if (has_none) pass.fused.plus = nullptr;
  pass.stream = goes_past_caches(p, pass, loops.threads());
  Workspace<S> workspace(p, 0);
  with_passes<kSets>(p, pass, [&](const auto& passes) {
    const Blocks blocks = passes.blocks();
    workspace.blocks = blocks.count;
    blocks.for_each(loops, pass.stream,
                    [&](Index block, Index begin, Index end, const ParallelFor& its_loops) {
                      BlockSums<S> sums{nullptr, nullptr, nullptr};
                      if (workspace.params > 0) {
                        sums = {workspace.gamma(pass.sums, block), workspace.beta(pass.sums, block),
                                workspace.short_sums(pass.sums, block)};
                        set_to_zero(sums.gamma, 2 * workspace.params);
                      }
                      passes.backward(begin, end, its_loops, sums);
                    });
  });
  if (has_none && pass.out != nullptr) clear_finite(p, pass.out, plus);
  if (!pass.wants_params()) return;
  constexpr Index kBundle = 256;
  const bool of_cells = workspace.params == 0;
  const CellSums<T> cells(p, pass.sums);
  const T* const gamma = of_cells ? cells.dy_xhat : workspace.gamma(pass.sums, 0);
  const T* const beta = of_cells ? cells.dy : workspace.beta(pass.sums, 0);
  const Index terms = of_cells ? p.sets() / p.group.extent : workspace.blocks,
              stride = of_cells ? p.params() : 2 * workspace.params;
  loops.for_each((p.params() + kBundle - 1) / kBundle, kBundle * terms, [&](Index i) {
    const Index begin = i * kBundle, end = std::min(p.params(), begin + kBundle);
    const auto sum = [&](const T* from, ComputeOf<S>* to) {
      if (to != nullptr) sum_blocks(SumBlocks<S>{from + begin, end - begin, terms, stride, to + begin});
    };
    sum(gamma, pass.grad_gamma);
    sum(beta, pass.grad_beta);
  });
}

EVENKEEL_END_SMALL
EVENKEEL_END
}  // namespace evenkeel::detail
