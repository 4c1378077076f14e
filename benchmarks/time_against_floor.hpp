#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <vector>

#include "floor.hpp"

namespace evenkeel::benchmarks {

/// Seconds that one of `repeats` runs takes, with the caches as an earlier run leaves them.
template <typename Run>
double seconds(const Run& run, int repeats) {
  using Clock = std::chrono::steady_clock;
  run();
  const auto begin = Clock::now();
  for (int i = 0; i < repeats; ++i) {
    run();
    benchmark::ClobberMemory();
  }
  return std::chrono::duration<double>(Clock::now() - begin).count() / repeats;
}

/// So many runs that the clock's own cost is about 0.1 % of theirs.
template <typename Run>
int repeats(const Run& run) {
  return 1 + static_cast<int>(20e-6 / seconds(run, 1));
}

inline double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// Times `run`, turn by turn with the floor of its traffic: bytes per second, and the counter x_floor, the
/// median time over the floor's.
template <typename Run>
void time_against_floor(benchmark::State& state, const Traffic& traffic, const Run& run) {
  struct Form {
    const FloorForm* move;
    int batch;
    std::vector<double> times;
  };
  const int batch = repeats(run);
  std::vector<double> times;
  std::vector<Form> forms;
  for (const FloorForm& form : kFloorForms)
    forms.push_back({&form, repeats([&] { form.move(traffic); }), {}});
  while (state.KeepRunningBatch(batch)) {
    times.push_back(seconds(run, batch));
    for (Form& form : forms) {
      form.times.push_back(seconds([&] { form.move->move(traffic); }, form.batch));
    }
    state.SetIterationTime(times.back() * batch);
  }
  double floor = median(forms.front().times);
  for (const Form& form : forms) floor = std::min(floor, median(form.times));
  state.SetBytesProcessed(state.iterations() * traffic.bytes());
  state.counters["x_floor"] = median(times) / floor;
}

}  // namespace evenkeel::benchmarks
