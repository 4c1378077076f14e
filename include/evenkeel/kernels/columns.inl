// SPDX-License-Identifier: MIT
//
// Passes over rows of lanes: one center and one of each coefficient a lane. Included beside words.inl.

/// Rows that are summed in the compute type before they join a sum in the statistic type. If that is no wider, short
/// sums are longer, so that they and the sum of them have few terms each.
template <typename C>
inline constexpr Index kShortRows = std::is_same_v<C, StatisticOf<C>> ? 128 : 16;

/// Rows of a sum within a short sum, so that equal values do not all round one way.
inline constexpr Index kFewRows = 16;

/// dy of an element, or 0 where there is none.
template <Terms kTerms, typename OfDy, typename V, typename... Lanes>
EVENKEEL_WORD V of_dy_or_zero([[maybe_unused]] const OfDy& of_dy, [[maybe_unused]] Index i,
                              [[maybe_unused]] Index lane, const V& d, const Lanes&... lanes) {
  if constexpr (kTerms == Terms::gradients) {
    return of_dy(i, lane, d, lanes...);
  } else {
    return d;  // not used
  }
}

template <typename C>
EVENKEEL_WORD void add_wide(StatisticOf<C>* to, const Vec<C>& short_sum) {
  store_wide<C>(to, Wide<C>(load_wide<C>(to) + widen(short_sum)));
}

/// Sums of four neighbouring vectors of lanes from l on over a few rows, which join first and second.
template <Terms kTerms, typename S, typename OfDy>
EVENKEEL_WORD void sum_tile(const SumColumns<S>& a, Index row, Index rows, Index l, const OfDy& of_dy) {
  using C = ComputeOf<S>;
  using V = Vec<C>;
  constexpr Index L = kLanes<C>;
  const V zero = all(C(0));
  const C* center = a.center + l;
  const V c0 = load(center), c1 = load(center + L), c2 = load(center + 2 * L), c3 = load(center + 3 * L);
  Index at = row * a.stride + l;
  const auto add = [&](Index i, const V& c, V& f, V& s) EVENKEEL_WORD_LAMBDA {
    const V d = V(load(a.x + at + i) - c);
    add_terms<kTerms == Terms::gradients>(d, of_dy_or_zero<kTerms>(of_dy, at + i, l + i, d), f, s);
  };
  V f0 = zero, f1 = zero, f2 = zero, f3 = zero, s0 = zero, s1 = zero, s2 = zero, s3 = zero;
  for (Index from = 0; from < rows; from += kFewRows) {
    V g0 = zero, g1 = zero, g2 = zero, g3 = zero, t0 = zero, t1 = zero, t2 = zero, t3 = zero;
    const Index end = rows - from < kFewRows ? rows : from + kFewRows;
    for (Index r = from; r < end; ++r, at += a.stride) {
      add(0, c0, g0, t0);
      add(L, c1, g1, t1);
      add(2 * L, c2, g2, t2);
      add(3 * L, c3, g3, t3);
    }
    f0 = V(f0 + g0), f1 = V(f1 + g1), f2 = V(f2 + g2), f3 = V(f3 + g3);
    s0 = V(s0 + t0), s1 = V(s1 + t1), s2 = V(s2 + t2), s3 = V(s3 + t3);
  }
  StatisticOf<S>*first = a.first + l, *second = a.second + l;
  add_wide<C>(first, f0);
  add_wide<C>(first + L, f1);
  add_wide<C>(first + 2 * L, f2);
  add_wide<C>(first + 3 * L, f3);
  add_wide<C>(second, s0);
  add_wide<C>(second + L, s1);
  add_wide<C>(second + 2 * L, s2);
  add_wide<C>(second + 3 * L, s3);
}

