// Each word, from memory to memory, for the instruction set that words_test.cpp includes this for.

template <typename S>
struct Words {
  using C = ComputeOf<S>;
  using T = StatisticOf<S>;
  static constexpr Index kCount = kLanes<C>;

  static void of_one(const C& value, C* out) { store(out, all(value)); }
  static void of_one_wide(const T& value, T* out) { store_wide<C>(out, wide_all<C>(value)); }
  static void copy(const S* in, S* out) { store(out, load(in)); }
  static void loaded(const S* in, C* out) { store(out, load(in)); }
  static void loaded(const S* in, Index n, C* out) { store(out, load(in, first_lanes<C>(n))); }
  static void stored(const C* in, Index n, S* out) { store(out, load(in), first_lanes<C>(n)); }
  static void stored_two(const C* in, S* out) { store_two(out, load(in), load(in + kCount)); }
  static void streamed_two(const C* in, S* out) { stream_two(out, load(in), load(in + kCount)); }
  static void kept(const C* in, Index n, C* out) { store(out, keep(load(in), first_lanes<C>(n))); }
  static void fused(const C* a, const C* b, const C* c, C* out) { store(out, Vec<C>(fma(load(a), load(b), load(c)))); }
  static void fused_wide(const T* a, const T* b, const T* c, T* out) {
    store_wide<C>(out, Wide<C>(fma(load_wide<C>(a), load_wide<C>(b), load_wide<C>(c))));
  }
  static void clamped(const C* v, const C& low, const C& high, C* out) { store(out, Vec<C>(clamp(load(v), all(low), all(high)))); }
  static void clamped_wide(const T* v, const T& low, const T& high, T* out) {
    store_wide<C>(out, Wide<C>(clamp(load_wide<C>(v), wide_all<C>(low), wide_all<C>(high))));
  }
  static void larger_of(const C* a, const C* b, C* out) { store(out, Vec<C>(larger(load(a), load(b)))); }
  static void smaller_of(const C* a, const C* b, C* out) { store(out, Vec<C>(smaller(load(a), load(b)))); }
  static void chosen(const C* sign, const C* v, const C* other, C* out) {
    store(out, Vec<C>(where_positive(load(sign), load(v), load(other))));
  }
  static void widened(const C* in, T* out) { store_wide<C>(out, Wide<C>(widen(load(in)))); }
  static void loaded_widened(const C* in, T* out) { store_wide<C>(out, Wide<C>(load_widened(in))); }
  static void loaded_widened(const C* in, Index n, T* out) {
    store_wide<C>(out, Wide<C>(load_widened(in, first_lanes<C>(n))));
  }
  static void narrowed(const T* in, C* out) { store(out, Vec<C>(narrow<C>(load_wide<C>(in)))); }
  static void wide_part(const T* in, Index n, T* out) { store_wide<C>(out, load_wide<C>(in, n)); }
  static void to_wide_part(const T* in, Index n, T* out) { store_wide<C>(out, load_wide<C>(in), n); }
  static void wide_arithmetic(const T* a, const T* b, T* sum, T* difference, T* product, T* quotient, T* negative) {
    const Wide<C> v = load_wide<C>(a), w = load_wide<C>(b);
    store_wide<C>(sum, Wide<C>(as_computed(Wide<C>(v + w))));
    store_wide<C>(difference, Wide<C>(as_computed(Wide<C>(v - w))));
    store_wide<C>(product, Wide<C>(as_computed(Wide<C>(v * w))));
    store_wide<C>(quotient, Wide<C>(as_computed(Wide<C>(v / w))));
    store_wide<C>(negative, Wide<C>(-v));
  }
  static T total_of(const T* in) { return total<C>(load_wide<C>(in)); }
  /// in: as many vectors as one has lanes.
  static void totals_of(const C* in, C* out) {
    Vec<C> rows[at_least_one()];
    for (Index i = 0; i < kCount; ++i) rows[i] = load(in + i * kCount);
    store(out, Vec<C>(transposed_totals(rows)));
  }
  static void total_of_row(const C* in, C* out) { store(out, Vec<C>(transposed_total(load(in)))); }
  static void inverse_roots(const T* in, T* out) { store_wide<C>(out, Wide<C>(over_root(wide_all<C>(1), load_wide<C>(in)))); }
  static void magnitudes(const T* in, T* out) { store_wide<C>(out, Wide<C>(magnitude(load_wide<C>(in)))); }
  static void not_negatives(const T* in, T* out) { store_wide<C>(out, Wide<C>(not_negative(load_wide<C>(in)))); }
  static void unless_zeros(const T* other, const T* in, T* out) {
    store_wide<C>(out, Wide<C>(unless_zero(load_wide<C>(other), load_wide<C>(in))));
  }
  static unsigned bits_outside(const T* in, double low, double high) { return outside(load_wide<C>(in), low, high); }
  static unsigned bits_zero(const T* in) { return zeros(load_wide<C>(in)); }
  static unsigned bits_less(const T* a, const T* b) { return less(load_wide<C>(a), load_wide<C>(b)); }
  static bool any_outside(const C* a, const C* b, double low, double high) {
    return any(sizes_outside(load(a), load(b), low, high));
  }
  static bool any_beyond(const C* in, double high) { return any(beyond(load(in), high)); }
  static bool any_infinite(const C* in) { return any(infinite(load(in))); }

 private:
  static constexpr int at_least_one() { return static_cast<int>(kCount); }
};
