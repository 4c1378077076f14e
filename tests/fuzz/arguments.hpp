// Tensors somewhere in one array, right or not, and what calls do to it.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <evenkeel/evenkeel.hpp>
#include <initializer_list>
#include <optional>
#include <stdexcept>
#include <string>

#include "choices.hpp"
#include "support/shape.hpp"

namespace ek_test {

/// All memory that calls may see.
using Arena = std::array<float, 4096>;

inline Arena filled_arena() {
  Arena arena;
  for (std::size_t i = 0; i < arena.size(); ++i) arena[i] = static_cast<float>(i * 37 % 101) / 16 - 3;
  return arena;
}

/// A tensor somewhere in the arena; rank and extents may be of no use.
struct Argument {
  Shape shape;
  ek::Layout layout;
  float* data;

  Index size() const { return size_of(shape); }
  bool is_view() const {
    const auto is_extent = [](Index extent) { return extent >= 0; };
    return !shape.empty() && shape.size() <= 8 && std::all_of(shape.begin(), shape.end(), is_extent);
  }
  bool is_usable() const { return is_view() && (data != nullptr || size() == 0); }
  bool is_like(const Argument& other) const {
    return shape == other.shape && (layout == other.layout || shape.size() == 1);
  }
  bool overlaps(const Argument& other) const {
    return size() > 0 && other.size() > 0 && data < other.data + other.size() && other.data < data + size();
  }
  bool is_apart_or_same(const Argument& other) const { return !overlaps(other) || data == other.data; }
  ek::TensorView<float> view() const { return ek::view(data, ek::Shape(shape), layout); }
};

inline Argument any_argument(Choices& choices, Arena& arena, const Shape& shape, ek::Layout layout) {
  Argument a{shape, layout, nullptr};
  const Index size = a.is_view() ? a.size() : 0, room = static_cast<Index>(arena.size()) - size;
  if (room < 0) {
    a.shape = {1};
    return a;
  }
  if (!choices.rarely()) a.data = arena.data() + choices.between(0, room);
  return a;
}

/// Like `model`, or of another shape, which any_shape gives, or the model itself.
template <typename AnyShape>
Argument another(Choices& choices, Arena& arena, const Argument& model, AnyShape any_shape) {
  if (choices.rarely()) {
    const Shape shape = any_shape();
    return any_argument(choices, arena, shape, choices.layout());
  }
  if (choices.rarely()) return model;
  return any_argument(choices, arena, model.shape, model.layout);
}

/// Does the call, which is right or not. Where it is refused: the message.
template <typename Call>
std::optional<std::string> refusal_of(bool is_right, const std::string& name, Call call) {
  try {
    call();
  } catch (const std::invalid_argument& error) {
    const std::string refusal = error.what();
    if (refusal.rfind("evenkeel::", 0) != 0) broken(name + ": a refusal says who refuses: " + refusal);
    if (is_right) broken(name + ": a right call is carried out: " + refusal);
    return refusal;
  }
  if (!is_right) broken(name + ": a wrong call is refused");
  return std::nullopt;
}

/// The same of a call that writes `outputs`, and nothing where it is refused.
template <typename Call>
std::optional<std::string> outcome_of(bool is_right, const std::string& name, const Arena& arena,
                                      std::initializer_list<Argument> outputs, Call call) {
  Arena expected = arena;
  const std::optional<std::string> refusal = refusal_of(is_right, name, call);
  if (!refusal) {
    for (const Argument& output : outputs) {
      if (output.size() > 0)
        std::copy_n(output.data, output.size(), &expected[at(output.data - arena.data())]);
    }
  }
  if (std::memcmp(arena.data(), expected.data(), sizeof(Arena)) != 0)  // bit for bit, since there may be NaN
    broken(name + ": a call writes its outputs alone");
  return refusal;
}

}  // namespace ek_test
