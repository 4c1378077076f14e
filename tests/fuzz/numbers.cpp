// Any norm of any finite values, against the oracle and the bounds that the library promises.
#define EIGEN_USE_THREADS

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <evenkeel/evenkeel.hpp>
#include <limits>
#include <memory>
#include <string>
#include <type_traits>
#include <unsupported/Eigen/CXX11/Tensor>
#include <utility>
#include <vector>

#include "choices.hpp"
#include "support/contract.hpp"
#include "support/data.hpp"
#include "support/error.hpp"
#include "support/reference.hpp"
#include "support/shape.hpp"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace ek_test {
namespace {

template <typename Scalar>
constexpr bool kIsHalf = std::is_same_v<Scalar, Eigen::half> || std::is_same_v<Scalar, Eigen::bfloat16>;
template <typename Scalar>
using ComputeOf = std::conditional_t<kIsHalf<Scalar>, float, Scalar>;

template <typename Scalar>
bool is_finite(Scalar value) {
  return std::isfinite(static_cast<double>(value));
}

/// Values of every kind: of any bits, normal ones of any mean and std, and constant ones with outliers, in turns.
template <typename Scalar>
std::vector<Scalar> any_values(Choices& choices, Index count) {
  const int most = std::is_same_v<Scalar, double> ? 300 : std::is_same_v<Scalar, Eigen::half> ? 3 : 37;
  const auto power = [&] {
    return std::pow(10.0, static_cast<double>(choices.flag() ? 0 : choices.between(-most, most)));
  };
  std::vector<Scalar> values;
  values.reserve(at(count));
  while (static_cast<Index>(values.size()) < count) {
    const Index left = count - static_cast<Index>(values.size()),
                stretch = left - choices.between(0, left - 1);
    const double mean = choices.flag() ? 0 : power(), std = choices.rarely() ? 0 : power();
    const auto seed = static_cast<unsigned>(choices.between(0, 255));
    const bool raw = choices.rarely();
    std::vector<Scalar> some = random_values<Scalar>(stretch, mean, std, seed);
    if (choices.rarely()) some[at(choices.between(0, stretch - 1))] = static_cast<Scalar>(power());
    for (Scalar& value : some) {
      if (raw) value = choices.bits<Scalar>();
      values.push_back(is_finite(value) ? value : Scalar(1));
    }
  }
  return values;
}

/// values, at an address that is a multiple of no vector's size, with nothing beyond.
template <typename Scalar>
struct Memory {
  Memory(const std::vector<Scalar>& values, Index offset)
      : memory(new Scalar[values.size() + at(offset)]), data(memory.get() + offset) {
    std::copy(values.begin(), values.end(), data);
  }
  std::unique_ptr<Scalar[]> memory;
  Scalar* data;
};

/// What the promise allows beside its bound: rounding to a 16-bit type, and the least number of any other.
template <typename Scalar>
Real rounding(Real value) {
  if constexpr (!kIsHalf<Scalar>) return std::numeric_limits<Scalar>::denorm_min();
  const int digits = std::is_same_v<Scalar, Eigen::half> ? 11 : 8, least = digits == 11 ? -24 : -133;
  return std::ldexp(Real(0.5),
                    std::max(std::ilogb(std::max(std::fabs(value), Real(1e-45))) - digits + 1, least));
}

/// Whether `got` is `expected` within `bound`, or the exact result is beyond what Scalar holds.
template <typename Scalar>
bool is_right(Scalar got, Real expected, Real bound) {
  const Real most = static_cast<Real>(std::numeric_limits<Scalar>::max());
  if (std::fabs(expected) > most / 2) return true;
  return std::fabs(static_cast<Real>(static_cast<double>(got)) - expected) <=
         bound + rounding<Scalar>(expected);
}

template <typename Scalar>
void require_right(const char* what, std::size_t i, const Shape& shape, Scalar got, Real expected,
                   Real bound) {
  if (is_right(got, expected, bound)) return;
  broken(std::string(what) + "[" + std::to_string(i) + "] of " + to_string(shape) + " is " +
         std::to_string(static_cast<double>(got)) + ", not " + std::to_string(static_cast<double>(expected)));
}

template <typename Scalar>
struct Problem {
  ek::Layout layout;
  Shape shape;
  IndexMap map;
  double epsilon;
  bool flushes;  // the caller's thread: subnormal numbers are 0, as inputs and as results
  std::vector<Scalar> x, dy;
  Index x_offset, dy_offset, out_offset;
};

/// The oracle, by which sets of equal values are exactly so.
template <typename Scalar>
Reference reference_of(const Problem<Scalar>& c) {
  const std::vector<double> x = converted<double>(c.x);
  Reference reference(c.map, x, static_cast<Real>(c.epsilon));
  std::vector<double> low(at(c.map.sets), HUGE_VAL), high(at(c.map.sets), -HUGE_VAL);
  for (std::size_t i = 0; i < x.size(); ++i) {
    low[at(c.map.set[i])] = std::min(low[at(c.map.set[i])], x[i]);
    high[at(c.map.set[i])] = std::max(high[at(c.map.set[i])], x[i]);
  }
  for (std::size_t set = 0; set < low.size(); ++set) {
    if (low[set] != high[set]) continue;
    reference.variance[set] = 0;
    reference.inv_std[set] = c.epsilon == 0 ? 0 : 1 / std::sqrt(static_cast<Real>(c.epsilon));
  }
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (low[at(c.map.set[i])] == high[at(c.map.set[i])]) reference.centred[i] = reference.normalized[i] = 0;
  }
  return reference;
}

