#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "../kit/chart.hpp"
#include "../kit/images.hpp"
#include "../kit/table.hpp"

namespace claims {

using namespace kit;

/// What an experiment is done with.
struct Setting {
  const Data& data;
  std::vector<std::uint64_t> seeds;
  bool quick;  // a few seconds, for tests: fewer steps and cases

  /// usual, or what takes its place in a quick run.
  template <typename T>
  T choose(T usual, T when_quick) const {
    return quick ? when_quick : usual;
  }
};

/// What came out of it.
struct Outcome {
  Table table;
  Chart chart;
  bool holds;             // with a margin over the spread of seeds
  std::string finding;    // a few sentences with the figures
  std::string part = {};  // the part that holds by itself where the whole does not
};

/// One statement of the literature, and the experiment that shows it.
struct Claim {
  const char* name;  // of the subcommand
  const char* statement;
  const char* source;
  const char* experiment;  // network, data, and what is varied
  Outcome (*test)(const Setting& setting);
};

}  // namespace claims
