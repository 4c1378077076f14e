#include "measure.hpp"

#include <time.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

namespace evenkeel::peers {
namespace {

double now(Clock clock) {
  timespec t;
  clock_gettime(clock == Clock::kWall ? CLOCK_MONOTONIC : CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

double seconds(const std::function<void()>& call, int repeats, Clock clock) {
  call();
  const double begin = now(clock);
  for (int i = 0; i < repeats; ++i) call();
  return (now(clock) - begin) / repeats;
}

double quantile(const std::vector<double>& sorted, double share) {
  return sorted[static_cast<std::size_t>(std::lround(share * static_cast<double>(sorted.size() - 1)))];
}

}  // namespace

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

std::vector<Timing> take_turns(const std::vector<std::function<void()>>& calls, int repetitions,
                               Clock clock) {
  constexpr double kLeast = 200e-6;
  std::vector<int> repeats;
  for (const auto& call : calls) repeats.push_back(1 + static_cast<int>(kLeast / seconds(call, 1, clock)));

  std::vector<std::vector<double>> times(calls.size());
  std::vector<std::size_t> order(calls.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::mt19937 bits(1);
  for (int repetition = 0; repetition < repetitions; ++repetition) {
    std::shuffle(order.begin(), order.end(), bits);
    for (std::size_t i : order) times[i].push_back(seconds(calls[i], repeats[i], clock));
  }

  std::vector<Timing> timings;
  for (const std::vector<double>& turns : times) {
    std::vector<double> sorted = turns;
    std::sort(sorted.begin(), sorted.end());
    const double middle = median(sorted);
    timings.push_back({middle, (quantile(sorted, 0.75) - quantile(sorted, 0.25)) / middle, turns});
  }
  return timings;
}

}  // namespace evenkeel::peers
