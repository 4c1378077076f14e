// Three norms as they are written by hand, each beside the call that replaces it: errors and times.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <evenkeel/evenkeel.hpp>
#include <limits>
#include <string>
#include <vector>

#include "../kit/random.hpp"
#include "../kit/table.hpp"
#include "loops.hpp"

namespace ek = evenkeel;
using Eigen::Index;
using loops::Rows;
using loops::Tensor;
using loops::Vector;
using Exact = std::vector<long double>;

namespace {

template <typename T>
void fill(T& values, float mean, float deviation, kit::Random& random) {
  for (Index i = 0; i < values.size(); ++i) {
    values.data()[i] = mean + deviation * static_cast<float>(random.normal());
  }
}

/// The mean and 1 / sqrt(variance + epsilon) of the values whose set is this one, in two passes.
struct ExactMoments {
  long double mean = 0, inv_std = 0;

  template <typename SetOf>
  ExactMoments(const float* x, Index size, Index set, const SetOf& set_of) {
    long double count = 0, variance = 0;
    for (Index i = 0; i < size; ++i) {
      if (set_of(i) == set) mean += x[i], ++count;
    }
    mean /= count;
    for (Index i = 0; i < size; ++i) {
      if (set_of(i) == set) variance += (x[i] - mean) * (x[i] - mean);
    }
    inv_std = 1 / std::sqrt(variance / count + 1e-5L);
  }
};

/// The greatest distance from the exact result, NaN if y has one.
double error(const float* y, const Exact& exact) {
  long double greatest = 0;
  for (std::size_t i = 0; i < exact.size(); ++i) {
    const long double distance = std::abs(y[i] - exact[i]);
    if (!(distance <= greatest)) greatest = distance;
    if (std::isnan(distance)) break;
  }
  return static_cast<double>(greatest);
}

struct Times {
  double loop = std::numeric_limits<double>::infinity(), call = loop;  // microseconds
};

/// The shortest of 21 times of each, in turn.
template <typename Loop, typename Call>
Times measure(const Loop& loop, const Call& call) {
  const auto time = [](const auto& work, double& shortest) {
    using Clock = std::chrono::steady_clock;
    const Clock::time_point start = Clock::now();
    work();
    shortest = std::min(shortest, std::chrono::duration<double, std::micro>(Clock::now() - start).count());
  };
  Times times;
  for (int i = 0; i < 21; ++i) {
    time(loop, times.loop);
    time(call, times.call);
  }
  return times;
}

class Report {
 public:
  /// y_loop and y_call: what loop and call write.
  template <typename T, typename Loop, typename Call>
  void add(const char* situation, const T& y_loop, const Loop& loop, const T& y_call, const Call& call,
           const Exact& exact) {
    const Times times = measure(loop, call);
    const double of_call = error(y_call.data(), exact);
    table_.add({situation, kit::formatted("%.1e", error(y_loop.data(), exact)),
                kit::formatted("%.1e", of_call), kit::formatted("%.0f", times.loop),
                kit::formatted("%.0f", times.call)});
    is_right_ = is_right_ && of_call < 5e-6;  // 5e-7 of max|gamma| max|xhat| + max|beta|, which is below 10
  }

  bool is_right() const { return is_right_; }
  void print() const { table_.print(); }

