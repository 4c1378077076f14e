// Nothing is read or written beside a tensor or a parameter, and where they lie does not show in the bits: every norm
// and walk, in arrays that lie at a page without access, at every offset from a cache line.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <evenkeel/evenkeel.hpp>
#include <string>
#include <type_traits>
#include <vector>

#include "support/compiled_kernels.hpp"
#include "support/data.hpp"
#include "support/guarded.hpp"
#include "support/shape.hpp"

namespace ek_test {
namespace {

namespace ek = evenkeel;
namespace detail = ek::detail;

enum class Norm { batch, layer, group };

/// A norm over a row-major tensor.
struct Case {
  std::string walk;
  Norm norm;
  Shape shape;
  Index axis = 1, batch_axis = 0, groups = 2;

  Index params() const { return shape[at(axis)]; }
};

/// One or more of every walk, over sizes that are around a width.
std::vector<Case> cases_of(Index width) {
  std::vector<Case> cases = {
      {"two runs", Norm::batch, {2, 2, 257 + width}},
      {"columns", Norm::batch, {5, width}},
      {"columns of short lines", Norm::batch, {3, 5, width}},
      {"one channel", Norm::batch, {2, 1, width}},
      {"rows", Norm::layer, {9, width}},
      {"columns of samples", Norm::layer, {2, 5, width}},
      {"runs that follow each other", Norm::group, {2, 4, width}},
      {"rows of groups", Norm::group, {5, 2 * width}},
      {"columns of groups", Norm::group, {2, 7, 2 * width}, 2},
      {"columns of groups' short lines", Norm::group, {2, 3, 4, width}, 2},
      {"columns of samples and channels", Norm::group, {4, 3, width}, 0, 2},
      {"columns of samples and elements", Norm::group, {4, width}, 0, 1},
  };
  if (width > 1) cases.push_back({"runs", Norm::batch, {1, 3, width}});
  return cases;
}
constexpr Index kWidest = 129;

/// Rows of whole vectors, enough of them that some are written while others are summed.
std::vector<Case> whole_vector_cases() {
  return {{"rows", Norm::layer, {37, 512}},
          {"rows of groups", Norm::group, {19, 2 * 512}},
          {"rows", Norm::layer, {70, 96}},
          {"rows", Norm::layer, {21, 64}}};
}

/// Sizes that are written past the caches, see find_caches() in core/pass.hpp. The last has so many sets that their statistics
/// are, too.
std::vector<Case> large_cases() {
  return {{"runs", Norm::batch, {2, 3, 140003}},
          {"columns", Norm::batch, {3001, 263}},
          {"columns of short lines", Norm::batch, {401, 41, 49}},
          {"rows", Norm::layer, {1031, 769}},
          {"rows of whole lines", Norm::layer, {1030, 768}},
          {"rows in pieces", Norm::layer, {2, 400009}},
          {"columns of samples", Norm::layer, {2, 57, 7013}},
          {"runs of groups", Norm::group, {2, 8, 50021}},
          {"columns of groups", Norm::group, {3, 1001, 264}, 2},
          {"narrow rows", Norm::layer, {270011, 3}}};
}

template <typename Count>
Index most_of(const std::vector<Case>& cases, Count count) {
  Index most = 0;
  for (const Case& c : cases) most = std::max(most, count(c));
  return most;
}

/// Widths of whole vectors, one more and one less.
bool is_near_vectors(Index width) {
  for (const Index vector : {1, 2, 4, 8, 16, 32, 48, 64, 128})
    if (std::abs(width - vector) <= 1) return true;
  return false;
}

std::vector<Index> widths_here() {
  std::vector<Index> widths = {127, 128, kWidest};
  for (Index width = 1; width <= 70; ++width) widths.push_back(width);
  return widths;
}

/// Where each argument lies.
struct Placing {
  Place x, dy, out, params;

  static Placing all(Place place) { return {place, place, place, place}; }
};

template <typename T>
bool all_finite(const std::vector<T>& values) {
  for (const T& value : values)
    if (!std::isfinite(static_cast<double>(value))) return false;
  return true;
}

enum class Params { none, gamma, both };
const std::vector<Params> kEveryParams = {Params::both, Params::gamma, Params::none};

/// A training step and an inference, with all arguments in guarded memory.
template <typename S>
class Memory {
 public:
  using Param = ek::ParamOf<S>;
  using Statistic = ek::StatisticOf<S>;

