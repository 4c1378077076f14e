#pragma once

#include <algorithm>

#include "evenkeel/kernels/lines.hpp"
#include "evenkeel/kernels/terms.hpp"

namespace evenkeel::kernels {
EVENKEEL_BEGIN

/// out = Op(x, dy, gamma[f], beta[f]) for features f in [begin, end) of each row.
///
/// Row r begins at x + offset + r stride and has one value of each coefficient; gamma and beta may be null. Limited
/// by loads (x, gamma and beta) while the data is near, by bandwidth beyond. Measured as half of NormalizeRows and of
/// layer norm's backward, at RowGradients.
template <typename Op, typename Storage>
struct RowApply {
  using Compute = ComputeOf<Storage>;

  const Storage* x;
  const Storage* dy;
  Storage* out;
  bool stream;  // past the caches
  Index ahead;  // the last input is asked for; see prefetch()
  Index begin, end;
  Index rows, offset, stride;
  const Compute* coefficients[4];  // [Op::kCoefficients][row]
  const Compute* gamma;
  const Compute* beta;

  template <int Bytes>
  EVENKEEL_INLINE void operator()() const {
    using V = simd::VecOf<Compute, Bytes>;
    if (stream && (end - begin >= kLongRow || in_lines())) {
      choose<V, true>();
    } else {
      choose<V, false>();
    }
  }

  /// Whether a row can be written in parts of four vectors.
  template <typename V>
  EVENKEEL_INLINE bool has_parts() const {
    return (end - begin) % (4 * V::kLanes) == 0 && has_all() && (!stream || in_lines());
  }

  /// The part of row r that begins at feature f.
  template <typename V>
  EVENKEEL_INLINE void part(Index r, Index f) const {
    if (stream) {
      part<V, true>(r, f);
    } else {
      part<V, false>(r, f);
    }
  }

 private:
  static constexpr Index kLongRow = 16 * kCacheLine<Storage>;  // worth two ends that cannot be streamed

  EVENKEEL_INLINE bool in_lines() const { return lines_only(out + offset + begin, end - begin, stride); }

  /// The parameters that Op takes.
  EVENKEEL_INLINE bool has_all() const { return gamma != nullptr && (beta != nullptr || Op::kInputs > 1); }

  template <typename V, bool kStream>
  EVENKEEL_INLINE void choose() const {
    const Index n = end - begin;
    if (n == V::kLanes) {
      few_vectors<1, V, kStream>();
    } else if (n == 2 * V::kLanes) {
      few_vectors<2, V, kStream>();
    } else if (n == 4 * V::kLanes) {
      few_vectors<4, V, kStream>();
    } else if (has_all()) {
      apply<V, kStream, true>();
    } else {
      apply<V, kStream, false>();
    }
  }

  template <typename V, bool kStream>
  EVENKEEL_INLINE void part(Index r, Index f) const {
    V c[Op::kCoefficients];
    spread_coefficients<Op>(coefficients, r, c);
    vectors<4, V, kStream, true>(offset + r * stride + f, f, c);
  }

  template <typename V, bool kStream, bool kHasAll>
  EVENKEEL_INLINE void apply() const {
    constexpr int L = V::kLanes, kOfLine = std::max(1, static_cast<int>(kCacheLine<Storage>) / L);
    const Index n = end - begin;
    const bool whole = n % (kStream ? kOfLine * L : L) == 0 && (!kStream || in_lines());
    for (Index r = 0; r < rows; ++r) {
      V c[Op::kCoefficients];
      spread_coefficients<Op>(coefficients, r, c);
      const Index from = offset + r * stride + begin;
      if (whole && kStream) {
        for (Index i = 0; i < n; i += kOfLine * L) vectors<kOfLine, V, true, kHasAll>(from + i, begin + i, c);
      } else if (whole) {
#pragma GCC unroll 2
        for (Index i = 0; i < n; i += L) vectors<1, V, false, kHasAll>(from + i, begin + i, c);
      } else {
        write_line<V, kStream>(out + from, n, [&](Index i, Index m) EVENKEEL_INLINE_LAMBDA {
          if constexpr (kStream) ask_ahead(from + i);
          return value<V, kHasAll>(from + i, begin + i, m, c);
        });
      }
    }
  }

  /// Rows of kVectors vectors, whose gamma and beta stay in registers. Members are copied, or they would be read
  /// again after every store.
  template <int kVectors, typename V, bool kStream>
  EVENKEEL_INLINE void few_vectors() const {
    constexpr int L = V::kLanes;
    V vgamma[kVectors], vbeta[kVectors];
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) {
      vgamma[j] = gamma != nullptr ? V::load(gamma + begin + j * L) : V::all(Compute(1));
      vbeta[j] = Op::kInputs == 1 && beta != nullptr ? V::load(beta + begin + j * L) : V::all(Compute(0));
    }
    const Compute* const of_row[4] = {coefficients[0], coefficients[1], coefficients[2], coefficients[3]};
    const Storage *from = x + offset + begin, *from_dy = Op::kInputs > 1 ? dy + offset + begin : from;
    Storage* to = out + offset + begin;
    const Index step = stride, further = ahead, count = rows;
#pragma GCC unroll 2
    for (Index r = 0; r < count; ++r, from += step, from_dy += step, to += step) {
      V c[Op::kCoefficients];
      spread_coefficients<Op>(of_row, r, c);
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) {
        if (kStream && j * L % kCacheLine<Storage> == 0)
          prefetch((Op::kInputs > 1 ? from_dy : from) + j * L, further);
        const V vx = V::load(from + j * L), vdy = Op::kInputs > 1 ? V::load(from_dy + j * L) : vx;
        put<kStream>(Op::apply(vx, vdy, c, vgamma[j], vbeta[j]), to + j * L);
      }
    }
  }

  /// kCount vectors from feature f on, which are at x + from.
  template <int kCount, typename V, bool kStream, bool kHasAll>
  EVENKEEL_INLINE void vectors(Index from, Index f, const V* c) const {
    constexpr int L = V::kLanes;
#pragma GCC unroll 4
    for (int j = 0; j < kCount; ++j) {
      if (kStream) ask_ahead(from + j * L);
      put<kStream>(value<V, kHasAll>(from + j * L, f + j * L, L, c), out + from + j * L);
    }
  }

  EVENKEEL_INLINE void ask_ahead(Index from) const { prefetch((Op::kInputs > 1 ? dy : x) + from, ahead); }

  /// Of m features from f on, which are at x + from.
  template <typename V, bool kHasAll>
  EVENKEEL_INLINE V value(Index from, Index f, Index m, const V* c) const {
    V vx = V::load(x + from, m, Compute(0)), vdy = vx;
    if constexpr (Op::kInputs > 1) vdy = V::load(dy + from, m, Compute(0));
    V vgamma = V::all(Compute(1)), vbeta = V::all(Compute(0));
    if (kHasAll || gamma != nullptr) vgamma = V::load(gamma + f, m, Compute(1));
    if (Op::kInputs == 1 && (kHasAll || beta != nullptr)) vbeta = V::load(beta + f, m, Compute(0));
    return Op::apply(vx, vdy, c, vgamma, vbeta);
  }
};

EVENKEEL_END
}  // namespace evenkeel::kernels
