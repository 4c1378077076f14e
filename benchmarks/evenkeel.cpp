#define EIGEN_USE_THREADS

#include <algorithm>
#include <evenkeel/batch_norm.hpp>
#include <evenkeel/group_norm.hpp>
#include <evenkeel/instance_norm.hpp>
#include <evenkeel/layer_norm.hpp>
#include <evenkeel/rms_norm.hpp>
#include <memory>
#include <unsupported/Eigen/CXX11/Tensor>
#include <utility>
#include <vector>

#include "library.hpp"

namespace evenkeel::benchmarks {
namespace {

/// Over Eigen's own matrices.
template <typename Device, typename Layer>
Pass pass_of_columns(const std::shared_ptr<Device>& device, const std::shared_ptr<Layer>& layer,
                     Problem<float>& p) {
  const Eigen::Map<const Eigen::MatrixXf> x(p.x.data(), p.test.channels, p.test.batch);
  Eigen::Map<Eigen::MatrixXf> y(p.out.data(), p.test.channels, p.test.batch);
  if (p.inference()) return {[=]() mutable { std::as_const(*layer).infer(*device, x, y); }};
  return {[=]() mutable { layer->forward(*device, x, y); }};
}

template <typename Device, typename Layer, typename Scalar, typename... Fused>
Pass pass_of(const std::shared_ptr<Device>& device, const std::shared_ptr<Layer>& layer, Problem<Scalar>& p,
             const Fused&... fused) {
  std::copy(p.gamma.begin(), p.gamma.end(), layer->gamma().data());
  std::copy_n(p.beta.begin(), layer->beta().size(), layer->beta().data());
  if constexpr (std::is_same_v<Scalar, float>) {
    if (p.test.layout == Layout::kColumns) return pass_of_columns(device, layer, p);
  }
  const auto view_of = [d = p.test.dims()](auto* data) {
    if (d.size() == 2) return view(data, {d[0], d[1]}, row_major);
    return view(data, {d[0], d[1], d[2], d[3]}, row_major);
  };
  const auto x = view_of(std::as_const(p.x).data()), dy = view_of(p.dy.data()), out = view_of(p.out.data());
  if (p.inference()) return {[=] { std::as_const(*layer).infer(*device, x, out, fused...); }};
  if (!p.backward()) return {[=] { layer->forward(*device, x, out, fused...); }};
  layer->forward(*device, x, out, fused...);
  return {[=] { layer->backward(*device, x, dy, out, fused...); },
          [=, &p] {
            std::copy_n(layer->grad_gamma().data(), p.test.channels, p.grad_gamma.data());
            std::copy_n(layer->grad_beta().data(), layer->grad_beta().size(), p.grad_beta.data());
          }};
}

template <typename Device, typename Scalar>
std::optional<Pass> prepare(const std::shared_ptr<Device>& device, Problem<Scalar>& p) {
  const Layout layout = p.test.layout;
  const Index axis = layout == Layout::kColumns ? 0 : layout == Layout::kChannelsLast ? 3 : 1;
  const auto with_both = [&](auto options) {
    options.axis = axis;
    options.epsilon = p.test.epsilon;
    return options;
  };
  const auto pass = [&](const auto& layer) { return pass_of(device, layer, p); };
  const auto silu_pass = [&](const auto& layer) {  // only where a case has it, for the compile time's sake
    if constexpr (std::is_same_v<Scalar, float>) {
      if (p.test.silu) return pass_of(device, layer, p, silu());
    }
    return pass(layer);
  };
  const Index channels = p.test.channels;
  switch (p.test.norm) {
    case Norm::kLayer:
      return pass(std::make_shared<LayerNorm<Scalar>>(channels, with_both(LayerNormOptions())));
    case Norm::kRms:
      return pass(std::make_shared<RMSNorm<Scalar>>(channels, with_both(RMSNormOptions())));
    case Norm::kGroup:
      return silu_pass(std::make_shared<GroupNorm<Scalar>>(kGroups, channels, with_both(GroupNormOptions())));
    case Norm::kInstance: {
      InstanceNormOptions options = with_both(InstanceNormOptions());
      options.affine = true;
      return pass(std::make_shared<InstanceNorm<Scalar>>(channels, options));
    }
    case Norm::kBatch:
      break;
  }
  const auto layer = std::make_shared<BatchNorm<Scalar>>(channels, with_both(BatchNormOptions()));
  std::copy(p.running_mean.begin(), p.running_mean.end(), layer->running_mean().data());
  std::copy(p.running_var.begin(), p.running_var.end(), layer->running_var().data());
  return silu_pass(layer);
}

struct Pool {
  explicit Pool(int threads) : pool(threads), device(&pool, threads) {}

  Eigen::ThreadPool pool;
  Eigen::ThreadPoolDevice device;
};

template <typename Device>
Library library_on(const std::shared_ptr<Device>& device) {
  const std::string version = std::to_string(EVENKEEL_VERSION_MAJOR) + "." +
                              std::to_string(EVENKEEL_VERSION_MINOR) + "." +
                              std::to_string(EVENKEEL_VERSION_PATCH);
  return {"Evenkeel", version, [=](Problem<float>& p) { return prepare(device, p); },
          [=](Problem<double>& p) { return prepare(device, p); }};
}

}  // namespace
}  // namespace evenkeel::benchmarks

void evenkeel_add_peer(std::vector<evenkeel::benchmarks::Library>& libraries, int threads) {
  using namespace evenkeel::benchmarks;
  if (threads == 1) {
    libraries.push_back(library_on(std::make_shared<Eigen::DefaultDevice>()));
  } else {
    const auto pool = std::make_shared<Pool>(threads);
    libraries.push_back(library_on(std::shared_ptr<Eigen::ThreadPoolDevice>(pool, &pool->device)));
  }
}