  explicit Memory(const std::vector<Case>& largest)
      : Memory(most_of(largest, [](const Case& c) { return size_of(c.shape); }),
               most_of(largest, [](const Case& c) { return c.params(); })) {}
  Memory(Index most, Index most_params)
      : x_(most),
        dy_(most),
        y_(most),
        dx_(most),
        gamma_(most_params),
        beta_(most_params),
        mean_(most_params),
        variance_(most_params),
        grad_gamma_(most_params),
        grad_beta_(most_params),
        sums_(2 * most) {}

  /// Bits of everything, wherever it lies.
  void expect_same_anywhere(const Case& c, const std::vector<Placing>& placings,
                            const std::vector<Params>& every_params = kEveryParams) {
    prepare(c);
    expect_same(c, placings, every_params);
  }

  /// The same where sets are summed twice, and one is computed apart from the others.
  void expect_same_anywhere_of_hard_data(const Case& c, const std::vector<Placing>& placings) {
    prepare(c);
    for (Index i = 0; i < std::min<Index>(size_, 16); ++i)
      x_values_[at(i)] = static_cast<S>(static_cast<float>(x_values_[at(i)]) + 1000);
    x_values_.back() = static_cast<S>(sizeof(S) == 8 ? 1e200 : 1e30);
    expect_same(c, placings, kEveryParams);
  }

  /// The same of passes that write past the caches, as they else do large tensors.
  void expect_same_past_caches(const Case& c, const std::vector<Placing>& placings) {
    prepare(c);
    params_ = Params::both;
    const Results expected = run(c, Placing::all(Place::begin().at(0)), Beside::zero);
    for (const Placing& placing : placings) {
      const Results got = run_past_caches(c, placing);
      EXPECT_TRUE(same_bytes(got.y, expected.y)) << "y of forward, " << now();
      EXPECT_TRUE(same_bytes(got.dx, expected.dx)) << "dx, " << now();
      EXPECT_TRUE(same_bytes(got.inferred, expected.inferred)) << "y of infer, " << now();
      if (::testing::Test::HasFailure()) return;
    }
  }

 private:
  struct Results {
    std::vector<S> y, dx, inferred, y_in_place, dx_in_place, inferred_in_place;
    std::vector<Param> grad_gamma, grad_beta;
    std::vector<Statistic> mean, inv_std;
  };

  void prepare(const Case& c) {
    size_ = size_of(c.shape);
    x_values_ = random_values<S>(size_, 3, 1, 1);
    dy_values_ = random_values<S>(size_, 0.5, 1, 2);
    gamma_values_ = random_values<Param>(c.params(), 1, 0.5, 3);
    beta_values_ = random_values<Param>(c.params(), 0, 1, 4);
    mean_values_ = random_values<Param>(c.params(), 3, 0.1, 5);
    variance_values_ = std::vector<Param>(at(c.params()), Param(1.25));
  }

  void expect_same(const Case& c, const std::vector<Placing>& placings,
                   const std::vector<Params>& every_params) {
    for (const Params params : every_params) {
      params_ = params;
      // The only one with numbers beside the arrays: were they read, all others would differ.
      const Placing aligned = Placing::all(Place::begin().at(0));
      const Results expected = run(c, aligned, Beside::zero);
      EXPECT_TRUE(all_finite(expected.y) && all_finite(expected.dx) && all_finite(expected.inferred))
          << now();
      for (const Placing& placing : placings) {
        if (params != Params::both && placing.x.offset > 0) continue;
        const Results got = run(c, placing, Beside::nan);
        EXPECT_TRUE(same_bytes(got.y, expected.y)) << "y of forward, " << now();
        EXPECT_TRUE(same_bytes(got.mean, expected.mean)) << "mean, " << now();
        EXPECT_TRUE(same_bytes(got.inv_std, expected.inv_std)) << "inv_std, " << now();
        EXPECT_TRUE(same_bytes(got.dx, expected.dx)) << "dx, " << now();
        EXPECT_TRUE(same_bytes(got.grad_gamma, expected.grad_gamma)) << "grad_gamma, " << now();
        EXPECT_TRUE(same_bytes(got.grad_beta, expected.grad_beta)) << "grad_beta, " << now();
        EXPECT_TRUE(same_bytes(got.inferred, expected.inferred)) << "y of infer, " << now();
        EXPECT_TRUE(same_bytes(got.y_in_place, expected.y)) << "y in place, " << now();
        EXPECT_TRUE(same_bytes(got.dx_in_place, expected.dx)) << "dx in place, " << now();
        EXPECT_TRUE(same_bytes(got.inferred_in_place, expected.inferred)) << "y of infer in place, " << now();
        if (::testing::Test::HasFailure()) return;
      }
    }
  }

