#include <evenkeel/evenkeel.hpp>
