// SPDX-License-Identifier: MIT
#pragma once

#include "evenkeel/base/config.hpp"

namespace evenkeel::detail {
EVENKEEL_BEGIN

/// Makes streamed stores visible before later stores.
EVENKEEL_INLINE void store_fence() {
#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
  __builtin_ia32_sfence();
#endif
}

EVENKEEL_END
}  // namespace evenkeel::detail
