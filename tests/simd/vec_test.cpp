// Vectors of every width, in the code of their instruction set: whole and partial loads and stores, arithmetic, sums,
// and what lies beside them left alone.
#include "evenkeel/simd/vec.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "evenkeel/simd/sums.hpp"
#include "support/data.hpp"
#include "support/register_widths.hpp"

namespace ek_test {
namespace {

namespace simd = evenkeel::simd;

template <typename T>
std::vector<T> counting(Index size) {
  std::vector<T> values;
  for (Index i = 0; i < size; ++i) values.push_back(static_cast<T>(i + 1));
  return values;
}

template <typename T>
struct Parts {
  Index n;
  T fill;
  const T* in;
  const T* end;
  T* loaded;
  T* loaded_end;
  T* stored;
  T* stored_before;

  template <int Bytes>
  EVENKEEL_INLINE void operator()() const {
    using V = simd::VecOf<T, Bytes>;
    V::load(in, n, fill).store(loaded);
    V::load_end(end, n, fill).store(loaded_end);
    V::load(in).store(stored, n);
    V::load(in).store_before(stored_before, n < V::kLanes ? n : V::kLanes);
  }
};

template <typename T>
void expect_parts() {
  for_each_width<T>([](int bytes, Index lanes) {
    for (Index n = 1; n <= lanes + 2; ++n) {
      SCOPED_TRACE(n);
      const Index whole = std::min(n, lanes);
      const Buffer<T> in(counting<T>(n)), all_in(counting<T>(lanes));
      Buffer<T> loaded(lanes), loaded_end(lanes), stored(n), stored_before(n);
      const T fill(100);
      // Partial loads read from buffers that end where they must; stores take what is in the whole one.
      if (!run_with<T>(bytes,
                       Parts<T>{n, fill, n < lanes ? all_in.data() : in.data(), all_in.data() + lanes,
                                loaded.data(), loaded_end.data(), stored.data(), stored_before.data() + n})) {
        return;
      }
      for (Index i = 0; i < lanes; ++i) {
        EXPECT_EQ(loaded.data()[i], i < n ? static_cast<T>(i + 1) : fill);
        EXPECT_EQ(loaded_end.data()[i], i < lanes - whole ? fill : static_cast<T>(i + 1));
      }
      for (Index i = 0; i < n; ++i) {
        if (i < lanes) {
          EXPECT_EQ(stored.data()[i], static_cast<T>(i + 1));
        } else {
          EXPECT_TRUE(std::isnan(stored.data()[i])) << "stored more than a vector";
        }
        if (i >= n - whole) {
          EXPECT_EQ(stored_before.data()[i], static_cast<T>(i - (n - whole) + 1));
        } else {
          EXPECT_TRUE(std::isnan(stored_before.data()[i])) << "stored more than a vector";
        }
      }
      EXPECT_TRUE(stored.padding_intact() && stored_before.padding_intact() && loaded.padding_intact());
    }
  });
}

/// A partial load of the last values before memory that must not be read.
template <typename T>
struct LoadLast {
  Index n;
  const T* in;
  T* loaded;

  template <int Bytes>
  EVENKEEL_INLINE void operator()() const {
    simd::VecOf<T, Bytes>::load(in, n, T(0)).store(loaded);
  }
};

template <typename T>
void expect_nothing_read_beyond() {
  for_each_width<T>([](int bytes, Index lanes) {
    for (Index n = 1; n <= lanes; ++n) {
      const Buffer<T> in(counting<T>(n));
      Buffer<T> loaded(lanes);
      if (!run_with<T>(bytes, LoadLast<T>{n, in.data(), loaded.data()})) return;
      for (Index i = 0; i < lanes; ++i) EXPECT_EQ(loaded.data()[i], i < n ? static_cast<T>(i + 1) : T(0));
    }
  });
}

template <typename T>
struct Arithmetic {
  const T* a;
  const T* b;
  T scalar;
  T* out;  // seven vectors

