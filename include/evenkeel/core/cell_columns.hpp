// SPDX-License-Identifier: MIT
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
    Base::normalize_items(begin, end, loops, [&](const Columns& some, const StatisticsOfSets<const T>& s) {
      map_cells(value_map(), some, s, nullptr, nullptr, nullptr, loops);
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
            const C gamma = pass_.gamma == nullptr ? C(1) : C(pass_.gamma[set] + pass_.gamma_offset());
            return is_inference_in_range(given.mean[set], given.variance[set], gamma, pass_.formula.epsilon);
          },
          [&](const Columns& some, Index) { infer_part(some, given, loops); },
          [&](const Columns& some) { infer_wide(p_.cell_lines(), pass_, Base::run_of(some), given); });
    }
  }

  void backward(Index begin, Index end, const ParallelFor& loops, const BlockSums<S>&) const {
    for (Index i = begin; i < end; ++i) {
      const Columns item = items_.at(i);
      const bool makes_dz = pass_.makes_dz() && Base::is_saved_in_range(item);  // else it is written before
      if (pass_.makes_dz() && !makes_dz) forward(i, i + 1, loops);
      differentiate(item, makes_dz, loops);
    }
  }

 private:
  using Base = ColumnPasses<S>;
  using Base::items_;
  using Base::kCacheLine;
  using Base::kFew;
  using Base::kLanes;
  using Base::kMapped;
  using Base::kSummed;
  using Base::p_;
  using Base::pass_;
  using typename Base::Coefficient;
  using typename Base::FewStatistics;
  using typename Base::Lanes;
  using typename Base::LaneSums;
  using typename Base::Map;

  using FewSums = Scratch<T, kFew + kPadding>;

  Map value_map() const { return pass_.chosen(map_columns<S>, &FusedKernels<S>::map_columns); }

  /// dx of an item, and the sums of its cells; of dz, if it is made here. Not inlined: the stack has no room for it beside forward.
  EVENKEEL_OUTLINE_MEMBER void differentiate(const Columns& item, bool makes_dz,
                                             const ParallelFor& loops) const {
    const CellSums<T> sums(p_, pass_.sums);
    const T share = T(T(1) / from_count<T>(p_.set_size()));
    Scratch<T, kLanes + kPadding> set_dy, set_dy_xhat;
    Scratch<bool, kLanes> in_range;
    set_to_zero(set_dy.data(), item.sets);
    set_to_zero(set_dy_xhat.data(), item.sets);
    const bool cells_are = sum_cells(item, sums, set_dy.data(), set_dy_xhat.data(), makes_dz, loops);
    bool all_in_range = true;
    const bool sets_are = cells_are && p_.channel.extent == 1;
    for (Index k = 0; !sets_are && k < item.sets; ++k) {
      const T& inv_std = pass_.saved.inv_std[item.set(k)];
      in_range[k] = is_in_range<S>(inv_std) &&
                    are_gradients_in_range<S>(inv_std, share, set_dy[k], set_dy_xhat[k]) &&
                    (cells_are || are_cells_in_range<S>(p_, sums, item.set(k), inv_std));
      all_in_range = all_in_range && in_range[k];
    }
    const bool makes_it_again = makes_dz && !pass_.fused.keeps_dz;
    const auto kernel =
        makes_it_again ? pass_.fused.kernels->map_gradients_of_columns : map_gradients_of_columns<S>;
    const auto map = [&](const Columns& some, Index first) {
      Lanes of_dy, shift;
      map_cells(kernel, some, {}, &set_dy[first], &set_dy_xhat[first], of_dy.data(), loops,
                makes_it_again ? shift.data() : nullptr);
    };
    if (all_in_range) return map(item, 0);
    Base::for_each_run(
        item, [&](Index k) { return in_range[k]; }, map,
        [&](const Columns& some) {
          if (makes_it_again) map_cells(value_map(), some, {}, nullptr, nullptr, nullptr, loops);
          backward_wide<S>(p_, pass_, Base::run_of(some), nullptr, nullptr);
        });
  }

  /// Writes nothing, and returns false, where a mean is far away.
  bool infer_part(const Columns& some, const GivenStatistics<C>& given, const ParallelFor& loops) const {
    const Index param = some.first_param;
    Lanes of_lanes[3];
    Scratch<C, kLanes / 2 + kPadding> of_sets[3];
    const Coefficient c = {of_lanes[0].data(), of_lanes[1].data(), of_lanes[2].data(), nullptr};
    C* to[3];
    for (int j = 0; j < 3; ++j) to[j] = p_.inner == 1 ? c[j] : of_sets[j].data();
    if (inference_coefficients(InferenceCoefficients<S>{some.sets,
                                                        from_double<T>(pass_.formula.epsilon),
                                                        given.from(some.first_set),
                                                        pass_.gamma_from(param),
                                                        pass_.beta_from(param),
                                                        {to[0], to[1], to[2]},
                                                        pass_.gamma_offset()}) != 0) {
      return false;
    }
    const WideRows rows = Base::wide_rows(some.lanes, kMapped);
    for (int j = 0; j < 3; ++j) {
      if (p_.inner > 1) spread(Spread<S>{of_sets[j].data(), some.sets, p_.inner, c[j]});
      rows.repeat(c[j]);
    }
    Base::map_rows(value_map(), some.offset, items_.rows().outer, rows, nullptr, nullptr, c, loops,
                   std::max(rows.stride_over_gaps(), kAhead));
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

  /// Calls f(Cells, first of them in `all`) for a few cells at a time: whole sets, or a part of one.
  template <typename F>
  void for_few_cells(const Cells& all, const F& f) const {
    for (Index k = 0, n; k < all.count; k += n) {
      const Index of_set = std::min(all.of_set - k % all.of_set, kFew);
      const Index sets = of_set < all.of_set ? 1 : std::min(all.count - k, kFew) / of_set;
      n = sets * of_set;
      f(Cells{all.first + k, n, all.set + k / all.of_set, sets, of_set,
              items_.by_channel() ? all.param + k : all.param},
        k);
    }
  }

  /// The statistics of a few cells: from those of an item's sets, or if these are null from the saved ones.
  struct StatisticsOfCells {
    StatisticsOfSets<const T> of;

    StatisticsOfCells(const CellColumnPasses& passes, const Columns& item, const Cells& cells,
                      const StatisticsOfSets<const T>& s) {
      if (s.mean == nullptr) {
        of = passes.saved(item, cells.set, cells.sets, of_sets_);
      } else {
        of = {s.mean + cells.set, s.mean_low + cells.set, nullptr, s.inv_std + cells.set};
      }
      if (cells.of_set == 1) return;
      const auto spread_over_cells = [&](const T* of_sets, FewSums& room) {
        if (of_sets != nullptr) spread(Spread<T>{of_sets, cells.sets, cells.of_set, room.data()});
        return of_sets == nullptr ? nullptr : room.data();
      };
      of = {spread_over_cells(of.mean, mean_), spread_over_cells(of.mean_low, mean_low_), nullptr,
            spread_over_cells(of.inv_std, inv_std_)};
    }
    StatisticsOfCells(const StatisticsOfCells&) = delete;
    StatisticsOfCells& operator=(const StatisticsOfCells&) = delete;

   private:
    FewStatistics of_sets_;
    FewSums mean_, mean_low_, inv_std_;
  };

  /// The sums of dy and of dy xhat of each cell of an item, and those of its sets; returns whether all cells are in range.
  bool sum_cells(const Columns& item, const CellSums<T>& sums, T* set_dy, T* set_dy_xhat, bool makes_dz,
                 const ParallelFor& loops) const {
    unsigned seen = 0;
    const Index channels = p_.channel.extent;
    for_each_cell_strip(item, [&](Index offset, Index channel, Index lane, Index lanes) {
      const Cells all = cells_of(item, channel, lane, lanes);
      const WideRows rows(items_.cell_rows().inner, lanes, kSummed, kCacheLine, kLanes);
      Lanes centers;
      LaneSums lane_sums;
      if (makes_dz) {
        sum_dz(item, all, rows, offset, centers.data(), loops, lane_sums);
      } else {
        const Index set_lanes = all.of_set * p_.inner;
        Scratch<C, kFew> means;
        for (Index k = 0; k < all.sets; k += kFew) {
          const Index count = std::min(kFew, all.sets - k);
          for (Index j = 0; j < count; ++j)
            means[j] = static_cast<C>(pass_.saved.mean[item.set(all.set + k + j)]);
          spread(Spread<S>{means.data(), count, set_lanes, &centers[k * set_lanes]});
        }
        rows.repeat(centers.data());
        Base::sum_lanes(sum_columns<S>, pass_.x + offset, pass_.dy + offset, nullptr,
                        items_.cell_rows().outer, rows, centers.data(), nullptr, loops, lane_sums);
      }
      Base::fold_into_cells(lane_sums, all.count, p_.inner);
      for_few_cells(all, [&](const Cells& cells, Index first) {
        const StatisticsOfCells s(*this, item, cells, {});
        FewSums weighted_dy, weighted_dy_xhat;
        T *dy = &lane_sums.first[first], *dy_xhat = &lane_sums.second[first];
        seen |= finish_gradients(
            FinishGradients<S>{cells.count, from_count<T>(p_.cell_size()), s.of.mean, s.of.mean_low,
                               s.of.inv_std, pass_.gamma_from(cells.param), dy, dy_xhat, weighted_dy.data(),
                               weighted_dy_xhat.data(), !items_.by_channel(), pass_.gamma_offset()});
        add_to_sets(cells, weighted_dy.data(), set_dy);
        add_to_sets(cells, weighted_dy_xhat.data(), set_dy_xhat);
        const Index step = items_.by_channel() ? 1 : item.set_step * channels;
        Index at = items_.by_channel() ? item.first_set * channels + cells.first
                                       : item.set(cells.first) * channels + channel;
        for (Index k = 0; k < cells.count; ++k, at += step) {
          sums.dy[at] = dy[k];
          sums.dy_xhat[at] = dy_xhat[k];
        }
      });
    });
    return seen == 0;
  }

  /// The sums of dz and of dz (x - center) of a strip's lanes, and their centers. Not inlined: the stack has no room for
  /// it beside the other sums.
  EVENKEEL_OUTLINE_MEMBER void sum_dz(const Columns& item, const Cells& all, const WideRows& rows,
                                      Index offset, C* centers, const ParallelFor& loops,
                                      LaneSums& lane_sums) const {
    Lanes scale, shift;
    find_coefficients(item, all, rows, {}, nullptr, nullptr, {centers, scale.data(), shift.data(), nullptr});
    const FusedDy<S> fused = fused_dy(scale.data(), shift.data()).from(offset, 0);
    Base::sum_lanes(pass_.fused.kernels->sum_columns, pass_.x + offset, nullptr, nullptr,
                    items_.cell_rows().outer, rows, centers, &fused, loops, lane_sums);
  }

  /// How a kernel makes dz, and where it keeps it.
  FusedDy<S> fused_dy(const C* scale, const C* shift) const {
    const Fused<S>& fused = pass_.fused;
    return {scale, shift, fused.epilogue, fused.keeps_dz ? fused.dz : nullptr};
  }

  /// The coefficients of a strip's lanes: of y by statistics, or with weighted sums those of dx.
  void find_coefficients(const Columns& item, const Cells& all, const WideRows& rows,
                         const StatisticsOfSets<const T>& s, const T* set_dy, const T* set_dy_xhat,
                         const Coefficient& c) const {
    const bool has_sums = set_dy != nullptr;
    const int kinds = has_sums ? 4 : 3;
    for_few_cells(all, [&](const Cells& cells, Index first) {
      const StatisticsOfCells its(*this, item, cells, s);
      Scratch<C, kFew + kPadding> of_cells[4];
      FewSums room[2];
      C* to[4];
      for (int j = 0; j < 4; ++j)
        to[j] = p_.inner > 1 ? of_cells[j].data() : c[j] == nullptr ? nullptr : c[j] + first;
      coefficients(Coefficients<S>{cells.count,
                                   from_count<T>(p_.set_size()),
                                   its.of.mean,
                                   its.of.mean_low,
                                   its.of.inv_std,
                                   pass_.gamma_from(cells.param),
                                   pass_.beta_from(cells.param),
                                   has_sums ? spread_over_cells(cells, set_dy, room[0].data()) : nullptr,
                                   has_sums ? spread_over_cells(cells, set_dy_xhat, room[1].data()) : nullptr,
                                   {to[0], to[1], to[2], to[3]},
                                   !items_.by_channel(),
                                   pass_.gamma_offset()});
      for (int j = 0; p_.inner > 1 && j < kinds; ++j)
        spread(Spread<S>{of_cells[j].data(), cells.count, p_.inner, c[j] + first * p_.inner});
    });
    for (int j = 0; j < kinds; ++j) rows.repeat(c[j]);
  }

  /// How far ahead a map of an item asks for its inputs. Short lines that have been summed and fit the second-level cache
  /// are near: forward asks for those of the item beside it, which is summed next.
  Index ahead(const Columns& item, const WideRows& rows) const {
    const Index bytes = static_cast<Index>(sizeof(S)) * item.lanes * items_.rows().count();
    if (p_.inner == 1 || bytes > caches().second_level) return rows.stride_over_gaps();
    return pass_.dy == nullptr ? rows.width() : 0;
  }

  /// y, or dz, of an item by the statistics of its sets; or dx by their weighted sums and what forward saved, with room
  /// for the coefficients of dy; of dz, if there is room for its shift.
  void map_cells(Map map, const Columns& item, const StatisticsOfSets<const T>& s, const T* set_dy,
                 const T* set_dy_xhat, C* of_dy, const ParallelFor& loops, C* shift = nullptr) const {
    if (pass_.out == nullptr) return;
    for_each_cell_strip(item, [&](Index offset, Index channel, Index lane, Index lanes) {
      const Cells all = cells_of(item, channel, lane, lanes);
      const WideRows rows(items_.cell_rows().inner, lanes, kMapped, kCacheLine, kLanes);
      Lanes of_lanes[3];
      FusedDy<S> fused{};
      if (shift != nullptr) {  // the scale of dz is the coefficient of dy
        find_coefficients(item, all, rows, s, nullptr, nullptr,
                          {of_lanes[0].data(), of_lanes[1].data(), shift, nullptr});
        fused = fused_dy(of_dy, shift);
      }
      const Coefficient c = {of_lanes[0].data(), of_lanes[1].data(), of_lanes[2].data(), of_dy};
      find_coefficients(item, all, rows, s, set_dy, set_dy_xhat, c);
      Base::map_rows(map, offset, items_.cell_rows().outer, rows, nullptr, nullptr, c, loops,
                     ahead(item, rows), shift != nullptr ? &fused : nullptr);
    });
  }
};

EVENKEEL_END_SMALL
EVENKEEL_END
}  // namespace evenkeel::detail
