// SPDX-License-Identifier: MIT
//
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

/// What is summed: x - center and its square; dy and dy (x - center); or x^2 alone.
enum class Terms { moments, gradients, squares };

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

/// A map without gradients.
struct NoDy {};

/// dy of element i, whose x - center is d; `lane` is its place in a row of columns.
template <typename S>
struct LoadedDy {
  const S* dy;

  template <typename V, typename... Lanes>
  EVENKEEL_WORD V operator()(Index i, Index /*lane*/, const V&, const Lanes&... lanes) const {
    return load(dy + i, lanes...);
  }
};

/// No work beside a sum.
struct NoWork {
  EVENKEEL_WORD void operator()(Index /*i*/) const {}
};

/// Sums of at most 4 kShortSum vectors from x[from] on, in the compute type. work(i) follows four vectors from x[i] on.
template <Terms kTerms, typename S, typename OfDy, typename Work>
EVENKEEL_WORD void sum_few(const S* x, Index from, Index n, const Vec<ComputeOf<S>>& center,
                           const OfDy& of_dy, const Work& work, Vec<ComputeOf<S>>& first,
                           Vec<ComputeOf<S>>& second) {
  using C = ComputeOf<S>;
  using V = Vec<C>;
  constexpr Index L = kLanes<C>;
  const V zero = all(C(0));
  V f0 = zero, f1 = zero, f2 = zero, f3 = zero, s0 = zero, s1 = zero, s2 = zero, s3 = zero;
  const auto add = [&](Index i, V& f, V& s, const auto&... lanes) EVENKEEL_WORD_LAMBDA {
    const V v = load(x + from + i, lanes...);
    if constexpr (kTerms == Terms::squares) {
      s = fma(v, v, s);
    } else {
      const V d = keep(V(v - center), lanes...);
      if constexpr (kTerms == Terms::gradients) {
        add_terms<true>(d, of_dy(from + i, 0, d, lanes...), f, s);
      } else {
        add_terms<false>(d, zero, f, s);
      }
    }
  };
  Index i = 0;
  for (; i + 4 * L <= n; i += 4 * L) {
    add(i, f0, s0);
    add(i + L, f1, s1);
    add(i + 2 * L, f2, s2);
    add(i + 3 * L, f3, s3);
    work(from + i);
  }
  for (; i + L <= n; i += L) add(i, f1, s1);
  if (i < n) add(i, f2, s2, first_lanes<C>(n - i));
  first = V(V(f0 + f1) + V(f2 + f3));
  second = V(V(s0 + s1) + V(s2 + s3));
}

/// The sums of a line from x[from] on, which join first and second.
template <Terms kTerms, typename S, typename OfDy, typename Work = NoWork>
EVENKEEL_CALL void sum_line(const S* x, Index from, Index n, const ComputeOf<S>& center, const OfDy& of_dy,
                            Wide<ComputeOf<S>>& first, Wide<ComputeOf<S>>& second,
                            const Work& what = Work()) {
  using C = ComputeOf<S>;
  constexpr Index kFew = 4 * kShortSum * kLanes<C>;
  const Work work = what;  // which no store changes
  Wide<C> f_sum = first, s_sum = second;
  for (Index i = 0; i < n; i += kFew) {
    Vec<C> f, s;
    sum_few<kTerms>(x, from + i, n - i < kFew ? n - i : kFew, all(C(center)), of_dy, work, f, s);
    f_sum = Wide<C>(f_sum + widen(f));
    s_sum = Wide<C>(s_sum + widen(s));
  }
  first = f_sum;
  second = s_sum;
}

/// The sums of cells that are one short line each. The lanes of as many cells as a vector has lanes are added at once.
template <Terms kTerms, typename S, typename OfDyOfCell>
EVENKEEL_CALL void sum_short_lines(const SumLines<S>& a, const OfDyOfCell& of_dy) {
  using C = ComputeOf<S>;
  constexpr Index L = kLanes<C>;
  const Index n = a.end - a.begin;
  for (Index k = 0; k < a.cells; k += L) {
    const Index count = a.cells - k < L ? a.cells - k : L;
    Vec<C> sums[2][L];
    for (Index j = 0; j < count; ++j) {
      sum_few<kTerms>(a.x, a.offsets[k + j] + a.begin, n, all(C(a.center[k + j])), of_dy(k + j),
                      NoWork(), sums[0][j], sums[1][j]);
    }
    for (Index j = count; j < L; ++j) sums[0][j] = sums[1][j] = all(C(0));
    for (int j = 0; j < 2; ++j)
      store_wide<C>((j == 0 ? a.first : a.second) + k, widen(transposed_totals(sums[j])), count);
  }
}

