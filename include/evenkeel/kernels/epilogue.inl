// SPDX-License-Identifier: MIT
//
// What is fused behind a norm. A map is given one of the classes below, whose call makes its result of z = norm(x) at
// element i. Included beside words.inl.

/// activation(z)
template <typename C>
EVENKEEL_WORD Vec<C> activated(const Vec<C>& z, const Activation<C>& a) {
  if (a.curve == Curve::none) return z;
  const Vec<C> leaky = where_positive(z, z, Vec<C>(z * all(C(a.slope))));
  return clamp(leaky, all(C(a.low)), all(C(a.high)));
}

/// dy activation'(z). The slope is 0 at the ends of a clip, and that of negative values at 0 of a leaky part.
template <typename C>
EVENKEEL_WORD Vec<C> activation_gradient(const Vec<C>& z, const Vec<C>& dy, const Activation<C>& a) {
  if (a.curve == Curve::none) return dy;
  const Vec<C> slope = all(C(a.slope)), leaky = where_positive(z, z, Vec<C>(z * slope));
  return where_between(leaky, all(C(a.low)), all(C(a.high)), where_positive(z, dy, Vec<C>(dy * slope)));
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

/// Nothing is fused.
struct NoEpilogue {
  template <typename V, typename... Lanes>
  EVENKEEL_WORD V operator()(Index, const V& norm, const Lanes&...) const {
    return norm;
  }
};

/// y = min(max(norm(x) + residual, low), high)
template <bool kResidual, typename S>
struct ClipEpilogue {
  using V = Vec<ComputeOf<S>>;
  const S* residual;
  V low, high;

  template <typename... Lanes>
  EVENKEEL_WORD V operator()(Index i, const V& norm, const Lanes&... lanes) const {
    V z = norm;
    if constexpr (kResidual) z = V(z + load(residual + i, lanes...));
    return clamp(z, low, high);
  }
};

/// dy where low < norm(x) + residual < high, else 0. residual may be null.
template <typename S>
struct ClipGradient {
  using V = Vec<ComputeOf<S>>;
  const S* residual;
  const S* dy;
  V low, high;

  template <typename... Lanes>
  EVENKEEL_WORD V operator()(Index i, const V& norm, const Lanes&... lanes) const {
    const V z = residual == nullptr ? norm : V(norm + load(residual + i, lanes...));
    return where_between(z, low, high, load(dy + i, lanes...));
  }
};

/// A smooth activation, or dy times its slope.
template <typename S>
struct SmoothEpilogue {
  using V = Vec<ComputeOf<S>>;
  Epilogue<S> epilogue;

  template <typename... Lanes>
  EVENKEEL_WORD V operator()(Index i, const V& norm, const Lanes&... lanes) const {
    const Epilogue<S>& e = epilogue;
    const V z = e.residual == nullptr ? norm : V(norm + load(e.residual + i, lanes...));
    if (e.dy == nullptr) return curve<ComputeOf<S>>(e.activation.curve, z);
    return V(load(e.dy + i, lanes...) * curve_slope<ComputeOf<S>>(e.activation.curve, z));
  }
};

/// Any that is not smooth, by its data.
template <typename S>
struct AnyEpilogue {
  using V = Vec<ComputeOf<S>>;
  Epilogue<S> epilogue;

  template <typename... Lanes>
  EVENKEEL_WORD V operator()(Index i, const V& norm, const Lanes&... lanes) const {
    return with_epilogue<S>(epilogue, i, norm, lanes...);
  }
};

/// The ends of a clip; those of no activation are infinite.
template <typename C>
struct Ends {
  Vec<C> low, high;

  EVENKEEL_WORD explicit Ends(const Activation<C>& a)
      : low(all(a.curve == Curve::none ? C(-std::numeric_limits<C>::infinity()) : C(a.low))),
        high(all(a.curve == Curve::none ? std::numeric_limits<C>::infinity() : C(a.high))) {}
};
template <typename C>
EVENKEEL_WORD bool is_clip(const Activation<C>& a) {
  return std::numeric_limits<C>::has_infinity &&
         (a.curve == Curve::none || (a.curve == Curve::clip && a.slope == C(1)));
}

// Kernels of smooth activations are apart, so that callers of others do not compile them.

/// Calls f(class of an epilogue that has a dy).
template <bool kSmooth, typename S, typename F>
EVENKEEL_WORD void by_gradient(const Epilogue<S>& e, const F& f) {
  if constexpr (kSmooth) return f(SmoothEpilogue<S>{e});
  if (!is_clip(e.activation)) return f(AnyEpilogue<S>{e});
  const Ends<ComputeOf<S>> ends(e.activation);
  f(ClipGradient<S>{e.residual, e.dy, ends.low, ends.high});
}
/// Calls f(class of the epilogue).
template <bool kSmooth, typename S, typename F>
EVENKEEL_WORD void by_epilogue(const Epilogue<S>& e, const F& f) {
  if (kSmooth || e.dy != nullptr || !is_clip(e.activation)) return by_gradient<kSmooth>(e, f);
  const Ends<ComputeOf<S>> ends(e.activation);
  if (e.residual == nullptr) {
    f(ClipEpilogue<false, S>{nullptr, ends.low, ends.high});
  } else {
    f(ClipEpilogue<true, S>{e.residual, ends.low, ends.high});
  }
}
