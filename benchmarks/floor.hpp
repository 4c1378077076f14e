#pragma once

#include <cstddef>

// The floor is the time below which no pass can go: each input is read once and the output written once, by
// the fastest of several forms, each in the widest vectors of the machine.

namespace evenkeel::benchmarks {

/// What a pass has to move: one input or two (second may be null), and one output, of size values each.
template <typename Scalar>
struct Traffic {
  const Scalar* first;
  const Scalar* second;
  Scalar* output;
  std::ptrdiff_t size;

  std::ptrdiff_t bytes() const { return (second == nullptr ? 2 : 3) * size * std::ptrdiff_t{sizeof(Scalar)}; }
};

/// A way to move it, for float and double. Two inputs are added.
struct FloorForm {
  const char* name;
  void (*move_float)(const Traffic<float>& traffic);
  void (*move_double)(const Traffic<double>& traffic);

  void operator()(const Traffic<float>& traffic) const { move_float(traffic); }
  void operator()(const Traffic<double>& traffic) const { move_double(traffic); }
};

extern const FloorForm kFloorForms[3];

}  // namespace evenkeel::benchmarks