/// Calls f as the problem's caller does.
template <typename Scalar, typename F>
void call(const Problem<Scalar>& c, const F& f) {
#if defined(__x86_64__)
  const unsigned before = _mm_getcsr();
  if (c.flushes) _mm_setcsr(before | 0x8040);
  f();
  _mm_setcsr(before);
#else
  f();
#endif
}

/// What an input that is taken for 0, or a result that becomes 0, changes in a caller that flushes.
template <typename Scalar>
Real flushed(const Problem<Scalar>& c) {
  return c.flushes ? static_cast<Real>(std::numeric_limits<ComputeOf<Scalar>>::min()) : 0;
}

/// The largest |value| of each set.
template <typename T>
std::vector<Real> largest_of(const IndexMap& map, const std::vector<T>& values) {
  std::vector<Real> largest(at(map.sets), 0);
  for (std::size_t i = 0; i < values.size(); ++i)
    largest[at(map.set[i])] = std::max(largest[at(map.set[i])], std::fabs(static_cast<Real>(values[i])));
  return largest;
}

/// y is right to a bound of max(1, max|gamma| max|xhat| + max|beta|), the maxima of each set. slopes: gamma / std.
template <typename Scalar>
void check_forward(const Problem<Scalar>& c, const Scalar* y, const std::vector<Real>& expected,
                   const std::vector<Real>& xhat, const std::vector<Real>& slopes,
                   const std::vector<Real>& gamma, const std::vector<Real>& beta, const char* y_of) {
  constexpr Real kBound = Tolerance<ComputeOf<Scalar>>::y;
  std::vector<Real> gammas, betas;
  for (const Index p : c.map.parameter) {
    gammas.push_back(parameter(gamma, p, 1));
    betas.push_back(parameter(beta, p, 0));
  }
  const std::vector<Real> most_gamma = largest_of(c.map, gammas), most_beta = largest_of(c.map, betas),
                          most_xhat = largest_of(c.map, xhat);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const std::size_t set = at(c.map.set[i]);
    const Real scale = std::max<Real>(1, most_gamma[set] * most_xhat[set] + most_beta[set]);
    require_right(y_of, i, c.shape, y[i], expected[i],
                  kBound * scale + flushed(c) * (1 + std::fabs(slopes[i])));
  }
}

