#include "error.hpp"

namespace ek_test {

Real forward_error(const IndexMap& map, const std::vector<Real>& y, const std::vector<Real>& expected) {
  std::vector<Real> scale(at(map.sets), 1);
  for (std::size_t i = 0; i < expected.size(); ++i)
    scale[at(map.set[i])] = std::max(scale[at(map.set[i])], std::fabs(expected[i]));
  return largest_error(y, expected, [&](std::size_t i) { return scale[at(map.set[i])]; });
}

Real backward_error(const IndexMap& map, const std::vector<Real>& dx, const ReferenceGradients& expected) {
  return largest_error(dx, expected.x, [&](std::size_t i) { return expected.x_scale[at(map.set[i])]; });
}

}  // namespace ek_test
