// SPDX-License-Identifier: MIT
//
// Small numbers of sets and cells, a vector of them at a time. Lanes beyond the last are 0, and not what memory holds
// there, so that they trap nowhere. Included beside words.inl.

/// At most n values from p on, and 0 in the other lanes.
template <typename C>
EVENKEEL_WORD Vec<C> load_some_of(const C* p, Index n) {
  return n >= kLanes<C> ? load(p) : load(p, first_lanes<C>(n));
}

template <typename S>
unsigned finish_sums(const FinishSums<S>& a) {
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;
  using W = Wide<C>;
  const W share = wide_all<C>(T(T(1) / a.n)), epsilon = wide_all<C>(a.epsilon), n = wide_all<C>(a.n);
  unsigned poor = 0, out = 0;
  for (Index k = 0; k < a.sets; k += kLanes<C>) {
    const Index left = a.sets - k;
    const unsigned lanes = left < kLanes<C> ? (1u << static_cast<unsigned>(left)) - 1 : ~0u;
    const W first = load_wide<C>(a.first + k, left), second = load_wide<C>(a.second + k, left);
    const Finished<C> f = finish_sums<C>(widen(load_some_of(a.pivots + k, left)), first, second, share);
    const W inv_std = inverse_std<C>(f.variance, epsilon);
    store_wide<C>(a.mean + k, f.mean);
    store_wide<C>(a.mean_low + k, f.mean_low);
    store_wide<C>(a.variance + k, f.variance);
    store_wide<C>(a.inv_std + k, inv_std);
    poor |= lanes & less(W(n * second), W(W(first + first) * first));
    if constexpr (Range<C>::kBounded) {
      out |= lanes & outside(inv_std, Range<C>::kLowInvStd, Range<C>::kHighInvStd);
    }
  }
  return (poor != 0 ? unsigned{kPoorPivot} : 0u) | (out != 0 ? unsigned{kOutOfRange} : 0u);
}

/// gamma or beta of the cells from k on, or the one of all, with an offset added; `fill` if there are none.
template <typename C>
EVENKEEL_WORD Wide<C> params(const C* values, bool is_one, Index k, Index cells, const C& fill,
                             const C& offset = C(0)) {
  if (values == nullptr) return widen(all(fill));
  return widen(Vec<C>((is_one ? all(C(*values)) : load_some_of(values + k, cells - k)) + all(offset)));
}

/// Returns kOutOfRange where inv_std is, or a cell's gradients are with or without gamma.
template <typename S>
unsigned finish_gradients(const FinishGradients<S>& a) {
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;
  using W = Wide<C>;
  const W share = wide_all<C>(T(T(1) / a.n));
  unsigned out = 0;
  for (Index k = 0; k < a.cells; k += kLanes<C>) {
    const Index n = a.cells - k;
    const W mean = load_wide<C>(a.mean + k, n), inv_std = load_wide<C>(a.inv_std + k, n);
    const W mean_low = a.mean_low == nullptr ? wide_all<C>(0) : load_wide<C>(a.mean_low + k, n);
    const W low = rest_of_mean<C>(mean, mean_low, narrow<C>(mean));
    const W dy = load_wide<C>(a.sum_dy + k, n);
    const W dy_xhat = W(inv_std * fma(W(wide_all<C>(0) - low), dy, load_wide<C>(a.sum_dy_x + k, n)));
    store_wide<C>(a.sum_dy_x + k, dy_xhat, n);
    const W gamma = params<C>(a.gamma, a.has_one_param, k, a.cells, C(1), a.gamma_offset);
    const W weighted_dy = W(gamma * dy), weighted_dy_xhat = W(gamma * dy_xhat);
    store_wide<C>(a.weighted_dy + k, weighted_dy);
    store_wide<C>(a.weighted_dy_xhat + k, weighted_dy_xhat);
    if constexpr (Range<C>::kBounded) {
      const unsigned lanes = n < kLanes<C> ? (1u << static_cast<unsigned>(n)) - 1 : ~0u;
      out |= lanes & (outside(inv_std, Range<C>::kLowInvStd, Range<C>::kHighInvStd) |
                      gradients_outside<C>(inv_std, W(dy * share), W(dy_xhat * share)) |
                      gradients_outside<C>(inv_std, W(weighted_dy * share), W(weighted_dy_xhat * share)));
    }
  }
  return out != 0 ? unsigned{kOutOfRange} : 0u;
}

