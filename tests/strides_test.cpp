// Memory that is not contiguous: every norm over every layout, with nothing, something or much between neighbouring
// dimensions, against the same values in contiguous memory. Nothing between is read or written.
#define EIGEN_USE_THREADS

#include <gtest/gtest.h>

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <cstring>
#include <evenkeel/evenkeel.hpp>
#include <limits>
#include <string>
#include <type_traits>
#include <unsupported/Eigen/CXX11/Tensor>
#include <utility>
#include <vector>

#include "support/contract.hpp"
#include "support/data.hpp"
#include "support/same.hpp"
#include "support/state.hpp"

namespace ek_test {
namespace {

constexpr ek::Layout layout_of(int order) { return order == Eigen::RowMajor ? ek::row_major : ek::col_major; }

/// So many elements between neighbouring dimensions, the slowest first.
using Gaps = std::vector<Index>;

Shape strides_of(const Shape& shape, int order, const Gaps& gaps) {
  const std::vector<Index> axes = memory_order(rank_of(shape), order);
  Shape strides(shape.size(), 1);
  for (std::size_t i = axes.size() - 1; i-- > 0;)
    strides[at(axes[i])] = shape[at(axes[i + 1])] * strides[at(axes[i + 1])] + gaps[i];
  return strides;
}

/// A tensor in memory with gaps, which are NaN.
template <typename S, int kOrder>
class Spaced {
 public:
  Spaced(const Shape& shape, const Gaps& gaps, const std::vector<S>& values)
      : shape_(shape), strides_(strides_of(shape, kOrder, gaps)) {
    Index span = 1;
    for (std::size_t axis = 0; axis < shape.size(); ++axis) span += (shape[axis] - 1) * strides_[axis];
    memory_.assign(at(span), std::numeric_limits<S>::quiet_NaN());
    is_gap_.assign(at(span), true);
    for (std::size_t i = 0; i < values.size(); ++i) {
      memory_[at(offsets()[i])] = values[i];
      is_gap_[at(offsets()[i])] = false;
    }
  }
  Spaced(const Shape& shape, const Gaps& gaps) : Spaced(shape, gaps, std::vector<S>(at(size_of(shape)))) {}

  auto view() { return ek::view(memory_.data(), shape_, layout_of(kOrder), strides_); }
  std::vector<S> values() const {
    std::vector<S> values;
    for (const Index offset : offsets()) values.push_back(memory_[at(offset)]);
    return values;
  }
  bool gaps_intact() const {
    for (std::size_t i = 0; i < memory_.size(); ++i) {
      if (is_gap_[i] && !(memory_[i] != memory_[i])) return false;
    }
    return true;
  }

 private:
  /// Where the elements lie, in the order of memory.
  const std::vector<Index>& offsets() const {
    if (!offsets_.empty()) return offsets_;
    const std::vector<Index> axes = memory_order(rank_of(shape_), kOrder);
    Shape where(shape_.size(), 0);
    for (Index i = 0; i < size_of(shape_); ++i, advance(where, shape_, axes)) {
      Index offset = 0;
      for (std::size_t axis = 0; axis < shape_.size(); ++axis) offset += where[axis] * strides_[axis];
      offsets_.push_back(offset);
    }
    return offsets_;
  }

