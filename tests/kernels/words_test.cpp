// The words that kernels are written in, of each instruction set, lane by lane: values of every kind, masks of every
// length, and nothing is read or written beside what a mask covers.
#define EK_TEST_ALSO_FOR_EACH_SET "kernels/words_of_set.inl"
#include "each_set.hpp"
#include "kernel_call.hpp"

namespace ek_test {
namespace {

namespace detail = evenkeel::detail;

template <typename T>
constexpr T kInfinity = std::numeric_limits<T>::infinity();
template <typename T>
constexpr T kNan = std::numeric_limits<T>::quiet_NaN();

/// Values of every kind, `count` of them from the `turn`th on, so that each is in each lane once.
template <typename T>
std::vector<T> kinds(Index count, Index turn) {
  using Limits = std::numeric_limits<T>;
  const T all[] = {T(1.5),
                   T(-2.25),
                   T(0),
                   (Limits::max)(),
                   Limits::lowest(),
                   (Limits::min)(),
                   Limits::denorm_min(),
                   -Limits::denorm_min(),
                   kInfinity<T>,
                   -kInfinity<T>,
                   kNan<T>,
                   T(1) + Limits::epsilon(),
                   T(-0.1)};
  std::vector<T> values;
  for (Index i = 0; i < count; ++i) values.push_back(all[at((turn + 5 * i) % 13)]);
  return values;
}
constexpr Index kKinds = 13;
unsigned seed(Index turn) { return static_cast<unsigned>(turn); }

template <typename T>
bool same(const T& a, const T& b) {
  return a == b || (std::isnan(a) && std::isnan(b));
}
template <typename T>
void expect_lanes(const char* word, const T* got, const std::vector<T>& expected) {
  for (std::size_t i = 0; i < expected.size(); ++i)
    EXPECT_TRUE(same(got[i], expected[i]))
        << word << ", lane " << i << ": " << got[i] << ", expected " << expected[i] << ", " << Call::what();
}
template <typename T, typename F>
std::vector<T> each(Index count, const F& f) {
  std::vector<T> values;
  for (Index i = 0; i < count; ++i) values.push_back(f(at(i)));
  return values;
}
template <typename F>
unsigned bits(Index count, const F& f) {
  unsigned all = 0;
  for (Index i = 0; i < count; ++i) all |= f(at(i)) ? 1u << static_cast<unsigned>(i) : 0u;
  return all;
}

/// W: Words of an instruction set.
template <typename S, typename W>
void test_memory(const char* set) {
  using C = typename W::C;
  using T = typename W::T;
  const WhatWasRunning what_was_running;
  constexpr Index L = W::kCount;
  const C c7(7);
  for (const Place& place : {Place::begin(), Place::end(), Place::end().at(24)}) {
    for (Index n = 0; n <= L; ++n) {
      Call call(place, std::string(set) + ", " + std::to_string(n) + " lanes");
      const std::vector<S> values = numbers<S>(n, 0, 1, 1);
      const auto value = [&](std::size_t i) { return i < at(n) ? static_cast<C>(values[i]) : C(0); };
      // Some.
      C* some = call.out<C>(L);
      W::loaded(call.in(values), n, some);
      expect_lanes("load", some, each<C>(L, value));
      const std::vector<C> whole = numbers<C>(L, 0, 1, 2);
      S* stored = call.out<S>(n);
      W::stored(call.in(whole), n, stored);
      for (Index i = 0; i < n; ++i) expect_same("store", i, stored[i], static_cast<S>(whole[at(i)]));
      W::kept(call.in(whole), n, some);
      expect_lanes("keep", some, each<C>(L, [&](std::size_t i) { return i < at(n) ? whole[i] : C(0); }));
      std::vector<C> nan(at(L), kNan<C>);
      W::kept(call.in(nan), n, some);
      expect_lanes("keep", some, each<C>(L, [&](std::size_t i) { return i < at(n) ? kNan<C> : C(0); }));
      T* widened = call.out<T>(L);
      const std::vector<C> narrow = numbers<C>(n, 0, 1, 5);
      W::loaded_widened(call.in(narrow), n, widened);
      expect_lanes("load_widened", widened,
                   each<T>(L, [&](std::size_t i) { return i < at(n) ? static_cast<T>(narrow[i]) : T(0); }));
      const std::vector<T> wide = numbers<T>(n, 0, 1, 3), whole_wide = numbers<T>(L, 0, 1, 4);
      T *some_wide = call.out<T>(L), *stored_wide = call.out<T>(n);
      if (n > 0) {
        W::wide_part(call.in(wide), n, some_wide);
        // Of one lane there is no part.
        expect_lanes("load_wide", some_wide,
                     each<T>(L, [&](std::size_t i) { return i < at(n) ? wide[i] : T(0); }));
        W::to_wide_part(call.in(whole_wide), n, stored_wide);
        expect_lanes("store_wide", stored_wide, std::vector<T>(whole_wide.begin(), whole_wide.begin() + n));
      }
    }
    // All.
    Call call(place, std::string(set) + ", all lanes");
    const std::vector<S> values = numbers<S>(L, 0, 1, 1);
    S* copied = call.out<S>(L);
    W::copy(call.in(values), copied);
    for (Index i = 0; i < L; ++i) expect_same("store", i, copied[i], values[at(i)]);
    C* lanes = call.out<C>(L);
    W::loaded(call.in(values), lanes);
    expect_lanes("load", lanes, each<C>(L, [&](std::size_t i) { return static_cast<C>(values[i]); }));
    W::of_one(c7, lanes);
    expect_lanes("all", lanes, std::vector<C>(at(L), c7));
    T* wide = call.out<T>(L);
    W::of_one_wide(T(0.1), wide);
    expect_lanes("wide_all", wide, std::vector<T>(at(L), T(0.1)));
  }
  Call call(Place::begin().at(0), std::string(set) + ", two vectors");
  const std::vector<C> values = numbers<C>(2 * L, 0, 1, 1);
  S *stored = call.out<S>(2 * L), *streamed = call.out<S>(2 * L);
  W::stored_two(call.in(values), stored);
  W::streamed_two(call.in(values), streamed);
  for (Index i = 0; i < 2 * L; ++i) {
    expect_same("store_two", i, stored[i], static_cast<S>(values[at(i)]));
    expect_same("stream_two", i, streamed[i], static_cast<S>(values[at(i)]));
  }
}

template <typename S, typename W>
void test_values(const char* set, bool fuses) {
  using C = typename W::C;
  using T = typename W::T;
  constexpr Index L = W::kCount;
  for (Index turn = 0; turn < kKinds * kKinds; ++turn) {
    Call call(Place::end(), std::string(set) + ", turn " + std::to_string(turn));
    const std::vector<C> v = kinds<C>(L, turn), other = kinds<C>(L, turn / kKinds + turn),
                         a = numbers<C>(L, 1, 1, 1 + seed(turn)), b = numbers<C>(L, 1, 1, 2 + seed(turn)),
                         c = numbers<C>(L, -1, 1, 3 + seed(turn));
    const std::vector<T> w = kinds<T>(L, turn), other_w = kinds<T>(L, turn / kKinds + turn),
                         aw = numbers<T>(L, 1, 1, 4 + seed(turn)), bw = numbers<T>(L, 1, 1, 5 + seed(turn)),
                         cw = numbers<T>(L, -1, 1, 6 + seed(turn));
    const C *in_v = call.in(v), *in_other = call.in(other);
    const T *in_w = call.in(w), *in_other_w = call.in(other_w);
    C* out = call.out<C>(L);
    T *wide = call.out<T>(L), *wide2 = call.out<T>(L), *wide3 = call.out<T>(L), *wide4 = call.out<T>(L),
      *wide5 = call.out<T>(L);

    // a b + c, rounded once where the registers can.
    W::fused(call.in(a), call.in(b), call.in(c), out);
    expect_lanes("fma", out, each<C>(L, [&](std::size_t i) {
                   volatile C product = a[i] * b[i];
                   return fuses ? std::fma(a[i], b[i], c[i]) : product + c[i];
                 }));
    W::fused_wide(call.in(aw), call.in(bw), call.in(cw), wide);
    expect_lanes("fma", wide, each<T>(L, [&](std::size_t i) {
                   volatile T product = aw[i] * bw[i];
                   return fuses ? std::fma(aw[i], bw[i], cw[i]) : product + cw[i];
                 }));

    const auto clamped = [](const auto& x, const auto& low, const auto& high) {
      return x < low ? low : high < x ? high : x;
    };
    W::clamped(in_v, C(-1), C(1), out);
    expect_lanes("clamp", out, each<C>(L, [&](std::size_t i) { return clamped(v[i], C(-1), C(1)); }));
    W::clamped(in_v, -kInfinity<C>, kInfinity<C>, out);
    expect_lanes("clamp", out, v);
    W::clamped_wide(in_w, T(-1), T(1), wide);
    expect_lanes("clamp", wide, each<T>(L, [&](std::size_t i) { return clamped(w[i], T(-1), T(1)); }));
    W::larger_of(in_v, in_other, out);
    expect_lanes("larger", out, each<C>(L, [&](std::size_t i) { return v[i] > other[i] ? v[i] : other[i]; }));
    W::smaller_of(in_v, in_other, out);
    expect_lanes("smaller", out,
                 each<C>(L, [&](std::size_t i) { return v[i] < other[i] ? v[i] : other[i]; }));
    W::chosen(in_v, call.in(a), in_other, out);
    expect_lanes("where_positive", out,
                 each<C>(L, [&](std::size_t i) { return v[i] > C(0) ? a[i] : other[i]; }));

    W::widened(in_v, wide);
    expect_lanes("widen", wide, each<T>(L, [&](std::size_t i) { return static_cast<T>(v[i]); }));
    W::loaded_widened(in_v, wide2);
    expect_lanes("load_widened", wide2, std::vector<T>(wide, wide + L));
    W::narrowed(in_w, out);
    expect_lanes("narrow", out, each<C>(L, [&](std::size_t i) { return static_cast<C>(w[i]); }));
    W::wide_arithmetic(in_w, in_other_w, wide, wide2, wide3, wide4, wide5);
    expect_lanes("+", wide, each<T>(L, [&](std::size_t i) { return w[i] + other_w[i]; }));
    expect_lanes("-", wide2, each<T>(L, [&](std::size_t i) { return w[i] - other_w[i]; }));
    expect_lanes("*", wide3, each<T>(L, [&](std::size_t i) { return w[i] * other_w[i]; }));
    expect_lanes("/", wide4, each<T>(L, [&](std::size_t i) { return w[i] / other_w[i]; }));
    expect_lanes("-", wide5, each<T>(L, [&](std::size_t i) { return -w[i]; }));

    W::magnitudes(in_w, wide);
    expect_lanes("magnitude", wide, each<T>(L, [&](std::size_t i) { return std::fabs(w[i]); }));
    W::not_negatives(in_w, wide);
    expect_lanes("not_negative", wide, each<T>(L, [&](std::size_t i) {
                   return w[i] < T(0) && (sizeof(T) > 8 || w[i] >= std::numeric_limits<T>::lowest()) ? T(0)
                                                                                                     : w[i];
                 }));
    W::unless_zeros(in_w, in_other_w, wide);
    expect_lanes("unless_zero", wide,
                 each<T>(L, [&](std::size_t i) { return w[i] == T(0) ? T(0) : other_w[i]; }));
    EXPECT_EQ(W::bits_zero(in_w), bits(L, [&](std::size_t i) { return w[i] == T(0); })) << Call::what();
    EXPECT_EQ(W::bits_less(in_w, in_other_w), bits(L, [&](std::size_t i) { return w[i] < other_w[i]; }))
        << Call::what();
    if constexpr (sizeof(T) == 8) {  // others have no bounds
      for (const double low : {1e-300, 1.0, 1.5}) {
        const double high = low * 1.6;
        EXPECT_EQ(W::bits_outside(in_w, low, high),
                  bits(L, [&](std::size_t i) { return !(low < w[i] && w[i] < high); }))
            << Call::what();
      }
      // One lane decides: neither 0 nor between.
      const std::vector<C> zero(at(L), C(0));
      for (Index i = 0; i < L; ++i) {
        std::vector<C> some(at(L), C(1));
        some[at(i)] = v[0];
        const C size = std::fabs(v[0]);
        const bool expected = size != C(0) && !(C(0.5) < size && size < C(2));
        EXPECT_EQ(W::any_outside(call.in(some), call.in(zero), 0.5, 2), expected)
            << v[0] << ", " << Call::what();
        EXPECT_EQ(W::any_outside(call.in(zero), call.in(some), 0.5, 2), expected)
            << v[0] << ", " << Call::what();
        for (const C high : {C(1.5), C(2)}) {
          EXPECT_EQ(W::any_beyond(call.in(some), static_cast<double>(high)), !(size < high))
              << v[0] << ", " << Call::what();
        }
        EXPECT_EQ(W::any_infinite(call.in(some)), std::isinf(v[0])) << v[0] << ", " << Call::what();
      }
      EXPECT_FALSE(W::any_outside(call.in(zero), call.in(zero), 0.5, 2));
    }
  }
}

template <typename S, typename W>
void test_sums(const char* set) {
  using C = typename W::C;
  using T = typename W::T;
  constexpr Index L = W::kCount;
  // Whole numbers, of which sums are exact; each lane of each vector has another.
  Call call(Place::end(), set);
  const std::vector<C> rows = each<C>(L * L, [](std::size_t i) { return static_cast<C>(i * i % 1009); });
  C* totals = call.out<C>(L);
  W::totals_of(call.in(rows), totals);
  expect_lanes("transposed_totals", totals, each<C>(L, [&](std::size_t r) {
                 C sum(0);
                 for (Index l = 0; l < L; ++l) sum += rows[r * at(L) + at(l)];
                 return sum;
               }));
  for (Index i = 0; i < L; ++i) {  // each lane counts once
    std::vector<T> one(at(L), T(0));
    one[at(i)] = T(3);
    EXPECT_EQ(W::total_of(call.in(one)), T(3)) << set;
  }
  EXPECT_EQ(W::total_of(call.in(each<T>(L, [](std::size_t i) { return static_cast<T>(i + 1); }))),
            T(L * (L + 1) / 2))
      << set;
  // A row's total does not depend on the rows beside it.
  std::vector<C> random = numbers<C>(L * L, 0, 1, 1);
  W::totals_of(call.in(random), totals);
  const std::vector<C> before(totals, totals + L);
  for (Index r = 0; r < L; ++r) {
    std::vector<C> others(at(L * L), kNan<C>);
    std::copy_n(random.begin() + r * L, L, others.begin() + r * L);
    W::totals_of(call.in(others), totals);
    EXPECT_EQ(totals[r], before[at(r)]) << set;
    W::total_of_row(random.data() + r * L, totals);
    for (Index i = 0; i < L; ++i) EXPECT_EQ(totals[i], before[at(r)]) << set;
  }
}

template <typename S, typename W>
void test_inverse_roots(const char* set) {
  using T = typename W::T;
  constexpr Index L = W::kCount;
  const T smallest = std::numeric_limits<T>::denorm_min(), largest = (std::numeric_limits<T>::max)();
  std::vector<T> values = {smallest, 3 * smallest, T(1e-310), T(0x1p-900), T(1e-30), T(0.25),
                           T(1),     T(2),         T(16),     T(1e30),     largest};
  for (int i = 0; i < 1000; ++i) values.push_back(static_cast<T>(1 + 0.003 * i));
  for (const T& value : values) {
    Call call(Place::end(), set);
    T* out = call.out<T>(L);
    W::inverse_roots(call.in(std::vector<T>(at(L), value)), out);
    const Real expected = 1 / std::sqrt(static_cast<Real>(value));
    // A root and a quotient: two roundings, of half a unit each.
    for (Index i = 0; i < L; ++i)
      expect_near("inverse_root", i, out[i], expected, 2 * kUnit<T> * expected * 1.01L);
  }
  for (const double root : {0.125, 0.5, 1.0, 2.0, 0x1p300}) {
    Call call(Place::end(), set);
    T* out = call.out<T>(L);
    W::inverse_roots(call.in(std::vector<T>(at(L), static_cast<T>(1 / (root * root)))), out);
    for (Index i = 0; i < L; ++i) EXPECT_EQ(out[i], static_cast<T>(root)) << set;
  }
}

/// Each number of 16 bits, and what is rounded to it from halfway between it and its neighbours: one vector, two, and some
/// lanes of one.
template <typename S, typename W>
void test_numbers_of_16_bits(const char* set) {
  constexpr Index kCount = 2 * W::kCount;
  const auto same = [](float a, float b) {
    return a == b ? std::signbit(a) == std::signbit(b) : a != a && b != b;
  };
  for (unsigned first = 0; first < 65536; first += kCount) {
    std::vector<S> in(at(kCount)), out(at(kCount));
    std::vector<float> loaded(at(kCount)), between(at(kCount));
    for (Index i = 0; i < kCount; ++i)
      in[at(i)] = Eigen::numext::bit_cast<S>(static_cast<std::uint16_t>(first + static_cast<unsigned>(i)));
    W::loaded(in.data(), loaded.data());
    W::loaded(in.data() + W::kCount, W::kCount - 1, loaded.data() + W::kCount);
    loaded.back() = static_cast<float>(in.back());
    for (Index i = 0; i < kCount; ++i)
      EXPECT_TRUE(same(loaded[at(i)], static_cast<float>(in[at(i)]))) << set << ", " << loaded[at(i)];
    for (const int step : {0, 1, 2, 3, 4}) {
      for (Index i = 0; i < kCount; ++i) {
        const auto next = static_cast<std::uint16_t>(first + static_cast<unsigned>(i) + 1);
        const float low = static_cast<float>(in[at(i)]),
                    high = static_cast<float>(Eigen::numext::bit_cast<S>(next)),
                    middle = low + (high - low) / 2;
        between[at(i)] = step == 0   ? low
                         : step == 1 ? middle
                         : step == 2 ? std::nextafter(middle, low)
                         : step == 3 ? std::nextafter(middle, high)
                                     : low + (high - low) / 4;
      }
      const auto expect_rounded = [&](Index begin, Index end, const char* word) {
        for (Index i = begin; i < end; ++i) {
          const float expected = static_cast<float>(static_cast<S>(between[at(i)]));
          EXPECT_TRUE(same(static_cast<float>(out[at(i)]), expected))
              << set << ", " << word << ", " << between[at(i)];
        }
      };
      W::stored_two(between.data(), out.data());
      expect_rounded(0, kCount, "store_two");
      out.assign(at(kCount), S(0));
      for (const Index from : {Index(0), W::kCount}) {
        W::stored(between.data() + from, W::kCount, out.data() + from);
        expect_rounded(from, from + W::kCount, "store");
        out.assign(at(kCount), S(0));
        W::stored(between.data() + from, W::kCount - 1, out.data() + from);
        expect_rounded(from, from + W::kCount - 1, "store of some lanes");
      }
    }
  }
}

template <typename S, typename W>
void test_set(const char* set, bool fuses) {
  if constexpr (sizeof(S) == 2) test_numbers_of_16_bits<S, W>(set);
  test_memory<S, W>(set);
  test_values<S, W>(set, fuses);
  test_sums<S, W>(set);
  test_inverse_roots<S, W>(set);
}

template <typename S>
void test_all_sets() {
#ifdef __FMA__
  constexpr bool kFuses = true;
#elif defined(__aarch64__)
  constexpr bool kFuses = true;
#else
  constexpr bool kFuses = false;
#endif
  test_set<S, detail::one_by_one::Words<S>>("one by one", kFuses && sizeof(S) <= 8);
#if EVENKEEL_HAS_VECTORS
  if constexpr (detail::kHasBaseline<S>) test_set<S, detail::baseline::Words<S>>("baseline", kFuses);
#endif
#if EVENKEEL_HAS_CHOICE
  if constexpr (detail::kHasVectors<S>) {
    if (has_avx2()) test_set<S, detail::avx2::Words<S>>("AVX2", true);
    if (has_avx512()) test_set<S, detail::avx512::Words<S>>("AVX-512", true);
    if (has_avx2() && !has_avx512()) test_set<S, detail::emulated_avx512::Words<S>>("emulated AVX-512", true);
  }
#endif
}

TEST(Words, OfFloat) { test_all_sets<float>(); }
TEST(Words, OfDouble) { test_all_sets<double>(); }
TEST(Words, OfHalf) { test_all_sets<Eigen::half>(); }
TEST(Words, OfBfloat16) { test_all_sets<Eigen::bfloat16>(); }
TEST(Words, OfLongDouble) { test_all_sets<long double>(); }

}  // namespace
}  // namespace ek_test
