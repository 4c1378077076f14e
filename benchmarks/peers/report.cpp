#include "report.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "table.hpp"

namespace evenkeel::benchmarks {
namespace {

std::string caption(const Case& c) { return text_of(c.direction) + " " + c.layout_text() + " " + c.shape(); }

template <typename Of>
double geometric_mean(const std::vector<Row>& rows, const Of& of) {
  double sum = 0;
  for (const Row& row : rows) sum += std::log(of(row));
  return std::exp(sum / static_cast<double>(rows.size()));
}

double mean_multiple(const std::vector<Row>& rows) {
  return geometric_mean(rows, [](const Row& row) { return row.evenkeel().multiple; });
}

std::vector<Row> rows_of(Norm norm, const std::vector<Row>& rows) {
  std::vector<Row> chosen;
  std::copy_if(rows.begin(), rows.end(), std::back_inserter(chosen),
               [norm](const Row& row) { return row.test.norm == norm; });
  return chosen;
}

/// Those that ran at least one of the cases.
std::vector<std::string> libraries_in(const std::vector<Row>& rows, const Setting& setting) {
  std::vector<std::string> names;
  for (const Library& library : setting.libraries) {
    const auto ran = [&](const Row& row) { return row.find(library.name) != nullptr; };
    if (std::any_of(rows.begin(), rows.end(), ran)) names.push_back(library.name);
  }
  return names;
}

std::string table_of(const std::vector<Row>& rows, const std::vector<std::string>& libraries) {
  std::vector<std::string> head = {"case", "floor, us"};
  head.insert(head.end(), libraries.begin(), libraries.end());
  head.push_back("best peer / Evenkeel");
  Table table(head);
  for (const Row& row : rows) {
    std::vector<std::string> cells = {caption(row.test), rounded(1e6 * row.floor.time.seconds)};
    for (const std::string& library : libraries) {
      const Result* result = row.find(library);
      cells.push_back(result == nullptr ? "-" : rounded(result->multiple));
    }
    cells.push_back(row.best_peer() == nullptr ? "-" : rounded(row.lead()));
    table.add(cells);
  }
  return table.text();
}

Json json_of(const Row& row) {
  Json json = {{"name", row.test.name()},
               {"norm", text_of(row.test.norm)},
               {"direction", text_of(row.test.direction)},
               {"layout", row.test.layout_text()},
               {"shape", row.test.shape()},
               {"floor_us", 1e6 * row.floor.time.seconds},
               {"floor_form", row.floor.form}};
  for (const Result& r : row.results) {
    json["libraries"][r.library] = {{"us", 1e6 * r.time.seconds},
                                    {"multiple_of_floor", r.multiple},
                                    {"quartile_distance", r.time.spread},
                                    {"difference", r.difference}};
  }
  if (const Result* best = row.best_peer()) {
    json["best_peer"] = best->library;
    json["best_peer_over_evenkeel"] = row.lead();
  }
  return json;
}

}  // namespace

std::string rounded(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.*f", value < 9.995 ? 2 : value < 99.95 ? 1 : 0, value);
  return text;
}

Section comparison_section(const std::string& key, const std::string& title, const std::vector<Row>& rows,
                           const Setting& setting) {
  Section section{key, title, "", Json::array()};
  for (const Norm norm : kNorms) {
    const std::vector<Row> chosen = rows_of(norm, rows);
    if (chosen.empty()) continue;
    section.markdown +=
        "### " + text_of(norm) + "\n\n" + table_of(chosen, libraries_in(rows, setting)) + "\n";
  }
  for (const Row& row : rows) section.data.push_back(json_of(row));
  return section;
}

double ModelRow::floor_seconds() const {
  double sum = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) sum += model.passes[i].count * rows[i].floor.time.seconds;
  return sum;
}

std::optional<double> ModelRow::seconds(const std::string& library) const {
  double sum = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Result* result = rows[i].find(library);
    if (result == nullptr) return std::nullopt;
    sum += model.passes[i].count * result->time.seconds;
  }
  return sum;
}

