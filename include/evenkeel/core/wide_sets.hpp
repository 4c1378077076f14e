// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>

#include "evenkeel/core/wide_parts.hpp"
#include "evenkeel/core/wide_scale.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN
EVENKEEL_BEGIN_SMALL

// Computes sets that are out of range of the compute type with the wide kernels: in the statistic type, scaled by powers
// of two if that has no room either. Not for inference by given statistics.

/// The sets of a run, computed part by part.
template <typename S>
class WideSets : public WideParts<S> {
  using Base = WideParts<S>;
  using Base::of_lanes, Base::with_room;
  using Base::p_, Base::pass_, Base::run_, Base::set_stride_;
  using Base::parts, Base::set_of, Base::channel_of, Base::gamma, Base::beta, Base::for_each_block;
  using typename Base::Part, typename Base::Values;

 public:
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;
  using Scale = WideScale<S>;
  using Base::kMost;

  WideSets(const Partition& p, const Pass<S>& pass, const SetRun& run)
      : Base(p, pass, run), n_(from_count<T>(p.set_size())) {}

  /// y and the statistics, which are saved; or dz by those that are.
  EVENKEEL_OUTLINE_MEMBER void forward() const {
    Statistics s;
    Values scale;
    if (pass_.makes_dz()) {
      for (Index k = 0; k < run_.count; ++k) load_scaled(k, s, scale);
      return write_normalized(s, scale);
    }
    std::fill_n(scale.data(), run_.count, T(1));
    compute(scale, s);
    if constexpr (!kHasRoom<C>) {
      bool again = false;
      for (Index k = 0; k < run_.count; ++k) {
        if (!Scale::is_outside(s.inv_std[k])) continue;
        scale[k] = Scale::of(s[k]);
        again = true;
      }
      if (again) compute(scale, s);
    }
    for (Index k = 0; k < run_.count; ++k) {
      const bool is_constant = is_zero(s.variance[k]);
      const T inv_std = is_constant ? one_by_one::inverse_std<T>(T(0), T(pass_.formula.epsilon))
                                    : T(s.inv_std[k] * scale[k]);
      if (is_constant) s.inv_std[k] = inv_std / scale[k];
      pass_.save(run_.set(k), {s.mean[k] / scale[k], s.mean_low[k] / scale[k],
                               s.variance[k] / scale[k] / scale[k], inv_std});
    }
    if (pass_.out != nullptr) write_normalized(s, scale);
  }

  /// dx, and the sums of the sets' cells, or what their elements add to grad_gamma and grad_beta, unless they are null.
  EVENKEEL_OUTLINE_MEMBER void backward(T* grad_gamma, T* grad_beta) const {
    Statistics s;
    Values scale, dy_scale, result;
    Gradients g;
    int x_exponent[kMost];
    for (Index k = 0; k < run_.count; ++k) {
      x_exponent[k] = load_scaled(k, s, scale);
      dy_scale[k] = T(1);
    }
    sum_gradients(s, scale, dy_scale, true, g);
    if (pass_.out == nullptr) return;
    int dy_exponent[kMost] = {};
    if constexpr (!kHasRoom<C>) scale_gradients(s, scale, dy_exponent, dy_scale, g);
    Values slope, level, xhat_level;
    for (Index k = 0; k < run_.count; ++k) {
      slope[k] = T(-s.inv_std[k] * T(s.inv_std[k] * (g.dy_xhat[k] / n_)));  // inv_std^2 may overflow
      level[k] = T(-s.inv_std[k] * (g.dy[k] / n_) - slope[k] * s.mean_low[k]);
      xhat_level[k] = T(-s.mean_low[k] * s.inv_std[k]);
      result[k] = Scale::power_of_two((x_exponent[k] - dy_exponent[k]) / 2);
    }
    for (Index i = 0; i < parts(); ++i) {
      const Part part = this->part(i);
      Values of_dy, room[8];
      for (Index j = 0; j < part.lanes; ++j) of_dy[j] = T(s.inv_std[set_of(part, j)] * T(gamma(part, j)));
      MapWide<S> a{};
      a.share = part.share;
      a.gamma_offset = pass_.gamma_offset();
      a.lane_gamma = part.lane_gamma;
      a.c[0] = of_lanes(part, s.mean, room[0]);
      a.c[1] = of_lanes(part, slope, room[1]);
      a.c[2] = of_lanes(part, level, room[2]);
      a.c[3] = with_room(part, of_dy);
      a.x_scale = of_lanes(part, scale, room[3]);
      a.dy_scale = of_lanes(part, dy_scale, room[4]);
      a.result = of_lanes(part, result, room[5]);
      a.xhat[0] = of_lanes(part, s.inv_std, room[6]);
      a.xhat[1] = of_lanes(part, xhat_level, room[7]);
      for_each_block(part, [&](const Part& block) {
        a.x = pass_.x + block.offset;
        a.dy = pass_.dy + block.offset;
        a.out = pass_.out + block.offset;
        if (pass_.fused.plus != nullptr) a.plus = pass_.fused.plus + block.offset;
        a.lines = block.lines;
        a.line_gamma = block.line_gamma;
        if (grad_gamma != nullptr) {
          const Index param = p_.first_param(run_.first) + block.first_line;
          a.grad_gamma = grad_gamma + param;
          a.grad_beta = grad_beta + param;
        }
        map_gradients_wide(a);
      });
    }
  }

