// Trains a small residual network on images of digits, without norm and with batch, layer and group norm.

#include <cstdio>
#include <string>
#include <vector>

#include "../kit/data.hpp"
#include "../kit/draw.hpp"
#include "../kit/progress.hpp"
#include "options.hpp"
#include "report.hpp"
#include "train.hpp"

namespace residual {
namespace {

Data images_of(const Options& options) {
  constexpr Index kSide = 28;
  Data data = options.data ? load(*options.data) : draw_data();
  if (data.train.side() != kSide) {
    data.name += " enlarged to 28 x 28";
    data.train = enlarged(data.train, kSide);
    data.test = enlarged(data.test, kSide);
  }
  return data;
}

void run(const Options& options) {
  const Data data = images_of(options);
  check_batch(options.batch, data);
  const std::string title = "Residual network, 3 x " + std::to_string(options.depth) + " blocks, on " +
                            data.name + ", " + std::to_string(options.batch) + " images a step";
  std::printf("%s, %td to train and %td to test\n", title.c_str(), data.train.count(), data.test.count());

  Progress progress(static_cast<Index>(options.norms.size() * options.seeds.size()), options.steps);
  std::vector<Result> results;
  for (const std::string& norm : options.norms) {
    results.push_back({norm, {}});
    for (std::uint64_t seed : options.seeds) {
      progress.begin_run("norm " + padded(norm, 5) +
                         (options.seeds.size() > 1 ? "  seed " + std::to_string(seed) : ""));
      results.back().runs.push_back(train(norm, seed, options, data, [&](Index step, const Run& run) {
        progress.show(step,
                      formatted("test %5.1f %%", run.accuracy()) + formatted("  loss %7.4f", run.loss()));
      }));
    }
  }
  print_table(results, options);
  print_inference(results, data.test.count());
  print_share(results);
  print_conclusion(results, options);
  save_chart(title, options, results);
}

}  // namespace
}  // namespace residual

int main(int argc, char** argv) {
  return kit::run_program("residual", [&] {
    const residual::Options options = residual::parse_options({argv + 1, argv + argc});
    if (options.help) {
      std::fputs(residual::kHelp, stdout);
    } else {
      residual::run(options);
    }
  });
}
