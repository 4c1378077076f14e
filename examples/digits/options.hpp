#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "../kit/options.hpp"

namespace digits {

using namespace kit;

struct Options {
  std::optional<std::string> data;
  Index steps = 2000;
  std::vector<Index> batches = {60, 4};
  std::vector<std::string> norms = {"none", "batch", "layer", "group"};
  std::optional<double> rate;
  std::uint64_t seed = 1;
  bool help = false;

  /// Without --rate the best one, see kHelp: the highest mean accuracy of seeds 1 to 3 on drawn digits.
  double rate_for(const std::string& norm, Index batch) const {
    struct Best {
      const char* norm;
      double of_60, of_4;
    };
    constexpr Best kBest[] = {{"none", 1.5, 1.5}, {"batch", 20, 1}, {"layer", 1, 0.1}, {"group", 0.2, 0.1}};
    const Best* best = kBest;
    while (norm != best->norm) ++best;
    return rate.value_or(batch < kSmallBatch ? best->of_4 : best->of_60);
  }
  static constexpr Index kSmallBatch = 16;
};

constexpr const char* kHelp =
    R"(digits: a classifier of handwritten digits, trained with and without norms

Trains the sigmoid network of Ioffe and Szegedy 2015, section 4.1, once for each
norm and batch size, and draws its test accuracy over the steps in digits.svg.

  --data DIR      real digits instead of drawn ones; DIR holds optdigits.tra and
                  optdigits.tes (UCI), or the four files of MNIST, unpacked
                  (train-images-idx3-ubyte, ...)
  --steps N       training steps of each network (2000)
  --batch N,...   images a step (60,4)
  --norm NAME,... none, batch, layer, group (all four)
  --rate R        learning rate; it falls linearly to 0 over the last fifth of
                  the steps. Without it each network has its own: of 0.1, 0.2,
                  0.3, 0.5, 1, 1.5, 2, 3, 4, 6, 10, 15, 20 and 30 the one that
                  ended at the highest test accuracy on drawn digits, with 60
                  images a step, and with 4 for less than 16
  --seed N        of the first weights and the order of the images (1)
  --help          this text
)";

inline Options parse_options(const std::vector<std::string>& arguments) {
  Options options;
  const std::vector<std::string> known_norms = options.norms;
  for_each_option(arguments, [&](const std::string& option, auto value) {
    if (option == "--help" || option == "-h") {
      options.help = true;
    } else if (option == "--data") {
      options.data = value();
    } else if (option == "--steps") {
      options.steps = parse_count(option, value());
    } else if (option == "--batch") {
      options.batches.clear();
      for (const std::string& part : split(value())) options.batches.push_back(parse_count(option, part));
    } else if (option == "--norm") {
      options.norms = split(value());
      for (const std::string& norm : options.norms) {
        if (!contains(known_norms, norm))
          fail(option, "'" + norm + "', expected none, batch, layer or group");
      }
    } else if (option == "--rate") {
      options.rate = parse_rate(option, value());
    } else if (option == "--seed") {
      options.seed = parse_seed(option, value());
    } else {
      fail(option, "unknown option, see --help");
    }
  });
  if (contains(options.norms, std::string("batch")) && contains(options.batches, Index{1})) {
    fail("--batch", "1, batch norm needs at least 2 images a step");
  }
  return options;
}

}  // namespace digits
