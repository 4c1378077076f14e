#pragma once

#include <functional>
#include <string>
#include <vector>

namespace evenkeel::peers {

/// Median seconds of a call, the distance of the quartiles over the median, and the seconds of each turn.
struct Timing {
  double seconds = 0, spread = 0;
  std::vector<double> turns;
};

/// kProcess counts threads that a library may start, and not what other programs take.
enum class Clock { kProcess, kWall };

/// Times all calls turn by turn, so that what else the machine does meets all of them. A turn has an order of
/// its own, since a call finds the caches as the one before it left them. In each turn a call runs once to warm
/// the caches, then for at least 200 us by the clock.
std::vector<Timing> take_turns(const std::vector<std::function<void()>>& calls, int repetitions,
                               Clock clock = Clock::kProcess);

double median(std::vector<double> values);

}  // namespace evenkeel::peers
