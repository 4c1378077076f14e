#include "standardize.hpp"

namespace {

evenkeel::LayerNormOptions of_columns() {
  evenkeel::LayerNormOptions options;
  options.axis = 0;
  options.affine = false;
  return options;
}

}  // namespace

Standardize::Standardize(Eigen::Index rows) : norm_(rows, of_columns()) {}

Eigen::MatrixXf Standardize::operator()(const Eigen::MatrixXf& columns) const { return norm_.infer(columns); }
