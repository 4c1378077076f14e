#pragma once

#include <vector>

/// What a caller who compiles with -ffast-math gets. The test that looks at it is compiled without, and
/// includes nothing of the library: else the linker would take either's instantiations for both.
struct FastMathResult {
  std::vector<float> y, dx, running_mean, grad_gamma;
  long rejected_batches;
};

/// One training step of batch norm on [samples, channels].
FastMathResult batch_norm_step(const std::vector<float>& x, const std::vector<float>& dy, long channels);
FastMathResult layer_norm_step(const std::vector<float>& x, const std::vector<float>& dy, long features);
/// Layer norm's inference with this epsilon.
std::vector<float> layer_norm_values(const std::vector<float>& x, long features, double epsilon);
/// What the constructor says of an epsilon that is NaN.
bool refuses_epsilon(double epsilon);
