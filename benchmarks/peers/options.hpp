#pragma once

#include <charconv>
#include <optional>
#include <regex>
#include <stdexcept>
#include <string>
#include <vector>

namespace evenkeel::benchmarks {

struct Options {
  std::optional<std::regex> filter;
  int repetitions = 0;
  std::string output = ".";
  std::string including;  // where cost_of_including.sh has written
  bool only_baseline = false, in_double = false, small = false;
  int threads = 1;
  bool help = false;

  bool wants(const std::string& name) const { return !filter || std::regex_search(name, *filter); }
};

constexpr const char* kHelp =
    R"(evenkeel_compare: Evenkeel, the floor and other libraries on the same cases

Writes compare.md, compare.json and compare.svg.

  --filter REGEX   only cases whose name has it, as batch_norm/forward/nchw/32x64x56x56/float,
                   and models whose name has it, as models/ResNet-50, 32 images
  --repetitions N  of each measurement, whose median is reported (11; 41 with --only-baseline)
  --output DIR     where to write (.)
  --including FILE what cost_of_including.sh has measured, to be part of the report
  --only-baseline  no report, but the time of each float case over that of the version of Evenkeel in
                   EVENKEEL_BASELINE_DIR, which CMake was given
  --double         the cases of double instead; with --only-baseline
  --small          the small tensors instead; with --only-baseline
  --threads N      on an Eigen::ThreadPoolDevice of so many threads; with --only-baseline
  --help           this text
)";

inline int parse_count(const std::string& option, const std::string& text) {
  int value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || value < 1 || value > 1000000) {
    throw std::runtime_error(option + ": '" + text + "', expected an integer from 1 to 1000000");
  }
  return value;
}

inline std::regex parse_filter(const std::string& text) {
  try {
    return std::regex(text);
  } catch (const std::regex_error&) {
    throw std::runtime_error("--filter: '" + text + "', expected a regular expression");
  }
}

inline Options parse_options(const std::vector<std::string>& arguments) {
  Options options;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& option = arguments[i];
    const auto value = [&]() -> const std::string& {
      if (++i == arguments.size()) throw std::runtime_error(option + ": has no value, see --help");
      return arguments[i];
    };
    if (option == "--help" || option == "-h") {
      options.help = true;
    } else if (option == "--filter") {
      options.filter = parse_filter(value());
    } else if (option == "--repetitions") {
      options.repetitions = parse_count(option, value());
    } else if (option == "--only-baseline") {
      options.only_baseline = true;
    } else if (option == "--double") {
      options.in_double = true;
    } else if (option == "--small") {
      options.small = true;
    } else if (option == "--threads") {
      options.threads = parse_count(option, value());
    } else if (option == "--including") {
      options.including = value();
    } else if (option == "--output") {
      options.output = value();
    } else {
      throw std::runtime_error(option + ": unknown option, see --help");
    }
  }
  if (options.repetitions == 0) options.repetitions = options.only_baseline ? 41 : 11;
  return options;
}

}  // namespace evenkeel::benchmarks
