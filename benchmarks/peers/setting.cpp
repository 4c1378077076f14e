#include "setting.hpp"

#include <dlfcn.h>

#include <stdexcept>

namespace evenkeel::benchmarks {
namespace {

void load_peer(const char* module, std::vector<Library>& libraries, int threads = 1) {
  void* handle = dlopen(module, RTLD_NOW | RTLD_LOCAL);  // for good
  if (handle == nullptr) throw std::runtime_error(dlerror());
  reinterpret_cast<PeerFunction*>(dlsym(handle, kPeerFunction))(libraries, threads);
}

std::string joined(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : ", ") + part;
  return text;
}

}  // namespace

Library evenkeel_library(int threads) {
  std::vector<Library> libraries;
  load_peer(EVENKEEL_PEER_EVENKEEL, libraries, threads);
  return libraries.front();
}

Library baseline_library([[maybe_unused]] int threads) {
#ifdef EVENKEEL_PEER_BASELINE
  std::vector<Library> libraries;
  load_peer(EVENKEEL_PEER_BASELINE, libraries, threads);
  libraries.front().name = "baseline";
  return libraries.front();
#else
  throw std::runtime_error("built without a baseline: set EVENKEEL_BASELINE_DIR");
#endif
}

Setting present_setting() {
  Setting setting{this_machine(), {evenkeel_library()}, {}};
#ifdef EVENKEEL_PEER_ONEDNN
  load_peer(EVENKEEL_PEER_ONEDNN, setting.libraries);
#else
  setting.missing.push_back("oneDNN");
#endif
#ifdef EVENKEEL_PEER_PYTORCH
  load_peer(EVENKEEL_PEER_PYTORCH, setting.libraries);
#else
  setting.missing.push_back("PyTorch");
#endif
  setting.libraries.push_back(eigen_library());
  return setting;
}

std::string Setting::versions() const {
  std::vector<std::string> parts;
  for (const Library& library : libraries) {
    const bool variant = library.name.rfind(kBlockedOneDnn, 0) == 0;
    if (!variant) parts.push_back(library.name + " " + library.version);
  }
  return joined(parts);
}

std::string Setting::text() const {
  std::string text = machine.text() + "; " + machine.compiler + ", Evenkeel at plain -O2 and with " +
                     std::to_string(8 * vector_bytes()) + "-bit vectors" + "; " + versions() + ".";
  if (!missing.empty()) text += " Not found when this was built: " + joined(missing) + ".";
  return text;
}

}  // namespace evenkeel::benchmarks
