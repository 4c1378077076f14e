#pragma once

#include "evenkeel/core/moments.hpp"
#include "evenkeel/core/partition.hpp"
#include "evenkeel/simd/caches.hpp"

namespace evenkeel {
EVENKEEL_BEGIN

/// The numbers that an apply pass takes for a cell or a set; see kernels::Normalize and
/// kernels::InputGradient.
template <typename Compute>
struct Coefficients {
  Compute mean, scale, shift, slope;
};

/// Coefficients of a kernel call, each kind in an array of its own.
template <typename Compute, Index kSize = kernels::kBatch>
class CoefficientTable {
 public:
  void set(Index i, const Coefficients<Compute>& c) {
    mean_[i] = c.mean;
    scale_[i] = c.scale;
    shift_[i] = c.shift;
    slope_[i] = c.slope;
  }
  /// One kind's array, in the order of Coefficients.
  Compute* values(int kind) {
    Scratch<Compute, kSize>* kinds[] = {&mean_, &scale_, &shift_, &slope_};
    return kinds[kind]->data();
  }
  Compute* mean() { return mean_.data(); }
  Compute* scale() { return scale_.data(); }
  Compute* shift() { return shift_.data(); }
  Compute* slope() { return slope_.data(); }

 private:
  Scratch<Compute, kSize> mean_, scale_, shift_, slope_;
};

/// Whether the output of a task goes past the caches: the pass is too large for it to be found there later, and it is
/// not written over an input, whose lines are there already.
template <typename Task>
bool goes_past_caches(const Partition& p, const Task& task, int threads) {
  const Index bytes = (task.dy == nullptr ? 2 : 3) * static_cast<Index>(sizeof(*task.out));
  return p.size() >= simd::caches().streaming_on(threads) / bytes && task.out != task.x &&
         task.out != task.dy;
}

/// A pass forward: y = (x - mean) inv_std gamma + beta.
template <typename Storage>
struct ForwardTask {
  using Op = kernels::Normalize;
  using Compute = ComputeOf<Storage>;
  using Statistic = StatisticOf<Storage>;

  const Storage* x;
  Storage* out;
  const Compute* gamma;  // may be null
  const Compute* beta;   // may be null
  double epsilon;
  Moments<Statistic>* moments;  // written; may be null
  const Compute* known_mean;    // not null: the statistics are given, one a set, and none are computed
  const Compute* known_variance;
  bool streams = false;  // see goes_past_caches()
  static constexpr const Storage* dy = nullptr;

  using SetResult = SetStatistics<Statistic>;

  bool reduces() const { return known_mean == nullptr; }
  static constexpr Index bytes_read(Index elements) { return elements * static_cast<Index>(sizeof(Storage)); }

  SetResult known(Index set) const {
    const Statistic variance(known_variance[set]);
    return {Statistic(known_mean[set]), Statistic(0), variance, inverse_std(variance, epsilon)};
  }

  /// Whether the passes are right for a set with these statistics; see rescue.hpp. A mean that is given may be so far
  /// away that x - mean overflows.
  bool in_range(const SetResult& s) const {
    if constexpr (is_bounded<Storage>()) {
      constexpr double kFar = kernels::InvStdRange<Compute>::kHigh * kernels::InvStdRange<Compute>::kHigh;
      if (!reduces() && !(std::fabs(s.mean) < kFar)) return false;
    }
    return is_in_range<Storage>(s.inv_std);
  }

  void save(Index set, const SetResult& s) const {
    if (moments == nullptr) return;
    moments->mean[set] = s.mean;
    moments->inv_std[set] = s.inv_std;
    if (moments->keeps_mean_low) moments->mean_low[set] = s.mean_low;
    if (moments->keeps_variance) moments->variance[set] = s.variance;
  }

  /// Those of `count` sets, `step` apart.
  void save(Index first, Index step, Index count, const StatisticsTable<Statistic>& s) const {
    if (moments == nullptr) return;
    const bool stream = step == 1 && 4 * moments->size() * static_cast<Index>(sizeof(Statistic)) >=
                                         simd::caches().second_level / 2;
    const auto copy = [&](const Statistic* from, Vector<Statistic>& to) {
      if (stream)
        return simd::run_baseline<Statistic>(kernels::StreamCopy<Statistic>{from, &to[first], count});
      if (step == 1) return static_cast<void>(std::copy(from, from + count, &to[first]));
      for (Index k = 0; k < count; ++k) to[first + k * step] = from[k];
    };
    copy(s.mean.data(), moments->mean);
    copy(s.inv_std.data(), moments->inv_std);
    if (moments->keeps_mean_low) copy(s.mean_low.data(), moments->mean_low);
    if (moments->keeps_variance) copy(s.variance.data(), moments->variance);
  }