  Shape shape_, strides_;
  std::vector<S> memory_;
  std::vector<bool> is_gap_;
  mutable std::vector<Index> offsets_;
};

/// What a step of training and an inference give.
template <typename S>
struct Results {
  std::vector<S> y, dx, inferred;
  std::vector<double> state;
};

template <typename Layer, typename Device, typename X, typename Dy, typename Y, typename Dx>
auto results_of(Layer layer, const Device& device, X& x, Dy& dy, Y& y, Dx& dx) {
  Results<typename Layer::Scalar> r;
  layer.forward(device, x.view(), y.view());
  r.y = y.values();
  layer.backward(device, x.view(), dy.view(), dx.view());
  r.dx = dx.values();
  std::as_const(layer).infer(device, x.view(), y.view());
  r.inferred = y.values();
  r.state = state_of(layer);
  return r;
}

template <typename S>
double largest(const std::vector<S>& values) {
  double most = 0;
  for (const S& value : values) most = std::max(most, std::fabs(static_cast<double>(value)));
  return most;
}

/// Twice the contract, which each of the two keeps. Of half, one unit in the last place.
template <typename S>
Real bound() {
  if constexpr (sizeof(S) == 2) {
    return 0x1p-10L;  // of half; Eigen's epsilon is another
  } else {
    return 2 * Tolerance<S>::x;
  }
}

template <typename S>
void expect_near(const std::vector<S>& got, const std::vector<S>& expected, double scale, const char* what) {
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    const Real apart = std::fabs(static_cast<Real>(got[i]) - static_cast<Real>(expected[i]));
    if (!(apart <= bound<S>() * scale)) {
      FAIL() << what << " " << i << " is apart by " << apart << " on a scale of " << scale;
    }
  }
}

template <typename S>
::testing::AssertionResult same_values(const std::vector<S>& a, const std::vector<S>& b) {
  if constexpr (sizeof(S) == 2) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(S)) == 0
               ? ::testing::AssertionSuccess()
               : ::testing::AssertionFailure();
  } else {
    return same_bits(a, b);
  }
}

template <typename S>
void expect_same(const Results<S>& got, const Results<S>& expected) {
  EXPECT_TRUE(same_values(got.y, expected.y)) << "y of forward";
  EXPECT_TRUE(same_values(got.dx, expected.dx)) << "dx";
  EXPECT_TRUE(same_values(got.inferred, expected.inferred)) << "y of infer";
  EXPECT_TRUE(same_bits(got.state, expected.state)) << "parameters and statistics";
}

/// Whether y and dx have the bits that they have without gaps, since sums are taken in the same order.
enum class Bits { same, near };

/// Results of walks with and without gaps, of x with a std of about 1.
template <typename S, typename Layer>
void expect_alike(const Results<S>& got, const Results<S>& expected, const Layer& layer,
                  const std::vector<S>& dy, Bits bits) {
  const bool is_same = bits == Bits::same;
  const double y_scale = is_same ? 0 : std::max(1.0, largest(expected.y));
  expect_near(got.y, expected.y, y_scale, "y of forward");
  expect_near(got.inferred, expected.inferred, y_scale, "y of infer");
  const double most_gamma =
      layer.gamma().size() == 0 ? 1 : static_cast<double>(layer.gamma().abs().maxCoeff());
  const double dx_scale = is_same ? 0 : std::max(largest(expected.dx), most_gamma * largest(dy));
  expect_near(got.dx, expected.dx, dx_scale, "dx");
  ASSERT_EQ(got.state.size(), expected.state.size());
  for (std::size_t i = 0; i < expected.state.size(); ++i)
    EXPECT_NEAR(got.state[i], expected.state[i],
                2e-6 * static_cast<double>(got.y.size()) * std::max(1.0, std::fabs(expected.state[i])));
}

