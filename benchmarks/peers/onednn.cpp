// oneDNN, through version 2 or 3 of its interface.

#include <cstddef>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>
#include <vector>

#include "../library.hpp"

namespace evenkeel::benchmarks {
namespace {

using dnnl::memory;
using Tag = memory::format_tag;

dnnl::engine& cpu() {
  static dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

dnnl::stream& stream() {
  static dnnl::stream stream(cpu());
  return stream;
}

using Flags = dnnl::normalization_flags;

constexpr auto kSilu = dnnl::algorithm::eltwise_swish;  // of alpha 1

#if DNNL_VERSION_MAJOR > 3 || (DNNL_VERSION_MAJOR == 3 && DNNL_VERSION_MINOR >= 9)
#define EK_ONEDNN_HAS_RMS_NORM
#endif

/// gamma, and beta where the norm has one.
Flags flags_of(const Case& c) {
#ifdef EK_ONEDNN_HAS_RMS_NORM
  if (c.norm == Norm::kRms) return Flags::use_scale | Flags::rms_norm;
#endif
  return c.has_beta() ? Flags::use_scale | Flags::use_shift : Flags::use_scale;
}

#if DNNL_VERSION_MAJOR >= 3

template <typename Forward, typename... Groups>
auto forward_desc(dnnl::prop_kind kind, const memory::desc& x, float epsilon, Flags flags, Groups... groups) {
  return typename Forward::primitive_desc(cpu(), kind, x, x, groups..., epsilon, flags);
}

template <typename Backward, typename ForwardDesc, typename... Groups>
auto backward_desc(const ForwardDesc& forward, const memory::desc& x, float epsilon, Flags flags,
                   Groups... groups) {
  return typename Backward::primitive_desc(cpu(), dnnl::prop_kind::backward, x, x, x, groups..., epsilon,
                                           flags, forward);
}

auto silu_forward_desc(const memory::desc& z) {
  return dnnl::eltwise_forward::primitive_desc(cpu(), dnnl::prop_kind::forward_training, kSilu, z, z, 1.0f);
}

auto silu_backward_desc(const memory::desc& z) {
  return dnnl::eltwise_backward::primitive_desc(cpu(), kSilu, z, z, z, 1.0f, silu_forward_desc(z));
}

#else

template <typename Forward>
auto forward_desc(dnnl::prop_kind kind, const memory::desc& x, float epsilon, Flags flags) {
  return typename Forward::primitive_desc(typename Forward::desc(kind, x, epsilon, flags), cpu());
}

template <typename Backward, typename ForwardDesc>
auto backward_desc(const ForwardDesc& forward, const memory::desc& x, float epsilon, Flags flags) {
  return typename Backward::primitive_desc(
      typename Backward::desc(dnnl::prop_kind::backward, x, x, epsilon, flags), cpu(), forward);
}

auto silu_forward_desc(const memory::desc& z) {
  return dnnl::eltwise_forward::primitive_desc({dnnl::prop_kind::forward_training, kSilu, z, 1.0f}, cpu());
}

auto silu_backward_desc(const memory::desc& z) {
  return dnnl::eltwise_backward::primitive_desc({kSilu, z, z, 1.0f}, cpu(), silu_forward_desc(z));
}

#endif

float* data_of(const memory& m) { return static_cast<float*>(m.get_data_handle()); }

memory vector_over(const Buffer<float>& values) {
  return memory({{values.size()}, memory::data_type::f32, Tag::a}, cpu(), values.data());
}

/// A problem's memory as oneDNN wants it: the problem's own, or a copy in oneDNN's favourite layout.
class Tensors {
 public:
  Tensors(const Problem<float>& p, Tag tag)
      : user_desc_(dims_of(p.test), memory::data_type::f32, tag_of(p.test)),
        desc_(dims_of(p.test), memory::data_type::f32, tag),
        user_out_(user_desc_, cpu(), p.out.data()) {
    x = inner(memory(user_desc_, cpu(), p.x.data()));
    dy = inner(memory(user_desc_, cpu(), p.dy.data()));
    out = same() ? user_out_ : memory(desc_, cpu());
  }

  /// For N,C oneDNN 2 is 13 times as fast when it is told of N,H,W,C.
  static Tag tag_of(const Case& c) {
    if (c.over_channels()) return Tag::ab;
    return c.layout == Layout::kChannelsFirst ? Tag::nchw : Tag::nhwc;
  }

  const memory::desc& desc() const { return desc_; }

  void deliver() const {
    if (!same()) reorder(out, user_out_);
  }

  memory x, dy, out;

 private:
  static memory::dims dims_of(const Case& c) {
    if (c.over_channels()) return {c.batch * c.pixels(), c.channels};
    return {c.batch, c.channels, c.side, c.side};
  }

  bool same() const { return desc_ == user_desc_; }

  memory inner(const memory& user) const {
    if (same()) return user;
    memory copy(desc_, cpu());
    reorder(user, copy);
    return copy;
  }

  static void reorder(memory from, memory to) {
    dnnl::reorder(from, to).execute(stream(), from, to);
    stream().wait();
  }

  memory::desc user_desc_, desc_;
  memory user_out_;
};

/// oneDNN gives a batch's statistics; the running ones are the caller's to move.
class RunningStatistics {
 public:
  explicit RunningStatistics(const Problem<float>& p)
      : mean_(p.running_mean.begin(), p.running_mean.end()),
        variance_(p.running_var.begin(), p.running_var.end()) {
    const float count = static_cast<float>(p.test.batch * p.test.pixels());
    unbiased_ = count / (count - 1);
  }

  void update(const float* mean, const float* variance) {
    constexpr float kNew = static_cast<float>(kMomentum);
    for (std::size_t c = 0; c < mean_.size(); ++c) {
      mean_[c] += kNew * (mean[c] - mean_[c]);
      variance_[c] += kNew * (unbiased_ * variance[c] - variance_[c]);
    }
  }

 private:
  std::vector<float> mean_, variance_;
  float unbiased_;
};

/// What a pass executes, one step after another.
struct Step {
  dnnl::primitive primitive;
  std::unordered_map<int, memory> arguments;
};

void run(const std::vector<Step>& steps) {
  for (const Step& step : steps) step.primitive.execute(stream(), step.arguments);
  stream().wait();
}

/// Groups: their number, for group norm alone.
template <typename Forward, typename Backward, typename... Groups>
Pass pass_of(Problem<float>& p, Tag tag, Groups... groups) {
  const bool running = p.test.has_running_statistics();
  const auto kind = p.inference() ? dnnl::prop_kind::forward_inference : dnnl::prop_kind::forward_training;
  const Flags flags = flags_of(p.test);
  const Flags given_statistics = p.inference() && running ? Flags::use_global_stats : Flags::none;
  const Tensors t(p, tag);
  const float epsilon = static_cast<float>(p.test.epsilon);
  const auto desc = forward_desc<Forward>(kind, t.desc(), epsilon, flags | given_statistics, groups...);
  const memory scale = vector_over(p.gamma);
  const auto deliver = [t] { t.deliver(); };
  Step norm{Forward(desc), {{DNNL_ARG_SRC, t.x}, {DNNL_ARG_DST, t.out}, {DNNL_ARG_SCALE, scale}}};
  if (p.test.has_beta()) norm.arguments.insert({DNNL_ARG_SHIFT, vector_over(p.beta)});
  memory mean, variance;  // none where they are neither given nor kept
  if (!p.inference()) {
    if (p.test.has_mean()) mean = memory(desc.mean_desc(), cpu());
    variance = memory(desc.variance_desc(), cpu());
  } else if (running) {
    mean = vector_over(p.running_mean);
    variance = vector_over(p.running_var);
  }
  if (mean) norm.arguments.insert({DNNL_ARG_MEAN, mean});
  if (variance) norm.arguments.insert({DNNL_ARG_VARIANCE, variance});
  std::vector<Step> steps;
  if (!p.backward()) {
    steps.push_back(norm);
    if (p.test.silu) {
      steps.push_back({dnnl::eltwise_forward(silu_forward_desc(t.desc())),
                       {{DNNL_ARG_SRC, t.out}, {DNNL_ARG_DST, t.out}}});
    }
    if (!running || p.inference()) return {[steps] { run(steps); }, deliver};
    return {[steps, mean, variance, statistics = RunningStatistics(p)]() mutable {
              run(steps);
              statistics.update(data_of(mean), data_of(variance));
            },
            deliver};
  }

  memory dz = t.dy;
  if (p.test.silu) {
    const memory z(t.desc(), cpu());
    norm.arguments[DNNL_ARG_DST] = z;
    dz = memory(t.desc(), cpu());
    steps.push_back({dnnl::eltwise_backward(silu_backward_desc(t.desc())),
                     {{DNNL_ARG_SRC, z}, {DNNL_ARG_DIFF_DST, t.dy}, {DNNL_ARG_DIFF_SRC, dz}}});
  }
  run({norm});
  steps.push_back({Backward(backward_desc<Backward>(desc, t.desc(), epsilon, flags, groups...)),
                   {{DNNL_ARG_SRC, t.x},
                    {DNNL_ARG_MEAN, mean},
                    {DNNL_ARG_VARIANCE, variance},
                    {DNNL_ARG_SCALE, scale},
                    {DNNL_ARG_SHIFT, vector_over(p.beta)},
                    {DNNL_ARG_DIFF_DST, dz},
                    {DNNL_ARG_DIFF_SRC, t.out},
                    {DNNL_ARG_DIFF_SCALE, vector_over(p.grad_gamma)},
                    {DNNL_ARG_DIFF_SHIFT, vector_over(p.grad_beta)}}});
  return {[steps] { run(steps); }, deliver};
}

std::optional<Pass> prepare(Problem<float>& p, Tag tag) {
  try {
    switch (p.test.norm) {
      case Norm::kBatch:
        return pass_of<dnnl::batch_normalization_forward, dnnl::batch_normalization_backward>(p, tag);
      case Norm::kRms:
#ifdef EK_ONEDNN_HAS_RMS_NORM
        // Its dx is wrong as of 3.14: it subtracts the mean of gamma dy, as that of layer norm does.
        if (p.backward()) return std::nullopt;
        [[fallthrough]];
#else
        return std::nullopt;
#endif
      case Norm::kLayer:
        if (p.test.layout == Layout::kChannelsFirst) return std::nullopt;
        return pass_of<dnnl::layer_normalization_forward, dnnl::layer_normalization_backward>(p, tag);
      case Norm::kGroup:
      case Norm::kInstance:
#if DNNL_VERSION_MAJOR > 3 || (DNNL_VERSION_MAJOR == 3 && DNNL_VERSION_MINOR >= 3)
        return pass_of<dnnl::group_normalization_forward, dnnl::group_normalization_backward>(
            p, tag, p.test.groups());
#else
        return std::nullopt;
#endif
    }
  } catch (const dnnl::error& error) {
    if (error.status != dnnl_unimplemented) throw;
  }
  return std::nullopt;
}

int channels_in_block() {
  constexpr int kAvx512 = static_cast<int>(dnnl::cpu_isa::avx512_core);
  return (static_cast<int>(dnnl::get_effective_cpu_isa()) & kAvx512) == kAvx512 ? 16 : 8;
}

/// Channels in blocks of one vector: what oneDNN likes best, but for group norm, which it computes there by its
/// reference. Reordering to it takes time, which is not counted.
std::optional<Pass> prepare_blocked(Problem<float>& p) {
  const Case& c = p.test;
  const int block = channels_in_block();
  if (c.norm != Norm::kBatch || c.layout != Layout::kChannelsFirst || c.channels % block != 0)
    return std::nullopt;
  return prepare(p, block == 16 ? Tag::nChw16c : Tag::nChw8c);
}

std::optional<Pass> no_double(Problem<double>&) { return std::nullopt; }

}  // namespace
}  // namespace evenkeel::benchmarks

void evenkeel_add_peer(std::vector<evenkeel::benchmarks::Library>& libraries, int) {
  using namespace evenkeel::benchmarks;
  const dnnl_version_t& v = *dnnl_version();
  const std::string version =
      std::to_string(v.major) + "." + std::to_string(v.minor) + "." + std::to_string(v.patch);
  const auto plain = [](Problem<float>& p) { return prepare(p, Tensors::tag_of(p.test)); };
  libraries.push_back({"oneDNN", version, plain, no_double});
  const std::string blocked = kBlockedOneDnn + std::to_string(channels_in_block()) + "c";
  libraries.push_back({blocked, version, prepare_blocked, no_double});
}
