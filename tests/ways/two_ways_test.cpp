// Two translation units of one program, of which one is compiled for a larger instruction set: each gets the numbers
// that are promised, and on a machine without that set, where the second is not called, nothing of it runs.
#include <cstdio>

#include "check.hpp"

extern const Way<EK_SCALAR> baseline, larger;

int main() {
  if (!is_right("baseline", baseline)) return 1;
  if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))) {
    std::puts("this machine has no AVX2");
    return 0;
  }
  return is_right("larger", larger) && agree(baseline, larger) ? 0 : 1;
}
