// Batch norm's inference and ReLU in an audio callback, as plugins run a trained network: interleaved channels, in place,
// one frame to 64 a call. Fails if a callback allocates.
#define EIGEN_RUNTIME_NO_MALLOC
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <evenkeel/batch_norm.hpp>
#include <new>
#include <vector>

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace ek = evenkeel;
using Eigen::Index;

namespace {

std::atomic<long> allocations{0};

constexpr double kSampleRate = 48000;
constexpr int kCallbacks = 20000;

/// Audio hosts flush subnormal numbers to zero, since they are slow on many processors.
void flush_subnormals() {
#if defined(__SSE2__)
  _mm_setcsr(_mm_getcsr() | 0x8040);
#endif
}

/// What a callback does between two others of a network: y = relu(bn(x)), in place, of [frames, channels].
void process(const ek::BatchNorm<float>& bn, float* buffer, Index frames, Index channels) {
  const auto x = ek::view(buffer, {frames, channels}, ek::row_major);
  bn.infer(x, x, ek::relu());
}

using Clock = std::chrono::steady_clock;

double microseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

struct Result {
  double median, percentile, worst;  // microseconds
  long allocations;
};

Result measure(Index frames, Index channels) {
  ek::BatchNorm<float> bn(channels);
  bn.set_running_stats(Eigen::ArrayXd::LinSpaced(channels, -0.1, 0.1),
                       Eigen::ArrayXd::Constant(channels, 0.05));
  const Eigen::ArrayXf input = Eigen::ArrayXf::Random(frames * channels);
  Eigen::ArrayXf buffer = input;
  std::vector<double> times(kCallbacks);

  const long before = allocations;
  Eigen::internal::set_is_malloc_allowed(false);
  for (double& time : times) {
    buffer = input;
    const Clock::time_point start = Clock::now();
    process(bn, buffer.data(), frames, channels);
    time = microseconds_since(start);
  }
  Eigen::internal::set_is_malloc_allowed(true);
  const long allocated = allocations - before;

  std::sort(times.begin(), times.end());
  return {times[kCallbacks / 2], times[kCallbacks - kCallbacks / 1000], times.back(), allocated};
}

/// How long the system stops a program that does nothing but read the clock for a fifth of a second.
double longest_pause() {
  const Clock::time_point end = Clock::now() + std::chrono::milliseconds(200);
  Clock::duration longest{0};
  for (Clock::time_point last = Clock::now(), now = last; now < end; last = now) {
    now = Clock::now();
    longest = std::max(longest, now - last);
  }
  return std::chrono::duration<double, std::micro>(longest).count();
}

}  // namespace

// The forms that do not throw, and those of arrays, call these.
[[gnu::noinline]] void* operator new(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size > 0 ? size : 1)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

int main() {
  flush_subnormals();
  const double pause = longest_pause();
  std::printf("%d callbacks each; microseconds; a buffer lasts frames / 48 kHz\n\n", kCallbacks);
  std::printf("channels  frames  median   99.9 %%      worst  buffer  allocations\n");

  long allocated = 0;
  double usual = 0, worst = 0;  // as parts of the buffer's time
  for (Index channels : {8, 16, 64}) {
    for (Index frames : {1, 16, 64}) {
      const Result r = measure(frames, channels);
      const double buffer = 1e6 * static_cast<double>(frames) / kSampleRate;
      std::printf("%8d  %6d  %6.2f  %7.2f  %9.2f  %6.1f  %11ld\n", static_cast<int>(channels),
                  static_cast<int>(frames), r.median, r.percentile, r.worst, buffer, r.allocations);
      allocated += r.allocations;
      usual = std::max(usual, r.percentile / buffer);
      worst = std::max(worst, r.worst / buffer);
    }
  }
  std::printf("\nallocations: %ld\n", allocated);
  std::printf("99.9 %% of the callbacks take at most %.1f %% of their buffer's time, the worst %.1f %%\n",
              100 * usual, 100 * worst);
  std::printf("the system stops a program that only reads the clock for up to %.0f us\n", pause);
  std::printf("%s\n", worst < 1   ? "bounded: each callback was done before its buffer ended"
                      : usual < 1 ? "not bounded on this system: a rare callback was late, 99.9 % were not"
                                  : "not bounded");
  return allocated == 0 ? 0 : 1;
}
