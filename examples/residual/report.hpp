#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <string>
#include <vector>

#include "../kit/chart.hpp"
#include "../kit/spread.hpp"
#include "../kit/table.hpp"
#include "options.hpp"
#include "train.hpp"

namespace residual {

/// The runs of one norm, one a seed.
struct Result {
  std::string norm;
  std::vector<Run> runs;

  template <typename Value>
  Spread spread(Value value) const {
    std::vector<double> values;
    for (const Run& run : runs) values.push_back(value(run));
    return spread_of(values);
  }
  Spread accuracy() const {
    return spread([](const Run& run) { return run.accuracy(); });
  }
  double norm_share() const {
    return spread([](const Run& run) { return 100 * run.norm_seconds / run.seconds; }).median;
  }
  Index differing() const {
    Index sum = 0;
    for (const Run& run : runs) sum += run.differing;
    return sum;
  }
};

inline void print_table(const std::vector<Result>& results, const Options& options) {
  Table table({"norm", "rate", "test accuracy", "test loss", "steps to 90 %", "one image at a time",
               "differing", "ms a step", "norm's share"},
              {"norm"});
  for (const Result& result : results) {
    const Spread accuracy = result.accuracy();
    std::string text = formatted("%.2f %%", accuracy.median);
    if (result.runs.size() > 1) {
      text += " (" + formatted("%.2f", accuracy.lowest) + " to " + formatted("%.2f", accuracy.highest) + ")";
    }
    const Spread loss = result.spread([](const Run& run) { return run.loss(); });
    const double steps = result.spread([](const Run& run) { return run.steps_to(90); }).median;
    const Spread singly = result.spread([](const Run& run) { return run.accuracy_singly; });
    const Spread seconds = result.spread([](const Run& run) { return run.seconds; });
    table.add({result.norm, formatted("%g", options.rate_for(result.norm)), text,
               formatted("%.4f", loss.median), std::isfinite(steps) ? formatted("%g", steps) : "never",
               formatted("%.2f %%", singly.median), std::to_string(result.differing()),
               formatted("%.1f", 1000 * seconds.median / static_cast<double>(options.steps)),
               formatted("%.1f %%", result.norm_share())});
  }
  std::printf("\n");
  table.print();
}

/// What inference with batch norm gave for single images, against many at a time.
inline void print_inference(const std::vector<Result>& results, Index test_images) {
  for (const Result& result : results) {
    if (result.norm != "batch") continue;
    const Index count = test_images * static_cast<Index>(result.runs.size());
    std::printf(
        "\nThe network with batch norm classified the test images twice through infer, in batches and one "
        "at\n"
        "a time: %td of %td predictions are the same.\n",
        count - result.differing(), count);
  }
}

inline void print_share(const std::vector<Result>& results) {
  std::vector<std::string> shares;
  for (const Result& result : results) {
    if (result.norm == "none") continue;
    shares.push_back(full_name(result.norm) + " " + formatted("%.1f %%", result.norm_share()));
  }
  if (shares.empty()) return;
  std::printf(
      "\nA norm's share of a training step: %s.\n"
      "Convolutions, ReLUs and the update take the rest.\n",
      listed(shares).c_str());
}

/// One sentence on which norms to take, by their median accuracies. A point is about the deviation of the difference
/// between two networks on 1000 images: sqrt(2 * 0.05 * 0.95 / 1000) = 1 %.
inline void print_conclusion(const std::vector<Result>& results, const Options& options) {
  constexpr double kPoint = 1, kNothingLearned = 20;
  double best = 0;
  for (const Result& result : results) best = std::max(best, result.accuracy().median);
  std::vector<std::string> good, behind;
  for (const Result& result : results) {
    const double points = best - result.accuracy().median;
    if (points <= kPoint) {
      good.push_back(full_name(result.norm));
    } else {
      behind.push_back(full_name(result.norm) + formatted(" (%.1f points behind)", points));
    }
  }

  std::printf("\nConclusion: ");
  if (best < kNothingLearned) {
    std::printf("nothing has been learned yet, which takes more steps or another rate.\n");
  } else if (results.size() == 1) {
    std::printf("%s reaches %.1f %%; --norm all compares it with the others.\n", good[0].c_str(), best);
  } else {
    std::printf("for %td steps of %td images take %s, %.1f %% right%s", options.steps, options.batch,
                listed(good, "or").c_str(), best, good.size() > 1 ? " or at most a point less" : "");
    if (!behind.empty()) std::printf(", rather than %s", listed(behind, "or").c_str());
    std::printf(".\n");
  }
}

/// The decade below the least loss, from 1e-4 to 0.1.
inline double least_decade(const std::vector<Result>& results) {
  double least = 0.1;
  for (const Result& result : results) {
    for (const Run& run : result.runs) {
      for (const CurvePoint& point : run.curve) least = std::min(least, std::max(point.loss, 1e-4));
    }
  }
  return std::pow(10, std::floor(std::log10(least)));
}

inline Curve curve_of(const Result& result, std::size_t style, double CurvePoint::*value) {
  Curve curve{style, {}, {}};
  for (const CurvePoint& point : result.runs[0].curve) curve.x.push_back(static_cast<double>(point.step));
  for (const Run& run : result.runs) {
    curve.y.emplace_back();
    for (const CurvePoint& point : run.curve) curve.y.back().push_back(point.*value);
  }
  return curve;
}

/// Test accuracy and loss over steps, one curve a norm.
inline void save_chart(const std::string& title, const Options& options, const std::vector<Result>& results) {
  Chart chart(title);
  const Axis steps{"training steps", 0, static_cast<double>(options.steps)};
  const std::string spread = options.seeds.size() > 1
                                 ? ", median and spread of " + std::to_string(options.seeds.size()) + " seeds"
                                 : "";
  Panel accuracy{"accuracy" + spread, steps, {"test accuracy", 0, 100, " %"}, {}};
  Panel loss{"loss" + spread, steps, {"test cross-entropy, nats", least_decade(results), 10, "", true}, {}};
  for (const Result& result : results) {
    const auto style = static_cast<std::size_t>(
        std::find(all_norms().begin(), all_norms().end(), result.norm) - all_norms().begin());
    chart.add_legend(style,
                     full_name(result.norm) + ", rate " + formatted("%g", options.rate_for(result.norm)));
    accuracy.curves.push_back(curve_of(result, style, &CurvePoint::accuracy));
    loss.curves.push_back(curve_of(result, style, &CurvePoint::loss));
  }
  chart.add(accuracy);
  chart.add(loss);
  chart.save("residual.svg");
  std::printf("The curves are in residual.svg.\n");
}

}  // namespace residual
