// What a user of Eigen writes by hand: one tensor expression for each line of the formula.

#include <array>
#include <cmath>
#include <memory>
#include <unsupported/Eigen/CXX11/Tensor>

#include "setting.hpp"

namespace evenkeel::benchmarks {
namespace {

template <int... kAxes>
using Axes = Eigen::IndexList<Eigen::type2index<kAxes>...>;

/// Statistics are taken over StatisticAxes of x, gradients of the parameters summed over ParameterAxes.
template <typename Scalar, int kRank, typename StatisticAxes, typename ParameterAxes>
class Expressions {
  using Dims = std::array<Eigen::Index, kRank>;
  using Tensor = Eigen::Tensor<Scalar, kRank, Eigen::RowMajor>;
  using Map = Eigen::TensorMap<Tensor>;

 public:
  Expressions(Problem<Scalar>& p, const Dims& dims)
      : case_(p.test),
        dims_(dims),
        statistic_dims_(without<StatisticAxes>(dims)),
        parameter_dims_(without<ParameterAxes>(dims)),
        x_(p.x.data(), dims),
        dy_(p.dy.data(), dims),
        out_(p.out.data(), dims),
        gamma_(p.gamma.data(), parameter_dims_),
        beta_(p.beta.data(), parameter_dims_),
        grad_gamma_(p.grad_gamma.data(), parameter_dims_),
        grad_beta_(p.grad_beta.data(), parameter_dims_),
        mean_(statistic_dims_),
        inv_std_(statistic_dims_) {
    if (!case_.has_running_statistics()) return;
    running_mean_ = Map(p.running_mean.data(), statistic_dims_);
    running_var_ = Map(p.running_var.data(), statistic_dims_);
  }

  void forward() {
    if (!case_.has_mean()) return forward_rms();
    mean_ = x_.mean(StatisticAxes()).reshape(statistic_dims_);
    out_ = x_ - spread(mean_);
    const Tensor variance = out_.square().mean(StatisticAxes()).reshape(statistic_dims_);
    inv_std_ = (variance + epsilon()).rsqrt();
    out_ = out_ * spread(inv_std_) * spread(gamma_) + spread(beta_);
    if (case_.silu) out_ = out_ * out_.sigmoid();
    if (case_.has_running_statistics()) move_running_statistics(variance);
  }

  void backward() {
    if (!case_.has_mean()) return backward_rms();
    xhat_ = (x_ - spread(mean_)) * spread(inv_std_);
    if (case_.silu) take_slope_of_silu();
    const Map dz(case_.silu ? dz_.data() : dy_.data(), dims_);
    grad_beta_ = dz.sum(ParameterAxes()).reshape(parameter_dims_);
    grad_gamma_ = (dz * xhat_).sum(ParameterAxes()).reshape(parameter_dims_);
    out_ = dz * spread(gamma_);
    const Tensor mean = out_.mean(StatisticAxes()).reshape(statistic_dims_);
    const Tensor along = (out_ * xhat_).mean(StatisticAxes()).reshape(statistic_dims_);
    out_ = (out_ - spread(mean) - xhat_ * spread(along)) * spread(inv_std_);
  }

  void infer() {
    if (!case_.has_running_statistics()) return forward();
    const Tensor scale = gamma_ * (running_var_ + epsilon()).rsqrt();
    out_ = (x_ - spread(running_mean_)) * spread(scale) + spread(beta_);
    if (case_.silu) out_ = out_ * out_.sigmoid();
  }

 private:
  void forward_rms() {
    inv_std_ = (x_.square().mean(StatisticAxes()).reshape(statistic_dims_) + epsilon()).rsqrt();
    out_ = x_ * spread(inv_std_) * spread(gamma_);
  }

  void backward_rms() {
    xhat_ = x_ * spread(inv_std_);
    grad_gamma_ = (dy_ * xhat_).sum(ParameterAxes()).reshape(parameter_dims_);
    out_ = dy_ * spread(gamma_);
    const Tensor along = (out_ * xhat_).mean(StatisticAxes()).reshape(statistic_dims_);
    out_ = (out_ - xhat_ * spread(along)) * spread(inv_std_);
  }

  void take_slope_of_silu() {
    const auto z = xhat_ * spread(gamma_) + spread(beta_);
    dz_ = z.sigmoid();
    dz_ = dy_ * dz_ * (z * (Scalar{1} - dz_) + Scalar{1});
  }

  Scalar epsilon() const { return static_cast<Scalar>(case_.epsilon); }

  template <typename Reduced>
  static Dims without(Dims dims) {
    const Reduced axes;
    for (Eigen::Index i = 0; i < static_cast<Eigen::Index>(Reduced::count); ++i) {
      dims[static_cast<std::size_t>(axes[i])] = 1;
    }
    return dims;
  }

