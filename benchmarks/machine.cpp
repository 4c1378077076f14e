#include "machine.hpp"

#include <cstdlib>
#include <fstream>
#include <string_view>
#include <thread>

namespace evenkeel::benchmarks {
namespace {

std::string processor() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  }
  return "unknown processor";
}

std::string compiler() {
#if defined(__clang__)
  return "clang " + std::to_string(__clang_major__) + "." + std::to_string(__clang_minor__);
#elif defined(__GNUC__)
  return "g++ " + std::to_string(__GNUC__) + "." + std::to_string(__GNUC_MINOR__);
#else
  return "unknown compiler";
#endif
}

std::string mebibytes(long bytes) {
  const long tenths = (bytes * 10 + (1 << 19)) >> 20;
  const std::string whole = std::to_string(tenths / 10);
  return whole + (tenths % 10 == 0 ? "" : "." + std::to_string(tenths % 10)) + " MiB";
}

/// Bytes of the first core's cache of that level, as Linux tells them in KiB; 0 where it does not. What sysconf()
/// says of the third level may be that of all sockets.
long cache_bytes(int level) {
  std::ifstream file("/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(level) + "/size");
  long kibibytes = 0;
  return file >> kibibytes ? kibibytes << 10 : 0;
}

}  // namespace

std::string Machine::text() const {
  std::string text = processor + ", " + std::to_string(cores) + (cores == 1 ? " core" : " cores");
  if (l2_bytes > 0) text += ", L2 " + mebibytes(l2_bytes);
  if (l3_bytes > 0) text += ", L3 " + mebibytes(l3_bytes);
  return text;
}

int vector_bytes() {
#if defined(__x86_64__)
  static const int chosen = [] {
    const char* cap = std::getenv("EVENKEEL_MAX_ISA");
    const std::string_view allowed = cap == nullptr || *cap == 0 ? "avx512" : cap;
    if (allowed == "avx512" && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) {
      return 64;
    }
    return allowed != "sse2" && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? 32 : 16;
  }();
  return chosen;
#else
  return 16;
#endif
}

Machine this_machine() {
  return {processor(), static_cast<int>(std::thread::hardware_concurrency()), cache_bytes(2), cache_bytes(3),
          compiler()};
}

}  // namespace evenkeel::benchmarks