  void lay(const Case& c, const Placing& placing, Beside beside) {
    const auto text = [](const char* name, const Place& place) {
      return std::string(name) + (place.side == Place::Side::begin ? " after" : " before") + " a page" +
             (place.offset < 0 ? "" : " at " + std::to_string(place.offset));
    };
    static const char* const kParams[] = {"no parameters", "gamma", "gamma and beta"};
    now() = c.walk + " of " + to_string(c.shape) + ", " + kParams[static_cast<int>(params_)] + ", " +
            std::to_string(sizeof(S)) + " bytes an element: " + text("x", placing.x) +
            text(", dy", placing.dy) + text(", y and dx", placing.out) + text(", parameters", placing.params);

    x_.lay(x_values_, placing.x, beside);
    dy_.lay(dy_values_, placing.dy, beside);
    lay_output(y_, placing);
    lay_output(dx_, placing);
    const std::vector<Param> none;
    gamma_.lay(params_ == Params::none ? none : gamma_values_, placing.params, beside);
    beta_.lay(params_ == Params::both ? beta_values_ : none, placing.params, beside);
    mean_.lay(mean_values_, placing.params, beside);
    variance_.lay(variance_values_, placing.params, beside);
    grad_gamma_.lay(c.params(), placing.params, Beside::number);
    grad_beta_.lay(c.params(), placing.params, Beside::number);
  }

  void lay_output(GuardedArray<S>& out, const Placing& placing) {
    out.lay(size_, placing.out, Beside::number);
  }

  Results run(const Case& c, const Placing& placing, Beside beside) {
    lay(c, placing, beside);
    Results r;
    ek::Moments<Statistic> moments;
    forward(c, y_.data(), moments);
    r.y = y_.values();
    r.mean.assign(moments.mean.begin(), moments.mean.end());
    r.inv_std.assign(moments.inv_std.begin(), moments.inv_std.end());
    backward(c, dx_.data(), moments);
    r.dx = dx_.values();
    r.grad_gamma = grad_gamma_.values();
    r.grad_beta = grad_beta_.values();
    lay_output(y_, placing);
    infer(c, y_.data());
    r.inferred = y_.values();
    EXPECT_TRUE(same_bytes(x_.values(), x_values_) && same_bytes(dy_.values(), dy_values_)) << now();

    backward(c, dy_.data(), moments);
    r.dx_in_place = dy_.values();
    forward(c, x_.data(), moments);
    r.y_in_place = x_.values();
    x_.set(x_values_);
    infer(c, x_.data());
    r.inferred_in_place = x_.values();

    expect_beside_intact();
    return r;
  }

  void expect_beside_intact() const {
    EXPECT_TRUE(x_.beside_intact() && dy_.beside_intact()) << "wrote beside x or dy, " << now();
    EXPECT_TRUE(y_.beside_intact() && dx_.beside_intact()) << "wrote beside y or dx, " << now();
    EXPECT_TRUE(grad_gamma_.beside_intact() && grad_beta_.beside_intact())
        << "wrote beside a gradient, " << now();
    EXPECT_TRUE(gamma_.beside_intact() && beta_.beside_intact() && mean_.beside_intact() &&
                variance_.beside_intact())
        << "wrote beside a parameter, " << now();
  }

