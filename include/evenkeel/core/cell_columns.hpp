#pragma once

#include "evenkeel/core/cells.hpp"
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

  void infer(Index begin, Index end, const GivenStatistics<C>& given, const ParallelFor& loops) const {
    for (Index i = begin; i < end; ++i) {
      const Columns item = items_.at(i);
      if (infer_part(item, given, loops)) continue;
      Base::for_each_run(
          item,
          [&](Index k) {
            const Index set = item.set(k);
            const C gamma = pass_.gamma == nullptr ? C(1) : pass_.gamma[set];
            return is_inference_in_range(given.mean[set], given.variance[set], gamma, pass_.epsilon);
          },
          [&](const Columns& some, Index) { infer_part(some, given, loops); },
          [&](const Columns& some) { infer_wide(p_, pass_, Base::run_of(some), given); });
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
            [&](const Columns& some) { backward_wide<S>(p_, pass_, Base::run_of(some), nullptr, nullptr); });
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
  bool infer_part(const Columns& some, const GivenStatistics<C>& given, const ParallelFor& loops) const {
    const Index param = some.first_param;
    Lanes of_sets[3], c[4];
    if (inference_coefficients(
            InferenceCoefficients<S>{some.sets,
                                     from_double<T>(pass_.epsilon),
                                     given.from(some.first_set),
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

  /// The cells of a strip, p_.inner lanes each. Of sample_columns all have one parameter. Sets are numbered in the item.
  Cells cells_of(const Columns& item, Index channel, Index lane, Index lanes) const {
    const Index count = lanes / p_.inner, first = lane / p_.inner, channels = p_.channel.extent;
    if (!items_.by_channel()) return {first, count, first, count, 1, item.first_param + channel};
    return {first,
            count,
            first / channels,
            std::max<Index>(1, count / channels),
            std::min(count, channels),
            item.first_param + first};
  }

  /// The sums of dy and of dy xhat of each cell of an item, and those of its sets; returns whether all cells are in range.
  bool sum_cells(const Columns& item, const Statistics& s, const CellSums<T>& sums, T* set_dy, T* set_dy_xhat,
                 const ParallelFor& loops) const {
    unsigned seen = 0;
    for_each_cell_strip(item, [&](Index offset, Index channel, Index lane, Index lanes) {
      const Cells cells = cells_of(item, channel, lane, lanes);
      const WideRows rows(items_.cell_rows().inner, lanes, kSummed, kCacheLine, kLanes);
      Lanes of_cells, centers;
      LaneSums lane_sums;
      Sums room[3], weighted_dy, weighted_dy_xhat;
      const T* mean = spread_over_cells(cells, s.mean.data(), room[0].data());
      for (Index k = 0; k < cells.count; ++k) of_cells[k] = static_cast<C>(mean[k]);
      Base::spread_over(of_cells.data(), cells.count, p_.inner, rows, centers.data());
      Base::sum_lanes(sum_columns<S>, pass_.x + offset, pass_.dy + offset, nullptr, items_.cell_rows().outer,
                      rows, centers.data(), loops, lane_sums);
      Base::fold_into_cells(lane_sums, cells.count, p_.inner);
      seen |= finish_gradients(FinishGradients<S>{cells.count, from_count<T>(p_.cell_size()), mean,
                                                  spread_over_cells(cells, s.mean_low.data(), room[1].data()),
                                                  spread_over_cells(cells, s.inv_std.data(), room[2].data()),
                                                  pass_.gamma_from(cells.param), lane_sums.first.data(),
                                                  lane_sums.second.data(), weighted_dy.data(),
                                                  weighted_dy_xhat.data(), !items_.by_channel()});
      add_to_sets(cells, weighted_dy.data(), set_dy);
      add_to_sets(cells, weighted_dy_xhat.data(), set_dy_xhat);
      const Index step = items_.by_channel() ? 1 : item.set_step * p_.channel.extent;
      Index at = items_.by_channel() ? item.first_set * p_.channel.extent + lane / p_.inner
                                     : item.set(lane) * p_.channel.extent + channel;
      for (Index k = 0; k < cells.count; ++k, at += step) {
        sums.dy[at] = lane_sums.first[k];
        sums.dy_xhat[at] = lane_sums.second[k];
      }
    });
    return seen == 0;
  }

  /// y, or with the weighted sums of its sets dx, of an item whose statistics begin at `first`.
  void map_cells(Map map, const Columns& item, Index first, const Statistics& s, const T* set_dy,
                 const T* set_dy_xhat, const ParallelFor& loops) const {
    const int kinds = set_dy == nullptr ? 3 : 4;
    for_each_cell_strip(item, [&](Index offset, Index channel, Index lane, Index lanes) {
      const Cells cells = cells_of(item, channel, lane, lanes);
      Lanes of_cells[4], c[4];
      Sums room[5];
      const bool has_sums = set_dy != nullptr;
      coefficients(
          Coefficients<S>{cells.count,
                          from_count<T>(p_.set_size()),
                          spread_over_cells(cells, s.mean.data() + first, room[0].data()),
                          spread_over_cells(cells, s.mean_low.data() + first, room[1].data()),
                          spread_over_cells(cells, s.inv_std.data() + first, room[2].data()),
                          pass_.gamma_from(cells.param),
                          pass_.beta_from(cells.param),
                          has_sums ? spread_over_cells(cells, set_dy, room[3].data()) : nullptr,
                          has_sums ? spread_over_cells(cells, set_dy_xhat, room[4].data()) : nullptr,
                          {of_cells[0].data(), of_cells[1].data(), of_cells[2].data(), of_cells[3].data()},
                          !items_.by_channel()});
      const WideRows rows(items_.cell_rows().inner, lanes, kMapped, kCacheLine, kLanes);
      for (int j = 0; j < kinds; ++j)
        Base::spread_over(of_cells[j].data(), cells.count, p_.inner, rows, c[j].data());
      Base::map_rows(map, offset, items_.cell_rows().outer, rows, nullptr, nullptr, c, loops,
                     p_.inner > 1 ? rows.width() : 0);
    });
  }
};

EVENKEEL_END_SMALL
EVENKEEL_END
}  // namespace evenkeel::detail
