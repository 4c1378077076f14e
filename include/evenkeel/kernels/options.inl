// SPDX-License-Identifier: MIT
//
// What is optional in a pass: masks, weights, residuals, activations. Kernels of their own, a vector at a time, that only
// callers of them compile. Included beside words.inl.

template <bool kSmooth, typename S>
EVENKEEL_WORD void apply_epilogue_of(const EpilogueOfValues<S>& a) {
  using C = ComputeOf<S>;
  by_epilogue<kSmooth>(a.epilogue, [&](const auto& behind) EVENKEEL_WORD_LAMBDA {
    for (Index i = 0; i < a.n; i += kLanes<C>) {
      const auto lanes = first_lanes<C>(a.n - i < kLanes<C> ? a.n - i : kLanes<C>);
      store(a.values + i, behind(a.at + i, load(a.values + i, lanes), lanes), lanes);
    }
  });
}
template <typename S>
void apply_epilogue(const EpilogueOfValues<S>& a) {
  apply_epilogue_of<false>(a);
}
template <typename S>
void apply_smooth_epilogue(const EpilogueOfValues<S>& a) {
  apply_epilogue_of<true>(a);
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
  using W = Wide<ComputeOf<S>>;
  sum_cells(a, [&](Index k, Index from, Index n, W& first, W& second) EVENKEEL_WORD_LAMBDA {
    sum_line_with_options(a, k, from, n, first, second);
  });
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
    if (a.weights != nullptr) dy = V(dy * all(C(a.weights[r] + a.gamma_offset)));
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

/// map_lines with an epilogue.
template <bool kSmooth, typename S>
EVENKEEL_WORD void map_lines_behind(const MapLines<S>& a) {
  by_epilogue<kSmooth>(a.epilogue, [&](const auto& behind) EVENKEEL_WORD_LAMBDA {
    map_lines_of(a, behind, [](Index) EVENKEEL_WORD_LAMBDA { return NoDy(); });
  });
}
template <typename S>
void map_lines_with_options(const MapLines<S>& a) {
  map_lines_behind<false>(a);
}
template <typename S>
void map_smooth_lines(const MapLines<S>& a) {
  map_lines_behind<true>(a);
}

/// A row of columns with a gamma and a beta of its own.
template <typename S, typename Behind>
EVENKEEL_CALL void map_row_with_params(const MapColumns<S>& a, Index row, const Behind& what) {
  using C = ComputeOf<S>;
  using V = Vec<C>;
  const Index at = row * a.stride;
  const V gamma = all(a.gamma == nullptr ? C(1) : C(a.gamma[row] + a.gamma_offset)),
          beta = all(a.beta == nullptr ? C(0) : C(a.beta[row]));
  const S *x = a.x + at, *dy = a.dy == nullptr ? nullptr : a.dy + at,
          *plus = a.plus == nullptr ? nullptr : a.plus + at;
  const C *c0 = a.c[0], *c1 = a.c[1], *c2 = a.c[2], *c3 = a.c[3];
  const bool has_gamma = a.gamma != nullptr;
  const Behind behind = what;  // which no store changes
  write_line(
      a.out + at, a.lanes, a.stream,
      [&](Index l, const auto&... lanes) EVENKEEL_WORD_LAMBDA {
        V v = fma(as_computed(V(load(x + l, lanes...) - load(c0 + l, lanes...))), load(c1 + l, lanes...),
                  load(c2 + l, lanes...));
        if (dy == nullptr) return behind(at + l, has_gamma ? fma(v, gamma, beta) : v, lanes...);
        const V of_dy = load(dy + l, lanes...);
        v = fma(has_gamma ? V(of_dy * gamma) : of_dy, load(c3 + l, lanes...), v);
        return plus == nullptr ? v : V(v + load(plus + l, lanes...));
      },
      [](Index) {});
}

/// map_columns, or map_gradients_of_columns where there is a dy, with a gamma and a beta for each row.
template <typename S, typename Behind>
EVENKEEL_WORD void map_rows_with_params(const MapColumns<S>& a, const Behind& behind) {
  for (Index row = 0; row < a.rows; ++row) map_row_with_params(a, row, behind);
}
template <typename S>
void map_columns_by_row(const MapColumns<S>& a) {
  map_rows_with_params(a, NoEpilogue());
}
/// The same with all options.
template <bool kSmooth, typename S>
EVENKEEL_WORD void map_columns_behind(const MapColumns<S>& a) {
  if (a.dy != nullptr) return map_rows_with_params(a, NoEpilogue());
  by_epilogue<kSmooth>(a.epilogue, [&](const auto& behind) EVENKEEL_WORD_LAMBDA {
    if (a.gamma == nullptr) return map_columns_of(a, behind, NoDy());
    map_rows_with_params(a, behind);
  });
}
template <typename S>
void map_columns_with_options(const MapColumns<S>& a) {
  map_columns_behind<false>(a);
}
template <typename S>
void map_smooth_columns(const MapColumns<S>& a) {
  map_columns_behind<true>(a);
}

/// A value as it is when it was stored and loaded: so dz counts the same where it is kept and where it is not.
template <typename S>
EVENKEEL_WORD Vec<ComputeOf<S>> as_stored(const Vec<ComputeOf<S>>& v) {
  if constexpr (std::is_same_v<S, ComputeOf<S>>) {
    return v;
  } else {
    S stored[kLanes<ComputeOf<S>>];
    store(stored, v);
    return load(stored);
  }
}

/// dy of lines, or of columns, by FusedDy.
template <typename S, typename Behind>
struct FusedDyOfLine {
  Behind behind;
  Vec<ComputeOf<S>> scale, shift;
  S* dz;

  template <typename V, typename... Lanes>
  EVENKEEL_WORD V operator()(Index i, Index, const V& d, const Lanes&... lanes) const {
    const V v = as_stored<S>(behind(i, fma(as_computed(d), scale, shift), lanes...));
    if (dz != nullptr) store(dz + i, v, lanes...);
    return v;
  }
};
template <typename S, typename Behind>
struct FusedDyOfLanes {
  Behind behind;
  const ComputeOf<S>* scale;
  const ComputeOf<S>* shift;
  S* dz;

  template <typename V, typename... Lanes>
  EVENKEEL_WORD V operator()(Index i, Index lane, const V& d, const Lanes&... lanes) const {
    const V z = fma(as_computed(d), load(scale + lane, lanes...), load(shift + lane, lanes...));
    const V v = as_stored<S>(behind(i, z, lanes...));
    if (dz != nullptr) store(dz + i, v, lanes...);
    return v;
  }
};

/// Calls f(of_dy), where of_dy(k) gives the dy of cell k.
template <bool kSmooth, typename S, typename F>
EVENKEEL_WORD void by_fused_line(const FusedDy<S>& a, const F& f) {
  using C = ComputeOf<S>;
  by_gradient<kSmooth>(a.epilogue, [&](const auto& behind) EVENKEEL_WORD_LAMBDA {
    using Behind = std::decay_t<decltype(behind)>;
    f([&](Index k) EVENKEEL_WORD_LAMBDA {
      return FusedDyOfLine<S, Behind>{behind, all(C(a.scale[k])), all(C(a.shift[k])), a.dz};
    });
  });
}
/// Calls f(what gives dy).
template <bool kSmooth, typename S, typename F>
EVENKEEL_WORD void by_fused_lanes(const FusedDy<S>& a, const F& f) {
  by_gradient<kSmooth>(a.epilogue, [&](const auto& behind) EVENKEEL_WORD_LAMBDA {
    f(FusedDyOfLanes<S, std::decay_t<decltype(behind)>>{behind, a.scale, a.shift, a.dz});
  });
}

template <bool kSmooth, typename S>
EVENKEEL_WORD void sum_fused_lines_of(const SumLines<S>& a) {
  using W = Wide<ComputeOf<S>>;
  by_fused_line<kSmooth>(a.fused, [&](const auto& of_dy) EVENKEEL_WORD_LAMBDA {
    if (are_short_lines(a)) return sum_short_lines<Terms::gradients>(a, of_dy);
    sum_cells(a, [&](Index k, Index from, Index n, W& first, W& second) EVENKEEL_WORD_LAMBDA {
      sum_line<Terms::gradients>(a.x, from, n, a.center[k], of_dy(k), first, second);
    });
  });
}
template <typename S>
void sum_fused_lines(const SumLines<S>& a) {
  sum_fused_lines_of<false>(a);
}
template <typename S>
void sum_smooth_lines(const SumLines<S>& a) {
  sum_fused_lines_of<true>(a);
}
template <typename S>
void map_fused_gradients_of_lines(const MapLines<S>& a) {
  by_fused_line<false>(a.fused,
                       [&](const auto& of_dy) EVENKEEL_WORD_LAMBDA { map_lines_of(a, NoEpilogue(), of_dy); });
}
template <bool kSmooth, typename S>
EVENKEEL_WORD void sum_fused_columns_of(const SumColumns<S>& a) {
  by_fused_lanes<kSmooth>(
      a.fused, [&](const auto& of_dy) EVENKEEL_WORD_LAMBDA { sum_columns_of<Terms::gradients>(a, of_dy); });
}
template <typename S>
void sum_fused_columns(const SumColumns<S>& a) {
  sum_fused_columns_of<false>(a);
}
template <typename S>
void sum_smooth_columns(const SumColumns<S>& a) {
  sum_fused_columns_of<true>(a);
}
template <typename S>
void map_fused_gradients_of_columns(const MapColumns<S>& a) {
  by_fused_lanes<false>(
      a.fused, [&](const auto& of_dy) EVENKEEL_WORD_LAMBDA { map_columns_of(a, NoEpilogue(), of_dy); });
}
