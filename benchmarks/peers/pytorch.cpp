// PyTorch, by the functions that its autograd calls, without the graph.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <torch/version.h>

#include <algorithm>
#include <array>
#include <tuple>

#include "../library.hpp"

namespace evenkeel::benchmarks {
namespace {

/// Over a problem's memory. What PyTorch returns it allocates.
template <typename Scalar>
struct Tensors {
  explicit Tensors(const Problem<Scalar>& p)
      : test(p.test),
        x(image(p.x)),
        dy(image(p.dy)),
        gamma(vector(p.gamma)),
        beta(vector(p.beta)),
        running_mean(vector(p.running_mean).clone()),
        running_var(vector(p.running_var).clone()) {}

  /// N,C,H,W, whatever the layout; N,H,W,C for layer norm, which takes the last axis.
  at::Tensor image(const Buffer<Scalar>& values) const {
    const Index n = test.batch, c = test.channels, s = test.side;
    if (test.side == 1) return at::from_blob(values.data(), {n, c}, kType);
    const at::Tensor image =
        test.layout == Layout::kChannelsFirst
            ? at::from_blob(values.data(), {n, c, s, s}, kType)
            : at::from_blob(values.data(), {n, c, s, s}, {s * s * c, 1, s * c, c}, kType);
    return test.norm == Norm::kLayer ? image.permute({0, 2, 3, 1}) : image;
  }
  static at::Tensor vector(const Buffer<Scalar>& values) {
    return at::from_blob(values.data(), {values.size()}, kType);
  }

  static constexpr at::ScalarType kType = std::is_same_v<Scalar, float> ? at::kFloat : at::kDouble;

  Case test;
  at::Tensor x, dy, gamma, beta, running_mean, running_var;
};

using Triple = std::tuple<at::Tensor, at::Tensor, at::Tensor>;
constexpr std::array<bool, 3> kAllGradients = {true, true, true};

/// y, and what backward wants to have saved.
template <typename Scalar>
Triple forward(Tensors<Scalar>& t) {
  const Case& c = t.test;
  const bool training = c.direction != Direction::kInference;
  switch (c.norm) {
    case Norm::kBatch:
      return at::native_batch_norm(t.x, t.gamma, t.beta, t.running_mean, t.running_var, training, kMomentum,
                                   c.epsilon);
    case Norm::kLayer:
      return at::native_layer_norm(t.x, {c.channels}, t.gamma, t.beta, c.epsilon);
    case Norm::kRms:
    case Norm::kGroup:
    case Norm::kInstance:
      break;
  }
  return at::native_group_norm(t.x, t.gamma, t.beta, c.batch, c.channels, c.pixels(), c.groups(), c.epsilon);
}

/// dx, dgamma, dbeta.
template <typename Scalar>
Triple backward(Tensors<Scalar>& t, const at::Tensor& dy, const at::Tensor& mean, const at::Tensor& inv_std) {
  const Case& c = t.test;
  switch (c.norm) {
    case Norm::kBatch:
      return at::native_batch_norm_backward(dy, t.x, t.gamma, t.running_mean, t.running_var, mean, inv_std,
                                            true, c.epsilon, kAllGradients);
    case Norm::kLayer:
      return at::native_layer_norm_backward(dy, t.x, {c.channels}, mean, inv_std, t.gamma, t.beta,
                                            kAllGradients);
    case Norm::kRms:
    case Norm::kGroup:
    case Norm::kInstance:
      break;
  }
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 1)
  const at::Tensor &g = dy, &x = t.x;
#else  // knows only N,C,H,W, to which autograd brings the tensors
  const at::Tensor g = dy.contiguous(), x = t.x.contiguous();
#endif
  return at::native_group_norm_backward(g, x, mean, inv_std, t.gamma, c.batch, c.channels, c.pixels(),
                                        c.groups(), kAllGradients);
}

template <typename Scalar>
std::optional<Pass> prepare(Problem<Scalar>& p) {
  if (p.test.norm == Norm::kRms) return std::nullopt;
  auto t = std::make_shared<Tensors<Scalar>>(p);
  auto results = std::make_shared<Triple>(forward(*t));
  const auto deliver = [t, results, &p] {
    t->image(p.out).copy_(std::get<0>(*results));
    if (!p.backward()) return;
    t->vector(p.grad_gamma).copy_(std::get<1>(*results));
    t->vector(p.grad_beta).copy_(std::get<2>(*results));
  };
  if (!p.backward()) {
    return Pass{[t, results] {
                  *results = forward(*t);
                  if (t->test.silu) std::get<0>(*results) = at::silu(std::get<0>(*results));
                },
                deliver};
  }
  const at::Tensor z = t->test.silu ? std::get<0>(*results) : at::Tensor();
  return Pass{[t, results, z, mean = std::get<1>(*results), inv_std = std::get<2>(*results)] {
                *results = backward(*t, t->test.silu ? at::silu_backward(t->dy, z) : t->dy, mean, inv_std);
              },
              deliver};
}

}  // namespace
}  // namespace evenkeel::benchmarks

void evenkeel_add_peer(std::vector<evenkeel::benchmarks::Library>& libraries, int) {
  using namespace evenkeel::benchmarks;
  static const c10::InferenceMode no_graph;  // from now on, in this thread
  at::set_num_threads(1);
  libraries.push_back({"PyTorch", TORCH_VERSION, prepare<float>, prepare<double>});
}
