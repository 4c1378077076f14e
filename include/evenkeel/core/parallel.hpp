// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <type_traits>
#include <unsupported/Eigen/CXX11/Tensor>

#include "evenkeel/base/scalar.hpp"
#include "evenkeel/base/store_fence.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN

template <typename T>
struct IsDevice : std::false_type {};
template <>
struct IsDevice<Eigen::DefaultDevice> : std::true_type {};
template <>
struct IsDevice<Eigen::ThreadPoolDevice> : std::true_type {};

/// From how many elements on it pays to wake up sleeping threads, and the least that each of them works on.
constexpr Index kWorthThreads = 262144, kWorthOneThread = 65536;

/// How many of a device's threads work on so many elements.
inline int team_size(Index elements, int threads) {
  return elements < kWorthThreads
             ? 1
             : static_cast<int>(std::clamp<Index>(threads, 1, elements / kWorthOneThread));
}

/// Runs loops on the threads of a device, whose type is erased, so that the core is compiled once for all devices.
class ParallelFor {
 public:
  using Call = void (*)(const void* f, Index i);

  /// The present thread alone.
  ParallelFor() = default;
  ParallelFor(const Eigen::DefaultDevice&, Index) {}
  /// Of a device with threads: see thread_pool.hpp.
  ParallelFor(const Eigen::ThreadPoolDevice& device, Index elements);
  template <typename Device>
  ParallelFor(const Device&, Index) {
    static_assert(sizeof(Device) == 0, "evenkeel runs on Eigen::DefaultDevice and Eigen::ThreadPoolDevice");
  }
  ParallelFor(const ParallelFor&) = delete;
  ParallelFor& operator=(const ParallelFor&) = delete;
  ~ParallelFor() {
    if (crew_ != nullptr) dismiss_(crew_);
  }

  int threads() const { return threads_; }

  /// Calls f(i) for i in [0, count), in any order and on any thread. `elements` is what one call works on. With several
  /// threads f may not throw.
  template <typename F>
  void for_each(Index count, Index elements, const F& f) const {
    run(
        count, elements, [](const void* g, Index i) { (*static_cast<const F*>(g))(i); }, &f);
  }

 private:
  friend struct ThreadPoolLoops;

  EVENKEEL_OUTLINE_MEMBER void run(Index count, Index elements, Call call, const void* f) const {
    if (threads_ > 1 && count > 1 && count * elements >= kWorthOneThread && run_(*this, count, call, f))
      return;
    for (Index i = 0; i < count; ++i) call(f, i);
  }

  int threads_ = 1;
  void* pool_ = nullptr;
  mutable void* crew_ = nullptr;
  bool (*run_)(const ParallelFor&, Index count, Call, const void* f) = nullptr;
  void (*dismiss_)(void* crew) = nullptr;
};

// Work is cut by its size alone, so that what is added to what does not depend on the number of threads.

/// The least elements that are a thread's part.
constexpr Index kGrain = 32768;

/// Blocks enough for many threads, and few enough that each may keep sums of its own.
constexpr Index kMaxBlocks = 128;

/// `steps` of `step_size` elements each, cut into at most `most` pieces of equal length, the last one shorter.
struct Pieces {
  static constexpr Index kMax = 16;

  Index steps, length, count;

  Pieces(Index steps_, Index step_size, Index most = kMax) : steps(steps_) {
    const Index least = std::max((steps + most - 1) / most, kGrain / std::max<Index>(1, step_size));
    count = (steps + least - 1) / least;
    length = (steps + count - 1) / count;
    if (step_size == 1) length = (length + 63) / 64 * 64;
    count = (steps + length - 1) / length;
  }
  Index begin(Index piece) const { return piece * length; }
  Index end(Index piece) const { return std::min(steps, (piece + 1) * length); }
};

/// Items of one size, put into at most `most` blocks of neighbours. One thread has a block, or all work on it together.
struct Blocks {
  Index items, item_size, bundle, count;

  Blocks(Index items_, Index item_size_, Index most)
      : items(items_), item_size(std::max<Index>(1, item_size_)) {
    bundle = std::max({(items + most - 1) / most, kGrain / item_size, Index(1)});
    count = (items + bundle - 1) / bundle;
  }

  using Call = void (*)(const void* f, Index block, Index begin, Index end, const ParallelFor& loops);

  /// Calls f(block, first item, end of items, loops). On return all threads see what f streamed past the caches.
  template <typename F>
  void for_each(const ParallelFor& loops, bool streams, const F& f) const {
    const Call call = [](const void* g, Index block, Index begin, Index end, const ParallelFor& its_loops) {
      (*static_cast<const F*>(g))(block, begin, end, its_loops);
    };
    run(loops, call, &f);
    if (streams) store_fence();
  }

 private:
  EVENKEEL_OUTLINE_MEMBER void run(const ParallelFor& loops, Call call, const void* f) const {
    const auto block = [&](Index b, const ParallelFor& its_loops) {
      call(f, b, b * bundle, std::min(items, (b + 1) * bundle), its_loops);
    };
    // How many times as fast: count / rounds with a block a thread, pieces / piece_rounds with all on each.
    const Index threads = loops.threads(), pieces = std::clamp<Index>(item_size / kGrain, 1, Pieces::kMax);
    const Index rounds = (count + threads - 1) / threads, piece_rounds = (pieces + threads - 1) / threads;
    if (threads > 1 &&
        5 * count * piece_rounds >= 4 * pieces * rounds) {  // less often together is worth a fifth
      loops.for_each(count, bundle * item_size, [&](Index b) { block(b, ParallelFor()); });
    } else {
      for (Index b = 0; b < count; ++b) block(b, loops);
    }
  }
};

EVENKEEL_END
}  // namespace evenkeel::detail

#include "evenkeel/core/thread_pool.hpp"
