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
      set_to_zero(set_dy.data(), item.sets);
      set_to_zero(set_dy_xhat.data(), item.sets);
      const bool cells_are = sum_cells(item, s, sums, set_dy.data(), set_dy_xhat.data(), loops);
      bool all_in_range = true;
      for (Index k = 0; k < item.sets; ++k) {
        in_range[k] = is_in_range<S>(s.inv_std[k]) &&
                      are_gradients_in_range<S>(s.inv_std[k], share, set_dy[k], set_dy_xhat[k]) &&
                      (cells_are || are_cells_in_range<S>(p_, sums, item.set(k), s.inv_std[k]));
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
                                     pass_.gamma_from(param),
                                     pass_.beta_from(param),
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

  /// Cells k and on of a strip whose parameters are neighbours or one: channels of one set, or sets of one channel each.
  struct Run {
    Index k, count, set, param;  // set: number in the item
  };

  /// Calls f(Run) for the cells of a strip, p_.inner lanes each.
  template <typename F>
  void for_each_cell_run(const Columns& item, Index channel, Index first_lane, Index lanes,
                         const F& f) const {
    const Index channels = p_.channel.extent, cells = lanes / p_.inner;
    if (has_one_set_a_cell()) {
      return f(
          Run{0, cells, first_lane / p_.inner, p_.first_param(item.set(first_lane / p_.inner)) + channel});
    }
    for (Index k = 0, count; k < cells; k += count) {
      const Index cell = first_lane / p_.inner + k, set = cell / channels, at = cell % channels;
      count = std::min(cells - k, channels - at);
      f(Run{k, count, set, p_.first_param(item.set(set)) + at});
    }
  }
  bool has_one_set_a_cell() const { return !items_.by_channel() || p_.channel.extent == 1; }

  /// The sums of dy and of dy xhat of each cell of an item, and those of its sets; returns whether all cells are in range.
  bool sum_cells(const Columns& item, const Statistics& s, const CellSums<T>& sums, T* set_dy, T* set_dy_xhat,
                 const ParallelFor& loops) const {
    unsigned seen = 0;
    for_each_cell_strip(item, [&](Index offset, Index channel, Index lane, Index lanes) {
      const Index cells = lanes / p_.inner, channels = p_.channel.extent;
      const WideRows rows(items_.cell_rows().inner, lanes, kSummed, kCacheLine, kLanes);
      Lanes of_cells, centers;
      LaneSums lane_sums;
      for_each_cell_run(item, channel, lane, lanes, [&](const Run& run) {
        for (Index i = 0; i < run.count; ++i)
          of_cells[run.k + i] = static_cast<C>(s.mean[run.set + (has_one_set_a_cell() ? i : 0)]);
      });
      Base::spread_over(of_cells.data(), cells, p_.inner, rows, centers.data());
      Base::sum_lanes(sum_columns<S>, pass_.x + offset, pass_.dy + offset, nullptr, items_.cell_rows().outer,
                      rows, centers.data(), loops, lane_sums);
      Base::fold_into_cells(lane_sums, cells, p_.inner);
      for_each_cell_run(item, channel, lane, lanes, [&](const Run& run) {
        const Index k = run.k, set = run.set;
        seen |= finish_gradients(FinishGradients<S>{
            run.count, from_count<T>(p_.cell_size()), &s.mean[set], &s.mean_low[set], &s.inv_std[set],
            pass_.gamma_from(run.param), &lane_sums.first[k], &lane_sums.second[k], set_dy + set,
            set_dy_xhat + set, !has_one_set_a_cell(), !items_.by_channel()});
        const Index step = has_one_set_a_cell() ? item.set_step * channels : 1;
        Index at = item.set(set) * channels + (items_.by_channel() ? run.param % channels : channel);
        for (Index i = 0; i < run.count; ++i, at += step) {
          sums.dy[at] = lane_sums.first[k + i];
          sums.dy_xhat[at] = lane_sums.second[k + i];
        }
      });
    });
    return seen == 0;
  }

  /// y, or with the weighted sums of its sets dx, of an item whose statistics begin at `first`.
  void map_cells(Map map, const Columns& item, Index first, const Statistics& s, const T* set_dy,
                 const T* set_dy_xhat, const ParallelFor& loops) const {
    const int kinds = set_dy == nullptr ? 3 : 4;
    for_each_cell_strip(item, [&](Index offset, Index channel, Index lane, Index lanes) {
      const Index cells = lanes / p_.inner;
      Lanes of_cells[4], c[4];
      for_each_cell_run(item, channel, lane, lanes, [&](const Run& run) {
        const Index k = run.k, set = first + run.set;
        coefficients(Coefficients<S>{run.count,
                                     from_count<T>(p_.set_size()),
                                     &s.mean[set],
                                     &s.mean_low[set],
                                     &s.inv_std[set],
                                     pass_.gamma_from(run.param),
                                     pass_.beta_from(run.param),
                                     set_dy == nullptr ? nullptr : set_dy + run.set,
                                     set_dy_xhat + run.set,
                                     {&of_cells[0][k], &of_cells[1][k], &of_cells[2][k], &of_cells[3][k]},
                                     !has_one_set_a_cell(),
                                     !items_.by_channel()});
      });
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
