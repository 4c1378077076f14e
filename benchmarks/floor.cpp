#include "floor.hpp"

#include <cstring>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace evenkeel::benchmarks {
namespace {

// In the widest vectors the machine has, as memcpy.
#if defined(__x86_64__) && defined(__linux__)
__attribute__((target_clones("avx512f", "avx2", "default")))
#endif
void add(const float* __restrict a, const float* __restrict b, float* __restrict sum, std::ptrdiff_t size) {
  for (std::ptrdiff_t i = 0; i < size; ++i) sum[i] = a[i] + b[i];
}

}  // namespace

void move_plain(const Traffic& t) {
  if (t.second == nullptr) {
    std::memcpy(t.output, t.first, static_cast<std::size_t>(t.size) * sizeof(float));
  } else {
    add(t.first, t.second, t.output, t.size);
  }
}

void move_streaming(const Traffic& t) {
#ifdef __SSE2__
  const std::ptrdiff_t whole = t.size & ~std::ptrdiff_t{3};
  for (std::ptrdiff_t i = 0; i < whole; i += 4) {
    const __m128 first = _mm_loadu_ps(t.first + i);
    _mm_stream_ps(t.output + i, t.second == nullptr ? first : _mm_add_ps(first, _mm_loadu_ps(t.second + i)));
  }
  for (std::ptrdiff_t i = whole; i < t.size; ++i) t.output[i] = t.first[i];
  _mm_sfence();
#else
  move_plain(t);
#endif
}

}  // namespace evenkeel::benchmarks
