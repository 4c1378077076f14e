#include "setting.hpp"

#include <dlfcn.h>

#include <cstdlib>
#include <stdexcept>

namespace evenkeel::benchmarks {
namespace {

void load_peer(const char* module, std::vector<Library>& libraries, int threads = 1) {
  void* handle = dlopen(module, RTLD_NOW | RTLD_LOCAL);  // for good
  if (handle == nullptr) throw std::runtime_error(dlerror());
  reinterpret_cast<PeerFunction*>(dlsym(handle, kPeerFunction))(libraries, threads);
}

/// "avx2" or "sse2" if EVENKEEL_MAX_ISA limits Evenkeel to it, else empty.
std::string isa_limit() {
  const char* isa = std::getenv("EVENKEEL_MAX_ISA");
  return isa == nullptr || std::string(isa) == "avx512" ? "" : isa;
}

/// The same limit for the peers, before they read it: sse2 is the least that each has.
void limit_peers(const std::string& isa) {
  if (isa.empty()) return;
  const bool is_avx2 = isa == "avx2";
  for (const char* name : {"ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"})
    setenv(name, is_avx2 ? "AVX2" : "SSE41", 1);
  setenv("ATEN_CPU_CAPABILITY", is_avx2 ? "avx2" : "default", 1);
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
  limit_peers(isa_limit());
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
  if (!isa_limit().empty())
    text += " oneDNN and PyTorch are limited to " +
            std::string(isa_limit() == "avx2" ? "AVX2" : "the least they have") + " too.";
  if (!missing.empty()) text += " Not found when this was built: " + joined(missing) + ".";
  return text;
}

}  // namespace evenkeel::benchmarks
