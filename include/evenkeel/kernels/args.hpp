// SPDX-License-Identifier: MIT
#pragma once

#include "evenkeel/base/scalar.hpp"

// The arguments of kernels, one struct a kernel. What is marked as an option is for the kernel ..._with_options of the same
// struct alone, and null or 0 for the plain one. S is the type of stored elements, C = ComputeOf<S> that of arithmetic,
// T = StatisticOf<S> that of sums and statistics. A pointer that may be null says so.
//
// These are plain data and the same in every translation unit, so that kernels may be compiled elsewhere.

namespace evenkeel::detail {

/// Elements in memory: outer x inner lines of `length` neighbours.
struct Lines {
  Index outer, outer_stride;
  Index inner, inner_stride;
  Index length;
};

/// The function behind a norm. Of clip: y = min(max(leaky(z), low), high), with leaky(z) = z < 0 ? slope z : z. The others
/// are smooth: see kernels/activations.inl.
enum class Curve : unsigned char { none, clip, silu, gelu, gelu_tanh, tanh, sigmoid };
template <typename C>
struct Activation {
  Curve curve;
  C slope, low, high;
};

/// What is fused behind a norm, with z = norm(x) + residual: y = activation(z); or with dy, the gradient by z,
/// dy activation'(z). All pointers are to where x is.
template <typename S>
struct Epilogue {
  const S* residual;  // may be null
  const S* dy;        // may be null
  Activation<ComputeOf<S>> activation;

  bool is_empty() const { return residual == nullptr && activation.curve == Curve::none; }
  Epilogue from(Index at) const {
    return {residual == nullptr ? nullptr : residual + at, dy == nullptr ? nullptr : dy + at, activation};
  }
};

/// dy as an epilogue makes it of z = (x - center) scale + shift, with the center of the kernel's other coefficients.
template <typename S>
struct FusedDy {
  const ComputeOf<S>* scale;  // [cells] or [lanes]
  const ComputeOf<S>* shift;
  Epilogue<S> epilogue;  // has a dy
  S* dz;                 // may be null; where it is kept

