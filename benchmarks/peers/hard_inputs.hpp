#pragma once

#include <string>
#include <vector>

#include "../case.hpp"
#include "support/shape.hpp"

namespace evenkeel::benchmarks {

struct HardInput {
  std::string text;
  Case test;
  std::vector<float> x;
  double dy_size = 1;  // so that float can hold dx
};

/// The shape where an input's text names no other.
Case usual_case(Norm norm);

/// Means far from 0, uneven and constant data, values of extreme size, and what failed by published reports.
std::vector<HardInput> hard_inputs(Norm norm);

/// Of N,C and N,C,H,W.
ek_test::IndexMap map_of(const Case& test);

}  // namespace evenkeel::benchmarks
