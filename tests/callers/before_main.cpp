// A norm that is called before main, and before libgcc knows the processor, takes the registers of this machine.
#include <cstdio>
#include <evenkeel/evenkeel.hpp>

namespace {

void call() {
  const Eigen::MatrixXf x = Eigen::MatrixXf::Constant(4, 3, 1);
  Eigen::MatrixXf y;
  evenkeel::LayerNorm<float>(3).infer(x, y);
}

#ifdef EK_PREINIT
__attribute__((section(".preinit_array"), used)) void (*const preinit)() = call;
#else
__attribute__((constructor(101), used)) void construct() { call(); }
#endif

}  // namespace

int main() {
  const int chosen = evenkeel::detail::register_bytes(), here = evenkeel::detail::choose_register_bytes();
  std::printf("registers of %d bytes, of this machine %d\n", chosen, here);
  return chosen == here ? 0 : 1;
}
