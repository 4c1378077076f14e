// SPDX-License-Identifier: MIT
#pragma once

#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <stdexcept>
#include <string>
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
EVENKEEL_BEGIN_SMALL

/// Throws std::invalid_argument, or calls EVENKEEL_FAIL.
[[noreturn]] EVENKEEL_COLD inline void report_error(const char* text) {
  const std::string message = text;
  EVENKEEL_FAIL(message);
  std::abort();
}

/// The function that reports: "evenkeel::" + scope + function, as in "evenkeel::BatchNorm::forward". The text is built
/// only for an error.
struct Caller {
  const char* scope;  // "BatchNorm::", or empty for a free function
  const char* function;
  void (*report)(const char*) = report_error;  // of the caller, where a check is compiled elsewhere
};

EVENKEEL_COLD inline void append_number(std::string& text, long long number) {
  char digits[24];
  std::snprintf(digits, sizeof digits, "%lld", number);
  text += digits;
}

/// Appends "[32, 64, 56, 56]".
EVENKEEL_COLD inline void append_list(std::string& text, const Eigen::Index* values, int count) {
  text += '[';
  for (int i = 0; i < count; ++i) {
    if (i > 0) text += ", ";
    append_number(text, values[i]);
  }
  text += ']';
}

/// A part of a message: words, a number, or a list. It holds no text of its own, so that callers stay small.
struct Piece {
  enum class Kind { words, number, count, real, list };

  Kind kind;
  int precision = 0;           // of a real: digits
  const void* data = nullptr;  // words, the noun of a count, or a list
  union {
    long long number;
    double real;
  };

  Piece(const char* words) : Piece(Kind::words, words, 0) {}
  template <typename T, std::enable_if_t<std::is_integral_v<T>, int> = 0>
  Piece(T value) : Piece(Kind::number, nullptr, static_cast<long long>(value)) {}
  Piece(Kind kind_, const void* data_, long long number_) : kind(kind_), data(data_), number(number_) {}
  Piece(double value, int precision_) : kind(Kind::real), precision(precision_), real(value) {}

  EVENKEEL_COLD void append_to(std::string& text) const {
    const auto* words = static_cast<const char*>(data);
    char digits[24];
    switch (kind) {
      case Kind::words:
        text += words;
        return;
      case Kind::number:
        return append_number(text, number);
      case Kind::count:
        append_number(text, number);
        text.append(" ").append(words).append(number == 1 ? "" : "s");
        return;
      case Kind::real:
        std::snprintf(digits, sizeof digits, "%.*g", precision, real);
        text += digits;
        return;
      case Kind::list:
        return append_list(text, static_cast<const Eigen::Index*>(data), static_cast<int>(number));
    }
  }
};

/// "1 channel", "2 channels".
inline Piece counted(long long n, const char* noun) { return {Piece::Kind::count, noun, n}; }

/// The shortest usual spelling of a number: 1e-05, 2, nan.
inline Piece shown(double value, int precision = 6) { return {value, precision}; }
inline Piece shown(bool value) { return value ? "true" : "false"; }

/// The pieces one after another, behind what text has.
EVENKEEL_COLD inline std::string joined(std::string text, std::initializer_list<Piece> pieces) {
  for (const Piece& piece : pieces) piece.append_to(text);
  return text;
}

/// Reports bad input.
[[noreturn]] EVENKEEL_COLD inline void fail(const Caller& caller, std::initializer_list<Piece> rule) {
  caller.report(joined(joined("evenkeel::", {caller.scope, caller.function, ": "}), rule).c_str());
  std::abort();
}

EVENKEEL_END_SMALL
EVENKEEL_END
}  // namespace evenkeel::detail
