// SPDX-License-Identifier: MIT
//
// The words that kernels are written in, for registers of EVENKEEL_REGISTER bytes; 0: one element at a time, any type.
// instruction_sets.hpp includes this text once for each instruction set, in its target region and its namespace.
//
//   Vec<C>   kLanes<C> values of the compute type C
//   Wide<C>  as many of its statistic type
//   Mask<C>  the first n lanes; a masked load gives 0 in the others
//
// A product is never added by an operator: fma() says where to fuse, so that no compiler decides.

#if EVENKEEL_REGISTER == 0

template <typename C>
inline constexpr Index kLanes = 1;
template <typename C>
using Vec = C;
template <typename C>
using Wide = StatisticOf<C>;
template <typename C>
struct Mask {
  bool one;
};

template <typename C>
EVENKEEL_WORD Mask<C> first_lanes(Index n) {
  return {n > 0};
}
/// How many lanes a mask has; all without one.
template <typename C>
EVENKEEL_WORD Index count_of(Mask<C> m) {
  return m.one ? 1 : 0;
}
template <typename C>
EVENKEEL_WORD Index count_of() {
  return 1;
}
template <typename C>
EVENKEEL_WORD C all(const C& value) {
  return value;
}
template <typename C>
EVENKEEL_WORD Wide<C> wide_all(const Wide<C>& value) {
  return value;
}
/// A constant in all lanes, with the digits of long double where the type has them.
template <typename V>
EVENKEEL_WORD V number(long double value) {
  if constexpr (std::is_floating_point_v<V>) {
    return static_cast<V>(value);
  } else {
    return from_double<V>(static_cast<double>(value));
  }
}
template <typename S>
EVENKEEL_WORD ComputeOf<S> load(const S* p) {
  return value_at(p);
}
template <typename S>
EVENKEEL_WORD ComputeOf<S> load(const S* p, Mask<ComputeOf<S>> m) {
  return m.one ? value_at(p) : ComputeOf<S>(0);
}
template <typename S>
EVENKEEL_WORD void store(S* p, const ComputeOf<S>& v) {
  put_value(p, v);
}
template <typename S>
EVENKEEL_WORD void store(S* p, const ComputeOf<S>& v, Mask<ComputeOf<S>> m) {
  if (m.one) put_value(p, v);
}
template <typename S>
EVENKEEL_WORD void stream(S* p, const ComputeOf<S>& v) {
  put_value(p, v);
}
template <typename C>
EVENKEEL_WORD C keep(const C& v, Mask<C> m) {
  return m.one ? v : C(0);
}
template <typename C>
EVENKEEL_WORD C keep(const C& v) {
  return v;
}
template <typename C>
EVENKEEL_WORD C fma(const C& a, const C& b, const C& c) {
  return C(as_computed(C(a * b)) + c);
}
template <typename C>
EVENKEEL_WORD C clamp(const C& v, const C& low, const C& high) {
  return v < low ? low : high < v ? high : v;
}
/// b where it is NaN, and where both are zeros.
template <typename C>
EVENKEEL_WORD C larger(const C& a, const C& b) {
  return b < a && !is_nan(b) ? a : b;
}
template <typename C>
EVENKEEL_WORD C smaller(const C& a, const C& b) {
  return a < b && !is_nan(b) ? a : b;
}
/// v without the lower half of its digits, so that a square is exact; of what is no double all of them.
template <typename C>
EVENKEEL_WORD C top_digits(const C& v) {
  if constexpr (std::is_same_v<C, double>) {
    const std::uint64_t bits = bits_of(v) & ~std::uint64_t{0x7ffffff};
    double top;
    std::memcpy(&top, &bits, sizeof top);
    return top;
  } else {
    return v;
  }
}
/// v where low < z < high, else 0.
template <typename C>
EVENKEEL_WORD C where_between(const C& z, const C& low, const C& high, const C& v) {
  return low < z && z < high ? v : C(0);
}
/// v where sign is positive, else other.
template <typename C>
EVENKEEL_WORD C where_positive(const C& sign, const C& v, const C& other) {
  return C(0) < sign ? v : other;
}
template <typename C>
EVENKEEL_WORD Wide<C> widen(const C& v) {
  return Wide<C>(v);
}
template <typename S>
EVENKEEL_WORD Wide<ComputeOf<S>> load_widened(const S* p) {
  return Wide<ComputeOf<S>>(load(p));
}
template <typename S>
EVENKEEL_WORD Wide<ComputeOf<S>> load_widened(const S* p, Mask<ComputeOf<S>> m) {
  return Wide<ComputeOf<S>>(load(p, m));
}
template <typename C>
EVENKEEL_WORD C narrow(const StatisticOf<C>& w) {
  return static_cast<C>(w);
}
template <typename C>
EVENKEEL_WORD Wide<C> load_wide(const StatisticOf<C>* p, Index = 1) {
  return *p;
}
template <typename C>
EVENKEEL_WORD void store_wide(StatisticOf<C>* p, const StatisticOf<C>& w, Index = 1) {
  *p = w;
}
template <typename C>
EVENKEEL_WORD StatisticOf<C> total(const StatisticOf<C>& w) {
  return w;
}
template <typename C>
EVENKEEL_WORD C transposed_totals(const C* rows) {
  return rows[0];
}
template <typename C>
EVENKEEL_WORD C transposed_total(const C& row) {
  return row;
}
/// b / sqrt(a)
template <typename W>
EVENKEEL_WORD W over_root(const W& b, const W& a) {
  using std::sqrt;
  return W(b / W(sqrt(a)));
}
template <typename W>
EVENKEEL_WORD W magnitude(const W& a) {
  if constexpr (std::is_floating_point_v<W>) {
    return std::fabs(a);
  } else {
    return a < W(0) ? W(-a) : a;
  }
}
/// value, or 0 where `other` is 0.
template <typename W>
EVENKEEL_WORD W unless_zero(const W& other, const W& value) {
  return is_zero(other) ? W(0) : value;
}
/// value where a is b, else 0.
template <typename C>
EVENKEEL_WORD C where_equal(const C& a, const C& b, const C& value) {
  return a == b ? value : C(0);
}
/// a, or 1 where it is 0, so that one may divide by it.
template <typename W>
EVENKEEL_WORD W not_zero(const W& a) {
  return is_zero(a) ? W(1) : a;
}
/// A bit for each lane that does not lie between low and high, which are positive; NaN does not.
template <typename W>
EVENKEEL_WORD unsigned outside(const W& a, double low, double high) {
  return is_between(a, low, high) ? 0 : 1;
}
template <typename W>
EVENKEEL_WORD unsigned zeros(const W& a) {
  return is_zero(a) ? 1 : 0;
}
/// A bit for each lane where a < b.
template <typename W>
EVENKEEL_WORD unsigned less(const W& a, const W& b) {
  return a < b ? 1 : 0;
}
/// Set where |a| + |b| is neither 0 nor between low and high.
template <typename C>
using Flags = bool;
template <typename C>
EVENKEEL_WORD bool sizes_outside(const C& a, const C& b, double low, double high) {
  const double size = std::fabs(static_cast<double>(a)) + std::fabs(static_cast<double>(b));
  return !is_zero(size) && !is_between(size, low, high);
}
/// Set where |a| is not below high; NaN is not.
template <typename C>
EVENKEEL_WORD bool beyond(const C& a, double high) {
  const double size = std::fabs(static_cast<double>(a));
  return !is_between(size, 0, high) && !is_zero(size);
}
template <typename C>
EVENKEEL_WORD bool infinite(const C& a) {
  return std::fabs(static_cast<double>(a)) == std::numeric_limits<double>::infinity();
}
EVENKEEL_WORD bool any(bool flags) { return flags; }
/// What says whether a value is negative, not finite or maybe -0: look at all values, each with what was seen before.
template <typename C>
using SeenVariances = bool;
template <typename C>
EVENKEEL_WORD bool look_at_variance(bool seen, const C& a) {
  return seen || a < C(0) || !is_finite(a);
}
EVENKEEL_WORD bool saw_no_variance(bool seen) { return seen; }

