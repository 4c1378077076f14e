// Inputs as they stand in the reports of what went wrong in other libraries.
#pragma once

#include <vector>

#include "shape.hpp"

namespace ek_test {

/// mlx#2238: one row of 16 features about 1449.
inline std::vector<float> row_of_mlx_2238() {
  return {1449.570556640625f,  1448.8741455078125f, 1450.650390625f,     1449.2633056640625f,
          1449.7763671875f,    1449.317138671875f,  1449.3297119140625f, 1449.077880859375f,
          1449.2181396484375f, 1449.4329833984375f, 1449.1605224609375f, 1449.413330078125f,
          1449.7933349609375f, 1450.066650390625f,  1449.7762451171875f, 1450.364990234375f};
}

/// Like those of sherpa-onnx#3853: three features about their floor of -15.94.
inline std::vector<float> frames_at_their_floor(Index frames) {
  constexpr float kFloor = -15.9423847f;
  std::vector<float> x;
  for (Index frame = 0; frame < frames; ++frame) {
    x.push_back(frame == frames / 2 ? -15.78f : kFloor);          // at the floor, but for one
    x.push_back(kFloor + 1e-3f * static_cast<float>(frame % 7));  // near it
    x.push_back(kFloor);                                          // at the floor
  }
  return x;
}

}  // namespace ek_test