/// The same of n lanes of one vector.
template <Terms kTerms, typename S, typename OfDy>
EVENKEEL_CALL void sum_lanes(const SumColumns<S>& a, Index row, Index rows, Index l, Index n,
                             const OfDy& of_dy) {
  using C = ComputeOf<S>;
  using V = Vec<C>;
  const auto lanes = first_lanes<C>(n);
  const V zero = all(C(0)), center = load(a.center + l, lanes);
  V first = zero, second = zero;
  Index at = row * a.stride + l;
  for (Index from = 0; from < rows; from += kFewRows) {
    V f = zero, s = zero;
    const Index end = rows - from < kFewRows ? rows : from + kFewRows;
    for (Index r = from; r < end; ++r, at += a.stride) {
      const V d = V(load(a.x + at, lanes) - center);
      add_terms<kTerms == Terms::gradients>(d, of_dy_or_zero<kTerms>(of_dy, at, l, d, lanes), f, s);
    }
    first = V(first + f);
    second = V(second + s);
  }
  add_wide<C>(a.first + l, first);
  add_wide<C>(a.second + l, second);
}

/// Rows so wide that a few of them are read side by side, not sixteen.
inline constexpr Index kWideRow = 512;

/// Sums of four rows from `row` on over all whole vectors, which join those of the rows before in short_sums [2][lanes];
/// `more`: there are some.
template <Terms kTerms, typename S, typename OfDy>
EVENKEEL_WORD void sum_four_rows(const SumColumns<S>& a, Index row, bool more, ComputeOf<S>* short_sums,
                                 const OfDy& of_dy) {
  using C = ComputeOf<S>;
  using V = Vec<C>;
  constexpr Index L = kLanes<C>;
  const C* center = a.center;
  C* second = short_sums + kMostLanes<C>;
  const V zero = all(C(0));
  const Index stride = a.stride, begin = row * stride;
  for (Index l = 0; l + L <= a.lanes; l += L) {
    if (kTerms == Terms::moments && a.is_far && l % kCacheLine<S> == 0) {
#pragma GCC unroll 4
      for (Index r = 4; r < 8; ++r) prefetch(a.x + begin + l, r * stride);
    }
    const V c = load(center + l);
    V f = zero, s = zero;
    const auto add = [&](Index at) EVENKEEL_WORD_LAMBDA {
      const V d = V(load(a.x + at) - c);
      add_terms<kTerms == Terms::gradients>(d, of_dy_or_zero<kTerms>(of_dy, at, l, d), f, s);
    };
    add(begin + l);
    add(begin + stride + l);
    add(begin + 2 * stride + l);
    add(begin + 3 * stride + l);
    if (more) {
      f = V(f + load(short_sums + l));
      s = V(s + load(second + l));
    }
    store(short_sums + l, f);
    store(second + l, s);
  }
}

template <Terms kTerms, typename S, typename OfDy>
EVENKEEL_WORD void sum_columns_of(const SumColumns<S>& args, const OfDy& what) {
  using C = ComputeOf<S>;
  constexpr Index L = kLanes<C>;
  constexpr bool kMayBeWide = std::is_arithmetic_v<C>;
  const SumColumns<S> a = args;  // which no store changes
  const OfDy of_dy = what;
  const bool is_wide = kMayBeWide && a.stride >= kWideRow && a.lanes <= kMostLanes<C>;
  alignas(64) C short_sums[kMayBeWide ? 2 * kMostLanes<C> : 1];
  for (Index row = 0; row < a.rows; row += kShortRows<C>) {
    const Index rows = a.rows - row < kShortRows<C> ? a.rows - row : kShortRows<C>;
    Index by_four = 0, l = 0;
    if (is_wide && rows >= 4) {
      for (; by_four + 4 <= rows; by_four += 4)
        sum_four_rows<kTerms>(a, row + by_four, by_four > 0, short_sums, of_dy);
      for (; l + L <= a.lanes; l += L) {
        add_wide<C>(a.first + l, load(short_sums + l));
        add_wide<C>(a.second + l, load(short_sums + kMostLanes<C> + l));
      }
      if (l < a.lanes) sum_lanes<kTerms>(a, row, by_four, l, a.lanes - l, of_dy);
      l = 0;
    }
    for (; by_four < rows && l + 4 * L <= a.lanes; l += 4 * L)
      sum_tile<kTerms>(a, row + by_four, rows - by_four, l, of_dy);
    for (; by_four < rows && l < a.lanes; l += L)
      sum_lanes<kTerms>(a, row + by_four, rows - by_four, l, a.lanes - l < L ? a.lanes - l : L, of_dy);
  }
}

