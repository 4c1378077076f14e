// What is optional in a pass: masks, weights, residuals, activations. Kernels of their own, a vector at a time, that only
// callers of them compile. Included beside words.inl.

/// y, with what is fused behind the norm.
template <typename C>
EVENKEEL_WORD Vec<C> activated(const Vec<C>& v, const Activation<C>& a) {
  if (!a.active) return v;
  const Vec<C> leaky = where_positive(Vec<C>(all(C(0)) - v), Vec<C>(v * all(C(a.slope))), v);
  return clamp(leaky, all(C(a.low)), all(C(a.high)));
}

/// Sums over n elements of a line of cell k, from `from` on.
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

/// sum_lines, of the elements where the mask is positive.
template <typename S>
void sum_lines_with_options(const SumLines<S>& a) {
  using C = ComputeOf<S>;
  const LineCursor start(a.lines, a.begin, a.end);
  for (Index k = 0; k < a.cells; ++k) {
    Wide<C> first = wide_all<C>(0), second = first;
    for (LineCursor line = start; !line.done(); line.next())
      sum_line_with_options(a, k, a.offsets[k] + line.offset(), line.length(), first, second);
    a.first[k] = total<C>(first);
    a.second[k] = total<C>(second);
  }
}

/// Sums over n lanes of one vector.
template <typename S>
EVENKEEL_CALL void sum_tile_with_options(const SumColumns<S>& a, Index row, Index rows, Index l, Index n) {
  using C = ComputeOf<S>;
  using V = Vec<C>;
  const auto lanes = first_lanes<C>(n);
  const V zero = all(C(0)), center = load(a.center + l, lanes);
  V f_sum = zero, s_sum = zero, f = zero, s = zero;
  for (Index r = row; r < row + rows; ++r) {
    const Index at = r * a.stride + l;
    V d = V(load(a.x + at, lanes) - center), dy = zero;
    if (a.dy != nullptr) dy = load(a.dy + at, lanes);
    if (a.weights != nullptr) dy = V(dy * all(C(a.weights[r])));
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
    if ((r + 1 - row) % kFewRows == 0 || r + 1 == row + rows) {
      f_sum = V(f_sum + f), s_sum = V(s_sum + s);
      f = s = zero;
    }
  }
  add_wide<C>(a.first + l, f_sum);
  add_wide<C>(a.second + l, s_sum);
}

/// sum_columns with a weight of dy for each row, of the elements where the mask is positive.
template <typename S>
void sum_columns_with_options(const SumColumns<S>& a) {
  using C = ComputeOf<S>;
  constexpr Index L = kLanes<C>;
  for (Index row = 0; row < a.rows; row += kShortRows<C>) {
    const Index rows = a.rows - row < kShortRows<C> ? a.rows - row : kShortRows<C>;
    for (Index l = 0; l < a.lanes; l += L)
      sum_tile_with_options(a, row, rows, l, a.lanes - l < L ? a.lanes - l : L);
  }
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
EVENKEEL_CALL void map_with_options(const GeneralMap<S>& a, const Activation<ComputeOf<S>>& activation,
                                    bool streams) {
  using C = ComputeOf<S>;
  using V = Vec<C>;
  const V gamma = all(a.gamma == nullptr ? C(1) : C(*a.gamma)),
          beta = all(a.beta == nullptr ? C(0) : C(*a.beta));
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

/// map_lines, or map_gradients_of_lines where there is a dy.
template <typename S>
void map_lines_with_options(const MapLines<S>& a) {
  const LineCursor start(a.lines, a.begin, a.end);
  for (Index k = 0; k < a.cells; ++k) {
    for (LineCursor line = start; !line.done(); line.next()) {
      const Index at = a.offsets[k] + line.offset();
      const S *dy = a.dy == nullptr ? nullptr : a.dy + at, *residual = a.epilogue.residual;
      map_with_options(GeneralMap<S>{a.x + at, dy, a.out + at, line.length(), a.c, false, k, nullptr, nullptr,
                                     residual == nullptr ? nullptr : residual + at},
                       a.epilogue.activation, a.stream);
    }
  }
}

/// map_columns, or map_gradients_of_columns where there is a dy; with a gamma and a beta for each row.
template <typename S>
void map_columns_with_options(const MapColumns<S>& a) {
  for (Index row = 0; row < a.rows; ++row) {
    const Index at = row * a.stride;
    const S *dy = a.dy == nullptr ? nullptr : a.dy + at, *residual = a.epilogue.residual;
    map_with_options(GeneralMap<S>{a.x + at, dy, a.out + at, a.lanes, a.c, true, 0,
                                   a.gamma == nullptr ? nullptr : a.gamma + row,
                                   a.beta == nullptr ? nullptr : a.beta + row,
                                   residual == nullptr ? nullptr : residual + at},
                     a.epilogue.activation, a.stream);
  }
}
