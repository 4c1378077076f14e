#include "scaling.hpp"

#include <algorithm>
#include <memory>

#include "measure.hpp"
#include "recorder.hpp"

namespace evenkeel::peers {
namespace {

/// Where the time of a call goes.
struct Parts {
  int team;
  double serial, even, uneven, calling_in;

  double work() const { return serial + even + uneven; }
};

/// A call on one thread, written down as `cores` threads would share it out. Each takes a loop's calls one by
/// one, so that the last ones may leave threads with nothing to do.
Parts parts_of(const Recorder& recorder, double seconds, const CallIn& call_in) {
  Parts parts{recorder.team, seconds, 0, 0, 0};
  if (parts.team > 1) parts.calling_in = call_in.awake;
  for (int called = 2; called < parts.team; called *= 2) parts.calling_in += 2 * call_in.asleep;
  for (const RecordedLoop& loop : recorder.loops) {
    const double rounds = static_cast<double>((loop.count + parts.team - 1) / parts.team);
    const double even = loop.seconds / parts.team;
    parts.serial -= loop.seconds;
    parts.even += even;
    parts.uneven += loop.seconds * rounds / static_cast<double>(std::max<Index>(1, loop.count)) - even;
  }
  return parts;
}

Prediction predict_on(int cores, const Parts& parts, double memory) {
  const double seconds = parts.calling_in + std::max(parts.work(), memory);
  if (memory > parts.work()) return {cores, seconds, "memory"};
  const std::pair<double, const char*> losses[] = {
      {parts.even * (1 - static_cast<double>(parts.team) / cores), "threads worth calling"},
      {parts.uneven, "uneven blocks"},
      {parts.serial, "serial parts"},
      {parts.calling_in, "calling in"},
  };
  return {cores, seconds, cores == 1 ? "" : std::max_element(std::begin(losses), std::end(losses))->second};
}

}  // namespace

Scaling ScalingModel::predict(const Growth& measured, int repetitions) const {
  Problem<float> problem(measured.test);
  const auto recorder = std::make_shared<Recorder>();
  const std::function<void()> run = evenkeel_library(recorder).prepare(problem).value().run;
  Scaling scaling{measured, {}};
  for (const int cores : kCores) {
    recorder->threads = cores;
    std::vector<Parts> parts;
    for (int repetition = 0; repetition < 2 * repetitions + 1; ++repetition) {
      recorder->loops.clear();
      const double begin = seconds_now();
      run();
      parts.push_back(parts_of(*recorder, seconds_now() - begin, call_in));
    }
    const auto middle = parts.begin() + repetitions;
    std::nth_element(parts.begin(), middle, parts.end(),
                     [](const Parts& a, const Parts& b) { return a.work() < b.work(); });
    const double moved = static_cast<double>(problem.traffic().bytes());
    scaling.predictions.push_back(
        predict_on(cores, *middle, bytes_per_second ? moved / *bytes_per_second : 0));
  }
  return scaling;
}

}  // namespace evenkeel::peers