#else

inline constexpr int kBytes = EVENKEEL_REGISTER;
typedef float F __attribute__((vector_size(kBytes)));
typedef double D __attribute__((vector_size(kBytes)));
typedef std::int32_t IntF __attribute__((vector_size(kBytes)));
typedef std::int64_t IntD __attribute__((vector_size(kBytes)));
typedef std::uint32_t BitsF __attribute__((vector_size(kBytes)));
typedef std::uint64_t BitsD __attribute__((vector_size(kBytes)));
typedef float InMemoryF __attribute__((vector_size(kBytes), aligned(4), may_alias));
typedef double InMemoryD __attribute__((vector_size(kBytes), aligned(8), may_alias));

/// The lanes of an F, as doubles. Sums in memory begin with wide_all, not with a copy: g++ stores a copy in halves, and
/// reading it whole then waits until all streamed stores are done.
struct FF {
  D low, high;
};

template <typename C>
struct Registers;
template <>
struct Registers<float> {
  using Vec = F;
  using Wide = FF;
  using Int = IntF;
};
template <>
struct Registers<double> {
  using Vec = D;
  using Wide = D;
  using Int = IntD;
};
template <typename C>
using Vec = typename Registers<C>::Vec;
template <typename C>
using Wide = typename Registers<C>::Wide;
template <typename C>
inline constexpr Index kLanes = kBytes / static_cast<int>(sizeof(C));

EVENKEEL_WORD FF operator+(const FF& a, const FF& b) { return {a.low + b.low, a.high + b.high}; }
EVENKEEL_WORD FF operator-(const FF& a, const FF& b) { return {a.low - b.low, a.high - b.high}; }
EVENKEEL_WORD FF operator-(const FF& a) { return {-a.low, -a.high}; }
EVENKEEL_WORD FF operator*(const FF& a, const FF& b) { return {a.low * b.low, a.high * b.high}; }
EVENKEEL_WORD FF operator/(const FF& a, const FF& b) { return {a.low / b.low, a.high / b.high}; }

