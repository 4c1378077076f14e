// The shapes that the numeric tests walk through.
#pragma once

#include <vector>

#include "shape.hpp"

namespace ek_test {

/// Ranks 2 to 8, axes of 1, odd sizes, 7x7 planes, 1 channel, 3 channels, sizes around the widths of vectors.
inline std::vector<Shape> small_shapes() {
  return {{3, 1},
          {2, 2},
          {3, 3},
          {17, 5},
          {9, 33},
          {5, 8, 1},
          {1, 1, 2},
          {2, 3, 4},
          {3, 5, 7},
          {2, 3, 9},
          {3, 2, 15},
          {2, 4, 16},
          {3, 3, 17},
          {2, 5, 31},
          {3, 2, 33},
          {2, 3, 65},
          {2, 3, 7, 7},
          {2, 1, 7, 7},
          {4, 19, 7, 7},
          {2, 3, 14, 14},
          {1, 3, 5, 5},
          {2, 6, 1, 1},
          {2, 4, 2, 5, 3},
          {2, 1, 3, 1, 2, 3},
          {3, 2, 2, 1, 2, 3, 1},
          {2, 2, 1, 3, 1, 2, 1, 2}};
}

/// Small enough for a gradient by finite differences.
inline std::vector<Shape> tiny_shapes() {
  return {{5, 3}, {3, 1, 4}, {2, 4, 3}, {3, 2, 2, 2}, {2, 4, 1, 2, 2}};
}

/// One less and one more than every width of vector, and everything between.
inline std::vector<Index> widths() {
  std::vector<Index> result;
  for (Index width = 1; width <= 70; ++width) result.push_back(width);
  for (Index width : {95, 96, 97, 127, 128, 129, 191, 255, 256, 257, 511, 513}) result.push_back(width);
  return result;
}

}  // namespace ek_test
