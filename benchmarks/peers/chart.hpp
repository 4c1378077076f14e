#pragma once

#include <string>
#include <vector>

#include "report.hpp"

namespace evenkeel::benchmarks {

/// Multiples of the floor as SVG: a row a shape, a panel a direction, a mark a library.
std::string chart(const std::vector<Row>& rows, const Setting& setting);

}  // namespace evenkeel::benchmarks
