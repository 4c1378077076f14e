// A caller compiled in one way gets the numbers that are promised.
#include "check.hpp"

extern const Way<EK_SCALAR> EK_WAY;

int main() { return is_right("caller", EK_WAY) ? 0 : 1; }
