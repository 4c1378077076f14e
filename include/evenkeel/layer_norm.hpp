#pragma once

#include "evenkeel/base/config.hpp"
#if EVENKEEL_IS_SUPPORTED

#include <optional>
#include <utility>
#include <vector>

#include "evenkeel/core/layer.hpp"

namespace evenkeel {
EVENKEEL_BEGIN

/// Options of LayerNorm. layer_norm_forward, _backward and _infer read epsilon and axis alone.
struct LayerNormOptions {
  double epsilon = 1e-5;                     // added to the variance, under the root
  std::optional<Index> axis = std::nullopt;  // the first one; negative from the last; nullopt: the last ones
  bool affine = true;                        // has gamma
  bool bias = true;                          // and beta
};

EVENKEEL_END
}  // namespace evenkeel

namespace evenkeel::detail {
EVENKEEL_BEGIN

/// The partition of x into samples and features, after a check that x has the normalized axes.
EVENKEEL_OUTLINE Partition layer_norm_partition(const Caller& caller, const Argument& x,
                                                const Shape& normalized_shape,
                                                const LayerNormOptions& options) {
  check_epsilon(caller, options.epsilon);
  const int axes = normalized_shape.rank();
  if (axes == 0) fail(caller, {"normalized_shape has rank 0, must have 1 to 8"});
  if (!options.axis && axes > x.shape.rank()) {
    fail(caller, {"normalized_shape has ", axes, " axes, x ", shown(x.shape), " has ", x.shape.rank()});
  }
  const int first = resolve_axis(caller, "axis", options.axis.value_or(-axes), x.shape);
  for (int i = 0; i < axes; ++i) {
    const int axis = first + i;
    if (axis >= x.shape.rank()) {
      fail(caller, {"normalized_shape has rank ", axes, " from axis ", first, " on, x ", shown(x.shape),
                    " has ", x.shape.rank() - first, " axes there"});
    }
    check_extent(caller, x.shape, axis, "feature", normalized_shape[i]);
  }
  const MemoryShape shape(x.shape, x.layout);
  const int a = shape.axis(first), b = shape.axis(first + axes - 1);
  return partition_features(shape, std::min(a, b), std::max(a, b) + 1);
}

template <typename S>
void layer_norm_forward(const Caller& caller, const ParallelFor& loops, const ForwardArguments& a,
                        const Shape& normalized_shape, const LayerNormOptions& options,
                        Moments<StatisticOf<S>>* moments) {
  const Partition p = layer_norm_partition(caller, a.x, normalized_shape, options);
  call_forward<Sets::features, S>(caller, loops, a, p, options.epsilon, moments);
}

template <typename S>
void layer_norm_backward(const Caller& caller, const ParallelFor& loops, const BackwardArguments& a,
                         const Shape& normalized_shape, const LayerNormOptions& options,
                         const Moments<StatisticOf<S>>& moments, Vector<StatisticOf<S>>& workspace) {
  const Partition p = layer_norm_partition(caller, a.x, normalized_shape, options);
  call_backward<Sets::features, S>(caller, loops, a, p, moments, workspace);
}

EVENKEEL_END
}  // namespace evenkeel::detail

