// Trains a classifier of handwritten digits with no norm, batch, layer and group norm, at two batch sizes.

#include <cstdio>
#include <evenkeel/evenkeel.hpp>
#include <exception>
#include <string>
#include <vector>

#include "chart.hpp"
#include "data.hpp"
#include "draw.hpp"
#include "network.hpp"
#include "options.hpp"
#include "progress.hpp"
#include "train.hpp"

namespace digits {
namespace {

namespace ek = evenkeel;

/// Every norm starts from the same weights and sees the same batches.
Run train_with(const std::string& name, Index batch, const Options& options, const Data& data,
               Progress& progress) {
  constexpr Index kGroups = 10;
  const auto train_network = [&](const auto& norm) {
    Random random(options.seed);
    return train(Network(data.train.pixels.cols(), norm, random),
                 Run{name, batch, options.rate_for(name), {}}, data, options.steps, random,
                 [&](const Run& run) { progress.show(run); });
  };
  if (name == "batch") return train_network(ek::BatchNorm<float>(kHidden));
  if (name == "layer") return train_network(ek::LayerNorm<float>(kHidden));
  if (name == "group") return train_network(ek::GroupNorm<float>(kGroups, kHidden));
  return train_network(NoNorm());
}

std::string describe(const Data& data) {
  return std::to_string(data.train.pixels.cols()) + "-100-100-100-10 on " + data.name + ", " +
         std::to_string(data.train.count()) + " to train and " + std::to_string(data.test.count()) +
         " to test";
}

void run(const Options& options) {
  const Data data = options.data ? load(*options.data) : draw_data();
  for (Index batch : options.batches) {
    if (batch > data.train.count()) {
      fail("--batch", std::to_string(batch) + ", the training data has " +
                          std::to_string(data.train.count()) + " images");
    }
  }
  const std::string title = describe(data);
  std::printf("%s\n", title.c_str());

  Chart chart(title, options);
  Progress progress(static_cast<Index>(options.batches.size() * options.norms.size()), options.steps);
  std::vector<Run> runs;
  for (Index batch : options.batches) {
    for (const std::string& norm : options.norms) {
      runs.push_back(train_with(norm, batch, options, data, progress));
      chart.add(runs.back());
    }
  }
  print_table(runs, data.test.count());
  chart.save("digits.svg");
  std::printf("The curves are in digits.svg.\n");
}

}  // namespace
}  // namespace digits

int main(int argc, char** argv) {
  try {
    const digits::Options options = digits::parse_options({argv + 1, argv + argc});
    if (options.help) {
      std::fputs(digits::kHelp, stdout);
    } else {
      digits::run(options);
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "digits: %s\n", error.what());
    return 1;
  }
}
