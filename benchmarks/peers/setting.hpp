#pragma once

#include <string>
#include <vector>

#include "../library.hpp"
#include "../machine.hpp"

namespace evenkeel::benchmarks {

/// What all figures of a report have in common.
struct Setting {
  Machine machine;
  std::vector<Library> libraries;  // Evenkeel first
  std::vector<std::string> missing;
  int repetitions = 1;

  std::string versions() const;  // Evenkeel 0.1.0, oneDNN 2.6.3, ...
  std::string text() const;
};

/// This machine, and all libraries that the build has found.
Setting present_setting();

/// On an Eigen::DefaultDevice, or on an Eigen::ThreadPoolDevice of more than one thread.
Library evenkeel_library(int threads = 1);

/// The same library from EVENKEEL_BASELINE_DIR.
Library baseline_library(int threads = 1);

Library eigen_library();

}  // namespace evenkeel::benchmarks
