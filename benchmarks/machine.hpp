#pragma once

#include <string>

namespace evenkeel::benchmarks {

/// What the figures were measured on, as far as the system tells.
struct Machine {
  std::string processor;
  int cores;
  long l2_bytes, l3_bytes;
  std::string compiler;

  std::string text() const;  // Intel(R) Xeon(R) Processor, 2 cores, L2 2 MiB, L3 260 MiB
};

Machine this_machine();

/// Of the widest vectors that the processor has and EVENKEEL_MAX_ISA in the environment allows.
int vector_bytes();

}  // namespace evenkeel::benchmarks
