// SPDX-License-Identifier: MIT
#pragma once

#include "evenkeel/core/argument.hpp"
#include "evenkeel/core/wide.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN

// A call on a few elements, all of which fit the nearest cache, goes from its arguments to a kernel. A plan would take
// longer than the work. What is not plainly right goes the way of other calls, which knows each error.

/// x and y as rows of n neighbours along the axis that is normalized; no rows, and n -1 so that nothing fits, if a call
/// has to look closer.
template <typename S>
struct FewRows {
  static constexpr Index kMostElements = 2048;

  const S* x;
  S* y;
  Index rows, n;
  std::uintptr_t bytes;  // of y

  bool is_apart_from(const void* values, std::uintptr_t its_bytes) const {
    // From the first place where they would overlap to the last, in one comparison.
    const std::uintptr_t first = reinterpret_cast<std::uintptr_t>(y) - (its_bytes - 1);
    return reinterpret_cast<std::uintptr_t>(values) - first >= bytes + its_bytes - 1;
  }

  /// Whether there are as many parameters as expected, n or none, and they do not overlap y.
  template <typename Param>
  bool fit(const Vector<Param>& values, Index expected) const {
    return values.size() == expected && is_apart_from(values.data(), bytes_of<Param>(n));
  }
};

template <typename Param>
const Param* data_of(const Vector<Param>& values) {
  return values.size() == 0 ? nullptr : values.data();
}

template <typename S, typename X, typename Y>
EVENKEEL_INLINE FewRows<S> few_rows([[maybe_unused]] const X& x, [[maybe_unused]] Y& y,
                                    [[maybe_unused]] Index axis, [[maybe_unused]] Index n) {
  if constexpr (ArgumentOf<X>::kIsArgument && ArgumentOf<Y>::kIsArgument) {
    using ofX = ArgumentOf<X>;
    using ofY = ArgumentOf<Y>;
    const int rank = ofX::rank(x), fastest = ofX::layout(x) == row_major ? rank - 1 : 0;
    bool is_right = (axis < 0 ? axis + rank : axis) == fastest && rank == ofY::rank(y) &&
                    ofX::layout(x) == ofY::layout(y) && ofX::is_contiguous(x) && ofY::is_contiguous(y);
    for (int i = 0; is_right && i < rank; ++i) is_right = ofX::extent(x, i) == ofY::extent(y, i);
    const Index size = x.size();
    is_right = is_right && size > 0 && size <= FewRows<S>::kMostElements && ofX::extent(x, fastest) == n;
    const void* in = data_in(x);
    const void* out = data_in(y);
    if (is_right && in != nullptr && out != nullptr) {
      const FewRows<S> rows{static_cast<const S*>(in), const_cast<S*>(static_cast<const S*>(out)), size / n,
                            n, bytes_of<S>(size)};
      if (in == out || rows.is_apart_from(in, rows.bytes)) return rows;
    }
  }
  return {nullptr, nullptr, 0, -1, 0};
}

/// y of a channel that is out of range, numbered in a.
template <typename S>
EVENKEEL_COLD void infer_wide_channel(const InferColumns<S>& a, Index channel, double epsilon) {
  Pass<S> pass;
  pass.x = a.x;
  pass.out = a.out;
  pass.gamma = a.gamma;
  pass.beta = a.beta;
  pass.formula.epsilon = epsilon;
  infer_wide(Lines{1, 0, a.rows, a.stride, 1}, pass, {channel, 1, 1, channel}, a.given);
}

/// y = (x - mean) / sqrt(variance + epsilon) gamma + beta of rows of channels. Returns false, and writes nothing, if a
/// variance has to be looked at closer.
template <typename S>
bool infer_few_rows(const FewRows<S>& few, double epsilon, const GivenStatistics<ComputeOf<S>>& given,
                    const ComputeOf<S>* gamma, const ComputeOf<S>* beta) {
  InferColumns<S> a{few.x, few.y, few.rows, few.n, few.n, from_double<StatisticOf<S>>(epsilon),
                    given, gamma, beta};
  const auto skip = [&](Index lanes) {
    a.x += lanes;
    a.out += lanes;
    a.lanes -= lanes;
    a.given = a.given.from(lanes);
    if (gamma != nullptr) a.gamma += lanes;
    if (beta != nullptr) a.beta += lanes;
  };
  const SubnormalNumbers numbers(is_small_epsilon<ComputeOf<S>>(epsilon));
  for (;;) {
    const Index done = infer_columns(a);
    if (done == a.lanes) return true;
    if (done < 0) return false;
    infer_wide_channel(a, done, epsilon);
    skip(done + 1);
  }
}

/// y of rows whose statistics are out of range, and the statistics.
template <typename S>
EVENKEEL_COLD void normalize_wide_rows(const NormalizeRows<S>& a, const Formula& formula,
                                       const StatisticsOfSets<StatisticOf<S>>& moments) {
  const Partition p = partition_features(MemoryShape(Shape{a.rows, a.n}, row_major), 1, 2);
  Pass<S> pass;
  pass.x = a.x;
  pass.out = a.y;
  pass.gamma = a.gamma;
  pass.beta = a.beta;
  pass.formula = formula;
  pass.moments = moments;
  for (Index row = 0, end; row < a.rows; row = end) {
    for (end = row + 1; end < a.rows && a.outside[end] == a.outside[row];) ++end;
    if (a.outside[row] != 0) forward_wide(p, pass, {row, 1, end - row, p.offset(row)});
  }
}

/// y of rows by the statistics of each, which are kept unless there is no place for them.
template <typename S>
void normalize_few_rows(const FewRows<S>& few, const Formula& formula, const ComputeOf<S>* gamma,
                        const ComputeOf<S>* beta, const StatisticsOfSets<StatisticOf<S>>& moments,
                        Index (*normalize_rows)(const NormalizeRows<S>&)) {
  unsigned char outside[FewRows<S>::kMostElements];
  NormalizeRows<S> a{few.x,
                     few.y,
                     few.rows,
                     few.n,
                     few.n,
                     gamma,
                     beta,
                     from_double<StatisticOf<S>>(formula.epsilon),
                     moments.mean,
                     moments.mean_low,
                     moments.variance,
                     moments.inv_std,
                     outside,
                     false,
                     from_double<ComputeOf<S>>(formula.added_to_gamma()),
                     Epilogue<S>{}};
  if (normalize_rows(a) > 0) normalize_wide_rows(a, formula, moments);
}

EVENKEEL_END
}  // namespace evenkeel::detail
