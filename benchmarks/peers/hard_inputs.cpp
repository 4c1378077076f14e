#include "hard_inputs.hpp"

#include <cstddef>

#include "support/data.hpp"
#include "support/published_inputs.hpp"

namespace evenkeel::benchmarks {
namespace {

using ek_test::random_values;

Case with(Case test, double epsilon) {
  test.epsilon = epsilon;
  return test;
}

std::vector<float> signs_times(float negative, float positive, std::vector<float> x) {
  for (float& value : x) value = value < 0 ? negative : positive;
  return x;
}

void add_published(Norm norm, std::vector<HardInput>& inputs) {
  const auto rows_of = [&](Index rows, Index features) {
    return Case{norm, Direction::kForward, Layout::kRows, rows, features};
  };
  const auto images_of = [&](Index batch, Index channels, Index side) {
    return Case{norm, Direction::kForward, Layout::kChannelsFirst, batch, channels, side};
  };
  const auto add_normal = [&](const std::string& text, const Case& test, double mean, double std) {
    inputs.push_back({text, test, random_values<float>(test.size(), mean, std, 1)});
  };
  switch (norm) {
    case Norm::kLayer:
      add_normal("4 features, mean 2000, std 1 (pytorch#51102)", rows_of(250, 4), 2000, 1);
      add_normal("32768 features, mean 100, std 0.01 (pytorch#40302)", rows_of(4, 32768), 100, 0.01);
      inputs.push_back({"14, 14; epsilon 1e-6 (pytorch#108072)", with(rows_of(1, 2), 1e-6), {14, 14}});
      inputs.push_back(
          {"256 times 1234 (onnxruntime#21935)", rows_of(1, 256), std::vector<float>(256, 1234)});
      inputs.push_back(
          {"40000, 40001, 40002, 40003 (onnxruntime#28463)", rows_of(1, 4), {40000, 40001, 40002, 40003}});
      inputs.push_back({"16 features about 1449 (mlx#2238)", rows_of(1, 16), ek_test::row_of_mlx_2238()});
      break;
    case Norm::kBatch:
      inputs.push_back({"1000x3, near-constant -15.94 (sherpa-onnx#3853)", rows_of(1000, 3),
                        ek_test::frames_at_their_floor(1000)});
      add_normal("4x3x64x64, mean 1e5, std 0.1 (flax#1491)", images_of(4, 3, 64), 1e5, 0.1);
      break;
    case Norm::kRms:
      break;
    case Norm::kGroup:
    case Norm::kInstance:
      add_normal("2x64x64x64, mean 100, std 0.01 (pytorch#40302)", images_of(2, 64, 64), 100, 0.01);
  }
}

}  // namespace

Case usual_case(Norm norm) {
  switch (norm) {
    case Norm::kLayer:
    case Norm::kRms:
      return {norm, Direction::kForward, Layout::kRows, 512, 768};
    case Norm::kBatch:
      return {norm, Direction::kForward, Layout::kChannelsFirst, 32, 32, 14};
    case Norm::kGroup:
    case Norm::kInstance:
      break;
  }
  return {norm, Direction::kForward, Layout::kChannelsFirst, 4, 64, 28};
}

std::vector<HardInput> hard_inputs(Norm norm) {
  const Case usual = usual_case(norm), no_epsilon = with(usual, 0);
  const auto normal = [&](double mean, double std) {
    return random_values<float>(usual.size(), mean, std, 1);
  };
  const auto constant_but_one = [&](double level, double step) {
    return ek_test::constant_with_outliers<float>(map_of(usual), level, step);
  };
  std::vector<HardInput> inputs;
  for (const std::string mean : {"0", "1e2", "1e3", "1e4", "1e6", "1e7"}) {
    inputs.push_back({"mean " + mean + ", std 1", usual, normal(std::stod(mean), 1)});
  }
  inputs.push_back(
      {"drift from -1e4 to 1e4, std 1", usual, ek_test::drifting_values<float>(usual.size(), 1e4, 1)});
  inputs.push_back({"constant 1234", usual, constant_but_one(1234, 0)});
  inputs.push_back({"constant 1234 but for one 1234.125", usual, constant_but_one(1234, 0.125)});
  inputs.push_back({"constant 1234 but for one 1e6", usual, constant_but_one(1234, 1e6 - 1234)});
  inputs.push_back({"mean 0, std 1e30 (pytorch#178123)", usual, normal(0, 1e30)});
  inputs.push_back({"3.2e38 beside -3.1e38", usual, signs_times(-3.1e38f, 3.2e38f, normal(0, 1)), 1e3});
  inputs.push_back({"mean 0, std 1e-30, epsilon 0", no_epsilon, normal(0, 1e-30)});
  inputs.push_back({"mean 0, std 1e-40, epsilon 0", no_epsilon, normal(0, 1e-40), 1e-5});
  add_published(norm, inputs);
  return inputs;
}

ek_test::IndexMap map_of(const Case& test) {
  const ek_test::Shape shape = test.dims();
  switch (test.norm) {
    case Norm::kBatch:
      return ek_test::batch_norm_map(shape, Eigen::RowMajor);
    case Norm::kLayer:
    case Norm::kRms:
      return ek_test::layer_norm_map(shape, Eigen::RowMajor, 1);
    case Norm::kGroup:
    case Norm::kInstance:
      break;
  }
  return ek_test::group_norm_map(shape, Eigen::RowMajor, test.groups());
}

}  // namespace evenkeel::benchmarks
