// Any call with any arguments: a right one is carried out and writes its outputs alone, a wrong one is refused by
// name and changes nothing.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <evenkeel/evenkeel.hpp>
#include <initializer_list>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "arguments.hpp"
#include "choices.hpp"
#include "support/same.hpp"
#include "support/shape.hpp"
#include "support/state.hpp"

namespace ek_test {
namespace {

enum class Norm { batch, layer, group, instance, rms };

/// The arguments of a layer and of its calls.
struct Setup {
  Norm norm;
  Shape features;  // but for layer norm one number, the channels
  Index groups = 1;
  double epsilon;
  std::optional<double> momentum;
  Index axis = 1, batch_axis = 0;
  bool has_axis = true, affine, bias, tracks;

  bool normalizes_features() const { return norm == Norm::layer || norm == Norm::rms; }
};

Setup any_setup(Choices& choices) {
  Setup s;
  s.norm = choices.one_of({Norm::batch, Norm::layer, Norm::group, Norm::rms, Norm::instance});
  const auto extent = [&] { return choices.rarely() ? choices.between(-2, 0) : choices.between(1, 6); };
  s.features.push_back(extent());
  if (s.normalizes_features()) {
    if (choices.rarely()) s.features.clear();
    for (Index more = choices.flag() ? 0 : choices.between(0, 8); more > 0; --more)
      s.features.push_back(extent());
  }
  s.groups = extent();
  s.epsilon = choices.rarely() ? choices.bits<double>() : choices.epsilon();
  s.momentum = choices.rarely() ? choices.bits<double>() : choices.momentum();
  s.axis = choices.rarely() ? choices.between(-10, 10) : choices.between(-2, 2);
  s.batch_axis = choices.rarely() ? choices.between(-10, 10) : choices.between(-2, 1);
  if (choices.rarely()) s.batch_axis = ek::no_axis;
  s.has_axis = !s.normalizes_features() || choices.flag();
  s.affine = choices.flag();
  s.bias = choices.flag();
  s.tracks = choices.flag();
  return s;
}

bool can_be_made(const Setup& s) {
  const auto is_positive = [](Index extent) { return extent > 0; };
  if (!std::isfinite(s.epsilon) || s.epsilon < 0) return false;
  if (s.features.empty() || s.features.size() > 8) return false;
  if (!std::all_of(s.features.begin(), s.features.end(), is_positive)) return false;
  if (s.normalizes_features()) return true;
  if (s.norm == Norm::group) return s.groups > 0 && s.features[0] % s.groups == 0;
  return !s.momentum || (*s.momentum >= 0 && *s.momentum <= 1);
}

/// A shape that suits the setup, or any.
Shape any_shape(Choices& choices, const Setup& s) {
  Shape shape;
  if (choices.rarely()) {
    for (Index rank = choices.between(0, 9); rank > 0; --rank) shape.push_back(choices.between(-1, 3));
    return shape;
  }
  for (Index rank = choices.between(2, 4); rank > 0; --rank) shape.push_back(choices.between(0, 4));
  const Index begin = s.has_axis ? wrapped(s.axis, shape) : rank_of(shape) - rank_of(s.features);
  for (Index i = 0; i < rank_of(s.features); ++i) {
    if (begin + i >= 0 && begin + i < rank_of(shape)) shape[at(begin + i)] = s.features[at(i)];
  }
  return shape;
}

bool has_batch_axis(const Setup& s) {
  return (s.norm == Norm::group || s.norm == Norm::instance) && s.batch_axis != ek::no_axis;
}

bool suits(const Setup& s, const Shape& shape, bool by_running = false) {
  const Index rank = rank_of(shape), count = s.normalizes_features() ? rank_of(s.features) : 1;
  const Index axis = s.has_axis ? wrapped(s.axis, shape) : rank - count;
  if (axis < 0 || axis + count > rank) return false;
  if (!std::equal(shape.begin() + axis, shape.begin() + axis + count, s.features.begin())) return false;
  if (!has_batch_axis(s) || by_running) return true;
  const Index batch = wrapped(s.batch_axis, shape);
  return batch >= 0 && batch < rank && batch != axis;
}

/// What forward saw last: x, and its values in the places by which backward knows it.
struct Seen {
  Argument x;
  std::vector<float> values;

