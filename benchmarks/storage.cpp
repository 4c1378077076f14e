// What 16 bits save: the time of float by that of half and of bfloat16, where values do not fit the caches. Prints the
// rows of a Markdown table.

#include <cmath>
#include <cstdio>
#include <evenkeel/batch_norm.hpp>
#include <evenkeel/group_norm.hpp>
#include <evenkeel/layer_norm.hpp>
#include <memory>
#include <string>
#include <utility>

#include "measure.hpp"
#include "problem.hpp"

namespace evenkeel::benchmarks {
namespace {

constexpr int kTurns = 15;
constexpr std::size_t kTypes = 3;  // float, half, bfloat16

/// forward, infer and backward of each type.
struct AllCalls {
  Calls of[3];
};

template <typename Layer>
void add(AllCalls& calls, Layer layer, const Shape& shape) {
  using Scalar = typename Layer::Scalar;
  struct Tensors {
    Layer layer;
    Buffer<Scalar> x, dy, out;
  };
  const auto t = std::make_shared<Tensors>(
      Tensors{std::move(layer), random_values<Scalar>(shape.size(), 0.5, 1, 1),
              random_values<Scalar>(shape.size(), 0.5, 1, 2), Buffer<Scalar>(shape.size())});
  const auto x = view(std::as_const(*t).x.data(), shape), dy = view(t->dy.data(), shape),
             out = view(t->out.data(), shape);
  calls.of[0].push_back([=] { t->layer.forward(x, out); });
  calls.of[1].push_back([=] { t->layer.infer(x, out); });
  calls.of[2].push_back([=] { t->layer.backward(x, dy, out); });
  t->layer.forward(x, out);
}

/// Sums of logarithms.
struct Means {
  double half = 0, bfloat16 = 0;
  int rows = 0;
};

void print(const std::string& norm, const Shape& shape, const AllCalls& calls, Means& means) {
  const char* directions[] = {"forward", "infer", "backward"};
  for (std::size_t i = 0; i < 3; ++i) {
    Turns turns(calls.of[i]);
    turns.take(kTurns);
    double ns[kTypes];
    for (std::size_t type = 0; type < kTypes; ++type)
      ns[type] = turns.timing(type).seconds * 1e9 / static_cast<double>(shape.size());
    std::printf("| %s `%s` | %s | %.2f | %.2f | %.2f | %.2f | %.2f |\n", norm.c_str(), directions[i],
                shape.text().c_str(), ns[0], ns[1], ns[2], ns[0] / ns[1], ns[0] / ns[2]);
    std::fflush(stdout);
    means.half += std::log(ns[0] / ns[1]);
    means.bfloat16 += std::log(ns[0] / ns[2]);
    ++means.rows;
  }
}

template <template <typename> class Layer, typename... Arguments>
void print(const std::string& norm, const Shape& shape, Means& means, const Arguments&... arguments) {
  AllCalls calls;
  add(calls, Layer<float>(arguments...), shape);
  add(calls, Layer<Eigen::half>(arguments...), shape);
  add(calls, Layer<Eigen::bfloat16>(arguments...), shape);
  print(norm, shape, calls, means);
}

void print_all() {
  std::printf("| call | x | float, ns an element | half | bfloat16 | half, times | bfloat16, times |\n");
  std::printf("|---|---|---:|---:|---:|---:|---:|\n");
  Means means;
  BatchNormOptions batch_last;
  batch_last.axis = -1;
  GroupNormOptions group_last;
  group_last.axis = -1;
  for (const auto& [channels, side] : {std::pair<Index, Index>(64, 112), {256, 56}, {1024, 14}}) {
    const Index batch = channels == 1024 ? 128 : 32;
    const Shape first = {batch, channels, side, side}, last = {batch, side, side, channels};
    print<BatchNorm>("batch norm, N,C,H,W", first, means, channels);
    print<BatchNorm>("batch norm, N,H,W,C", last, means, channels, batch_last);
    print<GroupNorm>("group norm, N,C,H,W", first, means, Index(32), channels);
    print<GroupNorm>("group norm, N,H,W,C", last, means, Index(32), channels, group_last);
  }
  for (const Index features : {64, 768, 4096})
    print<LayerNorm>("layer norm", {(Index(1) << 24) / features, features}, means, features);
  std::printf("| geometric mean | | | | | %.2f | %.2f |\n", std::exp(means.half / means.rows),
              std::exp(means.bfloat16 / means.rows));
}

}  // namespace
}  // namespace evenkeel::benchmarks

int main() { evenkeel::benchmarks::print_all(); }
