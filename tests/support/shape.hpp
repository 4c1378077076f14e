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
std::vector<Index> memory_order(Index rank, int order);

/// The coordinates, in the caller's axes, of the next element in memory.
void advance(Shape& where, const Shape& shape, const std::vector<Index>& axes);

/// For each place in memory: the statistics set it belongs to, and the gamma and beta that it meets.
struct IndexMap {
  std::vector<Index> set, parameter;
  Index sets = 0, parameters = 0;
  bool has_mean = true;  // RMS norm has none: its mean counts as 0

  Index size() const { return static_cast<Index>(set.size()); }
};

inline Index wrapped(Index axis, const Shape& shape) { return axis < 0 ? axis + rank_of(shape) : axis; }

/// Batch norm: a set is a channel, and so is a parameter.
IndexMap batch_norm_map(const Shape& shape, int order, Index axis = 1);

/// Layer norm over `count` axes from `axis` on: the parameters number the normalized axes in memory order,
/// the sets number the others.
IndexMap layer_norm_map(const Shape& shape, int order, Index axis, Index count = 1);

/// RMS norm: layer norm without a mean.
IndexMap rms_norm_map(const Shape& shape, int order, Index axis, Index count = 1);

/// Group norm: a set is one sample's group of neighbouring channels, a parameter is a channel.
IndexMap group_norm_map(const Shape& shape, int order, Index groups, Index axis = 1, Index batch_axis = 0);

/// Instance norm: a set is one sample's channel.
IndexMap instance_norm_map(const Shape& shape, int order, Index axis = 1, Index batch_axis = 0);

}  // namespace ek_test
