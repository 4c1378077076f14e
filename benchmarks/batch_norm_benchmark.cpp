#include <evenkeel/batch_norm.hpp>

#include "cases.hpp"

namespace evenkeel::benchmarks {
namespace {

struct BatchNormCases {
  static constexpr const char* kName = "batch_norm";
  static constexpr std::pair<Index, Index> kShapes[] = {{64, 56}, {256, 14}, {2048, 7}, {1024, 1}};

  static BatchNorm<float> layer(const Image& image) {
    BatchNormOptions options;
    options.axis = image.axis();
    options.momentum = 1;  // inference then has the statistics of the batch
    return BatchNorm<float>(image.channels, options);
  }
  static Index set(const Image&, Index, Index c, Index) { return c; }
};

const bool kAdded = add_cases<BatchNormCases>();

}  // namespace
}  // namespace evenkeel::benchmarks
