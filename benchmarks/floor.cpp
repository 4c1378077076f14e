#include "floor.hpp"

#include <cstring>

#include "machine.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace evenkeel::benchmarks {
namespace {

void move_from(std::ptrdiff_t i, const Traffic& t) {
  for (; i < t.size; ++i) {
    t.output[i] = t.second == nullptr ? t.first[i] : static_cast<char>(t.first[i] ^ t.second[i]);
  }
}

#if defined(__x86_64__)

/// What the hardware's prefetch needs help with where loads and non-temporal stores alternate.
constexpr std::ptrdiff_t kBytesAhead = 2048;

// A macro, since a template has no say in what it is compiled for.
#define EVENKEEL_MOVE(isa, name, Vector, load, put, combine, ahead)                   \
  [[gnu::target(isa)]] void name(const Traffic& t) {                                  \
    constexpr std::ptrdiff_t kBytes = sizeof(Vector);                                 \
    const auto at = [](const char* p) { return reinterpret_cast<const Vector*>(p); }; \
    std::ptrdiff_t i = 0;                                                             \
    if (t.second == nullptr) {                                                        \
      for (; i + kBytes <= t.size; i += kBytes) {                                     \
        if (ahead != 0) __builtin_prefetch(t.first + i + ahead);                      \
        put(reinterpret_cast<Vector*>(t.output + i), load(at(t.first + i)));          \
      }                                                                               \
    } else {                                                                          \
      for (; i + kBytes <= t.size; i += kBytes) {                                     \
        if (ahead != 0) __builtin_prefetch(t.first + i + ahead);                      \
        if (ahead != 0) __builtin_prefetch(t.second + i + ahead);                     \
        put(reinterpret_cast<Vector*>(t.output + i),                                  \
            combine(load(at(t.first + i)), load(at(t.second + i))));                  \
      }                                                                               \
    }                                                                                 \
    move_from(i, t);                                                                  \
    if (ahead != 0) _mm_sfence();                                                     \
  }

EVENKEEL_MOVE("sse2", store_128, __m128i, _mm_loadu_si128, _mm_storeu_si128, _mm_xor_si128, 0)
EVENKEEL_MOVE("sse2", stream_128, __m128i, _mm_loadu_si128, _mm_stream_si128, _mm_xor_si128, kBytesAhead)
EVENKEEL_MOVE("avx2", store_256, __m256i, _mm256_loadu_si256, _mm256_storeu_si256, _mm256_xor_si256, 0)
EVENKEEL_MOVE("avx2", stream_256, __m256i, _mm256_loadu_si256, _mm256_stream_si256, _mm256_xor_si256,
              kBytesAhead)
EVENKEEL_MOVE("avx512f", store_512, __m512i, _mm512_loadu_si512, _mm512_storeu_si512, _mm512_xor_si512, 0)
EVENKEEL_MOVE("avx512f", stream_512, __m512i, _mm512_loadu_si512, _mm512_stream_si512, _mm512_xor_si512,
              kBytesAhead)

#undef EVENKEEL_MOVE

void store(const Traffic& t) {
  const int bytes = vector_bytes();
  bytes == 64 ? store_512(t) : bytes == 32 ? store_256(t) : store_128(t);
}

void stream(const Traffic& t) {
  const int bytes = vector_bytes();
  bytes == 64 ? stream_512(t) : bytes == 32 ? stream_256(t) : stream_128(t);
}

#else

void store(const Traffic& t) { move_from(0, t); }
void stream(const Traffic& t) { move_from(0, t); }

#endif

void copy(const Traffic& t) {
  if (t.second != nullptr) return store(t);
  std::memcpy(t.output, t.first, static_cast<std::size_t>(t.size));
}

}  // namespace

const FloorForm kFloorForms[3] = {{"memcpy", copy}, {"plain stores", store}, {"non-temporal stores", stream}};

}  // namespace evenkeel::benchmarks
