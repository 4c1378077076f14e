#pragma once

#include <cstddef>

// The floor is the time below which no pass can go: each input is read once and the output written once, by
// the fastest of several forms, each in the widest vectors of the machine.

namespace evenkeel::benchmarks {

/// What a pass has to move: one input or two (second may be null), and one output, of `size` bytes each. The
/// output begins on a line of the cache.
struct Traffic {
  const char* first;
  const char* second;
  char* output;
  std::ptrdiff_t size;

  std::ptrdiff_t bytes() const { return (second == nullptr ? 2 : 3) * size; }
};

/// A way to move it. Two inputs are combined by exclusive or.
struct FloorForm {
  const char* name;
  void (*move)(const Traffic& traffic);
};

extern const FloorForm kFloorForms[3];

}  // namespace evenkeel::benchmarks