/// All calls with gaps. Returns whether these can be walked; where they cannot, all calls that write with them are refused.
template <int kOrder, typename Layer, typename Device>
bool expect_gaps(const Layer& layer, const Device& device, const Shape& shape, const Gaps& gaps, Bits bits) {
  using S = typename Layer::Scalar;
  SCOPED_TRACE(to_string(shape) + (kOrder == Eigen::RowMajor ? " row-major" : " column-major") +
               " with gaps " + to_string(gaps));
  const std::vector<S> x_values = random_values<S>(size_of(shape), 3, 1, 1),
                       dy_values = random_values<S>(size_of(shape), 0.5, 1, 2);
  using Memory = Spaced<S, kOrder>;
  const Gaps none(gaps.size(), 0);
  Memory x(shape, none, x_values), dy(shape, none, dy_values), y(shape, none), dx(shape, none);
  const auto expected = results_of(layer, device, x, dy, y, dx);

  // Contiguous outputs: the inputs are copied, and all bits are the same.
  Memory x_apart(shape, gaps, x_values), dy_apart(shape, gaps, dy_values), y_apart(shape, gaps),
      dx_apart(shape, gaps);
  expect_same(results_of(layer, device, x_apart, dy_apart, y, dx), expected);

  // Outputs with gaps: the calls walk them.
  bool walks = true;
  const auto walk = [&](auto& from_x, auto& from_dy, const char* what) {
    SCOPED_TRACE(what);
    Results<S> got;
    const std::string message =
        refusal([&] { got = results_of(layer, device, from_x, from_dy, y_apart, dx_apart); });
    if (message != "(nothing was thrown)") {
      EXPECT_TRUE(says(message, {"forward:", "strides", "take more loops than this norm walks"}));
      walks = false;
      return;
    }
    EXPECT_TRUE(y_apart.gaps_intact() && dx_apart.gaps_intact());
    expect_alike(got, expected, layer, dy_values, bits);
  };
  walk(x_apart, dy_apart, "all with gaps");
  walk(x, dy, "outputs with gaps");
  walk(x_apart, dy, "dy without gaps");
  if (walks) {  // in place
    Memory both(shape, gaps, x_values);
    std::as_const(layer).infer(device, x_apart.view(), y_apart.view());
    std::as_const(layer).infer(device, both.view(), both.view());
    EXPECT_TRUE(same_values(both.values(), y_apart.values()) && both.gaps_intact());
    if constexpr (HasRunningStatistics<Layer>::value) {
      layer.infer(device, x.view(), y.view());
      if (layer.options().track_running_stats) {  // given statistics have no order of additions
        EXPECT_TRUE(same_values(y_apart.values(), y.values())) << "y of infer";
      }
    }
  }
  EXPECT_TRUE(x_apart.gaps_intact() && dy_apart.gaps_intact());
  EXPECT_TRUE(same_values(x_apart.values(), x_values) && same_values(dy_apart.values(), dy_values));
  return walks;
}

enum class Answer { yes, no, maybe };

/// Gaps between two neighbouring axes, of which `walks` says whether they are walked, and between several.
template <int kOrder, typename Layer, typename Walks>
void expect_all_gaps(Layer layer, const Shape& shape, Bits bits, const Walks& walks) {
  randomize_parameters(layer);
  const std::size_t boundaries = shape.size() - 1;
  for (unsigned choice = 1; choice < 1u << boundaries; ++choice) {
    const bool is_one_or_all = (choice & (choice - 1)) == 0 || choice == (1u << boundaries) - 1;
    if (boundaries > 2 && !is_one_or_all) continue;
    Gaps gaps(boundaries, 0);
    for (std::size_t i = 0; i < boundaries; ++i)
      if ((choice >> i & 1) != 0) gaps[i] = 3 + static_cast<Index>(i);
    const bool done = expect_gaps<kOrder>(layer, Eigen::DefaultDevice(), shape, gaps, bits);
    for (std::size_t i = 0; i < boundaries; ++i) {
      if (choice != 1u << i) continue;
      const std::vector<Index> axes = memory_order(rank_of(shape), kOrder);
      const Answer expected = walks(axes[i], axes[i + 1]);
      if (expected == Answer::maybe) continue;
      EXPECT_EQ(done, expected == Answer::yes) << to_string(shape) << to_string(gaps);
    }
  }
}

template <typename C>
class Strides : public ::testing::Test {};
using StridedCases = ::testing::Types<RowMajorCase<float>, ColMajorCase<Eigen::half>>;
TYPED_TEST_SUITE(Strides, StridedCases, CaseName);

const std::vector<Shape>& shapes() {
  static const std::vector<Shape> all = {{5, 4},       {30, 130},      {3, 4, 5},      {2, 6, 33},
                                         {2, 4, 3, 5}, {2, 6, 11, 13}, {2, 3, 2, 4, 3}};
  return all;
}