/// One value in all lanes, spelled so that it becomes one instruction.
template <typename C>
EVENKEEL_WORD Vec<C> all(C x) {
#if EVENKEEL_REGISTER == 64
  if constexpr (sizeof(C) == 4) {
    return F{x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
  } else {
    return D{x, x, x, x, x, x, x, x};
  }
#elif EVENKEEL_REGISTER == 32
  if constexpr (sizeof(C) == 4) {
    return F{x, x, x, x, x, x, x, x};
  } else {
    return D{x, x, x, x};
  }
#else
  if constexpr (sizeof(C) == 4) {
    return F{x, x, x, x};
  } else {
    return D{x, x};
  }
#endif
}
template <typename C>
EVENKEEL_WORD Wide<C> wide_all(double x) {
  if constexpr (sizeof(C) == 4) {
    return FF{all(x), all(x)};
  } else {
    return all(x);
  }
}

/// A constant in all lanes.
template <typename V>
EVENKEEL_WORD V number(long double value) {
  if constexpr (std::is_same_v<V, F>) {
    return all(static_cast<float>(value));
  } else if constexpr (std::is_same_v<V, D>) {
    return all(static_cast<double>(value));
  } else {
    return wide_all<float>(static_cast<double>(value));
  }
}

EVENKEEL_WORD F load(const float* p) { return *reinterpret_cast<const InMemoryF*>(p); }
EVENKEEL_WORD D load(const double* p) { return *reinterpret_cast<const InMemoryD*>(p); }
EVENKEEL_WORD void store(float* p, F v) { *reinterpret_cast<InMemoryF*>(p) = v; }
EVENKEEL_WORD void store(double* p, D v) { *reinterpret_cast<InMemoryD*>(p) = v; }

// What an instruction set has of its own: masks, fused multiply-add, the larger and the smaller of two, roots, conversions,
// and stores past the caches.
// These are the compiler's builtins, since <immintrin.h> takes long to compile.

#if EVENKEEL_REGISTER == 64

typedef float HalfF __attribute__((vector_size(32)));
template <typename C>
struct Mask {
  unsigned bits;
  int n;
};
template <typename C>
EVENKEEL_WORD Mask<C> first_lanes(Index n) {
  return {(1u << static_cast<unsigned>(n)) - 1, static_cast<int>(n)};
}
EVENKEEL_WORD F load(const float* p, Mask<float> m) {
  return __builtin_ia32_loadups512_mask(p, F{}, static_cast<unsigned short>(m.bits));
}
EVENKEEL_WORD D load(const double* p, Mask<double> m) {
  return __builtin_ia32_loadupd512_mask(p, D{}, static_cast<unsigned char>(m.bits));
}
EVENKEEL_WORD void store(float* p, F v, Mask<float> m) {
  __builtin_ia32_storeups512_mask(p, v, static_cast<unsigned short>(m.bits));
}
EVENKEEL_WORD void store(double* p, D v, Mask<double> m) {
  __builtin_ia32_storeupd512_mask(p, v, static_cast<unsigned char>(m.bits));
}
EVENKEEL_WORD F fma(F a, F b, F c) {
  return __builtin_ia32_vfmaddps512_mask(a, b, c, static_cast<unsigned short>(-1), 4);
}
EVENKEEL_WORD D fma(D a, D b, D c) {
  return __builtin_ia32_vfmaddpd512_mask(a, b, c, static_cast<unsigned char>(-1), 4);
}
#ifdef __clang__
EVENKEEL_WORD F larger(F a, F b) { return __builtin_ia32_maxps512(a, b, 4); }
EVENKEEL_WORD D larger(D a, D b) { return __builtin_ia32_maxpd512(a, b, 4); }
EVENKEEL_WORD F smaller(F a, F b) { return __builtin_ia32_minps512(a, b, 4); }
EVENKEEL_WORD D smaller(D a, D b) { return __builtin_ia32_minpd512(a, b, 4); }
EVENKEEL_WORD D square_root(D a) { return __builtin_ia32_sqrtpd512(a, 4); }
EVENKEEL_WORD D wide_half(HalfF v) { return __builtin_convertvector(v, D); }
EVENKEEL_WORD HalfF narrow_half(D v) { return __builtin_convertvector(v, HalfF); }
#else
EVENKEEL_WORD F larger(F a, F b) { return __builtin_ia32_maxps512_mask(a, b, F{}, static_cast<short>(-1), 4); }
EVENKEEL_WORD D larger(D a, D b) { return __builtin_ia32_maxpd512_mask(a, b, D{}, static_cast<char>(-1), 4); }
EVENKEEL_WORD F smaller(F a, F b) { return __builtin_ia32_minps512_mask(a, b, F{}, static_cast<short>(-1), 4); }
EVENKEEL_WORD D smaller(D a, D b) { return __builtin_ia32_minpd512_mask(a, b, D{}, static_cast<char>(-1), 4); }
EVENKEEL_WORD D square_root(D a) { return __builtin_ia32_sqrtpd512_mask(a, a, static_cast<char>(-1), 4); }
EVENKEEL_WORD D wide_half(HalfF v) {
  return __builtin_ia32_cvtps2pd512_mask(v, D{}, static_cast<char>(-1), 4);
}
EVENKEEL_WORD HalfF narrow_half(D v) {
  return __builtin_ia32_cvtpd2ps512_mask(v, HalfF{}, static_cast<char>(-1), 4);
}
#endif
EVENKEEL_WORD HalfF low_half(F v) { return __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7); }
EVENKEEL_WORD HalfF high_half(F v) { return __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15); }
EVENKEEL_WORD F join(HalfF a, HalfF b) {
  return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

#elif EVENKEEL_REGISTER == 32

typedef float HalfF __attribute__((vector_size(16)));
typedef long long LongLongD __attribute__((vector_size(32)));
template <typename C>
struct Mask {
  typename Registers<C>::Int bits;
  int n;
};
template <typename C>
EVENKEEL_WORD Mask<C> first_lanes(Index n) {
  Mask<C> m;
  if constexpr (sizeof(C) == 4) {
    m.bits = IntF{0, 1, 2, 3, 4, 5, 6, 7} < static_cast<std::int32_t>(n) + IntF{};
  } else {
    m.bits = IntD{0, 1, 2, 3} < n + IntD{};
  }
  m.n = static_cast<int>(n);
  return m;
}
EVENKEEL_WORD F load(const float* p, const Mask<float>& m) {
  return __builtin_ia32_maskloadps256(reinterpret_cast<const F*>(p), m.bits);
}
EVENKEEL_WORD D load(const double* p, const Mask<double>& m) {
  return __builtin_ia32_maskloadpd256(reinterpret_cast<const D*>(p), (LongLongD)m.bits);
}
EVENKEEL_WORD void store(float* p, F v, const Mask<float>& m) {
  __builtin_ia32_maskstoreps256(reinterpret_cast<F*>(p), m.bits, v);
}
EVENKEEL_WORD void store(double* p, D v, const Mask<double>& m) {
  __builtin_ia32_maskstorepd256(reinterpret_cast<D*>(p), (LongLongD)m.bits, v);
}
EVENKEEL_WORD F fma(F a, F b, F c) { return __builtin_ia32_vfmaddps256(a, b, c); }
EVENKEEL_WORD D fma(D a, D b, D c) { return __builtin_ia32_vfmaddpd256(a, b, c); }
EVENKEEL_WORD F larger(F a, F b) { return __builtin_ia32_maxps256(a, b); }
EVENKEEL_WORD D larger(D a, D b) { return __builtin_ia32_maxpd256(a, b); }
EVENKEEL_WORD F smaller(F a, F b) { return __builtin_ia32_minps256(a, b); }
EVENKEEL_WORD D smaller(D a, D b) { return __builtin_ia32_minpd256(a, b); }
EVENKEEL_WORD D square_root(D a) { return __builtin_ia32_sqrtpd256(a); }
#ifdef __clang__
EVENKEEL_WORD D wide_half(HalfF v) { return __builtin_convertvector(v, D); }
EVENKEEL_WORD HalfF narrow_half(D v) { return __builtin_convertvector(v, HalfF); }
#else
EVENKEEL_WORD D wide_half(HalfF v) { return __builtin_ia32_cvtps2pd256(v); }
EVENKEEL_WORD HalfF narrow_half(D v) { return __builtin_ia32_cvtpd2ps256(v); }
#endif
EVENKEEL_WORD HalfF low_half(F v) { return __builtin_shufflevector(v, v, 0, 1, 2, 3); }
EVENKEEL_WORD HalfF high_half(F v) { return __builtin_shufflevector(v, v, 4, 5, 6, 7); }
#ifdef __clang__
EVENKEEL_WORD F join(HalfF a, HalfF b) { return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7); }
#else
EVENKEEL_WORD F join(HalfF a, HalfF b) {
  return __builtin_ia32_vinsertf128_ps256(__builtin_ia32_ps256_ps(a), b, 1);
}
#endif

#else  // 16: SSE2 or NEON

template <typename C>
struct Mask {
  int n;
};
template <typename C>
EVENKEEL_WORD Mask<C> first_lanes(Index n) {
  return {static_cast<int>(n)};
}
EVENKEEL_CALL F load(const float* p, Mask<float> m) {
  return m.n > 3 ? load(p)
         : m.n > 2 ? F{p[0], p[1], p[2], 0}
         : m.n > 1 ? F{p[0], p[1], 0, 0}
         : m.n > 0 ? F{p[0], 0, 0, 0}
                   : F{};
}
EVENKEEL_CALL D load(const double* p, Mask<double> m) {
  return m.n > 1 ? load(p) : m.n > 0 ? D{p[0], 0} : D{};
}
EVENKEEL_CALL void store(float* p, F v, Mask<float> m) {
  if (m.n > 3) return store(p, v);
  if (m.n > 0) p[0] = v[0];
  if (m.n > 1) p[1] = v[1];
  if (m.n > 2) p[2] = v[2];
}
EVENKEEL_CALL void store(double* p, D v, Mask<double> m) {
  if (m.n > 1) return store(p, v);
  if (m.n > 0) p[0] = v[0];
}
#ifdef __aarch64__
EVENKEEL_WORD F fma(F a, F b, F c) { return (F)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b); }
EVENKEEL_WORD D fma(D a, D b, D c) { return (D)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b); }
EVENKEEL_WORD F larger(F a, F b) { return (F)vbslq_f32((uint32x4_t)(b < a), (float32x4_t)a, (float32x4_t)b); }
EVENKEEL_WORD D larger(D a, D b) { return (D)vbslq_f64((uint64x2_t)(b < a), (float64x2_t)a, (float64x2_t)b); }
EVENKEEL_WORD F smaller(F a, F b) { return (F)vbslq_f32((uint32x4_t)(a < b), (float32x4_t)a, (float32x4_t)b); }
EVENKEEL_WORD D smaller(D a, D b) { return (D)vbslq_f64((uint64x2_t)(a < b), (float64x2_t)a, (float64x2_t)b); }
EVENKEEL_WORD D square_root(D a) { return (D)vsqrtq_f64((float64x2_t)a); }
EVENKEEL_WORD D wide_low(F v) { return (D)vcvt_f64_f32(vget_low_f32((float32x4_t)v)); }
EVENKEEL_WORD D wide_high(F v) { return (D)vcvt_high_f64_f32((float32x4_t)v); }
EVENKEEL_WORD F narrow_both(D a, D b) {
  return (F)vcvt_high_f32_f64(vcvt_f32_f64((float64x2_t)a), (float64x2_t)b);
}
#else
#ifdef __FMA__
EVENKEEL_WORD F fma(F a, F b, F c) { return __builtin_ia32_vfmaddps(a, b, c); }
EVENKEEL_WORD D fma(D a, D b, D c) { return __builtin_ia32_vfmaddpd(a, b, c); }
#else
EVENKEEL_WORD F fma(F a, F b, F c) { return a * b + c; }
EVENKEEL_WORD D fma(D a, D b, D c) { return a * b + c; }
#endif
EVENKEEL_WORD F larger(F a, F b) { return __builtin_ia32_maxps(a, b); }
EVENKEEL_WORD D larger(D a, D b) { return __builtin_ia32_maxpd(a, b); }
EVENKEEL_WORD F smaller(F a, F b) { return __builtin_ia32_minps(a, b); }
EVENKEEL_WORD D smaller(D a, D b) { return __builtin_ia32_minpd(a, b); }
EVENKEEL_WORD D square_root(D a) { return __builtin_ia32_sqrtpd(a); }
#ifdef __clang__
EVENKEEL_WORD D wide_low(F v) { return __builtin_convertvector(__builtin_shufflevector(v, v, 0, 1), D); }
EVENKEEL_WORD F narrow_low(D v) {
  typedef float TwoF __attribute__((vector_size(8)));
  const TwoF two = __builtin_convertvector(v, TwoF);
  return __builtin_shufflevector(two, two, 0, 1, 0, 1);
}
#else
EVENKEEL_WORD D wide_low(F v) { return __builtin_ia32_cvtps2pd(v); }
EVENKEEL_WORD F narrow_low(D v) { return __builtin_ia32_cvtpd2ps(v); }
#endif
EVENKEEL_WORD D wide_high(F v) { return wide_low(EVENKEEL_SHUFFLE(IntF, v, v, 2, 3, 2, 3)); }
EVENKEEL_WORD F narrow_both(D a, D b) {
  return EVENKEEL_SHUFFLE(IntF, narrow_low(a), narrow_low(b), 0, 1, 4, 5);
}
#endif
#endif