  explicit Seen(const Argument& argument) : x(argument), values(values_of(argument)) {}

  static std::vector<float> values_of(const Argument& x) {
    std::vector<float> values;
    if (!x.is_usable() || x.size() == 0) return values;
    for (int k = 0; k < ek::detail::Fingerprint::kPlaces; ++k)
      values.push_back(x.data[x.offset(ek::detail::Fingerprint::place(k, x.size()))]);
    return values;
  }
  bool is(const Argument& other) const {
    const std::vector<float> now = values_of(other);
    return other.is_like(x) && now.size() == values.size() &&
           (now.empty() || std::memcmp(now.data(), values.data(), now.size() * sizeof(float)) == 0);
  }
};

/// Whether each set of its own has one value, where the norm needs two.
bool has_one_value(const Setup& s, const Shape& shape) {
  if (s.norm != Norm::batch && s.norm != Norm::instance) return false;
  const Index samples = has_batch_axis(s) ? shape[at(wrapped(s.batch_axis, shape))] : 1;
  return size_of(shape) == s.features[0] * samples && size_of(shape) > 0;
}

/// Does the call, and looks at what it did. Returns whether it was carried out.
template <typename Layer, typename Call>
bool expect(bool is_right, const Layer& layer, const Arena& arena, std::initializer_list<Argument> outputs,
            const std::string& name, Call call) {
  const std::vector<double> state = state_of(layer);
  const std::optional<std::string> refusal = outcome_of(is_right, name, arena, outputs, call, true);
  if (refusal && !same_bits(state_of(layer), state))
    broken(name + ": refusing changes no layer: " + *refusal);
  return !refusal;
}

/// What a call may fuse: an activation, a residual behind the norm, or a skip before it.
enum class Kind { none, activation, residual, skip };

template <typename Layer>
inline constexpr bool kHasSkip =
    std::is_same_v<Layer, ek::LayerNorm<float>> || std::is_same_v<Layer, ek::RMSNorm<float>>;

template <typename Layer>
class Calls {
 public:
  Calls(Choices& choices, const Setup& s, const Layer& layer)
      : choices_(choices), s_(s), layer_(layer), gap_(choices.flag() ? 0 : choices.between(1, 3)) {}

  void check() {
    for (int calls = 0; calls < 8; ++calls) {
      const Argument x = any_argument(choices_, arena_, shape(), choices_.layout(), any_gap());
      const Index function = choices_.between(0, HasRunningStatistics<Layer>::value ? 4 : 2);
      const Argument& used = seen_ && !choices_.rarely() ? seen_->x : x;
      if (function == 1) {
        check_backward(used);
      } else if (function == 3) {
        check_infer_backward(used);
      } else if (function == 4) {
        check_recompute(x);
      } else {
        check_forward(x, function == 0);
      }
    }
  }

 private:
  Shape shape() { return any_shape(choices_, s_); }
  Argument like(const Argument& model) {
    return another(
        choices_, arena_, model, [&] { return shape(); }, any_gap());
  }
  Index any_gap() { return gap_ > 0 && choices_.flag() ? gap_ : 0; }
  Kind any_kind() {
    if (choices_.flag()) return Kind::none;
    const Kind kind = choices_.one_of({Kind::activation, Kind::residual, Kind::skip});
    return kind == Kind::skip && !kHasSkip<Layer> ? Kind::residual : kind;
  }
  ek::detail::Behind<> any_activation() {
    switch (choices_.between(0, 2)) {
      case 0:
        return ek::relu();
      case 1:
        return ek::clip(-0.5, 1);
      default:
        return ek::leaky_relu(0.25);
    }
  }

