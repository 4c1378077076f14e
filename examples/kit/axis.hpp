#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

namespace kit {

/// Of a chart.
struct Axis {
  std::string label;
  double low, high;
  std::string unit = "";  // behind each number
  bool logarithmic = false;
  std::vector<double> ticks = {};       // where it has numbers; empty: at round ones
  std::vector<std::string> names = {};  // of the ticks, in place of numbers
};

/// From 0 at the low end to 1 at the high one, and no further.
inline double place_on(const Axis& axis, double value) {
  const auto scaled = [&](double v) { return axis.logarithmic ? std::log(std::max(v, 1e-300)) : v; };
  const double low = scaled(axis.low), high = scaled(axis.high);
  return std::clamp((scaled(value) - low) / (high - low), 0.0, 1.0);
}

/// Where a linear axis has numbers: at most seven multiples of 1, 2 or 5 times a power of ten.
inline std::vector<double> linear_ticks(double low, double high) {
  double interval = std::pow(10, std::floor(std::log10((high - low) / 6)));
  for (double factor : {2.0, 2.5, 2.0}) {
    if ((high - low) / interval > 6) interval *= factor;
  }
  std::vector<double> ticks;
  const double rounding = 1e-9;
  for (auto i = std::lround(std::ceil(low / interval - rounding));; ++i) {
    const double tick = static_cast<double>(i) * interval;
    if (tick > high + rounding * interval) return ticks;
    ticks.push_back(tick);
  }
}

/// Where a logarithmic axis has numbers: powers of ten, every second or later one above ten decades, and below two
/// decades 2 and 5 times them too.
inline std::vector<double> logarithmic_ticks(double low, double high) {
  const double rounding = 1e-9;
  const std::vector<double> digits = high / low < 100 ? std::vector<double>{1, 2, 5} : std::vector<double>{1};
  const double apart = std::max(std::ceil(std::log10(high / low) / 10 - rounding), 1.0);
  std::vector<double> ticks;
  for (double decade = std::floor(std::log10(low) / apart) * apart;; decade += apart) {
    for (double digit : digits) {
      const double tick = digit * std::pow(10, decade);
      if (tick > high * (1 + rounding)) return ticks;
      if (tick >= low * (1 - rounding)) ticks.push_back(tick);
    }
  }
}

inline std::vector<double> ticks_of(const Axis& axis) {
  if (!axis.ticks.empty()) return axis.ticks;
  return axis.logarithmic ? logarithmic_ticks(axis.low, axis.high) : linear_ticks(axis.low, axis.high);
}

}  // namespace kit
