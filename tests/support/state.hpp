// All that a layer remembers, to see that a refused call changed nothing.
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>
#include <vector>

#include "contract.hpp"
#include "data.hpp"
#include "same.hpp"

namespace ek_test {

template <typename Array>
void append(std::vector<double>& state, const Array& array) {
  state.push_back(static_cast<double>(array.size()));
  for (Index i = 0; i < array.size(); ++i) state.push_back(static_cast<double>(array[i]));
}

template <typename Layer>
std::vector<double> state_of(const Layer& layer) {
  std::vector<double> state;
  append(state, layer.gamma());
  append(state, layer.beta());
  append(state, layer.grad_gamma());
  append(state, layer.grad_beta());
  append(state, layer.saved_mean());
  append(state, layer.saved_inv_std());
  if constexpr (HasRunningStatistics<Layer>::value) {
    append(state, layer.running_mean());
    append(state, layer.running_var());
    append(state, layer.exact_running_mean());
    append(state, layer.exact_running_var());
    for (Index c = 0; layer.options().track_running_stats && c < layer.channels(); ++c)
      state.push_back(static_cast<double>(layer.rejected_batches(c)));
    state.push_back(static_cast<double>(layer.num_batches_tracked()));
    state.push_back(static_cast<double>(layer.rejected_batches()));
  }
  return state;
}

/// The call throws, its message has all parts, and neither the layer nor the output has changed by a bit.
template <typename Layer, typename Scalar, typename Call>
void expect_refused(const Layer& layer, const Buffer<Scalar>& output,
                    std::initializer_list<std::string> parts, Call call) {
  const std::vector<double> state = state_of(layer);
  const std::vector<Scalar> before = output.values();
  EXPECT_TRUE(says(refusal(call), parts));
  EXPECT_TRUE(same_bits(state_of(layer), state)) << "the refused call changed the layer";
  EXPECT_TRUE(same_bits(output.values(), before)) << "the refused call wrote its output";
}

}  // namespace ek_test