  void check_forward(const Argument& x, bool trains) {
    const Argument y = like(x);
    const bool by_running = !trains && HasRunningStatistics<Layer>::value && s_.tracks;
    const bool is_right = is_right_forward(x, y, by_running);
    const auto call = [&](bool is_right_too, std::initializer_list<Argument> outputs, const auto&... fused) {
      const bool right = is_right && is_right_too;
      if (trains) {
        const Seen now(x);
        if (expect(right, layer_, arena_, outputs, "forward",
                   [&] { layer_.forward(x.view(), y.view(), fused()...); })) {
          seen_ = now;
          return true;
        }
      } else {
        expect(right, layer_, arena_, outputs, "infer",
               [&] { std::as_const(layer_).infer(x.view(), y.view(), fused()...); });
      }
      return false;
    };
    const Kind kind = any_kind();
    if (kind == Kind::none) {
      call(true, {y});
      return;
    }
    if (kind == Kind::activation) {
      call(true, {y}, [a = any_activation()] { return a; });
      return;
    }
    const Argument other = like(x), sum = like(x);
    const bool copies_x = x.true_gap() != y.true_gap();  // to y
    const bool other_is_right = other.is_usable() && other.is_like(x) && other.is_apart_or_same(y) &&
                                !(copies_x && other.overlaps(y));
    // Views live as long as the call.
    ek::TensorView<float> other_view, sum_view;
    if (kind == Kind::residual) {
      call(other_is_right, {y}, [&, a = any_activation()] {
        other_view = other.view();
        return ek::add(other_view).then(a);
      });
      return;
    }
    if constexpr (kHasSkip<Layer>) {
      const bool sum_is_right = sum.is_usable() && sum.is_like(x) && sum.is_apart_or_same(x) &&
                                sum.is_apart_or_same(other) && !sum.overlaps(y) &&
                                !(copies_x && sum.overlaps(x));
      if (call(other_is_right && sum_is_right, {y, sum}, [&] {
            other_view = other.view();
            sum_view = sum.view();
            return ek::residual_in(other_view, sum_view);
          })) {
        seen_ = Seen(sum);
      }
    }
  }

  bool is_right_forward(const Argument& x, const Argument& y, bool by_running) {
    return x.is_usable() && suits(s_, x.shape, by_running) && (by_running || !has_one_value(s_, x.shape)) &&
           y.is_usable() && y.is_like(x) && y.is_apart_or_same(x);
  }

  void check_recompute([[maybe_unused]] const Argument& x) {
    if constexpr (HasRunningStatistics<Layer>::value) {
      const Argument y = like(x);
      const bool is_right = is_right_forward(x, y, false);
      const Seen now(x);
      const Index batches = std::as_const(layer_).num_batches_tracked();
      if (expect(is_right, layer_, arena_, {y}, "recompute", [&] { layer_.recompute(x.view(), y.view()); }))
        seen_ = now;
      require(std::as_const(layer_).num_batches_tracked() == batches, "recompute tracks no batch");
    }
  }

  void check_infer_backward([[maybe_unused]] const Argument& x) {
    if constexpr (HasRunningStatistics<Layer>::value) {
      const Argument dy = like(x), dx = like(dy);
      const bool is_right = x.is_usable() && s_.tracks && suits(s_, x.shape, true) && dy.is_usable() &&
                            dy.is_like(x) && dx.is_usable() && dx.is_like(dy) && dx.is_apart_or_same(dy) &&
                            !dx.overlaps(x);
      expect(is_right, layer_, arena_, {dx}, "infer_backward",
             [&] { layer_.infer_backward(x.view(), dy.view(), dx.view()); });
    }
  }