/// Whether backward promises gradients of this scale, in a set with this 1 / std: those that Scalar holds with room
/// to spare, while 1 / std is a number.
template <typename Scalar>
bool is_promised(Real scale, Real inv_std) {
  constexpr bool kDouble = std::is_same_v<Scalar, double>;
  return scale < static_cast<Real>(std::numeric_limits<Scalar>::max()) / 8 && !(kDouble && inv_std > 1e307L);
}

template <typename Scalar, typename Layer>
void check_backward(const Problem<Scalar>& c, const Layer& layer, const Scalar* dx,
                    const Reference& reference, const std::vector<Real>& gamma) {
  using Bound = Tolerance<ComputeOf<Scalar>>;
  const std::vector<double> dy = converted<double>(c.dy);
  const ReferenceGradients expected = reference_backward(c.map, reference, dy, gamma);
  std::vector<Real> gammas;
  for (const Index p : c.map.parameter) gammas.push_back(parameter(gamma, p, 1));
  const std::vector<Real> most_dx = largest_of(c.map, expected.x), most_gamma = largest_of(c.map, gammas);
  for (std::size_t i = 0; i < dy.size(); ++i) {
    const std::size_t set = at(c.map.set[i]);
    const Real scale = std::max(expected.x_scale[set], most_dx[set]),
               slope = std::max<Real>(1, most_gamma[set]) * reference.inv_std[set];
    if (!is_promised<Scalar>(scale, reference.inv_std[set])) continue;
    require_right("dx", i, c.shape, dx[i], expected.x[i], Bound::x * scale + flushed(c) * (1 + slope));
  }
  Real most_inv_std = 0;
  for (Real inv_std : reference.inv_std) most_inv_std = std::max(most_inv_std, inv_std);
  // Sums of doubles round to the least number each time something is added.
  const Real terms = static_cast<Real>(dy.size()),
             least =
                 (std::is_same_v<Scalar, double> ? terms * std::numeric_limits<double>::denorm_min() : 0) +
                 flushed(c) * terms * std::sqrt(terms);  // |xhat| is at most the root
  const auto check = [&](const auto& got, const std::vector<Real>& right, const std::vector<Real>& scale,
                         const char* name) {
    for (Index p = 0; p < got.size(); ++p) {
      if (!is_promised<Scalar>(scale[at(p)], most_inv_std)) continue;
      require_right(name, at(p), c.shape, got[p], right[at(p)], Bound::sum * scale[at(p)] + least);
    }
  };
  check(layer.grad_gamma(), expected.gamma, expected.gamma_scale, "grad_gamma");
  check(layer.grad_beta(), expected.beta, expected.beta_scale, "grad_beta");
}

template <typename Scalar>
void require_same(const Scalar* a, const std::vector<Scalar>& b, const char* promise) {
  require(b.empty() || std::memcmp(a, b.data(), b.size() * sizeof(Scalar)) == 0, promise);
}

