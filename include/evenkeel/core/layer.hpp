// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "evenkeel/core/fuse.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN

/// A view of values, or of const ones.
template <typename T>
using MapOf =
    Eigen::Map<std::conditional_t<std::is_const_v<T>, const Vector<std::remove_const_t<T>>, Vector<T>>>;

EVENKEEL_END
}  // namespace evenkeel::detail

/// Normalization layers, and the functions below them.
namespace evenkeel {
EVENKEEL_BEGIN

/// A parameter for an optimizer: for (auto p : layer.parameters()) p.value -= rate * p.grad. For a const layer, Param is
/// const.
template <typename Param>
struct Parameter {
  const char* name;            // "gamma" or "beta"
  detail::MapOf<Param> value;  // a view of the layer's values
  detail::MapOf<Param> grad;   // a view of the last gradient
};

/// A running statistic, which has to be saved together with the parameters.
template <typename Param>
struct Buffer {
  const char* name;            // "running_mean" or "running_var"
  detail::MapOf<Param> value;  // a view of the layer's values
};

/// The parameters or buffers that a layer has: at most two.
template <typename Item>
class NamedRange {
 public:
  /// Adds one, for the layer.
  void add(const Item& item) { items_[count_++].emplace(item); }

  /// An iterator over the items.
  class Iterator {
   public:
    /// Points to an item, or behind the last one.
    explicit Iterator(std::optional<Item>* at) : at_(at) {}
    /// What a range-based for calls.
    Item& operator*() const { return **at_; }
    Item* operator->() const { return &**at_; }
    Iterator& operator++() {
      ++at_;
      return *this;
    }
    bool operator==(const Iterator& other) const { return at_ == other.at_; }
    bool operator!=(const Iterator& other) const { return at_ != other.at_; }

   private:
    std::optional<Item>* at_;
  };

  /// The items in order, gamma before beta. Iterators are valid as long as the range exists.
  Iterator begin() { return Iterator(items_); }
  Iterator end() { return Iterator(items_ + count_); }
  /// The number of items, 0 to 2.
  std::size_t size() const { return count_; }

  /// The item with an index or a name: layer.parameters()["gamma"].value. Throws std::invalid_argument if there is none.
  Item operator[](std::size_t i) const {
    if (i >= count_) detail::fail({"", "operator[]"}, {"index is ", i, ", must be less than ", count_});
    return *items_[i];
  }
  Item operator[](std::string_view name) const {
    for (std::size_t i = 0; i < count_; ++i) {
      if (items_[i]->name == name) return *items_[i];
    }
    const char* const first = count_ > 0 ? items_[0]->name : "none";
    const char* const second = count_ > 1 ? items_[1]->name : "";
    detail::fail({"", "operator[]"}, {"no item is named ", std::string(name).c_str(), "; the names are ",
                                      first, count_ > 1 ? ", " : "", second});
  }

 private:
  std::optional<Item> items_[2];
  std::size_t count_ = 0;
};

/// The parameters of a layer: gamma, beta, both or none.
template <typename Param>
using ParameterRange = NamedRange<Parameter<Param>>;
/// The buffers of a layer: running_mean and running_var, or none.
template <typename Param>
using BufferRange = NamedRange<Buffer<Param>>;

/// The base of all layers: parameters, their gradients, the statistics that forward saves for backward, and the forms of
/// each call.
///
/// backward needs the unchanged x of forward. If forward writes y over x, the caller must keep a copy of x. backward compares
/// a few values of its x with those of forward's x, and refuses an x that differs; see checks_x.
///
/// Derived has kScope, kSets and, for arguments of any type, forward_call, backward_call and infer_call. It may have
/// forward_few and infer_few.
template <typename Derived, typename Scalar_>
class Layer {
 protected:
  using S = detail::KernelScalar<Scalar_>;  // whose kernels compute Scalar

  /// Whether an argument is a tensor, and what follows it at most one thing that is fused.
  template <typename Tensor, typename... Fused>
  static constexpr bool are_fused() {
    return !detail::IsFused<std::decay_t<Tensor>>::value && sizeof...(Fused) <= 1 &&
           (detail::IsFused<Fused>::value && ...);
  }

 public:
  /// The types of elements, of gamma and beta, and of statistics; see ScalarTraits.
  using Scalar = Scalar_;
  using Param = ParamOf<Scalar>;
  using Statistic = StatisticOf<Scalar>;

