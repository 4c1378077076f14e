// ONNX's own node tests of normalization, by the options of ek::onnx. EK_ONNX_CASES names the file: for each case a line
// `case NAME OP EPSILON AXIS GROUPS TRAINING INPUTS OUTPUTS`, then a line a tensor, inputs first: RANK EXTENT... VALUE...
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <evenkeel/evenkeel.hpp>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace ek_test {
namespace {

namespace ek = evenkeel;
using ek::Index;

struct Tensor {
  std::vector<Index> shape;
  std::vector<float> values;

  ek::TensorView<float> view() { return ek::view(values.data(), shape, ek::row_major); }
  Tensor like() const { return {shape, std::vector<float>(values.size())}; }
  /// As the parameters of a layer.
  Eigen::Map<const ek::Vector<float>> array() const {
    return {values.data(), static_cast<Index>(values.size())};
  }
};

struct Case {
  std::string name, op;
  double epsilon = 0;
  Index axis = 0, groups = 0;
  bool trains = false;
  std::vector<Tensor> inputs, outputs;
};

Tensor read_tensor(std::istream& file) {
  Tensor tensor;
  std::string line;
  std::getline(file, line);
  std::istringstream words(line);
  std::size_t rank = 0, size = 1;
  words >> rank;
  tensor.shape.resize(rank);
  for (Index& extent : tensor.shape) {
    words >> extent;
    size *= static_cast<std::size_t>(extent);
  }
  tensor.values.resize(size);
  for (float& value : tensor.values) words >> value;
  EXPECT_TRUE(words) << "a tensor has as many values as its shape says";
  return tensor;
}

std::vector<Case> read_cases() {
  std::ifstream file(EK_ONNX_CASES);
  std::vector<Case> cases;
  for (std::string line; std::getline(file, line);) {
    Case c;
    std::string word;
    std::size_t inputs = 0, outputs = 0;
    std::istringstream(line) >> word >> c.name >> c.op >> c.epsilon >> c.axis >> c.groups >> c.trains >>
        inputs >> outputs;
    EXPECT_EQ(word, "case") << line;
    while (c.inputs.size() < inputs) c.inputs.push_back(read_tensor(file));
    while (c.outputs.size() < outputs) c.outputs.push_back(read_tensor(file));
    cases.push_back(c);
  }
  return cases;
}

/// The expected values are numpy's in float, with sums of at most 120 terms, whose rounding is what differs.
template <typename Got>
void expect_near(const Case& c, const char* what, const Got& got, const Tensor& expected) {
  ASSERT_EQ(static_cast<std::size_t>(got.size()), expected.values.size()) << c.name << ", " << what;
  for (std::size_t i = 0; i < expected.values.size(); ++i) {
    const double right = static_cast<double>(expected.values[i]);
    EXPECT_NEAR(static_cast<double>(got[static_cast<Index>(i)]), right,
                4e-6 * std::max(1.0, std::fabs(right)))
        << c.name << ", " << what << ' ' << i;
  }
}
void expect_y(const Case& c, const Tensor& y) { expect_near(c, "y", y.array(), c.outputs[0]); }

/// The extents of x from the operator's axis on.
std::vector<Index> normalized_shape(const Case& c) {
  const std::vector<Index>& shape = c.inputs[0].shape;
  const auto rank = static_cast<Index>(shape.size());
  return {shape.begin() + (c.axis < 0 ? c.axis + rank : c.axis), shape.end()};
}

template <typename Layer>
void set_params(Layer& layer, const Case& c) {
  layer.gamma() = c.inputs[1].array();
  if (c.inputs.size() > 2) layer.beta() = c.inputs[2].array();
}

void run_batch_norm(Case& c) {
  Tensor &x = c.inputs[0], y = x.like();
  ek::BatchNorm<float> layer(x.shape[1], ek::onnx::batch_norm(c.epsilon));
  set_params(layer, c);
  layer.running_mean() = c.inputs[3].array();
  layer.running_var() = c.inputs[4].array();
  if (!c.trains) {
    layer.infer(x.view(), y.view());
  } else {
    layer.forward(x.view(), y.view());
    expect_near(c, "running_mean", layer.running_mean(), c.outputs[1]);
    expect_near(c, "running_var", layer.running_var(), c.outputs[2]);
  }
  expect_y(c, y);
}

void run_group_norm(Case& c) {
  Tensor &x = c.inputs[0], y = x.like();
  ek::GroupNorm<float> layer(c.groups, x.shape[1], ek::onnx::group_norm(c.epsilon));
  set_params(layer, c);
  layer.infer(x.view(), y.view());
  expect_y(c, y);
}

void run_instance_norm(Case& c) {
  Tensor &x = c.inputs[0], y = x.like();
  ek::InstanceNorm<float> layer(x.shape[1], ek::onnx::instance_norm(c.epsilon));
  set_params(layer, c);
  layer.infer(x.view(), y.view());
  expect_y(c, y);
}

void run_layer_norm(Case& c) {
  Tensor &x = c.inputs[0], y = x.like();
  ek::LayerNorm<float> layer(normalized_shape(c), ek::onnx::layer_norm(c.epsilon));
  set_params(layer, c);
  layer.forward(x.view(), y.view());
  expect_y(c, y);
  expect_near(c, "mean", layer.saved_mean(), c.outputs[1]);
  expect_near(c, "inv_std", layer.saved_inv_std(), c.outputs[2]);
}

void run_rms_norm(Case& c) {
  Tensor &x = c.inputs[0], y = x.like();
  ek::RMSNorm<float> layer(normalized_shape(c), ek::onnx::rms_norm(c.epsilon));
  set_params(layer, c);
  layer.infer(x.view(), y.view());
  expect_y(c, y);
}

/// Over axes 0, 2 and 3, with an epsilon of 1e-9: batch norm by the batch's own statistics, without parameters.
void run_mean_variance_norm(Case& c) {
  Tensor &x = c.inputs[0], y = x.like();
  ek::BatchNormOptions options = ek::onnx::batch_norm(1e-9);
  options.affine = options.track_running_stats = false;
  ek::BatchNorm<float>(x.shape[1], options).infer(x.view(), y.view());
  expect_y(c, y);
}

TEST(Onnx, EveryCaseOfEveryOperator) {
  const std::map<std::string, std::function<void(Case&)>> operators = {
      {"BatchNormalization", run_batch_norm},       {"GroupNormalization", run_group_norm},
      {"InstanceNormalization", run_instance_norm}, {"LayerNormalization", run_layer_norm},
      {"RMSNormalization", run_rms_norm},           {"MeanVarianceNormalization", run_mean_variance_norm}};
  std::vector<Case> cases = read_cases();
  EXPECT_EQ(cases.size(), 47U);
  for (Case& c : cases) {
    SCOPED_TRACE(c.name);
    operators.at(c.op)(c);
  }
}

}  // namespace
}  // namespace ek_test
