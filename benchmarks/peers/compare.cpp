// Evenkeel, the floor and other libraries on the same cases, in one session.

#include <malloc.h>

#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "baseline.hpp"
#include "chart.hpp"
#include "comparison.hpp"
#include "models.hpp"
#include "options.hpp"
#include "program.hpp"
#include "report.hpp"
#include "setting.hpp"

namespace evenkeel::benchmarks {
namespace {

/// Runs cases, says how far it is, and keeps what is wrong.
class Session {
 public:
  Session(const Options& options, const Setting& setting) : options_(options), libraries_(setting.libraries) {
    for (const bool is_double : {false, true}) {
      for (const Case& c : compared_cases(is_double)) total_ += options_.wants(c.name()) ? 1 : 0;
    }
    std::set<std::string> in_models;
    for (const Model& model : models()) {
      if (!options_.wants(name_of(model))) continue;
      for (const Model::Norms& norms : model.passes) in_models.insert(norms.test.name());
    }
    total_ += static_cast<int>(in_models.size());
    for (const OddCase& c : odd_cases()) total_ += options_.wants(odd_name(c)) ? 1 : 0;
    for (const Case& c : large_cases()) total_ += options_.wants(threads_name(c)) ? 1 : 0;
    for (const Case& c : small_cases()) {
      total_ += options_.wants(c.name()) ? 1 : 0;
      total_ += options_.wants(threads_name(c)) ? 1 : 0;
    }
  }

  std::vector<Row> compared(const std::vector<Case>& cases) {
    std::vector<Row> rows;
    for (const Case& c : cases) {
      if (options_.wants(c.name())) rows.push_back(run_and_report(c, c.name()));
    }
    return rows;
  }

  /// Models share cases, which are measured once.
  std::vector<ModelRow> in_models() {
    std::map<std::string, Row> measured;
    std::vector<ModelRow> rows;
    for (const Model& model : models()) {
      if (!options_.wants(name_of(model))) continue;
      rows.push_back({model, {}});
      for (const Model::Norms& norms : model.passes) {
        const std::string name = norms.test.name();
        auto row = measured.find(name);
        if (row == measured.end()) {
          row = measured.emplace(name, run_and_report(norms.test, name_of(model) + "/" + name)).first;
        }
        rows.back().rows.push_back(row->second);
      }
    }
    return rows;
  }

  std::vector<OddRow> odd() {
    std::vector<OddRow> rows;
    for (const OddCase& c : odd_cases()) {
      if (!options_.wants(odd_name(c))) continue;
      rows.push_back({run(c.odd, {evenkeel()}), run(c.round, {evenkeel()})});
      report(odd_name(c), rounded(rows.back().ratio()) + " times " + c.round.shape());
    }
    return rows;
  }

  std::vector<Growth> growth(const Library& on_threads) {
    std::vector<Growth> rows;
    for (const Case& c : large_cases()) {
      if (!options_.wants(threads_name(c))) continue;
      rows.push_back(measure_growth(c, evenkeel(), on_threads, options_.repetitions));
      report(threads_name(c), "floor " + rounded(rows.back().floor) + " times as fast, Evenkeel " +
                                  rounded(rows.back().evenkeel));
    }
    return rows;
  }

  std::vector<SmallCall> small(const Library& on_threads) {
    std::vector<SmallCall> rows;
    for (const Case& c : small_cases()) {
      if (!options_.wants(threads_name(c))) continue;
      rows.push_back(measure_small(c, evenkeel(), on_threads, options_.repetitions));
      report(threads_name(c), rounded(rows.back().ratio()) + " times the time of one thread");
    }
    return rows;
  }

  const std::vector<std::string>& errors() const { return errors_; }

 private:
  static std::string name_of(const Model& model) { return "models/" + model.name; }

  static std::string odd_name(const OddCase& c) { return "odd/" + c.odd.name(); }

  static std::string threads_name(const Case& c) { return "threads/" + c.name(); }

  static std::vector<Case> large_cases() {
    std::vector<Case> cases;
    for (const Case& c : compared_cases(false)) {
      if (worth_threads(c)) cases.push_back(c);
    }
    return cases;
  }

  const Library& evenkeel() const { return libraries_.front(); }

  Row run(const Case& c, const std::vector<Library>& libraries) {
    return compare(c, libraries, options_.repetitions, errors_);
  }

  Row run_and_report(const Case& c, const std::string& name) {
    Row row = run(c, libraries_);
    std::string multiples;
    for (const Result& r : row.results) multiples += ", " + r.library + " " + rounded(r.multiple);
    report(name, "floor " + rounded(1e6 * row.floor.time.seconds) + " us" + multiples);
    return row;
  }

  void report(const std::string& name, const std::string& text) {
    std::printf("[%3d/%d] %s: %s\n", ++done_, total_, name.c_str(), text.c_str());
    std::fflush(stdout);
  }

  const Options& options_;
  const std::vector<Library>& libraries_;
  std::vector<std::string> errors_;
  int done_ = 0, total_ = 0;
};

std::vector<Including> read_including(const std::string& path) {
  std::vector<Including> rows;
  if (path.empty()) return rows;
  std::ifstream file(path);
  Including row;
  while (file >> row.include_seconds >> row.use_seconds >> row.text_bytes &&
         std::getline(file >> std::ws, row.compiler)) {
    rows.push_back(row);
  }
  if (rows.empty() || !file.eof())
    throw std::runtime_error(path + ": is not what cost_of_including.sh writes");
  return rows;
}

int run(const Options& options) {
  Setting setting = present_setting();
  setting.repetitions = options.repetitions;
  Session session(options, setting);
  const std::vector<Row> floats = session.compared(compared_cases(false));
  std::vector<Section> sections = {
      models_section(session.in_models(), setting),
      comparison_section("float", "float", floats, setting),
      comparison_section("double", "double", session.compared(compared_cases(true)), setting),
      small_section(session.compared(small_cases()), setting),
      odd_section(session.odd()),
  };
  const Library on_threads = evenkeel_library(kThreads);  // only now, for its threads spin a while
  sections.push_back(threads_section(session.growth(on_threads), session.small(on_threads)));
  sections.push_back(including_section(read_including(options.including)));

  const std::string text = summary(floats, setting), report = markdown_report(text, sections);
  const std::filesystem::path directory = options.output;
  write_file(directory / "compare.md", report);
  write_file(directory / "compare.json", json_report(text, sections, setting).dump(2) + "\n");
  write_file(directory / "compare.svg", chart(floats, setting));
  std::printf("\n%s\nThe report is in %s.\n", report.c_str(), (directory / "compare.md").c_str());

  for (const std::string& error : session.errors()) {
    std::fprintf(stderr, "evenkeel_compare: %s\n", error.c_str());
  }
  return session.errors().empty() ? 0 : 1;
}

/// PyTorch and Eigen allocate results: memory that malloc keeps does not cost them fresh pages every time.
void keep_freed_memory() {
#ifdef M_MMAP_MAX
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, -1);
#endif
}

}  // namespace
}  // namespace evenkeel::benchmarks

int main(int argc, char** argv) {
  using namespace evenkeel::benchmarks;
  try {
    const Options options = parse_options({argv + 1, argv + argc});
    if (options.help) {
      std::fputs(kHelp, stdout);
      return 0;
    }
    restart_with_one_thread(argv);
    keep_freed_memory();
    return options.only_baseline ? run_baseline(options) : run(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "evenkeel_compare: %s\n", error.what());
    return 1;
  }
}