TYPED_TEST(Strides, OfBatchNorm) {
  using C = TypeParam;
  for (const Shape& shape : shapes())
    for (Index axis = 0; axis < rank_of(shape); ++axis) {
      ek::BatchNormOptions options;
      options.axis = axis;
      expect_all_gaps<C::kOrder>(ek::BatchNorm<typename C::Scalar>(shape[at(axis)], options), shape,
                                 Bits::near, [](Index, Index) { return Answer::yes; });
    }
}

TYPED_TEST(Strides, OfLayerNorm) {
  using C = TypeParam;
  for (const Shape& shape : shapes())
    for (Index axis = 0; axis < rank_of(shape); ++axis)
      for (Index count = 1; axis + count <= rank_of(shape) && count <= 2; ++count) {
        ek::LayerNormOptions options;
        options.axis = axis;
        const Shape features(shape.begin() + axis, shape.begin() + axis + count);
        // Features are one loop. Samples are two: of rows both are slower, of columns one is slower and one faster.
        const auto is_feature = [&](Index a) { return a >= axis && a < axis + count; };
        const bool is_row_major = C::kOrder == Eigen::RowMajor, first = axis == 0,
                   last = axis + count == rank_of(shape);
        const bool are_rows = is_row_major ? last : first, has_slower = is_row_major ? !first : !last;
        const auto is_slower = [&](Index a) { return is_row_major ? a < axis : a >= axis + count; };
        expect_all_gaps<C::kOrder>(ek::LayerNorm<typename C::Scalar>(features, options), shape,
                                   are_rows ? Bits::same : Bits::near, [&](Index a, Index b) {
                                     const bool walks = is_feature(a) || is_feature(b)
                                                            ? is_feature(a) != is_feature(b)
                                                        : is_slower(a) ? are_rows
                                                                       : !has_slower;
                                     return walks ? Answer::yes : Answer::no;
                                   });
      }
}

TYPED_TEST(Strides, OfGroupNorm) {
  using C = TypeParam;
  for (const Shape& shape : shapes())
    for (Index axis = 0; axis < rank_of(shape); ++axis)
      for (Index batch = -1; batch < rank_of(shape); ++batch) {
        if (batch == axis) continue;
        ek::GroupNormOptions options;
        options.axis = axis;
        options.batch_axis = batch < 0 ? ek::no_axis : batch;
        const Index channels = shape[at(axis)], groups = channels % 2 == 0 ? 2 : 1;
        const bool samples_are_slowest =
            batch < 0 || batch == (C::kOrder == Eigen::RowMajor ? 0 : rank_of(shape) - 1);
        expect_all_gaps<C::kOrder>(
            ek::GroupNorm<typename C::Scalar>(groups, channels, options), shape, Bits::near,
            [&](Index, Index) { return samples_are_slowest ? Answer::yes : Answer::maybe; });
      }
}

TYPED_TEST(Strides, OfInstanceNorm) {
  using C = TypeParam;
  for (const bool affine : {false, true})
    for (const Shape& shape : {Shape{3, 4, 5}, Shape{2, 6, 11, 13}, Shape{3, 150, 20}}) {
      const Index last = rank_of(shape) - 1;
      for (const Index axis : {Index(1), last}) {
        ek::InstanceNormOptions options;
        options.axis = C::kOrder == Eigen::RowMajor ? axis : last - axis;
        options.batch_axis = C::kOrder == Eigen::RowMajor ? 0 : last;
        options.affine = affine;
        expect_all_gaps<C::kOrder>(ek::InstanceNorm<typename C::Scalar>(shape[at(options.axis)], options),
                                   shape, Bits::near, [](Index, Index) { return Answer::yes; });
      }
    }
}

