// SPDX-License-Identifier: MIT
//
// Passes in the statistic type with scaled values, for sets whose squares leave the range of the compute type (after
// Blue 1978, whose accumulators for large and small numbers are scaled by constants). Included beside words.inl.

/// scale v, limited to the largest number if v is finite, so that a weight of 0 makes it 0.
template <typename C>
EVENKEEL_WORD Wide<C> scaled(const Wide<C>& v, const Wide<C>& scale) {
  if constexpr (kHasRoom<C>) {
    return v;
  } else {
    constexpr auto most = (std::numeric_limits<C>::max)();
    const Wide<C> bounded = clamp(Wide<C>(v * scale), wide_all<C>(-most), wide_all<C>(most));
    return Wide<C>(bounded + Wide<C>(v - v));
  }
}
/// x scale - center.
template <typename C>
EVENKEEL_WORD Wide<C> centred(const Wide<C>& x, const Wide<C>& scale, const Wide<C>& center) {
  if constexpr (kHasRoom<C>) {
    return as_computed(Wide<C>(x - center));
  } else {
    return as_computed(Wide<C>(Wide<C>(x * scale) - center));
  }
}

/// Those of a vector of lanes from k on, or number k of all or of lines.
template <typename C>
EVENKEEL_WORD Wide<C> shared(const StatisticOf<C>* values, WideShare share, Index k) {
  return share == WideShare::lanes ? load_wide<C>(values + k) : wide_all<C>(values[k]);
}

/// A sum that keeps what each addition rounds off (Neumaier 1974).
template <typename W>
class CompensatedSum {
 public:
  CompensatedSum() = default;
  EVENKEEL_WORD explicit CompensatedSum(const W& zero) : sum_(zero), rest_(zero) {}
  EVENKEEL_WORD void add(const W& term) {
    W high, low;
    two_sum(sum_, term, high, low);
    sum_ = high;
    rest_ = W(rest_ + low);
  }
  EVENKEEL_WORD W value() const { return W(sum_ + rest_); }

 private:
  W sum_, rest_;
};

/// For elements that share: begin(k), then add(line, lane, offset, mask) for each of their vectors, then end(k). k is the
/// first lane, the line, or 0. Whole vectors have no mask.
template <typename C, typename Begin, typename Add, typename End>
EVENKEEL_WORD void for_each_wide(const Lines& lines, WideShare share, const Begin& begin, const Add& add,
                                 const End& end) {
  constexpr Index L = kLanes<C>;
  const bool of_lanes = share == WideShare::lanes, of_lines = share == WideShare::lines;
  const Index next_line = of_lanes ? 1 : 0, next_lane = of_lanes ? 0 : L;
  const auto add_all = [&](Index count, Index line, Index l, Index at, Index stride, const auto&... lanes)
                           EVENKEEL_WORD_LAMBDA {
                             for (; count > 0; --count, line += next_line, l += next_lane, at += stride)
                               add(line, l, at, lanes...);
                           };
  const Index next = of_lanes ? L : 1, stop = of_lanes ? lines.length : of_lines ? lines.inner : 1;
  for (Index k = 0; k < stop; k += next) {
    const Index from = of_lanes ? k : 0, left = lines.length - from, n = of_lanes && left > L ? L : left;
    const Index whole = whole_vectors<C>(n);
    const auto rest = first_lanes<C>(n - whole);
    begin(k);
    Index line = of_lines ? k : 0;
    for (Index outer = 0; outer < lines.outer; ++outer) {
      // Neighbours of a line, or what lies above each other in all of them.
      const Index repeats = share == WideShare::all ? lines.inner : 1;
      Index at = outer * lines.outer_stride + from + (of_lines ? k * lines.inner_stride : 0);
      for (Index inner = 0; inner < repeats; ++inner, at += lines.inner_stride) {
        const Index stride = of_lanes ? lines.inner_stride : L, above = of_lanes ? lines.inner : 1;
        add_all(of_lanes ? (whole == L ? above : 0) : whole / L, line, from, at, stride);
        if (whole < n) add_all(above, line, from + whole, at + whole, stride, rest);
        line += above;
      }
    }
    end(k);
  }
}

