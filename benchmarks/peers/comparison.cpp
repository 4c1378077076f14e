#include "comparison.hpp"

#include <stdexcept>
#include <utility>

#include "../check.hpp"

namespace evenkeel::benchmarks {
namespace {

template <typename Scalar>
Row compare_in(const Case& test, const std::vector<Library>& libraries, int repetitions,
               std::vector<std::string>& errors, Clock clock) {
  Problem<Scalar> problem(test);
  const Check<Scalar> check(problem);
  Row row{test, {}, {}};
  Calls calls;
  for (const Library& library : libraries) {
    const std::string who = test.name() + ", " + library.name + ": ";
    try {
      const std::optional<Pass> pass = library.prepare(problem);
      if (!pass) continue;
      const auto difference = check(*pass, problem);
      if (!difference.wrong.empty()) errors.push_back(who + difference.wrong);
      row.results.push_back({library.name, {}, 0, difference.largest});
      calls.push_back(pass->run);
    } catch (const std::exception& error) {
      throw std::runtime_error(who + error.what());
    }
  }
  Turns turns(with_floor(std::move(calls), problem.traffic()), clock);
  turns.take(repetitions);
  row.floor = turns.floor();
  for (std::size_t i = 0; i < row.results.size(); ++i) {
    Result& result = row.results[i];
    result.time = turns.timing(i);
    result.multiple = result.time.seconds / row.floor.time.seconds;
  }
  return row;
}

}  // namespace

const Result* Row::find(const std::string& library) const {
  for (const Result& result : results) {
    if (result.library == library) return &result;
  }
  return nullptr;
}

const Result* Row::best_peer() const {
  const Result* best = nullptr;
  for (const Result& result : results) {
    if (&result == &evenkeel()) continue;
    if (best == nullptr || result.time.seconds < best->time.seconds) best = &result;
  }
  return best;
}

double Row::lead() const {
  const Result* best = best_peer();
  return best == nullptr ? 0 : best->time.seconds / evenkeel().time.seconds;
}

Row compare(const Case& test, const std::vector<Library>& libraries, int repetitions,
            std::vector<std::string>& errors, Clock clock) {
  return test.is_double ? compare_in<double>(test, libraries, repetitions, errors, clock)
                        : compare_in<float>(test, libraries, repetitions, errors, clock);
}

}  // namespace evenkeel::benchmarks
