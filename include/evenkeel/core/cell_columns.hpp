#pragma once

#include "evenkeel/core/columns.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN
EVENKEEL_BEGIN_SMALL

/// The passes over columns where several elements of a set share a parameter: batch norm and group norm.
template <typename S>
class CellColumnPasses : public ColumnPasses<S> {
 public:
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;

  using ColumnPasses<S>::ColumnPasses;

  void forward(Index begin, Index end, const ParallelFor& loops) const {
    Base::normalize_items(begin, end, loops, [&](const Columns& some, Index first, const Statistics& s) {
      map_cells(map_columns<S>, some, first, s, nullptr, nullptr, loops);
    });
  }

  void infer(Index begin, Index end, const C* mean, const C* variance, const ParallelFor& loops) const {
    for (Index i = begin; i < end; ++i) {
      const Columns item = items_.at(i);
      if (infer_part(item, mean, variance, loops)) continue;
      Base::for_each_run(
          item,
          [&](Index k) {
            const Index set = item.set(k);
            const C gamma = pass_.gamma == nullptr ? C(1) : pass_.gamma[set];
            return is_inference_in_range(mean[set], variance[set], gamma, pass_.epsilon);
          },
          [&](const Columns& some, Index) { infer_part(some, mean, variance, loops); },
          [&](Index set) {
            infer_wide(p_, pass_, set, statistics_of(mean[set], variance[set], pass_.epsilon));
          });
    }
  }

  void backward(Index begin, Index end, const ParallelFor& loops, const BlockSums<S>&) const {
    const CellSums<T> sums(p_, pass_.sums);
    const T share = T(T(1) / from_count<T>(p_.set_size()));
    Statistics s;
    Sums set_dy, set_dy_xhat;
    Scratch<bool, kLanes> in_range;
    for (Index i = begin; i < end; ++i) {
      const Columns item = items_.at(i);
      for (Index k = 0; k < item.sets; ++k) s.set(k, pass_.load(item.set(k)));
      sum_cells(item, s, sums, loops);
      bool all_in_range = true;
      for (Index k = 0; k < item.sets; ++k) {
        in_range[k] = sum_set(item.set(k), s.inv_std[k], sums, set_dy[k], set_dy_xhat[k]) &&
                      is_in_range<S>(s.inv_std[k]) &&
                      are_gradients_in_range<S>(s.inv_std[k], share, set_dy[k], set_dy_xhat[k]);
        all_in_range = all_in_range && in_range[k];
      }
      const auto map = [&](const Columns& some, Index first) {
        map_cells(map_gradients_of_columns<S>, some, first, s, set_dy.data() + first,
                  set_dy_xhat.data() + first, loops);
      };
      if (all_in_range) {
        map(item, 0);
      } else {
        Base::for_each_run(
            item, [&](Index k) { return in_range[k]; }, map,
            [&](Index set) { backward_wide<S>(p_, pass_, set, nullptr, nullptr); });
      }
    }
  }

 private:
  using Base = ColumnPasses<S>;
  using Base::items_;
  using Base::kCacheLine;
  using Base::kLanes;
  using Base::kMapped;
  using Base::kSummed;
  using Base::p_;
  using Base::pass_;
  using typename Base::Lanes;
  using typename Base::LaneSums;
  using typename Base::Map;
  using typename Base::Statistics;
  using typename Base::Sums;

  /// Writes nothing, and returns false, where a mean is far away.
  bool infer_part(const Columns& some, const C* mean, const C* variance, const ParallelFor& loops) const {
    const Index param = some.first_param;
    Lanes of_sets[3], c[4];
    if (inference_coefficients(
            InferenceCoefficients<S>{some.sets,
                                     from_double<T>(pass_.epsilon),
                                     mean + some.first_set,
                                     variance + some.first_set,
                                     pass_.gamma == nullptr ? nullptr : pass_.gamma + param,
                                     pass_.beta == nullptr ? nullptr : pass_.beta + param,
                                     {of_sets[0].data(), of_sets[1].data(), of_sets[2].data()}}) != 0) {
      return false;
    }
    const WideRows rows = Base::wide_rows(some.lanes, kMapped);
    for (int j = 0; j < 3; ++j) Base::spread_over(of_sets[j].data(), some.sets, p_.inner, rows, c[j].data());
    Base::map_rows(map_columns<S>, some.offset, items_.rows().outer, rows, nullptr, nullptr, c, loops,
                   p_.inner > 1 ? rows.width() : kFewLines);
    return true;
  }

  /// Calls f(offset, channel, first lane, lanes) for strips of an item; of sample_columns, for those of each channel.
  template <typename F>
  void for_each_cell_strip(const Columns& item, const F& f) const {
    const Index panels = items_.by_channel() ? 1 : p_.channel.extent;
    for (Index channel = 0; channel < panels; ++channel) {
      Base::for_each_strip(item, [&](Index lane, Index lanes) {
        f(item.offset + channel * p_.channel.stride + lane, channel, lane, lanes);
      });
    }
  }

