#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace kit {

/// Of one result over several seeds.
struct Spread {
  double lowest, median, highest;
};

/// Of at least one value. NaN counts as infinity: it is the loss of a training that diverged.
inline Spread spread_of(std::vector<double> values) {
  for (double& value : values) {
    if (std::isnan(value)) value = INFINITY;
  }
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  const double median = values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
  return {values.front(), median, values.back()};
}

}  // namespace kit