#if EVENKEEL_REGISTER > 16
EVENKEEL_WORD D wide_low(F v) { return wide_half(low_half(v)); }
EVENKEEL_WORD D wide_high(F v) { return wide_half(high_half(v)); }
EVENKEEL_WORD F narrow_both(D a, D b) { return join(narrow_half(a), narrow_half(b)); }
#endif

#if defined(__clang__)
EVENKEEL_WORD void stream(float* p, F v) { __builtin_nontemporal_store(v, reinterpret_cast<F*>(p)); }
EVENKEEL_WORD void stream(double* p, D v) { __builtin_nontemporal_store(v, reinterpret_cast<D*>(p)); }
#elif EVENKEEL_REGISTER == 64
EVENKEEL_WORD void stream(float* p, F v) { __builtin_ia32_movntps512(p, v); }
EVENKEEL_WORD void stream(double* p, D v) { __builtin_ia32_movntpd512(p, v); }
#elif EVENKEEL_REGISTER == 32
EVENKEEL_WORD void stream(float* p, F v) { __builtin_ia32_movntps256(p, v); }
EVENKEEL_WORD void stream(double* p, D v) { __builtin_ia32_movntpd256(p, v); }
#elif defined(__x86_64__)
EVENKEEL_WORD void stream(float* p, F v) { __builtin_ia32_movntps(p, v); }
EVENKEEL_WORD void stream(double* p, D v) { __builtin_ia32_movntpd(p, v); }
#else
EVENKEEL_WORD void stream(float* p, F v) { store(p, v); }
EVENKEEL_WORD void stream(double* p, D v) { store(p, v); }
#endif

// 16-bit storage: eight or sixteen values at a time. Registers of 16 bytes have none; see kHasBaseline.

#if EVENKEEL_REGISTER > 16
typedef float Eight __attribute__((vector_size(32)));
typedef std::uint32_t EightBits __attribute__((vector_size(32)));
typedef int FourInts __attribute__((vector_size(16)));
typedef long long TwoLongs __attribute__((vector_size(16)));
typedef long long FourLongs __attribute__((vector_size(32)));
typedef char Bytes __attribute__((vector_size(32)));
typedef short EightShorts __attribute__((vector_size(16)));
typedef short Shorts __attribute__((vector_size(32)));
typedef std::uint16_t ShortBits __attribute__((vector_size(32)));
typedef short EightShortsInMemory __attribute__((vector_size(16), aligned(2), may_alias));
typedef short ShortsInMemory __attribute__((vector_size(32), aligned(2), may_alias));

#ifdef __clang__
EVENKEEL_WORD Shorts join_shorts(EightShorts a, EightShorts b) {
  return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}
EVENKEEL_WORD Shorts twice(EightShorts v) { return join_shorts(v, v); }
EVENKEEL_WORD EightShorts first_shorts(Shorts v) {
  return __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7);
}
EVENKEEL_WORD Shorts least(Shorts a, Shorts b) { return a < b ? a : b; }
EVENKEEL_WORD ShortBits least(ShortBits a, ShortBits b) { return a < b ? a : b; }
#else
EVENKEEL_WORD Shorts join_shorts(EightShorts a, EightShorts b) {
  return (Shorts)__builtin_ia32_insert128i256((FourLongs)__builtin_ia32_si256_si((FourInts)a), (TwoLongs)b,
                                              1);
}
EVENKEEL_WORD Shorts twice(EightShorts v) { return (Shorts)__builtin_ia32_vbroadcastsi256((TwoLongs)v); }
EVENKEEL_WORD EightShorts first_shorts(Shorts v) {
  return (EightShorts)__builtin_ia32_extract128i256((FourLongs)v, 0);
}
EVENKEEL_WORD Shorts least(Shorts a, Shorts b) { return __builtin_ia32_pminsw256(a, b); }
EVENKEEL_WORD ShortBits least(ShortBits a, ShortBits b) {
  return (ShortBits)__builtin_ia32_pminuw256((Shorts)a, (Shorts)b);
}
#endif
#if defined(__clang__) && __clang_major__ >= 15
EVENKEEL_WORD Shorts add_saturated(Shorts a, Shorts b) { return __builtin_elementwise_add_sat(a, b); }
EVENKEEL_WORD ShortBits subtract_saturated(ShortBits a, ShortBits b) {
  return __builtin_elementwise_sub_sat(a, b);
}
#else
EVENKEEL_WORD Shorts add_saturated(Shorts a, Shorts b) { return __builtin_ia32_paddsw256(a, b); }
EVENKEEL_WORD ShortBits subtract_saturated(ShortBits a, ShortBits b) {
  return (ShortBits)__builtin_ia32_psubusw256((Shorts)a, (Shorts)b);
}
#endif

