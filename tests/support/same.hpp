// Comparison bit for bit, and of error messages.
#pragma once

#include <gtest/gtest.h>

#include <cctype>
#include <cmath>
#include <cstddef>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <vector>

namespace ek_test {

/// Every element has the same value and the same sign, or both are NaN. Works on vectors, Eigen arrays and
/// tensors.
template <typename A, typename B>
::testing::AssertionResult same_bits(const A& a, const B& b) {
  if (static_cast<std::size_t>(a.size()) != static_cast<std::size_t>(b.size()))
    return ::testing::AssertionFailure() << a.size() << " elements and " << b.size();
  for (std::ptrdiff_t i = 0; i < static_cast<std::ptrdiff_t>(a.size()); ++i) {
    const auto p = a.data()[i];
    const auto q = b.data()[i];
    if (std::isnan(p) && std::isnan(q)) continue;
    if (!(p == q) || std::signbit(p) != std::signbit(q))
      return ::testing::AssertionFailure()
             << "element " << i << " of " << a.size() << ": " << p << " and " << q << ", apart by " << p - q;
  }
  return ::testing::AssertionSuccess();
}

/// The text of the std::invalid_argument that `call` throws.
template <typename Call>
std::string refusal(Call call) {
  try {
    call();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "(nothing was thrown)";
}

/// Whether every part stands in the message, numbers and words whole: "1" is no part of "128".
inline ::testing::AssertionResult says(const std::string& message, std::initializer_list<std::string> parts) {
  const auto is_letter = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; };
  for (const std::string& part : parts) {
    const auto is_cut = [&](std::size_t where) {
      const std::size_t end = where + part.size();
      return (where > 0 && is_letter(part.front()) && is_letter(message[where - 1])) ||
             (end < message.size() && is_letter(part.back()) && is_letter(message[end]));
    };
    std::size_t where = message.find(part);
    while (where != std::string::npos && is_cut(where)) where = message.find(part, where + 1);
    if (where == std::string::npos)
      return ::testing::AssertionFailure() << "no \"" << part << "\" in: " << message;
  }
  return ::testing::AssertionSuccess();
}

}  // namespace ek_test
