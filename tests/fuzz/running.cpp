// Running statistics over many batches, against their recurrences in long double.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <evenkeel/evenkeel.hpp>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "choices.hpp"
#include "support/error.hpp"
#include "support/reference.hpp"

namespace ek_test {
namespace {

/// What a channel's statistics should be.
struct Expected {
  Real mean = 0, variance = 1;
  Index batches = 0;         // that moved it, or were assigned
  Real largest[2] = {0, 1};  // what the recurrences had to hold

  void move(Real batch_mean, Real batch_variance, const std::optional<double>& momentum) {
    ++batches;
    const Real weight = momentum ? static_cast<Real>(*momentum) : 1 / static_cast<Real>(batches);
    mean += weight * (batch_mean - mean);
    variance += weight * (batch_variance - variance);
    largest[0] = std::max(largest[0], std::max(std::fabs(batch_mean), std::fabs(mean)));
    largest[1] = std::max(largest[1], std::max(batch_variance, variance));
  }
};

/// Each step rounds to 48 bits of the largest value; `batch` is what the contract allows a batch's statistic.
void require_near(const char* what, double got, Real expected, Real largest, Real steps, Real batch) {
  const Real bound = batch + (steps + 4) * 0x1p-47L * largest + std::numeric_limits<double>::denorm_min();
  if (std::fabs(static_cast<Real>(got) - expected) <= bound) return;
  broken(std::string(what) + " is off by " +
         std::to_string(static_cast<double>((static_cast<Real>(got) - expected) / bound)) + " bounds");
}

template <typename Scalar>
void check_running(Choices& choices) {
  constexpr Index kChannels = 3;
  const Index rows = choices.between(2, 5), batches = choices.between(1, choices.rarely() ? 5000 : 200);
  ek::BatchNormOptions options;
  options.momentum = choices.flag()
                         ? choices.momentum()
                         : std::optional<double>(std::ldexp(1.0, -static_cast<int>(choices.between(1, 20))));
  ek::BatchNorm<Scalar> layer(kChannels, options);
  Expected expected[kChannels];
  Index rejected = 0;
  double centers[kChannels], spreads[kChannels];
  for (Index c = 0; c < kChannels; ++c) {
    centers[c] = std::ldexp(choices.flag() ? 1.0 : -1.0, static_cast<int>(choices.between(-30, 30)));
    spreads[c] = std::fabs(centers[c]) * std::ldexp(1.0, -static_cast<int>(choices.between(0, 20)));
  }
  const Index bad_batch = choices.between(0, 2 * batches), bad_channel = choices.between(0, kChannels - 1),
              assigned_batch = choices.between(0, 2 * batches);
  const auto seed = static_cast<std::uint32_t>(choices.between(0, 1 << 20));
  std::vector<Scalar> x(static_cast<std::size_t>(rows * kChannels)), y(x.size());
  const ek::Shape shape{rows, kChannels};
  std::uint32_t state = seed;
  Real steps = 0;
  for (Index batch = 0; batch < batches; ++batch) {
    for (std::size_t i = 0; i < x.size(); ++i) {
      state = state * 1664525u + 1013904223u;
      const std::size_t c = i % kChannels;
      x[i] = static_cast<Scalar>(centers[c] + spreads[c] * (static_cast<double>(state >> 8) * 0x1p-23 - 1));
    }
    const bool is_bad = batch == bad_batch;
    if (is_bad) x[static_cast<std::size_t>(bad_channel)] = std::numeric_limits<Scalar>::infinity();
    if (batch == assigned_batch) {  // what is assigned replaces what is kept
      layer.running_mean()[bad_channel] = Scalar(3);
      expected[bad_channel].mean = 3;
      expected[bad_channel].largest[0] = std::max<Real>(expected[bad_channel].largest[0], 3);
    }
    layer.forward(ek::view(x.data(), shape, ek::row_major), ek::view(y.data(), shape, ek::row_major));
    rejected += is_bad ? 1 : 0;
    steps += 1;
    for (Index c = 0; c < kChannels; ++c) {
      if (is_bad && c == bad_channel) continue;
      Real mean = 0, squares = 0;
      for (Index r = 0; r < rows; ++r)
        mean += static_cast<Real>(x[static_cast<std::size_t>(r * kChannels + c)]);
      mean /= static_cast<Real>(rows);
      for (Index r = 0; r < rows; ++r) {
        const Real d = static_cast<Real>(x[static_cast<std::size_t>(r * kChannels + c)]) - mean;
        squares += d * d;
      }
      expected[c].move(mean, squares / static_cast<Real>(rows - 1), options.momentum);
    }
  }
  require(layer.rejected_batches() == rejected, "a batch with a channel that is not finite is rejected once");
  require(layer.rejected_batches(bad_channel) == rejected,
          "the channel that was not finite is the rejected one");
  require(layer.num_batches_tracked() == batches, "a batch that moves a channel is tracked");
  const auto mean = layer.exact_running_mean(), variance = layer.exact_running_var();
  for (Index c = 0; c < kChannels; ++c) {
    constexpr Real kBound = Tolerance<Scalar>::y;  // of 1 / std, and of x on its scale
    const Real size = std::fabs(static_cast<Real>(centers[c])) + static_cast<Real>(spreads[c]);
    require_near("running mean", mean[c], expected[c].mean, std::max(size, expected[c].largest[0]), steps,
                 kBound * static_cast<Real>(spreads[c]));
    require_near("running variance", variance[c], expected[c].variance, expected[c].largest[1], steps,
                 2 * kBound * expected[c].largest[1]);
    const double shown = static_cast<double>(layer.running_mean()[c]);
    require(std::fabs(shown - mean[c]) <= 0.51 * std::numeric_limits<Scalar>::epsilon() * std::fabs(mean[c]),
            "running_mean is the kept mean, rounded");
  }
  ek::BatchNorm<Scalar> loaded(kChannels, options);
  loaded.set_running_stats(mean, variance);
  require((loaded.exact_running_mean() == mean).all() && (loaded.exact_running_var() == variance).all(),
          "what is loaded comes back");
}

}  // namespace
}  // namespace ek_test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ek_test::Choices choices(data, size);
  if (choices.flag()) {
    ek_test::check_running<float>(choices);
  } else {
    ek_test::check_running<double>(choices);
  }
  return 0;
}
