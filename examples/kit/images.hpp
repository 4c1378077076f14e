#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "error.hpp"
#include "random.hpp"
#include "types.hpp"

namespace kit {

constexpr Index kClasses = 10;

/// One square image a row, pixels in [0, 1].
struct Images {
  Matrix<float> pixels;
  std::vector<Index> labels;

  Images() = default;
  Images(Index count, Index size) : pixels(count, size), labels(static_cast<std::size_t>(count)) {}

  Index count() const { return pixels.rows(); }
  Index side() const { return std::lround(std::sqrt(static_cast<double>(pixels.cols()))); }
  Index& label(Index image) { return labels[static_cast<std::size_t>(image)]; }
  Index label(Index image) const { return labels[static_cast<std::size_t>(image)]; }
};

struct Data {
  std::string name;
  Images train, test;
};

/// Images first to first + count - 1.
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

inline void check_batch(Index batch, const Data& data) {
  if (batch > data.train.count()) {
    fail("--batch",
         std::to_string(batch) + ", the training data has " + std::to_string(data.train.count()) + " images");
  }
}

/// The same images with side x side pixels, which is not fewer: bilinear, corner on corner.
inline Images enlarged(const Images& images, Index side) {
  const Index from = images.side();
  Matrix<float> weights =
      Matrix<float>::Zero(from, side);  // of each old pixel in each new one, along an axis
  for (Index i = 0; i < side; ++i) {
    const float place = static_cast<float>(i * (from - 1)) / static_cast<float>(side - 1);
    const Index before = std::min(static_cast<Index>(place), from - 2);
    weights(before + 1, i) = place - static_cast<float>(before);
    weights(before, i) = 1 - weights(before + 1, i);
  }
  Images result(images.count(), side * side);
  result.labels = images.labels;
  for (Index n = 0; n < images.count(); ++n) {
    const Eigen::Map<const Matrix<float>> small(images.pixels.row(n).data(), from, from);
    Eigen::Map<Matrix<float>>(result.pixels.row(n).data(), side, side) =
        weights.transpose() * small * weights;
  }
  return result;
}

/// Endless batches, in a new order each time all images have been seen.
class Batches {
 public:
  Batches(const Images& images, Index size, Random& random)
      : images_(images), size_(size), random_(random), order_(images.labels.size()), next_(images.count()) {
    std::iota(order_.begin(), order_.end(), Index{0});
  }

  void next(Images& batch) {
    if (next_ + size_ > images_.count()) {
      random_.shuffle(order_);
      next_ = 0;
    }
    for (Index i = 0; i < size_; ++i, ++next_) {
      const Index image = order_[static_cast<std::size_t>(next_)];
      batch.pixels.row(i) = images_.pixels.row(image);
      batch.label(i) = images_.label(image);
    }
  }

 private:
  const Images& images_;
  Index size_;
  Random& random_;
  std::vector<Index> order_;
  Index next_;
};

/// The likeliest class of each row.
inline std::vector<Index> classes_of(const Matrix<float>& logits) {
  std::vector<Index> classes(static_cast<std::size_t>(logits.rows()));
  for (Index i = 0; i < logits.rows(); ++i) logits.row(i).maxCoeff(&classes[static_cast<std::size_t>(i)]);
  return classes;
}

inline Index count_equal(const std::vector<Index>& a, const std::vector<Index>& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), Index{0}, std::plus<>(), std::equal_to<>());
}

inline double percent_right(const std::vector<Index>& classes, const Images& images) {
  return 100 * static_cast<double>(count_equal(classes, images.labels)) / static_cast<double>(images.count());
}

}  // namespace kit
