// The layers of single claims: backward against central differences.
#include <gtest/gtest.h>

#include <cstddef>
#include <string>
#include <type_traits>
#include <vector>

#include "../../examples/claims/detection_network.hpp"
#include "../../examples/claims/recurrent_network.hpp"
#include "../../examples/claims/text_network.hpp"
#include "support/layer_gradients.hpp"

namespace claims {
namespace {

using namespace ek_test;

/// Sequences that end early, and three of them to the end: batch norm of two values is a step from -1 to 1.
TEST(ClaimsGradients, NormedRecurrent) {
  const std::vector<Index> rows = {5, 5, 4, 3};
  for (const char* norm : {"none", "layer", "batch", "batch by step"}) {
    SCOPED_TRACE(norm);
    Random random(1);
    NormedRecurrent<double> layer(3, 6, norm, 4, random);
    Sequence<double> x, weights;
    for (std::size_t t = 0; t < rows.size(); ++t) {
      x.push_back(random_matrix(rows[t], 3, 10 + t));
      weights.push_back(random_matrix(rows[t], 6, 20 + t));
    }
    for (auto p : layer.parameters()) {
      if (std::string(p.name) != "weights") p.value += random_matrix(p.value.size(), 1, 30).array() * 0.2;
    }
    layer.forward(x);
    layer.backward_parameters(weights);
    NormedRecurrent<double> probe = layer;
    const auto loss = [&] {
      const Sequence<double> h = probe.forward(x);
      double sum = 0;
      for (std::size_t t = 0; t < h.size(); ++t) sum += h[t].cwiseProduct(weights[t]).sum();
      return sum;
    };
    std::vector<Gradient> gradients;
    const auto grads = layer.parameters();
    auto values = probe.parameters();
    for (std::size_t k = 0; k < grads.size(); ++k) {
      gradients.push_back(
          {grads[k].name, to_vector(grads[k].grad), central_differences(values[k].value, loss)});
    }
    expect_equal(gradients);
  }
}

/// With as many steps of one batch as the running statistics need to take it over, inference is what training was.
TEST(ClaimsGradients, NormedRecurrentInfersByTheStatisticsOfEachStep) {
  Random random(1);
  NormedRecurrent<double> layer(3, 6, "batch by step", 3, random);
  Sequence<double> x;
  for (std::size_t t = 0; t < 3; ++t) x.push_back(random_matrix(1000, 3, 10 + t));
  Sequence<double> trained;
  for (int i = 0; i < 400; ++i) trained = layer.forward(x);
  const Sequence<double> inferred = layer.infer(x);
  for (std::size_t t = 0; t < 3; ++t) {
    // Running variances divide by 999, the batch's by 1000: half of 0.001 in the deviation, of values near 1.
    EXPECT_LT((trained[t] - inferred[t]).cwiseAbs().maxCoeff(), 0.002) << t;
  }
}

/// A layer of texts, with where they end.
template <typename Layer>
struct OnTexts {
  Layer layer;
  TextEnds ends = {1, 5, 7};  // a text of one letter too

  Matrix<double> forward(const Matrix<double>& x) { return layer.forward(x, ends); }
  Matrix<double> backward(const Matrix<double>& dy) { return layer.backward(dy); }
  Parameters<double> parameters() {
    if constexpr (std::is_same_v<Layer, Windows<double>>) {
      return {};
    } else {
      return layer.parameters();
    }
  }
};

TEST(ClaimsGradients, Windows) { expect_gradients(OnTexts<Windows<double>>{{}}, random_matrix(7, 3, 2)); }

TEST(ClaimsGradients, Attention) {
  Random random(1);
  expect_gradients(OnTexts<Attention<double>>{{4, random}}, random_matrix(7, 4, 2));
}

/// A large bias of the inner layer keeps the relus away from their corners: of both signs, so that some let nothing
/// through.
TEST(ClaimsGradients, TransformerBlock) {
  for (const char* norm : {"none", "batch", "layer"}) {
    SCOPED_TRACE(norm);
    Random random(1);
    OnTexts<TransformerBlock<double>> on_texts{{4, norm, random}};
    for (auto p : on_texts.parameters()) {
      if (std::string(p.name) == "bias" && p.value.size() == 8) {
        for (Index k = 0; k < 8; ++k) p.value[k] = k % 2 == 0 ? 20 : -20;
      }
    }
    expect_gradients(on_texts, random_matrix(7, 4, 2));
  }
}

/// Differences of 0.5 and of 2, away from the 1 where the second derivative jumps.
TEST(ClaimsGradients, BoxLoss) {
  Matrix<double> boxes(2, 4);
  boxes << 0.5, -0.5, 2, -2, 2, 0.5, -2, -0.5;
  const Matrix<double> truth = Matrix<double>::Zero(2, 4);
  BoxLoss<double> loss;
  EXPECT_EQ(loss.forward(boxes, truth), (4 * 0.125 + 4 * 1.5) / 2);
  auto values = flat(boxes);
  expect_equal({{"boxes", to_vector(loss.backward()),
                 central_differences(values, [&] { return BoxLoss<double>().forward(boxes, truth); })}});
}

TEST(Claims, OverlapOfBoxes) {
  const Box box(5, 5, 2, 4);
  EXPECT_EQ(overlap(box, box), 1);
  EXPECT_FLOAT_EQ(static_cast<float>(overlap(box, {6, 5, 2, 4})), 1.F / 3);  // half of each
  EXPECT_EQ(overlap(box, {8, 5, 2, 4}), 0);
  EXPECT_EQ(overlap(box, {5, 5, -1, 4}), 0);
}

}  // namespace
}  // namespace claims
