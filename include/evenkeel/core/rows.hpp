// SPDX-License-Identifier: MIT
#pragma once

#include "evenkeel/core/wide.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN
EVENKEEL_BEGIN_SMALL

/// The passes over sets that are rows of neighbours, each of which has a parameter of its own.
template <typename S>
class RowPasses {
 public:
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;

  RowPasses(const Partition& p, const Pass<S>& pass)
      : p_(p), pass_(pass), groups_(p.group.extent), samples_(p.sets() / groups_) {}

  /// The gradients of parameters have a place in each block, so a block has several rows, and long rows make few.
  Blocks blocks() const {
    const Index most = p_.set_size() >= 2 * kGrain ? 8 : kMaxBlocks;
    return {p_.sets(), p_.set_size(), std::clamp<Index>(p_.sets() / 8, 1, most)};
  }

  void forward(Index begin, Index end, const ParallelFor&) const {
    for_each_batch(begin, end, [&](Index first_set, Index rows) {
      if (pass_.makes_dz()) return write_dz(first_set, rows);
      const Index at = p_.offset(first_set), param = p_.first_param(first_set);
      Scratch<T, kRows> mean, mean_low, variance, inv_std;
      unsigned char outside[kRows];
      NormalizeRows<S> a{};
      a.x = pass_.x + at;
      a.y = pass_.out + at;
      a.rows = rows;
      a.n = p_.set_size();
      a.stride = p_.batch.stride;
      a.gamma = pass_.gamma_from(param);
      a.beta = pass_.beta_from(param);
      a.epsilon = from_double<T>(pass_.formula.epsilon);
      a.gamma_offset = pass_.gamma_offset();
      a.outside = outside;
      a.stream = pass_.stream;
      const bool has_epilogue = !pass_.fused.epilogue.is_empty();
      if (has_epilogue) a.epilogue = pass_.fused.epilogue.from(at);
      if (pass_.fused.skip != nullptr) add_skip(at, rows);
      const StatisticsOfSets<T>& m = pass_.moments;
      const auto place = [&](T* all, Scratch<T, kRows>& some) {
        return all == nullptr ? nullptr : groups_ == 1 ? all + first_set : some.data();
      };
      a.mean = place(m.mean, mean);
      a.inv_std = place(m.inv_std, inv_std);
      a.mean_low = place(m.mean_low, mean_low);
      a.variance = place(m.variance, variance);
      const Index outside_count =
          has_epilogue ? pass_.fused.kernels->normalize_rows(a) : pass_.normalize_rows(a);
      if (m.inv_std != nullptr && groups_ > 1) {
        for (Index r = 0; r < rows; ++r) {
          pass_.save(first_set + r * groups_,
                     {a.mean == nullptr ? T(0) : mean[r], a.mean_low == nullptr ? T(0) : mean_low[r],
                      a.variance == nullptr ? T(0) : variance[r], inv_std[r]});
        }
      }
      if (outside_count > 0) {
        for_each_run(first_set, rows, outside,
                     [&](const SetRun& run, unsigned char) { forward_wide(p_, pass_, run); });
      }
    });
  }

  void backward(Index begin, Index end, const ParallelFor&, const BlockSums<S>& sums) const {
    C* const weights = sums.short_sums + 4 * p_.set_size();
    if (pass_.gamma == nullptr) std::fill_n(weights, p_.set_size(), C(1));
    const C offset = pass_.gamma_offset();
    const bool has_offset = pass_.gamma != nullptr && !is_zero(offset);
    for_each_batch(begin, end, [&](Index first_set, Index rows) {
      if (pass_.makes_dz()) write_dz(first_set, rows);
      const Index at = p_.offset(first_set), param = p_.first_param(first_set);
      const SavedStatistics saved(*this, first_set, rows);
      unsigned char outside[kRows];
      const bool wanted = pass_.wants_params();
      RowGradients<S> a{};
      a.x = pass_.x + at;
      a.dy = pass_.dy + at;
      a.dx = pass_.out + at;
      a.rows = rows;
      a.n = p_.set_size();
      a.stride = p_.batch.stride;
      for (Index i = 0; has_offset && i < a.n; ++i) weights[i] = C(pass_.gamma[param + i] + offset);
      a.weights = pass_.gamma == nullptr || has_offset ? weights : pass_.gamma + param;
      a.mean = saved.of.mean;
      a.mean_low = saved.of.mean_low;
      a.inv_std = saved.of.inv_std;
      a.grad_gamma = wanted ? sums.gamma + param : nullptr;
      a.grad_beta = wanted ? sums.beta + param : nullptr;
      a.scratch = sums.short_sums;
      a.outside = outside;
      a.stream = pass_.stream;
      if (pass_.fused.plus != nullptr) a.plus = pass_.fused.plus + at;
      const bool has_options = a.plus != nullptr;
      const Index outside_count =
          has_options ? pass_.fused.kernels->row_gradients(a) : pass_.row_gradients(a);
      if (outside_count > 0) {
        for_each_run(first_set, rows, outside, [&](const SetRun& run, unsigned char kind) {
          const bool adds = wanted && kind == kStatisticsOutside;
          backward_wide(p_, pass_, run, adds ? sums.gamma : nullptr, adds ? sums.beta : nullptr);
        });
      }
    });
  }