  /// Computes the statistics of x, normalizes x into y, and saves the statistics for backward. Without a device it runs on
  /// Eigen::DefaultDevice. Without y it returns a tensor of x's type; then x may not be a TensorView. The last argument may
  /// be an operation to fuse: see epilogue.hpp.
  template <typename X, typename Y, typename... Fused,
            std::enable_if_t<!detail::IsDevice<X>::value && are_fused<Y, Fused...>(), int> = 0>
  void forward(const X& x, Y&& y, const Fused&... fused) {
    run_forward(Eigen::DefaultDevice(), x, y, fused...);
  }
  template <typename Device, typename X, typename Y, typename... Fused,
            std::enable_if_t<detail::IsDevice<Device>::value && are_fused<Y, Fused...>(), int> = 0>
  void forward(const Device& device, const X& x, Y&& y, const Fused&... fused) {
    run_forward(device, x, y, fused...);
  }
  template <typename X, typename... Fused,
            std::enable_if_t<!detail::IsDevice<X>::value && are_fused<X, Fused...>(), int> = 0>
  auto forward(const X& x, const Fused&... fused) {
    return forward(Eigen::DefaultDevice(), x, fused...);
  }
  template <typename Device, typename X, typename... Fused,
            std::enable_if_t<detail::IsDevice<Device>::value && are_fused<X, Fused...>(), int> = 0>
  auto forward(const Device& device, const X& x, const Fused&... fused) {
    OwningOf<X> y;
    run_forward(device, x, y, fused...);
    return y;
  }

  /// Computes dx from dy and the x of the last forward. dy is the gradient of the loss with respect to y. Overwrites
  /// grad_gamma() and grad_beta(). Devices and results are as in forward. If forward fused an operation, pass the same one.
  template <typename X, typename Dy, typename Dx, typename... Fused,
            std::enable_if_t<!detail::IsDevice<X>::value && are_fused<Dx, Fused...>(), int> = 0>
  void backward(const X& x, const Dy& dy, Dx&& dx, const Fused&... fused) {
    run_backward(Eigen::DefaultDevice(), x, dy, dx, fused...);
  }
  template <typename Device, typename X, typename Dy, typename Dx, typename... Fused,
            std::enable_if_t<detail::IsDevice<Device>::value && are_fused<Dx, Fused...>(), int> = 0>
  void backward(const Device& device, const X& x, const Dy& dy, Dx&& dx, const Fused&... fused) {
    run_backward(device, x, dy, dx, fused...);
  }
  template <typename X, typename Dy, typename... Fused,
            std::enable_if_t<!detail::IsDevice<X>::value && are_fused<Dy, Fused...>(), int> = 0>
  auto backward(const X& x, const Dy& dy, const Fused&... fused) {
    return backward(Eigen::DefaultDevice(), x, dy, fused...);
  }
  template <typename Device, typename X, typename Dy, typename... Fused,
            std::enable_if_t<detail::IsDevice<Device>::value && are_fused<Dy, Fused...>(), int> = 0>
  auto backward(const Device& device, const X& x, const Dy& dy, const Fused&... fused) {
    OwningOf<X> dx;
    run_backward(device, x, dy, dx, fused...);
    return dx;
  }

  /// Normalizes x into y without changing the layer, so any number of threads may call it at once. Devices, results and
  /// fused operations are as in forward.
  template <typename X, typename Y, typename... Fused,
            std::enable_if_t<!detail::IsDevice<X>::value && are_fused<Y, Fused...>(), int> = 0>
  void infer(const X& x, Y&& y, const Fused&... fused) const {
    run_infer(Eigen::DefaultDevice(), x, y, fused...);
  }
  template <typename Device, typename X, typename Y, typename... Fused,
            std::enable_if_t<detail::IsDevice<Device>::value && are_fused<Y, Fused...>(), int> = 0>
  void infer(const Device& device, const X& x, Y&& y, const Fused&... fused) const {
    run_infer(device, x, y, fused...);
  }
  template <typename X, typename... Fused,
            std::enable_if_t<!detail::IsDevice<X>::value && are_fused<X, Fused...>(), int> = 0>
  auto infer(const X& x, const Fused&... fused) const {
    return infer(Eigen::DefaultDevice(), x, fused...);
  }
  template <typename Device, typename X, typename... Fused,
            std::enable_if_t<detail::IsDevice<Device>::value && are_fused<X, Fused...>(), int> = 0>
  auto infer(const Device& device, const X& x, const Fused&... fused) const {
    OwningOf<X> y;
    run_infer(device, x, y, fused...);
    return y;
  }

