#pragma once

#include <stdexcept>
#include <string>

namespace kit {

[[noreturn]] inline void fail(const std::string& where, const std::string& what) {
  throw std::runtime_error(where + ": " + what);
}

}  // namespace kit
