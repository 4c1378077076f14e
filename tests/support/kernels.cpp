// The kernels of EVENKEEL_COMPILE_KERNELS, once for all tests.
#include <evenkeel/kernels/extern.hpp>
