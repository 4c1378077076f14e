#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "best_rate.hpp"
#include "claim.hpp"
#include "training.hpp"

namespace claims {

/// 15th, 50th and 85th percentile of what each unit of the last hidden layer took, over the last batches before some steps.
class Percentiles {
 public:
  static constexpr std::array<std::size_t, 3> kPercents = {15, 50, 85};

  explicit Percentiles(Index interval) : interval_(interval) {}

  /// Behind each step, with before_activation of the layer. Of step 1 they are those of its own batch.
  void add(Index step, const Matrix<float>& x) {
    constexpr Index kBatches = 10;
    const Index left = step == 1 ? 0 : (interval_ - step % interval_) % interval_;
    if (left >= kBatches || !x.allFinite()) return;
    seen_.conservativeResize(seen_.rows() + x.rows(), x.cols());
    seen_.bottomRows(x.rows()) = x;
    if (left > 0) return;
    steps_.push_back(static_cast<double>(step));
    units_.resize(static_cast<std::size_t>(x.cols()));
    for (Index k = 0; k < x.cols(); ++k) {
      std::vector<float> values(seen_.col(k).begin(), seen_.col(k).end());
      std::sort(values.begin(), values.end());
      for (std::size_t i = 0; i < kPercents.size(); ++i) {
        const std::size_t place = values.size() * kPercents[i] / 100;
        units_[static_cast<std::size_t>(k)][i].push_back(static_cast<double>(values[place]));
      }
    }
    seen_.resize(0, 0);
  }

  /// Medians over the units.
  double typical_travel() const { return travel(units_.at(typical_unit())); }
  double typical_late_travel() const {
    std::vector<double> travels;
    for (const Unit& unit : units_) travels.push_back(travel(unit, steps_.size() / 10));
    return spread_of(travels).median;
  }
  double typical_relative_travel() const {
    std::vector<double> travels;
    for (const Unit& unit : units_) travels.push_back(travel(unit) / width(unit));
    return spread_of(travels).median;
  }

  std::vector<Curve> curves() const {
    const auto& unit = units_.at(typical_unit());
    std::vector<Curve> result;
    for (std::size_t i = 0; i < kPercents.size(); ++i) result.push_back({i + 1, steps_, {unit[i]}});
    return result;
  }
  /// The lowest and the highest of their values.
  std::pair<double, double> limits() const {
    const Unit& unit = units_.at(typical_unit());
    return {*std::min_element(unit.front().begin(), unit.front().end()),
            *std::max_element(unit.back().begin(), unit.back().end())};
  }

 private:
  using Unit = std::array<std::vector<double>, kPercents.size()>;