EVENKEEL_WORD Eight floats_of(const Eigen::half*, EightShorts v) { return __builtin_ia32_vcvtph2ps256(v); }
EVENKEEL_WORD Eight floats_of(const Eigen::bfloat16*, EightShorts v) {
  const Bytes from = {-1, -1, 0, 1, -1, -1, 2,  3,  -1, -1, 4,  5,  -1, -1, 6,  7,
                      -1, -1, 8, 9, -1, -1, 10, 11, -1, -1, 12, 13, -1, -1, 14, 15};
  return (Eight)__builtin_ia32_pshufb256((Bytes)twice(v), from);
}
EVENKEEL_WORD EightShorts shorts_of(const Eigen::half*, Eight v) {
  return (EightShorts)__builtin_ia32_vcvtps2ph256(v, 0);
}
EVENKEEL_WORD Shorts shorts_of(const Eigen::half* p, Eight v, Eight w) {
  return join_shorts(shorts_of(p, v), shorts_of(p, w));
}
/// The upper halves of floats, rounded to even by the lower ones: those in even places, then those in odd ones. NaN is
/// quiet and has no other bits.
EVENKEEL_WORD Shorts rounded_upper_halves(ShortBits upper, ShortBits lower) {
  const ShortBits up = subtract_saturated(lower, ~upper & 1) >> 15;  // from the middle on, if upper is odd
  // The largest bits of either sign are those of NaN, and stay so.
  const Shorts sum = add_saturated((Shorts)least(upper, ShortBits{} + 0xfffe), (Shorts)up);
  const ShortBits bits = least((ShortBits)least(sum, Shorts{} + 0x7fc0), ShortBits{} + 0xffc0);
  const Bytes from = {0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15,
                      0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15};
  const Bytes in_order = __builtin_ia32_pshufb256((Bytes)bits, from);
  return (Shorts)__builtin_ia32_permdi256((FourLongs)in_order, 0xd8);
}
EVENKEEL_WORD EightShorts shorts_of(const Eigen::bfloat16*, Eight v) {
  return first_shorts(rounded_upper_halves((ShortBits)((EightBits)v >> 16), (ShortBits)v));
}
EVENKEEL_WORD Shorts shorts_of(const Eigen::bfloat16*, Eight v, Eight w) {
  const Shorts upper = __builtin_ia32_pblendw256((Shorts)((EightBits)v >> 16), (Shorts)w, 0xaa);
  const Shorts lower = __builtin_ia32_pblendw256((Shorts)v, (Shorts)((EightBits)w << 16), 0xaa);
  return rounded_upper_halves((ShortBits)upper, (ShortBits)lower);
}

template <typename S, std::enable_if_t<sizeof(S) == 2, int> = 0>
EVENKEEL_WORD Eight load_eight(const S* p) {
  return floats_of(p, *reinterpret_cast<const EightShortsInMemory*>(p));
}
template <typename S>
EVENKEEL_WORD void store_sixteen(S* p, Eight v, Eight w) {
  *reinterpret_cast<ShortsInMemory*>(p) = shorts_of(p, v, w);
}
template <typename S>
EVENKEEL_WORD void stream_sixteen(S* p, Eight v, Eight w) {
#ifdef __clang__
  __builtin_nontemporal_store(shorts_of(p, v, w), reinterpret_cast<Shorts*>(p));
#else
  __builtin_ia32_movntdq256(reinterpret_cast<FourLongs*>(p), (FourLongs)shorts_of(p, v, w));
#endif
}

// At most eight values are two pieces of memory, which may overlap.
__extension__ typedef unsigned __int128 EightShortsBits;
template <typename Piece>
EVENKEEL_WORD EightShortsBits load_pieces(const char* p, unsigned bytes) {
  Piece first, last;
  std::memcpy(&first, p, sizeof first);
  std::memcpy(&last, p + bytes - sizeof last, sizeof last);
  return first | EightShortsBits{last} << 8 * (bytes - sizeof last);
}
template <typename Piece>
EVENKEEL_WORD void store_pieces(char* p, unsigned bytes, EightShortsBits v) {
  const Piece first = static_cast<Piece>(v), last = static_cast<Piece>(v >> 8 * (bytes - sizeof last));
  std::memcpy(p, &first, sizeof first);
  std::memcpy(p + bytes - sizeof last, &last, sizeof last);
}
EVENKEEL_CALL EightShorts load_shorts(const void* from, int n) {
  const char* p = static_cast<const char*>(from);
  const unsigned bytes = static_cast<unsigned>(2 * n);
  const EightShortsBits v = n > 3   ? load_pieces<std::uint64_t>(p, bytes)
                            : n > 1 ? load_pieces<std::uint32_t>(p, bytes)
                            : n > 0 ? load_pieces<std::uint16_t>(p, bytes)
                                    : 0;
  return (EightShorts)TwoLongs{static_cast<long long>(v), static_cast<long long>(v >> 64)};
}
EVENKEEL_CALL void store_shorts(void* to, EightShorts lanes, int n) {
  char* p = static_cast<char*>(to);
  const unsigned bytes = static_cast<unsigned>(2 * n);
  EightShortsBits v;
  std::memcpy(&v, &lanes, sizeof v);
  if (n > 3) return store_pieces<std::uint64_t>(p, bytes, v);
  if (n > 1) return store_pieces<std::uint32_t>(p, bytes, v);
  if (n > 0) store_pieces<std::uint16_t>(p, bytes, v);
}

#if EVENKEEL_REGISTER == 64
template <typename S, std::enable_if_t<sizeof(S) == 2, int> = 0>
EVENKEEL_WORD F load(const S* p) {
  return join(load_eight(p), load_eight(p + 8));
}
template <typename S, std::enable_if_t<sizeof(S) == 2, int> = 0>
EVENKEEL_WORD void store(S* p, F v) {
  store_sixteen(p, low_half(v), high_half(v));
}
template <typename S, std::enable_if_t<sizeof(S) == 2, int> = 0>
EVENKEEL_WORD void stream(S* p, F v) {
  stream_sixteen(p, low_half(v), high_half(v));
}
template <typename S>
EVENKEEL_WORD F load_some(const S* p, int n) {
  const int first = n < 8 ? n : 8;
  return join(floats_of(p, load_shorts(p, first)), floats_of(p, load_shorts(p + first, n - first)));
}
template <typename S>
EVENKEEL_WORD void store_some(S* p, F v, int n) {
  const int first = n < 8 ? n : 8;
  store_shorts(p, shorts_of(p, low_half(v)), first);
  store_shorts(p + first, shorts_of(p, high_half(v)), n - first);
}
#else
template <typename S, std::enable_if_t<sizeof(S) == 2, int> = 0>
EVENKEEL_WORD F load(const S* p) {
  return load_eight(p);
}
template <typename S, std::enable_if_t<sizeof(S) == 2, int> = 0>
EVENKEEL_WORD void store(S* p, F v) {
  *reinterpret_cast<EightShortsInMemory*>(p) = shorts_of(p, v);
}
template <typename S>
EVENKEEL_WORD F load_some(const S* p, int n) {
  return floats_of(p, load_shorts(p, n));
}
template <typename S>
EVENKEEL_WORD void store_some(S* p, F v, int n) {
  store_shorts(p, shorts_of(p, v), n);
}
#endif
template <typename S, std::enable_if_t<sizeof(S) == 2, int> = 0>
EVENKEEL_WORD F load(const S* p, const Mask<float>& m) {
  if (m.n >= kLanes<float>) return load(p);
  return load_some(p, m.n);
}
template <typename S, std::enable_if_t<sizeof(S) == 2, int> = 0>
EVENKEEL_WORD void store(S* p, const F& v, const Mask<float>& m) {
  if (m.n >= kLanes<float>) return store(p, v);
  store_some(p, v, m.n);
}
#endif

