#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "evenkeel/base/config.hpp"
#include "evenkeel/base/scalar.hpp"

#if !defined(EVENKEEL_NO_SIMD) && (defined(__GNUC__) || defined(__clang__)) && defined(__x86_64__)

// Loads and stores of some lanes of a register of 32 or 64 bytes, by way of memory: clang takes no such register as
// an operand outside of a function compiled for it. The lanes left out are not touched.

namespace evenkeel::simd {
EVENKEEL_BEGIN

/// The first lanes, or the last ones.
enum class Part { first, last };

/// The mask of the first n lanes of four bytes begins at 8 - n.
inline constexpr std::int32_t kLaneMasks[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};

template <Part kPart, int Bytes, typename T>
EVENKEEL_INLINE auto lane_mask(Index n) {
  constexpr Index kLanes = Bytes / sizeof(T);
  if constexpr (Bytes == 64) {
    const std::uint32_t low = (std::uint32_t{1} << (kPart == Part::first ? n : kLanes - n)) - 1;
    return kPart == Part::first ? low : ~low;
  } else {
    static_assert(kPart == Part::first);
    return kLaneMasks + 8 - n * static_cast<Index>(sizeof(T) / 4);
  }
}

/// to = from where the mask says so: `to` and `from` are a whole register's memory, of which only those lanes of
/// `from` are read.
template <int Bytes, typename T, typename Mask>
EVENKEEL_INLINE void load_masked(const T* from, T* to, Mask mask) {
  using Whole = T[Bytes / sizeof(T)];
  if constexpr (Bytes == 64 && sizeof(T) == 4) {
    asm("kmovd %2, %%k1\n\tvmovups %0, %%zmm0\n\tvmovups %1, %%zmm0%{%%k1%}\n\tvmovups %%zmm0, %0"
        : "+m"(*reinterpret_cast<Whole*>(to))
        : "m"(*reinterpret_cast<const Whole*>(from)), "r"(mask)
        : "xmm0", "k1");
  } else if constexpr (Bytes == 64) {
    asm("kmovd %2, %%k1\n\tvmovupd %0, %%zmm0\n\tvmovupd %1, %%zmm0%{%%k1%}\n\tvmovupd %%zmm0, %0"
        : "+m"(*reinterpret_cast<Whole*>(to))
        : "m"(*reinterpret_cast<const Whole*>(from)), "r"(mask)
        : "xmm0", "k1");
  } else {
    asm("vmovups %2, %%ymm1\n\tvmaskmovps %1, %%ymm1, %%ymm0\n\tvmovups %0, %%ymm2\n\t"
        "vblendvps %%ymm1, %%ymm0, %%ymm2, %%ymm0\n\tvmovups %%ymm0, %0"
        : "+m"(*reinterpret_cast<Whole*>(to))
        : "m"(*reinterpret_cast<const Whole*>(from)), "m"(*reinterpret_cast<const std::int32_t(*)[8]>(mask))
        : "xmm0", "xmm1", "xmm2");
  }
}

/// to[0 .. n) = from[0 .. n), at most 31 bytes: in two pieces, which may overlap. AMD is slow to store by a mask.
template <typename T>
EVENKEEL_INLINE void copy_some(const T* from, T* to, Index n) {
  const std::size_t size = static_cast<std::size_t>(n) * sizeof(T);
  const auto copy_ends = [&](auto bytes) EVENKEEL_INLINE_LAMBDA {
    constexpr std::size_t kBytes = decltype(bytes)::value;
    std::memcpy(to, from, kBytes);
    std::memcpy(reinterpret_cast<char*>(to) + size - kBytes,
                reinterpret_cast<const char*>(from) + size - kBytes, kBytes);
  };
  if (size >= 16) return copy_ends(std::integral_constant<std::size_t, 16>());
  if (size >= 8) return copy_ends(std::integral_constant<std::size_t, 8>());
  if (size > 0) copy_ends(std::integral_constant<std::size_t, 4>());
}

/// The first n values of a register's memory, `from`, to the first or the last lanes of the one at `to`.
template <Part kPart, int Bytes, typename T>
EVENKEEL_INLINE void store_part(const T* from, T* to, Index n) {
  using Whole = T[Bytes / sizeof(T)];
  if constexpr (Bytes == 64 && sizeof(T) == 4) {
    asm("kmovd %2, %%k1\n\tvmovups %1, %%zmm0\n\tvexpandps %%zmm0, %%zmm0%{%%k1%}\n\tvmovups %%zmm0, "
        "%0%{%%k1%}"
        : "+m"(*reinterpret_cast<Whole*>(to))
        : "m"(*reinterpret_cast<const Whole*>(from)), "r"(lane_mask<kPart, Bytes, T>(n))
        : "xmm0", "k1");
  } else if constexpr (Bytes == 64) {
    asm("kmovd %2, %%k1\n\tvmovupd %1, %%zmm0\n\tvexpandpd %%zmm0, %%zmm0%{%%k1%}\n\tvmovupd %%zmm0, "
        "%0%{%%k1%}"
        : "+m"(*reinterpret_cast<Whole*>(to))
        : "m"(*reinterpret_cast<const Whole*>(from)), "r"(lane_mask<kPart, Bytes, T>(n))
        : "xmm0", "k1");
  } else {
    copy_some(from, to + (kPart == Part::first ? 0 : Bytes / Index{sizeof(T)} - n), n);
  }
}

EVENKEEL_END
}  // namespace evenkeel::simd

#endif