 private:
  kit::Table table_{{"situation", "loop's error", "call's error", "loop, us", "call, us"}, {"situation"}};
  bool is_right_ = true;
};

/// Before: sums of x and x^2, n - 1, and a loop for ReLU. After: infer with relu.
void group_norm_relu(const char* situation, float mean, kit::Random& random, Report& report) {
  const Index channels = 48, groups = 4;
  Tensor x(channels, 32, 64), y_loop(channels, 32, 64), y_call(channels, 32, 64);
  fill(x, mean, 1, random);
  ek::GroupNormOptions options;
  options.axis = 0;
  options.batch_axis = ek::no_axis;
  ek::GroupNorm<float> norm(groups, channels, options);
  fill(norm.gamma(), 1, 0.1f, random);
  fill(norm.beta(), 0, 0.1f, random);

  Exact exact(static_cast<std::size_t>(x.size()));
  const auto group_of = [&](Index i) { return i % channels / (channels / groups); };
  for (Index g = 0; g < groups; ++g) {
    const ExactMoments moments(x.data(), x.size(), g, group_of);
    for (Index i = 0; i < x.size(); ++i) {
      if (group_of(i) != g) continue;
      const long double z = (x.data()[i] - moments.mean) * moments.inv_std * norm.gamma()[i % channels] +
                            norm.beta()[i % channels];
      exact[static_cast<std::size_t>(i)] = std::max(z, 0.0L);
    }
  }
  report.add(
      situation, y_loop, [&] { loops::group_norm_relu(x, groups, norm.gamma(), norm.beta(), y_loop); },
      y_call, [&] { norm.infer(x, y_call, ek::relu()); }, exact);
}

/// Before: alpha x + skip and layer norm. After: infer with residual_in, and alpha in the weights of the layer before.
void skip_layer_norm(kit::Random& random, Report& report) {
  const Index rows = 256, features = 384;
  const float alpha = 0.5f;
  Rows x(rows, features), skip(rows, features), sum(rows, features), y_loop(rows, features),
      y_call(rows, features);
  fill(x, 0, 1, random);
  fill(skip, 1, 1, random);
  ek::LayerNorm<float> norm(features);
  fill(norm.gamma(), 1, 0.1f, random);
  fill(norm.beta(), 0, 0.1f, random);

  const Rows scaled = alpha * x, exact_sum = scaled + skip;
  Exact exact;
  for (Index r = 0; r < rows; ++r) {
    const ExactMoments moments(&exact_sum(r, 0), features, 0, [](Index) { return 0; });
    for (Index i = 0; i < features; ++i) {
      exact.push_back((exact_sum(r, i) - moments.mean) * moments.inv_std * norm.gamma()[i] + norm.beta()[i]);
    }
  }
  report.add(
      "alpha x + skip, layer norm", y_loop,
      [&] { loops::skip_layer_norm(x, alpha, skip, norm.gamma(), norm.beta(), sum, y_loop); }, y_call,
      [&] { norm.infer(scaled, y_call, ek::residual_in(skip, sum)); }, exact);
}

/// Before: a root and a division an element. After: infer with relu.
void batch_norm_relu(kit::Random& random, Report& report) {
  const Index rows = 2048, channels = 64;
  Rows x(rows, channels), y_loop(rows, channels), y_call(rows, channels);
  fill(x, 3, 2, random);
  ek::BatchNorm<float> norm(channels);
  fill(norm.gamma(), 1, 0.1f, random);
  fill(norm.beta(), 0, 0.1f, random);
  fill(norm.running_mean(), 3, 0.1f, random);
  fill(norm.running_var(), 4, 0.1f, random);

  Exact exact;
  for (Index n = 0; n < rows; ++n) {
    for (Index c = 0; c < channels; ++c) {
      const long double inv_std = 1 / std::sqrt(norm.running_var()[c] + 1e-5L);
      const long double z =
          (x(n, c) - static_cast<long double>(norm.running_mean()[c])) * inv_std * norm.gamma()[c] +
          norm.beta()[c];
      exact.push_back(std::max(z, 0.0L));
    }
  }
  report.add(
      "batch norm + ReLU in use", y_loop,
      [&] {
        loops::batch_norm_relu(x, norm.running_mean(), norm.running_var(), norm.gamma(), norm.beta(), y_loop);
      },
      y_call, [&] { norm.infer(x, y_call, ek::relu()); }, exact);
}

}  // namespace

int main() {
  kit::Random random(1);
  Report report;
  group_norm_relu("group norm + ReLU, column-major, mean 0", 0, random, report);
  group_norm_relu("the same, mean 1000", 1000, random, report);
  skip_layer_norm(random, report);
  batch_norm_relu(random, report);
  report.print();
  std::printf(
      "\nErrors are the greatest distances from the result in long double; times the shortest of 21, in "
      "turn.\n");
  return report.is_right() ? 0 : 1;
}
