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
    Base::normalize_items(begin, end, loops, [&](const Columns& some, Index first, const Statistics& s) {
      map_elements(some, first, s, nullptr, nullptr, loops);
    });
  }

  void backward(Index begin, Index end, const ParallelFor& loops, const BlockSums<S>& block_sums) const {
    const T share = T(T(1) / from_count<T>(p_.set_size()));
    Statistics s;
    Sums set_dy, set_dy_xhat;
    Scratch<bool, kLanes> in_range;
    for (Index i = begin; i < end; ++i) {
      const Columns item = items_.at(i);
      for (Index k = 0; k < item.sets; ++k) s.set(k, pass_.load(item.set(k)));
      sum_elements(item, s, set_dy, set_dy_xhat, loops);
      bool all_in_range = true;
      for (Index k = 0; k < item.sets; ++k) {
        in_range[k] = is_in_range<S>(s.inv_std[k]) &&
                      are_gradients_in_range<S>(s.inv_std[k], share, set_dy[k], set_dy_xhat[k]);
        all_in_range = all_in_range && in_range[k];
      }
      const auto map = [&](const Columns& some, Index first) {
        if (pass_.wants_params()) add_params(some, first, s, loops, block_sums.gamma, block_sums.beta);
        map_elements(some, first, s, set_dy.data() + first, set_dy_xhat.data() + first, loops);
      };
      if (all_in_range) {
        map(item, 0);
      } else {
        const bool adds = pass_.wants_params();
        Base::for_each_run(
            item, [&](Index k) { return in_range[k]; }, map,
            [&](const Columns& some) {
              backward_wide(p_, pass_, Base::run_of(some), adds ? block_sums.gamma : nullptr,
                            adds ? block_sums.beta : nullptr);
            });
      }
    }
  }

 private:
  using Base = ColumnPasses<S>;
  using Base::items_;
  using Base::kCacheLine;
  using Base::kLanes;
  using Base::p_;
  using Base::pass_;
  using typename Base::Lanes;
  using typename Base::LaneSums;
  using typename Base::Statistics;
  using typename Base::Sums;

  /// The weighted sums of an item's lanes, each of which is a set.
  void sum_elements(const Columns& item, const Statistics& s, Sums& dy, Sums& dy_xhat,
                    const ParallelFor& loops) const {
    const WideRows rows(items_.rows().inner, item.lanes, 1, kCacheLine, kLanes);
    Lanes centers;
    LaneSums sums;
    const C* gamma = pass_.gamma_from(item.first_param);
    for (Index l = 0; l < item.lanes; ++l) centers[l] = static_cast<C>(s.mean[l]);
    Base::sum_lanes(gamma == nullptr ? sum_columns<S> : sum_columns_with_options<S>, pass_.x + item.offset,
                    pass_.dy + item.offset, gamma, items_.rows().outer, rows, centers.data(), loops, sums);
    finish_gradients(FinishGradients<S>{item.lanes, from_count<T>(p_.set_size()), s.mean.data(),
                                        s.mean_low.data(), s.inv_std.data(), nullptr, sums.first.data(),
                                        sums.second.data(), dy.data(), dy_xhat.data(), false});
  }

  /// What an item adds to the gradients of gamma and beta; its statistics begin at `first`.
  void add_params(const Columns& item, Index first, const Statistics& s, const ParallelFor& loops,
                  T* grad_gamma, T* grad_beta) const {
    const Loop& loop = items_.rows().inner;
    const Pieces pieces(loop.extent, item.lanes);
    Lanes c[3];
    coefficients(Coefficients<S>{item.sets,
                                 T(1),
                                 s.mean.data() + first,
                                 s.mean_low.data() + first,
                                 s.inv_std.data() + first,
                                 nullptr,
                                 nullptr,
                                 nullptr,
                                 nullptr,
                                 {c[0].data(), c[1].data(), c[2].data(), nullptr},
                                 false});
    loops.for_each(pieces.count, pieces.length * item.lanes, [&](Index i) {
      const Index begin = pieces.begin(i), at = item.offset + begin * loop.stride,
                  param = item.first_param + begin;
      sum_params(SumParams<S>{pass_.x + at,
                              pass_.dy + at,
                              pieces.end(i) - begin,
                              loop.stride,
                              item.lanes,
                              {c[0].data(), c[1].data(), c[2].data()},
                              grad_gamma + param,
                              grad_beta + param});
    });
  }

  /// y, or with the weighted sums of its sets dx, of an item whose statistics begin at `first`.
  void map_elements(const Columns& item, Index first, const Statistics& s, const T* set_dy,
                    const T* set_dy_xhat, const ParallelFor& loops) const {
    Lanes c[4];
    coefficients(Coefficients<S>{item.sets,
                                 from_count<T>(p_.set_size()),
                                 s.mean.data() + first,
                                 s.mean_low.data() + first,
                                 s.inv_std.data() + first,
                                 nullptr,
                                 nullptr,
                                 set_dy,
                                 set_dy_xhat,
                                 {c[0].data(), c[1].data(), c[2].data(), c[3].data()},
                                 false});
    const Index param = item.first_param;
    const C *gamma = pass_.gamma_from(param), *beta = pass_.beta_from(param);
    Base::map_rows(map_columns_with_options<S>, item.offset, items_.rows().outer,
                   WideRows(items_.rows().inner, item.lanes, 1, kCacheLine, kLanes), gamma, beta, c, loops,
                   0);
  }
};

EVENKEEL_END_SMALL
EVENKEEL_END
}  // namespace evenkeel::detail
