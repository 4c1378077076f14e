// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "evenkeel/base/scalar.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN

/// The types whose values a fingerprint knows: those that are numbers and nothing more.
template <typename S>
inline constexpr bool kHasFingerprint =
    std::is_floating_point_v<S> || std::is_same_v<S, Eigen::half> || std::is_same_v<S, Eigen::bfloat16>;

/// A few values of forward's x, bit for bit, so that NaN is itself. They tell backward that its x is another one: y, dy,
/// what y was written over, or the x of another forward.
class Fingerprint {
 public:
  static constexpr int kPlaces = 8;

  /// The places follow from the size alone: the first, the last and some between.
  static Index place(int k, Index size) {
    if (k == kPlaces - 1) return size - 1;
    const std::uint64_t step =
        static_cast<std::uint64_t>(size - 1) * 9363 >> 16;  // a seventh, without a division
    return static_cast<Index>(step) * k;
  }

  /// Of contiguous values, in a few instructions; or at(i) is where value i lies.
  template <typename S>
  EVENKEEL_INLINE void take([[maybe_unused]] const S* x, [[maybe_unused]] Index size) {
    if constexpr (kHasFingerprint<S>) take(x, size, std::make_integer_sequence<int, kPlaces>());
  }
  template <typename S, typename At>
  EVENKEEL_COLD void take_at([[maybe_unused]] const S* x, [[maybe_unused]] Index size,
                             [[maybe_unused]] const At& at) {
    if constexpr (kHasFingerprint<S>) {
      Kept<S> values[kPlaces];
      for (int k = 0; k < kPlaces; ++k) values[k] = static_cast<Kept<S>>(value_at(x + at(place(k, size))));
      keep(values, size);
    }
  }
  void forget() { size_ = 0; }

  /// How many values x had; 0 where nothing is known of it.
  Index size() const { return size_; }

  /// The first place where x is another one; kPlaces if there is none.
  template <typename S, typename At>
  int first_other(const S* x, const At& at) const {
    for (int k = 0; k < kPlaces; ++k) {
      const auto now = static_cast<Kept<S>>(value_at(x + at(place(k, size_))));
      if (std::memcmp(&now, bytes_of<S>(k), sizeof now) != 0) return k;
    }
    return kPlaces;
  }

  /// What was taken at a place.
  template <typename S>
  double value(int k) const {
    Kept<S> value;
    std::memcpy(&value, bytes_of<S>(k), sizeof value);
    return static_cast<double>(value);
  }

 private:
  /// A long double has bytes without a meaning, so what is kept of it is the nearest double.
  template <typename S>
  using Kept = std::conditional_t<(sizeof(S) > sizeof(double)), double, ComputeOf<S>>;

  template <typename S>
  const unsigned char* bytes_of(int k) const {
    return bytes_ + static_cast<std::size_t>(k) * sizeof(Kept<S>);
  }

  template <typename S, int... kEach>
  EVENKEEL_INLINE void take(const S* x, Index size, std::integer_sequence<int, kEach...>) {
    const Kept<S> values[] = {static_cast<Kept<S>>(value_at(x + place(kEach, size)))...};
    keep(values, size);
  }
  template <typename Value>
  EVENKEEL_INLINE void keep(const Value (&values)[kPlaces], Index size) {
    size_ = size;
    std::memcpy(bytes_, values, sizeof values);
  }

  unsigned char bytes_[kPlaces * sizeof(double)] = {};
  Index size_ = 0;
};

EVENKEEL_END
}  // namespace evenkeel::detail