 private:
  using Statistics = StatisticArrays<T, kMost>;

  struct Gradients {
    Values dy, dy_xhat;  // sums, weighted by gamma
  };

  /// The saved statistics of a set, scaled by a power of two; returns its exponent.
  int load_scaled(Index k, Statistics& s, Values& scale) const {
    const SetStatistics<T> saved = pass_.load(run_.set(k));
    int exponent = Scale::exponent_of_x(saved);
    if (pass_.out == nullptr) exponent = std::min(exponent, 0);  // given statistics do not bound x
    scale[k] = Scale::power_of_two(exponent);
    s.set(k, {T(saved.mean * scale[k]), T(saved.mean_low * scale[k]), T(0), T(saved.inv_std / scale[k])});
    return exponent;
  }

  /// The sums of SumWide over all of a part.
  void sum_lanes(const Part& part, bool has_dy, const T* center, const T* x_scale, const T* dy_scale,
                 Values& first, Values& second) const {
    using Sum = one_by_one::CompensatedSum<T>;
    Scratch<Sum, kMost> totals[2];
    for (Index j = 0; j < part.lanes; ++j) totals[0][j] = totals[1][j] = Sum(T(0));
    for_each_block(part, [&](const Part& block) {
      sum_wide(SumWide<S>{pass_.x + block.offset, has_dy ? pass_.dy + block.offset : nullptr, nullptr,
                          has_dy ? block.line_gamma : nullptr, has_dy ? block.lane_gamma : nullptr,
                          block.lines, block.share, center, x_scale, dy_scale, first.data(), second.data(),
                          pass_.gamma_offset()});
      for (Index j = 0; j < part.lanes; ++j) {
        totals[0][j].add(first[j]);
        totals[1][j].add(second[j]);
      }
    });
    for (Index j = 0; j < part.lanes; ++j) {
      first[j] = totals[0][j].value();
      second[j] = totals[1][j].value();
    }
  }

