// The errors of Evenkeel and other libraries on inputs that are hard to normalize, against the oracle of the tests.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../problem.hpp"
#include "hard_inputs.hpp"
#include "program.hpp"
#include "setting.hpp"
#include "support/error.hpp"
#include "support/reference.hpp"
#include "table.hpp"

namespace evenkeel::benchmarks {
namespace {

using ek_test::Real;
using Error = std::optional<double>;  // nothing where a library cannot run the case
using Bound = ek_test::Tolerance<float>;

struct Row {
  std::string input;
  std::vector<Error> y, dx;  // one a library, Evenkeel's first
};

/// NaN or infinite where such is among the results.
template <typename ErrorOf>
Error error_of(const Library& library, Problem<float>& p, const ErrorOf& error) {
  const std::optional<Pass> pass = library.prepare(p);
  if (!pass) return std::nullopt;
  std::fill(p.out.begin(), p.out.end(), std::numeric_limits<float>::quiet_NaN());
  pass->run();
  pass->deliver();
  const std::vector<float> got(p.out.begin(), p.out.end());
  for (float value : got) {
    if (std::isnan(value)) return std::numeric_limits<double>::quiet_NaN();
  }
  for (float value : got) {
    if (std::isinf(value)) return std::numeric_limits<double>::infinity();
  }
  return static_cast<double>(error(got));
}

Problem<float> problem_of(const HardInput& input, Direction direction) {
  Case test = input.test;
  test.direction = direction;
  Problem<float> problem(test);
  std::copy(input.x.begin(), input.x.end(), problem.x.begin());
  for (float& value : problem.dy) value *= static_cast<float>(input.dy_size);
  return problem;
}

Row measure(const HardInput& input, const std::vector<Library>& libraries) {
  Problem<float> forward = problem_of(input, Direction::kForward),
                 backward = problem_of(input, Direction::kBackward);
  const auto reals = [](const Buffer<float>& values) {
    return std::vector<Real>(values.begin(), values.end());
  };
  const std::vector<Real> gamma = reals(forward.gamma), beta = reals(forward.beta);
  const ek_test::IndexMap map = map_of(input.test);
  const ek_test::Reference reference(map, input.x, static_cast<Real>(input.test.epsilon));
  const std::vector<Real> y = reference_forward(map, reference, gamma, beta);
  const auto gradients = reference_backward(map, reference, reals(backward.dy), gamma);

  Row row{input.text, {}, {}};
  for (const Library& library : libraries) {
    row.y.push_back(error_of(library, forward, [&](const auto& got) { return forward_error(map, got, y); }));
    row.dx.push_back(
        error_of(library, backward, [&](const auto& got) { return backward_error(map, got, gradients); }));
  }
  return row;
}

std::string cell_of(const Error& error) {
  if (!error) return "-";
  if (std::isnan(*error)) return "NaN";
  if (*error == 0) return "0";
  char text[32];
  std::snprintf(text, sizeof text, "%.1e", *error);
  return text;
}

/// `errors` is Row::y or Row::dx. Libraries that ran none of the rows are left out.
std::string table_of(const std::vector<Row>& rows, const std::vector<Library>& libraries,
                     std::vector<Error> Row::*errors) {
  std::vector<std::size_t> shown;
  for (std::size_t i = 0; i < libraries.size(); ++i) {
    const auto ran = [&](const Row& row) { return (row.*errors)[i].has_value(); };
    if (std::any_of(rows.begin(), rows.end(), ran)) shown.push_back(i);
  }
  std::vector<std::string> head = {errors == &Row::y ? "error of y" : "error of dx"};
  for (std::size_t i : shown) head.push_back(libraries[i].name);
  Table table(head);
  for (const Row& row : rows) {
    std::vector<std::string> cells = {row.input};
    for (std::size_t i : shown) cells.push_back(cell_of((row.*errors)[i]));
    table.add(cells);
  }
  return table.text();
}

/// Evenkeel's largest error of one output, and where it is more than it promises.
class Promise {
 public:
  Promise(std::string output, Real bound) : output_(std::move(output)), bound_(static_cast<double>(bound)) {}

  void judge(const std::string& input, const Error& error) {
    if (error && *error <= bound_) {  // not NaN
      largest_ = std::max(largest_, *error);
    } else {
      kept_ = false;
      std::fprintf(stderr, "evenkeel_errors: %s: the error of %s is %s, expected at most %s\n", input.c_str(),
                   output_.c_str(), cell_of(error).c_str(), cell_of(bound_).c_str());
    }
  }

  bool kept() const { return kept_; }

  std::string text() const {
    if (!kept_) return output_ + " breaks its bound of " + cell_of(bound_);
    return output_ + " at most " + cell_of(largest_) + " (its bound is " + cell_of(bound_) + ")";
  }

 private:
  std::string output_;
  double bound_, largest_ = 0;
  bool kept_ = true;
};

constexpr const char* kExplanation =
    R"(One thread, float. The inputs are rounded to float first, and the exact result is that of the rounded ones, computed in
long double. The error of y is the largest difference over max(1, max|y|), that of dx over max|gamma * inv_std * dy|, the maxima
taken over each set of values that share a mean; near 1 nothing of the result is right. A dash is what a library cannot do.
Epsilon is 1e-5 unless a row says another.
)";

int run(const std::string& output) {
  const Setting setting = present_setting();
  Promise y("y", Bound::y), dx("dx", Bound::x);
  std::string tables;
  for (const Norm norm : {Norm::kLayer, Norm::kBatch, Norm::kGroup}) {
    std::vector<Row> rows;
    for (const HardInput& input : hard_inputs(norm)) {
      rows.push_back(measure(input, setting.libraries));
      const std::string name = text_of(norm) + ", " + input.text;
      y.judge(name, rows.back().y.front());
      dx.judge(name, rows.back().dx.front());
    }
    const Case usual = usual_case(norm);
    tables += "\n## " + text_of(norm) + "\n\nThe shape is " + usual.shape() + " (" + usual.layout_text() +
              ") unless a row says another.\n";
    for (const auto errors : {&Row::y, &Row::dx}) tables += "\n" + table_of(rows, setting.libraries, errors);
  }
  const std::string report = "# Errors of Evenkeel and its peers\n\n" + setting.text() + "\n\n" +
                             kExplanation + "\nEvenkeel's errors: " + y.text() + ", " + dx.text() + ".\n" +
                             tables;
  std::fputs(report.c_str(), stdout);
  write_file(output, report);
  return y.kept() && dx.kept() ? 0 : 1;
}

constexpr const char* kHelp =
    R"(evenkeel_errors: Evenkeel and other libraries on inputs that are hard to normalize

Prints the errors as tables in Markdown, writes them to errors.md, and fails where Evenkeel's exceed what it promises.

  --output DIR  where to write (.)
  --help        this text
)";

}  // namespace
}  // namespace evenkeel::benchmarks

int main(int argc, char** argv) {
  using namespace evenkeel::benchmarks;
  try {
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    std::string directory = ".";
    for (std::size_t i = 0; i < arguments.size(); ++i) {
      if (arguments[i] == "--help" || arguments[i] == "-h") {
        std::fputs(kHelp, stdout);
        return 0;
      }
      if (arguments[i] != "--output") throw std::runtime_error(arguments[i] + ": unknown option, see --help");
      if (++i == arguments.size()) throw std::runtime_error("--output: has no value, see --help");
      directory = arguments[i];
    }
    restart_with_one_thread(argv);
    return run(directory + "/errors.md");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "evenkeel_errors: %s\n", error.what());
    return 1;
  }
}
