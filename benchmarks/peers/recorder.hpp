#pragma once

#include <chrono>
#include <evenkeel/core/parallel.hpp>
#include <memory>
#include <vector>

namespace evenkeel::peers {

inline double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// A loop that a device may share out.
struct RecordedLoop {
  Index count;
  double seconds;  // on one thread
};

/// A device that pretends to have so many threads, does all work on the present one, and writes down what the
/// library would have shared out among them.
struct Recorder {
  int threads = 1;
  mutable int team = 1;  // those of them that the library would have called in
  mutable std::vector<RecordedLoop> loops;
};

}  // namespace evenkeel::peers

namespace evenkeel {

template <>
struct IsDevice<peers::Recorder> : std::true_type {};

template <>
class Team<peers::Recorder> {
 public:
  Team() = default;
  Team(const peers::Recorder& device, Index elements)
      : device_(&device), threads_(team_size(elements, device.threads)) {
    device.team = threads_;
  }

  int threads() const { return threads_; }

  template <typename F>
  void for_each(Index count, Index, const F& f) const {
    const double begin = device_ == nullptr ? 0 : peers::seconds_now();
    for (Index i = 0; i < count; ++i) f(i);
    if (device_ != nullptr) device_->loops.push_back({count, peers::seconds_now() - begin});
  }

 private:
  const peers::Recorder* device_ = nullptr;
  int threads_ = 1;
};

}  // namespace evenkeel
