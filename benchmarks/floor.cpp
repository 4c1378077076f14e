#include "floor.hpp"

#include <cstdint>
#include <cstring>
#include <evenkeel/simd/dispatch.hpp>

namespace evenkeel::benchmarks {
namespace {

/// What the hardware's prefetch needs help with where loads and non-temporal stores alternate.
constexpr std::ptrdiff_t kBytesAhead = 2048;

template <typename Scalar, bool kStreaming>
struct Move {
  Traffic<Scalar> traffic;

  template <int kBytes>
  EVENKEEL_INLINE void operator()() const {
    using V = simd::Vec<Scalar, kBytes == 0 ? 1 : kBytes / static_cast<int>(sizeof(Scalar))>;
    const Traffic<Scalar> t = traffic;
    std::ptrdiff_t i = 0;
    const auto one = [&]() EVENKEEL_INLINE_LAMBDA {
      t.output[i] = t.second == nullptr ? t.first[i] : t.first[i] + t.second[i];
      ++i;
    };
    const auto fetch = [&](const Scalar* from) EVENKEEL_INLINE_LAMBDA {
      if (kStreaming) __builtin_prefetch(reinterpret_cast<const char*>(from + i) + kBytesAhead);
      return V::load(from + i);
    };
    const auto store = [&](const V& value) EVENKEEL_INLINE_LAMBDA {
      kStreaming ? value.stream(t.output + i) : value.store(t.output + i);
    };

    if (kStreaming) {
      while (i < t.size && reinterpret_cast<std::uintptr_t>(t.output + i) % sizeof(V) != 0) one();
    }
    if (t.second == nullptr) {
      for (; i + V::kLanes <= t.size; i += V::kLanes) store(fetch(t.first));
    } else {
      for (; i + V::kLanes <= t.size; i += V::kLanes) store(fetch(t.first) + fetch(t.second));
    }
    while (i < t.size) one();
    if (kStreaming) simd::fence();
  }
};

template <typename Scalar, bool kStreaming>
void move(const Traffic<Scalar>& traffic) {
  simd::run<Scalar>(Move<Scalar, kStreaming>{traffic});
}

template <typename Scalar>
void copy(const Traffic<Scalar>& t) {
  if (t.second != nullptr) return move<Scalar, false>(t);
  std::memcpy(t.output, t.first, static_cast<std::size_t>(t.size) * sizeof(Scalar));
}

}  // namespace

const FloorForm kFloorForms[3] = {{"memcpy", copy<float>, copy<double>},
                                  {"plain stores", move<float, false>, move<double, false>},
                                  {"non-temporal stores", move<float, true>, move<double, true>}};

}  // namespace evenkeel::benchmarks