  /// Those of x scale and epsilon scale^2, about the first value of each set; once more about the mean if that is far.
  void compute(const Values& scale, Statistics& s) const {
    Values center, first, second;
    const bool rms = pass_.formula.rms;
    for (Index k = 0; k < run_.count; ++k)
      center[k] = rms ? T(0) : T(T(value_at(pass_.x + run_.offset + k * set_stride_)) * scale[k]);
    const auto sum = [&] {
      for (Index k = 0; k < run_.count; ++k) first[k] = second[k] = T(0);
      for (Index i = 0; i < parts(); ++i) {
        const Part part = this->part(i);
        Values sums[2], room[2];
        sum_lanes(part, false, of_lanes(part, center, room[0]), of_lanes(part, scale, room[1]), nullptr,
                  sums[0], sums[1]);
        for (Index j = 0; j < part.lanes; ++j) {
          first[set_of(part, j)] += sums[0][j];
          second[set_of(part, j)] += sums[1][j];
        }
      }
      if (rms) set_to_zero(first.data(), run_.count);
    };
    sum();
    bool is_far = false;
    for (Index k = 0; k < run_.count; ++k) {
      if (!is_poor_pivot(n_, first[k], second[k], T(kHasRoom<C> ? 0x1p20 : 1))) continue;
      center[k] += first[k] / n_;
      is_far = true;
    }
    if (is_far) sum();
    for (Index k = 0; k < run_.count; ++k) {
      const auto f = one_by_one::finish_sums<T>(center[k], first[k], second[k], T(T(1) / n_));
      const T epsilon = T(pass_.formula.epsilon * scale[k] * scale[k]);
      const T mean_low = kHasRoom<C> ? T(0) : f.mean_low;  // as in finish
      s.set(k, {f.mean, mean_low, f.variance, one_by_one::inverse_std<T>(f.variance, epsilon)});
    }
  }

  void write_normalized(const Statistics& s, const Values& scale) const {
    for (Index i = 0; i < parts(); ++i) {
      const Part part = this->part(i);
      Values slope, level, room[2];
      for (Index j = 0; j < part.lanes; ++j) {
        const Index k = set_of(part, j);
        slope[j] = T(s.inv_std[k] * T(gamma(part, j)));
        level[j] = T(T(beta(part, j)) - s.mean_low[k] * slope[j]);
      }
      MapWide<S> a{};
      a.share = part.share;
      a.gamma_offset = pass_.gamma_offset();
      a.lane_gamma = part.lane_gamma;
      a.lane_beta = part.lane_beta;
      a.c[0] = of_lanes(part, s.mean, room[0]);
      a.c[1] = with_room(part, slope);
      a.c[2] = with_room(part, level);
      a.x_scale = of_lanes(part, scale, room[1]);
      if (pass_.fused.kernels != nullptr) a.apply_epilogue = pass_.fused.kernels->apply_epilogue;
      for_each_block(part, [&](const Part& block) {
        a.x = pass_.x + block.offset;
        a.out = pass_.written() + block.offset;
        a.epilogue = pass_.fused.epilogue.from(block.offset);
        a.lines = block.lines;
        a.line_gamma = block.line_gamma;
        a.line_beta = block.line_beta;
        map_wide(a);
      });
    }
  }

  /// Sums of a part's lanes: of dy dy_scale, and of that times xhat.
  void sum_part(const Part& part, const Statistics& s, const Values& scale, const T* dy_scale, Values& dy,
                Values& dy_xhat) const {
    Values room[2];
    sum_lanes(part, true, of_lanes(part, s.mean, room[0]), of_lanes(part, scale, room[1]), dy_scale, dy,
              dy_xhat);
    for (Index j = 0; j < part.lanes; ++j) {
      const Index k = set_of(part, j);
      dy_xhat[j] = T(s.inv_std[k] * (dy_xhat[j] - s.mean_low[k] * dy[j]));
    }
  }

