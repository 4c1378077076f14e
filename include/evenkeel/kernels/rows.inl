// SPDX-License-Identifier: MIT
//
// Rows of neighbours that share statistics and have parameters of their own: layer norm and RMS norm. Included beside
// words.inl.
//
// kRms: RMS norm, which has no mean and no beta.
//
// A few rows at a time stay in the nearest cache from the first sum to the last store. What is computed for a row does
// not depend on the rows beside it.

/// The most rows at a time, and the most vectors of a row that is summed twice: about its first value, then about the
/// mean of that. Longer rows are summed once about a pivot.
template <typename C>
inline constexpr Index kMostRows = 4 * kLanes<C>;
inline constexpr Index kShortRow = 16;

/// Whether rows are streamed: those that fill lines of the cache, or are worth two ends that do not.
template <typename S>
EVENKEEL_WORD bool streams_rows(bool stream, const S* out, Index n, Index stride) {
  return stream && (n >= 16 * kCacheLine<S> || fills_lines(out, n, stride));
}

/// y = ((x - center) scale + shift) gamma + beta of a row; of RMS norm, x scale gamma.
template <bool kRms, typename V>
struct RowTerm {
  V center, scale, shift;

  EVENKEEL_WORD V operator()(const V& x, const V& gamma, const V& beta) const {
    if constexpr (kRms) return V(as_computed(V(x * scale)) * gamma);
    return fma(fma(as_computed(V(x - center)), scale, shift), gamma, beta);
  }
};

/// The same of some rows.
template <bool kRms, typename C>
struct RowTerms {
  alignas(64) C center[kMostRows<C>], scale[kMostRows<C>], shift[kMostRows<C>];

  EVENKEEL_WORD RowTerm<kRms, Vec<C>> of(Index r) const {
    return {all(C(center[r])), all(C(scale[r])), all(C(shift[r]))};
  }
};

/// Means and 1 / standard deviations of m rows from `row` on, from their sums about centers; returns a bit for each row
/// that is out of range.
template <bool kRms, typename S>
EVENKEEL_CALL std::uint64_t finish_rows(const NormalizeRows<S>& a, Index row, Index m, Index t,
                                        const Wide<ComputeOf<S>>& first, const Wide<ComputeOf<S>>& second,
                                        RowTerms<kRms, ComputeOf<S>>& terms) {
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;
  using W = Wide<C>;
  const W share = wide_all<C>(T(T(1) / from_count<T>(a.n)));
  const Finished<C> f = finish_sums<C>(widen(load(terms.center + t)), first, second, share);
  const W inv_std = inverse_std<C>(f.variance, wide_all<C>(a.epsilon));
  const Vec<C> center = narrow<C>(f.mean);
  const W low = rest_of_mean<C>(f.mean, f.mean_low, center);
  store(terms.center + t, center);
  store(terms.scale + t, narrow<C>(inv_std));
  store(terms.shift + t, narrow<C>(W(W(wide_all<C>(0) - low) * inv_std)));
  const Index n = m - t, at = row + t;
  if (a.mean != nullptr) store_wide<C>(a.mean + at, f.mean, n);
  if (a.mean_low != nullptr) store_wide<C>(a.mean_low + at, f.mean_low, n);
  if (a.variance != nullptr) store_wide<C>(a.variance + at, f.variance, n);
  if (a.inv_std != nullptr) store_wide<C>(a.inv_std + at, inv_std, n);
  if constexpr (Range<C>::kBounded) {
    const unsigned lanes =
        n < kLanes<C> ? (1u << static_cast<unsigned>(n)) - 1 : (1u << static_cast<unsigned>(kLanes<C>)) - 1;
    return std::uint64_t{lanes & outside(inv_std, Range<C>::kLowInvStd, Range<C>::kHighInvStd)}
           << static_cast<unsigned>(t);
  }
  return 0;
}

/// The statistics of m short rows, m % 4 = 0. kVectors: of a row, where it is so few whole ones; else 0.
template <bool kRms, int kVectors, typename S>
EVENKEEL_CALL std::uint64_t sum_short_rows(const NormalizeRows<S>& a, const S* x, Index row, Index m,
                                           RowTerms<kRms, ComputeOf<S>>& terms) {
  using C = ComputeOf<S>;
  using V = Vec<C>;
  constexpr Index L = kLanes<C>;
  const Index n = kVectors > 0 ? kVectors * L : a.n, whole = whole_vectors<C>(n);
  const V zero = all(C(0));
  const auto rest = first_lanes<C>(n - whole);
  const C share = C(C(1) / from_count<C>(n));
  V sums[kMostRows<C>], squares[kMostRows<C>];
  for (Index t = m; t % L != 0; ++t) {  // whole vectors of rows are added up
    sums[t] = squares[t] = zero;
    terms.center[t] = C(0);
  }
  const auto add = [&](const V& v, const V& center, V& first, V& second, const auto&... lanes)
                       EVENKEEL_WORD_LAMBDA {
                         const V d = kRms ? v : keep(V(v - center), lanes...);
                         if constexpr (!kRms) first = V(first + d);
                         second = fma(d, d, second);
                       };
  // Four rows at a time, about their centers or first values: no addition waits for the one before.
  const auto sum_all = [&](bool squares_too) EVENKEEL_WORD_LAMBDA {
    for (Index r = 0; r < m; r += 4) {
      const S *p0 = x + r * a.stride, *p1 = p0 + a.stride, *p2 = p1 + a.stride, *p3 = p2 + a.stride;
      if (!squares_too) {
        terms.center[r] = value_at(p0);
        terms.center[r + 1] = value_at(p1);
        terms.center[r + 2] = value_at(p2);
        terms.center[r + 3] = value_at(p3);
      }
      const V c0 = all(C(terms.center[r])), c1 = all(C(terms.center[r + 1])),
              c2 = all(C(terms.center[r + 2])), c3 = all(C(terms.center[r + 3]));
      V f0 = zero, f1 = zero, f2 = zero, f3 = zero, s0 = zero, s1 = zero, s2 = zero, s3 = zero;
      const auto step = [&](Index i) EVENKEEL_WORD_LAMBDA {
        add(load(p0 + i), c0, f0, s0);
        add(load(p1 + i), c1, f1, s1);
        add(load(p2 + i), c2, f2, s2);
        add(load(p3 + i), c3, f3, s3);
      };
      if constexpr (kVectors > 0) {
#pragma GCC unroll 4
        for (int j = 0; j < kVectors; ++j) step(j * L);
      } else {
        for (Index i = 0; i < whole; i += L) step(i);
        if (whole < n) {
          add(load(p0 + whole, rest), c0, f0, s0, rest);
          add(load(p1 + whole, rest), c1, f1, s1, rest);
          add(load(p2 + whole, rest), c2, f2, s2, rest);
          add(load(p3 + whole, rest), c3, f3, s3, rest);
        }
      }
      sums[r] = f0;
      sums[r + 1] = f1;
      sums[r + 2] = f2;
      sums[r + 3] = f3;
      if (!squares_too) continue;
      squares[r] = s0;
      squares[r + 1] = s1;
      squares[r + 2] = s2;
      squares[r + 3] = s3;
    }
  };
  if constexpr (kRms) {
    for (Index t = 0; t < m; t += L) store(terms.center + t, zero);
  } else {
    sum_all(false);
    for (Index t = 0; t < m; t += L) {
      store(terms.center + t, V(fma(transposed_totals(sums + t), all(share), load(terms.center + t))));
    }
  }
  sum_all(true);
  std::uint64_t out = 0;
  for (Index t = 0; t < m; t += L) {
    out |= finish_rows(a, row, m, t, widen(kRms ? zero : transposed_totals(sums + t)),
                       widen(transposed_totals(squares + t)), terms);
  }
  return out;
}