// Lanes chosen by bits.

EVENKEEL_WORD F choose(IntF m, F yes, F no) { return (F)((m & (IntF)yes) | (~m & (IntF)no)); }
EVENKEEL_WORD D choose(IntD m, D yes, D no) { return (D)((m & (IntD)yes) | (~m & (IntD)no)); }
template <typename C>
EVENKEEL_WORD Index count_of(const Mask<C>& m) {
  return m.n;
}
template <typename C>
EVENKEEL_WORD Index count_of() {
  return kLanes<C>;
}
EVENKEEL_WORD F keep(F v, const Mask<float>& m) {
#if EVENKEEL_REGISTER == 64
  const IntF lanes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
#elif EVENKEEL_REGISTER == 32
  return (F)(m.bits & (IntF)v);
#else
  const IntF lanes = {0, 1, 2, 3};
#endif
#if EVENKEEL_REGISTER != 32
  return (F)((lanes < m.n + IntF{}) & (IntF)v);
#endif
}
EVENKEEL_WORD D keep(D v, const Mask<double>& m) {
#if EVENKEEL_REGISTER == 64
  const IntD lanes = {0, 1, 2, 3, 4, 5, 6, 7};
#elif EVENKEEL_REGISTER == 32
  return (D)(m.bits & (IntD)v);
#else
  const IntD lanes = {0, 1};
#endif
#if EVENKEEL_REGISTER != 32
  return (D)((lanes < m.n + IntD{}) & (IntD)v);
#endif
}
EVENKEEL_WORD F keep(F v) { return v; }
EVENKEEL_WORD D keep(D v) { return v; }
EVENKEEL_WORD F where_equal(F a, F b, F value) { return (F)((IntF)(a == b) & (IntF)value); }
/// v without the lower half of its digits, so that a square is exact.
EVENKEEL_WORD D top_digits(D v) { return (D)((BitsD)v & 0xfffffffff8000000u); }
/// v, which is not negative, with the sign of another.
EVENKEEL_WORD F with_sign(F v, F sign) { return (F)((BitsF)v | ((BitsF)sign & 0x80000000u)); }
EVENKEEL_WORD D with_sign(D v, D sign) { return (D)((BitsD)v | ((BitsD)sign & 0x8000000000000000u)); }
/// The number whose sign and exponent are the last bits of v.
EVENKEEL_WORD F power_of_two(F v) { return (F)((BitsF)v << 23); }
EVENKEEL_WORD D power_of_two(D v) { return (D)((BitsD)v << 52); }
EVENKEEL_WORD FF power_of_two(const FF& v) { return {power_of_two(v.low), power_of_two(v.high)}; }
EVENKEEL_WORD F clamp(F v, F low, F high) { return smaller(high, larger(low, v)); }
EVENKEEL_WORD D clamp(D v, D low, D high) { return smaller(high, larger(low, v)); }
EVENKEEL_WORD FF clamp(const FF& v, const FF& low, const FF& high) {
  return {clamp(v.low, low.low, high.low), clamp(v.high, low.high, high.high)};
}
EVENKEEL_WORD F where_between(F z, F low, F high, F v) {
  return (F)((IntF)(low < z) & (IntF)(z < high) & (IntF)v);
}
EVENKEEL_WORD D where_between(D z, D low, D high, D v) {
  return (D)((IntD)(low < z) & (IntD)(z < high) & (IntD)v);
}
EVENKEEL_WORD F where_positive(F sign, F v, F other) { return choose(F{} < sign, v, other); }
EVENKEEL_WORD D where_positive(D sign, D v, D other) { return choose(D{} < sign, v, other); }

// Between the compute type and the statistic type.

EVENKEEL_WORD FF widen(F v) { return {wide_low(v), wide_high(v)}; }
EVENKEEL_WORD D widen(D v) { return v; }
/// widen(load(p)), without a shuffle.
EVENKEEL_WORD FF load_widened(const float* p) {
#if EVENKEEL_REGISTER > 16
  typedef float HalfInMemory __attribute__((vector_size(kBytes / 2), aligned(4), may_alias));
  return {wide_half(*reinterpret_cast<const HalfInMemory*>(p)),
          wide_half(*reinterpret_cast<const HalfInMemory*>(p + kLanes<double>))};
#else
  return widen(load(p));
#endif
}
EVENKEEL_WORD D load_widened(const double* p) { return load(p); }
template <typename S, std::enable_if_t<sizeof(S) == 2, int> = 0>
EVENKEEL_WORD FF load_widened(const S* p) {
  return widen(load(p));
}
template <typename S>
EVENKEEL_WORD Wide<ComputeOf<S>> load_widened(const S* p, const Mask<ComputeOf<S>>& m) {
  return widen(load(p, m));
}
template <typename C>
EVENKEEL_WORD Vec<C> narrow(const Wide<C>& w) {
  if constexpr (sizeof(C) == 4) {
    return narrow_both(w.low, w.high);
  } else {
    return w;
  }
}
template <typename C>
EVENKEEL_WORD Wide<C> load_wide(const double* p) {
  if constexpr (sizeof(C) == 4) {
    return FF{load(p), load(p + kLanes<double>)};
  } else {
    return load(p);
  }
}
template <typename C>
EVENKEEL_WORD void store_wide(double* p, const Wide<C>& w) {
  if constexpr (sizeof(C) == 4) {
    store(p, w.low);
    store(p + kLanes<double>, w.high);
  } else {
    store(p, w);
  }
}
/// Loads at most n values, and 0 in the other lanes; stores n values.
template <typename C>
EVENKEEL_WORD Wide<C> load_wide(const double* p, Index n) {
  if (n >= kLanes<C>) return load_wide<C>(p);
  constexpr Index kHalf = kLanes<double>;
  const auto load_half = [&](Index i) EVENKEEL_WORD_LAMBDA {
    return load(p + i, first_lanes<double>(n - i < 0 ? 0 : n - i > kHalf ? kHalf : n - i));
  };
  if constexpr (sizeof(C) == 4) {
    return FF{load_half(0), load_half(kHalf)};
  } else {
    return load_half(0);
  }
}
template <typename C>
EVENKEEL_CALL void store_some(double* p, Wide<C> w, Index n) {
  double lanes[kLanes<C>];
  store_wide<C>(lanes, w);
  for (Index i = 0; i < n; ++i) p[i] = lanes[i];
}
template <typename C>
EVENKEEL_WORD void store_wide(double* p, const Wide<C>& w, Index n) {
  if (n >= kLanes<C>) return store_wide<C>(p, w);
  if (n > 1) return store_some<C>(p, w, n);
  if constexpr (sizeof(C) == 4) {
    *p = w.low[0];
  } else {
    *p = w[0];
  }
}

EVENKEEL_WORD FF fma(const FF& a, const FF& b, const FF& c) {
  return {fma(a.low, b.low, c.low), fma(a.high, b.high, c.high)};
}
EVENKEEL_WORD F as_computed(F v) {
  EVENKEEL_KEEP(v);
  return v;
}
EVENKEEL_WORD D as_computed(D v) {
  EVENKEEL_KEEP(v);
  return v;
}
EVENKEEL_WORD FF as_computed(const FF& v) { return {as_computed(v.low), as_computed(v.high)}; }

