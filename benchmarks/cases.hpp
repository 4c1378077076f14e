#pragma once

#include <benchmark/benchmark.h>

#include <cmath>
#include <evenkeel/evenkeel.hpp>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "time_against_floor.hpp"

// The cases that all norms share. A norm describes itself by
//
//   static constexpr const char* kName;
//   static constexpr std::pair<Index, Index> kShapes[];         channels and side of its images
//   static auto layer(const Image& image);                      its layer, gamma and beta as they begin
//   static Index set(const Image&, Index n, Index c, Index p);  which set sample n, channel c, pixel p is in

namespace evenkeel::benchmarks {

using Tensor = Eigen::Tensor<float, 4, Eigen::RowMajor>;

enum class Direction { kForward, kBackward, kInference };

/// A batch of square images: N,C,H,W or N,H,W,C.
struct Image {
  Index batch, channels, side;
  bool channels_first;

  Index axis() const { return channels_first ? 1 : 3; }
  Index pixels() const { return side * side; }

  Tensor tensor() const {
    return channels_first ? Tensor(batch, channels, side, side) : Tensor(batch, side, side, channels);
  }
};

/// Uniform values of mean 0.5 and variance 1.
inline Tensor random(const Image& image, unsigned seed) {
  std::mt19937 bits(seed);
  Tensor x = image.tensor();
  for (Index i = 0; i < x.size(); ++i) {
    const float unit = static_cast<float>(bits() >> 8) * 0x1p-24f;
    x.data()[i] = 0.5f + std::sqrt(12.0f) * (unit - 0.5f);
  }
  return x;
}

inline Traffic traffic(const Tensor& first, const Tensor* second, Tensor& output) {
  const auto bytes = [](const Tensor& t) { return reinterpret_cast<const char*>(t.data()); };
  return {bytes(first), second == nullptr ? nullptr : bytes(*second), reinterpret_cast<char*>(output.data()),
          output.size() * Index{sizeof(float)}};
}

struct Means {
  double count = 0, a = 0, ab = 0;
};

/// The means of a and of a * b over each statistics set.
template <typename Norm>
std::vector<Means> means(const Image& image, const Tensor& a, const Tensor& b) {
  std::vector<Means> sets;
  const Index outer = image.channels_first ? image.channels : image.pixels();
  const Index inner = a.size() / image.batch / outer;
  for (Index n = 0, i = 0; n < image.batch; ++n) {
    for (Index j = 0; j < outer; ++j) {
      for (Index k = 0; k < inner; ++k, ++i) {
        const Index set = image.channels_first ? Norm::set(image, n, j, k) : Norm::set(image, n, k, j);
        if (static_cast<std::size_t>(set) >= sets.size()) sets.resize(static_cast<std::size_t>(set) + 1);
        Means& m = sets[static_cast<std::size_t>(set)];
        m.count += 1;
        m.a += a.data()[i];
        m.ab += double{a.data()[i]} * b.data()[i];
      }
    }
  }
  for (Means& m : sets) {
    m.a /= m.count;
    m.ab /= m.count;
  }
  return sets;
}

inline constexpr double kTolerance = 1e-3;

/// Every set of y has mean 0 and variance 1; (n - 1) / n where the variance was the running, unbiased one.
template <typename Norm>
bool normalized(const Image& image, const Tensor& y, Direction direction) {
  for (const Means& m : means<Norm>(image, y, y)) {
    const double least = direction == Direction::kInference ? 1 - 1 / m.count : 1;
    if (!(std::abs(m.a) < kTolerance && m.ab > least - kTolerance && m.ab < 1 + kTolerance)) return false;
  }
  return true;
}

/// Over every set dx is orthogonal to 1 and to y, and it is dy's projection: not against dy.
template <typename Norm>
bool projected(const Image& image, const Tensor& y, const Tensor& dy, const Tensor& dx) {
  for (const Means& m : means<Norm>(image, dx, y)) {
    if (!(std::abs(m.a) < kTolerance && std::abs(m.ab) < kTolerance)) return false;
  }
  for (const Means& m : means<Norm>(image, dx, dy)) {
    if (!(m.ab > 0)) return false;
  }
  return true;
}

template <typename Norm>
void run(benchmark::State& state, bool channels_first, Direction direction) {
  const Image image{state.range(0), state.range(1), state.range(2), channels_first};
  const Tensor x = random(image, 1);
  Tensor y = image.tensor();
  auto layer = Norm::layer(image);
  layer.forward(x, y);
  if (direction == Direction::kBackward) {
    const Tensor dy = random(image, 2);
    Tensor dx = image.tensor();
    layer.backward(x, dy, dx);
    if (!projected<Norm>(image, y, dy, dx)) return state.SkipWithError("dx is wrong");
    time_against_floor(state, traffic(x, &dy, dx), [&] { layer.backward(x, dy, dx); });
    return;
  }
  const auto pass = [&] {
    direction == Direction::kForward ? layer.forward(x, y) : std::as_const(layer).infer(x, y);
  };
  y.setConstant(std::numeric_limits<float>::quiet_NaN());
  pass();
  if (!normalized<Norm>(image, y, direction)) return state.SkipWithError("y is not normalized");
  time_against_floor(state, traffic(x, nullptr, y), pass);
}

/// Registers a norm: all directions, both layouts, all batches of all its shapes.
template <typename Norm>
bool add_cases() {
  for (const auto& [direction, name] : {std::pair(Direction::kForward, "/forward"),
                                        {Direction::kBackward, "/backward"},
                                        {Direction::kInference, "/inference"}}) {
    for (const bool channels_first : {true, false}) {
      const std::string full_name = std::string(Norm::kName) + name + (channels_first ? "/nchw" : "/nhwc");
      auto* cases = benchmark::RegisterBenchmark(
          full_name.c_str(), [channels_first, direction = direction](benchmark::State& state) {
            run<Norm>(state, channels_first, direction);
          });
      cases->ArgNames({"batch", "channels", "side"})->UseManualTime()->Unit(benchmark::kMicrosecond);
      for (const auto& [channels, side] : Norm::kShapes) {
        for (const Index batch : {1, 8, 32, 128, 256}) {
          const bool one_value = batch * side == 1;  // per channel: batch norm does not train on it
          if (!one_value) cases->Args({batch, channels, side});
        }
      }
    }
  }
  return true;
}

}  // namespace evenkeel::benchmarks