/// The same of one row.
template <bool kRms, typename S>
EVENKEEL_CALL std::uint64_t sum_short_row(const NormalizeRows<S>& a, const S* x, Index row,
                                          RowTerms<kRms, ComputeOf<S>>& terms) {
  using C = ComputeOf<S>;
  using V = Vec<C>;
  constexpr Index L = kLanes<C>;
  const Index n = a.n, whole = whole_vectors<C>(n);
  V center = all(kRms ? C(0) : value_at(x)), first = all(C(0)), second = first;
  if constexpr (!kRms) {
    Index i = 0;
    for (; i < whole; i += L) first = V(first + V(load(x + i) - center));
    if (i < n) {
      const auto rest = first_lanes<C>(n - i);
      first = V(first + keep(V(load(x + i, rest) - center), rest));
    }
    center = V(fma(transposed_total(first), all(C(C(1) / from_count<C>(n))), center));
    first = all(C(0));
  }
  const auto add = [&](const V& d) EVENKEEL_WORD_LAMBDA {
    if constexpr (!kRms) first = V(first + d);
    second = fma(d, d, second);
  };
  Index i = 0;
  for (; i < whole; i += L) add(V(load(x + i) - center));
  if (i < n) {
    const auto rest = first_lanes<C>(n - i);
    add(keep(V(load(x + i, rest) - center), rest));
  }
  store(terms.center, center);
  return finish_rows(a, row, 1, 0, widen(kRms ? first : transposed_total(first)),
                     widen(transposed_total(second)), terms);
}

/// Writes a row beside the sum of a later one: four vectors from x[i] on.
template <bool kRms, typename S>
struct WriteRow {
  const S* x;
  S* y;
  Index begin, ahead;  // begin: the row's place in x and y
  bool stream;
  const ComputeOf<S>*gamma, *beta;
  RowTerm<kRms, Vec<ComputeOf<S>>> term;

  EVENKEEL_WORD void operator()(Index i) const {
    using V = Vec<ComputeOf<S>>;
    constexpr Index L = kLanes<ComputeOf<S>>;
    V v[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const Index k = i - begin + j * L;
      v[j] = term(load(x + i + j * L), load(gamma + k), kRms ? V(all(ComputeOf<S>(0))) : load(beta + k));
    }
    if (stream) {
#pragma GCC unroll 4
      for (Index j = 0; j < 4 * L; j += kCacheLine<S>) prefetch(x + i + j, ahead);
#pragma GCC unroll 2
      for (int j = 0; j < 4; j += 2) stream_two(y + i + j * L, v[j], v[j + 1]);
    } else {
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) store(y + i + j * L, v[j]);
    }
  }
};

/// Rows whose terms are known, and that are written beside the sums of the rows after them.
template <bool kRms, typename C>
struct RowsBefore {
  RowTerms<kRms, C>* terms;
  Index count, ahead;
  bool stream;
};

/// The statistics of m long rows.
template <bool kRms, typename S>
EVENKEEL_CALL std::uint64_t sum_long_rows(const NormalizeRows<S>& a, const S* x, Index row, Index m,
                                          const RowsBefore<kRms, ComputeOf<S>>& before,
                                          RowTerms<kRms, ComputeOf<S>>& terms) {
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;
  using W = Wide<C>;
  constexpr Index L = kLanes<C>;
  T first[kMostRows<C>], second[kMostRows<C>];
  const T n = from_count<T>(a.n);
  const Index back = before.count * a.stride;
  const auto sum = [&](Index r, bool writes) EVENKEEL_WORD_LAMBDA {
    W f = wide_all<C>(0), s = wide_all<C>(0);
    constexpr Terms kTerms = kRms ? Terms::squares : Terms::moments;
    const Index begin = r * a.stride;
    if (writes) {
      sum_line<kTerms>(x, begin, a.n, terms.center[r], NoDy(), f, s,
                       WriteRow<kRms, S>{x - back, a.y + row * a.stride - back, begin, before.ahead,
                                         before.stream, a.gamma, a.beta, before.terms->of(r)});
    } else {
      sum_line<kTerms>(x, begin, a.n, terms.center[r], NoDy(), f, s);
    }
    first[r] = kRms ? T(0) : total<C>(f);
    second[r] = total<C>(s);
  };
  for (Index r = 0; r < m; ++r) terms.center[r] = kRms ? C(0) : pivot_of(x + r * a.stride, a.n);
  for (Index r = 0; r < m; ++r) {
    for (bool again = false;; again = true) {
      sum(r, r < before.count && !again);
      // A pivot that is far from the mean: once more about the mean.
      if (again || !(T(n * second[r]) < T(T(first[r] + first[r]) * first[r]))) break;
      terms.center[r] = static_cast<C>(T(T(terms.center[r]) + T(first[r] / n)));
    }
  }
  for (Index t = m; t % L != 0; ++t) {
    first[t] = second[t] = T(0);
    terms.center[t] = C(0);
  }
  std::uint64_t out = 0;
  for (Index t = 0; t < m; t += L)
    out |= finish_rows(a, row, m, t, load_wide<C>(first + t), load_wide<C>(second + t), terms);
  return out;
}

