// SPDX-License-Identifier: MIT
#pragma once

#include "evenkeel/kernels/args.hpp"

namespace evenkeel::detail {

// Small numbers of sets and cells. Their arrays have room for kPadding values more, since whole vectors are read and
// written.

inline constexpr Index kPadding = 16;

/// The statistics of sets of n values each, from sums about a pivot:
///
///   mean + mean_low = pivot + first / n,  variance = (second - first^2 / n) / n
///   inv_std = 1 / sqrt(variance + epsilon), 0 where both are 0
template <typename S>
struct FinishSums {
  Index sets;
  StatisticOf<S> n, epsilon;
  const ComputeOf<S>* pivots;
  const StatisticOf<S>* first;
  const StatisticOf<S>* second;
  StatisticOf<S>* mean;
  StatisticOf<S>* mean_low;
  StatisticOf<S>* variance;
  StatisticOf<S>* inv_std;
};

/// What FinishSums saw in any of the sets.
enum Seen : unsigned {
  kPoorPivot = 1,   // squares about it lose more than a bit to cancellation: sum again about the mean
  kOutOfRange = 2,  // see Range
};

/// Finishes the sums of cells of n values each, and weights them:
///
///   sum_dy_xhat = inv_std (sum_dy_x - low sum_dy), where low is what the mean loses when it is rounded to C
///   weighted_dy = gamma sum_dy, weighted_dy_xhat = gamma sum_dy_xhat
///
/// sum_dy and sum_dy_x have no room for more.
template <typename S>
struct FinishGradients {
  Index cells;
  StatisticOf<S> n;
  const StatisticOf<S>* mean;
  const StatisticOf<S>* mean_low;  // may be null
  const StatisticOf<S>* inv_std;
  const ComputeOf<S>* gamma;  // may be null
  const StatisticOf<S>* sum_dy;
  StatisticOf<S>* sum_dy_x;  // and sum_dy_xhat
  StatisticOf<S>* weighted_dy;
  StatisticOf<S>* weighted_dy_xhat;
  bool has_one_param;                           // gamma is given once, not for each cell
  ComputeOf<S> gamma_offset = ComputeOf<S>(0);  // added to gamma
};

/// The coefficients of cells. Without sum_dy, those of y = (x - c0) c1 + c2:
///
///   c0 = mean, c1 = inv_std gamma, c2 = beta - low c1
///
/// else those of dx = (x - c0) c1 + c2 + dy c3, for sums over the n values of the cell's set, weighted by gamma:
///
///   c0 = mean, c1 = -inv_std^2 sum_dy_xhat / n, c2 = -inv_std sum_dy / n - low c1, c3 = inv_std gamma
template <typename S>
struct Coefficients {
  Index cells;
  StatisticOf<S> n;
  const StatisticOf<S>* mean;
  const StatisticOf<S>* mean_low;  // may be null
  const StatisticOf<S>* inv_std;
  const ComputeOf<S>* gamma;          // may be null
  const ComputeOf<S>* beta;           // may be null
  const StatisticOf<S>* sum_dy;       // may be null
  const StatisticOf<S>* sum_dy_xhat;  // as sum_dy
  ComputeOf<S>* c[4];
  bool has_one_param;                           // gamma and beta are given once, not for each cell
  ComputeOf<S> gamma_offset = ComputeOf<S>(0);  // added to gamma
};

/// Whether statistics have more digits than the parameters that show them.
template <typename Param>
inline constexpr bool kKeepsDigits = !std::is_same_v<Param, StatisticOf<Param>>;

/// The statistics that inference is given, one of each a channel. The mean is mean + low if mean is still what it was
/// when low was kept, high; else somebody has assigned it since.
template <typename C>
struct GivenStatistics {
  const C* mean;
  const C* variance;
  const C* high;  // may be null
  const C* low;   // where high is not null

  GivenStatistics from(Index channel) const {
    if (high == nullptr) return {mean + channel, variance + channel, nullptr, nullptr};
    return {mean + channel, variance + channel, high + channel, low + channel};
  }
};

/// Whether a variance may be negative or not finite; -0 counts as negative.
template <typename S>
struct CheckVariances {
  const ComputeOf<S>* variance;
  Index count;
};

/// The coefficients of inference: c0 = mean, c1 = gamma / sqrt(variance + epsilon), c2 = beta - low c1. Only the output
/// has room for more.
template <typename S>
struct InferenceCoefficients {
  Index cells;
  StatisticOf<S> epsilon;
  GivenStatistics<ComputeOf<S>> given;
  const ComputeOf<S>* gamma;  // may be null
  const ComputeOf<S>* beta;   // may be null
  ComputeOf<S>* c[3];
  ComputeOf<S> gamma_offset = ComputeOf<S>(0);  // added to gamma
};

/// A running statistic of each channel; see RunningStatistic. high and low are null where values have all digits.
template <typename C>
struct RunningPlaces {
  C *values, *high, *low;
};

/// running = (1 - weight) running + weight batch, where the batch's variance counts `unbias` times. It stops before a
/// vector of channels of which a number is not finite, and returns how many channels it moved. No array is longer.
template <typename S>
struct MoveStatistics {
  Index channels;
  const StatisticOf<S>* mean;  // of the batch
  const StatisticOf<S>* variance;
  StatisticOf<S> unbias, weight;
  RunningPlaces<ComputeOf<S>> running_mean, running_variance;
};

/// Inference of a few rows of lanes, by the coefficients of InferenceCoefficients: out = (x - c0) c1 + c2. It stops before
/// a lane that is out of range, and returns how many it wrote; or -1, before it writes any, where CheckVariances is true.
template <typename S>
struct InferColumns {
  const S* x;
  S* out;
  Index rows, stride, lanes;
  StatisticOf<S> epsilon;
  GivenStatistics<ComputeOf<S>> given;  // [lanes]
  const ComputeOf<S>* gamma;            // [lanes], may be null
  const ComputeOf<S>* beta;             // [lanes], may be null
};

/// to[i] = the sum over b of from[b stride + i], for i in [0, count). No array has room for more.
template <typename S>
struct SumBlocks {
  const StatisticOf<S>* from;
  Index count, blocks, stride;
  ComputeOf<S>* to;
};

/// to[k width + i] = from[k] for i in [0, width).
template <typename S>
struct Spread {
  const ComputeOf<S>* from;
  Index cells, width;
  ComputeOf<S>* to;
};

/// to[k] = the sum of from[k width + i] over i in [0, width).
template <typename S>
struct Fold {
  const StatisticOf<S>* from;
  Index cells, width;
  StatisticOf<S>* to;
};

}  // namespace evenkeel::detail