/// The gradients of infer. What they promise takes gamma / std to be a normal number.
template <typename Scalar, typename Layer>
void check_infer_backward(Layer& layer, const Problem<Scalar>& c, const Scalar* x, Scalar* out,
                          const std::vector<Real>& means, const std::vector<Real>& variances) {
  using Bound = Tolerance<ComputeOf<Scalar>>;
  const std::vector<Real> gamma = to_real(layer.gamma());
  IndexMap channels = c.map;
  channels.set = channels.parameter;
  channels.sets = channels.parameters;
  const ReferenceGradients expected =
      reference_infer_backward(channels, converted<double>(c.x), converted<double>(c.dy), gamma, means,
                               variances, static_cast<Real>(c.epsilon));
  const Memory<Scalar> dy(c.dy, c.dy_offset);
  const ek::Shape shape(c.shape);
  call(c, [&] {
    layer.infer_backward(ek::view(x, shape, c.layout), ek::view<const Scalar>(dy.data, shape, c.layout),
                         ek::view(out, shape, c.layout));
  });
  std::vector<Real> terms(at(channels.sets), 0), slopes(at(channels.sets), 0);
  for (std::size_t set = 0; set < slopes.size(); ++set) {
    const Real radicand = variances[set] + static_cast<Real>(c.epsilon);
    slopes[set] = radicand == 0 ? 0 : 1 / std::sqrt(radicand);
  }
  std::vector<Real> most_xhat(slopes.size(), 1);
  for (std::size_t i = 0; i < c.x.size(); ++i) {
    const std::size_t set = at(channels.set[i]);
    const Real xhat = (static_cast<Real>(static_cast<double>(c.x[i])) - means[set]) * slopes[set];
    most_xhat[set] = std::max(most_xhat[set], std::fabs(xhat));
    terms[set] += 1;
  }
  for (std::size_t i = 0; i < c.x.size(); ++i) {
    const std::size_t set = at(channels.set[i]);
    const Real slope = std::fabs(slopes[set] * parameter(gamma, channels.set[i], 1));
    const bool is_normal =
        slope == 0 || slope >= static_cast<Real>(std::numeric_limits<ComputeOf<Scalar>>::min());
    if (!is_normal || !is_promised<Scalar>(expected.x_scale[set], slopes[set])) continue;
    require_right("dx of infer", i, c.shape, out[i], expected.x[i],
                  Bound::x * expected.x_scale[set] + flushed(c) * (1 + slope));
  }
  const auto check = [&](const auto& got, const std::vector<Real>& right, const std::vector<Real>& scale,
                         const char* name) {
    for (Index p = 0; p < got.size(); ++p) {
      const std::size_t set = at(p);
      if (!is_promised<Scalar>(scale[set] * most_xhat[set], slopes[set])) continue;
      const Real least =
          (std::is_same_v<Scalar, double> ? terms[set] * std::numeric_limits<double>::denorm_min() : 0) +
          flushed(c) * terms[set] * most_xhat[set];
      require_right(name, set, c.shape, got[p], right[set], Bound::sum * scale[set] + least);
    }
  };
  check(layer.grad_gamma(), expected.gamma, expected.gamma_scale, "grad_gamma of infer");
  check(layer.grad_beta(), expected.beta, expected.beta_scale, "grad_beta of infer");
}

/// infer with running statistics of any size.
template <typename Scalar, typename Layer>
void check_infer(Choices& choices, Layer& layer, const Problem<Scalar>& c, const Scalar* x, Scalar* out) {
  using Param = typename Layer::Param;
  for (Index channel = 0; channel < layer.running_mean().size(); ++channel) {
    const Param m = choices.bits<Param>(), v = choices.bits<Param>();
    layer.running_mean()[channel] = choices.flag() || !is_finite(m) ? Param(1) : m;
    layer.running_var()[channel] = choices.flag() || !is_finite(v) ? Param(1) : std::fabs(v);
  }
  const std::vector<Real> gamma = to_real(layer.gamma()), beta = to_real(layer.beta()),
                          means = to_real(layer.exact_running_mean()),
                          variances = to_real(layer.exact_running_var());
  std::vector<Real> inferred, xhats, slopes;
  for (std::size_t i = 0; i < c.x.size(); ++i) {
    const Index p = c.map.parameter[i];
    const Real radicand = variances[at(p)] + static_cast<Real>(c.epsilon);
    const Real inv_std = radicand == 0 ? 0 : 1 / std::sqrt(radicand);
    xhats.push_back((static_cast<Real>(static_cast<double>(c.x[i])) - means[at(p)]) * inv_std);
    slopes.push_back(inv_std * parameter(gamma, p, 1));
    inferred.push_back(xhats[i] * parameter(gamma, p, 1) + parameter(beta, p, 0));
  }
  const ek::Shape shape(c.shape);
  call(c, [&] { std::as_const(layer).infer(ek::view(x, shape, c.layout), ek::view(out, shape, c.layout)); });
  check_forward(c, out, inferred, xhats, slopes, gamma, beta, "y of infer");
  check_infer_backward(layer, c, x, out, means, variances);
}