/// Rows [begin, end) of those whose terms are known; x and y begin with the first of them. kVectors: where rows are so
/// many vectors, or a multiple, the parameters of so many stay in registers; else 0.
template <bool kRms, int kVectors, typename S>
EVENKEEL_CALL void write_rows(const NormalizeRows<S>& a, const S* x, S* y, Index begin, Index end,
                              Index ahead, const RowTerms<kRms, ComputeOf<S>>& terms) {
  using C = ComputeOf<S>;
  using V = Vec<C>;
  constexpr Index L = kLanes<C>;
  const Index n = a.n, whole = whole_vectors<C>(n), stride = a.stride;
  const C *gamma = a.gamma, *beta = kRms ? nullptr : a.beta;
  const bool stream_it = a.stream && fills_lines(a.y, n, stride);
  const V one = all(C(1)), zero = all(C(0));
  if constexpr (kVectors > 0) {
    for (Index i = 0; i < n; i += kVectors * L) {
      V g[kVectors], b[kVectors];
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) {
        g[j] = gamma == nullptr ? one : V(load(gamma + i + j * L) + all(C(a.gamma_offset)));
        b[j] = beta == nullptr ? zero : load(beta + i + j * L);
      }
      for (Index r = begin; r < end; ++r) {
        const S* p = x + r * stride + i;
        S* q = y + r * stride + i;
        const RowTerm<kRms, V> term = terms.of(r);
        V v[kVectors];
#pragma GCC unroll 4
        for (int j = 0; j < kVectors; ++j) v[j] = term(load(p + j * L), g[j], b[j]);
        if (stream_it) {
#pragma GCC unroll 4
          for (Index j = 0; j < kVectors * L; j += kLine<S>) {
            prefetch(p + j, ahead);
            stream_line(q + j, [&](Index k) EVENKEEL_WORD_LAMBDA { return v[(j + k) / L]; });
          }
        } else {
#pragma GCC unroll 4
          for (int j = 0; j < kVectors; ++j) store(q + j * L, v[j]);
        }
      }
    }
    return;
  }
  const C offset = C(a.gamma_offset);
  const bool has_both = gamma != nullptr && (kRms || beta != nullptr) && offset == C(0);
  const auto gamma_at = [&](Index k, const auto&... lanes) EVENKEEL_WORD_LAMBDA {
    return gamma == nullptr ? one : V(load(gamma + k, lanes...) + all(offset));
  };
  const auto beta_at = [&](Index k, const auto&... lanes)
                           EVENKEEL_WORD_LAMBDA { return kRms ? zero : load(beta + k, lanes...); };
  const auto write = [&](auto count, Index r) EVENKEEL_WORD_LAMBDA {
    constexpr int kRows = decltype(count)::value;
    const S* p = x + r * stride;
    S* q = y + r * stride;
    RowTerm<kRms, V> term[kRows];
#pragma GCC unroll 4
    for (int k = 0; k < kRows; ++k) term[k] = terms.of(r + k);
    const auto step = [&](Index i, const V& g, const V& b, const auto&... lanes) EVENKEEL_WORD_LAMBDA {
      V v[kRows];
#pragma GCC unroll 4
      for (int k = 0; k < kRows; ++k) v[k] = term[k](load(p + k * stride + i, lanes...), g, b);
#pragma GCC unroll 4
      for (int k = 0; k < kRows; ++k) store(q + k * stride + i, v[k], lanes...);
    };
    Index i = 0;
    if (kRows == 1 && stream_it) {  // whole lines of the cache
      const auto stream_it_by = [&](const auto& load_gamma, const auto& load_beta) EVENKEEL_WORD_LAMBDA {
        prefetch(p + i, ahead);
        stream_line(q + i, [&](Index j) EVENKEEL_WORD_LAMBDA {
          return term[0](load(p + i + j), load_gamma(i + j), load_beta(i + j));
        });
      };
      const auto of_gamma = [&](Index k) EVENKEEL_WORD_LAMBDA { return gamma_at(k); };
      const auto of_beta = [&](Index k)
                               EVENKEEL_WORD_LAMBDA { return beta == nullptr ? zero : load(beta + k); };
      for (; has_both && i < whole; i += kLine<S>) {
        stream_it_by([&](Index k) EVENKEEL_WORD_LAMBDA { return load(gamma + k); },
                     [&](Index k) EVENKEEL_WORD_LAMBDA { return beta_at(k); });
      }
      for (; i < whole; i += kLine<S>) stream_it_by(of_gamma, of_beta);
    }
    for (; has_both && i < whole; i += L) step(i, load(gamma + i), beta_at(i));
    for (; i < whole; i += L) step(i, gamma_at(i), beta == nullptr ? zero : load(beta + i));
    if (whole < n) {
      const auto rest = first_lanes<C>(n - whole);
      step(whole, gamma_at(whole, rest), beta == nullptr ? zero : load(beta + whole, rest), rest);
    }
  };
  Index r = begin;
  // What is streamed side by side waits for each other.
  for (; !stream_it && r + 2 <= end; r += 2) write(std::integral_constant<int, 2>(), r);
  for (; r < end; ++r) write(std::integral_constant<int, 1>(), r);
}

