#pragma once

#include "evenkeel/simd/sums.hpp"

namespace evenkeel::kernels {
EVENKEEL_BEGIN

// center - x, not x - center: so one instruction loads x and subtracts it.

// What the passes add up. `center` is the pivot or the mean; lanes that are absent hold x = center, dy = 0.

/// first += x - center, second += (x - center)^2
struct Deviations {
  static constexpr int kInputs = 1;

  template <typename V>
  static EVENKEEL_INLINE void add(const V& x, const V&, const V&, const V& center, V& first, V& second) {
    const V deviation = difference(center, x);
    first = first - deviation;
    second = fma(deviation, deviation, second);
  }
};

/// first += dy, second += dy (x - center)
struct Gradients {
  static constexpr int kInputs = 2;

  template <typename V>
  static EVENKEEL_INLINE void add(const V& x, const V& dy, const V&, const V& center, V& first, V& second) {
    first = first + dy;
    second = fnma(dy, difference(center, x), second);
  }
};

/// first += gamma dy, second += gamma dy (x - center)
struct WeightedGradients {
  static constexpr int kInputs = 3;

  template <typename V>
  static EVENKEEL_INLINE void add(const V& x, const V& dy, const V& gamma, const V& center, V& first,
                                  V& second) {
    Gradients::add(x, gamma * dy, gamma, center, first, second);
  }
};

// What the passes write.

/// y = (x - mean) scale + shift, and with parameters of its own for each element: that, times gamma, plus
/// beta.
struct Normalize {
  static constexpr int kInputs = 1, kCoefficients = 3;  // mean, scale, shift

  template <typename V>
  static EVENKEEL_INLINE V apply(const V& x, const V&, const V* coefficients) {
    return fnma(difference(coefficients[0], x), coefficients[1], coefficients[2]);
  }
  template <typename V>
  static EVENKEEL_INLINE V apply(const V& x, const V& dy, const V* coefficients, const V& gamma,
                                 const V& beta) {
    return fma(apply(x, dy, coefficients), gamma, beta);
  }
};

/// dx = dy scale + ((x - mean) slope + shift), with gamma dy for dy where each element has a gamma of its
/// own.
struct InputGradient {
  static constexpr int kInputs = 2, kCoefficients = 4;  // mean, scale, shift, slope

  template <typename V>
  static EVENKEEL_INLINE V apply(const V& x, const V& dy, const V* coefficients) {
    return fma(dy, coefficients[1], fnma(difference(coefficients[0], x), coefficients[3], coefficients[2]));
  }
  template <typename V>
  static EVENKEEL_INLINE V apply(const V& x, const V& dy, const V* coefficients, const V& gamma, const V&) {
    return apply(x, gamma * dy, coefficients);
  }
};

/// What Op takes for cell k, in all lanes.
template <typename Op, typename V, typename Compute>
EVENKEEL_INLINE void spread_coefficients(const Compute* const* coefficients, Index k, V* to) {
  to[0] = V::all(coefficients[0][k]);
  to[1] = V::all(coefficients[1][k]);
  to[2] = V::all(coefficients[2][k]);
  if constexpr (Op::kCoefficients > 3) to[3] = V::all(coefficients[3][k]);
}

/// What Op takes for cells k, k + 1, ..., one a lane; n of them. Written out: g++ keeps what a loop fills in memory.
template <typename Op, typename V, typename Compute>
EVENKEEL_INLINE void load_coefficients(const Compute* const* coefficients, Index k, Index n, V* to) {
  to[0] = V::load(coefficients[0] + k, n, Compute(0));
  to[1] = V::load(coefficients[1] + k, n, Compute(0));
  to[2] = V::load(coefficients[2] + k, n, Compute(0));
  if constexpr (Op::kCoefficients > 3) to[3] = V::load(coefficients[3] + k, n, Compute(0));
}

/// sums[0 .. n) += short_sum, lane by lane.
template <typename T, int L, typename Statistic>
EVENKEEL_INLINE void add_lanes(const simd::Vec<T, L>& short_sum, Statistic* sums, Index n) {
  simd::WideSum<T, L, Statistic> wide(sums, n);
  wide.add(short_sum);
  wide.store(sums, n);
}

EVENKEEL_END
}  // namespace evenkeel::kernels
