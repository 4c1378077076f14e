#include "baseline.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "comparison.hpp"
#include "report.hpp"

namespace evenkeel::benchmarks {
namespace {

/// The median over the turns, in which what else the machine does meets both.
double ratio_of(const Timing& present, const Timing& baseline) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < present.turns.size(); ++i) {
    ratios.push_back(present.turns[i] / baseline.turns[i]);
  }
  return median(ratios);
}

}  // namespace

int run_baseline(const Options& options) {
  constexpr double kMuchSlower = 1.05;
  const Library present = evenkeel_library(options.threads), baseline = baseline_library(options.threads);
  std::printf(
      "Evenkeel %s against %s, %s, %d-bit vectors, %d thread(s), medians of %d\n%-52s %10s %8s %8s %6s\n",
      present.version.c_str(), baseline.version.c_str(), this_machine().text().c_str(), 8 * vector_bytes(),
      options.threads, options.repetitions, "case", "floor us", "present", "baseline", "ratio");
  std::vector<std::string> errors;
  std::string worst_name;
  double worst = 0, sum_of_logs = 0;
  int count = 0, slower = 0;
  for (const Case& c : options.small ? small_cases() : compared_cases(options.in_double)) {
    if (!options.wants(c.name())) continue;
    const Clock clock = options.threads == 1 ? Clock::kProcess : Clock::kWall;
    const Row row = compare(c, {present, baseline}, options.repetitions, errors, clock);
    const Result &own = row.results[0], &other = row.results[1];
    const double ratio = ratio_of(own.time, other.time);
    std::printf("%-52s %10.3f %8s %8s %6.3f%s\n", c.name().c_str(), 1e6 * row.floor.time.seconds,
                rounded(own.multiple).c_str(), rounded(other.multiple).c_str(), ratio,
                ratio > kMuchSlower ? " slower" : "");
    std::fflush(stdout);
    sum_of_logs += std::log(ratio);
    ++count;
    slower += ratio > kMuchSlower ? 1 : 0;
    if (ratio > worst) {
      worst = ratio;
      worst_name = c.name();
    }
  }
  if (count > 0) {
    std::printf("%d cases: geometric mean of the ratios %.3f, worst %.3f (%s), %d over %.2f\n", count,
                std::exp(sum_of_logs / count), worst, worst_name.c_str(), slower, kMuchSlower);
  }
  for (const std::string& text : errors) std::fprintf(stderr, "evenkeel_compare: %s\n", text.c_str());
  return errors.empty() ? 0 : 1;
}

}  // namespace evenkeel::benchmarks
