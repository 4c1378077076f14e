#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <vector>

// The floor is the time below which no pass can go: each input is read once and the output written once, by
// the faster of plain and non-temporal stores.

namespace evenkeel::benchmarks {

/// What a pass has to move: one input or two (second may be null), and one output, of size floats each.
struct Traffic {
  const float* first;
  const float* second;
  float* output;
  std::ptrdiff_t size;

  std::ptrdiff_t bytes() const { return (second == nullptr ? 2 : 3) * size * std::ptrdiff_t{sizeof(float)}; }
};

/// Moves it by plain stores.
void move_plain(const Traffic& traffic);

/// Moves it by non-temporal stores where there are any. The output is aligned to 16 bytes, as an
/// Eigen::Tensor's is.
void move_streaming(const Traffic& traffic);

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
  const auto plain = [&] { move_plain(traffic); };
  const auto streaming = [&] { move_streaming(traffic); };
  const int batch = repeats(run), plain_batch = repeats(plain), streaming_batch = repeats(streaming);
  std::vector<double> run_times, plain_times, streaming_times;
  while (state.KeepRunningBatch(batch)) {
    run_times.push_back(seconds(run, batch));
    plain_times.push_back(seconds(plain, plain_batch));
    streaming_times.push_back(seconds(streaming, streaming_batch));
    state.SetIterationTime(run_times.back() * batch);
  }
  state.SetBytesProcessed(state.iterations() * traffic.bytes());
  state.counters["x_floor"] = median(run_times) / std::min(median(plain_times), median(streaming_times));
}

}  // namespace evenkeel::benchmarks