  /// The rounding error of the mean goes back in through the shift.
  Coefficients<Compute> of_cell(const SetResult& s, Index param) const {
    Statistic scale = s.inv_std;
    if (gamma != nullptr) scale *= Statistic(gamma[param]);
    const auto mean = static_cast<Compute>(s.mean);
    Statistic shift = -rest_of_mean(s.mean, s.mean_low, mean) * scale;
    if (beta != nullptr) shift += Statistic(beta[param]);
    return {mean, Compute(scale), Compute(shift), Compute(0)};
  }

  /// As of_cell, but gamma and beta are left to the elements.
  Coefficients<Compute> of_set(const SetResult& s) const {
    const auto mean = static_cast<Compute>(s.mean);
    const Statistic shift = -rest_of_mean(s.mean, s.mean_low, mean) * s.inv_std;
    return {mean, Compute(s.inv_std), Compute(shift), Compute(0)};
  }
};

/// A pass backward:
///
///   dx = inv_std (gamma dy - mean(gamma dy)) - (x - mean) inv_std^3 mean(gamma dy (x - mean))
template <typename Storage>
struct BackwardTask {
  using Op = kernels::InputGradient;
  using Compute = ComputeOf<Storage>;
  using Statistic = StatisticOf<Storage>;

  const Storage* x;
  const Storage* dy;
  Storage* out;
  const Compute* gamma;  // may be null
  const Compute* beta;   // null: backward has no use for it
  const Moments<Statistic>& moments;
  Compute* grad_gamma;   // may be null
  Compute* grad_beta;    // may be null
  Statistic* sums;       // where the passes leave what the gradients of gamma and beta are made of
  bool streams = false;  // see goes_past_caches()

  struct SetResult {
    Compute mean;
    Statistic inv_std, shift, slope;
    bool in_range;  // whether the passes are right for the set; see rescue.hpp
  };

  static constexpr bool reduces() { return true; }
  static constexpr Index bytes_read(Index elements) {
    return 2 * elements * static_cast<Index>(sizeof(Storage));
  }

  /// The mean that is subtracted in the compute type, and what it lacks.
  Compute center(Index set) const { return Compute(moments.mean[set]); }
  Statistic center_low(Index set) const {
    return rest_of_mean(moments.mean[set], moments.low(set), center(set));
  }

  /// The sum of dy xhat, from sum_dy = sum of dy and sum_dy_x = sum of dy (x - center).
  Statistic sum_dy_xhat(Index set, const Statistic& sum_dy, const Statistic& sum_dy_x) const {
    return moments.inv_std[set] * Statistic(sum_dy_x - center_low(set) * sum_dy);
  }

  /// From sum_dy = sum of gamma dy and sum_dy_xhat = sum of gamma dy xhat, over n values.
  SetResult finish(Index set, Index n, const GradientSums<Storage>& right_sums, const Statistic& sum_dy,
                   const Statistic& sum_dy_xhat) const {
    const Statistic inv_std = moments.inv_std[set], count = from_count<Statistic>(n);
    const Statistic slope = -(inv_std * inv_std * Statistic(sum_dy_xhat / count));
    return {center(set), inv_std, Statistic(-(inv_std * sum_dy / count) - slope * center_low(set)), slope,
            is_in_range<Storage>(inv_std) && right_sums.contain(inv_std, sum_dy, sum_dy_xhat)};
  }

  Coefficients<Compute> of_cell(const SetResult& s, Index param) const {
    Coefficients<Compute> c = of_set(s);
    if (gamma != nullptr) c.scale = Compute(Statistic(s.inv_std * Statistic(gamma[param])));
    return c;
  }

  Coefficients<Compute> of_set(const SetResult& s) const {
    return {s.mean, Compute(s.inv_std), Compute(s.shift), Compute(s.slope)};
  }

  /// What makes xhat = (x - mean) scale + shift.
  Coefficients<Compute> of_xhat(Index set) const {
    const Statistic inv_std = moments.inv_std[set];
    return {center(set), Compute(inv_std), Compute(Statistic(-center_low(set) * inv_std)), Compute(0)};
  }

  bool wants_params() const { return grad_gamma != nullptr || grad_beta != nullptr; }

