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

/// A tensor somewhere in the arena; rank and extents may be of no use. Its slowest axis may have a gap between its steps.
struct Argument {
  Shape shape;
  ek::Layout layout;
  float* data;
  Index gap = 0;

  Index size() const { return size_of(shape); }
  Index steps() const { return layout == ek::row_major ? shape.front() : shape.back(); }
  /// The gap, if there is anything between steps that have neighbours.
  Index true_gap() const { return is_view() && steps() > 1 && size() > steps() ? gap : 0; }
  Index span() const { return size() + (true_gap() == 0 ? 0 : (steps() - 1) * gap); }
  bool is_view() const {
    const auto is_extent = [](Index extent) { return extent >= 0; };
    return !shape.empty() && shape.size() <= 8 && std::all_of(shape.begin(), shape.end(), is_extent);
  }
  bool is_usable() const { return is_view() && (data != nullptr || size() == 0); }
  bool is_like(const Argument& other) const {
    return shape == other.shape && (layout == other.layout || shape.size() == 1);
  }
  bool overlaps(const Argument& other) const {
    return size() > 0 && other.size() > 0 && data < other.data + other.span() && other.data < data + span();
  }
  bool is_apart_or_same(const Argument& other) const {
    return !overlaps(other) || (data == other.data && true_gap() == other.true_gap());
  }
  /// Where the element lies that is number i in the order of memory.
  Index offset(Index i) const { return i + (true_gap() == 0 ? 0 : i / (size() / steps()) * gap); }
  ek::TensorView<float> view() const {
    ek::Shape strides;
    if (true_gap() > 0) {
      Shape each(shape.size());
      const Index rank = rank_of(shape);
      Index next = 1;
      for (Index i = 0; i < rank; ++i) {
        const Index axis = layout == ek::row_major ? rank - 1 - i : i;
        each[at(axis)] = next + (i == rank - 1 ? gap : 0);
        next *= shape[at(axis)];
      }
      strides = ek::Shape(each);
    }
    return ek::view(data, ek::Shape(shape), layout, strides);
  }
};

inline Argument any_argument(Choices& choices, Arena& arena, const Shape& shape, ek::Layout layout,
                             Index gap = 0) {
  Argument a{shape, layout, nullptr, gap};
  const Index span = a.is_view() ? a.span() : 0, room = static_cast<Index>(arena.size()) - span;
  if (room < 0) {
    a.shape = {1};
    return a;
  }
  if (!choices.rarely()) a.data = arena.data() + choices.between(0, room);
  return a;
}

/// Like `model`, or of another shape, which any_shape gives, or the model itself.
template <typename AnyShape>
Argument another(Choices& choices, Arena& arena, const Argument& model, AnyShape any_shape, Index gap = 0) {
  if (choices.rarely()) {
    const Shape shape = any_shape();
    return any_argument(choices, arena, shape, choices.layout(), gap);
  }
  if (choices.rarely()) return model;
  return any_argument(choices, arena, model.shape, model.layout, gap);
}

/// Does the call, which is right or not. Where it is refused: the message. With gaps a right call may be refused for its
/// strides.
template <typename Call>
std::optional<std::string> refusal_of(bool is_right, const std::string& name, Call call,
                                      bool has_gaps = false) {
  try {
    call();
  } catch (const std::invalid_argument& error) {
    const std::string refusal = error.what();
    if (refusal.rfind("evenkeel::", 0) != 0) broken(name + ": a refusal says who refuses: " + refusal);
    if (is_right && !(has_gaps && refusal.find("strides [") != std::string::npos))
      broken(name + ": a right call is carried out: " + refusal);
    return refusal;
  }
  if (!is_right) broken(name + ": a wrong call is refused");
  return std::nullopt;
}

/// The same of a call that writes `outputs`, and nothing where it is refused.
template <typename Call>
std::optional<std::string> outcome_of(bool is_right, const std::string& name, const Arena& arena,
                                      std::initializer_list<Argument> outputs, Call call,
                                      bool has_gaps = false) {
  Arena expected = arena;
  const std::optional<std::string> refusal = refusal_of(is_right, name, call, has_gaps);
  if (!refusal) {
    for (const Argument& output : outputs) {
      for (Index i = 0; i < output.size(); ++i)
        expected[at(output.data - arena.data() + output.offset(i))] = output.data[output.offset(i)];
    }
  }
  if (std::memcmp(arena.data(), expected.data(), sizeof(Arena)) != 0)  // bit for bit, since there may be NaN
    broken(name + ": a call writes its outputs alone");
  return refusal;
}

}  // namespace ek_test