template <typename S>
void sum_wide(const SumWide<S>& args) {
  const SumWide<S> a = args;  // which no store changes
  using C = ComputeOf<S>;
  using V = Vec<C>;
  using W = Wide<C>;
  constexpr int kShort = 64;  // terms of a sum without compensation
  const W zero = wide_all<C>(0);
  W first = zero, second = zero, center = zero, x_scale = zero, dy_scale = zero;
  CompensatedSum<W> first_total(zero), second_total(zero);
  int terms = 0;
  const auto join = [&]() EVENKEEL_WORD_LAMBDA {
    first_total.add(first);
    second_total.add(second);
    first = second = zero;
    terms = 0;
  };
  for_each_wide<C>(
      a.lines, a.share,
      [&](Index k) EVENKEEL_WORD_LAMBDA {
        center = shared<C>(a.center, a.share, k);
        if (kHasRoom<C>) return;
        x_scale = shared<C>(a.x_scale, a.share, k);
        if (a.dy != nullptr) dy_scale = shared<C>(a.dy_scale, a.share, k);
      },
      [&](Index line, Index l, Index at, const auto&... lanes) EVENKEEL_WORD_LAMBDA {
        W x = load_widened(a.x + at, lanes...);
        V counts = keep(all(C(1)), lanes...);
        if (a.mask != nullptr) {
          counts = where_positive(load(a.mask + at, lanes...), counts, all(C(0)));
          x = widen(where_positive(counts, load(a.x + at, lanes...), all(C(0))));
        }
        W d = centred<C>(x, x_scale, center);
        if (sizeof...(lanes) > 0 || a.mask != nullptr) d = W(d * widen(counts));
        W term = d;
        if (a.dy != nullptr) {
          term = load_widened(a.dy + at, lanes...);
          if (a.mask != nullptr) term = widen(where_positive(counts, load(a.dy + at, lanes...), all(C(0))));
          term = scaled<C>(term, dy_scale);
          const V offset = all(C(a.gamma_offset));
          if (a.line_weights != nullptr) term = W(term * widen(V(all(C(a.line_weights[line])) + offset)));
          if (a.lane_weights != nullptr)
            term = W(term * widen(V(load(a.lane_weights + l, lanes...) + offset)));
        }
        first = W(first + term);
        second = fma(term, d, second);
        if (!kHasRoom<C> && ++terms == kShort) join();
      },
      [&](Index k) EVENKEEL_WORD_LAMBDA {
        join();
        if (a.share == WideShare::lanes) {
          store_wide<C>(a.first + k, first_total.value());
          store_wide<C>(a.second + k, second_total.value());
        } else {
          a.first[k] = total<C>(first_total.value());
          a.second[k] = total<C>(second_total.value());
        }
        first_total = second_total = CompensatedSum<W>(zero);
      });
}

/// gamma of a line or of lanes.
template <typename S, typename... Lanes>
EVENKEEL_WORD Wide<ComputeOf<S>> gamma_of(const MapWide<S>& a, Index line, Index l, const Lanes&... lanes) {
  using C = ComputeOf<S>;
  const Vec<C> offset = all(C(a.gamma_offset));
  if (a.lane_gamma != nullptr) return widen(Vec<C>(load(a.lane_gamma + l, lanes...) + offset));
  return a.line_gamma != nullptr ? widen(Vec<C>(all(C(a.line_gamma[line])) + offset)) : wide_all<C>(1);
}

template <typename S>
void map_wide(const MapWide<S>& args) {
  using C = ComputeOf<S>;
  using V = Vec<C>;
  using W = Wide<C>;
  const MapWide<S> a = args;  // which no store changes
  const W zero = wide_all<C>(0);
  const bool has_params =
      a.lane_gamma != nullptr || a.line_gamma != nullptr || a.lane_beta != nullptr || a.line_beta != nullptr;
  W c0 = zero, c1 = zero, c2 = zero, x_scale = zero;
  for_each_wide<C>(
      a.lines, a.share,
      [&](Index k) EVENKEEL_WORD_LAMBDA {
        c0 = shared<C>(a.c[0], a.share, k);
        c1 = shared<C>(a.c[1], a.share, k);
        c2 = shared<C>(a.c[2], a.share, k);
        if (!kHasRoom<C>) x_scale = shared<C>(a.x_scale, a.share, k);
      },
      [&](Index line, Index l, Index at, const auto&... lanes) EVENKEEL_WORD_LAMBDA {
        W v = fma(centred<C>(load_widened(a.x + at, lanes...), x_scale, c0), c1, c2);
        if (has_params) {
          W beta = zero;
          if (a.line_beta != nullptr) beta = widen(all(C(a.line_beta[line])));
          if (a.lane_beta != nullptr) beta = load_widened(a.lane_beta + l, lanes...);
          v = fma(v, gamma_of(a, line, l, lanes...), beta);
        }
        V out = narrow<C>(v);
        if (a.apply_epilogue != nullptr) {
          C values[kLanes<C>];
          store(values, out);
          const Index n = count_of<C>(lanes...);
          a.apply_epilogue(EpilogueOfValues<S>{a.epilogue, at, n, values});
          out = load(values);
        }
        store(a.out + at, out, lanes...);
      },
      [](Index) {});
}

