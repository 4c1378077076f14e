#include "chart.hpp"
namespace evenkeel::peers {
std::string chart(const std::vector<Row>&, const Setting&) { return ""; }
}  // namespace evenkeel::peers
