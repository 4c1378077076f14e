#pragma once

#include <vector>

/// Rows of 4, layer normalized; in two translation units that include the same headers.
std::vector<float> normalized_here(const std::vector<float>& x);
std::vector<float> normalized_there(const std::vector<float>& x);
