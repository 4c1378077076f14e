// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "evenkeel/core/layer.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN

// What layer norm and RMS norm share: a statistics set is one sample, and each of its features has a gamma.

/// The normalized axes of layer norm, Sets::features, or of RMS norm, Sets::rms.
template <Sets kSets>
struct Features : FeatureAxes {
  Features(const Shape& extents, std::optional<Index> first_axis, double epsilon, double gamma_offset)
      : FeatureAxes{extents, first_axis, {epsilon, kSets == Sets::rms, gamma_offset}} {}
};

template <typename S, Sets kSets>
void features_forward(const Caller& caller, const ParallelFor& loops, const ForwardArguments& a,
                      const Features<kSets>& f, Moments<StatisticOf<S>>* moments) {
  const Partition p = Core<S>::partition(caller, a.x, a.strides(), f);
  call_forward<kSets, S>(caller, loops, a, p, f.formula, moments);
}

template <typename S, Sets kSets>
void features_backward(const Caller& caller, const ParallelFor& loops, const BackwardArguments& a,
                       const Features<kSets>& f, const Moments<StatisticOf<S>>& moments,
                       Vector<StatisticOf<S>>& workspace) {
  const Partition p = Core<S>::partition(caller, a.x, a.strides(), f);
  call_backward<kSets, S>(caller, loops, a, p, f.formula, moments, workspace);
}

// The free functions. RMS norm has no beta; inference keeps no moments.

template <typename X>
inline constexpr Moments<StatisticOf<ScalarOf<X>>>* kNoMoments = nullptr;
template <typename X>
inline constexpr Vector<ParamOf<ScalarOf<X>>>* kNoGradient = nullptr;

template <Sets kSets, typename Device, typename X, typename Gamma, typename Beta, typename Y>
void features_forward(const Caller& caller, const Device& device, const X& x, const Features<kSets>& f,
                      const Gamma& gamma, const Beta& beta, Y& y,
                      Moments<StatisticOf<ScalarOf<X>>>* moments) {
  const auto a = forward_arguments(caller, x, gamma, beta, y);
  features_forward<ScalarOf<X>>(caller, ParallelFor(device, a.x.size), a, f, moments);
}

template <Sets kSets, typename Device, typename X, typename Dy, typename Gamma, typename Dx,
          typename GradGamma, typename GradBeta>
void features_backward(const Caller& caller, const Device& device, const X& x, const Dy& dy,
                       const Features<kSets>& f, const Gamma& gamma,
                       const Moments<StatisticOf<ScalarOf<X>>>& moments, Dx& dx, GradGamma* grad_gamma,
                       GradBeta* grad_beta) {
  const auto a = backward_arguments(caller, x, dy, gamma, dx, grad_gamma, grad_beta);
  Vector<StatisticOf<ScalarOf<X>>> workspace;
  features_backward<ScalarOf<X>>(caller, ParallelFor(device, a.x.size), a, f, moments, workspace);
}

/// The extents that a constructor was given; returns their product.
EVENKEEL_OUTLINE Index check_normalized_shape(const Caller& caller,
                                              const std::vector<Index>& normalized_shape,
                                              std::size_t param_bytes) {
  const auto rank = static_cast<Index>(normalized_shape.size());
  if (rank < 1 || rank > Shape::kMaxRank) {
    fail(caller, {"normalized_shape has rank ", rank, ", must have 1 to 8"});
  }
  for (const Index features : normalized_shape) check_positive(caller, "features", features);
  check_countable(caller, "normalized_shape", normalized_shape, param_bytes);
  return Shape(normalized_shape).size();
}

EVENKEEL_END
}  // namespace evenkeel::detail

namespace evenkeel {
EVENKEEL_BEGIN

/// The common base of LayerNorm and RMSNorm, which normalize over features. Derived has kScope and features_of(normalized_shape,
/// options).
template <typename Derived, typename Scalar, typename Options>
class FeatureLayer : public Layer<Derived, Scalar> {
  using Base = Layer<Derived, Scalar>;
  using typename Base::S;
  friend Base;

 public:
  /// The arguments of the constructor; one extent if it got a number of features.
  const std::vector<Index>& normalized_shape() const { return normalized_shape_; }
  const Options& options() const { return options_; }

 protected:
  FeatureLayer(const detail::Caller& caller, std::vector<Index>&& normalized_shape, const Options& options,
               bool has_beta)
      : Base(caller, options.epsilon, options.gamma_offset,
             detail::check_normalized_shape(caller, normalized_shape, sizeof(ParamOf<Scalar>)),
             options.affine, has_beta),
        normalized_shape_(std::move(normalized_shape)),
        options_(options) {}

 private:
  EVENKEEL_OUTLINE_MEMBER auto features() const { return Derived::features_of(normalized_shape_, options_); }

  void forward_call(const detail::Caller& caller, const detail::ParallelFor& loops,
                    const detail::ForwardArguments& a) {
    detail::features_forward<S>(caller, loops, a, features(), &this->moments_);
    this->remember(a.x);
  }

  void backward_call(const detail::Caller& caller, const detail::ParallelFor& loops,
                     const detail::BackwardArguments& a) {
    this->check_x(caller, a.x);
    detail::features_backward<S>(caller, loops, a, features(), this->moments_, this->workspace_);
  }

  void infer_call(const detail::Caller& caller, const detail::ParallelFor& loops,
                  const detail::ForwardArguments& a) const {
    detail::features_forward<S>(caller, loops, a, features(), nullptr);
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
    const detail::FewRows<S> rows =
        detail::few_rows<S>(x, y, options_.axis.value_or(-1), normalized_shape_[0]);
    if (rows.rows == 0 || !this->params_fit(rows) || (moments != nullptr && moments->used != rows.rows)) {
      return false;
    }
    detail::StatisticsOfSets<typename Base::Statistic> places;
    if (moments != nullptr) {
      moments->seen.take(rows.x, x.size());
      places = moments->places();
    }
    const detail::Formula formula{options_.epsilon, Derived::kSets == detail::Sets::rms,
                                  options_.gamma_offset};
    detail::Core<S>::template normalize_few_rows<Derived::kSets>(rows, formula, detail::data_of(this->gamma_),
                                                                 detail::data_of(this->beta_), places);
    return true;
  }

  std::vector<Index> normalized_shape_;
  Options options_;
};

EVENKEEL_END
}  // namespace evenkeel
