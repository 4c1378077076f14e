#pragma once

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "../kit/chart.hpp"
#include "../kit/table.hpp"
#include "options.hpp"
#include "train.hpp"

namespace digits {

inline void print_table(const std::vector<Run>& runs, Index test_images) {
  Table table({"batch", "norm", "rate", "test accuracy", "steps to 90 %", "one image at a time", "differing",
               "seconds"},
              {"norm"});
  Index differing = 0;
  for (const Run& run : runs) {
    const Index steps = run.steps_to(90);
    table.add({std::to_string(run.batch), run.norm, formatted("%g", run.rate),
               formatted("%.2f %%", run.accuracy()), steps > 0 ? std::to_string(steps) : "never",
               formatted("%.2f %%", run.accuracy_singly), std::to_string(run.differing),
               formatted("%.1f", run.seconds)});
    differing += run.differing;
  }
  std::printf("\n");
  table.print();
  std::printf(
      "\nEach network classified the %td test images twice, all in one batch and one at a time: %td of %td\n"
      "predictions differ.\n",
      test_images, differing, static_cast<Index>(runs.size()) * test_images);
}

/// Test accuracy over steps: one panel a batch size, one curve a norm.
inline void save_chart(const std::string& title, const Options& options, const std::vector<Run>& runs) {
  const std::vector<std::string> styles = Options().norms;
  const auto style_of = [&](const std::string& norm) {
    return static_cast<std::size_t>(std::find(styles.begin(), styles.end(), norm) - styles.begin());
  };
  Chart chart(title);
  for (const std::string& norm : options.norms) {
    chart.add_legend(style_of(norm), (norm == "none" ? "no" : norm) + " norm, rate " +
                                         formatted("%g", options.rate_for(norm)));
  }
  for (Index batch : options.batches) {
    Panel panel{"batch size " + std::to_string(batch),
                {"training steps", 0, static_cast<double>(options.steps)},
                {"test accuracy", 0, 100, " %"},
                {},
                90};
    for (const Run& run : runs) {
      if (run.batch != batch) continue;
      Curve curve{style_of(run.norm), {}, {{}}};
      for (const CurvePoint& point : run.curve) {
        curve.x.push_back(static_cast<double>(point.step));
        curve.y[0].push_back(point.accuracy);
      }
      panel.curves.push_back(curve);
    }
    chart.add(panel);
  }
  chart.save("digits.svg");
  std::printf("The curves are in digits.svg.\n");
}

}  // namespace digits
