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

/// Normalization layers, and the functions that they call.
namespace evenkeel {
EVENKEEL_BEGIN

/// A parameter as an optimizer sees it: for (auto p : layer.parameters()) p.value -= rate * p.grad; of a const layer,
/// Param is const.
template <typename Param>
struct Parameter {
  const char* name;            // "gamma" or "beta"
  detail::MapOf<Param> value;  // the layer's own, to be stepped
  detail::MapOf<Param> grad;   // what the last backward wrote
};

/// What a layer has beside its parameters, and is saved with them.
template <typename Param>
struct Buffer {
  const char* name;            // "running_mean" or "running_var"
  detail::MapOf<Param> value;  // the layer's own
};

/// The parameters or buffers that a layer has: at most two.
template <typename Item>
class NamedRange {
 public:
  /// Adds one, for the layer.
  void add(const Item& item) { items_[count_++].emplace(item); }

  /// A place in the range.
  class Iterator {
   public:
    /// At one of the range's items, or behind the last.
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

  /// The items in order, gamma before beta; good as long as the range.
  Iterator begin() { return Iterator(items_); }
  Iterator end() { return Iterator(items_ + count_); }
  /// How many there are: 0 to 2.
  std::size_t size() const { return count_; }

  /// The item at a place, or of a name: layer.parameters()["gamma"].value. std::invalid_argument if there is none.
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

/// The parameters that a layer has: gamma, beta, both or none.
template <typename Param>
using ParameterRange = NamedRange<Parameter<Param>>;
/// The buffers that it has: running_mean and running_var, or none.
template <typename Param>
using BufferRange = NamedRange<Buffer<Param>>;

/// What all layers share: parameters, their gradients, what forward saves for backward, and the forms of each call.
///
/// backward needs the x that forward had, unchanged: where y was x itself, the caller keeps a copy. It compares a few of
/// x's values with those that forward saw, and refuses another x; see checks_x.
///
/// Derived has kScope, kSets and, for arguments of any type, forward_call, backward_call and infer_call. It may have
/// forward_few and infer_few.
template <typename Derived, typename Scalar_>
class Layer {
 protected:
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

  /// Trains: normalizes x into y by x's own statistics, and keeps them for backward. Without a device it runs on
  /// Eigen::DefaultDevice. Without y it returns a tensor of x's kind; x may not be a TensorView then. What is fused
  /// comes last: see epilogue.hpp.
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

  /// Computes dx from the x that forward last took and dy, the loss's gradient by its y. Overwrites grad_gamma() and
  /// grad_beta(). Devices and results as in forward; what forward fused must be fused here too.
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

  /// Normalizes x into y and changes nothing in the layer, so that any number of threads may call it at once. Devices,
  /// results and what is fused as in forward.
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

  /// Scale and shift, one entry a parameter; empty where the layer has none. They begin at 1 - gamma_offset and 0. Any call refuses
  /// another size.
  Vector<Param>& gamma() { return gamma_; }
  Vector<Param>& beta() { return beta_; }
  const Vector<Param>& gamma() const { return gamma_; }
  const Vector<Param>& beta() const { return beta_; }

  /// What the last backward wrote; 0 before it.
  const Vector<Param>& grad_gamma() const { return grad_gamma_; }
  const Vector<Param>& grad_beta() const { return grad_beta_; }

  /// The last forward's statistics, one entry a statistics set; empty before it. Views, good until the next forward:
  /// assign them to an Eigen array to keep the numbers.
  Eigen::Map<const Vector<Statistic>> saved_mean() const {
    return {moments_.mean.data(), moments_.keeps_mean ? moments_.size() : 0};
  }
  Eigen::Map<const Vector<Statistic>> saved_inv_std() const {
    return {moments_.inv_std.data(), moments_.size()};
  }

  /// {name, value, grad} of gamma and beta, if the layer has them.
  ParameterRange<Param> parameters() { return parameters_of<Param>(*this); }
  ParameterRange<const Param> parameters() const { return parameters_of<const Param>(*this); }

  /// Whether backward refuses an x that differs from forward's in one of a few places: true at first. Switch it off to
  /// hand it an x that is nearly the same, such as one that was stored with fewer digits or computed again.
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
  bool params_fit(const detail::FewRows<Scalar>& rows) const {
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
    static_assert(!detail::require_argument<X>() || std::is_same_v<detail::ScalarOf<X>, Scalar>,
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
    const auto what_is_fused = detail::fused_arguments<Derived::kSets, Scalar, false>(caller, fused...);
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
    const auto what_is_fused = detail::fused_arguments<Derived::kSets, Scalar, true>(caller, fused...);
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
    const auto what_is_fused = detail::fused_arguments<Derived::kSets, Scalar, false>(caller, fused...);
    detail::attach(what_is_fused, a);
    static_cast<const Derived&>(*this).infer_call(caller, detail::ParallelFor(device, a.x.size), a);
  }

  Shape shape_;
  Layout layout_ = row_major;
};

/// Writes a layer's text(): BatchNorm(64, epsilon=1e-05, ...). Any stream will do, so that this needs no header of one.
template <typename Stream, typename Derived, typename Scalar>
Stream& operator<<(Stream& stream, const Layer<Derived, Scalar>& layer) {
  stream << static_cast<const Derived&>(layer).text();
  return stream;
}

EVENKEEL_END
}  // namespace evenkeel
