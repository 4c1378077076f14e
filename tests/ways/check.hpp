#pragma once

#include <string>
#include <vector>

#include "caller.hpp"

/// Whether all that a way gives is within the library's bounds of what the oracle in long double gives; else says
/// what is not.
bool is_right(const char* name, const Way<float>& way);
bool is_right(const char* name, const Way<double>& way);

/// Whether two ways give the same bits.
bool agree(const Way<float>& a, const Way<float>& b);
bool agree(const Way<double>& a, const Way<double>& b);

/// A line for each problem and each of its results, with a hash of the bits.
std::vector<std::string> bits_of(const Way<float>& way);
