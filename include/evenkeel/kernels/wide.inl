// Passes in the statistic type with scaled values, for sets whose squares leave the range of the compute type (after
// Blue 1978, whose accumulators for large and small numbers are scaled by constants). Included beside words.inl.

/// scale v, limited to the largest number if v is finite, so that a weight of 0 makes it 0.
template <typename C>
EVENKEEL_WORD Wide<C> scaled(const Vec<C>& v, const Wide<C>& scale) {
  constexpr auto most = (std::numeric_limits<StatisticOf<C>>::max)();
  const Wide<C> bounded = clamp(Wide<C>(widen(v) * scale), wide_all<C>(-most), wide_all<C>(most));
  return bounded + widen(Vec<C>(v - v));
}

/// One of each lane from l on, or the same in all.
template <typename C>
EVENKEEL_WORD Wide<C> of_lanes(const StatisticOf<C>* values, Index step, Index l, Index n) {
  return step == 0 ? wide_all<C>(*values) : load_wide<C>(values + l, n);
}

/// A sum that keeps what each addition rounds off (Neumaier 1974).
template <typename W>
class CompensatedSum {
 public:
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

template <typename S>
void sum_wide(const SumWide<S>& a) {
  using C = ComputeOf<S>;
  using V = Vec<C>;
  using W = Wide<C>;
  constexpr Index L = kLanes<C>;
  CompensatedSum<W> first_total(wide_all<C>(0)), second_total(wide_all<C>(0));
  for (Index l = 0; l < a.lines.length; l += L) {
    const Index n = a.lines.length - l < L ? a.lines.length - l : L;
    const auto lanes = first_lanes<C>(n);
    const W center = of_lanes<C>(a.center, a.step, l, n), x_scale = of_lanes<C>(a.x_scale, a.step, l, n);
    const W dy_scale = a.dy == nullptr ? x_scale : of_lanes<C>(a.dy_scale, a.step, l, n);
    CompensatedSum<W> first(wide_all<C>(0)), second(wide_all<C>(0));
    for (Index outer = 0, line = 0; outer < a.lines.outer; ++outer) {
      for (Index inner = 0; inner < a.lines.inner; ++inner, ++line) {
        const Index at = outer * a.lines.outer_stride + inner * a.lines.inner_stride + l;
        V x = load(a.x + at, lanes), counts = keep(all(C(1)), lanes);
        if (a.mask != nullptr) {
          const V mask = load(a.mask + at, lanes);
          counts = where_positive(mask, counts, all(C(0)));
          x = where_positive(mask, x, all(C(0)));
        }
        const W d = W(as_computed(W(W(widen(x) * x_scale) - center)) * widen(counts));
        if (a.dy == nullptr) {
          first.add(d);
          second.add(W(d * d));
          continue;
        }
        V upstream = load(a.dy + at, lanes);
        if (a.mask != nullptr) upstream = where_positive(counts, upstream, all(C(0)));
        W dy = scaled<C>(upstream, dy_scale);
        if (a.line_weights != nullptr) dy = W(dy * widen(all(C(a.line_weights[line]))));
        if (a.lane_weights != nullptr) dy = W(dy * widen(load(a.lane_weights + l, lanes)));
        first.add(dy);
        second.add(W(dy * d));
      }
    }
    if (a.step == 0) {
      first_total.add(first.value());
      second_total.add(second.value());
    } else {
      store_wide<C>(a.first + l, first.value());
      store_wide<C>(a.second + l, second.value());
    }
  }
  if (a.step == 0) {
    *a.first = total<C>(first_total.value());
    *a.second = total<C>(second_total.value());
  }
}

template <typename S>
void map_wide(const MapWide<S>& a) {
  using C = ComputeOf<S>;
  using V = Vec<C>;
  using W = Wide<C>;
  constexpr Index L = kLanes<C>;
  for (Index l = 0; l < a.lines.length; l += L) {
    const Index n = a.lines.length - l < L ? a.lines.length - l : L;
    const auto lanes = first_lanes<C>(n);
    const auto of = [&](const StatisticOf<C>* values)
                        EVENKEEL_WORD_LAMBDA { return of_lanes<C>(values, a.step, l, n); };
    const W c0 = of(a.c[0]), c1 = of(a.c[1]), c2 = of(a.c[2]), x_scale = of(a.x_scale);
    const W c3 = a.dy == nullptr ? c2 : of(a.c[3]), dy_scale = a.dy == nullptr ? c2 : of(a.dy_scale);
    const W result = a.dy == nullptr ? c2 : of(a.result);
    for (Index outer = 0, line = 0; outer < a.lines.outer; ++outer) {
      for (Index inner = 0; inner < a.lines.inner; ++inner, ++line) {
        const Index at = outer * a.lines.outer_stride + inner * a.lines.inner_stride + l;
        W gamma = wide_all<C>(1), beta = wide_all<C>(0);
        if (a.line_gamma != nullptr) gamma = widen(all(C(a.line_gamma[line])));
        if (a.lane_gamma != nullptr) gamma = widen(load(a.lane_gamma + l, lanes));
        if (a.line_beta != nullptr) beta = widen(all(C(a.line_beta[line])));
        if (a.lane_beta != nullptr) beta = widen(load(a.lane_beta + l, lanes));
        W v = fma(as_computed(W(W(widen(load(a.x + at, lanes)) * x_scale) - c0)), c1, c2);
        if (a.dy == nullptr) {
          v = fma(v, gamma, beta);
        } else {
          v = fma(W(scaled<C>(load(a.dy + at, lanes), dy_scale) * gamma), c3, v);
          v = W(W(v * result) * result);
        }
        V out = narrow<C>(v);
        if (a.epilogue.residual != nullptr) out = V(out + load(a.epilogue.residual + at, lanes));
        store(a.out + at, activated(out, a.epilogue.activation), lanes);
      }
    }
  }
}
