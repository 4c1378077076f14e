#pragma once

#include <string>
#include <vector>

#include "../case.hpp"
#include "../library.hpp"
#include "../measure.hpp"

namespace evenkeel::benchmarks {

/// What one library did on a case.
struct Result {
  std::string library;
  Timing time;
  double multiple;    // of the floor
  double difference;  // from the exact result: the largest, over the largest value
};

struct Row {
  Case test;
  Floor floor;
  std::vector<Result> results;  // Evenkeel's first

  const Result& evenkeel() const { return results.front(); }
  const Result* find(const std::string& library) const;
  const Result* best_peer() const;
  double lead() const;  // the best peer's time over Evenkeel's
};

/// Measures a case through the libraries, Evenkeel first, and the floor. Appends to `errors` which results are
/// wrong.
Row compare(const Case& test, const std::vector<Library>& libraries, int repetitions,
            std::vector<std::string>& errors, Clock clock = Clock::kProcess);

}  // namespace evenkeel::benchmarks