  /// The scale and the shift; empty if the layer has none. Gamma begins at 1 - gamma_offset and beta at 0. If the caller
  /// changes their size, every call throws std::invalid_argument.
  Vector<Param>& gamma() { return gamma_; }
  Vector<Param>& beta() { return beta_; }
  const Vector<Param>& gamma() const { return gamma_; }
  const Vector<Param>& beta() const { return beta_; }

  /// The gradients that the last backward wrote; 0 before the first.
  const Vector<Param>& grad_gamma() const { return grad_gamma_; }
  const Vector<Param>& grad_beta() const { return grad_beta_; }

  /// The statistics of the last forward, one entry per statistics set (the values that share one mean and variance); empty
  /// before the first forward. They are views that are valid until the next forward. Assign them to an Eigen array to keep
  /// the numbers.
  Eigen::Map<const Vector<Statistic>> saved_mean() const {
    return {moments_.mean.data(), moments_.keeps_mean ? moments_.size() : 0};
  }
  Eigen::Map<const Vector<Statistic>> saved_inv_std() const {
    return {moments_.inv_std.data(), moments_.size()};
  }

  /// {name, value, grad} of gamma and beta, if the layer has them.
  ParameterRange<Param> parameters() { return parameters_of<Param>(*this); }
  ParameterRange<const Param> parameters() const { return parameters_of<const Param>(*this); }

  /// Whether backward refuses an x that differs from forward's x in one of eight values; true by default. Set it to false to
  /// pass an x that is nearly the same, for example one that was stored with fewer digits or computed again.
  bool checks_x() const { return moments_.checks_x; }
  void checks_x(bool checks) { moments_.checks_x = checks; }

 protected:
  Layer(const detail::Caller& caller, double epsilon, double gamma_offset, Index params, bool has_gamma,
        bool has_beta)
      : gamma_size_(has_gamma ? params : 0), beta_size_(has_beta ? params : 0) {
    detail::check_epsilon(caller, epsilon);
    detail::check_gamma_offset(caller, gamma_offset);
    const auto create = [](Vector<Param>& value, Vector<Param>& grad, Index size, const Param& start) {
      value = detail::vector_of(size, start);
      grad = detail::vector_of(size, Param(0));
    };
    create(gamma_, grad_gamma_, gamma_size_, detail::from_double<Param>(1 - gamma_offset));
    create(beta_, grad_beta_, beta_size_, Param(0));
    moments_.keeps_mean_low = std::is_same_v<Statistic, ComputeOf<Scalar>>;  // else mean has the digits
    moments_.keeps_variance = false;
    moments_.keeps_room = true;
  }

  /// Keeps the shape and layout of forward's x, which check_x compares.
  void remember(const detail::Argument& x) {
    shape_ = x.shape;
    layout_ = x.layout;
  }

  void check_x(const detail::Caller& caller, const detail::Argument& x) const {
    detail::check_same_as_forwards(caller, x, shape_, layout_);
  }

  /// The same calls on a few rows, if that is what x and y are; see few_rows.hpp. A norm that has them hides these.
  template <typename X, typename Y>
  bool forward_few(const X&, Y&) {
    return false;
  }
  template <typename X, typename Y>
  bool infer_few(const X&, Y&) const {
    return false;
  }

  /// Checks that gamma and beta have the sizes that they began with: callers may resize them, or move the layer away.
  EVENKEEL_OUTLINE_MEMBER void check_params(const detail::Caller& caller) const {
    detail::check_size(caller, "gamma", gamma_.size(), gamma_size_);
    detail::check_size(caller, "beta", beta_.size(), beta_size_);
  }

  /// Whether gamma and beta are right for few rows.
  bool params_fit(const detail::FewRows<S>& rows) const {
    return rows.fit(gamma_, gamma_size_) && rows.fit(beta_, beta_size_);
  }

  template <typename X>
  struct Owning {
    using type = typename detail::ArgumentOf<X>::Owning;
    static_assert(!std::is_void_v<type>,
                  "evenkeel: a TensorView has no owning type; pass the output as well");
  };
  template <typename X, bool = detail::require_argument<X>()>
  struct OwningIf : Owning<X> {};
  template <typename X>
  struct OwningIf<X, false> {
    using type = int;
  };
  template <typename X>
  using OwningOf = typename OwningIf<X>::type;

  template <typename X>
  static constexpr void require_scalar() {
    static_assert(!detail::require_argument<X>() || std::is_same_v<detail::ScalarOf<X>, S>,
                  "evenkeel: x must have the layer's scalar type");
  }

