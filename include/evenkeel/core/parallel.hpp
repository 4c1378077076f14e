#pragma once

#include <algorithm>
#include <type_traits>
#include <unsupported/Eigen/CXX11/Tensor>

#include "evenkeel/base/scalar.hpp"
#include "evenkeel/simd/vec.hpp"
#ifdef EIGEN_USE_THREADS
#include <memory>

#include "evenkeel/core/crew.hpp"
#endif

namespace evenkeel {
EVENKEEL_BEGIN

template <typename T>
struct IsDevice : std::false_type {};
template <>
struct IsDevice<Eigen::DefaultDevice> : std::true_type {};
template <>
struct IsDevice<Eigen::ThreadPoolDevice> : std::true_type {};

/// Elements that are worth waking up threads that have slept, which takes about 15 us, and each one's share.
constexpr Index kWorthThreads = 262144, kShare = 65536;

/// How many of a device's threads take part in work on so many elements; of a device without any, the present one.
inline int team_size(Index elements, int threads) {
  return elements < kWorthThreads ? 1 : static_cast<int>(std::clamp<Index>(threads, 1, elements / kShare));
}

/// The threads that take part in work on so many elements.
template <typename Device>
class Team {
 public:
  static_assert(IsDevice<Device>::value, "evenkeel runs on Eigen::DefaultDevice and Eigen::ThreadPoolDevice");

  /// The present thread alone.
  Team() = default;
  Team(const Device&, Index) {}

  int threads() const { return 1; }

  /// Calls f(i) for i in [0, count), in any order and on any thread. `elements` is what one call works on.
  /// With several threads f may not throw.
  template <typename F>
  void for_each(Index count, Index /* elements */, const F& f) const {
    for (Index i = 0; i < count; ++i) f(i);
  }
};

#ifdef EIGEN_USE_THREADS
template <>
class Team<Eigen::ThreadPoolDevice> {
 public:
  Team() = default;
  Team(const Eigen::ThreadPoolDevice& device, Index elements)
      : pool_(device.getPool()), threads_(team_size(elements, device.numThreads())) {}
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;
  ~Team() {
    if (crew_ != nullptr) crew_->dismiss();
  }

  int threads() const { return threads_; }

  template <typename F>
  void for_each(Index count, Index elements, const F& f) const {
    if (threads_ > 1 && count > 1 && count * elements >= kShare) {
      if (crew_ == nullptr) call_in();
      if (crew_ != nullptr) return crew_->run(count, f);
    }
    for (Index i = 0; i < count; ++i) f(i);
  }

 private:
  /// One more than will work. A pool wakes up a thread for each task, even if another that was awake takes it,
  /// and the one without a task would look for one on a core that has better things to do; it sleeps on in the
  /// crew. And of those that have slept, the first to find a core are the ones that work. Without the memory to call
  /// them, whoever is there does all.
  void call_in() const {
    EVENKEEL_TRY { crew_ = std::make_shared<Crew>(threads_); }
    EVENKEEL_CATCH_ALL { return; }
    call_in(pool_, crew_, threads_);
  }

  /// Each calls in half of those that are left, for to wake up a thread takes longer than to start it.
  static void call_in(Eigen::ThreadPoolInterface* pool, const std::shared_ptr<Crew>& crew, int count) {
    EVENKEEL_TRY {
      for (const int part : {count / 2, count - count / 2}) {
        if (part == 0) continue;
        pool->Schedule([=] {
          if (crew->is_dismissed()) return;
          call_in(pool, crew, part - 1);
          crew->help();
        });
      }
    }
    EVENKEEL_CATCH_ALL {}
  }

  Eigen::ThreadPoolInterface* pool_ = nullptr;
  int threads_ = 1;
  mutable std::shared_ptr<Crew> crew_;
};
#endif

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
    const Index least = std::max((steps + most - 1) / most, kGrain / std::max<Index>(1, step_size));
    count = (steps + least - 1) / least;
    length = (steps + count - 1) / count;
    if (step_size == 1) length = (length + 63) / 64 * 64;
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

  /// Calls f(block, first item, end of items, team). What f streamed past the caches is there for all threads
  /// on return.
  template <typename Device, typename F>
  void for_each(const Team<Device>& team, const F& f) const {
    const auto block = [&](Index b, const Team<Device>& its_team) {
      f(b, b * bundle, std::min(items, (b + 1) * bundle), its_team);
    };
    // How many times as fast: count / rounds with a block a thread, pieces / piece_rounds with all on each.
    const Index threads = team.threads(), pieces = std::clamp<Index>(item_size / kGrain, 1, Pieces::kMax);
    const Index rounds = (count + threads - 1) / threads, piece_rounds = (pieces + threads - 1) / threads;
    if (5 * count * piece_rounds >= 4 * pieces * rounds) {  // less often together is worth a fifth
      const Team<Device> alone;
      team.for_each(count, bundle * item_size, [&](Index b) { block(b, alone); });
    } else {
      for (Index b = 0; b < count; ++b) block(b, team);
    }
    simd::fence();
  }
};

EVENKEEL_END
}  // namespace evenkeel
