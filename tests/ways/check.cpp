#include "check.hpp"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "../support/data.hpp"
#include "../support/reference.hpp"

namespace ek_test {
namespace {

struct Problem {
  Norm norm;
  Shape shape;
  bool row_major;
  bool large;  // every third set is of values whose squares overflow

  std::string text() const {
    const char* names[] = {"batch norm of ", "layer norm of ", "group norm of "};
    return names[static_cast<int>(norm)] + to_string(shape) + (row_major ? " row-major" : " column-major") +
           (large ? ", some values large" : "");
  }

  IndexMap map() const {
    const int order = row_major ? Eigen::RowMajor : Eigen::ColMajor;
    if (norm == Norm::batch) return batch_norm_map(shape, order);
    if (norm == Norm::layer) return layer_norm_map(shape, order, -1);
    return group_norm_map(shape, order, kGroups);
  }
};

/// Rows, runs and columns; whole vectors and odd ones; a set of more than one block.
std::vector<Problem> problems(Norm norm) {
  const std::vector<Shape> shapes[] = {{{19, 5}, {64, 32}, {5, 6, 67}, {3, 8, 7, 7}, {2, 2, 4500}},
                                       {{7, 5}, {21, 64}, {9, 771}, {4, 5, 16}, {2, 33000}},
                                       {{9, 6}, {3, 8, 67}, {3, 8, 7, 7}}};
  std::vector<Problem> all;
  for (const Shape& shape : shapes[static_cast<int>(norm)])
    for (bool row_major : {true, false})
      for (bool large : {false, true}) all.push_back({norm, shape, row_major, large});
  return all;
}

template <typename T>
struct Result {
  std::vector<T> y, dx, inferred, grad_gamma, grad_beta;
  std::vector<double> running_mean, running_var;

  bool operator==(const Result& other) const {
    const auto same = [](const auto& a, const auto& b) {
      return std::memcmp(a.data(), b.data(), a.size() * sizeof(a[0])) == 0;
    };
    return same(y, other.y) && same(dx, other.dx) && same(inferred, other.inferred) &&
           same(grad_gamma, other.grad_gamma) && same(grad_beta, other.grad_beta) &&
           same(running_mean, other.running_mean) && same(running_var, other.running_var);
  }
};

template <typename T>
struct Trial {
  Problem problem;
  IndexMap map;
  std::vector<T> x, dy, gamma, beta;

  explicit Trial(const Problem& p) : problem(p), map(p.map()) {
    constexpr double kMean = 1e6, kLarge = sizeof(T) == 4 ? 1e30 : 1e200;
    x = random_values<T>(map.size(), kMean, 1, 1);
    dy = random_values<T>(map.size(), 0.5, 1, 2);
    gamma = random_values<T>(map.parameters, 1, 0.5, 3);
    beta = random_values<T>(map.parameters, 0, 1, 4);
    for (std::size_t i = 0; i < x.size(); ++i)
      if (p.large && map.set[i] % 3 == 1) x[i] = static_cast<T>(kLarge * (static_cast<double>(x[i]) - kMean));
  }

  Result<T> taken(void (*take)(const Step<T>&)) const {
    const T unset = std::numeric_limits<T>::quiet_NaN();
    const std::vector<T> values(x.size(), unset), params(gamma.size(), unset);
    const std::vector<double> running(gamma.size(), static_cast<double>(unset));
    Result<T> r{values, values, values, params, params, running, running};
    const std::vector<long> shape(problem.shape.begin(), problem.shape.end());
    Step<T> step{shape.data(),
                 static_cast<int>(shape.size()),
                 problem.row_major,
                 static_cast<long>(gamma.size()),
                 x.data(),
                 dy.data(),
                 gamma.data(),
                 beta.data(),
                 r.y.data(),
                 r.dx.data(),
                 r.inferred.data(),
                 r.grad_gamma.data(),
                 r.grad_beta.data(),
                 r.running_mean.data(),
                 r.running_var.data()};
    take(step);
    return r;
  }
};

/// The largest error over a group of values, in units of the largest of the group's scales: groups are numbered.
class Errors {
 public:
  explicit Errors(Index groups, Real least) : error_(at(groups), 0), scale_(at(groups), least) {}

  void add(Index group, Real value, Real expected, Real scale) {
    const Real error = std::fabs(value - expected);
    Real& largest = error_[at(group)];
    if (!(error <= largest)) largest = error;  // NaN stays
    scale_[at(group)] = std::fmax(scale_[at(group)], scale);
  }

  Real worst() const {
    Real worst = 0;
    for (std::size_t g = 0; g < error_.size(); ++g)
      if (!(error_[g] <= worst * scale_[g])) worst = error_[g] / scale_[g];
    return worst;
  }

