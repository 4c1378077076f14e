// What a fuzzer's bytes choose, in all fuzz targets alike.
#pragma once

#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <evenkeel/evenkeel.hpp>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "support/shape.hpp"

namespace ek_test {

namespace ek = evenkeel;

/// Ends the program where the library did not do what it promises.
[[noreturn]] inline void broken(const std::string& promise) {
  std::fprintf(stderr, "broken: %s\n", promise.c_str());
  std::abort();
}

inline void require(bool kept, const char* promise) {
  if (!kept) broken(promise);
}

class Choices {
 public:
  Choices(const std::uint8_t* data, std::size_t size) : bytes_(data, size) {}

  bool flag() { return bytes_.ConsumeBool(); }
  bool rarely() { return between(0, 15) == 15; }
  Index between(Index low, Index high) { return bytes_.ConsumeIntegralInRange<Index>(low, high); }

  template <typename T>
  T one_of(std::initializer_list<T> values) {
    return values.begin()[between(0, static_cast<Index>(values.size()) - 1)];
  }

  /// Any bits at all.
  template <typename T>
  T bits() {
    T value;
    std::uint8_t raw[sizeof(T)] = {};
    bytes_.ConsumeData(raw, sizeof(T));
    std::memcpy(&value, raw, sizeof(T));
    return value;
  }

  ek::Layout layout() { return flag() ? ek::row_major : ek::col_major; }

  /// A rank of 1 to 8 and extents around the widths of vectors, together at most `most` elements.
  Shape shape(Index most) {
    Shape result;
    const Index rank = between(1, 8);
    for (Index axis = 0; axis < rank; ++axis) {
      const Index extent =
          flag() ? between(1, 9)
                 : one_of<Index>({1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 32, 33, 49, 64, 65, 127, 129, 300, 1000});
      result.push_back(std::max<Index>(1, std::min(extent, most)));
      most /= result.back();
    }
    return result;
  }

  Index divisor_of(Index n) {
    Index divisor = between(1, n);
    while (n % divisor != 0) --divisor;
    return divisor;
  }

  double epsilon() { return flag() ? 1e-5 : one_of<double>({0, 1e-12, 1e-3, 1, 1e-30, 1e-300, 1e30}); }
  std::optional<double> momentum() {
    return flag() ? std::optional<double>(0.1) : one_of<std::optional<double>>({std::nullopt, 0.0, 1.0, 0.5});
  }

 private:
  FuzzedDataProvider bytes_;
};

}  // namespace ek_test
