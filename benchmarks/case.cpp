#include "case.hpp"

#include <algorithm>
#include <cctype>
#include <iterator>
#include <set>
#include <utility>

namespace evenkeel::benchmarks {
namespace {

struct Shape {
  Norm norm;
  Index batch, channels, side = 1;
};

constexpr Shape kShapes[] = {
    {Norm::kBatch, 1, 64, 56},   {Norm::kBatch, 8, 64, 56},   {Norm::kBatch, 32, 64, 56},
    {Norm::kBatch, 32, 256, 14}, {Norm::kBatch, 32, 2048, 7}, {Norm::kBatch, 8, 64, 112},
    {Norm::kBatch, 256, 1024},   {Norm::kLayer, 32, 768},     {Norm::kLayer, 512, 768},
    {Norm::kLayer, 8192, 768},   {Norm::kLayer, 4096, 4096},  {Norm::kLayer, 16384, 64},
    {Norm::kLayer, 65536, 16},   {Norm::kGroup, 2, 320, 32},  {Norm::kGroup, 2, 1280, 12},
    {Norm::kGroup, 1, 512, 96},  {Norm::kGroup, 8, 64, 56},   {Norm::kInstance, 8, 64, 56},
    {Norm::kRms, 32, 768},       {Norm::kRms, 8192, 768},     {Norm::kRms, 512, 4096},
};

struct OddShape {
  Shape odd, round;
};

constexpr OddShape kOddShapes[] = {
    {{Norm::kLayer, 8192, 33}, {Norm::kLayer, 8192, 32}},
    {{Norm::kLayer, 4096, 100}, {Norm::kLayer, 4096, 96}},
    {{Norm::kLayer, 1024, 1000}, {Norm::kLayer, 1024, 1024}},
    {{Norm::kBatch, 32, 256, 7}, {Norm::kBatch, 32, 256, 8}},
    {{Norm::kBatch, 32, 256, 13}, {Norm::kBatch, 32, 256, 12}},
    {{Norm::kBatch, 8, 3, 112}, {Norm::kBatch, 8, 4, 112}},
    {{Norm::kBatch, 32, 1, 112}, {Norm::kBatch, 8, 4, 112}},
    {{Norm::kGroup, 32, 256, 7}, {Norm::kGroup, 32, 256, 8}},
    {{Norm::kGroup, 32, 256, 13}, {Norm::kGroup, 32, 256, 12}},
};

constexpr Shape kSmallShapes[] = {
    {Norm::kBatch, 1, 64, 4}, {Norm::kBatch, 8, 64},   {Norm::kBatch, 8, 64, 7}, {Norm::kLayer, 1, 768},
    {Norm::kLayer, 32, 64},   {Norm::kLayer, 1, 4096}, {Norm::kLayer, 1, 8192},  {Norm::kGroup, 1, 64, 4},
    {Norm::kGroup, 2, 64, 8}, {Norm::kRms, 1, 4096},
};

/// In all of kBatches. Layer norm is over the channels of each pixel.
constexpr Shape kBatchedShapes[] = {
    {Norm::kBatch, 1, 64, 56},  {Norm::kBatch, 1, 256, 14}, {Norm::kBatch, 1, 2048, 7},
    {Norm::kBatch, 1, 1024},    {Norm::kLayer, 1, 768},     {Norm::kLayer, 1, 768, 8},
    {Norm::kLayer, 1, 64, 8},   {Norm::kLayer, 1, 16, 16},  {Norm::kGroup, 1, 64, 56},
    {Norm::kGroup, 1, 256, 14},
};

/// More of instance norm, which is not compared.
constexpr Shape kInstanceShapes[] = {
    {Norm::kInstance, 1, 64, 112},
    {Norm::kInstance, 8, 256, 14},
    {Norm::kInstance, 8, 512, 7},
};

std::vector<Layout> layouts_of(const Shape& shape) {
  if (shape.side == 1) return {Layout::kRows};
  return {Layout::kChannelsFirst, Layout::kChannelsLast};
}

Case case_of(const Shape& s, Direction direction, Layout layout, bool is_double) {
  return {s.norm, direction, layout, s.batch, s.channels, s.side, is_double};
}

template <typename Shapes>
std::vector<Case> cases_of(const Shapes& shapes, bool is_double) {
  std::vector<Case> cases;
  for (const Direction direction : kDirections) {
    for (const Shape& shape : shapes) {
      for (const Layout layout : layouts_of(shape)) {
        cases.push_back(case_of(shape, direction, layout, is_double));
      }
    }
  }
  return cases;
}

}  // namespace

std::string Case::shape() const {
  const std::string rows = std::to_string(batch) + "x" + std::to_string(channels);
  if (side == 1) return rows;
  return rows + "x" + std::to_string(side) + "x" + std::to_string(side);
}

std::string Case::layout_text() const {
  if (layout == Layout::kColumns) return "columns";
  if (layout == Layout::kRows) return over_channels() ? "rows" : "N,C";
  return layout == Layout::kChannelsFirst ? "N,C,H,W" : "N,H,W,C";
}

std::string Case::family() const {
  std::string name = text_of(norm);
  std::transform(name.begin(), name.end(), name.begin(),
                 [](char c) { return c == ' ' ? '_' : static_cast<char>(std::tolower(c)); });
  name += (silu ? "_silu/" : "/") + text_of(direction);
  if (layout == Layout::kColumns) return name + "/columns";
  if (layout == Layout::kRows) return name;
  return name + (layout == Layout::kChannelsFirst ? "/nchw" : "/nhwc");
}

std::string Case::name() const { return family() + "/" + shape() + (is_double ? "/double" : "/float"); }

std::string text_of(Norm norm) {
  return norm == Norm::kBatch   ? "batch norm"
         : norm == Norm::kLayer ? "layer norm"
         : norm == Norm::kGroup ? "group norm"
         : norm == Norm::kRms   ? "RMS norm"
                                : "instance norm";
}

std::string text_of(Direction direction) {
  return direction == Direction::kForward    ? "forward"
         : direction == Direction::kBackward ? "backward"
                                             : "inference";
}

std::vector<Case> compared_cases(bool is_double) { return cases_of(kShapes, is_double); }

std::vector<Case> small_cases() {
  std::vector<Case> cases = cases_of(kSmallShapes, false);
  for (const auto& [norm, direction] : {std::pair(Norm::kBatch, Direction::kInference),
                                        {Norm::kLayer, Direction::kForward},
                                        {Norm::kLayer, Direction::kInference}}) {
    for (const Index channels : {8, 16, 64}) {
      for (const Index frames : {1, 16, 64}) {
        cases.push_back({norm, direction, Layout::kColumns, frames, channels});
      }
    }
  }
  return cases;
}

std::vector<Case> benchmarked_cases() {
  std::vector<Shape> batched;
  for (Shape shape : kBatchedShapes) {
    for (const Index batch : kBatches) {
      shape.batch = batch;
      const bool one_value =
          shape.norm == Norm::kBatch && batch * shape.side == 1;  // it does not train on it
      if (!one_value) batched.push_back(shape);
    }
  }
  std::vector<Case> cases = compared_cases(false);
  std::set<std::string> names;
  for (const Case& c : cases) names.insert(c.name());
  for (const std::vector<Case>& more :
       {cases_of(batched, false), small_cases(), cases_of(kInstanceShapes, false)}) {
    std::copy_if(more.begin(), more.end(), std::back_inserter(cases),
                 [&](const Case& c) { return names.insert(c.name()).second; });
  }
  return cases;
}

std::vector<OddCase> odd_cases() {
  std::vector<OddCase> cases;
  for (const Direction direction : kDirections) {
    for (const auto& [odd, round] : kOddShapes) {
      for (const Layout layout : layouts_of(odd)) {
        cases.push_back({case_of(odd, direction, layout, false), case_of(round, direction, layout, false)});
      }
    }
  }
  return cases;
}

}  // namespace evenkeel::benchmarks
