#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "evenkeel/base/scalar.hpp"
#include "evenkeel/simd/dispatch.hpp"
#include "evenkeel/simd/vec.hpp"

namespace evenkeel::kernels {
EVENKEEL_BEGIN

/// Elements in memory: outer x inner lines of `length` neighbours each.
struct Lines {
  Index outer = 1, outer_stride = 0;
  Index inner = 1, inner_stride = 0;
  Index length = 1;

  Index count() const { return outer * inner; }
  Index size() const { return count() * length; }

  Index line_offset(Index line) const { return line / inner * outer_stride + line % inner * inner_stride; }
  Index offset(Index element) const {
    return element < length ? element : line_offset(element / length) + element % length;
  }
};

/// Walks elements [begin, end) of lines, line by line; a copy starts from the same place.
class LineCursor {
 public:
  EVENKEEL_INLINE LineCursor(const Lines& lines, Index begin, Index end)
      : lines_(&lines), left_(end - begin), at_(begin) {
    if (begin >= lines.length) {
      const Index line = begin / lines.length;
      at_ = begin % lines.length;
      inner_ = line % lines.inner;
      line_offset_ = lines.line_offset(line);
    }
  }

  EVENKEEL_INLINE bool done() const { return left_ <= 0; }
  /// The elements left of this line, and where they are.
  EVENKEEL_INLINE Index length() const { return std::min(lines_->length - at_, left_); }
  EVENKEEL_INLINE Index offset() const { return line_offset_ + at_; }

  EVENKEEL_INLINE void next() {
    left_ -= length();
    at_ = 0;
    line_offset_ += lines_->inner_stride;
    if (++inner_ == lines_->inner) {
      inner_ = 0;
      line_offset_ += lines_->outer_stride - lines_->inner * lines_->inner_stride;
    }
  }

 private:
  const Lines* lines_;
  Index left_, at_;
  Index inner_ = 0, line_offset_ = 0;
};

/// Whether lines of n elements, `stride` apart, fill whole lines of the cache, so that all of them can be streamed.
template <typename Storage>
EVENKEEL_INLINE bool lines_only(const Storage* out, Index n, Index stride) {
  const auto bytes = [](Index elements) { return static_cast<std::uintptr_t>(elements) * sizeof(Storage); };
  return (reinterpret_cast<std::uintptr_t>(out) | bytes(n) | bytes(stride)) % 64 == 0;
}

/// The elements of a line of the cache.
template <typename Storage>
constexpr Index kCacheLine = sizeof(Storage) < 64 ? 64 / static_cast<Index>(sizeof(Storage)) : 1;

/// The part of out[0 .. n) that is whole lines of the cache and can be streamed in vectors V; may be none.
struct StreamedPart {
  Index begin = 0, end = 0;
};
template <typename V, typename Storage>
EVENKEEL_INLINE StreamedPart streamed_part(const Storage* out, Index n) {
  if constexpr (V::kLanes > 1 && std::is_same_v<Storage, typename V::Scalar>) {
    const auto address = reinterpret_cast<std::uintptr_t>(out);
    const Index head = static_cast<Index>((64 - address % 64) % 64 / sizeof(Storage));
    if (address % sizeof(Storage) == 0 && head + kCacheLine<Storage> <= n) {
      return {head, head + (n - head) / kCacheLine<Storage> * kCacheLine<Storage>};
    }
  }
  return {};
}

/// *to = v, past the caches where kStream and Storage is what v holds.
template <bool kStream, typename V, typename Storage>
EVENKEEL_INLINE void put(const V& v, Storage* to) {
  if constexpr (kStream && std::is_same_v<Storage, typename V::Scalar>) {
    v.stream(to);
  } else {
    v.store(to);
  }
}

/// Writes out[0 .. n) from value(i, m): the vector that begins at element i, of which m elements are wanted.
///
/// The last vector is a whole one that steps back over what has been written, computed before anything is,
/// since out may be an input. Not so when streaming: whole lines of the cache are streamed, and what is stored beside
/// them does not reach into them.
template <typename V, bool kStream, typename Storage, typename F>
EVENKEEL_INLINE void write_line(Storage* out, Index n, const F& value) {
  constexpr Index L = V::kLanes;
  if (n < L) {
    if (n > 0) value(0, n).store(out, n);
    return;
  }
  Index i = 0;
  if constexpr (kStream) {
    const StreamedPart part = streamed_part<V>(out, n);
    if (part.begin < part.end) {
      for (; i + L <= part.begin; i += L) value(i, L).store(out + i);
      if (i < part.begin) value(i, L).store_before(out + part.begin, part.begin - i);
#pragma GCC unroll 2
      for (i = part.begin; i < part.end; i += L) put<true>(value(i, L), out + i);
      for (; i + L <= n; i += L) value(i, L).store(out + i);
      if (i < n) value(i, n - i).store(out + i, n - i);
      return;
    }
  }
  const bool whole = n % L == 0;
  const V last = whole ? V::all(typename V::Scalar(0)) : value(n - L, L);
#pragma GCC unroll 2
  for (; i + L <= n; i += L) value(i, L).store(out + i);
  if (!whole) last.store(out + n - L);
}

/// Asks for what is worked on after this, `ahead` elements on, into the second-level cache. Where there is no such
/// memory the request is without effect.
template <typename Storage>
EVENKEEL_INLINE void prefetch(const Storage* p, Index ahead) {
#if defined(__GNUC__) || defined(__clang__)
  const auto address =  // as a pointer it might lie beyond the array, where there may be none
      reinterpret_cast<std::uintptr_t>(p) + static_cast<std::uintptr_t>(ahead) * sizeof(Storage);
  __builtin_prefetch(reinterpret_cast<const void*>(address), 0, 2);  // NOLINT(performance-no-int-to-ptr)
#endif
}

/// Elements ahead that a pass asks for where it reads on and on: a few lines of the cache.
constexpr Index kFewLines = 256;

/// So many values are summed in the compute type before they join a wide sum. Few, since what is lost of a mean, when
/// all additions round one way, backward multiplies by the sum of dy; of layer norm's gradients, which nothing
/// multiplies, more.
constexpr int kShortSum = 8, kShortParamSum = 16;

/// The most sets or cells, and the most lanes, in one kernel call: scratch on the stack is sized by them. Rows of so
/// many lanes are walked whole, as they lie in memory; wider ones in strips, which takes a quarter longer.
constexpr Index kBatch = 128;
template <typename Compute>
constexpr Index kLanes = sizeof(Compute) <= 4 ? 2048 : 1024;

/// How many sets of so many elements stay in the nearest cache, at most `most`: whole vectors of statistics.
EVENKEEL_INLINE Index near_sets(Index set_size, Index most) {
  const Index sets = std::clamp<Index>(8192 / set_size, 1, most);
  return sets > 8 ? sets / 8 * 8 : sets;
}

EVENKEEL_END
}  // namespace evenkeel::kernels
