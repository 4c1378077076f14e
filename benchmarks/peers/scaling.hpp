#pragma once

#include <optional>
#include <string>
#include <vector>

#include "threads.hpp"

namespace evenkeel::peers {

inline constexpr int kCores[] = {1, 2, 4, 8, 16, 32, 64};

/// What a call would take on so many cores, and what most keeps it from being as many times as fast.
struct Prediction {
  int cores;
  double seconds;
  std::string limit;
};

struct Scaling {
  Growth measured;
  std::vector<Prediction> predictions;  // one for each of kCores

  double speed_up(std::size_t i) const { return predictions[0].seconds / predictions[i].seconds; }
};

/// What the model is made of besides the case.
struct ScalingModel {
  CallIn call_in;                          // the first helper is awake, all others sleep
  std::optional<double> bytes_per_second;  // that all cores get together; not set: no limit

  Scaling predict(const Growth& measured, int repetitions) const;
};

}  // namespace evenkeel::peers