  template <int Bytes>
  EVENKEEL_INLINE void operator()() const {
    using V = simd::VecOf<T, Bytes>;
    constexpr int L = V::kLanes;
    const V x = V::load(a), y = V::load(b), s = V::all(scalar);
    (x + y).store(out);
    (x - y).store(out + L);
    (x * y).store(out + 2 * L);
    fma(x, y, s).store(out + 3 * L);
    if_less(x, y, s, x).store(out + 4 * L);
    s.store(out + 5 * L);
    simd::totals([&](int i) EVENKEEL_INLINE_LAMBDA {
      return x * V::load(a + i, 1, T(1));
    }).store(out + 6 * L);
  }
};

template <typename T>
void expect_arithmetic() {
  for_each_width<T>([](int bytes, Index lanes) {
    std::vector<T> a, b;
    for (Index i = 0; i < lanes; ++i) {
      a.push_back(static_cast<T>(4 + i));
      b.push_back(static_cast<T>(i % 3 == 0 ? 2 : 64));
    }
    Buffer<T> out(7 * lanes);
    const T s(7);
    if (!run_with<T>(bytes, Arithmetic<T>{a.data(), b.data(), s, out.data()})) return;
    const auto at_lane = [&](int row, Index i) { return out.data()[row * lanes + i]; };
    T sum(0);
    for (const T& value : a) sum += value;
    for (Index i = 0; i < lanes; ++i) {
      SCOPED_TRACE(i);
      const T x = a[at(i)], y = b[at(i)];
      EXPECT_EQ(at_lane(0, i), x + y);
      EXPECT_EQ(at_lane(1, i), x - y);
      EXPECT_EQ(at_lane(2, i), x * y);
      EXPECT_EQ(at_lane(3, i), x * y + s);
      EXPECT_EQ(at_lane(4, i), x < y ? s : x);
      EXPECT_EQ(at_lane(5, i), s);
      // Row i is a, with its first lane times a[i].
      EXPECT_EQ(at_lane(6, i), lanes == 1 ? x * x : x * a[0] + sum - a[0]);
    }
    EXPECT_TRUE(out.padding_intact());
  });
}

struct InverseRoot {
  const double* in;
  double* out;

  template <int Bytes>
  EVENKEEL_INLINE void operator()() const {
    inverse_root(simd::VecOf<double, Bytes>::load(in)).store(out);
  }
};

/// double by way of float.
struct Convert {
  const double* in;
  float* narrow;
  double* wide;

  template <int Bytes>
  EVENKEEL_INLINE void operator()() const {
    using V = simd::VecOf<double, Bytes>;
    V::load(in).store(narrow);
    V::load(narrow).store(wide);
  }
};

TEST(Vec, LoadsAndStoresParts) {
  expect_parts<float>();
  expect_parts<double>();
  expect_parts<long double>();
}

TEST(Vec, ReadsNothingBeyondItsPart) {
  expect_nothing_read_beyond<float>();
  expect_nothing_read_beyond<double>();
}

TEST(Vec, Computes) {
  expect_arithmetic<float>();
  expect_arithmetic<double>();
  expect_arithmetic<long double>();
}

TEST(Vec, InverseRootIsRightToTwoUnits) {
  const double smallest = std::numeric_limits<double>::denorm_min(),
               largest = std::numeric_limits<double>::max();
  std::vector<double> values = {smallest, 3 * smallest, 1e-310, 0x1p-900, 1e-30, 0.25, 1,
                                2,        16,           1e30,   largest};
  for (int i = 0; i < 1000; ++i) values.push_back(1 + 0.003 * i);
  for_each_width<double>([&](int bytes, Index lanes) {
    for (const double value : values) {
      SCOPED_TRACE(value);
      const Buffer<double> in(std::vector<double>(at(lanes), value));
      Buffer<double> out(lanes);
      if (!run_with<double>(bytes, InverseRoot{in.data(), out.data()})) return;
      const long double expected = 1 / std::sqrt(static_cast<long double>(value));
      for (Index i = 0; i < lanes; ++i) {
        EXPECT_NEAR(static_cast<double>(out.data()[i] / expected), 1,
                    2 * std::numeric_limits<double>::epsilon());
      }
    }
    for (const double root : {0.125, 0.5, 1.0, 2.0, 0x1p300}) {
      const Buffer<double> in(std::vector<double>(at(lanes), 1 / (root * root)));
      Buffer<double> out(lanes);
      if (!run_with<double>(bytes, InverseRoot{in.data(), out.data()})) return;
      EXPECT_EQ(out.data()[0], root);
    }
  });
}

TEST(Vec, ConvertsOnTheWay) {
  for_each_width<double>([](int bytes, Index lanes) {
    const Buffer<double> in(std::vector<double>(at(lanes), 0.1));
    Buffer<float> narrow(lanes);
    Buffer<double> wide(lanes);
    if (!run_with<double>(bytes, Convert{in.data(), narrow.data(), wide.data()})) return;
    for (Index i = 0; i < lanes; ++i) {
      EXPECT_EQ(narrow.data()[i], 0.1f);
      EXPECT_EQ(wide.data()[i], double{0.1f});
    }
    EXPECT_TRUE(narrow.padding_intact() && wide.padding_intact());
  });
}

}  // namespace
}  // namespace ek_test