 private:
  static constexpr Index kRows = 256;  // of a kernel call

  /// The saved statistics of sets with one parameter, one after another.
  struct SavedStatistics {
    StatisticsOfSets<const T> of;

    SavedStatistics(const RowPasses& passes, Index first_set, Index rows) {
      const Index groups = passes.groups_;
      const auto place = [&](const T* all, Scratch<T, kRows>& some) -> const T* {
        if (all == nullptr) return nullptr;
        if (groups == 1) return all + first_set;
        for (Index r = 0; r < rows; ++r) some[r] = all[first_set + r * groups];
        return some.data();
      };
      const StatisticsOfSets<const T>& saved = passes.pass_.saved;
      of = {place(saved.mean, mean_), place(saved.mean_low, mean_low_), nullptr,
            place(saved.inv_std, inv_std_)};
    }
    SavedStatistics(const SavedStatistics&) = delete;
    SavedStatistics& operator=(const SavedStatistics&) = delete;

   private:
    Scratch<T, kRows> mean_, mean_low_, inv_std_;
  };

  /// sum = x + skip of rows that begin at an element.
  void add_skip(Index at, Index rows) const {
    const Fused<S>& fused = pass_.fused;
    fused.kernels->add_rows(
        {fused.x + at, fused.skip + at, fused.sum + at, rows, p_.set_size(), p_.batch.stride});
  }

  /// dz of rows, by the statistics that forward saved.
  EVENKEEL_OUTLINE_MEMBER void write_dz(Index first_set, Index rows) const {
    const Index at = p_.offset(first_set), param = p_.first_param(first_set);
    const SavedStatistics saved(*this, first_set, rows);
    unsigned char outside[kRows];
    const Index outside_count = pass_.fused.kernels->epilogue_of_rows(
        EpilogueOfRows<S>{pass_.x + at, pass_.fused.dz + at, rows, p_.set_size(), p_.batch.stride,
                          pass_.gamma_from(param), pass_.beta_from(param), saved.of.mean, saved.of.mean_low,
                          saved.of.inv_std, outside, pass_.gamma_offset(), pass_.fused.epilogue.from(at)});
    if (outside_count == 0) return;
    for_each_run(first_set, rows, outside,
                 [&](const SetRun& run, unsigned char) { forward_wide(p_, pass_, run); });
  }

  /// Calls f(first set, rows) for sets whose rows have one stride; item = group * samples + sample. What is written to dz
  /// or sum is soon read again, so that few rows are taken at a time.
  template <typename F>
  void for_each_batch(Index begin, Index end, const F& f) const {
    const bool is_read_again = pass_.makes_dz() || pass_.fused.skip != nullptr;
    const Index near = pass_.makes_dz() ? 4096 : 16384;
    const Index most = is_read_again ? std::clamp<Index>(near / p_.set_size(), 1, kRows) : kRows;
    for (Index item = begin, rows; item < end; item += rows) {
      const Index sample = item % samples_;
      rows = std::min({most, end - item, p_.batch.extent - sample % p_.batch.extent});
      f(sample * groups_ + item / samples_, rows);
    }
  }

  /// Calls f(rows, kind) for neighbours that are outside in the same way.
  template <typename F>
  EVENKEEL_COLD void for_each_run(Index first_set, Index rows, const unsigned char* outside,
                                  const F& f) const {
    for (Index r = 0, end; r < rows; r = end) {
      for (end = r + 1; end < rows && outside[end] == outside[r];) ++end;
      const Index set = first_set + r * groups_;
      if (outside[r] != kInside) f(SetRun{set, groups_, end - r, p_.offset(set)}, outside[r]);
    }
  }

  const Partition& p_;
  const Pass<S>& pass_;
  Index groups_, samples_;
};

EVENKEEL_END_SMALL
EVENKEEL_END
}  // namespace evenkeel::detail
