#pragma once

#include <algorithm>

#include "evenkeel/kernels/lines.hpp"
#include "evenkeel/kernels/terms.hpp"

namespace evenkeel::kernels {

/// first[k], second[k] = the Terms' sums over elements [begin, end) of set k.
///
/// Set k is `lines` from x + offsets[k] on, and has one center.
template <typename Terms, typename Storage>
struct RunSums {
  using Compute = ComputeOf<Storage>;
  using Statistic = StatisticOf<Storage>;

  const Storage* x;
  const Storage* dy;
  const Compute* gamma;  // one an element of the line
  Lines lines;
  Index begin, end;
  Index sets;
  const Index* offsets;
  const Compute* centers;
  Statistic* first;
  Statistic* second;

  template <int Bytes>
  EVENKEEL_INLINE void operator()() const {
    for (Index k = 0; k < sets; ++k) sum<simd::VecOf<Compute, Bytes>>(k);
  }

 private:
  template <typename V>
  EVENKEEL_INLINE void sum(Index k) const {
    constexpr int L = V::kLanes;
    const V zero = V::all(Compute(0)), center = V::all(centers[k]);
    simd::WideSum<Compute, L, Statistic> wide_first, wide_second;
    V first_tail = zero, second_tail = zero;
    int tail_steps = 0;

    LineCursor line(lines, begin / lines.length);
    Index at = begin % lines.length;
    for (Index left = end - begin; left > 0; line.next(), at = 0) {
      const Index from = offsets[k] + line.offset() + at;
      const Index n = std::min(lines.length - at, left);
      left -= n;

      Index i = 0;
      while (i + 4 * L <= n) {
        V f0 = zero, f1 = zero, f2 = zero, f3 = zero, s0 = zero, s1 = zero, s2 = zero, s3 = zero;
        const Index stop = std::min(n, i + kShortSum * 4 * L);
        for (; i + 4 * L <= stop; i += 4 * L) {
          add(k, from + i, at + i, L, center, f0, s0);
          add(k, from + i + L, at + i + L, L, center, f1, s1);
          add(k, from + i + 2 * L, at + i + 2 * L, L, center, f2, s2);
          add(k, from + i + 3 * L, at + i + 3 * L, L, center, f3, s3);
        }
        wide_first.add((f0 + f1) + (f2 + f3));
        wide_second.add((s0 + s1) + (s2 + s3));
      }
      for (; i < n; i += L) {
        add(k, from + i, at + i, n - i, center, first_tail, second_tail);
        if (++tail_steps == kShortSum) {
          wide_first.add(first_tail);
          wide_second.add(second_tail);
          first_tail = second_tail = zero;
          tail_steps = 0;
        }
      }
    }
    wide_first.add(first_tail);
    wide_second.add(second_tail);
    first[k] = wide_first.total();
    second[k] = wide_second.total();
  }

  template <typename V>
  EVENKEEL_INLINE void add(Index k, Index offset, Index feature, Index n, const V& center, V& f, V& s) const {
    V vx = V::load(x + offset, n, centers[k]), vdy = vx, vgamma = vx;
    if constexpr (Terms::kInputs > 1) vdy = V::load(dy + offset, n, Compute(0));
    if constexpr (Terms::kInputs > 2) vgamma = V::load(gamma + feature, n, Compute(0));
    Terms::add(vx, vdy, vgamma, center, f, s);
  }
};

/// out = Op(x, dy) over elements [begin, end) of each cell.
///
/// Cell k is `lines` from x + offsets[k] on, and has one value of each coefficient.
template <typename Op, typename Storage>
struct RunApply {
  using Compute = ComputeOf<Storage>;

  const Storage* x;
  const Storage* dy;
  Storage* out;
  Lines lines;
  Index begin, end;
  Index cells;
  const Index* offsets;
  const Compute* coefficients[4];  // [Op::kCoefficients][cell]

  template <int Bytes>
  EVENKEEL_INLINE void operator()() const {
    using V = simd::VecOf<Compute, Bytes>;
    for (Index k = 0; k < cells; ++k) {
      V c[Op::kCoefficients];
      for (int j = 0; j < Op::kCoefficients; ++j) c[j] = V::all(coefficients[j][k]);
      LineCursor line(lines, begin / lines.length);
      Index at = begin % lines.length;
      for (Index left = end - begin; left > 0; line.next(), at = 0) {
        const Index from = offsets[k] + line.offset() + at;
        const Index n = std::min(lines.length - at, left);
        left -= n;
        for (Index i = 0; i < n; i += V::kLanes) {
          V vx = V::load(x + from + i, n - i, Compute(0)), vdy = vx;
          if constexpr (Op::kInputs > 1) vdy = V::load(dy + from + i, n - i, Compute(0));
          Op::apply(vx, vdy, c).store(out + from + i, n - i);
        }
      }
    }
  }
};

}  // namespace evenkeel::kernels
