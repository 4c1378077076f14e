// The large kernels of evenkeel::compiled, for a unit that links it and has the rest in its own code: as g++ compiles
// them, which keeps each as a function.
#pragma once

#include <evenkeel/kernels/kernels.hpp>

#if defined(EK_TEST_LINKS_KERNELS) && EVENKEEL_HAS_CHOICE && !defined(__clang__)
namespace evenkeel::detail {
EVENKEEL_BEGIN
#define EK_TEST_OF_A_SCALAR(Result, kernel, Arguments, S)      \
  extern template Result avx2::kernel<S>(const Arguments<S>&); \
  extern template Result avx512::kernel<S>(const Arguments<S>&);
#define EK_TEST_KERNEL(Result, kernel, Arguments)                            \
  extern template Result baseline::kernel<float>(const Arguments<float>&);   \
  extern template Result baseline::kernel<double>(const Arguments<double>&); \
  EK_TEST_OF_A_SCALAR(Result, kernel, Arguments, float)                      \
  EK_TEST_OF_A_SCALAR(Result, kernel, Arguments, double)                     \
  EK_TEST_OF_A_SCALAR(Result, kernel, Arguments, Eigen::half)                \
  EK_TEST_OF_A_SCALAR(Result, kernel, Arguments, Eigen::bfloat16)
EVENKEEL_EACH_LARGE_KERNEL(EK_TEST_KERNEL)
EVENKEEL_EACH_KERNEL_WITH_OPTIONS(EK_TEST_KERNEL)
#undef EK_TEST_KERNEL
#undef EK_TEST_OF_A_SCALAR
EVENKEEL_END
}  // namespace evenkeel::detail
#endif
