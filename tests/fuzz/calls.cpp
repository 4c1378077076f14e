// Any call with any arguments: a right one is carried out and writes its outputs alone, a wrong one is refused by
// name and changes nothing.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <evenkeel/evenkeel.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "arguments.hpp"
#include "choices.hpp"
#include "support/same.hpp"
#include "support/shape.hpp"
#include "support/state.hpp"

namespace ek_test {
namespace {

enum class Norm { batch, layer, group, instance };

/// The arguments of a layer and of its calls.
struct Setup {
  Norm norm;
  Shape features;  // but for layer norm one number, the channels
  Index groups = 1;
  double epsilon;
  std::optional<double> momentum;
  Index axis = 1, batch_axis = 0;
  bool has_axis = true, affine, bias, tracks;
};

Setup any_setup(Choices& choices) {
  Setup s;
  s.norm = choices.one_of({Norm::batch, Norm::layer, Norm::group, Norm::instance});
  const auto extent = [&] { return choices.rarely() ? choices.between(-2, 0) : choices.between(1, 6); };
  s.features.push_back(extent());
  if (s.norm == Norm::layer) {
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
  s.has_axis = s.norm != Norm::layer || choices.flag();
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
  if (s.norm == Norm::layer) return true;
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
  const Index rank = rank_of(shape), count = s.norm == Norm::layer ? rank_of(s.features) : 1;
  const Index axis = s.has_axis ? wrapped(s.axis, shape) : rank - count;
  if (axis < 0 || axis + count > rank) return false;
  if (!std::equal(shape.begin() + axis, shape.begin() + axis + count, s.features.begin())) return false;
  if (!has_batch_axis(s) || by_running) return true;
  const Index batch = wrapped(s.batch_axis, shape);
  return batch >= 0 && batch < rank && batch != axis;
}

/// Whether each set of its own has one value, where the norm needs two.
bool has_one_value(const Setup& s, const Shape& shape) {
  if (s.norm != Norm::batch && s.norm != Norm::instance) return false;
  const Index samples = has_batch_axis(s) ? shape[at(wrapped(s.batch_axis, shape))] : 1;
  return size_of(shape) == s.features[0] * samples && size_of(shape) > 0;
}

/// Does the call, and looks at what it did.
template <typename Layer, typename Call>
void expect(bool is_right, const Layer& layer, const Arena& arena, const Argument& out,
            const std::string& name, Call call) {
  const std::vector<double> state = state_of(layer);
  const std::optional<std::string> refusal = outcome_of(is_right, name, arena, {out}, call);
  if (refusal && !same_bits(state_of(layer), state))
    broken(name + ": refusing changes no layer: " + *refusal);
}

template <typename Layer>
void check_calls(Choices& choices, const Setup& s, Layer layer) {
  Arena arena = filled_arena();
  const auto shape = [&] { return any_shape(choices, s); };
  std::optional<Argument> seen;  // what forward saw last
  for (int calls = 0; calls < 8; ++calls) {
    const Argument x = any_argument(choices, arena, shape(), choices.layout());
    const Index kind = choices.between(0, HasRunningStatistics<Layer>::value ? 4 : 2);
    if (kind == 1 || kind == 3) {
      const bool is_frozen = kind == 3;
      const Argument& used = seen && !choices.rarely() ? *seen : x;
      const Argument dy = another(choices, arena, used, shape), dx = another(choices, arena, dy, shape);
      const bool has_statistics = is_frozen ? s.tracks && used.is_usable() && suits(s, used.shape, true)
                                            : seen && used.is_like(*seen);
      const bool is_right = used.is_usable() && has_statistics && dy.is_usable() && dy.is_like(used) &&
                            dx.is_usable() && dx.is_like(dy) && dx.is_apart_or_same(dy) && !dx.overlaps(used);
      if constexpr (HasRunningStatistics<Layer>::value) {
        if (is_frozen) {
          expect(is_right, layer, arena, dx, "infer_backward",
                 [&] { layer.infer_backward(used.view(), dy.view(), dx.view()); });
          continue;
        }
      }
      expect(is_right, layer, arena, dx, "backward",
             [&] { layer.backward(used.view(), dy.view(), dx.view()); });
      continue;
    }
    const Argument y = another(choices, arena, x, shape);
    const bool is_tracked = HasRunningStatistics<Layer>::value && s.tracks;
    const bool by_running = kind == 2 && is_tracked;
    const bool is_right = x.is_usable() && suits(s, x.shape, by_running) &&
                          (by_running || !has_one_value(s, x.shape)) && y.is_usable() && y.is_like(x) &&
                          y.is_apart_or_same(x);
    if (kind == 0) {
      expect(is_right, layer, arena, y, "forward", [&] { layer.forward(x.view(), y.view()); });
      if (is_right) seen = x;
    } else if (kind == 2) {
      const Layer& trained = layer;
      expect(is_right, layer, arena, y, "infer", [&] { trained.infer(x.view(), y.view()); });
    } else if constexpr (HasRunningStatistics<Layer>::value) {
      const Index batches = std::as_const(layer).num_batches_tracked();
      expect(is_right, layer, arena, y, "recompute", [&] { layer.recompute(x.view(), y.view()); });
      require(std::as_const(layer).num_batches_tracked() == batches, "recompute tracks no batch");
      if (is_right) seen = x;
    }
  }
}

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
    if (layer) check_calls(choices, s, *layer);
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
