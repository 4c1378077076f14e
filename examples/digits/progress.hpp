#pragma once

#include <cstdio>
#include <string>
#include <vector>

#if defined(_WIN32)
#include <io.h>
#else
#include <unistd.h>
#endif

#include "train.hpp"

namespace digits {

inline bool stdout_is_terminal() {
#if defined(_WIN32)
  return _isatty(_fileno(stdout)) != 0;
#else
  return isatty(STDOUT_FILENO) != 0;
#endif
}

/// A bar that redraws itself on a terminal, five lines a run elsewhere.
class Progress {
 public:
  Progress(Index runs, Index steps) : runs_(runs), steps_(steps) {}

  void show(const Run& run) {
    const CurvePoint& now = run.curve.back();
    const Index fifths = 5 * now.step / steps_;
    if (now.step == 0) {
      ++run_number_;
    } else if (!terminal_ && fifths == fifths_) {
      return;
    }
    fifths_ = fifths;

    constexpr Index kWidth = 16;
    const Index done = kWidth * now.step / steps_;
    const std::string bar = terminal_ ? " [" + std::string(static_cast<std::size_t>(done), '#') +
                                            std::string(static_cast<std::size_t>(kWidth - done), '.') + "]"
                                      : "";
    const char* end = !terminal_ || now.step == steps_ ? "\n" : "";
    std::printf("%s%td/%td  batch %-3td norm %-5s%s  step %*td/%td  test %5.1f %%%s", terminal_ ? "\r" : "",
                run_number_, runs_, run.batch, run.norm.c_str(), bar.c_str(),
                static_cast<int>(std::to_string(steps_).size()), now.step, steps_, now.accuracy, end);
    std::fflush(stdout);
  }

 private:
  Index runs_, steps_, run_number_ = 0, fifths_ = 0;
  bool terminal_ = stdout_is_terminal();
};

inline void print_table(const std::vector<Run>& runs, Index test_images) {
  Index differing = 0;
  std::printf(
      "\nbatch  norm   rate  test accuracy  steps to 90 %%  one image at a time  differing  seconds\n");
  for (const Run& run : runs) {
    const Index steps = run.steps_to(90);
    const std::string steps_text = steps > 0 ? std::to_string(steps) : "never";
    std::printf("%5td  %-5s %5g  %11.2f %%  %13s  %17.2f %%  %9td  %7.1f\n", run.batch, run.norm.c_str(),
                run.rate, run.accuracy(), steps_text.c_str(), run.accuracy_singly, run.differing,
                run.seconds);
    differing += run.differing;
  }
  std::printf(
      "\nEach network classified the %td test images twice, all in one batch and one at a time: %td of %td\n"
      "predictions differ.\n",
      test_images, differing, static_cast<Index>(runs.size()) * test_images);
}

}  // namespace digits
