#include "threads.hpp"

#include <algorithm>
#include <thread>

#include "../measure.hpp"

namespace evenkeel::benchmarks {
namespace {

Traffic part_of(const Traffic& t, int part, int parts) {
  const auto begin_of = [&](Index i) { return i == parts ? t.size : t.size / parts * i / 64 * 64; };
  const Index begin = begin_of(part);
  return {t.first + begin, t.second == nullptr ? nullptr : t.second + begin, t.output + begin,
          begin_of(part + 1) - begin};
}

/// So many passes a turn that starting threads, and the scheduler's finding a core for each, cost little.
int passes_of(const Traffic& t) { return static_cast<int>(1 + (Index{1} << 30) / t.bytes()); }

std::function<void()> repeated(const std::function<void()>& run, int times) {
  return [=] {
    for (int i = 0; i < times; ++i) run();
  };
}

/// Each thread moves a part of its own, again and again.
std::function<void()> moved_on(int threads, const FloorForm& form, const Traffic& traffic) {
  return [=, &form] {
    const auto move = [&](int part) {
      for (int i = 0; i < passes_of(traffic); ++i) form.move(part_of(traffic, part, threads));
    };
    std::vector<std::thread> helpers;
    for (int part = 1; part < threads; ++part) helpers.emplace_back(move, part);
    move(0);
    for (std::thread& helper : helpers) helper.join();
  };
}

std::function<void()> fastest_move(int threads, const Traffic& traffic) {
  Calls forms;
  for (const auto& form : kFloorForms) forms.push_back(moved_on(threads, form, traffic));
  Turns turns(forms, Clock::kWall);
  turns.take(3);
  std::size_t best = 0;
  for (std::size_t i = 1; i < forms.size(); ++i) {
    if (turns.timing(i).seconds < turns.timing(best).seconds) best = i;
  }
  return forms[best];
}

std::function<void()> run_of(const Library& library, Problem<float>& problem) {
  return library.prepare(problem).value().run;
}

}  // namespace

bool worth_threads(const Case& test) {
  const Index arrays = test.direction == Direction::kBackward ? 3 : 2;
  return arrays * test.size() * Index{sizeof(float)} >= 4 << 20;
}

Growth measure_growth(const Case& test, const Library& alone, const Library& on_threads, int repetitions) {
  Problem<float> problem(test);
  const Traffic traffic = problem.traffic();
  const int passes = passes_of(traffic);
  // Apart from each other: threads of a pool that has long slept may wake up on one core.
  const auto growth = [&](const std::function<void()>& one, const std::function<void()>& all) {
    Turns turns({one, all}, Clock::kWall);
    turns.take(repetitions);
    return turns.timing(0).seconds / turns.timing(1).seconds;
  };
  return {test, growth(fastest_move(1, traffic), fastest_move(kThreads, traffic)),
          growth(repeated(run_of(alone, problem), passes), repeated(run_of(on_threads, problem), passes))};
}

SmallCall measure_small(const Case& test, const Library& alone, const Library& on_threads, int repetitions) {
  Problem<float> problem(test);
  Turns turns({run_of(alone, problem), run_of(on_threads, problem)}, Clock::kWall);
  turns.take(repetitions);
  return {test, 1e9 * turns.timing(0).seconds, 1e9 * turns.timing(1).seconds};
}

}  // namespace evenkeel::benchmarks
