#define EIGEN_USE_THREADS

#include <algorithm>
#include <evenkeel/batch_norm.hpp>
#include <evenkeel/group_norm.hpp>
#include <evenkeel/instance_norm.hpp>
#include <evenkeel/layer_norm.hpp>
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

template <typename Device, typename Layer, typename Scalar>
Pass pass_of(const std::shared_ptr<Device>& device, const std::shared_ptr<Layer>& layer, Problem<Scalar>& p) {
  std::copy(p.gamma.begin(), p.gamma.end(), layer->gamma().data());
  std::copy(p.beta.begin(), p.beta.end(), layer->beta().data());
  if constexpr (std::is_same_v<Scalar, float>) {
    if (p.test.layout == Layout::kColumns) return pass_of_columns(device, layer, p);
  }
  const auto view_of = [d = p.test.dims()](auto* data) {
    if (d.size() == 2) return view(data, {d[0], d[1]}, row_major);
    return view(data, {d[0], d[1], d[2], d[3]}, row_major);
  };
  const auto x = view_of(std::as_const(p.x).data()), dy = view_of(p.dy.data()), out = view_of(p.out.data());
  if (p.inference()) return {[=] { std::as_const(*layer).infer(*device, x, out); }};
  if (!p.backward()) return {[=] { layer->forward(*device, x, out); }};
  layer->forward(*device, x, out);
  return {[=] { layer->backward(*device, x, dy, out); },
          [=, &p] {
            std::copy_n(layer->grad_gamma().data(), p.test.channels, p.grad_gamma.data());
            std::copy_n(layer->grad_beta().data(), p.test.channels, p.grad_beta.data());
          }};
}

template <typename Device, typename Scalar>
std::optional<Pass> prepare(const std::shared_ptr<Device>& device, Problem<Scalar>& p) {
  const Layout layout = p.test.layout;
  const Index axis = layout == Layout::kColumns ? 0 : layout == Layout::kChannelsLast ? 3 : 1;
  if (p.test.norm == Norm::kLayer) {
    LayerNormOptions options;
    options.axis = axis;
    options.epsilon = p.test.epsilon;
    return pass_of(device, std::make_shared<LayerNorm<Scalar>>(p.test.channels, options), p);
  }
  if (p.test.norm == Norm::kGroup) {
    GroupNormOptions options;
    options.axis = axis;
    options.epsilon = p.test.epsilon;
    return pass_of(device, std::make_shared<GroupNorm<Scalar>>(kGroups, p.test.channels, options), p);
  }
  if (p.test.norm == Norm::kInstance) {
    InstanceNormOptions options;
    options.axis = axis;
    options.epsilon = p.test.epsilon;
    options.affine = true;
    return pass_of(device, std::make_shared<InstanceNorm<Scalar>>(p.test.channels, options), p);
  }
  BatchNormOptions options;
  options.axis = axis;
  options.epsilon = p.test.epsilon;
  auto layer = std::make_shared<BatchNorm<Scalar>>(p.test.channels, options);
  std::copy(p.running_mean.begin(), p.running_mean.end(), layer->running_mean().data());
  std::copy(p.running_var.begin(), p.running_var.end(), layer->running_var().data());
  return pass_of(device, layer, p);
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
