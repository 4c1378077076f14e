#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "../kit/options.hpp"

namespace residual {

using namespace kit;

inline const std::vector<std::string>& all_norms() {
  static const std::vector<std::string> names = {"none", "batch", "layer", "group"};
  return names;
}

inline std::string full_name(const std::string& norm) { return norm == "none" ? "no norm" : norm + " norm"; }

struct Options {
  std::optional<std::string> data;
  std::vector<std::string> norms = all_norms();
  Index batch = 32, depth = 1, steps = 300;
  std::optional<double> rate;
  double weight_decay = 1e-4, dropout = 0;
  std::vector<std::uint64_t> seeds = {1};
  bool help = false;

  /// Without --rate, what each learns the drawn digits best with, of 1, 2 and 5 times powers of ten.
  double rate_for(const std::string& norm) const {
    static const std::map<std::string, double> rates = {
        {"none", 0.02}, {"batch", 0.2}, {"layer", 0.2}, {"group", 0.1}};
    return rate.value_or(rates.at(norm));
  }
};

constexpr const char* kHelp =
    R"(residual: a residual network without norm, with batch, layer and group norm

Trains a small residual network (He et al. 2016) on images of digits of 28 x 28
pixels, once for each norm, and draws test accuracy and loss over the steps in
residual.svg. Its blocks are conv 3x3, norm, ReLU, conv 3x3, norm, add the
shortcut, ReLU. They stand in three stages of 8, 16 and 32 channels, between a
convolution and the mean over all pixels with a dense layer. Where the shape
changes, the shortcut is a convolution 1x1 with stride 2 and a norm. In the end
each network classifies the test images once more, one at a time.

  --norm NAME,...   none, batch, layer, group or all (all). Layer norm takes its
                    statistics over all channels and pixels of an image, group
                    norm over four channels of it.
  --batch N         images a step (32)
  --rate R          learning rate (0.02 for none, 0.1 for group, 0.2 for batch and
                    layer: the best of each at the other defaults); it falls
                    linearly to 0 over the last fifth of the steps. The momentum
                    is 0.9.
  --weight-decay R  of the weights; biases, gamma and beta do not decay (1e-4)
  --dropout R       share of the mean values before the dense layer that training
                    sets to 0, from 0 to below 1 (0)
  --depth N         blocks a stage, 1 to 50 (1)
  --steps N         training steps of each network (300)
  --seed N,...      of the first weights and the order of the images (1); of
                    several, the table has the medians and the chart the spread
  --data DIR        real digits instead of drawn ones; DIR holds the four files
                    of MNIST, unpacked (train-images-idx3-ubyte, ...), or UCI's
                    optdigits.tra and optdigits.tes, whose 8 x 8 pixels are
                    enlarged to 28 x 28
  --help            this text
)";

inline std::vector<std::string> parse_norms(const std::string& option, const std::string& text) {
  if (text == "all") return all_norms();
  std::vector<std::string> norms = split(text);
  for (const std::string& norm : norms) {
    if (!contains(all_norms(), norm))
      fail(option, "'" + norm + "', expected none, batch, layer, group or all");
  }
  return norms;
}

inline Options parse_options(const std::vector<std::string>& arguments) {
  Options options;
  for_each_option(arguments, [&](const std::string& option, auto value) {
    if (option == "--help" || option == "-h") {
      options.help = true;
    } else if (option == "--norm") {
      options.norms = parse_norms(option, value());
    } else if (option == "--batch") {
      options.batch = parse_count(option, value());
    } else if (option == "--rate") {
      options.rate = parse_rate(option, value());
    } else if (option == "--weight-decay") {
      options.weight_decay =
          parse_number(option, value(), "a number from 0 on", [](double r) { return r >= 0; });
    } else if (option == "--dropout") {
      options.dropout = parse_number(option, value(), "a number from 0 to below 1",
                                     [](double r) { return r >= 0 && r < 1; });
    } else if (option == "--depth") {
      options.depth = static_cast<Index>(parse_integer(option, value(), 1, 50));
    } else if (option == "--steps") {
      options.steps = parse_count(option, value());
    } else if (option == "--seed") {
      options.seeds.clear();
      for (const std::string& seed : split(value())) options.seeds.push_back(parse_seed(option, seed));
    } else if (option == "--data") {
      options.data = value();
    } else {
      fail(option, "unknown option, see --help");
    }
  });
  if (contains(options.norms, std::string("batch")) && options.batch == 1) {
    fail("--batch", "1, batch norm needs at least 2 images a step");
  }
  return options;
}

}  // namespace residual
