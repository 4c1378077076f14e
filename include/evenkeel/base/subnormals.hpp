// SPDX-License-Identifier: MIT
#pragma once

#include "evenkeel/base/config.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN

/// While it lives, this thread computes with subnormal numbers, whatever its caller chose: with flush-to-zero they are 0 as
/// inputs and as results. What computes is a call, so that no compiler moves it out.
class SubnormalNumbers {
 public:
  SubnormalNumbers(const SubnormalNumbers&) = delete;
  SubnormalNumbers& operator=(const SubnormalNumbers&) = delete;
#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
  explicit SubnormalNumbers(bool wanted = true) : flushes_(wanted ? __builtin_ia32_stmxcsr() & kFlushes : 0) {
    if (flushes_ != 0) __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() & ~kFlushes);
  }
  ~SubnormalNumbers() {
    if (flushes_ != 0) __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | flushes_);
  }

 private:
  static constexpr unsigned kFlushes = 0x8040;  // FTZ and DAZ
  unsigned flushes_;
#elif defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))
  explicit SubnormalNumbers(bool wanted = true) : flushes_(wanted ? read() & kFlushes : 0) {
    if (flushes_ != 0) write(read() & ~kFlushes);
  }
  ~SubnormalNumbers() {
    if (flushes_ != 0) write(read() | flushes_);
  }

 private:
  using Word = unsigned long long;
  static constexpr Word kFlushes = Word(1) << 24;  // FZ
  static Word read() {
    Word word;
    asm volatile("mrs %0, fpcr" : "=r"(word));
    return word;
  }
  static void write(Word word) { asm volatile("msr fpcr, %0" : : "r"(word) : "memory"); }
  Word flushes_;
#else
  explicit SubnormalNumbers(bool = true) {}
  ~SubnormalNumbers() {}
#endif
};

EVENKEEL_END
}  // namespace evenkeel::detail
