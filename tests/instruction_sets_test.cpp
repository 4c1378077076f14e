// Instruction sets add in different orders, so that the last bits of what they give differ. Each is within a bound of
// the exact result, so two of them are within two bounds of each other. Prints how far they are.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <evenkeel/evenkeel.hpp>
#include <evenkeel/kernels/register_bytes.hpp>
#include <random>
#include <string>
#include <vector>

#include "support/contract.hpp"
#include "support/data.hpp"
#include "support/drawn.hpp"

namespace ek_test {
namespace {

/// Calls f(layer, shape, map, x, dy) for each norm over shapes that nobody chose, always the same.
template <typename C, typename F>
void for_each_problem(F f) {
  using Scalar = typename C::Scalar;
  std::mt19937 generator(1);
  for (int repeat = 0; repeat < 12; ++repeat) {
    const Drawn drawn(generator, 1000, 7);
    const std::vector<Scalar> x = random_values<Scalar>(size_of(drawn.shape), 10, 1, 1),
                              dy = random_values<Scalar>(size_of(drawn.shape), 0.5, 1, 2);
    drawn.for_each_norm<Scalar>([&](auto layer, auto map_of) {
      randomize_parameters(layer);
      f(layer, drawn.shape, map_of(C::kOrder), x, dy);
    });
  }
}

/// y and dx of every problem, one after the other.
template <typename C>
std::vector<typename C::Scalar> compute() {
  std::vector<typename C::Scalar> results;
  for_each_problem<C>([&](auto layer, const Shape& shape, const IndexMap&, const auto& x, const auto& dy) {
    auto y = x, dx = dy;
    const auto x_view = view<C::kOrder>(x.data(), shape);
    layer.forward(x_view, view<C::kOrder>(y.data(), shape));
    layer.backward(x_view, view<C::kOrder>(dy.data(), shape), view<C::kOrder>(dx.data(), shape));
    results.insert(results.end(), y.begin(), y.end());
    results.insert(results.end(), dx.begin(), dx.end());
  });
  return results;
}

struct InstructionSet {
  std::string name;
  int register_bytes;
};

/// The same in a process of its own, which is where an instruction set is chosen.
template <typename C>
std::vector<typename C::Scalar> compute_with(const InstructionSet& set) {
  using Scalar = typename C::Scalar;
  std::FILE* file = std::tmpfile();
  if (file == nullptr) return {};
  const pid_t child = fork();
  if (child == 0) {
    setenv("EVENKEEL_MAX_ISA", set.name.c_str(), 1);
    const std::vector<Scalar> results = compute<C>();
    const bool done = ek::detail::register_bytes() == set.register_bytes &&
                      std::fwrite(results.data(), sizeof(Scalar), results.size(), file) == results.size() &&
                      std::fflush(file) == 0;
    _exit(done ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0) << set.name;
  std::vector<Scalar> results(static_cast<std::size_t>(std::ftell(file)) / sizeof(Scalar));
  std::rewind(file);
  EXPECT_EQ(std::fread(results.data(), sizeof(Scalar), results.size(), file), results.size());
  std::fclose(file);
  return results;
}

/// Those that this machine has.
std::vector<InstructionSet> instruction_sets() {
  std::vector<InstructionSet> sets = {{"sse2", 16}};
  for (const InstructionSet& larger : {InstructionSet{"avx2", 32}, InstructionSet{"avx512", 64}})
    if (larger.register_bytes <= ek::detail::choose_register_bytes()) sets.push_back(larger);
  return sets;
}

template <typename C>
class InstructionSets : public ::testing::Test {};
TYPED_TEST_SUITE(InstructionSets, LongCases, CaseName);

TYPED_TEST(InstructionSets, AreWithinTwoBounds) {
  using Scalar = typename TypeParam::Scalar;
  const std::vector<InstructionSet> sets = instruction_sets();
  std::vector<std::vector<Scalar>> results;
  for (const InstructionSet& set : sets) results.push_back(compute_with<TypeParam>(set));

  for (std::size_t s = 1; s < sets.size(); ++s) {
    const std::vector<Scalar>&one = results[s - 1], &other = results[s];
    ASSERT_EQ(one.size(), other.size());
    Real y_error = 0, dx_error = 0;
    std::size_t from = 0, same = 0;
    for_each_problem<TypeParam>(
        [&](const auto& layer, const Shape&, const IndexMap& map, const auto& x, const auto& dy) {
          const auto next = [&](const std::vector<Scalar>& all) {
            const auto begin = all.begin() + static_cast<std::ptrdiff_t>(from);
            return std::vector<Scalar>(begin, begin + map.size());
          };
          y_error = std::max(y_error, forward_error(map, next(one), converted<Real>(next(other))));
          from += x.size();
          ReferenceGradients gradients =
              reference_backward(map, Reference(map, x, 1e-5L), dy, to_real(layer.gamma()));
          gradients.x = converted<Real>(next(other));
          dx_error = std::max(dx_error, backward_error(map, next(one), gradients));
          from += dy.size();
        });
    ASSERT_EQ(from, one.size());
    for (std::size_t i = 0; i < one.size(); ++i) same += one[i] == other[i];
    std::printf(
        "%s and %s: y within %.1Le of max(1, max|y|), dx within %.1Le of max|gamma inv_std dy|, "
        "%.0f %% of the values the same\n",
        sets[s - 1].name.c_str(), sets[s].name.c_str(), y_error, dx_error,
        100.0 * static_cast<double>(same) / static_cast<double>(one.size()));
    EXPECT_LE(y_error, 2 * Tolerance<Scalar>::y);
    EXPECT_LE(dx_error, 2 * Tolerance<Scalar>::x);
  }
}

}  // namespace
}  // namespace ek_test
