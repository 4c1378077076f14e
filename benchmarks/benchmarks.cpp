// Evenkeel on the cases of float, against the floor.

#include <benchmark/benchmark.h>

#include "check.hpp"
#include "measure.hpp"

namespace evenkeel::benchmarks {
namespace {

void run(benchmark::State& state, const Library& evenkeel, const Case& test) {
  Problem<float> problem(test);
  const Pass pass = evenkeel.prepare(problem).value();
  const std::string wrong = Check<float>(problem)(pass, problem).wrong;
  if (!wrong.empty()) return state.SkipWithError(wrong.c_str());

  Turns turns(with_floor({pass.run}, problem.traffic()));
  while (state.KeepRunningBatch(turns.repeats(0))) {
    turns.take();
    state.SetIterationTime(turns.last_seconds(0) * turns.repeats(0));
  }
  state.SetBytesProcessed(state.iterations() * problem.traffic().bytes());
  state.counters["x_floor"] = turns.timing(0).seconds / turns.floor().time.seconds;
}

void register_all(const Library& evenkeel) {
  for (const Case& test : benchmarked_cases()) {
    const auto benchmark = [&evenkeel, test](benchmark::State& state) { run(state, evenkeel, test); };
    benchmark::RegisterBenchmark(test.family().c_str(), benchmark)
        ->ArgNames({"batch", "channels", "side"})
        ->Args({test.batch, test.channels, test.side})
        ->UseManualTime();
  }
}

}  // namespace
}  // namespace evenkeel::benchmarks

int main(int argc, char** argv) {
  std::vector<evenkeel::benchmarks::Library> libraries;
  evenkeel_add_peer(libraries, 1);
  evenkeel::benchmarks::register_all(libraries.front());
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
