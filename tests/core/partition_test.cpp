// A partition's loops, walked element by element, with and without gaps in memory, against the coordinates of every element.
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

detail::MemoryShape memory_shape(const Shape& shape, const Shape& strides = {}) {
  detail::MemoryShape memory(ek::Shape(shape), ek::row_major);
  if (!strides.empty()) memory.set_strides(ek::Shape(strides));
  return memory;
}

/// Every element is met once, in the set and with the parameter that the map says.
void expect_partition(const detail::Partition& p, const IndexMap& map, const detail::MemoryShape& memory) {
  EXPECT_EQ(p.sets(), map.sets);
  EXPECT_EQ(p.params(), map.parameters);
  ASSERT_EQ(p.size(), map.size());
  std::vector<Index> element(at(memory.offset(map.size() - 1)) + 1, -1);  // that lies here
  for (Index i = 0; i < map.size(); ++i) element[at(memory.offset(i))] = i;
  std::vector<int> met(map.set.size(), 0);
  int wrong = 0;
  const auto meet = [&](Index where, Index set, Index param) {
    ASSERT_TRUE(where >= 0 && where < static_cast<Index>(element.size()) && element[at(where)] >= 0);
    const std::size_t i = at(element[at(where)]);
    ++met[i];
    wrong += map.set[i] != set || map.parameter[i] != param;
  };
  const auto meet_lines = [&](const detail::Lines& lines, Index begin, const auto& f) {
    for (Index outer = 0; outer < lines.outer; ++outer)
      for (Index inner = 0; inner < lines.inner; ++inner)
        for (Index i = 0; i < lines.length; ++i)
          f(begin + outer * lines.outer_stride + inner * lines.inner_stride + i);
  };
  for (Index set = 0; set < p.sets(); ++set)
    for (Index channel = 0; channel < p.channel.extent; ++channel)
      meet_lines(p.cell_lines(), p.offset(set) + channel * p.channel.stride,
                 [&](Index where) { meet(where, set, p.first_param(set) + channel); });
  EXPECT_EQ(wrong, 0) << "elements with another set or parameter than they should have";
  EXPECT_EQ(met, std::vector<int>(met.size(), 1));
  if (p.order != detail::MemoryOrder::lines) return;
  for (Index set = 0; set < p.sets(); ++set)
    meet_lines(p.set_lines(), p.offset(set),
               [&](Index where) { meet(where, set, map.parameter[at(element[at(where)])]); });
  EXPECT_EQ(wrong, 0) << "elements in another set than they should have";
  EXPECT_EQ(met, std::vector<int>(met.size(), 2));
}

/// Partitions of a shape without gaps and with every choice of them, where they can be walked.
template <typename PartitionOf>
void expect_partitions(const Shape& shape, const IndexMap& map, const PartitionOf& partition_of) {
  for (unsigned gaps = 0; gaps < 1u << (shape.size() - 1); ++gaps) {
    SCOPED_TRACE(to_string(shape) + ", gaps " + std::to_string(gaps));
    Shape strides(shape.size(), 1);
    for (std::size_t i = shape.size() - 1; i-- > 0;)
      strides[i] = strides[i + 1] * shape[i + 1] + (gaps >> i & 1) * (3 + static_cast<Index>(i));
    const detail::MemoryShape memory = memory_shape(shape, strides);
    const detail::Partition p = partition_of(memory);
    EXPECT_TRUE(p.is_walkable || gaps > 0);
    if (p.is_walkable) expect_partition(p, map, memory);
  }
}

TEST(Partition, OfChannels) {
  for (const Shape& shape : small_shapes())
    for (Index axis = 0; axis < rank_of(shape); ++axis) {
      SCOPED_TRACE(to_string(shape) + " axis " + std::to_string(axis));
      expect_partitions(shape, batch_norm_map(shape, Eigen::RowMajor, axis), [&](const auto& memory) {
        return detail::partition_channels(memory, static_cast<int>(axis));
      });
    }
}

TEST(Partition, OfFeatures) {
  for (const Shape& shape : small_shapes())
    for (Index axis = 0; axis < rank_of(shape); ++axis)
      for (Index count = 1; axis + count <= rank_of(shape); ++count) {
        SCOPED_TRACE(to_string(shape) + " axis " + std::to_string(axis) + ", " + std::to_string(count) +
                     " axes");
        expect_partitions(shape, layer_norm_map(shape, Eigen::RowMajor, axis, count),
                          [&](const auto& memory) {
                            return detail::partition_features(memory, static_cast<int>(axis),
                                                              static_cast<int>(axis + count));
                          });
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
        expect_partitions(shape, group_norm_map(sample, Eigen::RowMajor, groups, axis + 1, 0),
                          [&](const auto& memory) {
                            return detail::partition_groups(memory, -1, static_cast<int>(axis), groups);
                          });
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
          expect_partitions(shape, group_norm_map(shape, Eigen::RowMajor, groups, axis, batch),
                            [&](const auto& memory) {
                              return detail::partition_groups(memory, static_cast<int>(batch),
                                                              static_cast<int>(axis), groups);
                            });
        }
}

}  // namespace
}  // namespace ek_test