  /// Repeats what has length 1 over x.
  template <typename Narrow>
  auto spread(const Narrow& narrow) const {
    Dims times;
    for (std::size_t i = 0; i < kRank; ++i) times[i] = dims_[i] / narrow.dimensions()[i];
    return narrow.broadcast(times);
  }

  void move_running_statistics(const Tensor& variance) {
    const Scalar count = static_cast<Scalar>(case_.batch * case_.pixels());
    const Scalar momentum = static_cast<Scalar>(kMomentum);
    running_mean_ += momentum * (mean_ - running_mean_);
    running_var_ += momentum * (variance * (count / (count - 1)) - running_var_);
  }

  Case case_;
  Dims dims_, statistic_dims_, parameter_dims_;
  Map x_, dy_, out_, gamma_, beta_, grad_gamma_, grad_beta_;
  Tensor mean_, inv_std_, xhat_, dz_, running_mean_, running_var_;
};

template <typename StatisticAxes, typename ParameterAxes, typename Scalar, std::size_t kRank>
Pass pass_of(Problem<Scalar>& p, const std::array<Eigen::Index, kRank>& dims) {
  using Norm = Expressions<Scalar, static_cast<int>(kRank), StatisticAxes, ParameterAxes>;
  auto norm = std::make_shared<Norm>(p, dims);
  if (p.inference()) return {[norm] { norm->infer(); }};
  if (!p.backward()) return {[norm] { norm->forward(); }};
  norm->forward();
  return {[norm] { norm->backward(); }};
}

/// Of a matrix of channels x frames. Inference of batch norm is one product and sum a value, as those who care
/// about small tensors write it.
template <typename Scalar>
Pass pass_of_columns(Problem<Scalar>& p) {
  using Matrix = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic>;
  using Vector = Eigen::Array<Scalar, Eigen::Dynamic, 1>;
  const Eigen::Index channels = p.test.channels, frames = p.test.batch;
  const auto vector = [&](const Buffer<Scalar>& b) { return Eigen::Map<const Vector>(b.data(), channels); };
  const Eigen::Map<const Matrix> x(p.x.data(), channels, frames);
  Eigen::Map<Matrix> out(p.out.data(), channels, frames);
  const Scalar epsilon = static_cast<Scalar>(p.test.epsilon);
  if (p.test.norm == Norm::kBatch) {
    const Vector scale = vector(p.gamma) / (vector(p.running_var) + epsilon).sqrt();
    const Vector shift = vector(p.beta) - vector(p.running_mean) * scale;
    return {[=]() mutable { out.array() = (x.array().colwise() * scale).colwise() + shift; }};
  }
  const auto gamma = vector(p.gamma), beta = vector(p.beta);
  return {[=]() mutable {
    for (Eigen::Index frame = 0; frame < frames; ++frame) {
      auto y = out.col(frame).array();
      y = x.col(frame).array() - x.col(frame).mean();
      y = y / std::sqrt(y.square().mean() + epsilon) * gamma + beta;
    }
  }};
}

template <typename Scalar>
std::optional<Pass> prepare(Problem<Scalar>& p) {
  using Eigen::Index;
  const Case& c = p.test;
  if (c.layout == Layout::kColumns) return pass_of_columns(p);
  const Index n = c.batch, channels = c.channels, pixels = c.pixels(), groups = c.groups(),
              in_group = channels / groups;
  const bool first = c.layout == Layout::kChannelsFirst;
  switch (c.norm) {
    case Norm::kLayer:
    case Norm::kRms:
      if (first) return pass_of<Axes<1>, Axes<0, 2>>(p, std::array<Index, 3>{n, channels, pixels});
      return pass_of<Axes<1>, Axes<0>>(p, std::array<Index, 2>{n * pixels, channels});
    case Norm::kBatch:
      if (first) return pass_of<Axes<0, 2>, Axes<0, 2>>(p, std::array<Index, 3>{n, channels, pixels});
      return pass_of<Axes<0>, Axes<0>>(p, std::array<Index, 2>{n * pixels, channels});
    case Norm::kGroup:
    case Norm::kInstance:
      break;
  }
  if (first) return pass_of<Axes<2, 3>, Axes<0, 3>>(p, std::array<Index, 4>{n, groups, in_group, pixels});
  return pass_of<Axes<1, 3>, Axes<0, 1>>(p, std::array<Index, 4>{n, pixels, groups, in_group});
}

}  // namespace

Library eigen_library() {
  const std::string version = std::to_string(EIGEN_WORLD_VERSION) + "." +
                              std::to_string(EIGEN_MAJOR_VERSION) + "." + std::to_string(EIGEN_MINOR_VERSION);
  return {"Eigen expressions", version, prepare<float>, prepare<double>};
}

}  // namespace evenkeel::benchmarks
