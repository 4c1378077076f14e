#pragma once

#include <cstddef>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "floor.hpp"

namespace evenkeel::benchmarks {

/// Median seconds of a call, the distance of the quartiles over the median, and the seconds of each turn.
struct Timing {
  double seconds = 0, spread = 0;
  std::vector<double> turns;
};

/// The fastest form of the floor.
struct Floor {
  Timing time;
  std::string form;
};

/// kProcess counts threads that a library may start, and not what other programs take.
enum class Clock { kProcess, kWall };

using Calls = std::vector<std::function<void()>>;

/// The same, and behind them the forms of the floor.
Calls with_floor(Calls calls, const Traffic& traffic);

/// Calls that are timed turn by turn, so that what else the machine does meets all of them. A turn has an order
/// of its own, since a call finds the caches as the one before it left them. In each turn a call runs once to
/// warm the caches, then for at least 200 us by the clock.
class Turns {
 public:
  explicit Turns(Calls calls, Clock clock = Clock::kProcess);

  void take();
  void take(int turns);

  int repeats(std::size_t call) const { return repeats_[call]; }
  double last_seconds(std::size_t call) const { return seconds_[call].back(); }
  Timing timing(std::size_t call) const;
  Floor floor() const;  // of calls with_floor

 private:
  Clock clock_;
  Calls calls_;
  std::vector<int> repeats_;
  std::vector<std::vector<double>> seconds_;
  std::vector<std::size_t> order_;
  std::mt19937 bits_{1};
};

double median(std::vector<double> values);

}  // namespace evenkeel::benchmarks
