#pragma once

#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

#include "evenkeel/base/config.hpp"

#ifndef EVENKEEL_FAIL
#if EVENKEEL_HAS_EXCEPTIONS
#define EVENKEEL_FAIL(message) throw std::invalid_argument(message)
#else
#define EVENKEEL_FAIL(message) (std::fprintf(stderr, "%s\n", (message).c_str()), std::abort())
#endif
#endif

namespace evenkeel::detail {
EVENKEEL_BEGIN

/// The function that reports: "evenkeel::" + scope + function, as in "evenkeel::BatchNorm::forward". The text is built
/// only for an error.
struct Caller {
  std::string_view scope;  // "BatchNorm::", or empty for a free function
  std::string_view function;
};

/// A word or a number of a message. Holds no text of its own.
struct Piece {
  std::string_view text;
  long long number = 0;
  bool is_number = false;

  Piece(const char* words) : text(words) {}
  Piece(const std::string& words) : text(words) {}
  template <typename T, std::enable_if_t<std::is_integral_v<T>, int> = 0>
  Piece(T value) : number(static_cast<long long>(value)), is_number(true) {}
};

/// Reports bad input: throws std::invalid_argument, or calls EVENKEEL_FAIL. It joins the pieces of the message, so that
/// callers stay small.
[[noreturn]] EVENKEEL_COLD inline void fail(const Caller& caller, std::initializer_list<Piece> rule) {
  std::string message = "evenkeel::";
  message.append(caller.scope).append(caller.function).append(": ");
  for (const Piece& piece : rule) {
    if (piece.is_number) {
      message += std::to_string(piece.number);
    } else {
      message += piece.text;
    }
  }
  EVENKEEL_FAIL(message);
  std::abort();
}

/// "1 channel", "2 channels".
EVENKEEL_COLD inline std::string counted(long long n, const char* noun) {
  return std::to_string(n) + " " + noun + (n == 1 ? "" : "s");
}

/// The shortest usual spelling of a number: 1e-05, 2, nan.
EVENKEEL_COLD inline std::string shown(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", value);
  return text;
}

EVENKEEL_END
}  // namespace evenkeel::detail
