// No call takes more than 64 KiB of stack, of its own thread and of those that help it: every pass, on painted stacks.
// Prints what each norm took most. An argument is the KiB of stack that a thread has, for what overflows the usual one.
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define EIGEN_USE_THREADS
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <evenkeel/evenkeel.hpp>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace {

namespace ek = evenkeel;
using ek::Index;

std::size_t stack_size = std::size_t{128} << 10;
constexpr std::size_t kMost = std::size_t{64} << 10;

/// A thread on a painted stack.
class PaintedThread {
 public:
  explicit PaintedThread(std::function<void()> f) : f_(std::move(f)) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    mapped_ = stack_size + page;
    memory_ = static_cast<unsigned char*>(
        mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    stack_ = memory_ + page;
    std::memset(stack_, kPaint, stack_size);
    pthread_attr_t attributes;
    if (mprotect(memory_, page, PROT_NONE) != 0 || pthread_attr_init(&attributes) != 0 ||
        pthread_attr_setstack(&attributes, stack_, stack_size) != 0 ||
        pthread_create(
            &thread_, &attributes,
            [](void* self) -> void* {
              static_cast<PaintedThread*>(self)->f_();
              return nullptr;
            },
            this) != 0) {
      std::abort();
    }
    pthread_attr_destroy(&attributes);
  }
  PaintedThread(const PaintedThread&) = delete;
  PaintedThread& operator=(const PaintedThread&) = delete;
  ~PaintedThread() {
    join();
    munmap(memory_, mapped_);
  }

  /// Waits for its end, and tells how much stack it took.
  std::size_t join() {
    if (joined_) return 0;
    pthread_join(thread_, nullptr);
    joined_ = true;
    return static_cast<std::size_t>(
        stack_ + stack_size -
        std::find_if(stack_, stack_ + stack_size, [](unsigned char byte) { return byte != kPaint; }));
  }

 private:
  static constexpr unsigned char kPaint = 0xa5;

  std::function<void()> f_;
  std::size_t mapped_;
  unsigned char *memory_, *stack_;
  pthread_t thread_;
  bool joined_ = false;
};

std::size_t most_of_helpers = 0;

/// What Eigen's pool makes its threads of.
struct PaintedEnvironment {
  struct Task {
    std::function<void()> f;
  };
  class EnvThread {
   public:
    explicit EnvThread(std::function<void()> f) : thread_(std::move(f)) {}
    ~EnvThread() { most_of_helpers = std::max(most_of_helpers, thread_.join()); }
    void OnCancel() {}

   private:
    PaintedThread thread_;
  };

  EnvThread* CreateThread(std::function<void()> f) { return new EnvThread(std::move(f)); }
  Task CreateTask(std::function<void()> f) { return {std::move(f)}; }
  void ExecuteTask(const Task& task) { task.f(); }
};

/// What a thread takes that does nothing.
std::size_t unused() {
  return PaintedThread([] {}).join();
}

template <typename F>
std::size_t stack_of(const F& f) {
  return PaintedThread(f).join() - unused();
}

struct Taken {
  std::size_t most = 0;
  std::string what;

  void add(std::size_t taken, const std::string& by) {
    if (taken > most) {
      most = taken;
      what = by;
    }
  }
};

/// far: some values leave the range of the fast passes, of every set or all those of some sets.
enum class Data { plain, far };

template <typename S>
std::vector<S> values(Index size, Index fastest, Data data, double far) {
  std::vector<S> v(static_cast<std::size_t>(size));
  for (Index i = 0; i < size; ++i) {
    const bool is_far = data == Data::far && i % fastest % 3 == 0;
    const double value = 1 + static_cast<double>(i * 7919 % 1009) / 1009;
    if (sizeof(S) == 8) {
      v[static_cast<std::size_t>(i)] = static_cast<S>(is_far ? value * far : value);
    } else {
      v[static_cast<std::size_t>(i)] = static_cast<S>(static_cast<float>(is_far ? value * far : value));
    }
  }
  return v;
}

template <typename S, typename Device, typename Norm>
void measure(Taken& taken, const std::string& name, const Device& device, Norm norm,
             const std::vector<Index>& extents, ek::Layout order) {
  const ek::Shape shape(extents);
  Index size = 1;
  for (const Index extent : extents) size *= extent;
  const Index fastest = order == ek::row_major ? extents.back() : extents.front();
  const double far = sizeof(S) == 8 ? 1e200 : 1e25;
  for (const Data data : {Data::plain, Data::far}) {
    if (data == Data::far && (size > 100000 || sizeof(S) == 2)) break;
    const std::vector<S> x = values<S>(size, fastest, data, far),
                         dy = values<S>(size, fastest, data, 1 / far);
    std::vector<S> out(x.size());
    const auto in = ek::view<const S>(x.data(), shape, order),
               gradient = ek::view<const S>(dy.data(), shape, order);
    const auto result = ek::view(out.data(), shape, order);
    const std::string suffix = data == Data::plain ? "" : " of far values";
    taken.add(stack_of([&] { norm.forward(device, in, result); }), name + ".forward" + suffix);
    taken.add(stack_of([&] { norm.backward(device, in, gradient, result); }), name + ".backward" + suffix);
    taken.add(stack_of([&] { norm.infer(device, in, result); }), name + ".infer" + suffix);
  }
}

/// A norm of both layouts, over axes that are the same in memory.
template <typename S, typename Device>
class Measure {
 public:
  Measure(const Device& device, Taken& taken) : device_(device), taken_(taken) {}

  void batch(const char* walk, std::vector<Index> shape, Index axis) {
    for_each_order(shape, axis, 0, [&](const auto& extents, Index at, Index, ek::Layout order) {
      ek::BatchNormOptions options;
      options.axis = at;
      run(walk, ek::BatchNorm<S>(shape[static_cast<std::size_t>(axis)], options), extents, order);
    });
  }
  void layer(const char* walk, std::vector<Index> shape, Index axis) {
    for_each_order(shape, axis, 0, [&](const auto& extents, Index at, Index, ek::Layout order) {
      ek::LayerNormOptions options;
      options.axis = at;
      run(walk, ek::LayerNorm<S>(shape[static_cast<std::size_t>(axis)], options), extents, order);
    });
  }
  void group(const char* walk, std::vector<Index> shape, Index groups, Index axis, Index batch_axis) {
    for_each_order(
        shape, axis, batch_axis, [&](const auto& extents, Index at, Index batch_at, ek::Layout order) {
          ek::GroupNormOptions options;
          options.axis = at;
          options.batch_axis = batch_at;
          run(walk, ek::GroupNorm<S>(groups, shape[static_cast<std::size_t>(axis)], options), extents, order);
        });
  }

 private:
  template <typename F>
  static void for_each_order(std::vector<Index> shape, Index axis, Index batch_axis, const F& f) {
    const Index last = static_cast<Index>(shape.size()) - 1;
    f(shape, axis, batch_axis, ek::row_major);
    std::reverse(shape.begin(), shape.end());
    f(shape, last - axis, last - batch_axis, ek::col_major);
  }
  template <typename Norm>
  void run(const char* walk, const Norm& norm, const std::vector<Index>& extents, ek::Layout order) {
    measure<S>(taken_, walk, device_, norm, extents, order);
  }

  const Device& device_;
  Taken& taken_;
};

template <typename S, typename Device>
void measure_walks(const Device& device, bool large, Taken (&taken)[3]) {
  Measure<S, Device> batch(device, taken[0]), layer(device, taken[1]), group(device, taken[2]);
  if (large) {  // enough for several threads
    batch.batch("lines", {2, 3, 50000}, 1);
    batch.batch("columns", {1100, 270}, 1);
    batch.batch("wide columns", {130, 2100}, 1);
    batch.batch("short lines", {60, 100, 49}, 1);
    layer.layer("rows", {400, 700}, 1);
    layer.layer("columns", {260, 1100}, 0);
    group.group("lines", {2, 8, 17000}, 2, 1, 0);
    group.group("columns", {2, 110, 1200}, 30, 2, 0);
    group.group("columns of one group", {2, 46, 3000}, 1, 2, 0);
    return;
  }
  batch.batch("few rows", {3, 70}, 1);
  batch.batch("lines", {2, 3, 700}, 1);
  batch.batch("long lines", {2, 2, 9000}, 1);
  batch.batch("short lines", {4, 100, 49}, 1);
  batch.batch("columns", {40, 1023}, 1);
  batch.batch("narrow columns", {90, 33}, 1);
  batch.batch("wide columns", {20, 2100}, 1);
  layer.layer("few rows", {3, 70}, 1);
  layer.layer("rows", {70, 133}, 1);
  layer.layer("rows of a cache line", {70, 16}, 1);
  layer.layer("long rows", {3, 20000}, 1);
  layer.layer("columns", {40, 1023}, 0);
  layer.layer("wide columns", {20, 2100}, 0);
  layer.layer("columns of samples", {3, 40, 70}, 1);
  group.group("lines", {3, 8, 700}, 2, 1, 0);
  group.group("rows", {70, 64}, 2, 1, 0);
  group.group("short lines", {3, 40, 4, 49}, 2, 1, 0);
  group.group("columns", {3, 9, 1000}, 40, 2, 0);
  group.group("columns of one group", {2, 9, 3000}, 1, 2, 0);
  group.group("columns of samples", {8, 5, 1100}, 2, 0, 2);
  group.group("columns of samples' elements", {40, 1100}, 2, 0, 1);
}

template <typename S>
bool measure_all(const char* scalar) {
  static const char* const kNorms[] = {"batch", "layer", "group"};
  bool is_right = true;
  for (const bool large : {false, true}) {
    Taken taken[3];
    most_of_helpers = 0;
    if (large) {
      Eigen::ThreadPoolTempl<PaintedEnvironment> pool(3);
      measure_walks<S>(Eigen::ThreadPoolDevice(&pool, 3), true, taken);
    } else {
      measure_walks<S>(Eigen::DefaultDevice(), false, taken);
    }
    for (int i = 0; i < 3; ++i) {
      std::printf("  %-7s %s norm%s: %5.1f KiB, %s\n", scalar, kNorms[i], large ? " on 3 threads" : "",
                  static_cast<double>(taken[i].most) / 1024, taken[i].what.c_str());
      is_right = is_right && taken[i].most <= kMost;
    }
    most_of_helpers -= std::min(most_of_helpers, unused());
    if (large)
      std::printf("  %-7s helpers: %5.1f KiB\n", scalar, static_cast<double>(most_of_helpers) / 1024);
    is_right = is_right && most_of_helpers <= kMost;
  }
  return is_right;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) stack_size = static_cast<std::size_t>(std::atoi(argv[1])) << 10;
  bool is_right = true;
  for (const char* isa : {"sse2", "avx2", "avx512"}) {
    if (std::string(isa) == "avx512" && !__builtin_cpu_supports("avx512vl")) break;
    std::printf("at most %s\n", isa);
    std::fflush(stdout);
    const pid_t child = fork();  // an instruction set is chosen once a process
    if (child == 0) {
      setenv("EVENKEEL_MAX_ISA", isa, 1);
      const bool floats = measure_all<float>("float"), doubles = measure_all<double>("double"),
                 halves = measure_all<Eigen::half>("half");
      std::fflush(stdout);
      _exit(floats && doubles && halves ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    is_right = is_right && status == 0;
  }
  std::puts(is_right ? "no call took more than 64 KiB"
                     : "a call took more than 64 KiB, or overflowed its stack");
  return is_right ? 0 : 1;
}
