#pragma once

#include "../case.hpp"
#include "../library.hpp"

namespace evenkeel::benchmarks {

inline constexpr int kThreads = 2;

/// How much faster kThreads threads are than one.
struct Growth {
  Case test;
  double floor, evenkeel;

  double share() const { return evenkeel / floor; }
};

/// Whether a case moves so much that its time is the memory's: 4 MB and more.
bool worth_threads(const Case& test);

Growth measure_growth(const Case& test, const Library& alone, const Library& on_threads, int repetitions);

/// A call that is too small for a second thread.
struct SmallCall {
  Case test;
  double alone_ns, on_threads_ns;

  double ratio() const { return on_threads_ns / alone_ns; }
};

SmallCall measure_small(const Case& test, const Library& alone, const Library& on_threads, int repetitions);

}  // namespace evenkeel::benchmarks