/// The same of one row that is streamed but does not begin with a line of the cache.
template <bool kRms, bool kHasBoth, typename S>
EVENKEEL_CALL void stream_row(const NormalizeRows<S>& a, const S* x, Index row, Index r, Index ahead,
                              const RowTerms<kRms, ComputeOf<S>>& terms) {
  using C = ComputeOf<S>;
  using V = Vec<C>;
  const RowTerm<kRms, V> term = terms.of(r);
  const V one = all(C(1)), zero = all(C(0));
  const S* p = x + r * a.stride;
  const V offset = all(C(a.gamma_offset));
  const C *gamma = a.gamma, *beta = kRms ? nullptr : a.beta;
  write_line(
      a.y + row * a.stride, a.n, true,
      [&](Index i, const auto&... lanes) EVENKEEL_WORD_LAMBDA {
        const V g = kHasBoth           ? load(gamma + i, lanes...)
                    : gamma == nullptr ? one
                                       : V(load(gamma + i, lanes...) + offset),
                b = !kRms && (kHasBoth || beta != nullptr) ? load(beta + i, lanes...) : zero;
        return term(load(p + i, lanes...), g, b);
      },
      [&](Index i) EVENKEEL_WORD_LAMBDA { prefetch(p + i, ahead); });
}

/// The same of one row with all options.
template <bool kRms, typename S, typename Behind>
EVENKEEL_CALL void write_row_with_options(const NormalizeRows<S>& a, const S* x, Index at, S* y, Index ahead,
                                          const RowTerm<kRms, Vec<ComputeOf<S>>>& row, const Behind& what) {
  using C = ComputeOf<S>;
  using V = Vec<C>;
  const C *gamma = a.gamma, *beta = kRms ? nullptr : a.beta;
  const V offset = all(C(gamma == nullptr ? C(1) : C(a.gamma_offset))), zero = all(C(0));
  const RowTerm<kRms, V> term = row;
  const Behind behind = what;  // which no store changes
  write_line(
      y, a.n, a.stream,
      [&](Index i, const auto&... lanes) EVENKEEL_WORD_LAMBDA {
        const V g = gamma == nullptr ? offset : V(load(gamma + i, lanes...) + offset),
                b = beta == nullptr ? zero : load(beta + i, lanes...);
        return behind(at + i, term(load(x + i, lanes...), g, b), lanes...);
      },
      [&](Index i) EVENKEEL_WORD_LAMBDA { prefetch(x + i, ahead); });
}

template <typename S>
void add_rows(const AddRows<S>& a) {
  const bool is_one = a.stride == a.n;
  const Index rows = is_one ? 1 : a.rows, n = is_one ? a.rows * a.n : a.n;
  for (Index row = 0, at = 0; row < rows; ++row, at += a.stride) {
    write_line(
        a.sum + at, n, false,
        [&](Index i, const auto&... lanes) EVENKEEL_WORD_LAMBDA {
          return Vec<ComputeOf<S>>(load(a.x + at + i, lanes...) + load(a.skip + at + i, lanes...));
        },
        [](Index) {});
  }
}

/// What a kernel of rows has beside the plain ones.
enum class Options { none, all, smooth };

template <bool kRms, Options kHas, typename S>
EVENKEEL_WORD Index normalize_rows_of(const NormalizeRows<S>& a) {
  using C = ComputeOf<S>;
  constexpr bool kOptions = kHas != Options::none;
  constexpr Index L = kLanes<C>;
  constexpr int kLineVectors = static_cast<int>(kLine<S> / L), kFew = kLineVectors < 4 ? 4 : kLineVectors;
  const bool streams = streams_rows(a.stream, a.y, a.n, a.stride);
  const bool is_line = L > 1 && a.n == kLine<S>, is_short = a.n <= kShortRow * L;
  const bool row_by_row = kOptions || (streams && !fills_lines(a.y, a.n, a.stride));
  RowTerms<kRms, C> both[2], *terms = both;
  if (!kOptions && a.rows == 1 && is_short && !streams) {  // without the set-up of many
    const bool is_outside = sum_short_row<kRms>(a, a.x, 0, *terms) != 0;
    a.outside[0] = is_outside ? 1 : 0;
    if (!is_outside && is_line) write_rows<kRms, kLineVectors>(a, a.x, a.y, 0, 1, 0, *terms);
    if (!is_outside && !is_line) write_rows<kRms, 0>(a, a.x, a.y, 0, 1, 0, *terms);
    return a.outside[0];
  }
  constexpr Index kLeast =
      L > 4 ? L : 4;  // of short ones, whose sums are added up by whole vectors and four at a time
  // Long rows of whole vectors are written beside the sums of the next: one waits for memory, one for arithmetic.
  const bool has_both = a.gamma != nullptr && (kRms || a.beta != nullptr) && a.gamma_offset == C(0);
  const bool beside = !row_by_row && !is_short && has_both && L > 1 && a.n % (4 * L) == 0;
  const Index near = is_short ? 2048 / a.n & -kLeast : 8192 / a.n, least = is_short ? kLeast : 1;
  // Long rows that are streamed, but not beside sums, are few, so that reading and writing overlap.
  const Index most = is_short  ? kMostRows<C>
                     : streams && !beside ? 2
                               : L,
              at_once = near > most    ? most
                        : near > least ? near
                                       : least;
  const Index ahead = (beside ? 2 : 1) * at_once * a.stride;
  RowsBefore<kRms, C> before = {both + 1, 0, ahead, streams};
  Index outside_count = 0;
  for (Index row = 0, m; row < a.rows; row += m) {
    m = a.rows - row < at_once ? a.rows - row : at_once;
    if (is_short) m = m < 4 ? 1 : m & -4;
    const S* const x = a.x + row * a.stride;
    const std::uint64_t out = !is_short ? sum_long_rows<kRms>(a, x, row, m, before, *terms)
                              : m == 1  ? sum_short_row<kRms>(a, x, row, *terms)
                              : is_line ? sum_short_rows<kRms, kLineVectors>(a, x, row, m, *terms)
                                        : sum_short_rows<kRms, 0>(a, x, row, m, *terms);
    if (m < before.count) {
      const Index at = (row - before.count) * a.stride;
      write_rows<kRms, 0>(a, a.x + at, a.y + at, m, before.count, ahead, *before.terms);
    }
    before.count = 0;
    a.outside[row] = 0;
    if (m > 1) std::memset(a.outside + row, 0, static_cast<std::size_t>(m));
    if (beside && out == 0 && row + m < a.rows) {
      std::swap(terms, before.terms);
      before.count = m;
      continue;
    }
    for (Index r = 0, end; r < m; r = end) {
      const bool is_outside = (out >> static_cast<unsigned>(r) & 1) != 0;
      end = out == 0 && !row_by_row ? m : r + 1;
      if (is_outside) {
        a.outside[row + r] = 1;
        ++outside_count;
      } else if constexpr (kOptions) {
        const Index at = (row + r) * a.stride;
        by_epilogue<kHas == Options::smooth>(a.epilogue, [&](const auto& behind) EVENKEEL_WORD_LAMBDA {
          write_row_with_options<kRms>(a, x + r * a.stride, at, a.y + at, ahead, terms->of(r), behind);
        });
      } else if (row_by_row) {
        const auto stream = has_both ? stream_row<kRms, true, S> : stream_row<kRms, false, S>;
        stream(a, x, row + r, r, ahead, *terms);
      } else if (is_line) {
        write_rows<kRms, kLineVectors>(a, x, a.y + row * a.stride, r, end, ahead, *terms);
      } else if (is_short && a.n % (kFew * L) == 0 && end - r > 3) {
        write_rows<kRms, kFew>(a, x, a.y + row * a.stride, r, end, ahead, *terms);
      } else {
        write_rows<kRms, 0>(a, x, a.y + row * a.stride, r, end, ahead, *terms);
      }
    }
  }
  return outside_count;
}

