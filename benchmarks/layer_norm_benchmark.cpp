#include <evenkeel/layer_norm.hpp>

#include "cases.hpp"

namespace evenkeel::benchmarks {
namespace {

/// Over the channels of each pixel: rows where channels are last, axis 1 of N,C,H,W where they are first.
struct LayerNormCases {
  static constexpr const char* kName = "layer_norm";
  static constexpr std::pair<Index, Index> kShapes[] = {{768, 1}, {768, 8}, {64, 8}, {16, 16}};

  static LayerNorm<float> layer(const Image& image) {
    LayerNormOptions options;
    options.axis = image.axis();
    return LayerNorm<float>(image.channels, options);
  }
  static Index set(const Image& image, Index n, Index, Index p) { return n * image.pixels() + p; }
};

const bool kAdded = add_cases<LayerNormCases>();

}  // namespace
}  // namespace evenkeel::benchmarks
