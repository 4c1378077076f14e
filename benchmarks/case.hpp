#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace evenkeel::benchmarks {

using Index = std::ptrdiff_t;

enum class Norm { kBatch, kLayer, kGroup, kInstance, kRms };
enum class Direction { kForward, kBackward, kInference };

/// N,C; N,C,H,W; N,H,W,C; and the column-major matrix of C,N, whose values lie as those of N,C.
enum class Layout { kRows, kChannelsFirst, kChannelsLast, kColumns };

inline constexpr Index kGroups = 32;
inline constexpr double kEpsilon = 1e-5, kMomentum = 0.1;

/// One pass of one norm over one shape: batch x channels x side x side, or rows x features.
struct Case {
  Norm norm;
  Direction direction;
  Layout layout;
  Index batch, channels, side = 1;
  bool is_double = false;
  double epsilon = kEpsilon;
  bool silu = false;  // behind the norm

  Index pixels() const { return side * side; }
  Index size() const { return batch * channels * pixels(); }
  bool has_running_statistics() const { return norm == Norm::kBatch; }
  bool has_mean() const { return norm != Norm::kRms; }
  bool has_beta() const { return norm != Norm::kRms; }
  bool over_channels() const { return norm == Norm::kLayer || norm == Norm::kRms; }  // of each pixel
  Index groups() const { return norm == Norm::kInstance ? channels : kGroups; }

  /// Of the row-major tensor.
  std::vector<Index> dims() const {
    if (side == 1) return {batch, channels};
    if (layout == Layout::kChannelsFirst) return {batch, channels, side, side};
    return {batch, side, side, channels};
  }

  std::string shape() const;        // 32x64x56x56, whatever the layout
  std::string layout_text() const;  // N,C,H,W
  std::string family() const;       // batch_norm/forward/nchw
  std::string name() const;         // batch_norm/forward/nchw/32x64x56x56/float
};

std::string text_of(Norm norm);            // batch norm
std::string text_of(Direction direction);  // forward

inline constexpr Norm kNorms[] = {Norm::kBatch, Norm::kLayer, Norm::kGroup, Norm::kInstance, Norm::kRms};
inline constexpr Index kBatches[] = {1, 8, 32, 128, 256};
inline constexpr Direction kDirections[] = {Direction::kForward, Direction::kBackward, Direction::kInference};

/// What all libraries are compared on.
std::vector<Case> compared_cases(bool is_double);

/// A shape that is no multiple of a vector, and its neighbour that is.
struct OddCase {
  Case odd, round;
};
std::vector<OddCase> odd_cases();

/// What takes a call so little time that setting it up counts, and that no second thread is worth it.
std::vector<Case> small_cases();

/// Those of float, small ones too, and a few shapes in all of kBatches.
std::vector<Case> benchmarked_cases();

}  // namespace evenkeel::benchmarks
