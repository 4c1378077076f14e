#pragma once

#include <algorithm>
#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "../kit/options.hpp"
#include "claim.hpp"
#include "small_residual.hpp"
#include "training.hpp"

namespace claims {

/// Comes out if at 2 images a step batch norm errs a point more than group norm and than itself at 32, beyond the spread
/// of seeds, and group norm's median is within a point of its own at 32.
///
/// Small batches have two effects here: statistics over few images, and more steps. The second panel has the first of
/// them alone: 32 images a step, of which batch norm takes a few at a time. Norms within an image do not notice.
inline Outcome test_batch_size(const Setting& setting) {
  constexpr Index kLarge = 32;
  const std::vector<Index> sizes = setting.choose<std::vector<Index>>({2, 4, 8, kLarge}, {2, kLarge});
  const std::vector<std::string> norms =
      setting.choose<std::vector<std::string>>(residual::all_norms(), {"batch", "group"});
  const Data data = averaged(setting.data);
  ResidualTraining training;
  training.images = setting.choose<Index>(3200, 640);
  std::map<std::string, double> rates = best_rates(
      norms, data, training, setting.choose<std::vector<double>>({0.01, 0.03, 0.1, 0.3, 1}, {0.1}));

  Table table({"norm", "rate at 32", "images a step", "statistics over", "test error, %"}, {"norm"});
  Progress progress(static_cast<Index>((norms.size() + 1) * sizes.size() - 1),
                    static_cast<Index>(setting.seeds.size()));
  const auto errors_of = [&](const std::string& norm, Index batch, Index part) {
    training.batch = batch;
    training.part = part;
    training.rate_of_32 = rates[norm];
    progress.begin_run(padded(residual::full_name(norm), 10) +
                       formatted(" %2.0f a step", static_cast<double>(batch)) +
                       formatted(" %2.0f a part", static_cast<double>(part)));
    const std::vector<double> errors = residual_errors(norm, data, training, setting.seeds, progress);
    table.add({residual::full_name(norm), formatted("%g", rates[norm]), std::to_string(batch),
               norm == "batch" ? std::to_string(part) : "-", text_of(spread_of(errors), "%.1f")});
    return errors;
  };

  Chart chart("Residual networks, on " + data.name + ", " + std::to_string(training.images) +
              " images in all");
  const std::vector<double> ticks(sizes.begin(), sizes.end());
  const Axis axis{"images a step", ticks.front(), ticks.back(), "", true, ticks};
  Panel steps{"steps of fewer images", axis, {"test error", 0.6, 50, " %", true}, {}};
  Panel parts{"steps of 32 images", axis, steps.y, {}};
  parts.x.label = "images that batch norm's statistics are over";
  std::map<std::string, Spread> small, large;
  Spread small_parts{};
  for (std::size_t style = 0; style < residual::all_norms().size(); ++style) {
    const std::string& norm = residual::all_norms()[style];
    if (!contains(norms, norm)) continue;
    Curve of_steps{style, {}, {}}, of_parts{style, {}, {}};
    std::vector<double> errors;
    for (Index size : sizes) {
      errors = errors_of(norm, size, size);
      add_to(of_steps, static_cast<double>(size), errors);
      if (size == sizes.front()) small[norm] = spread_of(errors);
    }
    large[norm] = spread_of(errors);
    for (Index size : sizes) {
      const bool differs = norm == "batch" && size < kLarge;
      const std::vector<double> of_part = differs ? errors_of(norm, kLarge, size) : errors;
      add_to(of_parts, static_cast<double>(size), of_part);
      if (differs && size == sizes.front()) small_parts = spread_of(of_part);
    }
    chart.add_legend(style, residual::full_name(norm));
    steps.curves.push_back(of_steps);
    parts.curves.push_back(of_parts);
  }
  chart.add(steps);
  chart.add(parts);

  const bool holds = small["batch"].lowest > small["group"].highest + 1 &&
                     small["batch"].lowest > large["batch"].highest + 1 &&
                     small["group"].median < large["group"].median + 1;
  return {table, chart, holds,
          "From 32 to 2 images a step, the error of batch norm goes " +
              formatted("from %.1f ", large["batch"].median) +
              formatted("to %.1f %%, ", small["batch"].median) +
              formatted("that of group norm from %.1f ", large["group"].median) +
              formatted("to %.1f %%", small["group"].median) +
              (holds ? "." : "; training is short here, and steps of 2 images are 16 times as many.") +
              " With the same steps of 32 images, but statistics over 2 of them at a time, batch norm errs " +
              formatted("%.1f %%: ", small_parts.median) +
              (small_parts.lowest > large["batch"].highest + 1
                   ? "that is the harm of small batches by itself, beyond the spread of the seeds."
                   : "the harm of small batches by itself is within the spread of the seeds here.")};
}

constexpr Claim kBatchSize = {
    "batch-size", "Batch norm fails at small batches, group norm does not.",
    "Wu, He 2018, table 2: at 32, 16, 8, 4 and 2 images a GPU batch norm errs 23.6, 23.7, 24.8, 27.3 "
    "and 34.7 %, group norm 24.1 to 24.2 %",
    "A residual network of one block a stage, on images averaged to 7 x 7 pixels (8 x 8 of optdigits). "
    "All see as many images: small batches take more steps, at a rate in proportion to the batch, as "
    "in the paper. The rate at 32 is the best of five for each norm, on another seed. On the right, "
    "all networks take 32 images a step, and batch norm takes its statistics over parts of them.",
    test_batch_size};

}  // namespace claims
