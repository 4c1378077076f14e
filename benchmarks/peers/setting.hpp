#pragma once

#include <string>
#include <vector>

#include "library.hpp"
#include "machine.hpp"

namespace evenkeel::peers {

/// What all figures of a report have in common.
struct Setting {
  Machine machine;
  std::string instruction_set;     // that Evenkeel chose
  std::vector<Library> libraries;  // Evenkeel first
  std::vector<std::string> missing;
  int repetitions = 1;

  std::string versions() const;  // Evenkeel 0.1.0, oneDNN 2.6.3, ...
  std::string text() const;
};

/// This machine, and all libraries that the build has found.
Setting present_setting();

}  // namespace evenkeel::peers
