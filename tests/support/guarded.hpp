// Arrays beside pages without access: who reads or writes past the end of one is stopped by the processor.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "shape.hpp"

namespace ek_test {

/// Where an array lies between its two pages without access.
struct Place {
  enum class Side { begin, end };

  Side side;        // which of the pages it is near
  int offset = -1;  // its address modulo 64, as near to that page as this allows; -1: right at the page

  static constexpr Place begin() { return {Side::begin}; }
  static constexpr Place end() { return {Side::end}; }
  Place at(int bytes) const { return {side, bytes}; }
};

/// What the bytes beside an array are: a NaN of every type where it is only read, so that reading there shows in a
/// result; for an output a number, so that writing a NaN there is seen too.
enum class Beside : unsigned char { zero = 0, number = 0x2a, nan = 0xff };

/// Room for an array, between two pages without access. What lies beside the array is known, and seen to stay.
template <typename T>
class GuardedArray {
 public:
  explicit GuardedArray(Index most) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    room_ = (at(most) * sizeof(T) + 63 + page) / page * page;
    mapped_ = room_ + 2 * page;
    memory_ =
        static_cast<unsigned char*>(mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    begin_ = memory_ + page;
    if (memory_ == MAP_FAILED || mprotect(begin_, room_, PROT_READ | PROT_WRITE) != 0) std::abort();
    lay(0, Place::begin(), Beside::zero);
  }
  GuardedArray(const GuardedArray&) = delete;
  GuardedArray& operator=(const GuardedArray&) = delete;
  ~GuardedArray() { munmap(memory_, mapped_); }

  /// Begins anew with `size` elements, all bytes of which are as beside it.
  T* lay(Index size, Place place, Beside beside) {
    beside_ = static_cast<unsigned char>(beside);
    size_ = at(size) * sizeof(T);
    if (size_ + 63 > room_) std::abort();
    std::memset(begin_, beside_, room_);
    const std::size_t last = room_ - size_, offset = place.offset < 0 ? 0 : at(place.offset);
    if (place.side == Place::Side::begin) {
      data_ = begin_ + offset;
    } else {
      data_ = begin_ + last - (place.offset < 0 ? 0 : (last - offset) % 64);
    }
    return data();
  }
  /// The same with values.
  T* lay(const std::vector<T>& values, Place place, Beside beside) {
    lay(static_cast<Index>(values.size()), place, beside);
    set(values);
    return data();
  }

  void set(const std::vector<T>& values) { std::copy(values.begin(), values.end(), data()); }

  T* data() { return reinterpret_cast<T*>(data_); }
  std::vector<T> values() { return std::vector<T>(data(), data() + size_ / sizeof(T)); }

  bool beside_intact() const {
    const unsigned char* end = data_ + size_;
    return is_beside(begin_, data_) && is_beside(end, begin_ + room_);
  }

 private:
  bool is_beside(const unsigned char* from, const unsigned char* to) const {
    return from == to ||
           (*from == beside_ && std::memcmp(from, from + 1, static_cast<std::size_t>(to - from) - 1) == 0);
  }

  std::size_t room_, mapped_, size_ = 0;
  unsigned char *memory_, *begin_, *data_ = nullptr;
  unsigned char beside_ = 0;
};

template <typename T>
bool same_bytes(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

/// Says what was running when memory is touched that may not be, and then lets the program end as it would have.
class WhatWasRunning {
 public:
  WhatWasRunning() {
    struct sigaction action = {};
    action.sa_handler = [](int signal) {
      const std::string text = "touched memory that is not its own: " + now() + '\n';
      if (write(STDERR_FILENO, text.data(), text.size()) < 0) std::abort();
      sigaction(signal, &before(), nullptr);  // returns to the instruction, which faults again
    };
    sigaction(SIGSEGV, &action, &before());
  }
  WhatWasRunning(const WhatWasRunning&) = delete;
  WhatWasRunning& operator=(const WhatWasRunning&) = delete;
  ~WhatWasRunning() { sigaction(SIGSEGV, &before(), nullptr); }

  static std::string& now() {
    static std::string text;
    return text;
  }

 private:
  static struct sigaction& before() {
    static struct sigaction action;
    return action;
  }
};

}  // namespace ek_test
