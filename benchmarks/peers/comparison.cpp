#include "comparison.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace evenkeel::peers {
namespace {

/// Of the largest value. A peer that differs from Evenkeel by more does not compute the same. Peers sum up to
/// 100352 terms one after another in float, and 5e-4 of the gradients of gamma is what they lose by it.
template <typename Scalar>
constexpr double kTolerance = std::is_same_v<Scalar, float> ? 1e-4 : 1e-10;
template <typename Scalar>
constexpr double kSumTolerance = 20 * kTolerance<Scalar>;

/// What a pass left in the problem's memory.
template <typename Scalar>
struct Outputs {
  explicit Outputs(const Problem<Scalar>& p)
      : named{{p.backward() ? "dx" : "y", copy(p.out), kTolerance<Scalar>}} {
    if (!p.backward()) return;
    named.push_back({"dgamma", copy(p.grad_gamma), kSumTolerance<Scalar>});
    named.push_back({"dbeta", copy(p.grad_beta), kSumTolerance<Scalar>});
  }

  struct Named {
    std::string name;
    std::vector<Scalar> values;
    double tolerance;
  };
  std::vector<Named> named;

 private:
  static std::vector<Scalar> copy(const Buffer<Scalar>& b) { return {b.begin(), b.end()}; }
};

/// From a run over NaNs, so that nothing is left from another library.
template <typename Scalar>
Outputs<Scalar> outputs_of(const Pass& pass, Problem<Scalar>& p) {
  for (const Buffer<Scalar>* b : {&p.out, &p.grad_gamma, &p.grad_beta}) {
    std::fill(b->begin(), b->end(), std::numeric_limits<Scalar>::quiet_NaN());
  }
  pass.run();
  pass.deliver();
  return Outputs<Scalar>(p);
}

/// Infinite where a value is not finite.
template <typename Scalar>
double difference(const std::vector<Scalar>& values, const std::vector<Scalar>& expected) {
  double worst = 0, largest = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double distance = std::abs(double{values[i]} - double{expected[i]});
    if (!std::isfinite(distance)) return std::numeric_limits<double>::infinity();
    worst = std::max(worst, distance);
    largest = std::max(largest, std::abs(double{expected[i]}));
  }
  return worst / largest;
}

std::string scientific(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1e", value);
  return text;
}

template <typename Scalar>
double worst_difference(const Outputs<Scalar>& outputs, const Outputs<Scalar>& expected,
                        const std::string& who, std::vector<std::string>& disagreements) {
  double worst = 0;
  for (std::size_t i = 0; i < outputs.named.size(); ++i) {
    const double d = difference(outputs.named[i].values, expected.named[i].values);
    worst = std::max(worst, d);
    if (d <= expected.named[i].tolerance) continue;
    disagreements.push_back(who + ": " + outputs.named[i].name + " differs from Evenkeel's by " +
                            scientific(d) + " of the largest, tolerance " +
                            scientific(expected.named[i].tolerance));
  }
  return worst;
}

template <typename Scalar>
Row compare_in(const Case& test, const Library& evenkeel, const std::vector<Library>& peers, int repetitions,
               std::vector<std::string>& disagreements, Clock clock) {
  Problem<Scalar> problem(test);
  std::vector<std::function<void()>> calls;
  for (const auto& form : benchmarks::kFloorForms) {
    calls.push_back([&form, traffic = problem.traffic()] { form.move(traffic); });
  }
  const std::size_t forms = calls.size();

  Row row{test, {}, "", {}};
  const auto add = [&](const Library& library, const Pass& pass, double difference) {
    row.results.push_back({library.name, {}, 0, difference});
    calls.push_back(pass.run);
  };
  const std::optional<Pass> own = evenkeel.prepare(problem);
  if (!own) throw std::logic_error(test.name() + ": Evenkeel has no such pass");
  const Outputs<Scalar> expected = outputs_of(*own, problem);
  add(evenkeel, *own, 0);
  for (const Library& peer : peers) {
    const std::string who = test.name() + ", " + peer.name;
    try {
      const std::optional<Pass> pass = peer.prepare(problem);
      if (!pass) continue;
      add(peer, *pass, worst_difference(outputs_of(*pass, problem), expected, who, disagreements));
    } catch (const std::exception& error) {
      throw std::runtime_error(who + ": " + error.what());
    }
  }

  const std::vector<Timing> timings = take_turns(calls, repetitions, clock);
  const auto by_seconds = [](const Timing& a, const Timing& b) { return a.seconds < b.seconds; };
  const auto floors_end = timings.begin() + static_cast<std::ptrdiff_t>(forms);
  const auto floor = std::min_element(timings.begin(), floors_end, by_seconds);
  row.floor = *floor;
  row.floor_form = benchmarks::kFloorForms[floor - timings.begin()].name;
  for (std::size_t i = 0; i < row.results.size(); ++i) {
    row.results[i].time = timings[forms + i];
    row.results[i].multiple = timings[forms + i].seconds / floor->seconds;
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

Row compare(const Case& test, const Library& evenkeel, const std::vector<Library>& peers, int repetitions,
            std::vector<std::string>& disagreements, Clock clock) {
  return test.is_double ? compare_in<double>(test, evenkeel, peers, repetitions, disagreements, clock)
                        : compare_in<float>(test, evenkeel, peers, repetitions, disagreements, clock);
}

}  // namespace evenkeel::peers
