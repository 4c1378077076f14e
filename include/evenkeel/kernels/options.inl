// What is optional in a pass: masks, weights, residuals, activations. Kernels of their own, a vector at a time, that only
// callers of them compile. Included beside words.inl.

/// activation(z)
template <typename C>
EVENKEEL_WORD Vec<C> activated(const Vec<C>& z, const Activation<C>& a) {
  if (a.curve == Curve::none) return z;
  const Vec<C> leaky = where_positive(z, z, Vec<C>(z * all(C(a.slope))));
  return clamp(leaky, all(C(a.low)), all(C(a.high)));
}

/// dy activation'(z); at the ends of a clip, and at 0 of a leaky part, the smaller slope.
template <typename C>
EVENKEEL_WORD Vec<C> activation_gradient(const Vec<C>& z, const Vec<C>& dy, const Activation<C>& a) {
  if (a.curve == Curve::none) return dy;
  const Vec<C> zero = all(C(0)), slope = all(C(a.slope)), leaky = where_positive(z, z, Vec<C>(z * slope));
  const Vec<C> gradient = where_positive(z, dy, Vec<C>(dy * slope));
  return where_positive(Vec<C>(leaky - all(C(a.low))),
                        where_positive(Vec<C>(all(C(a.high)) - leaky), gradient, zero), zero);
}

/// What an epilogue makes of z = norm(x), at element i.
template <typename S, typename... Lanes>
EVENKEEL_WORD Vec<ComputeOf<S>> with_epilogue(const Epilogue<S>& e, Index i, const Vec<ComputeOf<S>>& norm,
                                              const Lanes&... lanes) {
  using V = Vec<ComputeOf<S>>;
  const V z = e.residual == nullptr ? norm : V(norm + load(e.residual + i, lanes...));
  if (e.dy == nullptr) return activated(z, e.activation);
  return activation_gradient(z, load(e.dy + i, lanes...), e.activation);
}

template <typename S>
void apply_epilogue(const EpilogueOfValues<S>& a) {
  using C = ComputeOf<S>;
  for (Index i = 0; i < a.n; i += kLanes<C>) {
    const auto lanes = first_lanes<C>(a.n - i < kLanes<C> ? a.n - i : kLanes<C>);
    store(a.values + i, with_epilogue<S>(a.epilogue, a.at + i, load(a.values + i, lanes), lanes), lanes);
  }
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
  bool stream;
  Epilogue<S> epilogue;
  const S* plus;  // may be null
};
template <bool kOptions, typename S>
EVENKEEL_CALL void map_generally(const GeneralMap<S>& a) {
  using C = ComputeOf<S>;
  using V = Vec<C>;
  const V gamma = all(a.gamma == nullptr ? C(1) : C(*a.gamma)),
          beta = all(a.beta == nullptr ? C(0) : C(*a.beta));
  write_line(
      a.out, a.n, a.stream,
      [&](Index i, const auto&... lanes) EVENKEEL_WORD_LAMBDA {
        const auto c = [&](int j) EVENKEEL_WORD_LAMBDA {
          const C* from = a.c[j] + a.begin;
          return a.has_lanes ? load(from + i, lanes...) : all(C(*from));
        };
        V v = fma(as_computed(V(load(a.x + i, lanes...) - c(0))), c(1), c(2));
        if (a.dy != nullptr) {
          const V dy = load(a.dy + i, lanes...);
          v = fma(a.gamma == nullptr ? dy : V(dy * gamma), c(3), v);
          return kOptions && a.plus != nullptr ? V(v + load(a.plus + i, lanes...)) : v;
        }
        if (a.gamma != nullptr) v = fma(v, gamma, beta);
        if constexpr (kOptions) v = with_epilogue<S>(a.epilogue, i, v, lanes...);
        return v;
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
      map_generally<true>(GeneralMap<S>{a.x + at, a.dy == nullptr ? nullptr : a.dy + at, a.out + at,
                                        line.length(), a.c, false, k, nullptr, nullptr, a.stream,
                                        a.epilogue.from(at), nullptr});
    }
  }
}

template <bool kOptions, typename S>
EVENKEEL_WORD void map_rows_generally(const MapColumns<S>& a) {
  for (Index row = 0; row < a.rows; ++row) {
    const Index at = row * a.stride;
    map_generally<kOptions>(GeneralMap<S>{
        a.x + at, a.dy == nullptr ? nullptr : a.dy + at, a.out + at, a.lanes, a.c, true, 0,
        a.gamma == nullptr ? nullptr : a.gamma + row, a.beta == nullptr ? nullptr : a.beta + row, a.stream,
        a.epilogue.from(at), a.plus == nullptr ? nullptr : a.plus + at});
  }
}
/// map_columns, or map_gradients_of_columns where there is a dy, with a gamma and a beta for each row.
template <typename S>
void map_columns_by_row(const MapColumns<S>& a) {
  map_rows_generally<false>(a);
}
/// The same with all options.
template <typename S>
void map_columns_with_options(const MapColumns<S>& a) {
  map_rows_generally<true>(a);
}