/// Returns how many rows are out of range.
template <typename S>
Index normalize_rows(const NormalizeRows<S>& a) {
  return normalize_rows_of<false, Options::none>(a);
}
template <typename S>
Index normalize_rms_rows(const NormalizeRows<S>& a) {
  return normalize_rows_of<true, Options::none>(a);
}
/// The same with a residual and an activation.
template <typename S>
Index normalize_rows_with_options(const NormalizeRows<S>& a) {
  return normalize_rows_of<false, Options::all>(a);
}
template <typename S>
Index normalize_smooth_rows(const NormalizeRows<S>& a) {
  return normalize_rows_of<false, Options::smooth>(a);
}
template <typename S>
Index normalize_rms_rows_with_options(const NormalizeRows<S>& a) {
  return normalize_rows_of<true, Options::all>(a);
}
template <typename S>
Index normalize_smooth_rms_rows(const NormalizeRows<S>& a) {
  return normalize_rows_of<true, Options::smooth>(a);
}

template <bool kRms, bool kSmooth, typename S>
EVENKEEL_WORD Index write_epilogue(const EpilogueOfRows<S>& a) {
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;
  NormalizeRows<S> row{};
  row.n = a.n;
  row.gamma = a.gamma;
  row.beta = a.beta;
  row.gamma_offset = a.gamma_offset;
  Index outside_count = 0;
  for (Index r = 0, at = 0; r < a.rows; ++r, at += a.stride) {
    const T inv_std = a.inv_std[r], mean = kRms ? T(0) : a.mean[r];
    if constexpr (Range<C>::kBounded) {
      a.outside[r] = is_between(inv_std, Range<C>::kLowInvStd, Range<C>::kHighInvStd) ? 0 : 1;
      outside_count += a.outside[r];
      if (a.outside[r] != 0) continue;
    }
    const C center = static_cast<C>(mean);
    const T low =
        T(detail::as_computed(T(mean - T(center))) + (a.mean_low == nullptr ? T(0) : a.mean_low[r]));
    const C scale = static_cast<C>(inv_std), shift = static_cast<C>(T(T(T(0) - low) * inv_std));
    const RowTerm<kRms, Vec<C>> term = {all(C(center)), all(C(scale)), all(C(shift))};
    by_epilogue<kSmooth>(a.epilogue, [&](const auto& behind) EVENKEEL_WORD_LAMBDA {
      write_row_with_options<kRms>(row, a.x + at, at, a.out + at, 0, term, behind);
    });
  }
  return outside_count;
}

/// What is fused behind rows, by saved statistics; returns how many rows are out of range.
template <typename S>
Index epilogue_of_rows(const EpilogueOfRows<S>& a) {
  return write_epilogue<false, false>(a);
}
template <typename S>
Index smooth_epilogue_of_rows(const EpilogueOfRows<S>& a) {
  return write_epilogue<false, true>(a);
}
template <typename S>
Index epilogue_of_rms_rows(const EpilogueOfRows<S>& a) {
  return write_epilogue<true, false>(a);
}
template <typename S>
Index smooth_epilogue_of_rms_rows(const EpilogueOfRows<S>& a) {
  return write_epilogue<true, true>(a);
}

/// Rows that share a short sum of a parameter's gradient.
inline constexpr Index kShortParamSum = 16;
/// Vectors of a row that are summed in the compute type before they join a sum in the statistic type.
inline constexpr Index kRowStrip = 128;

/// What backward adds up of a row, with xhat = (x - mean) scale + shift: sum of gamma dy, and of gamma dy xhat; and of
/// each feature: dy, and dy xhat.
template <typename V>
struct CentredRow {
  V mean, scale, shift;
};
template <bool kRms, typename V>
EVENKEEL_WORD void add_gradients(const V& x, const V& dy, const V& gamma, const CentredRow<V>& c, V& sum,
                                 V& sum_xhat, V& of_gamma, V& of_beta) {
  const V xhat = kRms ? as_computed(V(x * c.scale)) : fma(as_computed(V(x - c.mean)), c.scale, c.shift),
          weighted = as_computed(V(gamma * dy));
  of_gamma = fma(dy, xhat, of_gamma);
  if constexpr (!kRms) {
    of_beta = V(of_beta + dy);
    sum = V(sum + weighted);
  }
  sum_xhat = fma(weighted, xhat, sum_xhat);
}

