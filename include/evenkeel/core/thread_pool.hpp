// SPDX-License-Identifier: MIT
#pragma once

// Eigen has thread pools for callers that define EIGEN_USE_THREADS.
#ifdef EIGEN_USE_THREADS

#include "evenkeel/core/crew.hpp"
#include "evenkeel/core/parallel.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN
EVENKEEL_BEGIN_SMALL

/// ParallelFor on an Eigen::ThreadPoolDevice.
struct ThreadPoolLoops {
  static bool run(const ParallelFor& loops, Index count, ParallelFor::Call call, const void* f) {
    if (loops.crew_ == nullptr) call_in(loops);
    if (loops.crew_ == nullptr) return false;
    static_cast<Crew*>(loops.crew_)->run(count, call, f);
    return true;
  }

  static void start(ParallelFor& loops, const Eigen::ThreadPoolDevice& device, Index elements) {
    loops.pool_ = device.getPool();
    loops.threads_ = team_size(elements, device.numThreads());
    loops.run_ = run;
    loops.dismiss_ = [](void* crew) { static_cast<Crew*>(crew)->dismiss(); };
  }

 private:
  /// Calls one helper more than will work. A pool wakes up a thread for each task, even if a thread that is awake takes
  /// it. The thread without a task would then look for one, on a core that others need; so it sleeps in the crew. The
  /// first helpers that get a core are the ones that work. If allocation fails, the threads that are there do all.
  static void call_in(const ParallelFor& loops) {
    std::shared_ptr<Crew> crew;
    EVENKEEL_TRY { crew = std::make_shared<Crew>(loops.threads_); }
    EVENKEEL_CATCH_ALL { return; }
    crew->keep(crew);
    loops.crew_ = crew.get();
    call_in(static_cast<Eigen::ThreadPoolInterface*>(loops.pool_), crew, loops.threads_);
  }

  /// Each helper calls half of the rest, since waking up a thread takes long.
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
};

inline ParallelFor::ParallelFor(const Eigen::ThreadPoolDevice& device, Index elements) {
  ThreadPoolLoops::start(*this, device, elements);
}

EVENKEEL_END_SMALL
EVENKEEL_END
}  // namespace evenkeel::detail

#endif
