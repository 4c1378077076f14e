// Any call of the functions below the layers, whose parameters and moments are the caller's: a right one is carried out
// and writes its outputs alone, a wrong one is refused by name and changes nothing.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <evenkeel/evenkeel.hpp>
#include <string>

#include "arguments.hpp"
#include "choices.hpp"
#include "support/shape.hpp"

namespace ek_test {
namespace {

using Moments = ek::Moments<double>;
const Eigen::DefaultDevice kDevice{};

enum class Norm { batch, layer, group };

/// What tells a function how x is partitioned.
struct Setup {
  Norm norm;
  Shape features;  // of layer norm
  bool has_shape;  // they are handed over; else there is one, as long as gamma
  Index groups, axis, batch_axis;
  bool has_axis;
  double epsilon;
  bool is_instance = false;  // of group norm: instance norm in its place

  ek::BatchNormOptions batch() const {
    ek::BatchNormOptions options;
    options.epsilon = epsilon;
    options.axis = axis;
    return options;
  }
  ek::LayerNormOptions layer() const {
    ek::LayerNormOptions options;
    options.epsilon = epsilon;
    if (has_axis) options.axis = axis;
    return options;
  }
  ek::GroupNormOptions group() const { return {epsilon, axis, batch_axis, true}; }
  ek::InstanceNormOptions instance() const { return {epsilon, std::nullopt, axis, batch_axis}; }
};

Setup any_setup(Choices& choices) {
  Setup s;
  s.norm = choices.one_of({Norm::batch, Norm::layer, Norm::group});
  for (Index more = choices.rarely() ? choices.between(0, 9) : choices.between(1, 2); more > 0; --more)
    s.features.push_back(choices.rarely() ? choices.between(-1, 0) : choices.between(1, 6));
  s.has_shape = s.norm == Norm::layer && (s.features.size() != 1 || choices.flag());
  s.groups = choices.rarely() ? choices.between(-1, 0) : choices.between(1, 3);
  s.axis = choices.rarely() ? choices.between(-10, 10) : choices.between(-2, 1);
  s.batch_axis = choices.rarely() ? choices.between(-10, 10) : choices.between(-1, 1);
  s.has_axis = s.norm != Norm::layer || choices.flag();
  s.epsilon = choices.rarely() ? choices.bits<double>() : choices.epsilon();
  s.is_instance = s.norm == Norm::group && choices.flag();
  return s;
}

/// A shape with layer norm's features on their axes, or any.
Shape any_shape(Choices& choices, const Setup& s) {
  Shape shape;
  const bool any = choices.rarely();
  for (Index rank = any ? choices.between(0, 9) : choices.between(2, 4); rank > 0; --rank)
    shape.push_back(any ? choices.between(-1, 3) : choices.between(choices.rarely() ? 0 : 1, 6));
  if (any || s.norm != Norm::layer) return shape;
  const Index begin = s.has_axis ? wrapped(s.axis, shape) : rank_of(shape) - rank_of(s.features);
  for (Index i = 0; i < rank_of(s.features); ++i)
    if (begin + i >= 0 && begin + i < rank_of(shape)) shape[at(begin + i)] = s.features[at(i)];
  return shape;
}

/// How x is partitioned, where it can be.
struct Partition {
  bool is_right = false;
  Index params = 0, sets = 0;
};

Partition partition_of(const Setup& s, const Shape& features, const Argument& x) {
  if (!std::isfinite(s.epsilon) || s.epsilon < 0 || !x.is_usable()) return {};
  const Index rank = rank_of(x.shape), count = s.norm == Norm::layer ? rank_of(features) : 1;
  const Index axis = s.has_axis ? wrapped(s.axis, x.shape) : rank - count;
  if (count < 1 || count > 8 || axis < 0 || axis + count > rank) return {};
  if (s.norm == Norm::batch) return {true, x.shape[at(axis)], x.shape[at(axis)]};
  if (s.norm == Norm::group) {
    const Index batch_axis = wrapped(s.batch_axis, x.shape), channels = x.shape[at(axis)];
    if (batch_axis < 0 || batch_axis >= rank || batch_axis == axis) return {};
    if (s.is_instance) return {true, channels, channels * x.shape[at(batch_axis)]};
    if (s.groups < 1 || channels % s.groups != 0) return {};
    return {true, channels, s.groups * x.shape[at(batch_axis)]};
  }
  if (!std::equal(features.begin(), features.end(), x.shape.begin() + axis)) return {};
  Shape others = x.shape;
  others.erase(others.begin() + axis, others.begin() + axis + count);
  return {true, size_of(features), size_of(others)};
}

/// A parameter of n values, or none, or else; without a rank it is a view of nothing.
Argument any_param(Choices& choices, Arena& arena, Index n) {
  if (choices.rarely()) return {{}, ek::row_major, nullptr};
  return any_argument(choices, arena, {choices.rarely() ? choices.between(0, 6) : n}, ek::row_major);
}

ek::TensorView<float> param_view(const Argument& a) {
  return a.shape.empty() ? ek::TensorView<float>() : a.view();
}
bool is_none(const Argument& a) { return a.shape.empty() || a.size() == 0; }
bool is_param(const Argument& a, Index n) { return is_none(a) || (a.size() == n && a.data != nullptr); }
bool are_variances(const Argument& a) {
  return a.data == nullptr || std::all_of(a.data, a.data + size_of(a.shape),
                                          [](float value) { return std::isfinite(value) && value >= 0; });
}
bool has_values(const Argument& a, Index n) { return a.shape == Shape{n} && a.is_usable(); }

/// Each array as long as there are sets, or else.
Moments any_moments(Choices& choices, Index sets) {
  Moments moments;
  const auto any_size = [&] { return choices.rarely() ? choices.between(0, 6) : sets; };
  moments.mean.setZero(any_size());
  moments.inv_std.setOnes(any_size());
  moments.mean_low.setZero(choices.flag() ? 0 : any_size());
  moments.variance.setZero(choices.flag() ? 0 : any_size());
  moments.keeps_mean_low = choices.flag();
  moments.keeps_variance = choices.flag();
  return moments;
}

bool same(const Moments& a, const Moments& b) {
  const auto same_array = [](const ek::Vector<double>& u, const ek::Vector<double>& v) {
    return u.size() == v.size() && std::equal(u.data(), u.data() + u.size(), v.data());
  };
  return same_array(a.mean, b.mean) && same_array(a.mean_low, b.mean_low) &&
         same_array(a.variance, b.variance) && same_array(a.inv_std, b.inv_std);
}

bool apart(const Argument& a, std::initializer_list<Argument> others) {
  return std::none_of(others.begin(), others.end(), [&](const Argument& b) { return a.overlaps(b); });
}

/// forward, and infer but for batch norm's.
void check_forward(Choices& choices, Arena& arena, const Setup& s, const Partition& p, const Argument& x,
                   const Argument& y, const Argument& gamma, const Argument& beta, bool trains) {
  const bool needs_two = s.norm == Norm::batch || s.is_instance;
  const bool has_one = needs_two && x.is_view() && x.size() == p.sets && x.size() > 0;
  const bool is_right = p.is_right && is_param(gamma, p.params) && is_param(beta, p.params) && !has_one &&
                        y.is_usable() && y.is_like(x) && y.is_apart_or_same(x) && apart(y, {gamma, beta});
  Moments moments = any_moments(choices, p.sets);
  const Moments before = moments;
  const auto call = [&] {
    const auto in = x.view(), out = y.view();
    const auto g = param_view(gamma), b = param_view(beta);
    if (s.norm == Norm::batch) {
      ek::batch_norm_forward(kDevice, in, g, b, s.batch(), out, moments);
    } else if (s.is_instance && trains) {
      ek::instance_norm_forward(kDevice, in, g, b, s.instance(), out, moments);
    } else if (s.is_instance) {
      ek::instance_norm_infer(kDevice, in, g, b, s.instance(), out);
    } else if (s.norm == Norm::group && trains) {
      ek::group_norm_forward(kDevice, in, s.groups, g, b, s.group(), out, moments);
    } else if (s.norm == Norm::group) {
      ek::group_norm_infer(kDevice, in, s.groups, g, b, s.group(), out);
    } else if (s.has_shape && trains) {
      ek::layer_norm_forward(kDevice, in, s.features, g, b, s.layer(), out, moments);
    } else if (s.has_shape) {
      ek::layer_norm_infer(kDevice, in, s.features, g, b, s.layer(), out);
    } else if (trains) {
      ek::layer_norm_forward(kDevice, in, g, b, s.layer(), out, moments);
    } else {
      ek::layer_norm_infer(kDevice, in, g, b, s.layer(), out);
    }
  };
  if (outcome_of(is_right, "forward", arena, {y}, call)) {
    require(same(moments, before), "refusing changes no moments");
  } else if (trains || s.norm == Norm::batch) {
    const auto is_kept = [&](const ek::Vector<double>& array, bool kept) {
      return array.size() == (kept ? p.sets : 0);
    };
    require(is_kept(moments.mean, true) && is_kept(moments.inv_std, true) &&
                is_kept(moments.mean_low, moments.keeps_mean_low) &&
                is_kept(moments.variance, moments.keeps_variance),
            "moments keep what is wanted");
  }
}

void check_batch_norm_infer(Choices& choices, Arena& arena, const Setup& s, const Partition& p,
                            const Argument& x, const Argument& y, const Argument& gamma,
                            const Argument& beta) {
  const Argument mean = any_param(choices, arena, p.params), variance = any_param(choices, arena, p.params);
  const bool is_right = p.is_right && is_param(gamma, p.params) && is_param(beta, p.params) &&
                        is_param(mean, p.params) && is_param(variance, p.params) &&
                        (p.params == 0 || (!is_none(mean) && !is_none(variance))) &&
                        are_variances(variance) && y.is_usable() && y.is_like(x) && y.is_apart_or_same(x) &&
                        apart(y, {gamma, beta, mean, variance});
  outcome_of(is_right, "infer", arena, {y}, [&] {
    ek::batch_norm_infer(kDevice, x.view(), param_view(gamma), param_view(beta), param_view(mean),
                         param_view(variance), s.batch(), y.view());
  });
}

void check_batch_norm_infer_backward(Choices& choices, Arena& arena, const Setup& s, const Partition& p,
                                     const Argument& x, const Argument& dy, const Argument& gamma) {
  const Argument dx = another(choices, arena, dy, [&] { return any_shape(choices, s); });
  const Argument mean = any_param(choices, arena, p.params), variance = any_param(choices, arena, p.params),
                 grad_gamma = any_param(choices, arena, p.params),
                 grad_beta = any_param(choices, arena, p.params);
  const bool is_right =
      p.is_right && is_param(gamma, p.params) && is_param(mean, p.params) && is_param(variance, p.params) &&
      (p.params == 0 || (!is_none(mean) && !is_none(variance))) && are_variances(variance) &&
      dy.is_usable() && dy.is_like(x) && dx.is_usable() && dx.is_like(dy) && dx.is_apart_or_same(dy) &&
      apart(dx, {x, gamma, mean, variance}) && has_values(grad_gamma, p.params) &&
      has_values(grad_beta, p.params) && apart(grad_gamma, {x, dy, dx, gamma, mean, variance, grad_beta}) &&
      apart(grad_beta, {x, dy, dx, gamma, mean, variance});
  outcome_of(is_right, "infer_backward", arena, {dx, grad_gamma, grad_beta}, [&] {
    ek::batch_norm_infer_backward(kDevice, x.view(), dy.view(), param_view(gamma), param_view(mean),
                                  param_view(variance), s.batch(), dx.view(), param_view(grad_gamma),
                                  param_view(grad_beta));
  });
}

void check_backward(Choices& choices, Arena& arena, const Setup& s, const Partition& p, const Argument& x,
                    const Argument& dy, const Argument& gamma) {
  const Argument dx = another(choices, arena, dy, [&] { return any_shape(choices, s); });
  const Argument grad_gamma = any_param(choices, arena, p.params),
                 grad_beta = any_param(choices, arena, p.params);
  const Moments moments = any_moments(choices, p.sets);
  const bool has_moments = moments.mean.size() == p.sets && moments.inv_std.size() == p.sets &&
                           (moments.mean_low.size() == 0 || moments.mean_low.size() == p.sets);
  const bool is_right = p.is_right && has_moments && is_param(gamma, p.params) && dy.is_usable() &&
                        dy.is_like(x) && dx.is_usable() && dx.is_like(dy) && dx.is_apart_or_same(dy) &&
                        apart(dx, {x, gamma}) && has_values(grad_gamma, p.params) &&
                        has_values(grad_beta, p.params) && apart(grad_gamma, {x, dy, dx, gamma, grad_beta}) &&
                        apart(grad_beta, {x, dy, dx, gamma});
  outcome_of(is_right, "backward", arena, {dx, grad_gamma, grad_beta}, [&] {
    const auto in = x.view(), upstream = dy.view(), out = dx.view();
    const auto g = param_view(gamma), to_gamma = param_view(grad_gamma), to_beta = param_view(grad_beta);
    if (s.norm == Norm::batch) {
      ek::batch_norm_backward(kDevice, in, upstream, g, moments, s.batch(), out, to_gamma, to_beta);
    } else if (s.is_instance) {
      ek::instance_norm_backward(kDevice, in, upstream, g, moments, s.instance(), out, to_gamma, to_beta);
    } else if (s.norm == Norm::group) {
      ek::group_norm_backward(kDevice, in, upstream, s.groups, g, moments, s.group(), out, to_gamma, to_beta);
    } else if (s.has_shape) {
      ek::layer_norm_backward(kDevice, in, upstream, s.features, g, moments, s.layer(), out, to_gamma,
                              to_beta);
    } else {
      ek::layer_norm_backward(kDevice, in, upstream, g, moments, s.layer(), out, to_gamma, to_beta);
    }
  });
}

void check(Choices& choices) {
  const Setup s = any_setup(choices);
  Arena arena = filled_arena();
  const auto shape = [&] { return any_shape(choices, s); };
  for (int calls = 0; calls < 4; ++calls) {
    const Argument x = any_argument(choices, arena, shape(), choices.layout());
    const Argument y = another(choices, arena, x, shape);
    const Index params = partition_of(s, s.features, x).params;
    const Argument gamma = any_param(choices, arena, params), beta = any_param(choices, arena, params);
    const Shape features = s.has_shape ? s.features : Shape{is_none(gamma) ? 0 : gamma.size()};
    const Partition p = partition_of(s, features, x);
    const Index kind = choices.between(0, 2);
    if (kind == 1) {
      check_backward(choices, arena, s, p, x, y, gamma);
    } else if (kind == 2 && s.norm == Norm::batch) {
      check_batch_norm_infer(choices, arena, s, p, x, y, gamma, beta);
      if (choices.flag()) check_batch_norm_infer_backward(choices, arena, s, p, x, y, gamma);
    } else {
      check_forward(choices, arena, s, p, x, y, gamma, beta, kind == 0);
    }
  }
}

}  // namespace
}  // namespace ek_test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ek_test::Choices choices(data, size);
  ek_test::check(choices);
  return 0;
}