  /// From the lowest to the highest value over training, from the one with index first on: the mean of the three.
  static double travel(const Unit& unit, std::size_t first = 0) {
    double sum = 0;
    for (const std::vector<double>& values : unit) {
      const auto [low, high] =
          std::minmax_element(values.begin() + static_cast<std::ptrdiff_t>(first), values.end());
      sum += *high - *low;
    }
    return sum / static_cast<double>(unit.size());
  }
  /// From the lowest to the highest percentile, the mean over training.
  static double width(const Unit& unit) {
    double sum = 0;
    for (std::size_t i = 0; i < unit[0].size(); ++i) sum += unit[2][i] - unit[0][i];
    return sum / static_cast<double>(unit[0].size());
  }
  /// The unit whose travel is the median of all.
  std::size_t typical_unit() const {
    std::vector<std::size_t> order(units_.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(),
              [&](std::size_t a, std::size_t b) { return travel(units_[a]) < travel(units_[b]); });
    return order[order.size() / 2];
  }
  Index interval_;
  Matrix<float> seen_;
  std::vector<double> steps_;
  std::vector<Unit> units_;
};

/// Ioffe and Szegedy 2015, figure 1 b and c. The claim comes out if with batch norm the percentiles travel less than
/// two thirds as far as without norm, in each pair of seeds, both as they are and in widths of their distribution.
inline Outcome test_percentiles(const Setting& setting) {
  struct Case {
    std::string label, norm;
    double rate;
  };
  const std::vector<double> rates = setting.choose<std::vector<double>>({1, 3, 10}, {1});
  const std::uint64_t first_seed = setting.seeds.at(0);
  Training training;
  training.steps = setting.choose<Index>(800, 200);
  MlpOptions options;
  options.inputs = setting.data.train.pixels.cols();
  options.activation = "sigmoid";

  std::vector<Case> cases = {{"no norm", "none", 0}, {"batch norm", "batch", 0}};
  Progress progress(2 * sweep_runs(setting, rates) + 3 * static_cast<Index>(setting.seeds.size()),
                    training.steps);
  for (Case& c : cases) {
    options.norm = c.norm;
    c.rate = best_rate(options, setting, training, rates, progress);
  }
  if (cases[0].rate != cases[1].rate) cases.push_back({"batch norm", "batch", cases[0].rate});

  Table table({"network", "rate", "test accuracy, %", "travel", "travel in widths", "after a tenth"},
              {"network"});
  std::vector<Spread> travels, relative_travels, late_travels;
  std::vector<Percentiles> shown;  // of the first seed
  for (const Case& c : cases) {
    options.norm = c.norm;
    training.rate = c.rate;
    std::vector<Run> runs;
    std::vector<double> travel, relative_travel, late_travel;
    for (std::uint64_t seed : setting.seeds) {
      progress.begin_run(padded(c.label, 24));
      Random random(seed);
      Mlp network(options, random);
      Percentiles percentiles(training.steps / 50);
      runs.push_back(train(network, setting.data, training, random, progress, [&](Index step) {
        percentiles.add(step, network.before_activation(options.depth - 1));
      }));
      travel.push_back(percentiles.typical_travel());
      relative_travel.push_back(percentiles.typical_relative_travel());
      late_travel.push_back(percentiles.typical_late_travel());
      if (seed == first_seed) shown.push_back(percentiles);
    }
    travels.push_back(spread_of(travel));
    relative_travels.push_back(spread_of(relative_travel));
    late_travels.push_back(spread_of(late_travel));
    table.add({c.label, formatted("%g", c.rate), text_of(accuracy_of(runs), "%.1f"),
               text_of(travels.back(), "%.2f"), text_of(relative_travels.back(), "%.2f"),
               text_of(late_travels.back(), "%.2f")});
  }

  Chart chart("A sigmoid of the last hidden layer, on " + setting.data.name);
  double low = -1, high = 1;
  for (std::size_t i = 0; i < 2; ++i) {
    const auto [lowest, highest] = shown[i].limits();
    low = std::min(low, std::floor(lowest));
    high = std::max(high, std::ceil(highest));
  }
  for (std::size_t i = 0; i < Percentiles::kPercents.size(); ++i)
    chart.add_legend(i + 1, std::to_string(Percentiles::kPercents[i]) + "th percentile");
  for (std::size_t i = 0; i < 2; ++i) {
    chart.add(
        {cases[i].label + ", rate " + formatted("%g", cases[i].rate) + ", seed " + std::to_string(first_seed),
         {"training steps", 0, static_cast<double>(training.steps)},
         {"input of the sigmoid", low, high},
         shown[i].curves()});
  }

  const auto is_steadier = [](const std::vector<Spread>& spreads) {
    return spreads[1].highest < spreads[0].lowest * 2 / 3;
  };
  const auto both = [](const std::vector<Spread>& spreads, const char* format) {
    return formatted(format, spreads[1].median) + " with batch norm and " +
           formatted(format, spreads[0].median) + " without norm";
  };
  std::string finding = "Over training the percentiles of a sigmoid's input travel " + both(travels, "%.1f") +
                        "; in widths of the distribution " + both(relative_travels, "%.2f") +
                        ". After the first tenth of the steps they still travel " +
                        both(late_travels, "%.1f") + ".";
  if (cases.size() > 2) {
    finding += " At the other network's rate of " + formatted("%g", cases[0].rate) +
               ", batch norm's travel " + formatted("%.1f.", travels[2].median);
  }
  return {table, chart, is_steadier(travels) && is_steadier(relative_travels), finding};
}

constexpr Claim kPercentiles = {
    "percentiles",
    "With batch norm, the distribution of a sigmoid's inputs in the last hidden layer stays steadier over "
    "training.",
    "Ioffe and Szegedy 2015, figure 1 b and c",
    "Three hidden layers of 100 sigmoids, each network at its best rate of 1, 3 and 10 for 800 steps "
    "of 60 "
    "images. In the first step and each fiftieth of training, the 15th, 50th and 85th percentile of each "
    "unit's input "
    "are taken over up to ten batches. Travel is the distance from the lowest to the highest value of a "
    "percentile "
    "over training, the mean of the three; a width is the distance from the 15th to the 85th percentile; "
    "both are "
    "medians over the 100 units. The chart has the unit whose travel is that median.",
    test_percentiles};

}  // namespace claims
