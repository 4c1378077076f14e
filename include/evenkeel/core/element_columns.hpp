// SPDX-License-Identifier: MIT
#pragma once

#include "evenkeel/core/columns.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN
EVENKEEL_BEGIN_SMALL

/// The passes over columns where each element of a set has a parameter of its own, so that a row has one: layer norm over
/// an axis that is not the fastest.
template <typename S>
class ElementColumnPasses : public ColumnPasses<S> {
 public:
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;

  using ColumnPasses<S>::ColumnPasses;

  void forward(Index begin, Index end, const ParallelFor& loops) const {
    Base::normalize_items(begin, end, loops, [&](const Columns& some, const StatisticsOfSets<const T>& s) {
      map_elements(some, s, nullptr, nullptr, nullptr, loops);
    });
  }

  void backward(Index begin, Index end, const ParallelFor& loops, const BlockSums<S>& block_sums) const {
    for (Index i = begin; i < end; ++i) {
      if (pass_.makes_dz()) forward(i, i + 1, loops);
      differentiate(items_.at(i), loops, block_sums);
    }
  }

 private:
  using Base = ColumnPasses<S>;
  using Base::items_;
  using Base::kCacheLine;
  using Base::kFew;
  using Base::kLanes;
  using Base::p_;
  using Base::pass_;
  using typename Base::Coefficient;
  using typename Base::FewStatistics;
  using typename Base::Lanes;
  using typename Base::LaneSums;

  /// dx of an item, and what it adds to the gradients of parameters. Not inlined: the stack has no room for it beside
  /// forward.
  EVENKEEL_OUTLINE_MEMBER void differentiate(const Columns& item, const ParallelFor& loops,
                                             const BlockSums<S>& block_sums) const {
    const T share = T(T(1) / from_count<T>(p_.set_size()));
    LaneSums s;  // the weighted sums of sets, which are lanes
    Scratch<bool, kLanes> in_range;
    sum_elements(item, s, loops);
    bool all_in_range = true;
    for (Index k = 0; k < item.sets; ++k) {
      const T& inv_std = pass_.saved.inv_std[item.set(k)];
      in_range[k] =
          is_in_range<S>(inv_std) && are_gradients_in_range<S>(inv_std, share, s.first[k], s.second[k]);
      all_in_range = all_in_range && in_range[k];
    }
    if (pass_.formula.rms) set_to_zero(s.first.data(), item.sets);
    const bool wanted = pass_.wants_params();
    const auto map = [&](const Columns& some, Index first) {
      if (wanted) add_params(some, loops, block_sums.gamma, block_sums.beta);
      Lanes of_dy;
      map_elements(some, {}, &s.first[first], &s.second[first], of_dy.data(), loops);
    };
    if (all_in_range) return map(item, 0);
    Base::for_each_run(
        item, [&](Index k) { return in_range[k]; }, map,
        [&](const Columns& some) {
          backward_wide(p_, pass_, Base::run_of(some), wanted ? block_sums.gamma : nullptr,
                        wanted ? block_sums.beta : nullptr);
        });
  }

  /// Calls f(first, count) for a few sets at a time.
  template <typename F>
  static void for_few_sets(const Columns& item, const F& f) {
    for (Index k = 0; k < item.sets; k += kFew) f(k, std::min(kFew, item.sets - k));
  }