/// Parameters as they begin, of the size of 1, of any size, or such that terms of y cancel.
template <typename Scalar, typename Layer>
void choose_parameters(Choices& choices, Layer& layer, const Problem<Scalar>& c, const Reference& reference) {
  using Param = typename Layer::Param;
  const Index kind = choices.between(0, 3);
  if (kind == 0) return;
  randomize_parameters(layer);
  if (kind == 1) return;
  const auto any_size = [&] {
    const Param sign = choices.flag() ? Param(1) : Param(-1);
    return sign * static_cast<Param>(std::ldexp(1.0, static_cast<int>(choices.between(-20, 20))));
  };
  for (Param& gamma : layer.gamma()) {
    if (choices.flag()) gamma = any_size();
  }
  for (Param& beta : layer.beta()) {
    if (choices.flag()) beta = any_size();
  }
  if (kind == 2 || layer.gamma().size() == 0 || layer.beta().size() == 0) return;
  for (std::size_t i = 0; i < c.x.size(); i += 7) {
    const Index p = c.map.parameter[i];
    layer.beta()[p] = -layer.gamma()[p] * static_cast<Param>(std::min<Real>(reference.normalized[i], 1e5L));
  }
}

template <typename Scalar, typename Layer>
void check_layer(Choices& choices, Layer layer, const Problem<Scalar>& c) {
  const Reference reference = reference_of(c);
  choose_parameters(choices, layer, c, reference);
  const std::vector<Real> gamma = to_real(layer.gamma()), beta = to_real(layer.beta());
  const std::vector<Real> y = reference_forward(c.map, reference, gamma, beta);
  std::vector<Real> slopes;
  for (std::size_t i = 0; i < y.size(); ++i)
    slopes.push_back(parameter(gamma, c.map.parameter[i], 1) * reference.inv_std[at(c.map.set[i])]);

  const std::vector<Scalar> nothing(c.x.size(), Scalar(0));
  const Memory<Scalar> x(c.x, c.x_offset), dy(c.dy, c.dy_offset);
  Memory<Scalar> out(nothing, c.out_offset);
  const ek::Shape shape(c.shape);
  const auto view_of = [&](auto* data) { return ek::view(data, shape, c.layout); };
  call(c, [&] { layer.forward(view_of(x.data), view_of(out.data)); });
  check_forward(c, out.data, y, reference.normalized, slopes, gamma, beta, "y of forward");
  const std::vector<Scalar> first(out.data, out.data + c.x.size());
  call(c, [&] { layer.backward(view_of(x.data), view_of(dy.data), view_of(out.data)); });
  check_backward(c, layer, out.data, reference, gamma);
  const std::vector<Scalar> dx(out.data, out.data + c.x.size());

  // The same bits in place, and on threads.
  static Eigen::ThreadPool pool(3);
  const Eigen::ThreadPoolDevice threads(&pool, 3);
  const bool on_threads = choices.flag() && !c.flushes;  // threads of a pool have modes of their own
  Memory<Scalar> over(c.x, c.out_offset);
  const auto again = [&](const auto& device) {
    call(c, [&] { layer.forward(device, view_of(over.data), view_of(over.data)); });
    require_same(over.data, first, "forward in place, or on threads, gives other bits");
    std::copy(c.dy.begin(), c.dy.end(), over.data);
    call(c, [&] { layer.backward(device, view_of(x.data), view_of(over.data), view_of(over.data)); });
    require_same(over.data, dx, "backward in place, or on threads, gives other bits");
  };
  if (on_threads)
    again(threads);
  else
    again(Eigen::DefaultDevice());

  if constexpr (HasRunningStatistics<Layer>::value) {
    if (layer.running_mean().size() > 0) return check_infer(choices, layer, c, x.data, out.data);
  }
  call(c, [&] { std::as_const(layer).infer(view_of(x.data), view_of(out.data)); });
  require_same(out.data, first, "infer gives other bits than forward");
}