// Large enough to be written past the caches, by one thread and by several.
TEST(StridesOfLargeTensors, HaveTheBitsOfOneThread) {
  Eigen::ThreadPool pool(3);
  const Eigen::ThreadPoolDevice device(&pool, 3);
  const auto expect = [&](auto layer, const Shape& shape, const Gaps& gaps, Bits bits) {
    SCOPED_TRACE(to_string(shape) + " with gaps " + to_string(gaps));
    randomize_parameters(layer);
    const auto x_values = random_values<float>(size_of(shape), 3, 1, 1),
               dy_values = random_values<float>(size_of(shape), 0.5, 1, 2);
    const auto results = [&](const auto& its_device, const Gaps& its_gaps) {
      using Memory = Spaced<float, Eigen::RowMajor>;
      Memory x(shape, its_gaps, x_values), dy(shape, its_gaps, dy_values), y(shape, its_gaps),
          dx(shape, its_gaps);
      const auto all = results_of(layer, its_device, x, dy, y, dx);
      EXPECT_TRUE(y.gaps_intact() && dx.gaps_intact());
      return all;
    };
    const Eigen::DefaultDevice one_thread;
    const auto one = results(one_thread, gaps);
    expect_same(results(device, gaps), one);
    expect_alike(one, results(one_thread, Gaps(gaps.size(), 0)), layer, dy_values, bits);
  };
  ek::BatchNormOptions last;
  last.axis = 3;
  ek::LayerNormOptions second;
  second.axis = 1;
  expect(ek::BatchNorm<float>(48), {4, 48, 67, 71}, {0, 0, 9}, Bits::near);
  expect(ek::BatchNorm<float>(96, last), {2, 61, 67, 96}, {0, 0, 5}, Bits::near);
  expect(ek::LayerNorm<float>(768), {1100, 768}, {16}, Bits::same);
  expect(ek::LayerNorm<float>(64, second), {3, 64, 4201}, {0, 13}, Bits::near);
  expect(ek::GroupNorm<float>(8, 48), {4, 48, 67, 71}, {0, 0, 9}, Bits::near);
}

/// What is fused, with gaps everywhere, against the same without.
template <typename Layer>
void expect_fused_gaps(Layer fresh, const Shape& shape, const Gaps& gaps) {
  SCOPED_TRACE(to_string(shape) + " with gaps " + to_string(gaps));
  using S = typename Layer::Scalar;
  using Memory = Spaced<S, Eigen::RowMajor>;
  randomize_parameters(fresh);
  const auto values = [&](unsigned seed) { return random_values<S>(size_of(shape), 1, 1, seed); };
  std::vector<std::vector<S>> results[2];
  for (const bool has_gaps : {false, true}) {
    Layer layer = fresh;
    const Gaps its = has_gaps ? gaps : Gaps(gaps.size(), 0);
    Memory x(shape, its, values(1)), dy(shape, its, values(2)), residual(shape, its, values(3)),
        y(shape, its), dx(shape, its), d_residual(shape, its);
    const auto keep = [&](std::initializer_list<const Memory*> outputs) {
      for (const Memory* out : outputs) {
        EXPECT_TRUE(out->gaps_intact());
        results[has_gaps].push_back(out->values());
      }
    };
    layer.forward(x.view(), y.view(), ek::add_relu(residual.view()));
    layer.backward(x.view(), dy.view(), dx.view(), ek::add_relu(residual.view(), d_residual.view()));
    keep({&y, &dx, &d_residual});
    layer.backward(x.view(), dy.view(), dx.view(), ek::add(residual.view(), d_residual.view()));
    keep({&dx, &d_residual});
    layer.infer(x.view(), y.view(), ek::silu());
    keep({&y});
    if constexpr (!HasRunningStatistics<Layer>::value) {
      Memory& sum = d_residual;
      layer.forward(x.view(), y.view(), ek::residual_in(residual.view(), sum.view()));
      keep({&y, &sum});
      layer.backward(sum.view(), dy.view(), dx.view(), ek::plus(residual.view()));
      keep({&dx});
    }
  }
  ASSERT_EQ(results[0].size(), results[1].size());
  for (std::size_t i = 0; i < results[0].size(); ++i)
    expect_near(results[1][i], results[0][i], std::max(4.0, largest(results[0][i])), "result");
}

