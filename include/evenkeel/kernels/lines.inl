// Passes over cells that are lines in memory: one center and one of each coefficient a cell. Included beside words.inl.

/// Vectors that are summed in the compute type before they join a sum in the statistic type, in each of four sums.
inline constexpr Index kShortSum = 8;

/// Walks elements [begin, end) of lines, line by line.
class LineCursor {
 public:
  EVENKEEL_WORD LineCursor(const Lines& lines, Index begin, Index end)
      : lines_(lines), left_(end - begin), at_(begin) {
    if (begin < lines.length) return;
    const Index line = begin / lines.length;
    at_ = begin % lines.length;
    inner_ = line % lines.inner;
    line_offset_ = line / lines.inner * lines.outer_stride + inner_ * lines.inner_stride;
  }
  EVENKEEL_WORD bool done() const { return left_ <= 0; }
  /// The elements left of this line, and where they begin.
  EVENKEEL_WORD Index length() const { return lines_.length - at_ < left_ ? lines_.length - at_ : left_; }
  EVENKEEL_WORD Index offset() const { return line_offset_ + at_; }
  EVENKEEL_WORD void next() {
    left_ -= length();
    at_ = 0;
    line_offset_ += lines_.inner_stride;
    if (++inner_ < lines_.inner) return;
    inner_ = 0;
    line_offset_ += lines_.outer_stride - lines_.inner * lines_.inner_stride;
  }

 private:
  const Lines& lines_;
  Index left_, at_;
  Index inner_ = 0, line_offset_ = 0;
};

/// first += x - center, second += (x - center)^2; with dy: first += dy, second += dy (x - center).
template <bool kGradients, typename V>
EVENKEEL_WORD void add_terms(const V& deviation, const V& dy, V& first, V& second) {
  if constexpr (kGradients) {
    first = V(first + dy);
    second = fma(dy, deviation, second);
  } else {
    first = V(first + deviation);
    second = fma(deviation, deviation, second);
  }
}

/// Sums of at most 4 kShortSum vectors, in the compute type.
template <bool kGradients, typename S>
EVENKEEL_WORD void sum_few(const S* x, const S* dy, Index n, const Vec<ComputeOf<S>>& center,
                           Vec<ComputeOf<S>>& first, Vec<ComputeOf<S>>& second) {
  using C = ComputeOf<S>;
  using V = Vec<C>;
  constexpr Index L = kLanes<C>;
  const V zero = all(C(0));
  V f0 = zero, f1 = zero, f2 = zero, f3 = zero, s0 = zero, s1 = zero, s2 = zero, s3 = zero;
  const auto add = [&](Index i, V& f, V& s) EVENKEEL_WORD_LAMBDA {
    add_terms<kGradients>(V(load(x + i) - center), kGradients ? load(dy + i) : zero, f, s);
  };
  Index i = 0;
  for (; i + 4 * L <= n; i += 4 * L) {
    add(i, f0, s0);
    add(i + L, f1, s1);
    add(i + 2 * L, f2, s2);
    add(i + 3 * L, f3, s3);
  }
  for (; i + L <= n; i += L) add(i, f1, s1);
  if (i < n) {
    const auto rest = first_lanes<C>(n - i);
    add_terms<kGradients>(keep(V(load(x + i, rest) - center), rest), kGradients ? load(dy + i, rest) : zero, f2, s2);
  }
  first = V(V(f0 + f1) + V(f2 + f3));
  second = V(V(s0 + s1) + V(s2 + s3));
}

template <bool kGradients, typename S>
EVENKEEL_WORD void sum_line(const S* x, const S* dy, Index n, const Vec<ComputeOf<S>>& center,
                            Wide<ComputeOf<S>>& first, Wide<ComputeOf<S>>& second) {
  using C = ComputeOf<S>;
  constexpr Index kFew = 4 * kShortSum * kLanes<C>;
  for (Index i = 0; i < n; i += kFew) {
    Vec<C> f, s;
    sum_few<kGradients>(x + i, dy + i, n - i < kFew ? n - i : kFew, center, f, s);
    first = Wide<C>(first + widen(f));
    second = Wide<C>(second + widen(s));
  }
}

