#include "case.hpp"

namespace evenkeel::peers {
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
    {Norm::kGroup, 1, 512, 96},  {Norm::kGroup, 8, 64, 56},
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
    {Norm::kBatch, 1, 64, 4}, {Norm::kBatch, 8, 64},    {Norm::kBatch, 8, 64, 7}, {Norm::kLayer, 1, 768},
    {Norm::kLayer, 32, 64},   {Norm::kGroup, 1, 64, 4}, {Norm::kGroup, 2, 64, 8},
};

std::vector<Layout> layouts_of(const Shape& shape) {
  if (shape.side == 1) return {Layout::kRows};
  return {Layout::kChannelsFirst, Layout::kChannelsLast};
}

Case case_of(const Shape& s, Direction direction, Layout layout, bool is_double) {
  return {s.norm, direction, layout, s.batch, s.channels, s.side, is_double};
}

template <std::size_t kCount>
std::vector<Case> cases_of(const Shape (&shapes)[kCount], bool is_double) {
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
  if (layout == Layout::kRows) return rows;
  return rows + "x" + std::to_string(side) + "x" + std::to_string(side);
}

std::string Case::layout_text() const {
  if (layout == Layout::kRows) return norm == Norm::kLayer ? "rows" : "N,C";
  return layout == Layout::kChannelsFirst ? "N,C,H,W" : "N,H,W,C";
}

std::string Case::name() const {
  std::string name = text_of(norm);
  name[name.find(' ')] = '_';
  name += "/" + text_of(direction);
  if (layout != Layout::kRows) name += layout == Layout::kChannelsFirst ? "/nchw" : "/nhwc";
  return name + "/" + shape() + (is_double ? "/double" : "/float");
}

std::string text_of(Norm norm) {
  return norm == Norm::kBatch ? "batch norm" : norm == Norm::kLayer ? "layer norm" : "group norm";
}

std::string text_of(Direction direction) {
  return direction == Direction::kForward    ? "forward"
         : direction == Direction::kBackward ? "backward"
                                             : "inference";
}

std::vector<Case> compared_cases(bool is_double) { return cases_of(kShapes, is_double); }

std::vector<Case> small_cases() { return cases_of(kSmallShapes, false); }

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

}  // namespace evenkeel::peers
