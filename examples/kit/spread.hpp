#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

namespace kit {

/// Of one result over several seeds.
struct Spread {
  double lowest, median, highest;
};

/// Of at least one value.
inline Spread spread_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  const double median = values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
  return {values.front(), median, values.back()};
}

}  // namespace kit
