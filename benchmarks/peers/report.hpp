#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "comparison.hpp"
#include "models.hpp"
#include "setting.hpp"
#include "threads.hpp"

namespace evenkeel::benchmarks {

using Json = nlohmann::ordered_json;

/// A part of the report: as Markdown and as JSON.
struct Section {
  std::string key, title, markdown;
  Json data;
};

Section comparison_section(const std::string& key, const std::string& title, const std::vector<Row>& rows,
                           const Setting& setting);

/// A model, and what its passes take, in their order.
struct ModelRow {
  Model model;
  std::vector<Row> rows;

  double floor_seconds() const;
  std::optional<double> seconds(const std::string& library) const;  // of what lacks no norm of it
};
Section models_section(const std::vector<ModelRow>& rows, const Setting& setting);

struct OddRow {
  Row odd, round;

  double ratio() const { return odd.evenkeel().multiple / round.evenkeel().multiple; }
};
Section odd_section(const std::vector<OddRow>& rows);

Section small_section(const std::vector<Row>& rows, const Setting& setting);

Section threads_section(const std::vector<Growth>& large, const std::vector<SmallCall>& small);

/// What including the library costs a compiler, as cost_of_including.sh measured it.
struct Including {
  std::string compiler;
  double include_seconds, use_seconds;
  long text_bytes;
};
Section including_section(const std::vector<Including>& rows);

/// A paragraph on the machine and one on the figures, fit for a README.
std::string summary(const std::vector<Row>& rows, const Setting& setting);

std::string markdown_report(const std::string& summary, const std::vector<Section>& sections);
Json json_report(const std::string& summary, const std::vector<Section>& sections, const Setting& setting);

/// Three significant digits without an exponent; two decimals at most.
std::string rounded(double value);

}  // namespace evenkeel::benchmarks
