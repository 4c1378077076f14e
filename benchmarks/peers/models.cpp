#include "models.hpp"

#include <cstddef>

namespace evenkeel::benchmarks {
namespace {

constexpr Norm kBatch = Norm::kBatch, kLayer = Norm::kLayer, kGroup = Norm::kGroup, kRms = Norm::kRms;
constexpr bool kSilu = true;

/// So many norms of batch x channels x side x side, or of rows x features.
struct Norms {
  int count;
  Norm norm;
  Index batch, channels, side = 1;
  bool silu = false;
};

template <std::size_t kSize>
constexpr int count_of(const Norms (&norms)[kSize], bool silu_alone = false) {
  int count = 0;
  for (const Norms& n : norms) count += n.silu || !silu_alone ? n.count : 0;
  return count;
}

// He, Zhang, Ren, Sun 2015, table 1; with the stride in the 3x3 convolution, as torchvision has it.
constexpr Norms kResNet50[] = {
    {1, kBatch, 32, 64, 112},                                                        // the stem
    {6, kBatch, 32, 64, 56},  {4, kBatch, 32, 256, 56},                              // 3 blocks
    {1, kBatch, 32, 128, 56}, {7, kBatch, 32, 128, 28},  {5, kBatch, 32, 512, 28},   // 4
    {1, kBatch, 32, 256, 28}, {11, kBatch, 32, 256, 14}, {7, kBatch, 32, 1024, 14},  // 6
    {1, kBatch, 32, 512, 14}, {5, kBatch, 32, 512, 7},   {4, kBatch, 32, 2048, 7},   // 3
};
static_assert(count_of(kResNet50) == 1 + 3 * 16 + 4);  // stem, blocks, projections

// Tan, Le 2019, table 1. SiLU is behind all but the last norm of a block.
constexpr Norms kEfficientNetB0[] = {
    {2, kBatch, 32, 32, 112, kSilu}, {1, kBatch, 32, 16, 112},        {1, kBatch, 32, 96, 112, kSilu},
    {1, kBatch, 32, 96, 56, kSilu},  {3, kBatch, 32, 144, 56, kSilu}, {2, kBatch, 32, 24, 56},
    {1, kBatch, 32, 144, 28, kSilu}, {3, kBatch, 32, 240, 28, kSilu}, {2, kBatch, 32, 40, 28},
    {1, kBatch, 32, 240, 14, kSilu}, {6, kBatch, 32, 480, 14, kSilu}, {3, kBatch, 32, 80, 14},
    {5, kBatch, 32, 672, 14, kSilu}, {3, kBatch, 32, 112, 14},        {1, kBatch, 32, 672, 7, kSilu},
    {8, kBatch, 32, 1152, 7, kSilu}, {4, kBatch, 32, 192, 7},         {1, kBatch, 32, 320, 7},
    {1, kBatch, 32, 1280, 7, kSilu},
};
static_assert(count_of(kEfficientNetB0) == 1 + 3 * 16 - 1 + 1);  // stem, blocks but one expansion, head
static_assert(count_of(kEfficientNetB0, kSilu) == 49 - 16);

// Dosovitskiy et al. 2020, table 1: 12 blocks of two norms and one behind, over 196 patches and a class token.
constexpr Norms kViTB16[] = {{2 * 12 + 1, kLayer, Index{32} * 197, 768}};

// Radford et al. 2019, table 2: 12 blocks of two norms and one behind.
constexpr Norms kGpt2Small[] = {{2 * 12 + 1, kLayer, Index{4} * 1024, 768}};

// Devlin et al. 2018: 12 blocks of two norms and one over the embeddings; without that of a head.
constexpr Norms kBertBase[] = {{2 * 12 + 1, kLayer, Index{8} * 512, 768}};

// Liu et al. 2022, table 9: one in each block, behind the stem, before each downsampling and in the head.
constexpr Norms kConvNeXtT[] = {
    {1 + 3 + 1, kLayer, 32, 96, 56}, {3 + 1, kLayer, 32, 192, 28}, {9 + 1, kLayer, 32, 384, 14},
    {3, kLayer, 32, 768, 7},         {1, kLayer, 32, 768},
};
static_assert(count_of(kConvNeXtT) == 1 + 18 + 3 + 1);

// Rombach et al. 2022, as the U-Net of Stable Diffusion 1 is configured: 320 channels times 1, 2, 4 and 4, with skip
// connections concatenated. SiLU is behind the norms of residual blocks and before the output; each of the 16
// transformers has a group norm without it and three layer norms over the pixels.
constexpr Norms kStableDiffusionUNet[] = {
    {8, kGroup, 2, 320, 64, kSilu},  {2, kGroup, 2, 640, 64, kSilu},  {1, kGroup, 2, 960, 64, kSilu},
    {1, kGroup, 2, 320, 32, kSilu},  {6, kGroup, 2, 640, 32, kSilu},  {1, kGroup, 2, 960, 32, kSilu},
    {1, kGroup, 2, 1280, 32, kSilu}, {1, kGroup, 2, 1920, 32, kSilu}, {1, kGroup, 2, 640, 16, kSilu},
    {6, kGroup, 2, 1280, 16, kSilu}, {1, kGroup, 2, 1920, 16, kSilu}, {2, kGroup, 2, 2560, 16, kSilu},
    {11, kGroup, 2, 1280, 8, kSilu}, {3, kGroup, 2, 2560, 8, kSilu},  {5, kGroup, 2, 320, 64},
    {5, kGroup, 2, 640, 32},         {5, kGroup, 2, 1280, 16},        {1, kGroup, 2, 1280, 8},
    {15, kLayer, 2 * 4096, 320},     {15, kLayer, 2 * 1024, 640},     {15, kLayer, 2 * 256, 1280},
    {3, kLayer, 2 * 64, 1280},
};
static_assert(count_of(kStableDiffusionUNet, kSilu) == 2 * 22 + 1);
static_assert(count_of(kStableDiffusionUNet) == 45 + 16 * (1 + 3));

// Touvron et al. 2023: 32 blocks of two norms and one behind.
constexpr Norms kLlama2[] = {{2 * 32 + 1, kRms, 1024, 4096}};

template <std::size_t kSize>
Model model_of(const std::string& name, const Norms (&norms)[kSize], Layout layout = Layout::kChannelsFirst) {
  Model model{name, count_of(norms), {}};
  for (const Norms& n : norms) {
    for (const Direction direction : {Direction::kForward, Direction::kBackward}) {
      Case test{n.norm, direction, n.side == 1 ? Layout::kRows : layout, n.batch, n.channels, n.side};
      test.silu = n.silu;
      model.passes.push_back({test, n.count});
    }
  }
  return model;
}

}  // namespace

std::vector<Model> models() {
  return {
      model_of("ResNet-50, 32 images", kResNet50),
      model_of("EfficientNet-B0, 32 images", kEfficientNetB0),
      model_of("ConvNeXt-T, N,C,H,W, 32 images", kConvNeXtT),
      model_of("ConvNeXt-T, N,H,W,C, 32 images", kConvNeXtT, Layout::kChannelsLast),
      model_of("ViT-B/16, 32 images", kViTB16),
      model_of("Stable Diffusion 1.5 U-Net, 2 images of 512x512", kStableDiffusionUNet),
      model_of("GPT-2 small, 4x1024 tokens", kGpt2Small),
      model_of("BERT-base, 8x512 tokens", kBertBase),
      model_of("Llama 2 7B, 1024 tokens", kLlama2),
  };
}

}  // namespace evenkeel::benchmarks