TEST(StridesOfWhatIsFused, AreTheSameAsThoseOfTheOutput) {
  for (const Gaps& gaps : {Gaps{0, 5}, Gaps{5, 0}}) {
    expect_fused_gaps(ek::BatchNorm<float>(4), {3, 4, 35}, gaps);
    expect_fused_gaps(ek::LayerNorm<float>(35), {3, 4, 35}, gaps);
    expect_fused_gaps(ek::RMSNorm<float>(35), {3, 4, 35}, gaps);
  }
  expect_fused_gaps(ek::LayerNorm<float>(1), {3, 4, 1}, {5, 0});  // a set of one value
  Eigen::Matrix<float, 6, 8, Eigen::RowMajor> m = Eigen::Matrix<float, 6, 8, Eigen::RowMajor>::Random();
  Eigen::Matrix<float, 6, 4, Eigen::RowMajor> x = m.leftCols(4), y;
  const auto before = m;
  ek::LayerNorm<float> layer(4);
  EXPECT_EQ(refusal([&] { layer.infer(x, y, ek::add(m.leftCols(4))); }),
            "evenkeel::LayerNorm::infer: residual has strides [8, 1], expected the output's []; those of "
            "contiguous memory are []");
  EXPECT_EQ(refusal([&] { layer.infer(x, m.leftCols(4), ek::add(y)); }),
            "evenkeel::LayerNorm::infer: residual has strides [], expected the output's [8, 1]; those of "
            "contiguous memory are []");
  // x would be copied over it.
  EXPECT_EQ(refusal([&] { layer.infer(x, m.leftCols(4), ek::add(m.leftCols(4))); }),
            "evenkeel::LayerNorm::infer: y overlaps residual");
  EXPECT_EQ(m, before);
}

// Blocks of Eigen's matrices, as callers write them.
TEST(StridesOfMatrices, AreTaken) {
  using RowMatrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const auto expect = [](auto big, auto block) {
    using Matrix = decltype(big);
    Matrix whole = Matrix::Random(9, 12), out = Matrix::Constant(9, 12, -7);
    ek::LayerNorm<float> layer(block(whole).cols());
    randomize_parameters(layer);
    const Matrix x = block(whole), y = layer.forward(x), dx = layer.backward(x, x);
    const auto expect_near = [](const Matrix& got, const Matrix& expected) {
      EXPECT_LE((got - expected).cwiseAbs().maxCoeff(),
                2e-6f * std::max(1.0f, expected.cwiseAbs().maxCoeff()));
    };
    EXPECT_EQ(layer.forward(block(whole)), y);
    EXPECT_EQ(layer.backward(block(whole), block(whole)), dx);
    layer.forward(block(whole), block(out));
    expect_near(block(out), y);
    layer.backward(block(whole), x, block(out));
    expect_near(block(out), dx);
    const Eigen::Ref<const Matrix, 0, Eigen::OuterStride<>> ref = block(whole);
    EXPECT_EQ(layer.infer(ref), y);
    layer.infer(block(whole), block(whole));
    expect_near(block(whole), y);
    block(out).setConstant(-7);
    EXPECT_EQ(out, Matrix::Constant(9, 12, -7));  // nothing beside the block was written
  };
  expect(RowMatrix(), [](RowMatrix& m) { return m.leftCols(5); });
  expect(RowMatrix(), [](RowMatrix& m) { return m.block(2, 3, 4, 8); });
  expect(Eigen::MatrixXf(), [](Eigen::MatrixXf& m) { return m.topRows(5); });
  expect(Eigen::MatrixXf(), [](Eigen::MatrixXf& m) { return m.block(2, 3, 4, 8); });
}