/// The sums of cells that are one short line each. The lanes of as many cells as a vector has lanes are added at once.
template <bool kGradients, typename S>
EVENKEEL_CALL void sum_short_lines(const SumLines<S>& a) {
  using C = ComputeOf<S>;
  constexpr Index L = kLanes<C>;
  for (Index k = 0; k < a.cells; k += L) {
    const Index count = a.cells - k < L ? a.cells - k : L;
    Vec<C> first[L], second[L];
    for (Index j = 0; j < count; ++j) {
      const S* x = a.x + a.offsets[k + j] + a.begin;
      const S* dy = kGradients ? a.dy + a.offsets[k + j] + a.begin : x;
      sum_few<kGradients>(x, dy, a.end - a.begin, all(C(a.center[k + j])), first[j], second[j]);
    }
    for (Index j = count; j < L; ++j) first[j] = second[j] = all(C(0));
    store_wide<C>(a.first + k, widen(transposed_totals(first)), count);
    store_wide<C>(a.second + k, widen(transposed_totals(second)), count);
  }
}

/// The same with all options, a vector at a time.
template <typename S>
EVENKEEL_CALL void sum_line_with_options(const SumLines<S>& a, Index k, Index from, Index n,
                                         Wide<ComputeOf<S>>& first, Wide<ComputeOf<S>>& second) {
  using C = ComputeOf<S>;
  using V = Vec<C>;
  constexpr Index L = kLanes<C>;
  const V zero = all(C(0)), center = all(C(a.center[k]));
  for (Index i = 0; i < n;) {
    V f = zero, s = zero;
    for (Index end = n - i < kShortSum * L ? n : i + kShortSum * L; i < end; i += L) {
      const auto lanes = first_lanes<C>(end - i < L ? end - i : L);
      const Index at = from + i;
      V d = keep(V(load(a.x + at, lanes) - center), lanes), dy = zero;
      if (a.dy != nullptr) dy = load(a.dy + at, lanes);
      if (a.mask != nullptr) {
        const V counts = load(a.mask + at, lanes);
        d = where_positive(counts, d, zero);
        dy = where_positive(counts, dy, zero);
      }
      if (a.dy != nullptr) {
        add_terms<true>(d, dy, f, s);
      } else {
        add_terms<false>(d, dy, f, s);
      }
    }
    first = Wide<C>(first + widen(f));
    second = Wide<C>(second + widen(s));
  }
}

template <typename S>
void sum_lines(const SumLines<S>& a) {
  using C = ComputeOf<S>;
  const LineCursor start(a.lines, a.begin, a.end);
  const bool has_options = a.mask != nullptr;
  if (!has_options && a.end <= a.lines.length && a.end - a.begin <= 4 * kShortSum * kLanes<C>) {
    return a.dy == nullptr ? sum_short_lines<false>(a) : sum_short_lines<true>(a);
  }
  for (Index k = 0; k < a.cells; ++k) {
    const S *x = a.x + a.offsets[k], *dy = a.dy == nullptr ? x : a.dy + a.offsets[k];
    const Vec<C> center = all(C(a.center[k]));
    Wide<C> first = wide_all<C>(0), second = first;
    for (LineCursor line = start; !line.done(); line.next()) {
      if (has_options) {
        sum_line_with_options(a, k, a.offsets[k] + line.offset(), line.length(), first, second);
      } else if (a.dy != nullptr) {
        sum_line<true>(x + line.offset(), dy + line.offset(), line.length(), center, first, second);
      } else {
        sum_line<false>(x + line.offset(), dy, line.length(), center, first, second);
      }
    }
    a.first[k] = total<C>(first);
    a.second[k] = total<C>(second);
  }
}

/// The mean of the first `count` neighbours, at most 16 of them: exact where they are equal.
template <typename S>
EVENKEEL_WORD ComputeOf<S> pivot_of(const S* x, Index count) {
  using C = ComputeOf<S>;
  using V = Vec<C>;
  constexpr Index L = kLanes<C>;
  const Index n = count < 16 ? count : 16;
  const C first = static_cast<C>(*x);
  const V level = all(first);
  V sum = all(C(0));
  for (Index i = 0; i < n; i += L) {
    const auto lanes = first_lanes<C>(n - i < L ? n - i : L);
    sum = V(sum + keep(V(load(x + i, lanes) - level), lanes));
  }
  return C(first + C(static_cast<C>(total<C>(widen(sum))) * C(C(1) / from_count<C>(n))));
}

