// The kernels of EVENKEEL_COMPILE_KERNELS, once for all tests.
#include <evenkeel/evenkeel.hpp>