  void write_params(Index param, const Statistic& sum_dy, const Statistic& sum_dy_xhat) const {
    if (grad_beta != nullptr) grad_beta[param] = Compute(sum_dy);
    if (grad_gamma != nullptr) grad_gamma[param] = Compute(sum_dy_xhat);
  }
};

/// Sums over each cell, cell = set * channels + channel: of dy, and of dy xhat.
///
/// A set's sums and its parameters' gradients are made of them.
template <typename Storage>
struct CellSums {
  using Statistic = StatisticOf<Storage>;

  const Partition& p;
  Statistic* dy;
  Statistic* dy_xhat;
  GradientSums<Storage> right_of_cell, right_of_set;

  static Index values_needed(const Partition& p) { return 2 * p.sets() * p.channel.extent; }

  CellSums(const Partition& partition, Statistic* sums)
      : p(partition),
        dy(sums),
        dy_xhat(sums + p.sets() * p.channel.extent),
        right_of_cell(p.cell_size()),
        right_of_set(p.set_size()) {}

  /// What a set's cells add up to. Called once: dy_xhat, which holds the sums of dy (x - center) before, holds those
  /// of dy xhat after.
  typename BackwardTask<Storage>::SetResult finish(const BackwardTask<Storage>& task, Index set) const {
    Statistic set_dy(0), set_dy_xhat(0);
    bool in_range = true;
    const Index first_param = p.first_param(set);
    for (Index channel = 0; channel < p.channel.extent; ++channel) {
      const Index cell = set * p.channel.extent + channel;
      const Statistic gamma(task.gamma == nullptr ? ComputeOf<Storage>(1)
                                                  : task.gamma[first_param + channel]);
      dy_xhat[cell] = task.sum_dy_xhat(set, dy[cell], dy_xhat[cell]);
      set_dy += gamma * dy[cell];
      set_dy_xhat += gamma * dy_xhat[cell];
      in_range &= right_of_cell.contain(task.moments.inv_std[set], dy[cell], dy_xhat[cell]);
    }
    typename BackwardTask<Storage>::SetResult result =
        task.finish(set, p.set_size(), right_of_set, set_dy, set_dy_xhat);
    result.in_range &= in_range;
    return result;
  }

  /// grad_beta = sum of dy, grad_gamma = sum of dy xhat, over the cells of parameters [begin, end): at most
  /// kMaxParams.
  static constexpr Index kMaxParams = 64;
  void finish_params(const BackwardTask<Storage>& task, Index begin, Index end) const {
    Scratch<Statistic, kMaxParams> param_dy, param_dy_xhat;
    const Index channels = p.channel.extent;
    for (Index param = begin, count = 0; param < end; param += count) {
      const Index group = param / channels, channel = param % channels;
      count = std::min(end - param, channels - channel);
      for (Index k = 0; k < count; ++k) param_dy[k] = param_dy_xhat[k] = Statistic(0);
      for (Index set = group; set < p.sets(); set += p.group.extent) {
        const Index cell = set * channels + channel;
        for (Index k = 0; k < count; ++k) {
          param_dy[k] += dy[cell + k];
          param_dy_xhat[k] += dy_xhat[cell + k];
        }
      }
      for (Index k = 0; k < count; ++k) task.write_params(param + k, param_dy[k], param_dy_xhat[k]);
    }
  }
};

/// What each block of sets adds to the gradients of gamma and beta, where every element is a cell of its own.
template <typename Storage>
struct BlockSums {
  using Statistic = StatisticOf<Storage>;

  Index params, blocks;
  Statistic* sums;

  static Index values_needed(const Partition& p, Index blocks) { return 2 * p.params() * blocks; }

  Statistic* gamma(Index block) const { return sums + 2 * block * params; }
  Statistic* beta(Index block) const { return gamma(block) + params; }

  void clear(Index block) const { std::fill(gamma(block), gamma(block) + 2 * params, Statistic(0)); }

  /// The gradients of parameters [begin, end).
  void finish_params(const BackwardTask<Storage>& task, Index begin, Index end) const {
    const auto sum = [&](const Statistic* of_first_block, ComputeOf<Storage>* out) {
      if (out == nullptr) return;
      simd::run_baseline<Statistic>(kernels::SumBlocks<ComputeOf<Storage>, Statistic>{
          end - begin, blocks, 2 * params, of_first_block + begin, out + begin});
    };
    sum(gamma(0), task.grad_gamma);
    sum(beta(0), task.grad_beta);
  }
};

EVENKEEL_END
}  // namespace evenkeel