/// Whether cells are a line each, or a part of one, that is summed in the compute type alone.
template <typename S>
EVENKEEL_WORD bool are_short_lines(const SumLines<S>& a) {
  return a.end <= a.lines.length && a.end - a.begin <= 4 * kShortSum * kLanes<ComputeOf<S>>;
}

/// The sums of each cell: add(cell, offset, length, first, second) adds those of a line.
template <typename S, typename Add>
EVENKEEL_WORD void sum_cells(const SumLines<S>& a, const Add& add) {
  using C = ComputeOf<S>;
  const LineCursor start(a.lines, a.begin, a.end);
  for (Index k = 0; k < a.cells; ++k) {
    Wide<C> first = wide_all<C>(0), second = wide_all<C>(0);
    for (LineCursor line = start; !line.done(); line.next())
      add(k, a.offsets[k] + line.offset(), line.length(), first, second);
    a.first[k] = total<C>(first);
    a.second[k] = total<C>(second);
  }
}

template <typename S>
void sum_lines(const SumLines<S>& a) {
  using W = Wide<ComputeOf<S>>;
  const LoadedDy<S> dy = {a.dy};
  if (are_short_lines(a)) {
    if (a.dy != nullptr)
      return sum_short_lines<Terms::gradients>(a, [&](Index) EVENKEEL_WORD_LAMBDA { return dy; });
    return sum_short_lines<Terms::moments>(a, [](Index) EVENKEEL_WORD_LAMBDA { return NoDy(); });
  }
  sum_cells(a, [&](Index k, Index from, Index n, W& first, W& second) EVENKEEL_WORD_LAMBDA {
    if (a.dy == nullptr) {
      sum_line<Terms::moments>(a.x, from, n, a.center[k], NoDy(), first, second);
    } else {
      sum_line<Terms::gradients>(a.x, from, n, a.center[k], dy, first, second);
    }
  });
}

/// The mean of the first `count` neighbours, at most kPivotNeighbours, at each place: exact where they are equal.
template <typename S>
EVENKEEL_WORD ComputeOf<S> pivot_of(const S* x, Index count, Index places = 1, Index stride = 0) {
  using C = ComputeOf<S>;
  using V = Vec<C>;
  constexpr Index L = kLanes<C>;
  const Index n = count < kPivotNeighbours ? count : kPivotNeighbours;
  const C first = value_at(x);
  const V level = all(first);
  V sum = all(C(0));
  for (Index i = 0; i < n; i += L) {
    const auto lanes = first_lanes<C>(n - i < L ? n - i : L);
    for (Index p = 0; p < places; ++p)
      sum = V(sum + keep(V(load(x + p * stride + i, lanes) - level), lanes));
  }
  return C(first + C(static_cast<C>(total<C>(widen(sum))) * C(C(1) / from_count<C>(n * places))));
}

template <typename S>
void pivot_lines(const PivotLines<S>& a) {
  for (Index k = 0; k < a.cells; ++k)
    a.pivots[k] = pivot_of(a.x + a.offsets[k], a.count, a.places, a.place_stride);
}

/// The elements of a cache line.
template <typename S>
inline constexpr Index kCacheLine = sizeof(S) < 64 ? 64 / static_cast<Index>(sizeof(S)) : 1;

/// The first element that begins a line of the cache.
template <typename S>
EVENKEEL_WORD Index next_line(const S* out) {
  return static_cast<Index>((64 - reinterpret_cast<std::uintptr_t>(out) % 64) % 64 / sizeof(S));
}