  void check_backward(const Argument& x) {
    const Argument dy = like(x), dx = like(dy);
    const bool is_right = x.is_usable() && seen_ && seen_->is(x) && dy.is_usable() && dy.is_like(x) &&
                          dx.is_usable() && dx.is_like(dy) && dx.is_apart_or_same(dy) && !dx.overlaps(x);
    const auto call = [&](bool is_right_too, std::initializer_list<Argument> outputs, const auto&... fused) {
      expect(is_right && is_right_too, layer_, arena_, outputs, "backward",
             [&] { layer_.backward(x.view(), dy.view(), dx.view(), fused()...); });
    };
    const Kind kind = any_kind();
    if (kind == Kind::none) return call(true, {dx});
    if (kind == Kind::activation) return call(true, {dx}, [a = any_activation()] { return a; });
    const Argument other = like(x), d_residual = like(x);
    const bool other_is_right = other.is_usable() && other.is_like(x) && !other.overlaps(dx);
    ek::TensorView<float> other_view, d_view;
    if (kind == Kind::residual) {
      const bool d_is_right = d_residual.is_usable() && d_residual.is_like(x) && !d_residual.overlaps(x) &&
                              !d_residual.overlaps(dy) && !d_residual.overlaps(dx) &&
                              !d_residual.overlaps(other);
      return call(other_is_right && d_is_right, {dx, d_residual}, [&, a = any_activation()] {
        other_view = other.view();
        d_view = d_residual.view();
        return ek::add(other_view, d_view).then(a);
      });
    }
    if constexpr (kHasSkip<Layer>) {
      call(other_is_right, {dx}, [&] {
        other_view = other.view();
        return ek::plus(other_view);
      });
    }
  }

  Choices& choices_;
  const Setup& s_;
  Layer layer_;
  Index gap_;  // between steps of the slowest axis, of about half of the arguments
  Arena arena_ = filled_arena();
  std::optional<Seen> seen_;
};

/// The layer, or nothing where it cannot be made.
template <typename Make>
auto made(const Setup& s, Make make) {
  std::optional<decltype(make())> layer;
  refusal_of(can_be_made(s), "constructor", [&] { layer.emplace(make()); });
  return layer;
}

void check(Choices& choices) {
  const Setup s = any_setup(choices);
  const auto check_layer = [&](const auto& layer) {
    if (layer) Calls(choices, s, *layer).check();
  };
  if (s.norm == Norm::batch) {
    ek::BatchNormOptions options{s.epsilon, s.momentum, s.axis, s.affine, s.tracks};
    check_layer(made(s, [&] { return ek::BatchNorm<float>(s.features[0], options); }));
  } else if (s.norm == Norm::layer) {
    ek::LayerNormOptions options;
    options.epsilon = s.epsilon;
    if (s.has_axis) options.axis = s.axis;
    options.affine = s.affine;
    options.bias = s.bias;
    check_layer(made(s, [&] { return ek::LayerNorm<float>(s.features, options); }));
  } else if (s.norm == Norm::rms) {
    ek::RMSNormOptions options;
    options.epsilon = s.epsilon;
    if (s.has_axis) options.axis = s.axis;
    options.affine = s.affine;
    check_layer(made(s, [&] { return ek::RMSNorm<float>(s.features, options); }));
  } else if (s.norm == Norm::group) {
    ek::GroupNormOptions options{s.epsilon, s.axis, s.batch_axis, s.affine};
    check_layer(made(s, [&] { return ek::GroupNorm<float>(s.groups, s.features[0], options); }));
  } else {
    ek::InstanceNormOptions options{s.epsilon, s.momentum, s.axis, s.batch_axis, s.affine, s.tracks};
    check_layer(made(s, [&] { return ek::InstanceNorm<float>(s.features[0], options); }));
  }
}

}  // namespace
}  // namespace ek_test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ek_test::Choices choices(data, size);
  ek_test::check(choices);
  return 0;
}