  /// The sums of the sets, and those of their cells where they are kept.
  void sum_gradients(const Statistics& s, const Values& scale, const Values& dy_scale, bool keeps_cells,
                     Gradients& g) const {
    const bool has_cells = keeps_cells && !p_.elements_are_cells();
    const CellSums<T> cells(p_, pass_.sums);
    const Index channels = p_.channel.extent;
    for (Index k = 0; k < run_.count; ++k) {
      g.dy[k] = g.dy_xhat[k] = T(0);
      for (Index c = 0; has_cells && c < channels; ++c) {
        cells.dy[run_.set(k) * channels + c] = cells.dy_xhat[run_.set(k) * channels + c] = T(0);
      }
    }
    for (Index i = 0; i < parts(); ++i) {
      const Part part = this->part(i);
      Values dy, dy_xhat, room;
      sum_part(part, s, scale, of_lanes(part, dy_scale, room), dy, dy_xhat);
      for (Index j = 0; j < part.lanes; ++j) {
        const Index k = set_of(part, j);
        g.dy[k] += T(gamma(part, j)) * dy[j];
        g.dy_xhat[k] += T(gamma(part, j)) * dy_xhat[j];
      }
      if (!has_cells) continue;
      if constexpr (!kHasRoom<C>) scale_cells(part, s, scale, dy, dy_xhat);
      for (Index j = 0; j < part.lanes; ++j) {
        const Index k = set_of(part, j), cell = run_.set(k) * channels + channel_of(part, j) % channels;
        cells.dy[cell] += dy[j];
        cells.dy_xhat[cell] += dy_xhat[j];
      }
    }
    if (pass_.formula.rms) set_to_zero(g.dy.data(), run_.count);
  }

  /// Sums again, scaled, where sets are out of range of the statistic type too.
  EVENKEEL_COLD void scale_gradients(const Statistics& s, const Values& scale, int* exponent,
                                     Values& dy_scale, Gradients& g) const {
    bool again = false;
    for (Index k = 0; k < run_.count; ++k) {
      exponent[k] = Scale::next_dy_exponent(s.inv_std[k], T(g.dy[k] / n_), T(g.dy_xhat[k] / n_));
      dy_scale[k] = Scale::power_of_two(exponent[k]);
      again = again || exponent[k] != 0;
    }
    if (!again) return;
    Gradients scaled;
    sum_gradients(s, scale, dy_scale, false, scaled);
    for (Index k = 0; k < run_.count; ++k) {
      if (Scale::takes(exponent[k], T(scaled.dy[k] / n_), T(scaled.dy_xhat[k] / n_))) {
        g.dy[k] = scaled.dy[k];
        g.dy_xhat[k] = scaled.dy_xhat[k];
      } else {
        exponent[k] = 0;
        dy_scale[k] = T(1);
      }
    }
  }

  /// The same for the sums of a part's lanes.
  EVENKEEL_COLD void scale_cells(const Part& part, const Statistics& s, const Values& scale, Values& dy,
                                 Values& dy_xhat) const {
    const T n = from_count<T>(p_.cell_size());
    Values dy_scale, scaled_dy, scaled_dy_xhat;
    int exponent[kMost];
    bool again = false;
    for (Index j = 0; j < part.lanes; ++j) {
      const T mean_dy = T(dy[j] / n), mean_dy_xhat = T(dy_xhat[j] / n);
      const T size = Scale::size_of(mean_dy, mean_dy_xhat);
      exponent[j] =
          !is_finite(size) ? -Scale::kFar
          : size < 1 && Scale::are_gradients_outside(s.inv_std[set_of(part, j)], mean_dy, mean_dy_xhat)
              ? Scale::kFar
              : 0;
      dy_scale[j] = Scale::power_of_two(exponent[j]);
      again = again || exponent[j] != 0;
    }
    if (!again) return;
    sum_part(part, s, scale, with_room(part, dy_scale), scaled_dy, scaled_dy_xhat);
    for (Index j = 0; j < part.lanes; ++j) {
      if (exponent[j] == 0 || !Scale::takes(exponent[j], T(scaled_dy[j] / n), T(scaled_dy_xhat[j] / n)))
        continue;
      if (!is_finite(dy[j])) dy[j] = T(scaled_dy[j] / dy_scale[j]);
      dy_xhat[j] = T(scaled_dy_xhat[j] / dy_scale[j]);
    }
  }

  T n_;
};

EVENKEEL_END_SMALL
EVENKEEL_END
}  // namespace evenkeel::detail
