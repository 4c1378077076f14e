#pragma once

#include "options.hpp"

namespace evenkeel::benchmarks {

/// Prints the present version's time of each case over the baseline's.
int run_baseline(const Options& options);

}  // namespace evenkeel::benchmarks