  /// The same for elements from `at` on, and lanes from `lane` on.
  FusedDy from(Index at, Index lane) const {
    return {scale + lane, shift + lane, epilogue.from(at), dz == nullptr ? nullptr : dz + at};
  }
};

/// Sums over elements [begin, end) of the lines of each cell:
///
///   first = sum (x - center), second = sum (x - center)^2;    with dy: sum dy, sum dy (x - center)
template <typename S>
struct SumLines {
  const S* x;
  const S* dy;           // may be null
  const S* mask;         // option; elements count where it is positive
  const Index* offsets;  // where each cell begins
  Index cells;
  Lines lines;
  Index begin, end;
  const ComputeOf<S>* center;  // [cells]
  StatisticOf<S>* first;       // [cells]
  StatisticOf<S>* second;      // [cells]
  FusedDy<S> fused = {};       // option, instead of dy
};

/// out = (x - c0) c1 + c2, or with gradients (x - c0) c1 + c2 + dy c3, over elements [begin, end) of the lines of each cell.
/// With options, `out` is what the epilogue makes of it.
template <typename S>
struct MapLines {
  const S* x;
  const S* dy;  // of gradients
  S* out;
  const Index* offsets;  // where each cell begins
  Index cells;
  Lines lines;
  Index begin, end;
  const ComputeOf<S>* c[4];  // [cells]
  Index ahead;               // how many elements ahead to prefetch; 0: none
  bool stream;               // past the caches
  Epilogue<S> epilogue;      // option, but not of gradients
  FusedDy<S> fused = {};     // option of gradients, instead of dy
};

/// The most neighbours that a pivot is taken from.
inline constexpr Index kPivotNeighbours = 16;

/// pivots[k] = the mean of the first `count` neighbours, at most kPivotNeighbours, at each of a few places of cell k: exact
/// where they are equal.
template <typename S>
struct PivotLines {
  const S* x;
  const Index* offsets;
  Index cells, count;
  ComputeOf<S>* pivots;
  Index places = 1, place_stride = 0;
};

/// The most lanes of a call on columns: what scratch on the stack is sized by.
template <typename C>
inline constexpr Index kMostLanes = sizeof(C) <= 4 ? 1024 : 512;

/// The most elements of a line of the cache.
inline constexpr Index kMostInLine = 64;

/// The sums of SumLines for each lane of `rows` rows, which are added to first and second.
template <typename S>
struct SumColumns {
  const S* x;
  const S* dy;                  // may be null
  const S* mask;                // option
  const ComputeOf<S>* weights;  // option; [rows], factors of dy, with gamma_offset added
  Index rows, stride, lanes;
  const ComputeOf<S>* center;                   // [lanes]
  StatisticOf<S>* first;                        // [lanes], with room for whole vectors
  StatisticOf<S>* second;                       // [lanes], so has this
  FusedDy<S> fused = {};                        // option, instead of dy
  ComputeOf<S> gamma_offset = ComputeOf<S>(0);  // option
  bool is_far = false;                          // x is not near: plain sums of moments prefetch it
};

/// out = (x - c0) c1 + c2, or with gradients (x - c0) c1 + c2 + dy c3, with coefficients of each lane. Where there are
/// gammas, one a row: ((x - c0) c1 + c2) gamma + beta, or gamma dy for dy.
template <typename S>
struct MapColumns {
  const S* x;
  const S* dy;  // of gradients
  S* out;
  const ComputeOf<S>* gamma;  // option; [rows]
  const ComputeOf<S>* beta;   // option; [rows], null where gamma is or without a beta
  Index rows, stride, lanes;
  // [lanes]; of kernels without options, the first kMostInLine or all come again behind them
  const ComputeOf<S>* c[4];
  Index ahead;
  bool stream;
  Epilogue<S> epilogue;                         // option, but not of gradients
  const S* plus = nullptr;                      // option of gradients, added to them
  FusedDy<S> fused = {};                        // option of gradients, instead of dy
  ComputeOf<S> gamma_offset = ComputeOf<S>(0);  // option, added to gamma
};

/// pivots[l] = the mean of lane l in `rows` rows: exact where they are equal.
template <typename S>
struct PivotColumns {
  const S* x;
  Index rows, stride, lanes;
  ComputeOf<S>* pivots;
};

/// grad_beta[r] += sum over lanes of dy, grad_gamma[r] += sum over lanes of dy xhat, with xhat = (x - c0) c1 + c2.
template <typename S>
struct SumParams {
  const S* x;
  const S* dy;
  Index rows, stride, lanes;
  const ComputeOf<S>* c[3];    // [lanes]
  StatisticOf<S>* grad_gamma;  // [rows]
  StatisticOf<S>* grad_beta;   // [rows]
};

/// Layer norm of rows of n neighbours, and RMS norm, whose mean is 0 and which has no beta:
///
///   y = (x - mean) inv_std (gamma + gamma_offset) + beta,  inv_std = 1 / sqrt(variance + epsilon)
template <typename S>
struct NormalizeRows {
  const S* x;
  S* y;
  Index rows, n, stride;
  const ComputeOf<S>* gamma;  // [n], may be null
  const ComputeOf<S>* beta;   // [n], may be null
  StatisticOf<S> epsilon;
  StatisticOf<S>* mean;  // [rows]; these four may be null
  StatisticOf<S>* mean_low;
  StatisticOf<S>* variance;
  StatisticOf<S>* inv_std;
  unsigned char* outside;  // [rows], written: 1 where inv_std is out of range, and y is not written
  bool stream;
  ComputeOf<S> gamma_offset = ComputeOf<S>(0);  // added to gamma
  Epilogue<S> epilogue;                         // option
};

/// sum = x + skip of rows of n neighbours.
template <typename S>
struct AddRows {
  const S* x;
  const S* skip;
  S* sum;
  Index rows, n, stride;
};

/// The gradients of NormalizeRows:
///
///   dx = inv_std (w dy - mean(w dy) - xhat mean(w dy xhat)) + plus, where w = gamma + gamma_offset
///   grad_gamma += sum over rows of dy xhat, grad_beta += sum over rows of dy
template <typename S>
struct RowGradients {
  const S* x;
  const S* dy;
  S* dx;
  Index rows, n, stride;
  const ComputeOf<S>* weights;     // [n]: 1 without a gamma
  const StatisticOf<S>* mean;      // [rows], null for RMS norm
  const StatisticOf<S>* mean_low;  // [rows], may be null
  const StatisticOf<S>* inv_std;   // [rows]
  StatisticOf<S>* grad_gamma;      // [n], may be null, and grad_beta with it
  StatisticOf<S>* grad_beta;       // [n], unused by RMS norm
  ComputeOf<S>* scratch;           // [4 n]
  unsigned char* outside;          // [rows], written: see RowOutside
  bool stream;
  const S* plus;  // option
};

/// The epilogue of rows whose statistics are saved: what NormalizeRows would write with it.
template <typename S>
struct EpilogueOfRows {
  const S* x;
  S* out;
  Index rows, n, stride;
  const ComputeOf<S>* gamma;       // [n], may be null
  const ComputeOf<S>* beta;        // [n], may be null
  const StatisticOf<S>* mean;      // [rows], null for RMS norm
  const StatisticOf<S>* mean_low;  // [rows], may be null
  const StatisticOf<S>* inv_std;   // [rows]
  unsigned char* outside;          // [rows], as in NormalizeRows
  ComputeOf<S> gamma_offset;
  Epilogue<S> epilogue;
};

/// values[i] = what the epilogue makes of z = values[i] at element at + i, for i in [0, n).
template <typename S>
struct EpilogueOfValues {
  Epilogue<S> epilogue;
  Index at, n;
  ComputeOf<S>* values;
};

/// Which rows are left to SumWide and MapWide.
enum RowOutside : unsigned char {
  kInside = 0,
  kGradientsOutside = 1,   // dx is not written
  kStatisticsOutside = 2,  // nor is the row added to grad_gamma and grad_beta
};

/// The statistic type holds the squares and products of any values of C, so that wide kernels need no scales.
template <typename C>
inline constexpr bool kHasRoom = !std::is_same_v<C, StatisticOf<C>>;

/// Which elements of a wide kernel share a center, coefficients, scales and sums.
enum class WideShare {
  all,    // there is one of each
  lanes,  // each lane has its own, with room for kPadding more, which are finite
  lines,  // each line has its own; there are no outer ones
};

/// out = (x x_scale - center) slope + level of n neighbours, in the statistic type: inference out of range.
template <typename S>
struct InferWide {
  const S* x;
  S* out;
  Index n;
  // One a lane, with room for kPadding more; or a vector's that all lanes share.
  const StatisticOf<S>* center;
  const StatisticOf<S>* slope;
  const StatisticOf<S>* level;
  bool is_shared;
  StatisticOf<S> x_scale;                              // unless kHasRoom
  void (*apply_epilogue)(const EpilogueOfValues<S>&);  // may be null
  Epilogue<S> epilogue;
  Index at;  // the element of x[0], for the epilogue
};

/// The sums of SumLines and SumColumns in the statistic type, of x x_scale and of dy dy_scale times its weights: for
/// values whose squares the compute type cannot hold.
template <typename S>
struct SumWide {
  const S* x;
  const S* dy;                       // may be null
  const S* mask;                     // may be null
  const ComputeOf<S>* line_weights;  // may be null; one a line
  const ComputeOf<S>* lane_weights;  // may be null; one a lane
  Lines lines;
  WideShare share;
  const StatisticOf<S>* center;
  const StatisticOf<S>* x_scale;  // unless kHasRoom
  const StatisticOf<S>* dy_scale;
  StatisticOf<S>* first;
  StatisticOf<S>* second;
  ComputeOf<S> gamma_offset = ComputeOf<S>(0);  // added to weights
};

/// The values of MapLines and MapColumns in the statistic type:
///
///   y = ((x x_scale - c0) c1 + c2) gamma + beta
///
/// or with gradients, with xhat = (x x_scale - c0) xhat0 + xhat1:
///
///   dx = ((x x_scale - c0) c1 + c2 + gamma dy dy_scale c3) result^2
///   grad_gamma += dy xhat, grad_beta += dy
template <typename S>
struct MapWide {
  const S* x;
  const S* dy;  // of gradients
  S* out;
  const ComputeOf<S>* line_gamma;               // may be null; one a line
  const ComputeOf<S>* line_beta;                // may be null
  const ComputeOf<S>* lane_gamma;               // may be null; one a lane
  const ComputeOf<S>* lane_beta;                // may be null
  ComputeOf<S> gamma_offset = ComputeOf<S>(0);  // added to gamma
  Lines lines;
  WideShare share;
  const StatisticOf<S>* c[4];
  const StatisticOf<S>* x_scale;  // these three unless kHasRoom
  const StatisticOf<S>* dy_scale;
  const StatisticOf<S>* result;
  const StatisticOf<S>* xhat[2];
  // One a line where lanes share nothing, else one a lane.
  StatisticOf<S>* grad_gamma;  // may be null, and grad_beta with it
  StatisticOf<S>* grad_beta;
  void (*apply_epilogue)(const EpilogueOfValues<S>&);  // of y, may be null
  Epilogue<S> epilogue;
  const S* plus;  // of dx, may be null
};

}  // namespace evenkeel::detail