 private:
  std::vector<Real> error_, scale_;
};

/// Within the bounds of cmake/docs/numbers.md, set by set.
template <typename T>
bool is_right(const Trial<T>& t, const Result<T>& r, const char* name) {
  constexpr bool kFloat = sizeof(T) == 4;
  constexpr Real y_bound = kFloat ? 5e-7L : 1e-14L, x_bound = kFloat ? 1e-6L : 1e-14L;
  const auto real = [](const auto& v) { return converted<Real>(v); };
  const std::vector<Real> gamma = real(t.gamma), beta = real(t.beta);
  const Reference reference(t.map, t.x, static_cast<Real>(kEpsilon));
  const std::vector<Real> y = reference_forward(t.map, reference, gamma, beta);
  const ReferenceGradients gradients = reference_backward(t.map, reference, t.dy, gamma);
  const std::vector<Real> inferred = t.problem.norm == Norm::batch
                                         ? reference_infer(t.map, t.x, gamma, beta, real(r.running_mean),
                                                           real(r.running_var), static_cast<Real>(kEpsilon))
                                         : y;

  bool right = true;
  const auto expect = [&](const char* what, const Errors& errors, Real bound) {
    if (errors.worst() <= bound) return;
    std::printf("%s, %s, %s: %s is wrong by %Lg, allowed are %Lg\n", name, kFloat ? "float" : "double",
                t.problem.text().c_str(), what, errors.worst(), bound);
    right = false;
  };
  Errors of_y(t.map.sets, 1), of_inferred(t.map.sets, 1), of_dx(t.map.sets, 0);
  for (std::size_t i = 0; i < y.size(); ++i) {
    const Index set = t.map.set[i];
    of_y.add(set, r.y[i], y[i], std::fabs(y[i]));
    of_inferred.add(set, r.inferred[i], inferred[i], std::fabs(inferred[i]));
    of_dx.add(set, r.dx[i], gradients.x[i], gradients.x_scale[at(set)]);
  }
  expect("y", of_y, y_bound);
  expect("infer's y", of_inferred, y_bound);
  expect("dx", of_dx, x_bound);
  Errors of_gamma(t.map.parameters, 0), of_beta(t.map.parameters, 0);
  for (Index p = 0; p < t.map.parameters; ++p) {
    of_gamma.add(p, r.grad_gamma[at(p)], gradients.gamma[at(p)], gradients.gamma_scale[at(p)]);
    of_beta.add(p, r.grad_beta[at(p)], gradients.beta[at(p)], gradients.beta_scale[at(p)]);
  }
  expect("the gradient of gamma", of_gamma, x_bound);
  expect("the gradient of beta", of_beta, x_bound);
  if (t.problem.norm == Norm::batch && !t.problem.large) {
    Errors of_mean(t.map.sets, 0), of_variance(t.map.sets, 0);
    for (Index c = 0; c < t.map.sets; ++c) {
      const Real n = static_cast<Real>(reference.count[at(c)]),
                 unbiased = reference.variance[at(c)] * n / (n - 1);
      of_mean.add(c, r.running_mean[at(c)], reference.mean[at(c)], std::fabs(reference.mean[at(c)]));
      of_variance.add(c, r.running_var[at(c)], unbiased, unbiased);
    }
    expect("running_mean", of_mean, y_bound);
    expect("running_var", of_variance, kFloat ? 1e-6L : 1e-13L);
  }
  return right;
}

template <typename T>
bool all_right(const char* name, const Way<T>& way) {
  bool right = way.refuses();
  if (!right) std::printf("%s: bad input is not refused\n", name);
  for (const Problem& problem : problems(way.norm)) {
    const Trial<T> trial(problem);
    right = is_right(trial, trial.taken(way.take), name) && right;
  }
  return right;
}

template <typename T>
bool all_agree(const Way<T>& a, const Way<T>& b) {
  bool agree = true;
  for (const Problem& problem : problems(a.norm)) {
    const Trial<T> trial(problem);
    if (trial.taken(a.take) == trial.taken(b.take)) continue;
    std::printf("%s: not the same bits\n", problem.text().c_str());
    agree = false;
  }
  return agree;
}

/// FNV-1a of the bytes.
template <typename T>
std::string hash_of(const std::vector<T>& values) {
  unsigned long long hash = 0xcbf29ce484222325u;
  const auto* bytes = reinterpret_cast<const unsigned char*>(values.data());
  for (std::size_t i = 0; i < values.size() * sizeof(T); ++i) hash = (hash ^ bytes[i]) * 0x100000001b3u;
  char text[24];
  std::snprintf(text, sizeof text, "%016llx", hash);
  return text;
}

template <typename T>
std::vector<std::string> all_bits_of(const Way<T>& way) {
  std::vector<std::string> lines;
  for (const Problem& problem : problems(way.norm)) {
    const Trial<T> trial(problem);
    const Result<T> r = trial.taken(way.take);
    const auto add = [&](const char* name, const auto& values) {
      lines.push_back(problem.text() + ", " + name + ": " + hash_of(values));
    };
    add("y", r.y);
    add("dx", r.dx);
    add("infer's y", r.inferred);
    add("grad_gamma", r.grad_gamma);
    add("grad_beta", r.grad_beta);
    add("running_mean", r.running_mean);
    add("running_var", r.running_var);
  }
  return lines;
}

}  // namespace
}  // namespace ek_test

bool is_right(const char* name, const Way<float>& way) { return ek_test::all_right(name, way); }
bool is_right(const char* name, const Way<double>& way) { return ek_test::all_right(name, way); }
bool agree(const Way<float>& a, const Way<float>& b) { return ek_test::all_agree(a, b); }
bool agree(const Way<double>& a, const Way<double>& b) { return ek_test::all_agree(a, b); }

std::vector<std::string> bits_of(const Way<float>& way) { return ek_test::all_bits_of(way); }
