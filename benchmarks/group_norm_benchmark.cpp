#include <evenkeel/group_norm.hpp>

#include "cases.hpp"

namespace evenkeel::benchmarks {
namespace {

struct GroupNormCases {
  static constexpr const char* kName = "group_norm";
  static constexpr std::pair<Index, Index> kShapes[] = {{64, 56}, {256, 14}};
  static constexpr Index kGroups = 32;

  static GroupNorm<float> layer(const Image& image) {
    GroupNormOptions options;
    options.axis = image.axis();
    return GroupNorm<float>(kGroups, image.channels, options);
  }
  static Index set(const Image& image, Index n, Index c, Index) {
    return n * kGroups + c / (image.channels / kGroups);
  }
};

const bool kAdded = add_cases<GroupNormCases>();

}  // namespace
}  // namespace evenkeel::benchmarks
