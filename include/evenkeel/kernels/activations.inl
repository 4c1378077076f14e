// SPDX-License-Identifier: MIT
//
// Smooth activations and their slopes. Included beside words.inl.
//
// Silu and gelu are z gate(z), where gate rises from 0 to 1 and gate(z) + gate(-z) = 1. So with a = |z|
//
//   f(z) = max(z, 0) - tail(a),  tail(a) = a gate(-a),    f'(z) = 1 - f'(-z)
//
// Only tails are computed. They keep their digits down to the least number, and each takes one exponential.
//
// T is the type whose digits a result has, and V what computes it: a Vec of T or its Wide. An exponent that V has too few
// digits for is followed by its low part.

/// Whether V has more digits than T, so that low parts do not count.
template <typename T, typename V>
inline constexpr bool kIsWide = !std::is_same_v<V, Vec<T>>;

/// The value for T, by its range: that of float, of double, or more.
template <typename T>
constexpr double by_range(double of_float, double of_double, double of_more) {
  constexpr int most = std::numeric_limits<T>::max_exponent;
  return most > 1024 ? of_more : most > 128 || most == 0 ? of_double : of_float;
}

/// Where tails are 0: of x in e^-x, and of a for the two forms of gelu.
template <typename T>
inline constexpr double kMostPower = by_range<T>(110, 760, 11500);
template <typename T>
inline constexpr double kMostGelu = by_range<T>(14.9, 39, 152);
template <typename T>
inline constexpr double kMostGeluTanh = by_range<T>(11, 21.7, 54.3);

/// What powers are multiplied by, so that those up to kMostPower do not overflow.
template <typename T, typename V>
inline constexpr double kUnit = kIsWide<T, V> ? 1 : by_range<T>(0x1p-64, 0x1p-512, 0x1p-512);

/// unit e^x = scale + scale rest, with |rest| < 1/2.
template <typename V>
struct Power {
  V scale, rest;
};

/// c + more[0] x + more[1] x^2 + ...
template <typename V>
EVENKEEL_WORD V polynomial(const V&, double c) {
  return number<V>(c);
}
template <typename V, typename... More>
EVENKEEL_WORD V polynomial(const V& x, double c, const More&... more) {
  return fma(polynomial(x, more...), x, number<V>(c));
}

#if EVENKEEL_REGISTER == 0

/// By the exp and tanh of the type, where x >= 0.
template <typename T, typename V, typename... Low>
EVENKEEL_WORD Power<V> power(const V& x, const Low&... low) {
  using std::exp;
  using std::tanh;
  const V one = number<V>(1), unit = number<V>(kUnit<T, V>), half = V(x * number<V>(0.5L));
  V low_rest = number<V>(0);  // e^low - 1
  if constexpr (sizeof...(low) > 0) low_rest = polynomial(V(low...), 0, 1, 1.0 / 2, 1.0 / 6);
  if (half < number<V>(0.125L)) {
    const V t = V(tanh(half)), rest = V(V(t + t) / V(one - t));
    return {unit, fma(low_rest, V(one + rest), rest)};
  }
  const V root = V(exp(half));
  return {V(V(root * unit) * root), low_rest};
}

/// What silu, sigmoid and the slope of tanh are computed in. It is wide here, where exp is a call anyway.
template <typename T>
EVENKEEL_WORD Wide<T> lanes_of(const T& v) {
  return widen(v);
}

#else