template <typename S>
void coefficients(const Coefficients<S>& a) {
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;
  using W = Wide<C>;
  const W zero = wide_all<C>(0), share = wide_all<C>(a.sum_dy == nullptr ? T(0) : T(T(1) / a.n));
  for (Index k = 0; k < a.cells; k += kLanes<C>) {
    const Index n = a.cells - k;
    const W mean = load_wide<C>(a.mean + k, n), inv_std = load_wide<C>(a.inv_std + k, n);
    const Vec<C> center = narrow<C>(mean);
    const W mean_low = a.mean_low == nullptr ? wide_all<C>(0) : load_wide<C>(a.mean_low + k, n);
    const W low = rest_of_mean<C>(mean, mean_low, center);
    const W scale = W(inv_std * params<C>(a.gamma, a.has_one_param, k, a.cells, C(1), a.gamma_offset));
    store(a.c[0] + k, center);
    if (a.sum_dy == nullptr) {
      store(a.c[1] + k, narrow<C>(scale));
      store(a.c[2] + k,
            narrow<C>(fma(W(zero - low), scale, params<C>(a.beta, a.has_one_param, k, a.cells, C(0)))));
    } else {
      const GradientTerms<C> t = gradient_terms<C>(inv_std, W(load_wide<C>(a.sum_dy + k, n) * share),
                                                   W(load_wide<C>(a.sum_dy_xhat + k, n) * share), low);
      store(a.c[1] + k, narrow<C>(t.slope));
      store(a.c[2] + k, narrow<C>(t.level));
      store(a.c[3] + k, narrow<C>(scale));
    }
  }
}

template <typename C>
EVENKEEL_WORD bool any_no_variance(const C* variance, Index n) {
  SeenVariances<C> seen{};
  const Index whole = whole_vectors<C>(n);
  for (Index k = 0; k < whole; k += kLanes<C>) seen = look_at_variance(seen, load(variance + k));
  if (whole < n) seen = look_at_variance(seen, load(variance + whole, first_lanes<C>(n - whole)));
  return saw_no_variance(seen);
}

template <typename S>
unsigned check_variances(const CheckVariances<S>& a) {
  return any_no_variance(a.variance, a.count) ? 1 : 0;
}

template <typename S>
Index move_statistics(const MoveStatistics<S>& args) {
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;
  using V = Vec<C>;
  using W = Wide<C>;
  constexpr Index L = kLanes<C>;
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const MoveStatistics<S> a = args;  // which no store changes
  const W weight = wide_all<C>(a.weight), kept = wide_all<C>(T(T(1) - a.weight)),
          unbias = wide_all<C>(a.unbias);
  const bool replaces = a.weight == T(1);  // what may be NaN
  const auto moved = [&](const RunningPlaces<C>& r, Index c, const W& batch,
                         const auto&... lanes) EVENKEEL_WORD_LAMBDA {
    if (replaces) return batch;
    const V value = load(r.values + c, lanes...);
    W old = widen(value);
    if constexpr (kKeepsDigits<C>)
      old = W(old + widen(where_equal(value, load(r.high + c, lanes...), load(r.low + c, lanes...))));
    return W(as_computed(W(kept * old)) + as_computed(W(weight * batch)));
  };
  const auto put = [&](const RunningPlaces<C>& r, Index c, const W& value, const V& rounded,
                       const auto&... lanes) EVENKEEL_WORD_LAMBDA {
    store(r.values + c, rounded, lanes...);
    if constexpr (kKeepsDigits<C>) {
      store(r.high + c, rounded, lanes...);
      store(r.low + c, narrow<C>(W(value - widen(rounded))), lanes...);
    }
  };
  // Moves n channels from c on, unless a number of one is not finite.
  const auto move = [&](Index c, Index n, const auto&... lanes) EVENKEEL_WORD_LAMBDA {
    const W batch_mean = load_wide<C>(a.mean + c, n),
            batch_variance = W(load_wide<C>(a.variance + c, n) * unbias);
    const W mean = moved(a.running_mean, c, batch_mean, lanes...),
            variance = moved(a.running_variance, c, batch_variance, lanes...);
    const V new_mean = narrow<C>(mean), new_variance = narrow<C>(variance);
    const auto no_mean = beyond(narrow<C>(batch_mean), infinity),
               no_variance = beyond(narrow<C>(batch_variance), infinity), no_new_mean = beyond(new_mean, infinity),
               no_new_variance = beyond(new_variance, infinity);
    if (any(no_mean | no_variance | no_new_mean | no_new_variance)) return false;
    put(a.running_mean, c, mean, new_mean, lanes...);
    put(a.running_variance, c, variance, new_variance, lanes...);
    return true;
  };
  const Index whole = whole_vectors<C>(a.channels);
  Index c = 0;
  while (c < whole && move(c, L)) c += L;
  if (c < whole || whole == a.channels) return c;
  return move(c, a.channels - c, first_lanes<C>(a.channels - c)) ? a.channels : c;
}

/// Returns kOutOfRange where inference is out of range.
template <typename S>
unsigned inference_coefficients(const InferenceCoefficients<S>& a) {
  using C = ComputeOf<S>;
  using W = Wide<C>;
  const W epsilon = wide_all<C>(a.epsilon);
  bool is_out = false;
  for (Index k = 0; k < a.cells; k += kLanes<C>) {
    const auto lanes = first_lanes<C>(a.cells - k < kLanes<C> ? a.cells - k : kLanes<C>);
    const Vec<C> c0 = load(a.given.mean + k, lanes);
    Vec<C> factor = keep(all(C(1)), lanes);
    if (a.gamma != nullptr) factor = keep(Vec<C>(load(a.gamma + k, lanes) + all(C(a.gamma_offset))), lanes);
    const W gamma = widen(factor);
    const W scale = over_std(gamma, load_widened(a.given.variance + k, lanes), epsilon);
    const Vec<C> c1 = narrow<C>(scale);
    store(a.c[0] + k, c0);
    store(a.c[1] + k, c1);
    store(a.c[2] + k, inference_constant<C>(std::false_type(), a.given, a.beta, k, c0, c1, lanes));
    is_out = any_out_of_inference<C>(c0, c1) || is_out;
  }
  return is_out ? unsigned{kOutOfRange} : 0;
}

