// No call divides by zero, has an invalid operand or overflows on finite data near 1, with traps for all three: equal values and
// zeros without epsilon, single values, and tails shorter than a vector, with each instruction set.
#include <sys/wait.h>
#include <unistd.h>

#include <cfenv>
#include <cstdio>
#include <cstdlib>
#include <evenkeel/evenkeel.hpp>
#include <type_traits>
#include <vector>

namespace {

namespace ek = evenkeel;
using ek::Index;

template <typename S, typename Norm>
void call(Norm norm, const std::vector<Index>& extents, bool trains = true) {
  const ek::Shape shape(extents);
  Index size = 1;
  for (const Index extent : extents) size *= extent;
  for (const int data : {0, 1, 2}) {
    std::vector<S> x(static_cast<std::size_t>(size), S(data)), dy = x, out = x;
    if (data == 2) {
      for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<S>(i % 7) - S(3);
    }
    const auto in = ek::view<const S>(x.data(), shape), gradient = ek::view<const S>(dy.data(), shape);
    const auto result = ek::view(out.data(), shape);
    if (trains) {
      norm.forward(in, result);
      norm.backward(in, gradient, result);
    }
    norm.infer(in, result);
    if constexpr (std::is_same_v<Norm, ek::BatchNorm<S>>) norm.infer_backward(in, gradient, result);
  }
}

template <typename S>
void call_all(double epsilon) {
  for (const Index n : {1, 2, 3, 5, 8, 13, 17, 64, 1100}) {
    ek::BatchNormOptions batch;
    ek::LayerNormOptions layer, of_columns;
    ek::GroupNormOptions group, last;
    ek::InstanceNormOptions instance, tracking;
    batch.epsilon = layer.epsilon = of_columns.epsilon = group.epsilon = last.epsilon = epsilon;
    instance.epsilon = tracking.epsilon = epsilon;
    tracking.affine = tracking.track_running_stats = true;
    of_columns.axis = 1;
    last.axis = 2;
    for (const bool is_zero : {false, true}) {
      ek::BatchNorm<S> norm(n, batch);
      if (is_zero) norm.running_var().setZero();
      call<S>(norm, {3, n});
      call<S>(norm, {3, n, 5});
      call<S>(norm, {3, n, 70});
      call<S>(norm, {1, n}, false);
    }
    call<S>(ek::LayerNorm<S>(n, layer), {1, n});
    call<S>(ek::LayerNorm<S>(n, layer), {9, n});
    call<S>(ek::LayerNorm<S>(n, layer), {2, 30, n});
    call<S>(ek::LayerNorm<S>(n, of_columns), {2, n, 5});
    call<S>(ek::GroupNorm<S>(n, 2 * n, group), {3, 2 * n, 5});
    call<S>(ek::GroupNorm<S>(1, n, group), {3, n, 300});
    call<S>(ek::GroupNorm<S>(n, 2 * n, last), {3, 5, 2 * n});
    call<S>(ek::InstanceNorm<S>(n, instance), {3, n, 5});
    call<S>(ek::InstanceNorm<S>(n, tracking), {3, n, 5});
    call<S>(ek::InstanceNorm<S>(2, instance), {2, 2, n + 1});
  }
}

}  // namespace

int main() {
  for (const char* isa : {"sse2", "avx2", "avx512"}) {
    const pid_t child = fork();  // an instruction set is chosen once a process
    if (child == 0) {
      setenv("EVENKEEL_MAX_ISA", isa, 1);
      feenableexcept(FE_DIVBYZERO | FE_INVALID | FE_OVERFLOW);
      for (const double epsilon : {0.0, 1e-5}) {
        call_all<float>(epsilon);
        call_all<double>(epsilon);
      }
      _exit(0);
    }
    int status = -1;
    waitpid(child, &status, 0);
    if (status != 0) {
      std::printf("%s: trapped\n", isa);
      return 1;
    }
  }
  std::puts("nothing trapped");
  return 0;
}
