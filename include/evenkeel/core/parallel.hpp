#pragma once

#include <algorithm>
#include <type_traits>
#include <unsupported/Eigen/CXX11/Tensor>

#include "evenkeel/base/scalar.hpp"
#include "evenkeel/simd/vec.hpp"

namespace evenkeel {

template <typename T>
struct IsDevice : std::false_type {};
template <>
struct IsDevice<Eigen::DefaultDevice> : std::true_type {};
template <>
struct IsDevice<Eigen::ThreadPoolDevice> : std::true_type {};

/// How many threads may take part: 1 from inside the pool itself, whose threads must not wait for each other.
template <typename Device>
int concurrency(const Device& device) {
  static_assert(IsDevice<Device>::value, "evenkeel runs on Eigen::DefaultDevice and Eigen::ThreadPoolDevice");
  if constexpr (std::is_same_v<Device, Eigen::ThreadPoolDevice>) {
    return device.currentThreadId() >= 0 ? 1 : device.numThreads();
  } else {
    return 1;
  }
}

/// Calls f(i) for i in [0, count), in any order and on any thread. `elements` is what one call works on. What
/// f streamed past the caches is there for all threads on return.
template <typename Device, typename F>
void parallel_for(const Device& device, Index count, Index elements, const F& f) {
  if constexpr (std::is_same_v<Device, Eigen::ThreadPoolDevice>) {
    if (count > 1 && concurrency(device) > 1) {
      device.parallelFor(count, Eigen::TensorOpCost(0, 0, static_cast<double>(elements)),
                         [&f](Index first, Index last) {
                           for (Index i = first; i < last; ++i) f(i);
                           simd::fence();
                         });
      return;
    }
  }
  for (Index i = 0; i < count; ++i) f(i);
  simd::fence();
}

/// The device's threads, or the present one alone.
template <typename Device>
class Team {
 public:
  explicit Team(const Device* device = nullptr) : device_(device) {}

  /// As parallel_for.
  template <typename F>
  void for_each(Index count, Index elements, const F& f) const {
    if (device_ != nullptr) return parallel_for(*device_, count, elements, f);
    for (Index i = 0; i < count; ++i) f(i);
  }

 private:
  const Device* device_;
};

// Work is cut by its size alone, so that what is added to what does not depend on the number of threads.

/// Elements that are worth a thread's while.
constexpr Index kGrain = 32768;

/// Blocks enough for many threads, and few enough that each may keep sums of its own.
constexpr Index kMaxBlocks = 128;

/// `steps` of `step_size` elements each, cut into at most `most` pieces of equal length, the last one
/// shorter.
struct Pieces {
  static constexpr Index kMax = 16;

  Index steps, length, count;

  Pieces(Index steps_, Index step_size, Index most = kMax) : steps(steps_) {
    length = std::max((steps + most - 1) / most, kGrain / std::max<Index>(1, step_size));
    length = (length + 63) / 64 * 64;
    count = (steps + length - 1) / length;
  }
  Index begin(Index piece) const { return piece * length; }
  Index end(Index piece) const { return std::min(steps, (piece + 1) * length); }
};

/// Items of one size, put into at most `most` blocks of neighbours. One thread has a block, or all work on it
/// together.
struct Blocks {
  Index items, item_size, bundle, count;

  Blocks(Index items_, Index item_size_, Index most)
      : items(items_), item_size(std::max<Index>(1, item_size_)) {
    bundle = std::max({(items + most - 1) / most, kGrain / item_size, Index(1)});
    count = (items + bundle - 1) / bundle;
  }

  /// Calls f(block, first item, end of items, team).
  template <typename Device, typename F>
  void for_each(const Device& device, const F& f) const {
    const auto block = [&](Index b, const Team<Device>& team) {
      f(b, b * bundle, std::min(items, (b + 1) * bundle), team);
    };
    if (item_size <= kGrain || count >= 4 * concurrency(device)) {
      parallel_for(device, count, bundle * item_size, [&](Index b) { block(b, Team<Device>()); });
    } else {
      for (Index b = 0; b < count; ++b) block(b, Team<Device>(&device));
    }
  }
};

}  // namespace evenkeel
