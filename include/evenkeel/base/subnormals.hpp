#pragma once

#include "evenkeel/base/config.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN

/// While it lives, this thread computes with subnormal numbers, whatever its caller chose: with flush-to-zero they are 0 as
/// inputs and as results.
class SubnormalNumbers {
 public:
#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
  SubnormalNumbers() : before_(__builtin_ia32_stmxcsr()) {
    if ((before_ & kFlushes) != 0) __builtin_ia32_ldmxcsr(before_ & ~kFlushes);
  }
  ~SubnormalNumbers() {
    if ((before_ & kFlushes) != 0) __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | (before_ & kFlushes));
  }

 private:
  static constexpr unsigned kFlushes = 0x8040;  // FTZ and DAZ
  unsigned before_;
#elif defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))
  SubnormalNumbers() : before_(read()) {
    if ((before_ & kFlushes) != 0) write(before_ & ~kFlushes);
  }
  ~SubnormalNumbers() {
    if ((before_ & kFlushes) != 0) write(read() | (before_ & kFlushes));
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
  Word before_;
#else
  SubnormalNumbers() {}
  ~SubnormalNumbers() {}

 private:
#endif
  SubnormalNumbers(const SubnormalNumbers&) = delete;
  SubnormalNumbers& operator=(const SubnormalNumbers&) = delete;
};

EVENKEEL_END
}  // namespace evenkeel::detail