/// The part of out[0 .. n) that is whole lines of the cache.
struct StreamedPart {
  Index begin, end;
};
template <typename S>
EVENKEEL_WORD StreamedPart streamed_part(const S* out, Index n) {
  if constexpr (1 < kLanes<ComputeOf<S>>) {
    const Index head = next_line(out);
    if (reinterpret_cast<std::uintptr_t>(out) % sizeof(S) == 0 && head + kCacheLine<S> <= n) {
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

/// Streams a line of the cache, or a vector if that is longer: element i is value(i).
template <typename S>
inline constexpr Index kLine = kLanes<ComputeOf<S>> < kCacheLine<S> ? kCacheLine<S> : kLanes<ComputeOf<S>>;
template <typename S, typename Value>
EVENKEEL_WORD void stream_line(S* out, const Value& value) {
  constexpr Index L = kLanes<ComputeOf<S>>;
  if constexpr (kLine<S> == L) {
    stream(out, value(0));
  } else {
#pragma GCC unroll 4
    for (Index i = 0; i < kLine<S>; i += 2 * L) stream_two(out + i, value(i), value(i + L));
  }
}

/// Prefetches what lies `ahead` elements on into the nearest cache. The address need not be memory.
template <typename S>
EVENKEEL_WORD void prefetch(const S* p, Index ahead) {
#if defined(__GNUC__) || defined(__clang__)
  const auto address = reinterpret_cast<std::uintptr_t>(p) + static_cast<std::uintptr_t>(ahead) * sizeof(S);
  __builtin_prefetch(reinterpret_cast<const void*>(address), 0, 3);  // NOLINT(performance-no-int-to-ptr)
#endif
}

/// out[0 .. n) = value(i, lanes...) with the lanes that begin at element i: whole vectors, and the rest in part.
/// Before a streamed line a whole vector is computed and stored in part, since a line follows. ask(i) asks for what is
/// needed later.
template <typename S, typename Value, typename Ask>
EVENKEEL_WORD void write_line(S* out, Index n, bool streams, const Value& value, const Ask& ask) {
  using C = ComputeOf<S>;
  constexpr Index L = kLanes<C>;
  const StreamedPart part = streams ? streamed_part(out, n) : StreamedPart{0, 0};
  // Streamed stores would wait for one to a line that is not near.
  if (streams && part.end < n) prefetch(out, part.end);
  Index i = 0;
  for (; i < part.begin; i += L) {
    const auto lanes = first_lanes<C>(part.begin - i < L ? part.begin - i : L);
    store(out + i, value(i), lanes);
  }
  for (i = part.begin; i < part.end; i += kLine<S>) {
    ask(i);
    stream_line(out + i, [&](Index j) EVENKEEL_WORD_LAMBDA { return value(i + j); });
  }
  for (; i + 2 * L <= n; i += 2 * L) store_two(out + i, value(i), value(i + L));
  for (; i < n; i += L) {
    const auto lanes = first_lanes<C>(n - i < L ? n - i : L);
    store(out + i, value(i, lanes), lanes);
  }
}

/// With gradients unless OfDy is NoDy.
template <typename S, typename Behind, typename OfDy>
EVENKEEL_WORD void map_line(const MapLines<S>& a, Index from, Index n, const Vec<ComputeOf<S>>& c0,
                            const Vec<ComputeOf<S>>& c1, const Vec<ComputeOf<S>>& c2,
                            const Vec<ComputeOf<S>>& c3, const Behind& behind, const OfDy& of_dy) {
  using V = Vec<ComputeOf<S>>;
  constexpr bool kGradients = !std::is_same_v<OfDy, NoDy>;
  const S *x = a.x + from, *dy = kGradients ? a.dy + from : x;
  const Index ahead = a.ahead;
  write_line(
      a.out + from, n, a.stream,
      [&](Index i, const auto&... lanes) EVENKEEL_WORD_LAMBDA {
        const V d = as_computed(V(load(x + i, lanes...) - c0));
        V v = fma(d, c1, c2);
        if constexpr (kGradients) v = fma(of_dy(from + i, 0, d, lanes...), c3, v);
        return behind(from + i, v, lanes...);
      },
      [&](Index i) EVENKEEL_WORD_LAMBDA {
        prefetch(x + i, ahead);
        if (kGradients) prefetch(dy + i, ahead);
      });
}

template <typename S, typename Behind, typename OfDyOfCell>
EVENKEEL_WORD void map_lines_of(const MapLines<S>& a, const Behind& behind, const OfDyOfCell& of_dy) {
  using C = ComputeOf<S>;
  const LineCursor start(a.lines, a.begin, a.end);
  const bool is_one_line = a.end <= a.lines.length;
  for (Index k = 0; k < a.cells; ++k) {
    const Vec<C> c0 = all(C(a.c[0][k])), c1 = all(C(a.c[1][k])), c2 = all(C(a.c[2][k]));
    const auto of_this = of_dy(k);
    Vec<C> c3 = c2;
    if constexpr (!std::is_same_v<decltype(of_dy(k)), NoDy>) c3 = all(C(a.c[3][k]));
    LineCursor line = start;
    Index from = is_one_line ? a.begin : line.offset(), n = is_one_line ? a.end - a.begin : line.length();
    for (;;) {
      map_line(a, a.offsets[k] + from, n, c0, c1, c2, c3, behind, of_this);
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
  map_lines_of(a, NoEpilogue(), [](Index) EVENKEEL_WORD_LAMBDA { return NoDy(); });
}
template <typename S>
void map_gradients_of_lines(const MapLines<S>& a) {
  map_lines_of(a, NoEpilogue(), [&](Index) EVENKEEL_WORD_LAMBDA { return LoadedDy<S>{a.dy}; });
}