/// e^x = 2^k e^r, where |r| <= log(2) / 2: k log(2) is taken from x in two parts (Cody, Waite 1980).
template <typename T, typename V, typename... Low>
EVENKEEL_WORD Power<V> power(const V& x, const Low&... low) {
  constexpr bool kFloat = std::is_same_v<V, F>;
  // A sum so large that its last digits are k and the exponent of the unit.
  const V shift = number<V>(kFloat          ? 0x1.8p23L + 127 - 64
                            : kIsWide<T, V> ? 0x1.8p52L + 1023
                                            : 0x1.8p52L + 1023 - 512);
  const V shifted = as_computed(V(fma(x, number<V>(1.44269504088896340736L), shift))),
          k = as_computed(V(shifted - shift));
  V r, p;
  if constexpr (kIsWide<T, V>) {
    r = fma(k, number<V>(-0.693147180559945309417L), x);
  } else {
    r = as_computed(V(fma(k, number<V>(kFloat ? -0x1.63p-1L : -0x1.62e42fefa38p-1L), x)));
    if constexpr (sizeof...(low) > 0) r = V(r + as_computed(V(low...)));
    r = fma(k, number<V>(kFloat ? 2.12194440054690583e-4L : -5.49792301870837117e-14L), r);
  }
  // e^r = 1 + r + r^2 p with an error of 2^-26.0 (e^r - 1), or 2^-55.1 (e^r - 1), where |r| < 0.3475.
  if constexpr (std::is_same_v<T, float>) {
    p = polynomial(r, 0.5, 0.16666548, 0.041666858, 0.0083662076, 0.0013898247);
  } else {
    p = polynomial(r, 0.5, 0.166666666666666, 0.04166666666661903, 0.008333333333389537,
                   0.0013888888920990559, 0.00019841269707273295, 2.480151562865091e-05,
                   2.7557426186189697e-06, 2.762255558145555e-07, 2.5045863887197073e-08);
  }
  return {power_of_two(shifted), fma(p, V(r * r), r)};
}

EVENKEEL_WORD F lanes_of(F v) { return v; }
EVENKEEL_WORD D lanes_of(D v) { return v; }

#endif

/// unit (1 + e^x). This order loses least.
template <typename T, typename V>
EVENKEEL_WORD V one_plus(const Power<V>& e) {
  return V(e.scale + fma(e.scale, e.rest, number<V>(kUnit<T, V>)));
}

/// y n, with n = 1 / (1 + e^x)
template <typename T, typename V, typename... Low>
EVENKEEL_WORD V logistic_tail(const V& y, const V& x, const Low&... low) {
  return as_computed(V(V(y / one_plus<T>(power<T>(x, low...))) * number<V>(kUnit<T, V>)));
}
/// n (1 - y (1 - n)), which is the slope of a n where y = a x'
template <typename T, typename V, typename... Low>
EVENKEEL_WORD V logistic_tail_slope(const V& y, const V& x, const Low&... low) {
  const V one = number<V>(1), unit = number<V>(kUnit<T, V>), n = V(one / one_plus<T>(power<T>(x, low...)));
  return as_computed(V(V(n * fma(V(-y), fma(n, V(-unit), one), one)) * unit));
}
/// n (1 - n) factor
template <typename T, typename V>
EVENKEEL_WORD V logistic_slope(const V& x, double factor) {
  const V one = number<V>(1), n = V(one / one_plus<T>(power<T>(x)));
  return V(V(n * fma(n, number<V>(-kUnit<T, V>), one)) * number<V>(kUnit<T, V> * factor));
}

/// v, or its top digits where a product needs more digits than V has.
template <typename T, typename V>
EVENKEEL_WORD V top_part(const V& v) {
  if constexpr (kIsWide<T, V>) {
    return v;
  } else {
    return top_digits(v);
  }
}

/// (1 - Phi(a)) e^(a^2 / 2) is above / (sqrt(2 pi) a above + beside), here with an error of 2^-24.4 of it, or 2^-57.1,
/// where a <= kMostGelu.
template <typename V>
struct MillsRatio {
  V above, beside;
};
template <typename T, typename V>
EVENKEEL_WORD MillsRatio<V> mills_ratio(const V& a) {
  if constexpr (std::is_same_v<T, float>) {
    return {
        polynomial(a, 1.0, 0.9550201596490265, 0.4272414642786501, 0.10248925635809572, 0.011575775097251077),
        polynomial(a, 1.9999999104494788, 0.9991866758972717, 0.25778296649354915, 0.028992690608892945)};
  } else {
    return {polynomial(a, 1.89859886721567, 3.2165911792433515, 2.6953236536581877, 1.4462028677903729,
                       0.5455705003370594, 0.1505950223007014, 0.030777029426641362, 0.004606537852457836,
                       0.00048545066583819996, 3.279122051393149e-05, 1.0937883991451867e-06),
            polynomial(a, 3.79719773443134, 4.703826202359904, 2.979558080274812, 1.2252115844480345,
                       0.3552141058172678, 0.07474029415739937, 0.011382487412098912, 0.001211360919523846,
                       8.21954005411756e-05, 2.741720927543907e-06)};
  }
}

