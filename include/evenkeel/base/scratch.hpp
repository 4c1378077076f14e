// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <memory>
#include <type_traits>

#include "evenkeel/base/config.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN

/// N values to work with, not initialized. Small plain types lie on the stack, aligned to a cache line; others on the
/// heap.
template <typename T, std::ptrdiff_t N, bool kOnStack = std::is_trivially_copyable_v<T> && sizeof(T) <= 64>
class Scratch {
 public:
  T* data() { return values_; }
  const T* data() const { return values_; }
  T& operator[](std::ptrdiff_t i) { return values_[i]; }
  const T& operator[](std::ptrdiff_t i) const { return values_[i]; }

 private:
  alignas(64) T values_[static_cast<std::size_t>(N)];
};

template <typename T, std::ptrdiff_t N>
class Scratch<T, N, false> {
 public:
  T* data() { return values_.get(); }
  const T* data() const { return values_.get(); }
  T& operator[](std::ptrdiff_t i) { return values_[static_cast<std::size_t>(i)]; }
  const T& operator[](std::ptrdiff_t i) const { return values_[static_cast<std::size_t>(i)]; }

 private:
  std::unique_ptr<T[]> values_{new T[N]};
};

EVENKEEL_END
}  // namespace evenkeel::detail
