#pragma once

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>

#include "evenkeel/base/config.hpp"

#ifndef EVENKEEL_FAIL
#if defined(__cpp_exceptions) || defined(_CPPUNWIND)
#define EVENKEEL_FAIL(message) throw std::invalid_argument(message)
#else
#define EVENKEEL_FAIL(message) (std::fprintf(stderr, "%s\n", (message).c_str()), std::abort())
#endif
#endif

namespace evenkeel {

/// Who reports: "evenkeel::" + scope + function, as in "evenkeel::BatchNorm::forward". Built only when it
/// speaks.
struct Caller {
  std::string_view scope;  // "BatchNorm::", or empty for a free function
  std::string_view function;
};

/// Reports bad input: throws std::invalid_argument, or calls EVENKEEL_FAIL.
[[noreturn]] EVENKEEL_COLD inline void fail(const Caller& caller, const std::string& rule) {
  const std::string message =
      "evenkeel::" + std::string(caller.scope) + std::string(caller.function) + ": " + rule;
  EVENKEEL_FAIL(message);
  std::abort();
}

/// "1 channel", "2 channels".
inline std::string counted(long long n, const std::string& noun) {
  return std::to_string(n) + " " + noun + (n == 1 ? "" : "s");
}

/// The shortest usual spelling of a number: 1e-05, 2, nan.
inline std::string shown(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", value);
  return text;
}

}  // namespace evenkeel