/// dx = dy gamma inv_std + (x - mean) slope + level of a few rows.
template <typename C>
struct RowGradientTerms {
  alignas(64) C mean[kLanes<C>], scale[kLanes<C>], shift[kLanes<C>], slope[kLanes<C>], level[kLanes<C>];
};

// Short sums of the gradients of gamma and beta are [2][n]; of RMS norm, [n].

/// Whether all are in range; 0 is.
template <bool kRms, typename S>
EVENKEEL_CALL bool param_sums_in_range(const RowGradients<S>& a, const ComputeOf<S>* sums) {
  using C = ComputeOf<S>;
  constexpr Index L = kLanes<C>;
  if constexpr (Range<C>::kBounded) {
    Flags<C> out{};
    const auto check = [&](Index i, const auto&... lanes) EVENKEEL_WORD_LAMBDA {
      const Vec<C> beta = kRms ? all(C(0)) : load(sums + a.n + i, lanes...);
      out = out | sizes_outside(load(sums + i, lanes...), beta, Range<C>::kLowSum, Range<C>::kHighSum);
    };
    Index i = 0;
    for (; i + L <= a.n; i += L) check(i);
    if (i < a.n) check(i, first_lanes<C>(a.n - i));
    return !any(out);
  }
  return true;
}

template <bool kRms, typename S>
EVENKEEL_CALL void add_param_sums(const RowGradients<S>& a, const ComputeOf<S>* sums) {
  using C = ComputeOf<S>;
  constexpr Index L = kLanes<C>;
  Index i = 0;
  for (; i + L <= a.n; i += L) {
    add_wide<C>(a.grad_gamma + i, load(sums + i));
    if (!kRms) add_wide<C>(a.grad_beta + i, load(sums + a.n + i));
  }
  for (; i < a.n; ++i) {
    a.grad_gamma[i] += StatisticOf<S>(sums[i]);
    if (!kRms) a.grad_beta[i] += StatisticOf<S>(sums[a.n + i]);
  }
}

/// The same of rows [begin, end), summed again in the statistic type.
template <bool kRms, typename S>
EVENKEEL_CALL void add_params_widely(const RowGradients<S>& a, Index begin, Index end) {
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;
  using W = Wide<C>;
  for (Index i = 0; i < a.n; i += kLanes<C>) {
    const Index n = a.n - i < kLanes<C> ? a.n - i : kLanes<C>;
    const auto lanes = first_lanes<C>(n);
    W of_gamma = load_wide<C>(a.grad_gamma + i, n),
      of_beta = kRms ? of_gamma : load_wide<C>(a.grad_beta + i, n);
    for (Index r = begin; r < end; ++r) {
      const T inv_std = a.inv_std[r], low = a.mean_low == nullptr ? T(0) : a.mean_low[r];
      const T mean = kRms ? T(0) : a.mean[r];
      const W d = as_computed(W(load_widened(a.x + r * a.stride + i, lanes) - wide_all<C>(mean)));
      const W dy = load_widened(a.dy + r * a.stride + i, lanes);
      of_gamma = fma(dy, fma(d, wide_all<C>(inv_std), wide_all<C>(T(T(T(0) - low) * inv_std))), of_gamma);
      of_beta = W(of_beta + dy);
    }
    store_wide<C>(a.grad_gamma + i, of_gamma, n);
    if (!kRms) store_wide<C>(a.grad_beta + i, of_beta, n);
  }
}

/// dx of one row, number r of the terms, with what is added to it.
template <typename S>
EVENKEEL_CALL void write_gradients_plus(const RowGradients<S>& a, Index row,
                                        const RowGradientTerms<ComputeOf<S>>& terms, Index r) {
  using C = ComputeOf<S>;
  using V = Vec<C>;
  const V c0 = all(C(terms.mean[r])), c1 = all(C(terms.slope[r])), c2 = all(C(terms.level[r])),
          c3 = all(C(terms.scale[r]));
  const Index at = row * a.stride;
  write_line(
      a.dx + at, a.n, a.stream,
      [&](Index i, const auto&... lanes) EVENKEEL_WORD_LAMBDA {
        const V weighted = V(load(a.dy + at + i, lanes...) * load(a.weights + i, lanes...));
        const V v = fma(weighted, c3, fma(as_computed(V(load(a.x + at + i, lanes...) - c0)), c1, c2));
        return V(v + load(a.plus + at + i, lanes...));
      },
      [](Index) {});
}