  /// Passes as calls run them, block by block, of which the library itself says only by size where they write to.
  Results run_past_caches(const Case& c, const Placing& placing) {
    lay(c, placing, Beside::nan);
    now() += ", past the caches";
    const detail::MemoryShape shape(ek::Shape(c.shape), ek::row_major);
    const int axis = static_cast<int>(c.axis), batch_axis = static_cast<int>(c.batch_axis);
    Results r;
    if constexpr (kEveryNorm) {
      if (c.norm == Norm::batch)
        run_past_caches<detail::Sets::channels>(detail::partition_channels(shape, axis), placing, r);
      if (c.norm == Norm::group)
        run_past_caches<detail::Sets::groups>(detail::partition_groups(shape, batch_axis, axis, c.groups),
                                              placing, r);
    }
    if (c.norm == Norm::layer)
      run_past_caches<detail::Sets::features>(detail::partition_features(shape, axis, axis + 1), placing, r);
    expect_beside_intact();
    EXPECT_TRUE(sums_.beside_intact()) << now();
    return r;
  }

  template <detail::Sets kSets>
  void run_past_caches(const detail::Partition& p, const Placing& placing, Results& r) {
    ek::Moments<Statistic> moments(p.sets());
    detail::Pass<S> pass;
    pass.normalize_rows = detail::normalize_rows<S>;
    pass.row_gradients = detail::row_gradients<S>;
    pass.x = x_.data();
    pass.out = y_.data();
    pass.gamma = gamma_.data();
    pass.beta = beta_.data();
    pass.formula.epsilon = ek::BatchNormOptions().epsilon;
    pass.moments = moments.places();
    pass.stream = true;
    for_each_block<kSets>(p, pass, [](const auto& passes, Index, Index begin, Index end) {
      passes.forward(begin, end, detail::ParallelFor());
    });
    r.y = y_.values();

    lay_output(y_, placing);
    pass.moments = {};
    for_each_block<kSets>(p, pass, [&](const auto& passes, Index, Index begin, Index end) {
      if constexpr (kSets == detail::Sets::channels) {
        passes.infer(begin, end, {mean_.data(), variance_.data(), nullptr, nullptr}, detail::ParallelFor());
      } else {
        passes.forward(begin, end, detail::ParallelFor());
      }
    });
    r.inferred = y_.values();

    pass.dy = dy_.data();
    pass.out = dx_.data();
    pass.beta = nullptr;
    pass.saved = std::as_const(moments).places();
    pass.grad_gamma = grad_gamma_.data();
    pass.grad_beta = grad_beta_.data();
    std::vector<Statistic> cached_sums;
    for (const bool streams : {false, true}) {
      lay_output(dx_, placing);
      pass.stream = streams;
      pass.sums = sums_.lay(detail::workspace_size<kSets, S>(p), Place::end(), Beside::number);
      for_each_block<kSets>(p, pass, [&](const auto& passes, Index block, Index begin, Index end) {
        const detail::Workspace<S> workspace(p, passes.blocks().count);
        detail::BlockSums<S> sums{nullptr, nullptr, nullptr};
        if (workspace.params > 0) {
          sums = {workspace.gamma(pass.sums, block), workspace.beta(pass.sums, block),
                  workspace.short_sums(pass.sums, block)};
          std::fill_n(sums.gamma, 2 * workspace.params, Statistic(0));
        }
        passes.backward(begin, end, detail::ParallelFor(), sums);
      });
      if (p.set_size() == 1) detail::set_to_zero(pass.out, p.size());
      if (!streams) cached_sums = sums_.values();
    }
    EXPECT_TRUE(same_bytes(sums_.values(), cached_sums)) << "gradients of parameters, " << now();
    r.dx = dx_.values();
  }

  template <detail::Sets kSets, typename F>
  static void for_each_block(const detail::Partition& p, const detail::Pass<S>& pass, const F& f) {
    detail::with_passes<kSets>(p, pass, [&](const auto& passes) {
      passes.blocks().for_each(detail::ParallelFor(), pass.stream,
                               [&](Index block, Index begin, Index end, const detail::ParallelFor&) {
                                 f(passes, block, begin, end);
                               });
    });
  }

  void forward(const Case& c, S* y, ek::Moments<Statistic>& moments) {
    const auto out = ek::view(y, c.shape);
    if constexpr (kEveryNorm) {
      if (c.norm == Norm::batch) ek::batch_norm_forward(cpu_, x(c), gamma(), beta(), batch(c), out, moments);
      if (c.norm == Norm::group)
        ek::group_norm_forward(cpu_, x(c), c.groups, gamma(), beta(), group(c), out, moments);
    }
    if (c.norm == Norm::layer)
      ek::layer_norm_forward(cpu_, x(c), {c.params()}, gamma(), beta(), layer(c), out, moments);
  }

