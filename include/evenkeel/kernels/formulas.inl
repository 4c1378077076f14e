// SPDX-License-Identifier: MIT
//
// The formulas, for as many sets as a Wide has lanes. Included beside words.inl.

/// What a mean loses when it is rounded to C, plus its low part.
template <typename C>
EVENKEEL_WORD Wide<C> rest_of_mean(const Wide<C>& mean, const Wide<C>& mean_low, const Vec<C>& rounded) {
  const Wide<C> rest = as_computed(mean - widen(rounded));
  return rest + mean_low;
}

/// high + low = a + b exactly (Knuth 1969, TwoSum).
template <typename W>
EVENKEEL_WORD void two_sum(const W& a, const W& b, W& high, W& low) {
  const W sum = as_computed(a + b), b_part = as_computed(sum - a), a_part = as_computed(sum - b_part);
  const W a_rest = as_computed(a - a_part), b_rest = as_computed(b - b_part);
  low = a_rest + b_rest;
  high = sum;
}

/// gamma / sqrt(variance + epsilon), 0 where both are 0, so that values that do not differ give beta.
template <typename W>
EVENKEEL_WORD W over_std(const W& gamma, const W& variance, const W& epsilon) {
  const W radicand = variance + epsilon;
  return unless_zero(radicand, over_root(gamma, not_zero(radicand)));
}
template <typename C>
EVENKEEL_WORD Wide<C> inverse_std(const Wide<C>& variance, const Wide<C>& epsilon) {
  return over_std(wide_all<C>(1), variance, epsilon);
}

/// beta - low c1, where low is what a given mean lacks: see GivenStatistics. is_full: no array is null.
template <typename C, typename IsFull, typename... Some>
EVENKEEL_WORD Vec<C> inference_constant(IsFull is_full, const GivenStatistics<C>& given, const C* beta, Index k,
                                        const Vec<C>& c0, const Vec<C>& c1, const Some&... some) {
  const Vec<C> constant = !is_full && beta == nullptr ? all(C(0)) : load(beta + k, some...);
  if constexpr (kKeepsDigits<C>) {
    if (is_full || given.high != nullptr) {
      const Vec<C> low = where_equal(c0, load(given.high + k, some...), load(given.low + k, some...));
      return constant - as_computed(Vec<C>(low * c1));
    }
  }
  return constant;
}

/// Whether inference is out of range somewhere: a given mean is so far away that x - mean may overflow, or the scale has
/// no room. Not for a scale of NaN, which is right as it is.
template <typename C>
EVENKEEL_WORD bool any_out_of_inference(const Vec<C>& mean, const Vec<C>& scale) {
  if constexpr (Range<C>::kBounded) {
    const auto is_far = beyond(mean, Range<C>::kFarMean), has_no_room = infinite(scale);
    return any(is_far | has_no_room);
  }
  return false;
}

/// Mean and variance from sums about a pivot.
template <typename C>
struct Finished {
  Wide<C> mean, mean_low, variance;
};
template <typename C>
EVENKEEL_WORD Finished<C> finish_sums(const Wide<C>& pivot, const Wide<C>& first, const Wide<C>& second,
                                      const Wide<C>& share) {
  Finished<C> f;
  const Wide<C> shift = first * share;
  if constexpr (std::is_same_v<C, StatisticOf<C>>) {
    two_sum(pivot, shift, f.mean, f.mean_low);
  } else {  // the sums have no more digits
    f.mean = pivot + shift;
    f.mean_low = wide_all<C>(0);
  }
  f.variance = not_negative(Wide<C>(fma(Wide<C>(wide_all<C>(0) - first), shift, second))) * share;
  return f;
}

/// The coefficients of a set's dx from the means over it, where low is what c0 lacks of the mean.
template <typename C>
struct GradientTerms {
  Wide<C> slope, level;
};
template <typename C>
EVENKEEL_WORD GradientTerms<C> gradient_terms(const Wide<C>& inv_std, const Wide<C>& mean_dy,
                                              const Wide<C>& mean_dy_xhat, const Wide<C>& low) {
  GradientTerms<C> t;
  const Wide<C> zero = wide_all<C>(0);
  t.slope = zero - as_computed(inv_std * inv_std) * mean_dy_xhat;
  t.level = fma(Wide<C>(zero - t.slope), low, Wide<C>(zero - as_computed(inv_std * mean_dy)));
  return t;
}

/// A bit for each lane whose gradients are out of the range of C; see Range.
template <typename C>
EVENKEEL_WORD unsigned gradients_outside(const Wide<C>& inv_std, const Wide<C>& mean_dy,
                                         const Wide<C>& mean_dy_xhat) {
  using R = Range<C>;
  using W = Wide<C>;
  const W size = magnitude(mean_dy) + magnitude(mean_dy_xhat);
  const Wide<C> over_variance = Wide<C>(inv_std * inv_std) * size;
  const unsigned zero = zeros(size);
  const unsigned out =
      outside(size, R::kLeastSize, R::kHighSize) | less(size, W(inv_std * wide_all<C>(R::kLeastSize))) |
      outside(over_variance, R::kLowSum, R::kHighSum);
  return (out & ~zero) | (zero & outside(inv_std, R::kLeastNumber, R::kMostInvStdOfZero));
}
