#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <new>
#include <random>
#include <vector>

#include "case.hpp"
#include "floor.hpp"

namespace evenkeel::benchmarks {

/// Begins on a line of the cache, which favours nobody.
template <typename Scalar>
class Buffer {
 public:
  explicit Buffer(Index size) : values_(new (kLine) Scalar[static_cast<std::size_t>(size)]), size_(size) {}

  Scalar* data() const { return values_.get(); }
  Index size() const { return size_; }
  Scalar* begin() const { return data(); }
  Scalar* end() const { return data() + size_; }
  Scalar& operator[](Index i) const { return data()[i]; }

 private:
  static constexpr std::align_val_t kLine{64};
  struct Delete {
    void operator()(Scalar* values) const { operator delete[](values, kLine); }
  };
  std::unique_ptr<Scalar[], Delete> values_;
  Index size_;
};

/// Uniform values.
template <typename Scalar>
Buffer<Scalar> random_values(Index size, double mean, double deviation, std::uint32_t seed) {
  std::mt19937 bits(seed);
  Buffer<Scalar> values(size);
  for (Scalar& value : values) {
    const double unit = static_cast<double>(bits()) * 0x1p-32 - 0.5;
    value = static_cast<Scalar>(mean + deviation * std::sqrt(12.0) * unit);
  }
  return values;
}

/// The memory of a case. All libraries read the same inputs, and write the same outputs where they do not
/// allocate their own.
template <typename Scalar>
struct Problem {
  explicit Problem(const Case& c)
      : test(c),
        x(random_values<Scalar>(c.size(), 0.5, 1, 1)),
        dy(random_values<Scalar>(c.size(), 0.5, 1, 2)),
        gamma(random_values<Scalar>(c.channels, 1, 0.2, 3)),
        beta(random_values<Scalar>(c.channels, 0, c.has_beta() ? 0.2 : 0, 4)),
        running_mean(random_values<Scalar>(c.channels, 0.5, 0.1, 5)),
        running_var(random_values<Scalar>(c.channels, 1, 0.1, 6)),
        out(c.size()),
        grad_gamma(c.channels),
        grad_beta(c.channels) {}

  bool backward() const { return test.direction == Direction::kBackward; }
  bool inference() const { return test.direction == Direction::kInference; }

  Traffic traffic() const {
    const auto bytes_of = [](const Buffer<Scalar>& b) { return reinterpret_cast<char*>(b.data()); };
    return {bytes_of(x), backward() ? bytes_of(dy) : nullptr, bytes_of(out),
            out.size() * Index{sizeof(Scalar)}};
  }

  Case test;
  Buffer<Scalar> x, dy, gamma, beta;
  Buffer<Scalar> running_mean, running_var;  // of inference
  Buffer<Scalar> out;                        // y, or dx
  Buffer<Scalar> grad_gamma, grad_beta;
};

}  // namespace evenkeel::benchmarks
