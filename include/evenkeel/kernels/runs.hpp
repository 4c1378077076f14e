#pragma once

#include <algorithm>

#include "evenkeel/kernels/lines.hpp"
#include "evenkeel/kernels/terms.hpp"

namespace evenkeel::kernels {

/// pivots[k] = the mean of values from up to four places in elements [begin, end) of set k, as the first value
/// plus the mean of their differences from it: exact where they do not differ.
template <typename Storage>
struct RunPivots {
  using Compute = ComputeOf<Storage>;

  const Storage* x;
  Lines lines;
  Index begin, end;
  Index sets;
  const Index* offsets;
  Compute* pivots;

  template <int Bytes>
  EVENKEEL_INLINE void operator()() const {
    using V = simd::VecOf<Compute, Bytes>;
    if (end - begin < 4 * V::kLanes) {
      take<simd::Vec<Compute, 1>>();
    } else {
      take<V>();
    }
  }

 private:
  template <typename V>
  EVENKEEL_INLINE void take() const {
    const Index step = std::max<Index>(V::kLanes, (end - begin + 3) / 4);
    Index places[4] = {}, lengths[4] = {}, values = 0;
    for (Index i = begin, j = 0; i < end; i += step, ++j) {
      places[j] = lines.offset(i);
      lengths[j] = std::min<Index>({V::kLanes, lines.length - i % lines.length, end - i});
      values += lengths[j];
    }
    const Compute share = Compute(1) / from_count<Compute>(values);
    for (Index k = 0; k < sets; ++k) {
      const Storage* set = x + offsets[k];
      const Compute first = static_cast<Compute>(set[places[0]]);
      const V from = V::all(first);
      const V sum = ((V::load(set + places[0], lengths[0], first) - from) +
                     (V::load(set + places[1], lengths[1], first) - from)) +
                    ((V::load(set + places[2], lengths[2], first) - from) +
                     (V::load(set + places[3], lengths[3], first) - from));
      pivots[k] = Compute(first + sum.total() * share);
    }
  }
};

/// first[k], second[k] = the Terms' sums over elements [begin, end) of set k.
///
/// Set k is `lines` from x + offsets[k] on, and has one center.
template <typename Terms, typename Storage>
struct RunSums {
  using Compute = ComputeOf<Storage>;
  using Statistic = StatisticOf<Storage>;

  const Storage* x;
  const Storage* dy;
  Lines lines;
  Index begin, end;
  Index sets;
  const Index* offsets;
  const Compute* centers;
  Statistic* first;
  Statistic* second;

  template <int Bytes>
  EVENKEEL_INLINE void operator()() const {
    const LineCursor start(lines, begin, end);
    for (Index k = 0; k < sets; ++k) sum<simd::VecOf<Compute, Bytes>>(k, start);
  }

 private:
  template <typename V>
  EVENKEEL_INLINE void sum(Index k, LineCursor line) const {
    constexpr int L = V::kLanes;
    const V zero = V::all(Compute(0)), center = V::all(centers[k]);
    simd::WideSum<Compute, L, Statistic> wide_first, wide_second;
    V first_tail = zero, second_tail = zero;
    int tail_steps = 0;

    for (; !line.done(); line.next()) {
      const Index from = offsets[k] + line.offset(), n = line.length();

      Index i = 0;
      while (i + 4 * L <= n) {
        V f0 = zero, f1 = zero, f2 = zero, f3 = zero, s0 = zero, s1 = zero, s2 = zero, s3 = zero;
        const Index stop = std::min(n, i + kShortSum * 4 * L);
        for (; i + 4 * L <= stop; i += 4 * L) {
          add(k, from + i, L, center, f0, s0);
          add(k, from + i + L, L, center, f1, s1);
          add(k, from + i + 2 * L, L, center, f2, s2);
          add(k, from + i + 3 * L, L, center, f3, s3);
        }
        wide_first.add((f0 + f1) + (f2 + f3));
        wide_second.add((s0 + s1) + (s2 + s3));
      }
      for (; i < n; i += L) {
        add(k, from + i, n - i, center, first_tail, second_tail);
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
  EVENKEEL_INLINE void add(Index k, Index offset, Index n, const V& center, V& f, V& s) const {
    V vx = V::load(x + offset, n, centers[k]), vdy = vx;
    if constexpr (Terms::kInputs > 1) vdy = V::load(dy + offset, n, Compute(0));
    Terms::add(vx, vdy, vx, center, f, s);
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
  bool stream;  // past the caches
  Lines lines;
  Index begin, end;
  Index cells;
  const Index* offsets;
  const Compute* coefficients[4];  // [Op::kCoefficients][cell]

  template <int Bytes>
  EVENKEEL_INLINE void operator()() const {
    using V = simd::VecOf<Compute, Bytes>;
    const LineCursor start(lines, begin, end);
    for (Index k = 0; k < cells; ++k) {
      V c[Op::kCoefficients];
      for (int j = 0; j < Op::kCoefficients; ++j) c[j] = V::all(coefficients[j][k]);
      for (LineCursor line = start; !line.done(); line.next())
        apply(offsets[k] + line.offset(), line.length(), c);
    }
  }

 private:
  template <typename V>
  EVENKEEL_INLINE void apply(Index from, Index n, const V* c) const {
    write_line<V>(out + from, n, stream, [&](Index i, Index m) EVENKEEL_INLINE_LAMBDA {
      V vx = V::load(x + from + i, m, Compute(0)), vdy = vx;
      if constexpr (Op::kInputs > 1) vdy = V::load(dy + from + i, m, Compute(0));
      return Op::apply(vx, vdy, c);
    });
  }
};

}  // namespace evenkeel::kernels
