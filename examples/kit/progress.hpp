#pragma once

#include <cstdio>
#include <string>

#if defined(_WIN32)
#include <io.h>
#else
#include <unistd.h>
#endif

#include "types.hpp"

namespace kit {

inline bool stdout_is_terminal() {
#if defined(_WIN32)
  return _isatty(_fileno(stdout)) != 0;
#else
  return isatty(STDOUT_FILENO) != 0;
#endif
}

/// How far several runs of as many steps are: a bar that redraws itself on a terminal, a line each fifth of a run
/// elsewhere.
class Progress {
 public:
  /// unit: what a step is called.
  Progress(Index runs, Index steps, const char* unit = "step") : runs_(runs), steps_(steps), unit_(unit) {}

  /// Shows nothing.
  static Progress quiet() { return Progress(0, 1); }

  /// Labels and states should be equally long, so that bars and lines stand one below the other.
  void begin_run(const std::string& label) {
    ++run_;
    label_ = label;
    fifths_ = -1;
  }

  void show(Index step, const std::string& state) {
    if (runs_ == 0) return;
    const Index fifths = 5 * step / steps_;
    if (!terminal_ && fifths == fifths_) return;
    fifths_ = fifths;

    constexpr Index kWidth = 16;
    const Index done = kWidth * step / steps_;
    const std::string bar = terminal_ ? " [" + std::string(static_cast<std::size_t>(done), '#') +
                                            std::string(static_cast<std::size_t>(kWidth - done), '.') + "]"
                                      : "";
    const char* end = !terminal_ || step == steps_ ? "\n" : "";
    std::printf("%s%td/%td  %s%s  %s %*td/%td  %s%s", terminal_ ? "\r" : "", run_, runs_, label_.c_str(),
                bar.c_str(), unit_, static_cast<int>(std::to_string(steps_).size()), step, steps_,
                state.c_str(), end);
    std::fflush(stdout);
  }

 private:
  Index runs_, steps_, run_ = 0, fifths_ = -1;
  const char* unit_;
  std::string label_;
  bool terminal_ = stdout_is_terminal();
};

}  // namespace kit