  template <typename X, typename Dy, typename Dx>
  detail::BackwardArguments backward_arguments(const detail::Caller& caller, const X& x, const Dy& dy,
                                               Dx& dx) {
    return detail::backward_arguments(caller, x, dy, gamma_, dx, gamma_size_ > 0 ? &grad_gamma_ : nullptr,
                                      beta_size_ > 0 ? &grad_beta_ : nullptr);
  }

  Vector<Param> gamma_, beta_, grad_gamma_, grad_beta_;
  Index gamma_size_, beta_size_;  // how many there are
  Moments<Statistic> moments_;
  Vector<Statistic> workspace_;

 private:
  template <typename P, typename Self>
  static ParameterRange<P> parameters_of(Self& layer) {
    ParameterRange<P> range;
    const detail::Caller caller{Derived::kScope, "parameters"};
    layer.check_params(caller);
    const auto add = [&](const char* name, auto& value, auto& grad) {
      if (grad.size() != value.size()) detail::fail(caller, {"the layer was moved from"});
      if (value.size() > 0) range.add({name, {value.data(), value.size()}, {grad.data(), grad.size()}});
    };
    add("gamma", layer.gamma_, layer.grad_gamma_);
    add("beta", layer.beta_, layer.grad_beta_);
    return range;
  }

  /// Whether x is like the one that forward last took.
  template <typename X>
  bool remembers(const X& x) const {
    if constexpr (detail::ArgumentOf<X>::kIsArgument) {
      using Traits = detail::ArgumentOf<X>;
      bool is_same = Traits::rank(x) == shape_.rank() && Traits::layout(x) == layout_;
      for (int i = 0; is_same && i < shape_.rank(); ++i) is_same = Traits::extent(x, i) == shape_[i];
      return is_same;
    }
    return false;
  }

  template <typename Device, typename X, typename Y, typename... Fused>
  void run_forward(const Device& device, const X& x, Y& y, const Fused&... fused) {
    require_scalar<X>();
    if constexpr (sizeof...(Fused) == 0) {
      if (remembers(x) && static_cast<Derived&>(*this).forward_few(x, y)) return;
    }
    const detail::Caller caller{Derived::kScope, "forward"};
    check_params(caller);
    auto a = detail::forward_arguments(caller, x, gamma_, beta_, y);
    const auto what_is_fused = detail::fused_arguments<Derived::kSets, S, false>(caller, fused...);
    detail::attach(what_is_fused, a);
    static_cast<Derived&>(*this).forward_call(caller, detail::ParallelFor(device, a.x.size), a);
  }
  template <typename Device, typename X, typename Dy, typename Dx, typename... Fused>
  void run_backward(const Device& device, const X& x, const Dy& dy, Dx& dx, const Fused&... fused) {
    require_scalar<X>();
    const detail::Caller caller{Derived::kScope, "backward"};
    check_params(caller);
    auto a = backward_arguments(caller, x, dy, dx);
    a.beta = detail::param_argument<Param>(caller, "beta", beta_);
    const auto what_is_fused = detail::fused_arguments<Derived::kSets, S, true>(caller, fused...);
    detail::attach(what_is_fused, a);
    static_cast<Derived&>(*this).backward_call(caller, detail::ParallelFor(device, a.x.size), a);
  }
  template <typename Device, typename X, typename Y, typename... Fused>
  void run_infer(const Device& device, const X& x, Y& y, const Fused&... fused) const {
    require_scalar<X>();
    if constexpr (sizeof...(Fused) == 0) {
      if (static_cast<const Derived&>(*this).infer_few(x, y)) return;
    }
    const detail::Caller caller{Derived::kScope, "infer"};
    check_params(caller);
    auto a = detail::forward_arguments(caller, x, gamma_, beta_, y);
    const auto what_is_fused = detail::fused_arguments<Derived::kSets, S, false>(caller, fused...);
    detail::attach(what_is_fused, a);
    static_cast<const Derived&>(*this).infer_call(caller, detail::ParallelFor(device, a.x.size), a);
  }

  Shape shape_;
  Layout layout_ = row_major;
};

/// Writes a layer's text(): BatchNorm(64, epsilon=1e-05, ...). Stream is any type with <<, so that this header includes no
/// stream.
template <typename Stream, typename Derived, typename Scalar>
Stream& operator<<(Stream& stream, const Layer<Derived, Scalar>& layer) {
  stream << static_cast<const Derived&>(layer).text();
  return stream;
}

EVENKEEL_END
}  // namespace evenkeel
