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

/// Whether every part stands in the message, numbers as whole words: "1" is no part of "128".
inline ::testing::AssertionResult says(const std::string& message, std::initializer_list<std::string> parts) {
  const auto in_word = [&](std::size_t i) {
    return i < message.size() && std::isalnum(static_cast<unsigned char>(message[i]));
  };
  for (const std::string& part : parts) {
    std::size_t where = message.find(part);
    while (where != std::string::npos && ((where > 0 && in_word(where - 1)) || in_word(where + part.size())))
      where = message.find(part, where + 1);
    if (where == std::string::npos)
      return ::testing::AssertionFailure() << "no \"" << part << "\" in: " << message;
  }
  return ::testing::AssertionSuccess();
}

}  // namespace ek_test