template <typename S>
void pivot_lines(const PivotLines<S>& a) {
  for (Index k = 0; k < a.cells; ++k) a.pivots[k] = pivot_of(a.x + a.offsets[k], a.count);
}

/// y, with what is fused behind the norm.
template <typename C>
EVENKEEL_WORD Vec<C> activated(const Vec<C>& v, const Activation<C>& a) {
  if (!a.active) return v;
  const Vec<C> leaky = where_positive(Vec<C>(all(C(0)) - v), Vec<C>(v * all(C(a.slope))), v);
  return clamp(leaky, all(C(a.low)), all(C(a.high)));
}

/// The elements of a cache line.
template <typename S>
inline constexpr Index kCacheLine = sizeof(S) < 64 ? 64 / static_cast<Index>(sizeof(S)) : 1;

/// The part of out[0 .. n) that is whole lines of the cache.
struct StreamedPart {
  Index begin, end;
};
template <typename S>
EVENKEEL_WORD StreamedPart streamed_part(const S* out, Index n) {
  if constexpr ((kLanes<ComputeOf<S>> > 1) && std::is_same_v<S, ComputeOf<S>>) {
    const auto address = reinterpret_cast<std::uintptr_t>(out);
    const Index head = static_cast<Index>((64 - address % 64) % 64 / sizeof(S));
    if (address % sizeof(S) == 0 && head + kCacheLine<S> <= n) {
      return {head, head + (n - head) / kCacheLine<S> * kCacheLine<S>};
    }
  }
  return {0, 0};
}

/// Whether lines of n elements, `stride` apart, are whole lines of the cache.
template <typename S>
EVENKEEL_WORD bool fills_lines(const S* out, Index n, Index stride) {
  const StreamedPart part = streamed_part(out, n);
  return part.begin == 0 && part.end == n && stride % kCacheLine<S> == 0;
}

/// Prefetches what lies `ahead` elements on into the second-level cache. The address need not be memory.
template <typename S>
EVENKEEL_WORD void prefetch(const S* p, Index ahead) {
#if defined(__GNUC__) || defined(__clang__)
  const auto address = reinterpret_cast<std::uintptr_t>(p) + static_cast<std::uintptr_t>(ahead) * sizeof(S);
  __builtin_prefetch(reinterpret_cast<const void*>(address), 0, 2);  // NOLINT(performance-no-int-to-ptr)
#endif
}

/// out[0 .. n) = value(i, lanes...) with the lanes that begin at element i: whole vectors, and the rest in part. ask(i)
/// asks for what is needed later.
template <typename S, typename Value, typename Ask>
EVENKEEL_WORD void write_line(S* out, Index n, bool streams, const Value& value, const Ask& ask) {
  using C = ComputeOf<S>;
  constexpr Index L = kLanes<C>;
  const StreamedPart part = streams ? streamed_part(out, n) : StreamedPart{0, 0};
  Index i = 0;
  for (Index partly = part.begin;; partly = n) {
    while (i < partly) {
      const Index m = partly - i < L ? partly - i : L;
      const auto lanes = first_lanes<C>(m);
      store(out + i, value(i, lanes), lanes);
      i += m;
    }
    if (i == n) return;
    if (part.begin < part.end) {
      constexpr Index kLine = kCacheLine<S> > L ? kCacheLine<S> : L;
      for (; i < part.end; i += kLine) {
        ask(i);
#pragma GCC unroll 4
        for (Index j = 0; j < kLine; j += L) stream(out + i + j, value(i + j));
      }
    } else {
      for (; i + 2 * L <= n; i += 2 * L) {
        const Vec<C> v = value(i), w = value(i + L);
        store(out + i, v);
        store(out + i + L, w);
      }
    }
  }
}