Section models_section(const std::vector<ModelRow>& rows, const Setting& setting) {
  Section section{"models", "Models", "", Json::array()};
  if (rows.empty()) return section;
  std::vector<std::string> head = {"model", "norms", "floor, ms"};
  for (const Library& library : setting.libraries) head.push_back(library.name);
  head.push_back("best peer / Evenkeel");
  Table table(head);
  for (const ModelRow& row : rows) {
    std::vector<std::string> cells = {row.model.name, std::to_string(row.model.count),
                                      rounded(1e3 * row.floor_seconds())};
    Json json = {
        {"name", row.model.name}, {"norms", row.model.count}, {"floor_ms", 1e3 * row.floor_seconds()}};
    std::optional<double> best;
    for (const Library& library : setting.libraries) {
      const std::optional<double> seconds = row.seconds(library.name);
      cells.push_back(seconds ? rounded(1e3 * *seconds) : "-");
      if (!seconds) continue;
      json["libraries_ms"][library.name] = 1e3 * *seconds;
      const bool is_peer = &library != &setting.libraries.front();
      if (is_peer && (!best || *seconds < *best)) best = seconds;
    }
    cells.push_back(best ? rounded(*best / row.seconds(setting.libraries.front().name).value()) : "-");
    for (std::size_t i = 0; i < row.rows.size(); ++i) {
      json["passes"].push_back(json_of(row.rows[i]));
      json["passes"].back()["count"] = row.model.passes[i].count;
    }
    table.add(cells);
    section.data.push_back(json);
  }
  section.markdown =
      "Milliseconds that all norms of a model take in one step of training, float: forward and backward of "
      "each shape, times the norms that have it. A call is measured alone, again and again: it finds in the "
      "caches what fits there, as it may not between the layers of a model. Where SiLU follows a norm (in "
      "EfficientNet, and in the U-Net's residual blocks), Evenkeel fuses it and a peer runs its own; other "
      "activations and residuals are not measured. A library that lacks one of the norms has a dash.\n\n" +
      table.text() + "\n";
  return section;
}

/// Nanoseconds a call, since a multiple of the floor says little where setting up takes most of the time.
Section small_section(const std::vector<Row>& rows, const Setting& setting) {
  Section section{"small", "Small tensors", "", Json::array()};
  if (rows.empty()) return section;
  const std::vector<std::string> libraries = libraries_in(rows, setting);
  std::vector<std::string> head = {"case"};
  head.insert(head.end(), libraries.begin(), libraries.end());
  head.push_back("best peer / Evenkeel");
  Table table(head);
  for (const Row& row : rows) {
    std::vector<std::string> cells = {text_of(row.test.norm) + " " + caption(row.test)};
    for (const std::string& library : libraries) {
      const Result* result = row.find(library);
      cells.push_back(result == nullptr ? "-" : rounded(1e9 * result->time.seconds));
    }
    cells.push_back(row.best_peer() == nullptr ? "-" : rounded(row.lead()));
    table.add(cells);
    section.data.push_back(json_of(row));
  }
  section.markdown =
      "Nanoseconds a call, float. \"Columns\" is a column-major Eigen matrix of as many columns as the first "
      "number says, normalized along axis 0.\n\n" +
      table.text() + "\n";
  return section;
}

Section odd_section(const std::vector<OddRow>& rows) {
  Section section{"odd_sizes", "Sizes that are no multiple of a vector", "", Json::array()};
  if (rows.empty()) return section;
  Table table({"case", "x floor", "its round neighbour", "x floor", "ratio"});
  double worst = 0;
  for (const OddRow& row : rows) {
    table.add({text_of(row.odd.test.norm) + " " + caption(row.odd.test), rounded(row.odd.evenkeel().multiple),
               row.round.test.shape(), rounded(row.round.evenkeel().multiple), rounded(row.ratio())});
    section.data.push_back(
        {{"odd", json_of(row.odd)}, {"round", json_of(row.round)}, {"ratio", row.ratio()}});
    worst = std::max(worst, row.ratio());
  }
  section.markdown =
      "Evenkeel alone, float: its multiple of the floor over that of a neighbouring shape; at most " +
      rounded(worst) + ", wanted at most 1.50.\n\n" + table.text() + "\n";
  return section;
}

