#include <evenkeel/evenkeel.hpp>

#include "user.hpp"

std::vector<float> normalized_there(const std::vector<float>& x) {
  std::vector<float> y(x.size());
  const auto rows = static_cast<evenkeel::Index>(x.size() / 4);
  evenkeel::LayerNorm<float>(4).forward(evenkeel::view(x.data(), {rows, 4}, evenkeel::row_major),
                                        evenkeel::view(y.data(), {rows, 4}, evenkeel::row_major));
  return y;
}