/// m rows from `row` on, all of which have statistics in range; returns how many have gradients out of range. sums_before are
/// those of the parameters before these rows, null if there are none, and new_sums those with them; summed() is called
/// before anything is written.
template <bool kRms, bool kOptions, typename S, typename Summed>
EVENKEEL_WORD Index gradients_of_rows(const RowGradients<S>& a, Index row, Index m,
                                      const ComputeOf<S>* sums_before, ComputeOf<S>* new_sums, Index ahead,
                                      const Summed& summed) {
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;
  using V = Vec<C>;
  using W = Wide<C>;
  constexpr Index L = kLanes<C>;
  constexpr bool kHasManyRegisters = EVENKEEL_REGISTERS >= 32;
  constexpr int kLineVectors = L > 1 ? static_cast<int>(kLine<S> / L) : 0;
  const bool is_line = L > 1 && a.n == kLine<S>;
  const Index n = a.n, whole = whole_vectors<C>(n), stride = a.stride;
  const auto rest = first_lanes<C>(n - whole);
  const S *x = a.x + row * stride, *dy = a.dy + row * stride;
  const C* weights = a.weights;
  const bool asks = a.stream;
  const V zero = all(C(0));

  RowGradientTerms<C> terms;
  const W mean = kRms ? wide_all<C>(0) : load_wide<C>(a.mean + row, m);
  const W inv_std = load_wide<C>(a.inv_std + row, m);
  const W mean_low = a.mean_low == nullptr ? wide_all<C>(0) : load_wide<C>(a.mean_low + row, m);
  const V center = narrow<C>(mean);
  const W low = rest_of_mean<C>(mean, mean_low, center);
  store(terms.mean, center);
  store(terms.scale, narrow<C>(inv_std));
  store(terms.shift, narrow<C>(W(W(wide_all<C>(0) - low) * inv_std)));
  const auto centred = [&](Index r) EVENKEEL_WORD_LAMBDA {
    return CentredRow<V>{all(C(terms.mean[r])), all(C(terms.scale[r])), all(C(terms.shift[r]))};
  };

  V sums[L], sums_xhat[L];
  W sum_dy = wide_all<C>(0), sum_dy_xhat = sum_dy;
  for (Index r = m; r < L; ++r) sums[r] = sums_xhat[r] = zero;
  const auto add_lines = [&]() EVENKEEL_WORD_LAMBDA {
    V w[kLineVectors + 1], g[kLineVectors + 1], b[kLineVectors + 1];
#pragma GCC unroll 4
    for (int j = 0; j < kLineVectors; ++j) {
      w[j] = load(weights + j * L);
      g[j] = sums_before == nullptr ? zero : load(sums_before + j * L);
      b[j] = kRms || sums_before == nullptr ? zero : load(sums_before + n + j * L);
    }
    for (Index r = 0; r < m; ++r) {
      const CentredRow<V> c = centred(r);
      V s = zero, t = zero;
      if (asks) prefetch(x + r * stride, ahead);
#pragma GCC unroll 4
      for (int j = 0; j < kLineVectors; ++j) {
        add_gradients<kRms>(load(x + r * stride + j * L), load(dy + r * stride + j * L), w[j], c, s, t, g[j],
                            b[j]);
      }
      sums[r] = s;
      sums_xhat[r] = t;
    }
#pragma GCC unroll 4
    for (int j = 0; j < kLineVectors; ++j) {
      store(new_sums + j * L, g[j]);
      if (!kRms) store(new_sums + n + j * L, b[j]);
    }
  };
  for (Index strip = 0; strip < n; strip += kRowStrip * L) {
    const Index strip_end = n - strip < kRowStrip * L ? n : strip + kRowStrip * L;
    // Of kRows rows from r on, which share what belongs to a feature.
    const auto add_rows = [&](auto count, Index r) EVENKEEL_WORD_LAMBDA {
      constexpr int kRows = decltype(count)::value;
      constexpr int r1 = kRows > 1, r2 = kRows > 2 ? 2 : 0, r3 = kRows > 2 ? 3 : 0;
      const S *x0 = x + r * stride, *x1 = x0 + r1 * stride, *x2 = x0 + r2 * stride, *x3 = x0 + r3 * stride;
      const S *dy0 = dy + r * stride, *dy1 = dy0 + r1 * stride, *dy2 = dy0 + r2 * stride,
              *dy3 = dy0 + r3 * stride;
      const CentredRow<V> row0 = centred(r), row1 = centred(r + r1), row2 = centred(r + r2),
                          row3 = centred(r + r3);
      const C* before = r == 0 ? sums_before : new_sums;
      V s0 = zero, s1 = zero, s2 = zero, s3 = zero, t0 = zero, t1 = zero, t2 = zero, t3 = zero;
      const auto step = [&](Index i, const auto&... lanes) EVENKEEL_WORD_LAMBDA {
        V g = zero, b = zero;
        if (before != nullptr) {
          g = load(before + i, lanes...);
          if (!kRms) b = load(before + n + i, lanes...);
        }
        const V w = load(weights + i, lanes...);
        if (asks) {
          prefetch(x0 + i, ahead);
          if (kRows > 1) prefetch(x1 + i, ahead);
          if (kRows > 2) {
            prefetch(x2 + i, ahead);
            prefetch(x3 + i, ahead);
          }
        }
        add_gradients<kRms>(load(x0 + i, lanes...), load(dy0 + i, lanes...), w, row0, s0, t0, g, b);
        if (kRows > 1)
          add_gradients<kRms>(load(x1 + i, lanes...), load(dy1 + i, lanes...), w, row1, s1, t1, g, b);
        if (kRows > 2) {
          add_gradients<kRms>(load(x2 + i, lanes...), load(dy2 + i, lanes...), w, row2, s2, t2, g, b);
          add_gradients<kRms>(load(x3 + i, lanes...), load(dy3 + i, lanes...), w, row3, s3, t3, g, b);
        }
        store(new_sums + i, g, lanes...);
        if (!kRms) store(new_sums + n + i, b, lanes...);
      };
      V sum0 = zero, sum1 = zero, sum2 = zero, sum3 = zero, xhat0 = zero, xhat1 = zero, xhat2 = zero,
        xhat3 = zero;
      const auto join = [&](V& all_s, V& s, V& all_t, V& t) EVENKEEL_WORD_LAMBDA {
        all_s = V(all_s + s);
        all_t = V(all_t + t);
        s = t = zero;
      };
      const Index end = strip_end < whole ? strip_end : whole;
      for (Index i = strip; i < strip_end;) {
        for (const Index stop = end - i < kShortParamSum * L ? end : i + kShortParamSum * L; i < stop; i += L)
          step(i);
        if (i == whole && strip_end == n && whole < n) {
          step(whole, rest);
          i = n;
        }
        join(sum0, s0, xhat0, t0);
        if (kRows > 1) join(sum1, s1, xhat1, t1);
        if (kRows > 2) {
          join(sum2, s2, xhat2, t2);
          join(sum3, s3, xhat3, t3);
        }
      }
      sums[r] = sum0;
      sums_xhat[r] = xhat0;
      if (kRows > 1) {
        sums[r + r1] = sum1;
        sums_xhat[r + r1] = xhat1;
      }
      if (kRows > 2) {
        sums[r + r2] = sum2;
        sums[r + r3] = sum3;
        sums_xhat[r + r2] = xhat2;
        sums_xhat[r + r3] = xhat3;
      }
    };
    Index r = is_line ? m : 0;
    if (is_line) add_lines();
    if constexpr (kHasManyRegisters && L > 2) {
      for (; r + 4 <= m; r += 4) add_rows(std::integral_constant<int, 4>(), r);
    }
    if constexpr (L > 1 && !(kHasManyRegisters && L > 2)) {
      for (; r + 2 <= m; r += 2) add_rows(std::integral_constant<int, 2>(), r);
    }
    for (; r < m; ++r) add_rows(std::integral_constant<int, 1>(), r);
    if (!kRms) sum_dy = W(sum_dy + widen(transposed_totals(sums)));
    sum_dy_xhat = W(sum_dy_xhat + widen(transposed_totals(sums_xhat)));
  }

  const W share = wide_all<C>(T(T(1) / from_count<T>(n)));
  const W mean_dy = W(sum_dy * share), mean_dy_xhat = W(sum_dy_xhat * share);
  const GradientTerms<C> t = gradient_terms<C>(inv_std, mean_dy, mean_dy_xhat, low);
  store(terms.slope, narrow<C>(t.slope));
  store(terms.level, narrow<C>(t.level));
  unsigned out = 0;
  if constexpr (Range<C>::kBounded) {
    out = gradients_outside<C>(inv_std, mean_dy, mean_dy_xhat) & ((1u << static_cast<unsigned>(m)) - 1);
  }

  summed();
  const bool streams = streams_rows(a.stream, a.dx, n, stride);
  Index outside_count = 0;
  std::memset(a.outside + row, kInside, static_cast<std::size_t>(m));
  for (Index r = 0; r < m; ++r) {
    if (out != 0 && (out >> static_cast<unsigned>(r) & 1) != 0) {
      a.outside[row + r] = kGradientsOutside;
      ++outside_count;
      continue;
    }
    const V c0 = all(C(terms.mean[r])), c1 = all(C(terms.slope[r])), c2 = all(C(terms.level[r])),
            c3 = all(C(terms.scale[r]));
    const S *p = x + r * stride, *d = dy + r * stride;
    S* q = a.dx + (row + r) * stride;
    if constexpr (kOptions) {
      write_gradients_plus(a, row + r, terms, r);
      continue;
    }
    const auto value = [&](Index i, const auto&... lanes) EVENKEEL_WORD_LAMBDA {
      const V weighted = V(load(d + i, lanes...) * load(weights + i, lanes...));
      const V v = load(p + i, lanes...);
      return fma(weighted, c3, kRms ? as_computed(V(v * c1)) : fma(as_computed(V(v - c0)), c1, c2));
    };
    const auto ask = [&](Index i) EVENKEEL_WORD_LAMBDA { prefetch(d + i, ahead); };
    if (is_line) {
      if (streams) {
        ask(0);
        stream_line(q, value);
      } else {
#pragma GCC unroll 4
        for (int j = 0; j < kLineVectors; ++j) store(q + j * L, value(j * L));
      }
    } else {
      write_line(q, n, streams, value, ask);
    }
  }
  return outside_count;
}

