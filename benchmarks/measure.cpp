#include "measure.hpp"

#include <time.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>
#include <utility>

namespace evenkeel::benchmarks {
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

/// So many that they take long by the clock, whose own cost is about 0.1 % of it.
int repeats_of(const std::function<void()>& call, Clock clock) {
  constexpr double kLong = 200e-6;
  int repeats = 1;
  while (repeats * seconds(call, repeats, clock) < kLong) repeats *= 2;
  return repeats;
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

Calls with_floor(Calls calls, const Traffic& traffic) {
  for (const FloorForm& form : kFloorForms) calls.push_back([&form, traffic] { form.move(traffic); });
  return calls;
}

Turns::Turns(Calls calls, Clock clock)
    : clock_(clock), calls_(std::move(calls)), seconds_(calls_.size()), order_(calls_.size()) {
  for (const auto& call : calls_) repeats_.push_back(repeats_of(call, clock_));
  std::iota(order_.begin(), order_.end(), std::size_t{0});
}

void Turns::take() {
  std::shuffle(order_.begin(), order_.end(), bits_);
  for (const std::size_t i : order_) seconds_[i].push_back(seconds(calls_[i], repeats_[i], clock_));
}

void Turns::take(int turns) {
  for (int turn = 0; turn < turns; ++turn) take();
}

Timing Turns::timing(std::size_t call) const {
  std::vector<double> sorted = seconds_[call];
  std::sort(sorted.begin(), sorted.end());
  const double middle = median(sorted);
  return {middle, (quantile(sorted, 0.75) - quantile(sorted, 0.25)) / middle, seconds_[call]};
}

Floor Turns::floor() const {
  const std::size_t first = calls_.size() - std::size(kFloorForms);
  Floor fastest;
  for (std::size_t i = 0; i < std::size(kFloorForms); ++i) {
    const Timing time = timing(first + i);
    if (i == 0 || time.seconds < fastest.time.seconds) fastest = {time, kFloorForms[i].name};
  }
  return fastest;
}

}  // namespace evenkeel::benchmarks