  /// The weighted sums of an item's lanes, each of which is a set.
  void sum_elements(const Columns& item, LaneSums& sums, const ParallelFor& loops) const {
    const WideRows rows(items_.rows().inner, item.lanes, 1, kCacheLine, kLanes);
    Lanes centers;
    const C* gamma = pass_.gamma_from(item.first_param);
    for (Index l = 0; l < item.lanes; ++l) centers[l] = static_cast<C>(pass_.load(item.set(l)).mean);
    Base::sum_lanes(gamma == nullptr ? sum_columns<S> : sum_columns_with_options<S>, pass_.x + item.offset,
                    pass_.dy + item.offset, gamma, items_.rows().outer, rows, centers.data(), nullptr, loops,
                    sums);
    for_few_sets(item, [&](Index k, Index count) {
      FewStatistics few;
      const StatisticsOfSets<const T> s = Base::saved(item, k, count, few);
      T *dy = &sums.first[k], *dy_xhat = &sums.second[k];
      finish_gradients(FinishGradients<S>{count, from_count<T>(p_.set_size()), s.mean, s.mean_low, s.inv_std,
                                          nullptr, dy, dy_xhat, dy, dy_xhat, false, C(0)});
    });
  }

  /// Coefficients of an item's lanes: of y with statistics, of dx with weighted sums and what forward saved, else of xhat.
  void find_coefficients(const Columns& item, const StatisticsOfSets<const T>& s, const T* set_dy,
                         const T* set_dy_xhat, const Coefficient& c) const {
    for_few_sets(item, [&](Index k, Index count) {
      FewStatistics few;
      const StatisticsOfSets<const T> of =
          s.mean == nullptr ? Base::saved(item, k, count, few)
                            : StatisticsOfSets<const T>{s.mean + k, s.mean_low + k, nullptr, s.inv_std + k};
      coefficients(Coefficients<S>{count,
                                   from_count<T>(p_.set_size()),
                                   of.mean,
                                   of.mean_low,
                                   of.inv_std,
                                   nullptr,
                                   nullptr,
                                   set_dy == nullptr ? nullptr : set_dy + k,
                                   set_dy == nullptr ? nullptr : set_dy_xhat + k,
                                   {c[0] + k, c[1] + k, c[2] + k, c[3] == nullptr ? nullptr : c[3] + k},
                                   false,
                                   C(0)});
    });
  }

  /// What an item adds to the gradients of gamma and beta.
  void add_params(const Columns& item, const ParallelFor& loops, T* grad_gamma, T* grad_beta) const {
    const Loop& loop = items_.rows().inner;
    const Pieces pieces(loop.extent, item.lanes);
    Lanes of_lanes[3];
    const Coefficient c = {of_lanes[0].data(), of_lanes[1].data(), of_lanes[2].data(), nullptr};
    find_coefficients(item, {}, nullptr, nullptr, c);
    loops.for_each(pieces.count, pieces.length * item.lanes, [&](Index i) {
      const Index begin = pieces.begin(i), at = item.offset + begin * loop.stride,
                  param = item.first_param + begin;
      sum_params(SumParams<S>{pass_.x + at,
                              pass_.dy + at,
                              pieces.end(i) - begin,
                              loop.stride,
                              item.lanes,
                              {c[0], c[1], c[2]},
                              grad_gamma + param,
                              grad_beta + param});
    });
  }

  /// y of an item by the statistics of its sets; or dx by their weighted sums and what forward saved, with room for the
  /// coefficients of dy.
  void map_elements(const Columns& item, const StatisticsOfSets<const T>& s, const T* set_dy,
                    const T* set_dy_xhat, C* of_dy, const ParallelFor& loops) const {
    Lanes of_lanes[3];
    const Coefficient c = {of_lanes[0].data(), of_lanes[1].data(), of_lanes[2].data(), of_dy};
    find_coefficients(item, s, set_dy, set_dy_xhat, c);
    const Index param = item.first_param;
    const C *gamma = pass_.gamma_from(param), *beta = pass_.beta_from(param);
    const WideRows rows(items_.rows().inner, item.lanes, 1, kCacheLine, kLanes);
    Base::map_rows(pass_.chosen(map_columns_by_row<S>, &FusedKernels<S>::map_columns), item.offset,
                   items_.rows().outer, rows, gamma, beta, c, loops, rows.stride_over_gaps());
  }
};

EVENKEEL_END_SMALL
EVENKEEL_END
}  // namespace evenkeel::detail
