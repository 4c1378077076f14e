#pragma once

#include <string>
#include <vector>

#include "case.hpp"
#include "library.hpp"
#include "measure.hpp"

namespace evenkeel::peers {

/// What one library did on a case.
struct Result {
  std::string library;
  Timing time;
  double multiple;    // of the floor
  double difference;  // from Evenkeel: the largest, over the largest value
};

struct Row {
  Case test;
  Timing floor;
  std::string floor_form;
  std::vector<Result> results;  // Evenkeel's first

  const Result& evenkeel() const { return results.front(); }
  const Result* find(const std::string& library) const;
  const Result* best_peer() const;
  double lead() const;  // the best peer's time over Evenkeel's
};

/// Measures a case through Evenkeel, the floor and the peers, and appends to `disagreements` what they do not
/// agree on.
Row compare(const Case& test, const Library& evenkeel, const std::vector<Library>& peers, int repetitions,
            std::vector<std::string>& disagreements, Clock clock = Clock::kProcess);

}  // namespace evenkeel::peers