namespace evenkeel {
EVENKEEL_BEGIN

/// Normalizes each sample of x over its features: over normalized_shape's axes, for each place on the other
/// axes.
///
///   y = (x - mean) / sqrt(variance + epsilon) * gamma + beta
///
/// Shapes       x, y: any of rank 1 to 8 with normalized_shape on adjacent axes; gamma, beta: as many values
///              as normalized_shape, in the order of x's memory, or empty for none; moments: one entry a
///              sample.
/// Types        stored as Scalar, computed in float (half, bfloat16, float) or Scalar, statistics in double
///              or wider.
/// Aliasing     y may be x.
/// Determinism  the same bits on every device and thread count.
/// Errors       std::invalid_argument when sizes differ, or when y overlaps x otherwise.
/// Source       Ba, Kiros, Hinton 2016, equations 3 and 4.
template <typename Device, typename X, typename Gamma, typename Beta, typename Y>
void layer_norm_forward(const Device& device, const X& x, const std::vector<Index>& normalized_shape,
                        const Gamma& gamma, const Beta& beta, const LayerNormOptions& options, Y&& y,
                        Moments<StatisticOf<detail::ScalarOf<X>>>& moments) {
  const detail::Caller caller{"", "layer_norm_forward"};
  const auto a = detail::forward_arguments(caller, x, gamma, beta, y);
  detail::layer_norm_forward<detail::ScalarOf<X>>(caller, detail::ParallelFor(device, a.x.size), a,
                                                  normalized_shape, options, &moments);
}

/// The same over one axis, as long as gamma.
template <typename Device, typename X, typename Gamma, typename Beta, typename Y>
void layer_norm_forward(const Device& device, const X& x, const Gamma& gamma, const Beta& beta,
                        const LayerNormOptions& options, Y&& y,
                        Moments<StatisticOf<detail::ScalarOf<X>>>& moments) {
  const detail::Caller caller{"", "layer_norm_forward"};
  const auto a = detail::forward_arguments(caller, x, gamma, beta, y);
  detail::layer_norm_forward<detail::ScalarOf<X>>(caller, detail::ParallelFor(device, a.x.size), a,
                                                  Shape{gamma.size()}, options, &moments);
}

/// The gradients of layer_norm_forward, from the moments that it left.
///
///   dx = inv_std (gamma dy - mean(gamma dy) - xhat mean(gamma dy xhat)),  grad_gamma = sum(dy xhat),
///   grad_beta = sum(dy), both over the samples
///
/// Shapes       dy, dx: x's; gamma as in layer_norm_forward; grad_gamma, grad_beta: resized where they can
///              be.
/// Types        as layer_norm_forward.
/// Aliasing     dx may be dy.
/// Determinism  the same bits on every device and thread count.
/// Errors       std::invalid_argument when sizes differ, when x is not what forward took, or when dx overlaps x, or dy
///              otherwise.
/// Source       Ba, Kiros, Hinton 2016, differentiated.
template <typename Device, typename X, typename Dy, typename Gamma, typename Dx, typename GradGamma,
          typename GradBeta>
void layer_norm_backward(const Device& device, const X& x, const Dy& dy,
                         const std::vector<Index>& normalized_shape, const Gamma& gamma,
                         const Moments<StatisticOf<detail::ScalarOf<X>>>& moments,
                         const LayerNormOptions& options, Dx&& dx, GradGamma&& grad_gamma,
                         GradBeta&& grad_beta) {
  const detail::Caller caller{"", "layer_norm_backward"};
  const auto a = detail::backward_arguments(caller, x, dy, gamma, dx, &grad_gamma, &grad_beta);
  Vector<StatisticOf<detail::ScalarOf<X>>> workspace;
  detail::layer_norm_backward<detail::ScalarOf<X>>(caller, detail::ParallelFor(device, a.x.size), a,
                                                   normalized_shape, options, moments, workspace);
}

/// The same over one axis, as long as gamma.
template <typename Device, typename X, typename Dy, typename Gamma, typename Dx, typename GradGamma,
          typename GradBeta>
void layer_norm_backward(const Device& device, const X& x, const Dy& dy, const Gamma& gamma,
                         const Moments<StatisticOf<detail::ScalarOf<X>>>& moments,
                         const LayerNormOptions& options, Dx&& dx, GradGamma&& grad_gamma,
                         GradBeta&& grad_beta) {
  const detail::Caller caller{"", "layer_norm_backward"};
  const auto a = detail::backward_arguments(caller, x, dy, gamma, dx, &grad_gamma, &grad_beta);
  Vector<StatisticOf<detail::ScalarOf<X>>> workspace;
  detail::layer_norm_backward<detail::ScalarOf<X>>(caller, detail::ParallelFor(device, a.x.size), a,
                                                   Shape{gamma.size()}, options, moments, workspace);
}

/// layer_norm_forward without moments.
template <typename Device, typename X, typename Gamma, typename Beta, typename Y>
void layer_norm_infer(const Device& device, const X& x, const std::vector<Index>& normalized_shape,
                      const Gamma& gamma, const Beta& beta, const LayerNormOptions& options, Y&& y) {
  const detail::Caller caller{"", "layer_norm_infer"};
  const auto a = detail::forward_arguments(caller, x, gamma, beta, y);
  detail::layer_norm_forward<detail::ScalarOf<X>>(caller, detail::ParallelFor(device, a.x.size), a,
                                                  normalized_shape, options, nullptr);
}

/// The same over one axis, as long as gamma.
template <typename Device, typename X, typename Gamma, typename Beta, typename Y>
void layer_norm_infer(const Device& device, const X& x, const Gamma& gamma, const Beta& beta,
                      const LayerNormOptions& options, Y&& y) {
  const detail::Caller caller{"", "layer_norm_infer"};
  const auto a = detail::forward_arguments(caller, x, gamma, beta, y);
  detail::layer_norm_forward<detail::ScalarOf<X>>(caller, detail::ParallelFor(device, a.x.size), a,
                                                  Shape{gamma.size()}, options, nullptr);
}

/// Layer normalization with its parameters.
///
///   y = (x - mean) / sqrt(variance + epsilon) * gamma + beta
///
/// infer is forward without what backward needs: it changes nothing in the layer.
///
/// Shapes       x: any of rank 1 to 8 with normalized_shape on adjacent axes from options.axis on, the last
///              axes by default. gamma and beta lie in the order of x's memory.
/// Types        stored as Scalar, computed in float (half, bfloat16, float) or Scalar, statistics in double
///              or wider.
/// Aliasing     y may be x in forward and infer, dx may be dy in backward; any other overlap is an error.
/// Determinism  the same bits on every device and thread count.
/// Errors       std::invalid_argument, with both numbers, before anything is written.
/// Source       Ba, Kiros, Hinton 2016.
template <typename Scalar = float>
class LayerNorm : public Layer<LayerNorm<Scalar>, Scalar> {
  using Base = Layer<LayerNorm, Scalar>;
  friend Base;

