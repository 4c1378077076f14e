#pragma once

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "data.hpp"

namespace digits {

struct Options {
  std::optional<std::string> data;
  Index steps = 2000;
  std::vector<Index> batches = {60, 4};
  std::vector<std::string> norms = {"none", "batch", "layer", "group"};
  std::optional<double> rate;
  std::uint64_t seed = 1;
  bool help = false;

  /// Without --rate, what the network without norm learns fastest with, and a good rate for all norms.
  double rate_for(const std::string& norm) const { return rate.value_or(norm == "none" ? 1 : 0.3); }
};

constexpr const char* kHelp =
    R"(digits: a classifier of handwritten digits, trained with and without norms

Trains the sigmoid network of Ioffe and Szegedy 2015, section 4.1, once for each
norm and batch size, and draws its test accuracy over the steps in digits.svg.

  --data DIR      real digits instead of drawn ones; DIR holds optdigits.tra and
                  optdigits.tes (UCI), or the four files of MNIST, unpacked
                  (train-images-idx3-ubyte, ...)
  --steps N       training steps of each network (2000)
  --batch N,...   images a step (60,4)
  --norm NAME,... none, batch, layer, group (all four)
  --rate R        learning rate (0.3; 1 for none); it falls linearly to 0 over
                  the last fifth of the steps
  --seed N        of the first weights and the order of the images (1)
  --help          this text
)";

inline std::uint64_t parse_integer(const std::string& option, const std::string& text, std::uint64_t low,
                                   std::uint64_t high) {
  std::uint64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || value < low || value > high) {
    fail(option,
         "'" + text + "', expected an integer from " + std::to_string(low) + " to " + std::to_string(high));
  }
  return value;
}

inline Index parse_count(const std::string& option, const std::string& text) {
  return static_cast<Index>(parse_integer(option, text, 1, 1000000000));
}

inline double parse_rate(const std::string& option, const std::string& text) {
  char* stop = nullptr;
  const double value = std::strtod(text.c_str(), &stop);
  if (text.empty() || *stop != '\0' || !(value > 0 && value <= std::numeric_limits<float>::max())) {
    fail(option, "'" + text + "', expected a positive number");
  }
  return value;
}

inline std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts(1);
  for (char c : text) {
    if (c == ',') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

template <typename T>
bool contains(const std::vector<T>& values, const T& value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

inline Options parse_options(const std::vector<std::string>& arguments) {
  Options options;
  const std::vector<std::string> known_norms = options.norms;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& option = arguments[i];
    const auto value = [&]() -> const std::string& {
      if (++i == arguments.size()) fail(option, "has no value, see --help");
      return arguments[i];
    };
    if (option == "--help" || option == "-h") {
      options.help = true;
    } else if (option == "--data") {
      options.data = value();
    } else if (option == "--steps") {
      options.steps = parse_count(option, value());
    } else if (option == "--batch") {
      options.batches.clear();
      for (const std::string& part : split(value())) options.batches.push_back(parse_count(option, part));
    } else if (option == "--norm") {
      options.norms = split(value());
      for (const std::string& norm : options.norms) {
        if (!contains(known_norms, norm))
          fail(option, "'" + norm + "', expected none, batch, layer or group");
      }
    } else if (option == "--rate") {
      options.rate = parse_rate(option, value());
    } else if (option == "--seed") {
      options.seed = parse_integer(option, value(), 0, UINT64_MAX);
    } else {
      fail(option, "unknown option, see --help");
    }
  }
  if (contains(options.norms, std::string("batch")) && contains(options.batches, Index{1})) {
    fail("--batch", "1, batch norm needs at least 2 images a step");
  }
  return options;
}

}  // namespace digits