template <bool kGradients, typename S>
EVENKEEL_WORD void map_line(const MapLines<S>& a, Index from, Index n, const Vec<ComputeOf<S>>& c0,
                            const Vec<ComputeOf<S>>& c1, const Vec<ComputeOf<S>>& c2,
                            const Vec<ComputeOf<S>>& c3) {
  using V = Vec<ComputeOf<S>>;
  const S *x = a.x + from, *dy = kGradients ? a.dy + from : x;
  const Index ahead = a.ahead;
  write_line(
      a.out + from, n, a.stream,
      [&](Index i, const auto&... lanes) EVENKEEL_WORD_LAMBDA {
        V v = fma(as_computed(V(load(x + i, lanes...) - c0)), c1, c2);
        if (kGradients) v = fma(load(dy + i, lanes...), c3, v);
        return v;
      },
      [&](Index i) EVENKEEL_WORD_LAMBDA {
        prefetch(x + i, ahead);
        if (kGradients) prefetch(dy + i, ahead);
      });
}

/// out[0 .. n) of maps with all options.
template <typename S>
struct GeneralMap {
  const S* x;
  const S* dy;  // may be null
  S* out;
  Index n;
  const ComputeOf<S>* const* c;
  bool has_lanes;  // each element has coefficients, from c[j][begin] on; else all have c[j][begin]
  Index begin;
  const ComputeOf<S>* gamma;  // of all, may be null; so may beta
  const ComputeOf<S>* beta;
  const S* residual;  // may be null
};
template <typename S>
EVENKEEL_CALL void map_with_options(const GeneralMap<S>& a, const Activation<ComputeOf<S>>& activation, bool streams) {
  using C = ComputeOf<S>;
  using V = Vec<C>;
  const V gamma = all(a.gamma == nullptr ? C(1) : C(*a.gamma)), beta = all(a.beta == nullptr ? C(0) : C(*a.beta));
  write_line(
      a.out, a.n, streams,
      [&](Index i, const auto&... lanes) EVENKEEL_WORD_LAMBDA {
        const auto c = [&](int j) EVENKEEL_WORD_LAMBDA {
          const C* from = a.c[j] + a.begin;
          return a.has_lanes ? load(from + i, lanes...) : all(C(*from));
        };
        V v = fma(as_computed(V(load(a.x + i, lanes...) - c(0))), c(1), c(2));
        if (a.dy != nullptr) {
          const V dy = load(a.dy + i, lanes...);
          v = fma(a.gamma == nullptr ? dy : V(dy * gamma), c(3), v);
        } else if (a.gamma != nullptr) {
          v = fma(v, gamma, beta);
        }
        if (a.residual != nullptr) v = V(v + load(a.residual + i, lanes...));
        return activated(v, activation);
      },
      [](Index) {});
}

template <bool kGradients, typename S>
EVENKEEL_WORD void map_lines_of(const MapLines<S>& a) {
  using C = ComputeOf<S>;
  const LineCursor start(a.lines, a.begin, a.end);
  const bool has_options = a.epilogue.residual != nullptr || a.epilogue.activation.active;
  const bool is_one_line = a.end <= a.lines.length;
  for (Index k = 0; k < a.cells; ++k) {
    const Vec<C> c0 = all(C(a.c[0][k])), c1 = all(C(a.c[1][k])), c2 = all(C(a.c[2][k]));
    const Vec<C> c3 = kGradients ? all(C(a.c[3][k])) : c2;
    LineCursor line = start;
    Index from = is_one_line ? a.begin : line.offset(), n = is_one_line ? a.end - a.begin : line.length();
    for (;;) {
      const Index at = a.offsets[k] + from;
      if (has_options) {
        const S *dy = kGradients ? a.dy + at : nullptr, *residual = a.epilogue.residual;
        map_with_options(GeneralMap<S>{a.x + at, dy, a.out + at, n, a.c, false, k, nullptr, nullptr,
                                       residual == nullptr ? nullptr : residual + at},
                         a.epilogue.activation, a.stream);
      } else {
        map_line<kGradients>(a, at, n, c0, c1, c2, c3);
      }
      if (is_one_line) break;
      line.next();
      if (line.done()) break;
      from = line.offset();
      n = line.length();
    }
  }
}

template <typename S>
void map_lines(const MapLines<S>& a) {
  map_lines_of<false>(a);
}
template <typename S>
void map_gradients_of_lines(const MapLines<S>& a) {
  map_lines_of<true>(a);
}
