// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "evenkeel/base/scalar.hpp"
#include "evenkeel/base/store_fence.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN
EVENKEEL_BEGIN_SMALL

/// Runs a caller's loops on the caller and on the threads that come in time to help.
///
/// The caller waits for calls that have begun, never for a thread to come: all others may be busy for long, or
/// wait for the caller. Helpers stay from loop to loop until they are dismissed, since waking up takes longer
/// than many loops. A crew has to outlive its helpers, not the data of the loops.
class Crew {
 public:
  explicit Crew(int threads) : stretches_(static_cast<std::size_t>(threads)) {}

  /// The caller's part: calls call(f, i) for i in [0, count), in any order and on any thread.
  void run(Index count, void (*call)(const void* f, Index i), const void* f) noexcept {
    f_ = f;
    call_ = call;
    const auto threads = static_cast<Index>(stretches_.size());
    for (Index t = 0; t < threads; ++t) {
      stretches_[static_cast<std::size_t>(t)].next.store(count * t / threads, std::memory_order_relaxed);
      stretches_[static_cast<std::size_t>(t)].end = count * (t + 1) / threads;
    }
    state_.fetch_add(kTurn, std::memory_order_release);
    work(0);
    state_.fetch_add(kTurn, std::memory_order_relaxed);
    for (int tries = 0; (state_.load(std::memory_order_acquire) & kHelpers) != 0; ++tries) pause(tries);
  }

  /// A helper's part: returns when the crew is dismissed. Helpers beyond those that the crew has room for
  /// sleep until then.
  void help() noexcept {
    if (std::this_thread::get_id() == caller_) return;  // a queue that is full runs its tasks at once
    const std::size_t own = 1 + joined_.fetch_add(1, std::memory_order_relaxed);
    if (own >= stretches_.size()) {
      std::unique_lock<std::mutex> lock(mutex_);
      return wake_up_.wait(lock, [this] { return is_dismissed(); });
    }
    std::uint64_t state = state_.load(std::memory_order_relaxed), last_turn = 0;
    for (int tries = 0; !dismissed(state); state = state_.load(std::memory_order_relaxed)) {
      const std::uint64_t turn = state / kTurn;
      const bool open = turn % 2 == 1 && turn != last_turn;
      if (open && state_.compare_exchange_weak(state, state + 1, std::memory_order_acquire)) {
        work(own);
        state_.fetch_sub(1, std::memory_order_release);
        last_turn = turn;
        tries = 0;
      } else {
        pause(tries++);
      }
    }
    wake_up_.notify_all();
  }

  /// Keeps the crew until it is dismissed, whoever else has it.
  void keep(const std::shared_ptr<Crew>& self) { self_ = self; }

  bool is_dismissed() const { return dismissed(state_.load(std::memory_order_relaxed)); }

  /// Sends all helpers away, also those that have not come yet.
  void dismiss() {
    const std::shared_ptr<Crew> self = std::move(self_);
    const std::lock_guard<std::mutex> lock(mutex_);
    state_.fetch_or(kDismissed, std::memory_order_relaxed);
  }

 private:
  // What state_ is made of: helpers at work, the number of the turn, odd while a loop is open, and the end.
  static constexpr std::uint64_t kTurn = std::uint64_t{1} << 32, kHelpers = kTurn - 1,
                                 kDismissed = std::uint64_t{1} << 63;

  static bool dismissed(std::uint64_t state) { return (state & kDismissed) != 0; }

  /// Leaves the core to others for a moment: a short one, unless there have been many.
  static void pause(int tries) {
    if (tries < 1000) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  }

  /// Each thread has a stretch of neighbours. When its own is done, it takes from the others'.
  void work(std::size_t own) {
    for (std::size_t t = 0; t < stretches_.size(); ++t) {
      Stretch& stretch = stretches_[(own + t) % stretches_.size()];
      for (Index i; (i = stretch.next.fetch_add(1, std::memory_order_relaxed)) < stretch.end;) call_(f_, i);
    }
    store_fence();
  }

  /// In a cache line of its own.
  struct alignas(64) Stretch {
    std::atomic<Index> next{0};
    Index end = 0;
  };

  const std::thread::id caller_ = std::this_thread::get_id();
  const void* f_ = nullptr;
  void (*call_)(const void* f, Index i) = nullptr;
  std::vector<Stretch> stretches_;
  std::atomic<std::uint64_t> state_{0};
  std::atomic<std::size_t> joined_{0};
  std::mutex mutex_;
  std::condition_variable wake_up_;
  std::shared_ptr<Crew> self_;
};

EVENKEEL_END_SMALL
EVENKEEL_END
}  // namespace evenkeel::detail