template <typename S>
void sum_columns(const SumColumns<S>& a) {
  if (a.dy == nullptr) {
    sum_columns_of<Terms::moments>(a, NoDy());
  } else {
    sum_columns_of<Terms::gradients>(a, LoadedDy<S>{a.dy});
  }
}

template <typename S>
void pivot_columns(const PivotColumns<S>& a) {
  using C = ComputeOf<S>;
  using V = Vec<C>;
  constexpr Index L = kLanes<C>;
  const V share = all(C(C(1) / from_count<C>(a.rows)));
  for (Index l = 0; l < a.lanes; l += L) {
    const auto lanes = first_lanes<C>(a.lanes - l < L ? a.lanes - l : L);
    const V first = load(a.x + l, lanes);
    V sum = all(C(0));
    for (Index r = 1; r < a.rows; ++r) sum = V(sum + V(load(a.x + r * a.stride + l, lanes) - first));
    store(a.pivots + l, V(fma(sum, share, first)), lanes);
  }
}

/// n lanes from lane l on, which begin at element `at`.
template <typename S, typename Behind, typename OfDy>
EVENKEEL_CALL void map_lanes(const MapColumns<S>& a, Index at, Index l, Index n, const Behind& behind_it,
                             const OfDy& of_its_dy) {
  using V = Vec<ComputeOf<S>>;
  constexpr bool kGradients = !std::is_same_v<OfDy, NoDy>;
  const Index ahead = a.ahead;
  const S *x = a.x + at, *dy = kGradients ? a.dy + at : x;
  const ComputeOf<S>*c0 = a.c[0] + l, *c1 = a.c[1] + l, *c2 = a.c[2] + l, *c3 = kGradients ? a.c[3] + l : c0;
  const Behind behind = behind_it;  // which no store changes
  const OfDy of_dy = of_its_dy;
  write_line(
      a.out + at, n, a.stream,
      [&](Index i, const auto&... lanes) EVENKEEL_WORD_LAMBDA {
        const V d = as_computed(V(load(x + i, lanes...) - load(c0 + i, lanes...)));
        V v = fma(d, load(c1 + i, lanes...), load(c2 + i, lanes...));
        if constexpr (kGradients) v = fma(of_dy(at + i, l + i, d, lanes...), load(c3 + i, lanes...), v);
        return behind(at + i, v, lanes...);
      },
      [&](Index i) EVENKEEL_WORD_LAMBDA {
        if (ahead == 0) return;
        prefetch(x + i, ahead);
        if (kGradients) prefetch(dy + i, ahead);
      });
}