template <typename Scalar>
void check_norm(Choices& choices) {
  constexpr Index kSmall = 400, kMedium = 5000, kLarge = 300000;  // the last is work for threads
  Problem<Scalar> c;
  c.layout = choices.layout();
  const Index kind = choices.between(0, 1023);
  c.shape = choices.shape(kind == 1023 ? kLarge : kind > 960 ? kMedium : kSmall);
  c.epsilon = choices.epsilon();
  c.flushes = choices.rarely();
  c.x_offset = choices.between(0, 15);
  c.dy_offset = choices.between(0, 15);
  c.out_offset = choices.between(0, 15);
  const int order = c.layout == ek::row_major ? Eigen::RowMajor : Eigen::ColMajor;
  const Index rank = rank_of(c.shape), axis = choices.between(-rank, rank - 1),
              first = wrapped(axis, c.shape);
  const auto fill = [&] {
    c.x = any_values<Scalar>(choices, c.map.size());
    constexpr int most = std::is_same_v<Scalar, double>        ? 950
                         : std::is_same_v<Scalar, Eigen::half> ? 13
                                                               : 120;
    const int exponent =
        static_cast<int>(choices.flag() ? choices.between(-10, 10) : choices.between(-most - 20, most));
    c.dy = choices.rarely()
               ? any_values<Scalar>(choices, c.map.size())
               : random_values<Scalar>(c.map.size(), std::ldexp(0.5, exponent), std::ldexp(1.0, exponent), 2);
  };
  const int norm = static_cast<int>(choices.between(0, 2));
  if (norm == 0) {
    if (size_of(c.shape) == c.shape[at(first)]) return;  // one value a channel: see calls.cpp
    ek::BatchNormOptions options;
    options.epsilon = c.epsilon;
    options.axis = axis;
    options.affine = choices.flag();
    options.momentum = choices.momentum();
    options.track_running_stats = choices.flag();
    c.map = batch_norm_map(c.shape, order, axis);
    fill();
    check_layer(choices, ek::BatchNorm<Scalar>(c.shape[at(first)], options), c);
  } else if (norm == 1) {
    ek::LayerNormOptions options;
    options.epsilon = c.epsilon;
    options.axis = axis;
    options.affine = choices.flag();
    options.bias = choices.flag();
    const Index count = choices.between(1, rank - first);
    c.map = layer_norm_map(c.shape, order, axis, count);
    fill();
    const auto begin = c.shape.begin() + first;
    check_layer(choices, ek::LayerNorm<Scalar>(std::vector<Index>(begin, begin + count), options), c);
  } else if (rank > 1) {
    ek::GroupNormOptions options;
    options.epsilon = c.epsilon;
    options.axis = axis;
    options.batch_axis = (first + choices.between(1, rank - 1)) % rank;
    options.affine = choices.flag();
    const Index groups = choices.divisor_of(c.shape[at(first)]);
    c.map = group_norm_map(c.shape, order, groups, axis, options.batch_axis);
    fill();
    const Index channels = c.shape[at(first)];
    if (groups == channels && c.map.size() > c.map.sets && choices.flag()) {
      ek::InstanceNormOptions instance{options.epsilon,    choices.momentum(), axis,
                                       options.batch_axis, options.affine,     choices.flag()};
      return check_layer(choices, ek::InstanceNorm<Scalar>(channels, instance), c);
    }
    check_layer(choices, ek::GroupNorm<Scalar>(groups, channels, options), c);
  }
}

}  // namespace
}  // namespace ek_test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ek_test::Choices choices(data, size);
  switch (choices.between(0, 3)) {
    case 0:
      ek_test::check_norm<float>(choices);
      break;
    case 1:
      ek_test::check_norm<double>(choices);
      break;
    case 2:
      ek_test::check_norm<Eigen::half>(choices);
      break;
    default:
      ek_test::check_norm<Eigen::bfloat16>(choices);
  }
  return 0;
}
