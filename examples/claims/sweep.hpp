#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "../kit/images.hpp"

namespace claims {

using namespace kit;

inline Images segment(const Images& images, Index first, Index count) {
  Images part(count, images.pixels.cols());
  part.pixels = images.pixels.middleRows(first, count);
  part.labels.assign(images.labels.begin() + first, images.labels.begin() + first + count);
  return part;
}

/// The training images alone. The last sixth of them stands for the test images, so that nothing is chosen by those.
inline Data held_out(const Data& data) {
  const Index count = data.train.count(), validation = count / 6;
  return {data.name, segment(data.train, 0, count - validation),
          segment(data.train, count - validation, validation)};
}

/// The rate with the highest score(rate), which must not be NaN: the first of equal ones. A single rate needs no score.
template <typename Score>
double best_rate(const std::vector<double>& rates, Score score) {
  if (rates.size() == 1) return rates[0];
  std::vector<double> scores;
  for (double rate : rates) scores.push_back(score(rate));
  const auto best = std::max_element(scores.begin(), scores.end()) - scores.begin();
  return rates[static_cast<std::size_t>(best)];
}

}  // namespace claims