/// Four rows, which share what belongs to a lane.
template <typename S, typename Behind, typename OfDy>
EVENKEEL_CALL void map_four_rows(const MapColumns<S>& a, Index row, const Behind& behind_them,
                                 const OfDy& of_their_dy) {
  using C = ComputeOf<S>;
  using V = Vec<C>;
  constexpr Index L = kLanes<C>;
  constexpr bool kGradients = !std::is_same_v<OfDy, NoDy>;
  const Index stride = a.stride, lanes = a.lanes, begin = row * stride;
  const S* x = a.x;
  S *out0 = a.out + begin, *out1 = out0 + stride, *out2 = out1 + stride, *out3 = out2 + stride;
  const C *c0 = a.c[0], *c1 = a.c[1], *c2 = a.c[2], *c3 = kGradients ? a.c[3] : c0;
  const Behind behind = behind_them;  // which no store changes
  const OfDy of_dy = of_their_dy;
  Index l = 0;
  for (; l + L <= lanes; l += L) {
    const V mean = load(c0 + l), scale = load(c1 + l), shift = load(c2 + l);
    const auto value = [&](Index at) EVENKEEL_WORD_LAMBDA {
      const V d = as_computed(V(load(x + at) - mean));
      V v = fma(d, scale, shift);
      if constexpr (kGradients) v = fma(of_dy(at, l, d), load(c3 + l), v);
      return behind(at, v);
    };
    const Index at = begin + l;
    const V v0 = value(at), v1 = value(at + stride), v2 = value(at + 2 * stride), v3 = value(at + 3 * stride);
    store(out0 + l, v0);
    store(out1 + l, v1);
    store(out2 + l, v2);
    store(out3 + l, v3);
  }
  for (Index r = row; l < lanes && r < row + 4; ++r)
    map_lanes(a, r * stride + l, l, lanes - l, behind_them, of_their_dy);
}

/// Each row begins with lane `first` of it, and goes on to that lane of the next one.
template <typename S, typename Behind, typename OfDy>
EVENKEEL_WORD void map_columns_of(const MapColumns<S>& a, const Behind& behind, const OfDy& of_dy,
                                  Index first = 0) {
  // Rows that are about a page apart would wait for each other's stores.
  constexpr Index kPage = sizeof(S) < 512 ? 4096 / static_cast<Index>(sizeof(S)) : 8, kApart = kPage / 8;
  const bool by_four = !a.stream && a.stride % kPage >= kApart && a.stride % kPage <= kPage - kApart;
  Index row = 0;
  for (; by_four && row + 4 <= a.rows; row += 4) map_four_rows(a, row, behind, of_dy);
  if (first > 0) map_lanes(a, 0, 0, first, behind, of_dy);
  for (; row < a.rows; ++row)
    map_lanes(a, row * a.stride + first, first, row + 1 < a.rows ? a.lanes : a.lanes - first, behind, of_dy);
}

/// Rows that follow each other are streamed from one line of the cache to the next.
template <typename S, typename OfDy>
EVENKEEL_WORD void map_columns_by_line(const MapColumns<S>& a, const OfDy& of_dy) {
  const bool by_line = a.stream && a.stride == a.lanes && a.lanes % kCacheLine<S> == 0;
  map_columns_of(a, NoEpilogue(), of_dy, by_line ? next_line(a.out) : 0);
}

template <typename S>
void map_columns(const MapColumns<S>& a) {
  map_columns_by_line(a, NoDy());
}
template <typename S>
void map_gradients_of_columns(const MapColumns<S>& a) {
  map_columns_by_line(a, LoadedDy<S>{a.dy});
}

template <typename S>
void sum_params(const SumParams<S>& a) {
  using C = ComputeOf<S>;
  using V = Vec<C>;
  using W = Wide<C>;
  constexpr Index L = kLanes<C>;
  for (Index r = 0; r < a.rows; ++r) {
    W beta = wide_all<C>(0), gamma = beta;
    for (Index l = 0; l < a.lanes; l += L) {
      const Index at = r * a.stride + l;
      const auto lanes = first_lanes<C>(a.lanes - l < L ? a.lanes - l : L);
      const V xhat = fma(as_computed(V(load(a.x + at, lanes) - load(a.c[0] + l, lanes))),
                         load(a.c[1] + l, lanes), load(a.c[2] + l, lanes));
      const W dy = widen(load(a.dy + at, lanes));
      beta = W(beta + dy);
      gamma = fma(dy, widen(xhat), gamma);
    }
    a.grad_beta[r] += total<C>(beta);
    a.grad_gamma[r] += total<C>(gamma);
  }
}