/// a Phi(-a), or its slope
template <typename T, bool kSlope, typename V>
EVENKEEL_WORD V gelu_tail(const V& a) {
  constexpr long double kPhiOfZero = 0.398942280401432677939946L;  // 1 / sqrt(2 pi)
  if constexpr (std::is_same_v<V, long double>) {
    const V n = std::erfc(a * std::sqrt(0.5L)) / 2;
    return kSlope ? n - a * (kPhiOfZero * std::exp(a * a / -2)) : a * n;
  } else {
    const V top = top_part<T>(a), half = number<V>(0.5L);
    const Power<V> e = power<T>(V(V(top * top) * half), V(V(V(a - top) * V(a + top)) * half));
    const MillsRatio<V> m = mills_ratio<T>(a);
    const V product = V(a * m.above), sum = fma(number<V>(2.50662827463100050242L), product, m.beside);
    const V numerator = kSlope ? fma(V(a * number<V>(-kPhiOfZero)), sum, m.above) : product;
    const V scaled = V(sum * e.scale);
    return as_computed(V(V(numerator / fma(scaled, e.rest, scaled)) * number<V>(kUnit<T, V>)));
  }
}

/// a / (1 + e^x), where x = a w and w = c1 + c3 a^2; or its slope
template <typename T, bool kSlope, typename V>
EVENKEEL_WORD V gelu_tanh_tail(const V& a) {
  // c1 = sqrt(8 / pi), c3 = 0.044715 c1. Products of top parts are exact.
  const V c1 = number<V>(1.59576912160573071176L), c1_top = number<V>(0x1.988453p+0L),
          c1_rest = number<V>(1.42639643543379092397e-8L);
  const V c3 = number<V>(0.0713548162726002487763L), c3_top = number<V>(0x1.2444f28p-4L),
          c3_rest = number<V>(5.36187246762178596e-10L);
  const V square = V(a * a), w = fma(c3, square, c1);
  const V a_top = top_part<T>(a), square_top = top_part<T>(square), w_top = top_part<T>(w);
  const V a_rest = V(a - a_top), square_rest = fma(a_rest, V(a + a_top), fma(a_top, a_top, V(-square_top)));
  const V w_rest = V(fma(c3_top, square_top, as_computed(V(c1_top - w_top))) +
                     fma(c3_top, square_rest, fma(c3_rest, square, c1_rest)));
  const V x = V(a_top * w_top), low = fma(a_rest, w_top, V(a * w_rest));
  if constexpr (kSlope) {
    return logistic_tail_slope<T>(V(a * fma(number<V>(3), V(w - c1), c1)), x, low);
  } else {
    return logistic_tail<T>(a, x, low);
  }
}

template <typename C, typename V>
EVENKEEL_WORD Vec<C> as_vec(const V& v) {
  if constexpr (std::is_same_v<V, Vec<C>>) {
    return v;
  } else {
    return narrow<C>(v);
  }
}
/// |z|, at most `most`
template <typename C>
EVENKEEL_WORD Vec<C> size_of(const Vec<C>& z, double most) {
  return smaller(number<Vec<C>>(most), magnitude(z));
}
template <typename C, typename F>
EVENKEEL_WORD Vec<C> gated(const Vec<C>& z, double most, const F& tail) {
  return Vec<C>(larger(number<Vec<C>>(0), z) - as_vec<C>(tail(size_of<C>(z, most))));
}
/// tail(|z|) where z is negative, else 1 - tail(|z|)
template <typename C, typename F>
EVENKEEL_WORD Vec<C> mirrored(const Vec<C>& z, double most, const F& tail) {
  const Vec<C> v = as_vec<C>(tail(size_of<C>(z, most)));
  return where_positive(Vec<C>(-z), v, Vec<C>(number<Vec<C>>(1) - v));
}

// The functions, within 2 units in the last place for float, and 4 for double, or 5 without a fused multiply-add. A slope
// is within 2^-23, or 2^-51 for double; in the tail, where z < -3, within 4 or 6 units in the last place. z may be infinite
// or NaN.

/// z / (1 + e^-z)
template <typename C>
EVENKEEL_CALL Vec<C> silu(Vec<C> z) {
  return gated<C>(z, kMostPower<C>, [](const Vec<C>& a) EVENKEEL_WORD_LAMBDA {
    return logistic_tail<C>(lanes_of(a), lanes_of(a));
  });
}
template <typename C>
EVENKEEL_CALL Vec<C> silu_slope(Vec<C> z) {
  return mirrored<C>(z, kMostPower<C>, [](const Vec<C>& a) EVENKEEL_WORD_LAMBDA {
    return logistic_tail_slope<C>(lanes_of(a), lanes_of(a));
  });
}

