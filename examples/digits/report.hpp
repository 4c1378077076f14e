#pragma once

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "../kit/chart.hpp"
#include "../kit/table.hpp"
#include "options.hpp"
#include "train.hpp"

namespace digits {

inline std::string listed(const std::vector<std::string>& parts) {
  std::string text;
  for (std::size_t i = 0; i < parts.size(); ++i)
    text += (i == 0 ? "" : i + 1 == parts.size() ? " and " : ", ") + parts[i];
  return text;
}

inline std::string with(const std::string& norm) {
  return norm == "none" ? "without a norm" : "with " + norm + " norm";
}

inline void print_what_comes(const std::string& title, const Options& options) {
  std::vector<std::string> norms, batches;
  for (const std::string& norm : options.norms) norms.push_back(with(norm));
  for (const Index batch : options.batches) batches.push_back(std::to_string(batch));
  std::printf(
      "Trains one network to read digits, %s, with %s images a step.\n"
      "All start from the same weights and take %td steps over the same images, %s.\n"
      "What to look at: how many steps each takes to 90 %%, and where it ends.\n\n%s\n",
      listed(norms).c_str(), listed(batches).c_str(), options.steps,
      options.rate   ? "at one learning rate"
      : options.data ? "each at a learning rate of its own"
                     : "each at the learning rate that is best for it",
      title.c_str());
}

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

inline std::string told(const Run& run) {
  const Index steps = run.steps_to(90);
  return (steps > 0 ? "reached 90 % in " + std::to_string(steps) + " steps" : "never reached 90 %") +
         formatted(" and ended at %.2f %%", run.accuracy());
}

/// For each batch size: the norm that ended highest, beside no norm.
inline void print_conclusion(const std::vector<Run>& runs) {
  for (const Run& none : runs) {
    const Run* best = nullptr;
    for (const Run& run : runs) {
      if (run.batch == none.batch && run.norm != "none" &&
          (best == nullptr || run.accuracy() > best->accuracy())) {
        best = &run;
      }
    }
    if (none.norm != "none" || best == nullptr) continue;
    std::printf("\nWith %td images a step the network %s %s.\nWithout a norm it %s.\n", none.batch,
                with(best->norm).c_str(), told(*best).c_str(), told(none).c_str());
  }
  std::printf(
      "\nBatch norm takes its statistics from the images of a step, and so wants many of them.\n"
      "Layer and group norm take theirs from each image alone.\n");
}

/// Test accuracy over steps: one panel a batch size, one curve a norm.
inline void save_chart(const std::string& title, const Options& options, const std::vector<Run>& runs) {
  const std::vector<std::string> styles = Options().norms;
  const auto style_of = [&](const std::string& norm) {
    return static_cast<std::size_t>(std::find(styles.begin(), styles.end(), norm) - styles.begin());
  };
  Chart chart(title);
  for (const std::string& norm : options.norms) {
    chart.add_legend(style_of(norm), (norm == "none" ? "no" : norm) + " norm");
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
  std::printf("The curves are in %s; open it in a browser.\n",
              std::filesystem::absolute("digits.svg").string().c_str());
}

}  // namespace digits
