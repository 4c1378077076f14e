// A partition's loops, walked element by element, against the coordinates of every element.
#include "evenkeel/core/partition.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/shape.hpp"
#include "support/shapes.hpp"

namespace ek_test {
namespace {

namespace ek = evenkeel;
namespace detail = ek::detail;

detail::MemoryShape memory_shape(const Shape& shape) {
  return detail::MemoryShape(ek::Shape(shape), ek::row_major);
}

/// Every element is met once, in the set and with the parameter that the map says.
void expect_partition(const detail::Partition& p, const IndexMap& map) {
  EXPECT_EQ(p.sets(), map.sets);
  EXPECT_EQ(p.params(), map.parameters);
  ASSERT_EQ(p.size(), map.size());
  std::vector<int> met(map.set.size(), 0);
  int wrong = 0;
  const auto meet = [&](Index where, Index set, Index param) {
    ASSERT_TRUE(where >= 0 && where < map.size());
    ++met[at(where)];
    wrong += map.set[at(where)] != set || map.parameter[at(where)] != param;
  };
  const detail::Lines cell = p.cell_lines();
  for (Index set = 0; set < p.sets(); ++set)
    for (Index channel = 0; channel < p.channel.extent; ++channel)
      for (Index outer = 0; outer < cell.outer; ++outer)
        for (Index inner = 0; inner < cell.inner; ++inner)
          for (Index i = 0; i < cell.length; ++i)
            meet(p.offset(set) + channel * p.channel.stride + outer * cell.outer_stride +
                     inner * cell.inner_stride + i,
                 set, p.first_param(set) + channel);
  EXPECT_EQ(wrong, 0) << "elements with another set or parameter than they should have";
  EXPECT_EQ(met, std::vector<int>(met.size(), 1));
}

TEST(Partition, OfChannels) {
  for (const Shape& shape : small_shapes())
    for (Index axis = 0; axis < rank_of(shape); ++axis) {
      SCOPED_TRACE(to_string(shape) + " axis " + std::to_string(axis));
      expect_partition(detail::partition_channels(memory_shape(shape), static_cast<int>(axis)),
                       batch_norm_map(shape, Eigen::RowMajor, axis));
    }
}

TEST(Partition, OfFeatures) {
  for (const Shape& shape : small_shapes())
    for (Index axis = 0; axis < rank_of(shape); ++axis)
      for (Index count = 1; axis + count <= rank_of(shape); ++count) {
        SCOPED_TRACE(to_string(shape) + " axis " + std::to_string(axis) + ", " + std::to_string(count) +
                     " axes");
        expect_partition(detail::partition_features(memory_shape(shape), static_cast<int>(axis),
                                                    static_cast<int>(axis + count)),
                         layer_norm_map(shape, Eigen::RowMajor, axis, count));
      }
}

// As of one sample.
TEST(Partition, OfGroupsWithoutABatchAxis) {
  for (const Shape& shape : small_shapes())
    for (Index axis = 0; axis < rank_of(shape); ++axis)
      for (Index groups = 1; groups <= shape[at(axis)]; ++groups) {
        if (shape[at(axis)] % groups != 0) continue;
        SCOPED_TRACE(to_string(shape) + " axis " + std::to_string(axis) + ", " + std::to_string(groups) +
                     " groups");
        Shape sample = shape;
        sample.insert(sample.begin(), 1);
        expect_partition(detail::partition_groups(memory_shape(shape), -1, static_cast<int>(axis), groups),
                         group_norm_map(sample, Eigen::RowMajor, groups, axis + 1, 0));
      }
}

TEST(Partition, OfGroups) {
  for (const Shape& shape : small_shapes())
    for (Index axis = 0; axis < rank_of(shape); ++axis)
      for (Index batch = 0; batch < rank_of(shape); ++batch)
        for (Index groups = 1; axis != batch && groups <= shape[at(axis)]; ++groups) {
          if (shape[at(axis)] % groups != 0) continue;
          SCOPED_TRACE(to_string(shape) + " axis " + std::to_string(axis) + ", batch " +
                       std::to_string(batch) + ", " + std::to_string(groups) + " groups");
          expect_partition(detail::partition_groups(memory_shape(shape), static_cast<int>(batch),
                                                    static_cast<int>(axis), groups),
                           group_norm_map(shape, Eigen::RowMajor, groups, axis, batch));
        }
}

}  // namespace
}  // namespace ek_test
