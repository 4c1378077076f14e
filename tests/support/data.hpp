// Random data, and buffers that show when somebody reads or writes beside them.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <vector>

#include "shape.hpp"

#if defined(__SANITIZE_ADDRESS__)
#define EK_TEST_ADDRESS_SANITIZER
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EK_TEST_ADDRESS_SANITIZER
#endif
#endif

namespace ek_test {

/// Normally distributed numbers of mean 0 and std 1.
std::vector<double> normal_numbers(Index size, unsigned seed);

/// Normally distributed numbers, rounded to Scalar: the rounded ones are the truth that every test starts
/// from.
template <typename Scalar>
std::vector<Scalar> random_values(Index size, double mean, double std, unsigned seed) {
  const std::vector<double> normal = normal_numbers(size, seed);
  std::vector<Scalar> result(normal.size());
  for (std::size_t i = 0; i < result.size(); ++i)
    result[i] =
        static_cast<Scalar>(static_cast<long double>(mean) + static_cast<long double>(std) * normal[i]);
  return result;
}

/// Random numbers with std 1 whose mean climbs from -height to height along memory.
template <typename Scalar>
std::vector<Scalar> drifting_values(Index size, double height, unsigned seed) {
  std::vector<Scalar> result = random_values<Scalar>(size, 0, 1, seed);
  for (Index i = 0; i < size; ++i)
    result[at(i)] +=
        static_cast<Scalar>(height * (2.0 * static_cast<double>(i) / static_cast<double>(size) - 1));
  return result;
}

/// Random numbers with std 1. Those of every third set are far from its mean where pivots are taken: at the beginning of each
/// quarter.
template <typename Scalar>
std::vector<Scalar> values_with_poor_pivots(const IndexMap& map, unsigned seed) {
  std::vector<Scalar> result = random_values<Scalar>(map.size(), 0, 1, seed);
  std::vector<Index> place(at(map.sets), 0);
  const Index quarter = std::max<Index>(16, map.size() / map.sets / 64 * 16);
  for (Index i = 0; i < map.size(); ++i) {
    const Index set = map.set[at(i)];
    if (place[at(set)]++ % quarter < 16 && set % 3 == 0) result[at(i)] += static_cast<Scalar>(100);
  }
  return result;
}

/// `level` everywhere, but for the middle element of each set, which is level + step.
template <typename Scalar>
std::vector<Scalar> constant_with_outliers(const IndexMap& map, double level, double step) {
  std::vector<Index> left(at(map.sets), 0);
  for (Index set : map.set) ++left[at(set)];
  for (Index& count : left) count = (count + 1) / 2;
  std::vector<Scalar> result;
  for (Index set : map.set)
    result.push_back(static_cast<Scalar>(--left[at(set)] == 0 ? level + step : level));
  return result;
}

/// An array that begins one element after a 64-byte boundary, with a guard on each side, which is NaN for who reads
/// it and is seen to be whole when the array goes. Under AddressSanitizer nothing lies beyond the end, so that
/// reading there is reported too.
template <typename T>
class Buffer {
 public:
  explicit Buffer(const std::vector<T>& values)
      : size_(values.size()), memory_(static_cast<T*>(::operator new[](bytes(), kAlignment))) {
    std::memset(static_cast<void*>(memory_.get()), kGuard, bytes());
    std::copy(values.begin(), values.end(), data());
  }
  explicit Buffer(Index size) : Buffer(std::vector<T>(at(size), nan())) {}
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { EXPECT_TRUE(padding_intact()) << "wrote beside a buffer of " << size_; }

  T* data() { return memory_.get() + kBefore; }
  const T* data() const { return memory_.get() + kBefore; }
  std::vector<T> values() const { return std::vector<T>(data(), data() + size_); }

  bool padding_intact() const {
    const auto is_guard = [](const T* from, std::size_t count) {
      const auto* byte = reinterpret_cast<const unsigned char*>(from);
      return std::all_of(byte, byte + count * sizeof(T), [](unsigned char b) { return b == kGuard; });
    };
    return is_guard(memory_.get(), kBefore) && is_guard(data() + size_, kBeyond);
  }

 private:
  static constexpr unsigned char kGuard = 0xff;  // repeated, a NaN of every type
  static constexpr std::align_val_t kAlignment{64};
  static constexpr std::size_t kBefore = 64 / sizeof(T) + 1;
#ifdef EK_TEST_ADDRESS_SANITIZER
  static constexpr std::size_t kBeyond = 0;
#else
  static constexpr std::size_t kBeyond = 64;
#endif
  struct Delete {
    void operator()(T* memory) const { ::operator delete[](memory, kAlignment); }
  };

  static T nan() { return std::numeric_limits<T>::quiet_NaN(); }
  std::size_t bytes() const { return (kBefore + size_ + kBeyond) * sizeof(T); }

  std::size_t size_;
  std::unique_ptr<T[], Delete> memory_;
};

}  // namespace ek_test