 public:
  /// Over one axis of so many features.
  explicit LayerNorm(Index features, LayerNormOptions options = {})
      : LayerNorm(std::vector<Index>{features}, options) {}

  /// Over adjacent axes of these extents, in the order of x's axes.
  explicit LayerNorm(std::vector<Index> normalized_shape, LayerNormOptions options = {})
      : Base(constructor(), options.epsilon, check_shape(normalized_shape), options.affine,
             options.affine && options.bias),
        normalized_shape_(std::move(normalized_shape)),
        options_(options) {}

  /// What the constructor was given; one extent where it was given features.
  const std::vector<Index>& normalized_shape() const { return normalized_shape_; }
  const LayerNormOptions& options() const { return options_; }

  /// "LayerNorm([64], epsilon=1e-05, axis=nullopt, affine=true, bias=true)", as << writes it.
  EVENKEEL_COLD std::string text() const {
    using detail::shown;
    const auto& o = options_;
    return detail::joined("LayerNorm(", {shown(Shape(normalized_shape_)), ", epsilon=", shown(o.epsilon),
                                         ", axis=", o.axis ? detail::Piece(*o.axis) : "nullopt",
                                         ", affine=", shown(o.affine), ", bias=", shown(o.bias), ")"});
  }

 private:
  static constexpr const char* kScope = "LayerNorm::";
  static constexpr detail::Caller constructor() { return {"LayerNorm::", "LayerNorm"}; }

  static Index check_shape(const std::vector<Index>& normalized_shape) {
    const auto rank = static_cast<Index>(normalized_shape.size());
    if (rank < 1 || rank > Shape::kMaxRank) {
      detail::fail(constructor(), {"normalized_shape has rank ", rank, ", must have 1 to 8"});
    }
    for (const Index features : normalized_shape) detail::check_positive(constructor(), "features", features);
    detail::check_countable(constructor(), "normalized_shape", normalized_shape, sizeof(ParamOf<Scalar>));
    return Shape(normalized_shape).size();
  }

  void forward_call(const detail::Caller& caller, const detail::ParallelFor& loops,
                    const detail::ForwardArguments& a) {
    detail::layer_norm_forward<Scalar>(caller, loops, a, normalized_shape_, options_, &this->moments_);
    this->remember(a.x);
  }

  void backward_call(const detail::Caller& caller, const detail::ParallelFor& loops,
                     const detail::BackwardArguments& a) {
    this->check_x(caller, a.x);
    detail::layer_norm_backward<Scalar>(caller, loops, a, normalized_shape_, options_, this->moments_,
                                        this->workspace_);
  }

  void infer_call(const detail::Caller& caller, const detail::ParallelFor& loops,
                  const detail::ForwardArguments& a) const {
    detail::layer_norm_forward<Scalar>(caller, loops, a, normalized_shape_, options_, nullptr);
  }

  template <typename X, typename Y>
  bool forward_few(const X& x, Y& y) {
    return normalize_few(x, y, &this->moments_);
  }
  template <typename X, typename Y>
  bool infer_few(const X& x, Y& y) const {
    return normalize_few(x, y, nullptr);
  }
  template <typename X, typename Y>
  bool normalize_few(const X& x, Y& y, Moments<typename Base::Statistic>* moments) const {
    if (normalized_shape_.size() != 1) return false;
    const detail::FewRows<Scalar> rows =
        detail::few_rows<Scalar>(x, y, options_.axis.value_or(-1), normalized_shape_[0]);
    if (rows.rows == 0 || !this->params_fit(rows) || (moments != nullptr && moments->used != rows.rows)) {
      return false;
    }
    detail::StatisticsOfSets<typename Base::Statistic> places;
    if (moments != nullptr) {
      moments->seen.take(rows.x, x.size());
      places = moments->places();
    }
    detail::Core<Scalar>::normalize_few_rows(rows, options_.epsilon, detail::data_of(this->gamma_),
                                             detail::data_of(this->beta_), places);
    return true;
  }

  std::vector<Index> normalized_shape_;
  LayerNormOptions options_;
};

EVENKEEL_END
}  // namespace evenkeel

#endif  // EVENKEEL_IS_SUPPORTED
