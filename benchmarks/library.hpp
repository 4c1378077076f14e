#pragma once

#include <functional>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "problem.hpp"

namespace evenkeel::benchmarks {

/// A case as a library runs it.
struct Pass {
  std::function<void()> run;
  std::function<void()> deliver = [] {};  // puts the results where the problem wants them, if run has not
};

/// `prepare` gives nothing where the library cannot run the case. A problem outlives its passes.
struct Library {
  std::string name, version;
  std::function<std::optional<Pass>(Problem<float>&)> prepare_float;
  std::function<std::optional<Pass>(Problem<double>&)> prepare_double;

  template <typename Scalar>
  std::optional<Pass> prepare(Problem<Scalar>& problem) const {
    if constexpr (std::is_same_v<Scalar, float>) {
      return prepare_float(problem);
    } else {
      return prepare_double(problem);
    }
  }
};

/// How the name of oneDNN begins where channels lie in blocks, a layout of its own.
inline constexpr const char* kBlockedOneDnn = "oneDNN nChw";

/// What the module of a library exports by the name of kPeerFunction. More than one thread is for Evenkeel alone.
using PeerFunction = void(std::vector<Library>& libraries, int threads);
inline constexpr const char* kPeerFunction = "evenkeel_add_peer";

}  // namespace evenkeel::benchmarks

extern "C" [[gnu::visibility("default")]] evenkeel::benchmarks::PeerFunction evenkeel_add_peer;