/// b / sqrt(a)
EVENKEEL_WORD D over_root(D b, D a) { return b / square_root(a); }
EVENKEEL_WORD FF over_root(const FF& b, const FF& a) {
  return {over_root(b.low, a.low), over_root(b.high, a.high)};
}
EVENKEEL_WORD D magnitude(D a) { return (D)((IntD)a & (std::numeric_limits<std::int64_t>::max)()); }
EVENKEEL_WORD FF magnitude(const FF& a) { return {magnitude(a.low), magnitude(a.high)}; }
/// a, or 0 where it is negative and finite; NaN stays what it is.
EVENKEEL_WORD D not_negative(D a) { return (D)(((IntD)a >= kMinusInfinityBits) & (IntD)a); }
EVENKEEL_WORD FF not_negative(const FF& a) { return {not_negative(a.low), not_negative(a.high)}; }
/// value, or 0 where `other` is 0.
EVENKEEL_WORD D unless_zero(D other, D value) { return (D)(((IntD)other != 0) & (IntD)value); }
EVENKEEL_WORD FF unless_zero(const FF& other, const FF& value) {
  return {unless_zero(other.low, value.low), unless_zero(other.high, value.high)};
}
/// a, or 1 where it is 0, so that one may divide by it. A compiler may narrow the quotient before it is replaced by 0.
EVENKEEL_WORD D not_zero(D a) { return (D)((IntD)a | (((IntD)a == 0) & (IntD)all(1.0))); }
EVENKEEL_WORD FF not_zero(const FF& a) { return {not_zero(a.low), not_zero(a.high)}; }

/// A bit for each lane whose mask is set.
EVENKEEL_WORD unsigned bits_of_lanes(IntD m) {
#if EVENKEEL_REGISTER == 32
  return static_cast<unsigned>(__builtin_ia32_movmskpd256((D)m));
#elif EVENKEEL_REGISTER == 16 && defined(__x86_64__)
  return static_cast<unsigned>(__builtin_ia32_movmskpd((D)m));
#else
  unsigned bits = 0;
  for (int i = 0; i < kLanes<double>; ++i) bits |= m[i] != 0 ? 1u << i : 0u;
  return bits;
#endif
}
/// A bit for each lane that does not lie between low and high, which are positive; NaN does not.
EVENKEEL_WORD unsigned outside(D a, double low, double high) {
  const IntD bits = (IntD)a;
  return bits_of_lanes((bits < (IntD)all(low) + 1) | (bits > (IntD)all(high) - 1));
}
EVENKEEL_WORD unsigned outside(const FF& a, double low, double high) {
  return outside(a.low, low, high) | outside(a.high, low, high) << kLanes<double>;
}
/// A bit for each lane that is 0.
EVENKEEL_WORD unsigned zeros(D a) { return bits_of_lanes((IntD)a == 0); }
EVENKEEL_WORD unsigned zeros(const FF& a) { return zeros(a.low) | zeros(a.high) << kLanes<double>; }
/// A bit for each lane where a < b.
EVENKEEL_WORD unsigned less(D a, D b) { return bits_of_lanes(a < b); }
EVENKEEL_WORD unsigned less(const FF& a, const FF& b) {
  return less(a.low, b.low) | less(a.high, b.high) << kLanes<double>;
}

/// Set where |a| + |b| is neither 0 nor between low and high.
template <typename C>
using Flags = typename Registers<C>::Int;
EVENKEEL_WORD F magnitude(F a) { return (F)((IntF)a & (std::numeric_limits<std::int32_t>::max)()); }
EVENKEEL_WORD IntF sizes_outside(F a, F b, double low, double high) {
  const IntF bits = (IntF)(magnitude(a) + magnitude(b));
  return (bits != 0) &
         ((bits < (IntF)all(static_cast<float>(low)) + 1) | (bits > (IntF)all(static_cast<float>(high)) - 1));
}
EVENKEEL_WORD IntD sizes_outside(D a, D b, double low, double high) {
  const IntD bits = (IntD)(magnitude(a) + magnitude(b));
  return (bits != 0) & ((bits < (IntD)all(low) + 1) | (bits > (IntD)all(high) - 1));
}
/// Set where |a| is not below high; NaN is not.
EVENKEEL_WORD IntF beyond(F a, double high) {
  return (IntF)magnitude(a) >= (IntF)all(static_cast<float>(high));
}
EVENKEEL_WORD IntD beyond(D a, double high) { return (IntD)magnitude(a) >= (IntD)all(high); }
EVENKEEL_WORD IntF infinite(F a) {
  return (IntF)magnitude(a) == (IntF)all(std::numeric_limits<float>::infinity());
}
EVENKEEL_WORD IntD infinite(D a) {
  return (IntD)magnitude(a) == (IntD)all(std::numeric_limits<double>::infinity());
}
EVENKEEL_WORD bool any(IntD flags) { return bits_of_lanes(flags != 0) != 0; }
#if EVENKEEL_REGISTER == 32
EVENKEEL_WORD bool any(IntF flags) { return __builtin_ia32_movmskps256((F)flags) != 0; }
EVENKEEL_WORD bool any_negative(IntF values) { return any(values); }
#else
EVENKEEL_WORD bool any(IntF flags) { return any((IntD)flags); }
EVENKEEL_WORD bool any_negative(IntF values) { return any((IntF)(values < 0)); }
#endif
// What says whether a value is negative, -0 or not finite. Its bits as an unsigned number are larger then than those of
// the largest value: the least exponent carries into the sign of those that have the largest.
template <typename C>
using SeenVariances = std::conditional_t<sizeof(C) == 4, BitsF, IntD>;
EVENKEEL_WORD BitsF look_at_variance(BitsF seen, F a) { return (BitsF)a > seen ? (BitsF)a : seen; }
EVENKEEL_WORD bool saw_no_variance(BitsF seen) { return any_negative((IntF)(seen | (seen + 0x00800000))); }
EVENKEEL_WORD IntD look_at_variance(IntD seen, D a) {
  return seen | (IntD)a | ((IntD)a + 0x0010000000000000);
}
EVENKEEL_WORD bool saw_no_variance(IntD seen) { return any((IntD)(seen < 0)); }

// Sums of lanes.

template <typename C>
EVENKEEL_WORD double total(const Wide<C>& w) {
  D sum;
  if constexpr (sizeof(C) == 4) {
    sum = w.low + w.high;
  } else {
    sum = w;
  }
#if EVENKEEL_REGISTER == 64
  double lanes[8];
  store(lanes, sum);
  return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
#elif EVENKEEL_REGISTER == 32
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
#else
  return sum[0] + sum[1];
#endif
}

