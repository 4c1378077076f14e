// The arrays of one kernel call, at pages without access, and the oracle's numbers.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <deque>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "support/guarded.hpp"
#include "support/instruction_sets.hpp"

namespace ek_test {

using Real = long double;

template <typename T>
Real real(const T& value) {
  if constexpr (sizeof(T) == 2) {
    return static_cast<Real>(static_cast<float>(value));
  } else {
    return static_cast<Real>(value);
  }
}

/// Half a unit in the last place of 1.
template <typename T>
constexpr Real kUnit = 0x1p-64L;
template <>
inline constexpr Real kUnit<float> = 0x1p-24L;
template <>
inline constexpr Real kUnit<double> = 0x1p-53L;
template <>
inline constexpr Real kUnit<Eigen::half> = 0x1p-11L;
template <>
inline constexpr Real kUnit<Eigen::bfloat16> = 0x1p-8L;

/// What storing a value as an S may change: nothing where S is computed in.
template <typename S>
Real stored(Real value) {
  if constexpr (sizeof(S) == 2) {
    return kUnit<S> * std::fabs(value) + 0x1p-25L;  // half of half's least number
  } else {
    return 0 * value;
  }
}

/// Always the same random numbers.
template <typename T>
std::vector<T> numbers(Index count, double mean, double std, unsigned seed) {
  static const std::vector<double> pool = [] {
    std::vector<double> all(1 << 14);
    std::mt19937_64 generator(1);
    std::normal_distribution<double> normal;
    for (double& value : all) value = normal(generator);
    return all;
  }();
  std::vector<T> values(at(count));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<T>(mean + std * pool[(i + 1009 * seed) % pool.size()]);
  return values;
}

/// The arrays of a call. Each lies at a page without access, and what is read beside one is NaN.
class Call {
 public:
  Call(const Place& place, const std::string& what) : place_(place) {
    WhatWasRunning::now() = what;
    for (Pool& pool : pools()) pool.used = 0;
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;
  /// Nothing beside an array was written, nor an input.
  ~Call() {
    for (std::size_t i = 0; i < used_.size(); ++i) {
      EXPECT_TRUE(used_[i]->array.beside_intact()) << "wrote beside array " << i << ", " << what();
      if (used_[i]->input.empty()) continue;
      EXPECT_TRUE(same_bytes(used_[i]->array.values(), used_[i]->input))
          << "wrote input " << i << ", " << what();
    }
  }

  template <typename T>
  const T* in(const std::vector<T>& values) {
    return lay(values, Beside::nan, true);
  }
  template <typename T>
  T* out(const std::vector<T>& before) {
    return lay(before, Beside::nan, false);
  }
  template <typename T>
  T* out(Index count, const T& before = T(7)) {
    return out(std::vector<T>(at(count), before));
  }
  /// With room for whole vectors, in which anything may be.
  template <typename T>
  const T* in_with_room(std::vector<T> values) {
    values.resize(values.size() + at(evenkeel::detail::kPadding), std::numeric_limits<T>::quiet_NaN());
    return in(values);
  }
  template <typename T>
  T* out_with_room(std::vector<T> before) {
    before.resize(before.size() + at(evenkeel::detail::kPadding), std::numeric_limits<T>::quiet_NaN());
    return out(before);
  }
  template <typename T>
  T* out_with_room(Index count) {
    return out_with_room(std::vector<T>(at(count), T(7)));
  }

  static const std::string& what() { return WhatWasRunning::now(); }

 private:
  struct Array {
    explicit Array(Index most) : array(most) {}
    GuardedArray<unsigned char> array;
    std::vector<unsigned char> input;
  };
  /// All of them are kept for the next call.
  struct Pool {
    Index most;  // bytes
    std::size_t used;
    std::deque<Array> arrays;

    Array* next() {
      if (used == arrays.size()) arrays.emplace_back(most);
      return &arrays[used++];
    }
  };
  static std::array<Pool, 3>& pools() {
    static std::array<Pool, 3> all = {Pool{4000, 0, {}}, Pool{32000, 0, {}}, Pool{500000, 0, {}}};
    return all;
  }

  template <typename T>
  T* lay(const std::vector<T>& values, Beside beside, bool is_input) {
    Pool* pool = pools().data();
    while (pool->most < static_cast<Index>(values.size() * sizeof(T))) ++pool;
    used_.push_back(pool->next());
    Array& array = *used_.back();
    std::vector<unsigned char> bytes(values.size() * sizeof(T));
    if (!bytes.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
    Place place = place_;
    if (place.offset > 0)
      place.offset = place.offset / static_cast<int>(sizeof(T)) * static_cast<int>(sizeof(T));
    void* data = array.array.lay(bytes, place, beside);
    array.input = is_input ? bytes : std::vector<unsigned char>();
    return static_cast<T*>(data);
  }

  Place place_;
  std::vector<Array*> used_;
};

/// That value i of a result is within bound of what is expected.
template <typename T>
void expect_near(const char* name, Index i, const T& value, Real expected, Real bound) {
  if (std::fabs(real(value) - expected) <= bound) return;
  ADD_FAILURE() << name << "[" << i << "] is " << real(value) << ", expected " << expected << ", apart by "
                << real(value) - expected << " where " << bound << " is allowed: " << Call::what();
}
/// That it is exactly that.
template <typename T>
void expect_same(const char* name, Index i, const T& value, const T& expected) {
  if (std::memcmp(&value, &expected, sizeof(T)) == 0 || value == expected) return;
  ADD_FAILURE() << name << "[" << i << "] is " << real(value) << ", expected " << real(expected) << ": "
                << Call::what();
}

/// Calls f(instruction set, place, text) for each instruction set and each of a few places.
template <typename S, typename F>
void for_each_call(const char* kernel, const std::vector<Index>& sizes, const F& f) {
  const WhatWasRunning what_was_running;
  for (const InstructionSet<S>& set : instruction_sets<S>()) {
    for (const Index n : sizes) {
      const int offset = static_cast<int>(n * 12 % 64);
      for (const Place& place : {Place::end(), n % 3 == 0   ? Place::begin()
                                               : n % 3 == 1 ? Place::begin().at(offset)
                                                            : Place::end().at(offset)}) {
        char text[160];
        std::snprintf(text, sizeof text, "%s, %s, %d bytes an element, size %ld, %s a page%s", kernel,
                      set.name, static_cast<int>(sizeof(S)), static_cast<long>(n),
                      place.side == Place::Side::begin ? "after" : "before",
                      place.offset < 0 ? "" : ", at an offset");
        f(set, n, place, std::string(text));
        if (::testing::Test::HasFailure()) return;
      }
    }
  }
}

/// One less and one more than every vector, and long enough for every loop.
inline std::vector<Index> sizes_to(Index most) {
  std::vector<Index> sizes;
  for (Index n = 1; n <= 70; ++n) sizes.push_back(n);
  for (Index n :
       {95, 96, 97, 127, 128, 129, 255, 256, 257, 259, 300, 511, 512, 513, 530, 1025, 1030, 1100, 2100})
    sizes.push_back(n);
  while (sizes.back() > most) sizes.pop_back();
  return sizes;
}

}  // namespace ek_test