TEST(StridesOfViews, AreRefusedWhereElementsWouldOverlapOrLieApart) {
  std::vector<float> data(100);
  const auto message = [&](const Shape& shape, const Shape& strides, ek::Layout layout = ek::row_major) {
    return refusal([&] { ek::view(data.data(), shape, layout, strides); });
  };
  EXPECT_EQ(message({3, 4}, {6, 1}), "(nothing was thrown)");
  EXPECT_EQ(message({3, 4}, {1, 3}, ek::col_major), "(nothing was thrown)");
  EXPECT_EQ(message({3, 4}, {1, 2}, ek::col_major),
            "evenkeel::view: view has stride 2 on axis 1 of [3, 4], must be at least 3; copy it first");
  EXPECT_EQ(message({3, 4}, {3, 1}),
            "evenkeel::view: view has stride 3 on axis 0 of [3, 4], must be at least 4; copy it first");
  EXPECT_EQ(message({3, 4}, {8, 2}),
            "evenkeel::view: view has stride 2 on axis 1 of [3, 4], must be 1; copy it first");
  EXPECT_EQ(message({3, 4}, {6}), "evenkeel::view: view has 1 stride [6] for shape [3, 4]");
  EXPECT_TRUE(
      says(message({3, 4}, {std::numeric_limits<Index>::max() / 4, 1}), {"more elements than memory"}));
  EXPECT_EQ(message({1, 4, 1}, {0, 1, -5}), "(nothing was thrown)");  // axes of one element have none
}

TEST(StridesOfViews, AreRefusedOfParametersAndGradients) {
  Eigen::Matrix<float, 4, 6, Eigen::RowMajor> many = Eigen::Matrix<float, 4, 6, Eigen::RowMajor>::Ones();
  const Eigen::MatrixXf x = Eigen::MatrixXf::Random(8, 4);
  Eigen::MatrixXf y, dx;
  Eigen::VectorXf four = Eigen::VectorXf::Ones(4);
  ek::Moments<double> moments;
  Eigen::Map<Eigen::VectorXf, 0, Eigen::InnerStride<>> apart(many.data(), 4, Eigen::InnerStride<>(6));
  EXPECT_EQ(refusal([&] { ek::batch_norm_forward(Eigen::DefaultDevice(), x, apart, four, {}, y, moments); }),
            "evenkeel::batch_norm_forward: gamma has stride 6 on axis 0 of [4], must be 1; copy it first");
  const auto next_to_each_other = ek::view(four.data(), {4}, ek::row_major, {1});
  ek::batch_norm_forward(Eigen::DefaultDevice(), x, next_to_each_other, four, {}, y, moments);
  EXPECT_EQ(
      refusal(
          [&] { ek::batch_norm_backward(Eigen::DefaultDevice(), x, x, four, moments, {}, dx, apart, four); }),
      "evenkeel::batch_norm_backward: grad_gamma has stride 6 on axis 0 of [4], must be 1; copy it first");
}

// What lies between rows counts as theirs.
TEST(StridesOfViews, OverlapByWhatTheySpan) {
  Eigen::Matrix<float, 6, 8, Eigen::RowMajor> m = Eigen::Matrix<float, 6, 8, Eigen::RowMajor>::Random();
  const auto before = m;
  ek::LayerNorm<float> layer(4);
  EXPECT_EQ(refusal([&] { layer.infer(m.leftCols(4), m.rightCols(4)); }),
            "evenkeel::LayerNorm::infer: y overlaps x without being x itself");
  EXPECT_EQ(refusal([&] {
              layer.infer(m.leftCols(4), ek::view(m.data(), {6, 4}, ek::row_major));
            }),
            "evenkeel::LayerNorm::infer: y overlaps x without being x itself");
  EXPECT_EQ(m, before);
  Eigen::Matrix<float, 6, 4, Eigen::RowMajor> x = m.leftCols(4), dx;
  layer.forward(x);
  EXPECT_EQ(refusal([&] { layer.backward(x, m.leftCols(4), m.rightCols(4)); }),
            "evenkeel::LayerNorm::backward: dx overlaps dy without being dy itself");
}

}  // namespace
}  // namespace ek_test