template <typename S>
void map_gradients_wide(const MapWide<S>& args) {
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;
  using W = Wide<C>;
  const MapWide<S> a = args;  // which no store changes
  const W zero = wide_all<C>(0);
  const bool adds = a.grad_gamma != nullptr;
  W c0 = zero, c1 = zero, c2 = zero, c3 = zero, x_scale = zero, dy_scale = zero, result = zero, slope = zero,
    level = zero;
  for_each_wide<C>(
      a.lines, a.share,
      [&](Index k) EVENKEEL_WORD_LAMBDA {
        const auto of = [&](const T* values) EVENKEEL_WORD_LAMBDA { return shared<C>(values, a.share, k); };
        c0 = of(a.c[0]);
        c1 = of(a.c[1]);
        c2 = of(a.c[2]);
        c3 = of(a.c[3]);
        if (!kHasRoom<C>) {
          x_scale = of(a.x_scale);
          dy_scale = of(a.dy_scale);
          result = of(a.result);
        }
        if (!adds) return;
        slope = of(a.xhat[0]);
        level = of(a.xhat[1]);
      },
      [&](Index line, Index l, Index at, const auto&... lanes) EVENKEEL_WORD_LAMBDA {
        const W d = centred<C>(load_widened(a.x + at, lanes...), x_scale, c0);
        const W dy = load_widened(a.dy + at, lanes...);
        W v = fma(W(scaled<C>(dy, dy_scale) * gamma_of(a, line, l, lanes...)), c3, fma(d, c1, c2));
        if (!kHasRoom<C>) v = W(W(v * result) * result);
        if (adds) {
          const W of_gamma = W(dy * fma(d, slope, level));
          if (a.share != WideShare::lanes) {
            const Index n = sizeof...(lanes) == 0 ? kLanes<C> : a.lines.length - l;
            store_wide<C>(a.grad_gamma + l, W(load_wide<C>(a.grad_gamma + l, n) + of_gamma), n);
            store_wide<C>(a.grad_beta + l, W(load_wide<C>(a.grad_beta + l, n) + dy), n);
          } else {
            a.grad_gamma[line] += total<C>(of_gamma);
            a.grad_beta[line] += total<C>(dy);
          }
        }
        Vec<C> out = narrow<C>(v);
        if (a.plus != nullptr) out = Vec<C>(out + load(a.plus + at, lanes...));
        store(a.out + at, out, lanes...);
      },
      [](Index) {});
}

template <typename S>
void infer_wide_lanes(const InferWide<S>& a) {
  using C = ComputeOf<S>;
  constexpr Index L = kLanes<C>;
  for (Index l = 0; l < a.n; l += L) {
    const Index n = a.n - l < L ? a.n - l : L, term = a.is_shared ? 0 : l;
    const auto lanes = first_lanes<C>(n);
    const Wide<C> d =
        centred<C>(load_widened(a.x + l, lanes), wide_all<C>(a.x_scale), load_wide<C>(a.center + term));
    Vec<C> out = narrow<C>(fma(d, load_wide<C>(a.slope + term), load_wide<C>(a.level + term)));
    if (a.apply_epilogue != nullptr) {
      C values[L];
      store(values, out);
      a.apply_epilogue(EpilogueOfValues<S>{a.epilogue, a.at + l, n, values});
      out = load(values);
    }
    store(a.out + l, out, lanes);
  }
}