template <typename S>
Index infer_columns(const InferColumns<S>& a) {
  using C = ComputeOf<S>;
  using V = Vec<C>;
  using W = Wide<C>;
  constexpr Index L = kLanes<C>;
  const W epsilon = wide_all<C>(a.epsilon);
  const GivenStatistics<C> given = a.given;
  const C *gamma = a.gamma, *beta = a.beta;
  const S* x = a.x;
  S* out = a.out;
  const Index stride = a.stride, lanes = a.lanes, end = a.rows * stride;
  if (any_no_variance(given.variance, lanes)) return -1;
  // Writes lanes from l on, unless one of them is out of range. is_full: no array is null, and epsilon is not 0.
  // may_go_on: there may be more than one row.
  const auto write = [&](auto is_full, auto may_go_on, Index l, const auto&... some) EVENKEEL_WORD_LAMBDA {
    const W weight =
        !is_full && gamma == nullptr ? widen(keep(all(C(1)), some...)) : load_widened(gamma + l, some...);
    const W variance = load_widened(given.variance + l, some...);
    const W scale = is_full ? over_root(weight, W(variance + epsilon)) : over_std(weight, variance, epsilon);
    const V c0 = load(given.mean + l, some...), c1 = narrow<C>(scale);
    if (any_out_of_inference<C>(c0, c1)) return false;
    const V c2 = inference_constant<C>(is_full, given, beta, l, c0, c1, some...);
    const auto map = [&](Index at) EVENKEEL_WORD_LAMBDA {
      store(out + at, V(fma(as_computed(V(load(x + at, some...) - c0)), c1, c2)), some...);
    };
    map(l);
    if constexpr (may_go_on) {
      for (Index at = l + stride; at < end; at += stride) map(at);
    }
    return true;
  };
  Index l = 0;
  if (StatisticOf<S>(0) < a.epsilon && gamma != nullptr && beta != nullptr &&
      (given.high != nullptr || !kKeepsDigits<C>)) {
    const auto write_all = [&](auto may_go_on) EVENKEEL_WORD_LAMBDA {
      while (l + L <= lanes && write(std::true_type(), may_go_on, l)) l += L;
    };
    // Where the program may choose AVX2, SSE2 has one loop, since its code is to be small.
    if (stride < end || (EVENKEEL_REGISTER == 16 && EVENKEEL_HAS_CHOICE)) {
      write_all(std::true_type());
    } else {
      write_all(std::false_type());
    }
  }
  for (Index n = L; l < lanes && n > 0;) {
    if (n > lanes - l) n = lanes - l;
    if (write(std::false_type(), std::true_type(), l, first_lanes<C>(n))) {
      l += n;
    } else {
      n = n > 1 ? 1 : 0;  // one by one up to the lane
    }
  }
  return l;
}

template <typename S>
void spread(const Spread<S>& a) {
  using C = ComputeOf<S>;
  constexpr Index L = kLanes<C>;
  for (Index k = 0; k < a.cells; ++k) {
    const Vec<C> v = all(C(a.from[k]));
    C* to = a.to + k * a.width;
    for (Index i = 0; i < a.width; i += L) store(to + i, v);
  }
}

template <typename S>
void fold(const Fold<S>& a) {
  using T = StatisticOf<S>;
  using W = Wide<T>;  // of T, whose lanes are T
  for (Index k = 0; k < a.cells; ++k) {
    const T* from = a.from + k * a.width;
    W sum = wide_all<T>(0);
    Index i = 0;
    for (; i + kLanes<T> <= a.width; i += kLanes<T>) sum = W(sum + load_wide<T>(from + i));
    T rest = total<T>(sum);
    for (; i < a.width; ++i) rest = T(rest + from[i]);
    a.to[k] = rest;
  }
}

template <typename S>
void sum_blocks(const SumBlocks<S>& a) {
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;
  Index i = 0;
  for (; i + kLanes<C> <= a.count; i += kLanes<C>) {
    Wide<C> sum = load_wide<C>(a.from + i);
    for (Index b = 1; b < a.blocks; ++b) sum = Wide<C>(sum + load_wide<C>(a.from + b * a.stride + i));
    store(a.to + i, narrow<C>(sum));
  }
  for (; i < a.count; ++i) {
    T sum = a.from[i];
    for (Index b = 1; b < a.blocks; ++b) sum = T(sum + a.from[b * a.stride + i]);
    a.to[i] = static_cast<C>(sum);
  }
}
