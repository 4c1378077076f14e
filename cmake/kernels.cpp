// The core and the kernels of all scalar types, or of EVENKEEL_COMPILED_SCALARS, for programs whose units are compiled
// with EVENKEEL_EXTERN_KERNELS.
#define EVENKEEL_COMPILE_KERNELS
#include <evenkeel/evenkeel.hpp>