template <bool kRms, bool kOptions, typename S>
EVENKEEL_WORD Index row_gradients_of(const RowGradients<S>& a) {
  using C = ComputeOf<S>;
  constexpr Index L = kLanes<C>;
  const Index near = 3072 / a.n / 4 * 4, few = L < 4 ? L : 4,
              at_once = near > L     ? L
                        : near > few ? near
                                     : few;
  const Index next_rows = at_once * a.stride, ahead = next_rows > 512 ? next_rows : 512;
  const bool wanted = a.grad_gamma != nullptr, in_place = a.dx == a.dy;
  C *sums = a.scratch, *next = in_place ? sums + 2 * a.n : sums;  // over dy the sums before are needed again
  Index outside_count = 0, sum_begin = 0;                         // sums are those of rows from sum_begin on
  const auto join_sums = [&](Index end) {
    if (wanted && sum_begin < end) {
      if (in_place || param_sums_in_range<kRms>(a, sums)) {
        add_param_sums<kRms>(a, sums);
      } else {
        const SubnormalNumbers numbers;
        add_params_widely<kRms>(a, sum_begin, end);
      }
    }
    sum_begin = end;
  };
  for (Index row = 0; row < a.rows;) {
    Index m = a.rows - row < at_once ? a.rows - row : at_once;
    if constexpr (Range<C>::kBounded) {
      const unsigned out =
          outside(load_wide<C>(a.inv_std + row, m), Range<C>::kLowInvStd, Range<C>::kHighInvStd) &
          ((1u << static_cast<unsigned>(m)) - 1);
      Index inside = out == 0 ? m : 0;
      while (inside < m && (out >> static_cast<unsigned>(inside) & 1) == 0) ++inside;
      if (inside == 0) {
        join_sums(row);
        a.outside[row] = kStatisticsOutside;
        ++outside_count;
        sum_begin = ++row;
        continue;
      }
      m = inside;
    }
    if (row + m - sum_begin > kShortParamSum) join_sums(row);
    outside_count +=
        gradients_of_rows<kRms, kOptions>(a, row, m, row == sum_begin ? nullptr : sums, next, ahead, [&] {
          // Over dy, what is out of range has to be summed again before dx is written.
          if (!in_place || !wanted || param_sums_in_range<kRms>(a, next)) {
            C* const before = sums;
            sums = next;
            next = before;
            return;
          }
          join_sums(row);
          const SubnormalNumbers numbers;
          add_params_widely<kRms>(a, row, row + m);
          sum_begin = row + m;
        });
    row += m;
  }
  join_sums(a.rows);
  return outside_count;
}

/// Returns how many rows are out of range.
template <typename S>
Index row_gradients(const RowGradients<S>& a) {
  return row_gradients_of<false, false>(a);
}
template <typename S>
Index rms_row_gradients(const RowGradients<S>& a) {
  return row_gradients_of<true, false>(a);
}
/// The same with what is added to dx.
template <typename S>
Index row_gradients_with_options(const RowGradients<S>& a) {
  return row_gradients_of<false, true>(a);
}
template <typename S>
Index rms_row_gradients_with_options(const RowGradients<S>& a) {
  return row_gradients_of<true, true>(a);
}
