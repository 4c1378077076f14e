#pragma once

#include <string>
#include <vector>

#include "../case.hpp"

namespace evenkeel::benchmarks {

/// The norms of a network in one step of training: each shape forward and backward.
struct Model {
  struct Norms {
    Case test;
    int count;  // of this shape
  };

  std::string name;
  int count;  // of all norms
  std::vector<Norms> passes;
};

std::vector<Model> models();

}  // namespace evenkeel::benchmarks