Section threads_section(const std::vector<Growth>& large, const std::vector<SmallCall>& small) {
  Section section{"threads", "Threads", "", Json::object()};
  if (!large.empty()) {
    Table table({"case", "floor's growth", "Evenkeel's growth", "share"});
    double least = large.front().share();
    for (const Growth& row : large) {
      table.add({text_of(row.test.norm) + " " + caption(row.test), rounded(row.floor), rounded(row.evenkeel),
                 rounded(row.share())});
      section.data["growth"].push_back({{"name", row.test.name()},
                                        {"floor", row.floor},
                                        {"evenkeel", row.evenkeel},
                                        {"share", row.share()}});
      least = std::min(least, row.share());
    }
    section.markdown += "Working sets of 4 MB and more, float: how much faster " + std::to_string(kThreads) +
                        " threads are than one, and Evenkeel's share of what the floor gains; at least " +
                        rounded(least) + ", wanted at least 0.85.\n\n" + table.text() + "\n";
  }
  if (!small.empty()) {
    Table table({"case", "DefaultDevice, ns", "ThreadPoolDevice, ns", "ratio"});
    double worst = 0;
    for (const SmallCall& row : small) {
      table.add({text_of(row.test.norm) + " " + caption(row.test), rounded(row.alone_ns),
                 rounded(row.on_threads_ns), rounded(row.ratio())});
      section.data["small_calls"].push_back({{"name", row.test.name()},
                                             {"default_device_ns", row.alone_ns},
                                             {"thread_pool_device_ns", row.on_threads_ns},
                                             {"ratio", row.ratio()}});
      worst = std::max(worst, row.ratio());
    }
    section.markdown += "Small calls with a device of " + std::to_string(kThreads) +
                        " threads against Eigen::DefaultDevice; at most " + rounded(worst) +
                        ", wanted at most 1.05.\n\n" + table.text() + "\n";
  }
  return section;
}

Section including_section(const std::vector<Including>& rows) {
  Section section{"including", "Cost of including it", "", Json::array()};
  if (rows.empty()) return section;
  Table table({"compiler", "the header, s", "BatchNorm<float>, s", "its code, kB"});
  for (const Including& row : rows) {
    const double kilobytes = static_cast<double>(row.text_bytes) / 1000;
    table.add({row.compiler, rounded(row.include_seconds), rounded(row.use_seconds), rounded(kilobytes)});
    section.data.push_back({{"compiler", row.compiler},
                            {"include_seconds", row.include_seconds},
                            {"use_seconds", row.use_seconds},
                            {"text_bytes", row.text_bytes}});
  }
  section.markdown =
      "What `<evenkeel/batch_norm.hpp>` adds, at -O2, to a file that includes Eigen's tensors, and what "
      "`BatchNorm<float>` with forward, backward and infer then adds (seconds of processor time); wanted at "
      "most 0.5 s, 2 s and 150 kB.\n\n" +
      table.text() + "\n";
  return section;
}

std::string summary(const std::vector<Row>& rows, const Setting& setting) {
  std::string text =
      setting.text() + " One thread, float, medians of " + std::to_string(setting.repetitions) +
      " repetitions in which all take turns. 1 is the floor: reading each input and writing the "
      "output once.\n";
  if (rows.empty()) return text;

  text += "\nOver " + std::to_string(rows.size()) + " cases Evenkeel takes " + rounded(mean_multiple(rows)) +
          " times the floor in the geometric mean";
  const char* separator = " (";
  for (const Norm norm : kNorms) {
    const std::vector<Row> chosen = rows_of(norm, rows);
    if (chosen.empty()) continue;
    text += separator + text_of(norm) + " " + rounded(mean_multiple(chosen));
    separator = ", ";
  }
  text += ").";

  std::vector<double> leads;
  const Row* least = nullptr;
  for (const Row& row : rows) {
    if (row.best_peer() == nullptr) continue;
    leads.push_back(row.lead());
    if (least == nullptr || row.lead() < least->lead()) least = &row;
  }
  if (least == nullptr) return text + "\n";
  const auto faster = std::count_if(leads.begin(), leads.end(), [](double lead) { return lead > 1; });
  return text + " It is faster than every peer in " + std::to_string(faster) + " of " +
         std::to_string(leads.size()) + "; the best peer takes " + rounded(median(leads)) +
         " times Evenkeel's time in the median, and at least " + rounded(least->lead()) + " (" +
         least->best_peer()->library + ", " + least->test.name() + ").\n";
}

std::string markdown_report(const std::string& summary, const std::vector<Section>& sections) {
  std::string text = "# Evenkeel and its peers\n\n" + summary + "\n![Multiples of the floor](compare.svg)\n";
  for (const Section& section : sections) {
    if (!section.markdown.empty()) text += "\n## " + section.title + "\n\n" + section.markdown;
  }
  return text;
}

Json json_report(const std::string& summary, const std::vector<Section>& sections, const Setting& setting) {
  Json json = {{"summary", summary},
               {"processor", setting.machine.processor},
               {"cores", setting.machine.cores},
               {"l2_bytes", setting.machine.l2_bytes},
               {"l3_bytes", setting.machine.l3_bytes},
               {"compiler", setting.machine.compiler},
               {"repetitions", setting.repetitions},
               {"missing", setting.missing}};
  for (const Library& library : setting.libraries) json["versions"][library.name] = library.version;
  for (const Section& section : sections) json[section.key] = section.data;
  return json;
}

}  // namespace evenkeel::benchmarks