/// z Phi(z) = z (1 + erf(z / sqrt(2))) / 2
template <typename C>
EVENKEEL_CALL Vec<C> gelu(Vec<C> z) {
  return gated<C>(z, kMostGelu<C>,
                  [](const Vec<C>& a) EVENKEEL_WORD_LAMBDA { return gelu_tail<C, false>(widen(a)); });
}
template <typename C>
EVENKEEL_CALL Vec<C> gelu_slope(Vec<C> z) {
  return mirrored<C>(z, kMostGelu<C>,
                     [](const Vec<C>& a) EVENKEEL_WORD_LAMBDA { return gelu_tail<C, true>(widen(a)); });
}

/// z (1 + tanh(sqrt(2 / pi) (z + 0.044715 z^3))) / 2
template <typename C>
EVENKEEL_CALL Vec<C> gelu_tanh(Vec<C> z) {
  return gated<C>(z, kMostGeluTanh<C>,
                  [](const Vec<C>& a) EVENKEEL_WORD_LAMBDA { return gelu_tanh_tail<C, false>(widen(a)); });
}
template <typename C>
EVENKEEL_CALL Vec<C> gelu_tanh_slope(Vec<C> z) {
  return mirrored<C>(z, kMostGeluTanh<C>,
                     [](const Vec<C>& a) EVENKEEL_WORD_LAMBDA { return gelu_tanh_tail<C, true>(widen(a)); });
}

/// tanh(z) = (1 - e^-2a) / (1 + e^-2a) with the sign of z
template <typename C>
EVENKEEL_CALL Vec<C> tanh_curve(Vec<C> z) {
#if EVENKEEL_REGISTER == 0
  using std::tanh;
  return C(tanh(z));
#else
  using V = Vec<C>;
  const V one = number<V>(1);
  const Power<V> e = power<C>(V(-size_of<C>(V(z + z), 40)));  // beyond 40 it is 1
  const V scale = V(e.scale * number<V>(1 / kUnit<C, V>));
  return with_sign(V(fma(V(-scale), e.rest, V(one - scale)) / fma(scale, e.rest, V(one + scale))), z);
#endif
}
template <typename C>
EVENKEEL_CALL Vec<C> tanh_slope(Vec<C> z) {
  return as_vec<C>(logistic_slope<C>(lanes_of(size_of<C>(Vec<C>(z + z), kMostPower<C>)), 4));
}

/// 1 / (1 + e^-z)
template <typename C>
EVENKEEL_CALL Vec<C> sigmoid(Vec<C> z) {
  return mirrored<C>(z, kMostPower<C>, [](const Vec<C>& a) EVENKEEL_WORD_LAMBDA {
    const auto x = lanes_of(a);
    return logistic_tail<C>(number<std::decay_t<decltype(x)>>(1), x);
  });
}
template <typename C>
EVENKEEL_CALL Vec<C> sigmoid_slope(Vec<C> z) {
  return as_vec<C>(logistic_slope<C>(lanes_of(size_of<C>(z, kMostPower<C>)), 1));
}

/// The smooth activation of this kind; z of any other.
template <typename C>
EVENKEEL_CALL Vec<C> curve(Curve kind, Vec<C> z) {
  switch (kind) {
    case Curve::silu:
      return silu<C>(z);
    case Curve::gelu:
      return gelu<C>(z);
    case Curve::gelu_tanh:
      return gelu_tanh<C>(z);
    case Curve::tanh:
      return tanh_curve<C>(z);
    case Curve::sigmoid:
      return sigmoid<C>(z);
    default:
      return z;
  }
}
/// Its slope at z, so that dz = dy slope.
template <typename C>
EVENKEEL_CALL Vec<C> curve_slope(Curve kind, Vec<C> z) {
  switch (kind) {
    case Curve::silu:
      return silu_slope<C>(z);
    case Curve::gelu:
      return gelu_slope<C>(z);
    case Curve::gelu_tanh:
      return gelu_tanh_slope<C>(z);
    case Curve::tanh:
      return tanh_slope<C>(z);
    case Curve::sigmoid:
      return sigmoid_slope<C>(z);
    default:
      return number<Vec<C>>(1);
  }
}
