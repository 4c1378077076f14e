// Shapes, storage orders and the map from a place in memory to its statistics set and its parameters.
// Everything is done by coordinates, axis by axis, so that it shares no idea with the library's own
// partition.
#pragma once

#include <Eigen/Core>
#include <cstddef>
#include <numeric>
#include <string>
#include <vector>

namespace ek_test {

using Index = Eigen::Index;
using Shape = std::vector<Index>;

inline std::size_t at(Index i) { return static_cast<std::size_t>(i); }

inline Index size_of(const Shape& shape) {
  return std::accumulate(shape.begin(), shape.end(), Index{1}, [](Index a, Index b) { return a * b; });
}

inline Index rank_of(const Shape& shape) { return static_cast<Index>(shape.size()); }

inline std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (std::size_t axis = 0; axis < shape.size(); ++axis)
    text += (axis ? ", " : "") + std::to_string(shape[axis]);
  return text + "]";
}

/// The axes from the slowest to the fastest in memory.
inline std::vector<Index> memory_order(Index rank, int order) {
  std::vector<Index> axes(at(rank));
  for (Index i = 0; i < rank; ++i) axes[at(i)] = order == Eigen::RowMajor ? i : rank - 1 - i;
  return axes;
}

/// The coordinates, in the caller's axes, of the next element in memory.
inline void advance(Shape& where, const Shape& shape, const std::vector<Index>& axes) {
  for (auto axis = axes.rbegin(); axis != axes.rend(); ++axis) {
    if (++where[at(*axis)] < shape[at(*axis)]) return;
    where[at(*axis)] = 0;
  }
}

/// The number of an element among the axes for which `counted` holds, in memory order.
inline Index number_among(const Shape& where, const Shape& shape, const std::vector<Index>& axes,
                          const std::vector<bool>& counted) {
  Index number = 0;
  for (Index axis : axes)
    if (counted[at(axis)]) number = number * shape[at(axis)] + where[at(axis)];
  return number;
}

/// For each place in memory: the statistics set it belongs to, and the gamma and beta that it meets.
struct IndexMap {
  std::vector<Index> set, parameter;
  Index sets = 0, parameters = 0;
  bool has_mean = true;  // RMS norm has none: its mean counts as 0

  Index size() const { return static_cast<Index>(set.size()); }
};

template <typename SetOf, typename ParameterOf>
IndexMap index_map(const Shape& shape, int order, Index sets, Index parameters, SetOf set_of,
                   ParameterOf parameter_of) {
  IndexMap map;
  map.sets = sets;
  map.parameters = parameters;
  const std::vector<Index> axes = memory_order(rank_of(shape), order);
  Shape where(shape.size(), 0);
  const Index size = size_of(shape);
  for (Index i = 0; i < size; ++i, advance(where, shape, axes)) {
    map.set.push_back(set_of(where));
    map.parameter.push_back(parameter_of(where));
  }
  return map;
}

inline Index wrapped(Index axis, const Shape& shape) { return axis < 0 ? axis + rank_of(shape) : axis; }

/// Batch norm: a set is a channel, and so is a parameter.
inline IndexMap batch_norm_map(const Shape& shape, int order, Index axis = 1) {
  const std::size_t channel = at(wrapped(axis, shape));
  const auto of = [channel](const Shape& where) { return where[channel]; };
  return index_map(shape, order, shape[channel], shape[channel], of, of);
}

/// Layer norm over `count` axes from `axis` on: the parameters number the normalized axes in memory order,
/// the sets number the others.
inline IndexMap layer_norm_map(const Shape& shape, int order, Index axis, Index count = 1) {
  const Index first = wrapped(axis, shape);
  std::vector<bool> normalized(shape.size(), false);
  Index features = 1;
  for (Index i = first; i < first + count; ++i) {
    normalized[at(i)] = true;
    features *= shape[at(i)];
  }
  std::vector<bool> others = normalized;
  others.flip();
  Index sets = 1;
  for (std::size_t i = 0; i < shape.size(); ++i)
    if (others[i]) sets *= shape[i];
  const std::vector<Index> axes = memory_order(rank_of(shape), order);
  return index_map(
      shape, order, sets, features,
      [&](const Shape& where) { return number_among(where, shape, axes, others); },
      [&](const Shape& where) { return number_among(where, shape, axes, normalized); });
}

/// RMS norm: layer norm without a mean.
inline IndexMap rms_norm_map(const Shape& shape, int order, Index axis, Index count = 1) {
  IndexMap map = layer_norm_map(shape, order, axis, count);
  map.has_mean = false;
  return map;
}

/// Group norm: a set is one sample's group of neighbouring channels, a parameter is a channel.
inline IndexMap group_norm_map(const Shape& shape, int order, Index groups, Index axis = 1,
                               Index batch_axis = 0) {
  const std::size_t channel = at(wrapped(axis, shape)), sample = at(wrapped(batch_axis, shape));
  const Index per_group = shape[channel] / groups;
  return index_map(
      shape, order, shape[sample] * groups, shape[channel],
      [=](const Shape& where) { return where[sample] * groups + where[channel] / per_group; },
      [=](const Shape& where) { return where[channel]; });
}

/// Instance norm: a set is one sample's channel.
inline IndexMap instance_norm_map(const Shape& shape, int order, Index axis = 1, Index batch_axis = 0) {
  return group_norm_map(shape, order, shape[at(wrapped(axis, shape))], axis, batch_axis);
}

}  // namespace ek_test
