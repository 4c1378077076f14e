// EK_TEST_ALSO_FOR_EACH_SET, in the namespace of each instruction set and as its kernels are compiled.
#pragma once

#include "support/emulated_avx512.hpp"
#include "support/instruction_sets.hpp"

#if defined(__clang__)
#pragma float_control(precise, on, push)
#elif defined(__GNUC__)
#pragma GCC push_options
#pragma GCC optimize("no-fast-math", "fp-contract=off")
#endif
namespace evenkeel::detail {
EVENKEEL_BEGIN
namespace one_by_one {
#include EK_TEST_ALSO_FOR_EACH_SET
}  // namespace one_by_one
#if EVENKEEL_HAS_VECTORS
namespace baseline {
#include EK_TEST_ALSO_FOR_EACH_SET
}  // namespace baseline
#endif
#if EVENKEEL_HAS_CHOICE
EVENKEEL_BEGIN_TARGET("avx2,fma,f16c")
namespace avx2 {
#include EK_TEST_ALSO_FOR_EACH_SET
}  // namespace avx2
EVENKEEL_END_TARGET
EVENKEEL_BEGIN_TARGET("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,f16c")
namespace avx512 {
#include EK_TEST_ALSO_FOR_EACH_SET
}  // namespace avx512
EVENKEEL_END_TARGET
#endif
EVENKEEL_END
}  // namespace evenkeel::detail
#if defined(__clang__)
#pragma float_control(pop)
#elif defined(__GNUC__)
#pragma GCC pop_options
#endif
