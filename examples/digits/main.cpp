// Trains a classifier of handwritten digits with no norm, batch, layer and group norm, at two batch sizes.

#include <cstdio>
#include <evenkeel/evenkeel.hpp>
#include <string>
#include <vector>

#include "../kit/data.hpp"
#include "../kit/draw.hpp"
#include "../kit/progress.hpp"
#include "network.hpp"
#include "options.hpp"
#include "report.hpp"
#include "train.hpp"

namespace digits {
namespace {

namespace ek = evenkeel;

Norm<Matrix<float>> make_norm(const std::string& name) {
  constexpr Index kGroups = 10;
  using Any = Norm<Matrix<float>>;
  if (name == "batch") return Any(ek::BatchNorm<float>(kHidden));
  if (name == "layer") return Any(ek::LayerNorm<float>(kHidden));
  if (name == "group") return Any(ek::GroupNorm<float>(kGroups, kHidden));
  return Any({});
}

/// Every norm starts from the same weights and sees the same batches.
Run train_with(const std::string& norm, Index batch, const Options& options, const Data& data,
               Progress& progress) {
  Random random(options.seed);
  progress.begin_run("batch " + padded(std::to_string(batch), 3) + " norm " + padded(norm, 5));
  return train(Network(data.train.pixels.cols(), make_norm(norm), random),
               Run{norm, batch, options.rate_for(norm, batch), {}}, data, options.steps, random,
               [&](const Run& run) {
                 progress.show(run.curve.back().step, formatted("test %5.1f %%", run.accuracy()));
               });
}

std::string describe(const Data& data) {
  return std::to_string(data.train.pixels.cols()) + "-100-100-100-10 on " + data.name + ", " +
         std::to_string(data.train.count()) + " to train and " + std::to_string(data.test.count()) +
         " to test";
}

void run(const Options& options) {
  const Data data = options.data ? load(*options.data) : draw_data();
  for (Index batch : options.batches) check_batch(batch, data);
  const std::string title = describe(data);
  print_what_comes(title, options);

  Progress progress(static_cast<Index>(options.batches.size() * options.norms.size()), options.steps);
  std::vector<Run> runs;
  for (Index batch : options.batches) {
    for (const std::string& norm : options.norms) {
      runs.push_back(train_with(norm, batch, options, data, progress));
    }
  }
  print_table(runs, data.test.count());
  save_chart(title, options, runs);
  print_conclusion(runs);
}

}  // namespace
}  // namespace digits

int main(int argc, char** argv) {
  return kit::run_program("digits", [&] {
    const digits::Options options = digits::parse_options({argv + 1, argv + argc});
    if (options.help) {
      std::fputs(digits::kHelp, stdout);
    } else {
      digits::run(options);
    }
  });
}
