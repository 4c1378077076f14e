// The kernels of EVENKEEL_COMPILE_KERNELS, once for all programs that are linked to them.
#include <evenkeel/kernels/extern.hpp>
