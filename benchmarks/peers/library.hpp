#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "problem.hpp"

namespace evenkeel::peers {

struct Recorder;

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

Library evenkeel_library();
Library evenkeel_library(int threads);  // on an Eigen::ThreadPoolDevice
Library evenkeel_library(const std::shared_ptr<Recorder>& recorder);
std::string evenkeel_instruction_set();

/// Seconds to call in a thread: one that still looks for work, and one that sleeps.
struct CallIn {
  double awake, asleep;
};
CallIn measure_call_in();

Library eigen_library();

/// How the name of oneDNN begins where channels lie in blocks, a layout of its own.
inline constexpr const char* kBlockedOneDnn = "oneDNN nChw";

/// What the module of a peer that the build has found exports by the name of kPeerFunction.
using PeerFunction = void(std::vector<Library>& libraries);
inline constexpr const char* kPeerFunction = "evenkeel_add_peer";

}  // namespace evenkeel::peers

extern "C" evenkeel::peers::PeerFunction evenkeel_add_peer;