  void backward(const Case& c, S* dx, const ek::Moments<Statistic>& moments) {
    const auto dy = ek::view<const S>(dy_.data(), c.shape);
    const auto out = ek::view(dx, c.shape);
    const auto grad_gamma = ek::view(grad_gamma_.data(), {c.params()}),
               grad_beta = ek::view(grad_beta_.data(), {c.params()});
    if constexpr (kEveryNorm) {
      if (c.norm == Norm::batch)
        ek::batch_norm_backward(cpu_, x(c), dy, gamma(), moments, batch(c), out, grad_gamma, grad_beta);
      if (c.norm == Norm::group)
        ek::group_norm_backward(cpu_, x(c), dy, c.groups, gamma(), moments, group(c), out, grad_gamma,
                                grad_beta);
    }
    if (c.norm == Norm::layer)
      ek::layer_norm_backward(cpu_, x(c), dy, {c.params()}, gamma(), moments, layer(c), out, grad_gamma,
                              grad_beta);
  }

  void infer(const Case& c, S* y) {
    const auto out = ek::view(y, c.shape);
    if constexpr (kEveryNorm) {
      const auto mean = ek::view<const Param>(mean_.data(), {c.params()}),
                 variance = ek::view<const Param>(variance_.data(), {c.params()});
      if (c.norm == Norm::batch)
        ek::batch_norm_infer(cpu_, x(c), gamma(), beta(), mean, variance, batch(c), out);
      if (c.norm == Norm::group) ek::group_norm_infer(cpu_, x(c), c.groups, gamma(), beta(), group(c), out);
    }
    if (c.norm == Norm::layer) ek::layer_norm_infer(cpu_, x(c), {c.params()}, gamma(), beta(), layer(c), out);
  }

  auto x(const Case& c) { return ek::view<const S>(x_.data(), c.shape); }
  auto gamma() {
    return ek::view<const Param>(
        gamma_.data(), {params_ == Params::none ? Index(0) : static_cast<Index>(gamma_values_.size())});
  }
  auto beta() {
    return ek::view<const Param>(
        beta_.data(), {params_ == Params::both ? static_cast<Index>(beta_values_.size()) : Index(0)});
  }

  static ek::BatchNormOptions batch(const Case& c) {
    ek::BatchNormOptions options;
    options.axis = c.axis;
    return options;
  }
  static ek::LayerNormOptions layer(const Case& c) {
    ek::LayerNormOptions options;
    options.axis = c.axis;
    return options;
  }
  static ek::GroupNormOptions group(const Case& c) {
    ek::GroupNormOptions options;
    options.axis = c.axis;
    options.batch_axis = c.batch_axis;
    return options;
  }

  static std::string& now() { return WhatWasRunning::now(); }

  // half has no kernels of its own but for its conversions: one norm shows that.
  static constexpr bool kEveryNorm = !std::is_same_v<S, Eigen::half>;