  /// Calls f(lane of the strip, set of the item, channel) for the cells of a strip, p_.inner lanes each.
  template <typename F>
  void for_each_cell(Index channel, Index first_lane, Index lanes, const F& f) const {
    if (!items_.by_channel()) {
      for (Index l = 0; l < lanes; ++l) f(l, first_lane + l, channel);
      return;
    }
    const Index channels = p_.channel.extent, cell = first_lane / p_.inner;
    Index set = cell / channels, c = cell % channels, k = 0;
    for (Index l = 0; l < lanes; l += p_.inner, ++k) {
      f(k, set, c);
      if (++c == channels) {
        c = 0;
        ++set;
      }
    }
  }

  /// The sums of dy and of dy xhat of each cell of an item.
  void sum_cells(const Columns& item, const Statistics& s, const CellSums<T>& sums,
                 const ParallelFor& loops) const {
    for_each_cell_strip(item, [&](Index offset, Index channel, Index lane, Index lanes) {
      const Index cells = lanes / p_.inner;
      const WideRows rows(items_.cell_rows().inner, lanes, kSummed, kCacheLine, kLanes);
      Lanes of_cells, centers;
      LaneSums lane_sums;
      StatisticArrays<T, kLanes> cell;
      for_each_cell(channel, lane, lanes, [&](Index k, Index set, Index) {
        cell.set(k, s[set]);
        of_cells[k] = static_cast<C>(s.mean[set]);
      });
      Base::spread_over(of_cells.data(), cells, p_.inner, rows, centers.data());
      Base::sum_lanes(sum_columns<S>, pass_.x + offset, pass_.dy + offset, nullptr, items_.cell_rows().outer,
                      rows, centers.data(), loops, lane_sums);
      Base::fold_into_cells(lane_sums, cells, p_.inner);
      finish_gradients(FinishGradients<S>{cells, of_cells.data(), cell.mean.data(), cell.mean_low.data(),
                                          cell.inv_std.data(), lane_sums.first.data(),
                                          lane_sums.second.data()});
      for_each_cell(channel, lane, lanes, [&](Index k, Index set, Index c) {
        const Index at = item.set(set) * p_.channel.extent + c;
        sums.dy[at] = lane_sums.first[k];
        sums.dy_xhat[at] = lane_sums.second[k];
      });
    });
  }

  /// The sums of a set over its cells, weighted by gamma; returns whether those of each cell are in range.
  bool sum_set(Index set, const T& inv_std, const CellSums<T>& sums, T& set_dy, T& set_dy_xhat) const {
    const Index channels = p_.channel.extent;
    const T share = T(T(1) / from_count<T>(p_.cell_size()));
    const C* gamma = pass_.gamma == nullptr ? nullptr : pass_.gamma + p_.first_param(set);
    bool in_range = true;
    set_dy = set_dy_xhat = T(0);
    for (Index channel = 0; channel < channels; ++channel) {
      const T weight(gamma == nullptr ? C(1) : gamma[channel]),
          dy = sums.dy[set * channels + channel], dy_xhat = sums.dy_xhat[set * channels + channel];
      set_dy += weight * dy;
      set_dy_xhat += weight * dy_xhat;
      in_range = in_range && (channels == 1 || are_gradients_in_range<S>(inv_std, share, dy, dy_xhat));
    }
    return in_range;
  }

  /// y, or with the weighted sums of its sets dx, of an item whose statistics begin at `first`.
  void map_cells(Map map, const Columns& item, Index first, const Statistics& s, const T* set_dy,
                 const T* set_dy_xhat, const ParallelFor& loops) const {
    const int kinds = set_dy == nullptr ? 3 : 4;
    for_each_cell_strip(item, [&](Index offset, Index channel, Index lane, Index lanes) {
      const Index cells = lanes / p_.inner;
      StatisticArrays<T, kLanes> cell;
      Sums dy, dy_xhat;
      Scratch<C, kLanes> gamma, beta;
      for_each_cell(channel, lane, lanes, [&](Index k, Index set, Index of) {
        const Index param = p_.first_param(item.set(set)) + of;
        cell.set(k, s[first + set]);
        if (set_dy != nullptr) {
          dy[k] = set_dy[set];
          dy_xhat[k] = set_dy_xhat[set];
        }
        if (pass_.gamma != nullptr) gamma[k] = pass_.gamma[param];
        if (pass_.beta != nullptr) beta[k] = pass_.beta[param];
      });
      Lanes of_cells[4], c[4];
      coefficients(
          Coefficients<S>{cells,
                          from_count<T>(p_.set_size()),
                          cell.mean.data(),
                          cell.mean_low.data(),
                          cell.inv_std.data(),
                          pass_.gamma == nullptr ? nullptr : gamma.data(),
                          pass_.beta == nullptr ? nullptr : beta.data(),
                          set_dy == nullptr ? nullptr : dy.data(),
                          dy_xhat.data(),
                          {of_cells[0].data(), of_cells[1].data(), of_cells[2].data(), of_cells[3].data()},
                          false});
      const WideRows rows(items_.cell_rows().inner, lanes, kMapped, kCacheLine, kLanes);
      for (int j = 0; j < kinds; ++j)
        Base::spread_over(of_cells[j].data(), cells, p_.inner, rows, c[j].data());
      Base::map_rows(map, offset, items_.cell_rows().outer, rows, nullptr, nullptr, c, loops,
                     p_.inner > 1 ? rows.width() : 0);
    });
  }
};

EVENKEEL_END_SMALL
EVENKEEL_END
}  // namespace evenkeel::detail
