#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>
#include <type_traits>
#include <unsupported/Eigen/CXX11/Tensor>
#include <vector>

#include "evenkeel/base/scalar.hpp"
#include "evenkeel/simd/vec.hpp"

namespace evenkeel {

template <typename T>
struct IsDevice : std::false_type {};
template <>
struct IsDevice<Eigen::DefaultDevice> : std::true_type {};
template <>
struct IsDevice<Eigen::ThreadPoolDevice> : std::true_type {};

/// How many threads may take part.
template <typename Device>
int concurrency(const Device& device) {
  static_assert(IsDevice<Device>::value, "evenkeel runs on Eigen::DefaultDevice and Eigen::ThreadPoolDevice");
  if constexpr (std::is_same_v<Device, Eigen::ThreadPoolDevice>) {
    return device.numThreads();
  } else {
    return 1;
  }
}

/// Elements that are worth a thread's while.
constexpr Index kGrain = 32768;

/// The calls of f(i), i in [0, count), shared out to the caller and those who come in time to help.
///
/// Each has a stretch of neighbours, and takes from the others' when its own is done. The caller waits for
/// calls that have begun, never for a thread to begin: the pool may be busy, or the caller one of its threads.
/// A helper that comes too late finds nothing to do, and does not touch f, which may be gone.
template <typename F>
class SharedCalls {
 public:
  SharedCalls(const F& f, Index count, int threads)
      : f_(f), left_(count), stretches_(static_cast<std::size_t>(threads)) {
    for (int t = 0; t < threads; ++t) {
      stretches_[static_cast<std::size_t>(t)].next = count * t / threads;
      stretches_[static_cast<std::size_t>(t)].end = count * (t + 1) / threads;
    }
  }

  /// Takes part until no call is left to take.
  void work() noexcept {
    const std::size_t own = joined_.fetch_add(1, std::memory_order_relaxed);
    Index done = 0;
    for (std::size_t t = 0; t < stretches_.size(); ++t) {
      Stretch& stretch = stretches_[(own + t) % stretches_.size()];
      for (Index i; (i = stretch.next.fetch_add(1, std::memory_order_relaxed)) < stretch.end; ++done) f_(i);
    }
    if (done == 0) return;
    simd::fence();
    if (left_.fetch_sub(done, std::memory_order_acq_rel) == done) all_done_.Notify();
  }

  /// Until all calls have returned. They soon will: a thread that goes to sleep takes longer to wake up.
  void wait() {
    for (int i = 0; i < 64; ++i) {
      if (left_.load(std::memory_order_acquire) == 0) return;
      std::this_thread::yield();
    }
    all_done_.Wait();
  }

 private:
  /// In a cache line of its own.
  struct alignas(64) Stretch {
    std::atomic<Index> next;
    Index end;
  };

  const F& f_;
  std::atomic<std::size_t> joined_{0};
  std::atomic<Index> left_;
  std::vector<Stretch> stretches_;
  Eigen::Notification all_done_;
};

/// Calls f(i) for i in [0, count), in any order and on any thread; f does not throw. `elements` is what one
/// call works on. What f streamed past the caches is there for all threads on return.
template <typename Device, typename F>
void parallel_for(const Device& device, Index count, Index elements, const F& f) {
  if constexpr (std::is_same_v<Device, Eigen::ThreadPoolDevice>) {
    const Index threads = std::min({count, count * elements / kGrain, Index(concurrency(device))});
    if (threads > 1) {
      const auto calls = std::make_shared<SharedCalls<F>>(f, count, static_cast<int>(threads));
      for (Index t = 1; t < threads; ++t) device.getPool()->Schedule([calls] { calls->work(); });
      calls->work();
      calls->wait();
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
