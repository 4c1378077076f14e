// The kernels of 64-byte registers without AVX-512: what they take from it is spelled out, a lane at a time, so that
// their other half is tested on any machine with AVX2: which lanes, which rows, which tails.
#pragma once

#include <evenkeel/kernels/kernels.hpp>

#if EVENKEEL_HAS_CHOICE

#if defined(__clang__)
#pragma float_control(precise, on, push)
#else
#pragma GCC push_options
#pragma GCC optimize("no-fast-math", "fp-contract=off")
#endif
#pragma GCC diagnostic ignored "-Wpsabi"  // to the end of the unit, which is where g++ says it
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wold-style-cast"
#pragma GCC diagnostic ignored "-Wcast-align"
#pragma GCC diagnostic ignored "-Wsign-conversion"

namespace evenkeel::detail {
EVENKEEL_BEGIN
EVENKEEL_BEGIN_TARGET("avx2,fma,f16c")
namespace emulated_avx512 {

typedef float F16 __attribute__((vector_size(64)));
typedef double D8 __attribute__((vector_size(64)));
typedef float F8 __attribute__((vector_size(32)));

template <typename V, typename T>
EVENKEEL_CALL V load_lanes(const T* p, const V& otherwise, unsigned mask) {
  V v = otherwise;
  for (unsigned i = 0; i < sizeof(V) / sizeof(T); ++i)
    if ((mask >> i & 1) != 0) v[i] = p[i];
  return v;
}
template <typename V, typename T>
EVENKEEL_CALL void store_lanes(T* p, const V& v, unsigned mask) {
  for (unsigned i = 0; i < sizeof(V) / sizeof(T); ++i)
    if ((mask >> i & 1) != 0) p[i] = v[i];
}
EVENKEEL_CALL F16 fused(const F16& a, const F16& b, const F16& c) {
  F16 v{};
  for (int i = 0; i < 16; ++i) v[i] = __builtin_fmaf(a[i], b[i], c[i]);
  return v;
}
EVENKEEL_CALL D8 fused(const D8& a, const D8& b, const D8& c) {
  D8 v{};
  for (int i = 0; i < 8; ++i) v[i] = __builtin_fma(a[i], b[i], c[i]);
  return v;
}
template <typename V>
EVENKEEL_CALL V larger_lanes(const V& a, const V& b) {
  V v = b;
  for (unsigned i = 0; i < sizeof(V) / sizeof(v[0]); ++i)
    if (b[i] < a[i]) v[i] = a[i];
  return v;
}
template <typename V>
EVENKEEL_CALL V smaller_lanes(const V& a, const V& b) {
  V v = b;
  for (unsigned i = 0; i < sizeof(V) / sizeof(v[0]); ++i)
    if (a[i] < b[i]) v[i] = a[i];
  return v;
}
EVENKEEL_CALL D8 roots(const D8& a) {
  D8 v{};
  for (int i = 0; i < 8; ++i) v[i] = std::sqrt(a[i]);
  return v;
}
EVENKEEL_CALL D8 to_doubles(const F8& a) {
  D8 v{};
  for (int i = 0; i < 8; ++i) v[i] = static_cast<double>(a[i]);
  return v;
}
EVENKEEL_CALL F8 to_floats(const D8& a) {
  F8 v{};
  for (int i = 0; i < 8; ++i) v[i] = static_cast<float>(a[i]);
  return v;
}

#define __builtin_ia32_loadups512_mask(p, v, m) load_lanes<F16>(p, v, m)
#define __builtin_ia32_loadupd512_mask(p, v, m) load_lanes<D8>(p, v, m)
#define __builtin_ia32_storeups512_mask(p, v, m) store_lanes<F16>(p, v, m)
#define __builtin_ia32_storeupd512_mask(p, v, m) store_lanes<D8>(p, v, m)
#define __builtin_ia32_vfmaddps512_mask(a, b, c, m, r) fused(a, b, c)
#define __builtin_ia32_vfmaddpd512_mask(a, b, c, m, r) fused(a, b, c)
#define __builtin_ia32_vfmaddps512(a, b, c, r) fused(a, b, c)
#define __builtin_ia32_vfmaddpd512(a, b, c, r) fused(a, b, c)
#define __builtin_ia32_maxps512_mask(a, b, v, m, r) larger_lanes(a, b)
#define __builtin_ia32_maxpd512_mask(a, b, v, m, r) larger_lanes(a, b)
#define __builtin_ia32_minps512_mask(a, b, v, m, r) smaller_lanes(a, b)
#define __builtin_ia32_minpd512_mask(a, b, v, m, r) smaller_lanes(a, b)
#define __builtin_ia32_maxps512(a, b, r) larger_lanes(a, b)
#define __builtin_ia32_maxpd512(a, b, r) larger_lanes(a, b)
#define __builtin_ia32_minps512(a, b, r) smaller_lanes(a, b)
#define __builtin_ia32_minpd512(a, b, r) smaller_lanes(a, b)
#define __builtin_ia32_sqrtpd512_mask(a, v, m, r) roots(a)
#define __builtin_ia32_sqrtpd512(a, r) roots(a)
#define __builtin_ia32_cvtps2pd512_mask(a, v, m, r) to_doubles(a)
#define __builtin_ia32_cvtpd2ps512_mask(a, v, m, r) to_floats(a)
// What is streamed must lie at a multiple of 64 bytes: AVX-512 faults where it does not.
#define __builtin_ia32_movntps512(p, v) stream_lanes(p, v)
#define __builtin_ia32_movntpd512(p, v) stream_lanes(p, v)
template <typename V, typename T>
EVENKEEL_CALL void stream_lanes(T* p, const V& v) {
  if (reinterpret_cast<std::uintptr_t>(p) % 64 != 0) __builtin_trap();
  store_lanes<V>(p, v, ~0u);
}

#define EVENKEEL_REGISTER 64
#define EVENKEEL_REGISTERS 32
#include "evenkeel/kernels/kernels.inl"
#ifdef EK_TEST_ALSO_FOR_EACH_SET
#include EK_TEST_ALSO_FOR_EACH_SET
#endif
#undef EVENKEEL_REGISTER
#undef EVENKEEL_REGISTERS

#undef __builtin_ia32_loadups512_mask
#undef __builtin_ia32_loadupd512_mask
#undef __builtin_ia32_storeups512_mask
#undef __builtin_ia32_storeupd512_mask
#undef __builtin_ia32_vfmaddps512_mask
#undef __builtin_ia32_vfmaddpd512_mask
#undef __builtin_ia32_vfmaddps512
#undef __builtin_ia32_vfmaddpd512
#undef __builtin_ia32_maxps512_mask
#undef __builtin_ia32_maxpd512_mask
#undef __builtin_ia32_minps512_mask
#undef __builtin_ia32_minpd512_mask
#undef __builtin_ia32_maxps512
#undef __builtin_ia32_maxpd512
#undef __builtin_ia32_minps512
#undef __builtin_ia32_minpd512
#undef __builtin_ia32_sqrtpd512_mask
#undef __builtin_ia32_sqrtpd512
#undef __builtin_ia32_cvtps2pd512_mask
#undef __builtin_ia32_cvtpd2ps512_mask
#undef __builtin_ia32_movntps512
#undef __builtin_ia32_movntpd512

}  // namespace emulated_avx512
EVENKEEL_END_TARGET
EVENKEEL_END
}  // namespace evenkeel::detail

#pragma GCC diagnostic pop
#if defined(__clang__)
#pragma float_control(pop)
#else
#pragma GCC pop_options
#endif
#endif
