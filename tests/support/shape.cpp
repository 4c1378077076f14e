#include "shape.hpp"

namespace ek_test {

std::vector<Index> memory_order(Index rank, int order) {
  std::vector<Index> axes(at(rank));
  for (Index i = 0; i < rank; ++i) axes[at(i)] = order == Eigen::RowMajor ? i : rank - 1 - i;
  return axes;
}

void advance(Shape& where, const Shape& shape, const std::vector<Index>& axes) {
  for (auto axis = axes.rbegin(); axis != axes.rend(); ++axis) {
    if (++where[at(*axis)] < shape[at(*axis)]) return;
    where[at(*axis)] = 0;
  }
}

namespace {

/// The number of an element among the axes for which `counted` holds, in memory order.
Index number_among(const Shape& where, const Shape& shape, const std::vector<Index>& axes,
                   const std::vector<bool>& counted) {
  Index number = 0;
  for (Index axis : axes)
    if (counted[at(axis)]) number = number * shape[at(axis)] + where[at(axis)];
  return number;
}

template <typename SetOf, typename ParameterOf>
IndexMap index_map(const Shape& shape, int order, Index sets, Index parameters, SetOf set_of,
                   ParameterOf parameter_of) {
  IndexMap map;
  map.sets = sets;
  map.parameters = parameters;
  const std::vector<Index> axes = memory_order(rank_of(shape), order);
  Shape where(shape.size(), 0);
  const std::size_t size = at(size_of(shape));
  map.set.resize(size);
  map.parameter.resize(size);
  for (std::size_t i = 0; i < size; ++i, advance(where, shape, axes)) {
    map.set[i] = set_of(where);
    map.parameter[i] = parameter_of(where);
  }
  return map;
}

}  // namespace

IndexMap batch_norm_map(const Shape& shape, int order, Index axis) {
  const std::size_t channel = at(wrapped(axis, shape));
  const auto of = [channel](const Shape& where) { return where[channel]; };
  return index_map(shape, order, shape[channel], shape[channel], of, of);
}

IndexMap layer_norm_map(const Shape& shape, int order, Index axis, Index count) {
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

IndexMap rms_norm_map(const Shape& shape, int order, Index axis, Index count) {
  IndexMap map = layer_norm_map(shape, order, axis, count);
  map.has_mean = false;
  return map;
}

IndexMap group_norm_map(const Shape& shape, int order, Index groups, Index axis, Index batch_axis) {
  const std::size_t channel = at(wrapped(axis, shape)), sample = at(wrapped(batch_axis, shape));
  const Index per_group = shape[channel] / groups;
  return index_map(
      shape, order, shape[sample] * groups, shape[channel],
      [=](const Shape& where) { return where[sample] * groups + where[channel] / per_group; },
      [=](const Shape& where) { return where[channel]; });
}

IndexMap instance_norm_map(const Shape& shape, int order, Index axis, Index batch_axis) {
  return group_norm_map(shape, order, shape[at(wrapped(axis, shape))], axis, batch_axis);
}

}  // namespace ek_test