#if EVENKEEL_REGISTER == 64
EVENKEEL_WORD F quads(F a, F b, F c, F d) {
  const F ab = EVENKEEL_SHUFFLE(IntF, a, b, 0, 1, 18, 19, 4, 5, 22, 23, 8, 9, 26, 27, 12, 13, 30, 31) +
               EVENKEEL_SHUFFLE(IntF, a, b, 2, 3, 16, 17, 6, 7, 20, 21, 10, 11, 24, 25, 14, 15, 28, 29);
  const F cd = EVENKEEL_SHUFFLE(IntF, c, d, 0, 1, 18, 19, 4, 5, 22, 23, 8, 9, 26, 27, 12, 13, 30, 31) +
               EVENKEEL_SHUFFLE(IntF, c, d, 2, 3, 16, 17, 6, 7, 20, 21, 10, 11, 24, 25, 14, 15, 28, 29);
  return EVENKEEL_SHUFFLE(IntF, ab, cd, 0, 2, 16, 18, 4, 6, 20, 22, 8, 10, 24, 26, 12, 14, 28, 30) +
         EVENKEEL_SHUFFLE(IntF, ab, cd, 1, 3, 17, 19, 5, 7, 21, 23, 9, 11, 25, 27, 13, 15, 29, 31);
}
EVENKEEL_WORD F blocks(F a, F b) {
  return EVENKEEL_SHUFFLE(IntF, a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27) +
         EVENKEEL_SHUFFLE(IntF, a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
}
EVENKEEL_CALL F transposed_totals(const F* v) {
  return blocks(blocks(quads(v[0], v[1], v[2], v[3]), quads(v[4], v[5], v[6], v[7])),
                blocks(quads(v[8], v[9], v[10], v[11]), quads(v[12], v[13], v[14], v[15])));
}
EVENKEEL_WORD D pairs(D a, D b) {
  return EVENKEEL_SHUFFLE(IntD, a, b, 0, 8, 2, 10, 4, 12, 6, 14) +
         EVENKEEL_SHUFFLE(IntD, a, b, 1, 9, 3, 11, 5, 13, 7, 15);
}
EVENKEEL_WORD D blocks(D a, D b) {
  return EVENKEEL_SHUFFLE(IntD, a, b, 0, 1, 4, 5, 8, 9, 12, 13) +
         EVENKEEL_SHUFFLE(IntD, a, b, 2, 3, 6, 7, 10, 11, 14, 15);
}
EVENKEEL_WORD D transposed_totals(const D* v) {
  return blocks(blocks(pairs(v[0], v[1]), pairs(v[2], v[3])), blocks(pairs(v[4], v[5]), pairs(v[6], v[7])));
}
/// transposed_totals of equal vectors.
EVENKEEL_WORD F transposed_total(F v) {
  const F sums = blocks(quads(v, v, v, v), quads(v, v, v, v));
  return blocks(sums, sums);
}
EVENKEEL_WORD D transposed_total(D v) {
  const D sums = blocks(pairs(v, v), pairs(v, v));
  return blocks(sums, sums);
}
#elif EVENKEEL_REGISTER == 32
EVENKEEL_WORD F quads(F a, F b, F c, F d) {
  const F ab = EVENKEEL_SHUFFLE(IntF, a, b, 0, 1, 10, 11, 4, 5, 14, 15) +
               EVENKEEL_SHUFFLE(IntF, a, b, 2, 3, 8, 9, 6, 7, 12, 13);
  const F cd = EVENKEEL_SHUFFLE(IntF, c, d, 0, 1, 10, 11, 4, 5, 14, 15) +
               EVENKEEL_SHUFFLE(IntF, c, d, 2, 3, 8, 9, 6, 7, 12, 13);
  return EVENKEEL_SHUFFLE(IntF, ab, cd, 0, 2, 8, 10, 4, 6, 12, 14) +
         EVENKEEL_SHUFFLE(IntF, ab, cd, 1, 3, 9, 11, 5, 7, 13, 15);
}
EVENKEEL_WORD F blocks(F a, F b) {
  return EVENKEEL_SHUFFLE(IntF, a, b, 0, 1, 2, 3, 8, 9, 10, 11) +
         EVENKEEL_SHUFFLE(IntF, a, b, 4, 5, 6, 7, 12, 13, 14, 15);
}
EVENKEEL_CALL F transposed_totals(const F* v) {
  return blocks(quads(v[0], v[1], v[2], v[3]), quads(v[4], v[5], v[6], v[7]));
}
EVENKEEL_WORD D pairs(D a, D b) {
  return EVENKEEL_SHUFFLE(IntD, a, b, 0, 4, 2, 6) + EVENKEEL_SHUFFLE(IntD, a, b, 1, 5, 3, 7);
}
EVENKEEL_WORD D blocks(D a, D b) {
  return EVENKEEL_SHUFFLE(IntD, a, b, 0, 1, 4, 5) + EVENKEEL_SHUFFLE(IntD, a, b, 2, 3, 6, 7);
}
EVENKEEL_WORD D transposed_totals(const D* v) { return blocks(pairs(v[0], v[1]), pairs(v[2], v[3])); }
EVENKEEL_WORD F transposed_total(F v) { return blocks(quads(v, v, v, v), quads(v, v, v, v)); }
EVENKEEL_WORD D transposed_total(D v) { return blocks(pairs(v, v), pairs(v, v)); }
#else
EVENKEEL_WORD F quads(F a, F b, F c, F d) {
  const F ab = EVENKEEL_SHUFFLE(IntF, a, b, 0, 1, 6, 7) + EVENKEEL_SHUFFLE(IntF, a, b, 2, 3, 4, 5);
  const F cd = EVENKEEL_SHUFFLE(IntF, c, d, 0, 1, 6, 7) + EVENKEEL_SHUFFLE(IntF, c, d, 2, 3, 4, 5);
  return EVENKEEL_SHUFFLE(IntF, ab, cd, 0, 2, 4, 6) + EVENKEEL_SHUFFLE(IntF, ab, cd, 1, 3, 5, 7);
}
EVENKEEL_WORD F transposed_totals(const F* v) { return quads(v[0], v[1], v[2], v[3]); }
EVENKEEL_WORD D pairs(D a, D b) {
  return EVENKEEL_SHUFFLE(IntD, a, b, 0, 2) + EVENKEEL_SHUFFLE(IntD, a, b, 1, 3);
}
EVENKEEL_WORD D transposed_totals(const D* v) { return pairs(v[0], v[1]); }
EVENKEEL_WORD F transposed_total(F v) { return quads(v, v, v, v); }
EVENKEEL_WORD D transposed_total(D v) { return pairs(v, v); }
#endif
#endif

/// Two vectors, side by side. 16-bit storage has whole registers of them.
template <typename S>
inline constexpr bool kTwoAreOne = EVENKEEL_REGISTER == 32 && sizeof(S) == 2;
template <typename S>
EVENKEEL_WORD void store_two(S* p, const Vec<ComputeOf<S>>& v, const Vec<ComputeOf<S>>& w) {
  if constexpr (kTwoAreOne<S>) {
    store_sixteen(p, v, w);
  } else {
    store(p, v);
    store(p + kLanes<ComputeOf<S>>, w);
  }
}
template <typename S>
EVENKEEL_WORD void stream_two(S* p, const Vec<ComputeOf<S>>& v, const Vec<ComputeOf<S>>& w) {
  if constexpr (kTwoAreOne<S>) {
    stream_sixteen(p, v, w);
  } else {
    stream(p, v);
    stream(p + kLanes<ComputeOf<S>>, w);
  }
}

/// The part of n that is whole vectors.
template <typename C>
EVENKEEL_WORD Index whole_vectors(Index n) {
  return n & -kLanes<C>;
}
