#pragma once

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <limits>
#include <string>
#include <system_error>
#include <vector>

#include "error.hpp"
#include "types.hpp"

namespace kit {

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

inline std::uint64_t parse_seed(const std::string& option, const std::string& text) {
  return parse_integer(option, text, 0, UINT64_MAX);
}

/// A number that is_allowed(value), which expected describes.
template <typename IsAllowed>
double parse_number(const std::string& option, const std::string& text, const char* expected,
                    IsAllowed is_allowed) {
  char* stop = nullptr;
  const double value = std::strtod(text.c_str(), &stop);
  const bool is_number = !text.empty() && *stop == '\0' && value <= std::numeric_limits<float>::max();
  if (!is_number || !is_allowed(value)) fail(option, "'" + text + "', expected " + expected);
  return value;
}

inline double parse_rate(const std::string& option, const std::string& text) {
  return parse_number(option, text, "a positive number", [](double value) { return value > 0; });
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

/// Calls take(option, value) for each option; value() is the argument behind it.
template <typename Take>
void for_each_option(const std::vector<std::string>& arguments, Take take) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& option = arguments[i];
    take(option, [&]() -> const std::string& {
      if (++i == arguments.size()) fail(option, "has no value, see --help");
      return arguments[i];
    });
  }
}

/// The body of main: an error is one line that begins with the program's name.
template <typename Body>
int run_program(const char* name, Body body) {
  try {
    body();
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", name, error.what());
    return 1;
  }
}

}  // namespace kit