  const Eigen::DefaultDevice cpu_{};
  GuardedArray<S> x_, dy_, y_, dx_;
  GuardedArray<Param> gamma_, beta_, mean_, variance_, grad_gamma_, grad_beta_;
  GuardedArray<Statistic> sums_;
  std::vector<S> x_values_, dy_values_;
  std::vector<Param> gamma_values_, beta_values_, mean_values_, variance_values_;
  Index size_ = 0;
  Params params_ = Params::both;
  const WhatWasRunning what_was_running_;
};

/// Right at the pages: behind the one, and before the other.
const std::vector<Placing> kAtPages = {Placing::all(Place::begin()), Placing::all(Place::end())};

/// As near to a page as an offset allows: all arguments at the same one, and x, dy and the output each alone.
template <typename S>
std::vector<Placing> at_every_offset(int step = sizeof(S)) {
  constexpr int kParam = sizeof(ek::ParamOf<S>);
  std::vector<Placing> placings;
  for (int offset = 0; offset < 64; offset += step) {
    for (const Place side : {Place::begin(), Place::end()}) {
      const Place here = side.at(offset), aligned = side.at(0), params = side.at(offset / kParam * kParam);
      placings.push_back({here, here, here, params});
      if (side.side == Place::Side::begin) continue;
      placings.push_back({here, aligned, aligned, aligned});
      placings.push_back({aligned, here, aligned, aligned});
      placings.push_back({aligned, aligned, here, aligned});
    }
  }
  return placings;
}

template <typename S>
void expect_same_at_every_width() {
  Memory<S> memory(cases_of(kWidest));
  for (const Index width : widths_here())
    for (const Case& c : cases_of(width)) memory.expect_same_anywhere(c, kAtPages);
}

template <typename S>
void expect_same_at_every_offset() {
  Memory<S> memory(cases_of(kWidest));
  for (const Index width : widths_here())
    if (is_near_vectors(width))
      for (const Case& c : cases_of(width)) memory.expect_same_anywhere(c, at_every_offset<S>());
}

template <typename S>
void expect_same_past_caches() {
  Memory<S> memory(cases_of(kWidest));
  for (const Index width : widths_here()) {
    for (const Case& c : cases_of(width)) {
      memory.expect_same_past_caches(c, is_near_vectors(width) ? at_every_offset<S>() : kAtPages);
    }
  }
}

template <typename S>
void expect_same_of_hard_data() {
  Memory<S> memory(cases_of(kWidest));
  for (const Index width : {2, 5, 17, 33, 65})
    for (const Case& c : cases_of(width)) memory.expect_same_anywhere_of_hard_data(c, kAtPages);
}

template <typename S>
void expect_same_of_whole_vectors() {
  Memory<S> memory(whole_vector_cases());
  for (const Case& c : whole_vector_cases()) {
    memory.expect_same_anywhere(c, at_every_offset<S>());
    memory.expect_same_past_caches(c, at_every_offset<S>());
  }
}

TEST(MemoryOfFloat, EveryWidth) { expect_same_at_every_width<float>(); }
TEST(MemoryOfFloat, EveryOffset) { expect_same_at_every_offset<float>(); }
TEST(MemoryOfFloat, PastCaches) { expect_same_past_caches<float>(); }
TEST(MemoryOfFloat, HardData) { expect_same_of_hard_data<float>(); }
TEST(MemoryOfFloat, WholeVectors) { expect_same_of_whole_vectors<float>(); }
TEST(MemoryOfFloat, LargeTensors) {
  Memory<float> memory(large_cases());
  std::vector<Placing> placings = kAtPages;
  const Place aligned = Place::end().at(0), here = Place::end().at(36);
  placings.push_back({aligned, aligned, here, aligned});
  for (const Case& c : large_cases()) memory.expect_same_anywhere(c, placings, {Params::both});
}

TEST(MemoryOfDouble, EveryWidth) { expect_same_at_every_width<double>(); }
TEST(MemoryOfDouble, EveryOffset) { expect_same_at_every_offset<double>(); }
TEST(MemoryOfDouble, PastCaches) { expect_same_past_caches<double>(); }
TEST(MemoryOfDouble, HardData) { expect_same_of_hard_data<double>(); }
TEST(MemoryOfDouble, WholeVectors) { expect_same_of_whole_vectors<double>(); }

TEST(MemoryOfBfloat16, EveryWidth) { expect_same_at_every_width<Eigen::bfloat16>(); }
TEST(MemoryOfBfloat16, EveryOffset) { expect_same_at_every_offset<Eigen::bfloat16>(); }
TEST(MemoryOfBfloat16, PastCaches) { expect_same_past_caches<Eigen::bfloat16>(); }
TEST(MemoryOfBfloat16, WholeVectors) { expect_same_of_whole_vectors<Eigen::bfloat16>(); }

TEST(MemoryOfHalf, LayerNorm) {
  Memory<Eigen::half> memory(cases_of(kWidest));
  for (const Index width : widths_here()) {
    for (const Case& c : cases_of(width)) {
      if (c.norm != Norm::layer) continue;
      memory.expect_same_anywhere(c, kAtPages);
      memory.expect_same_past_caches(c, is_near_vectors(width) ? at_every_offset<Eigen::half>() : kAtPages);
    }
  }
}

}  // namespace
}  // namespace ek_test
