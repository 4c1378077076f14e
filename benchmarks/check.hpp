#pragma once

#include <string>
#include <vector>

#include "library.hpp"

namespace evenkeel::benchmarks {

/// What a pass should give, by plain loops in double.
template <typename Scalar>
class Check {
 public:
  explicit Check(const Problem<Scalar>& problem);

  struct Difference {
    double largest = 0;  // over the largest value; infinite where a result is not finite
    std::string wrong;   // what is not within its tolerance, if anything
  };

  /// Of what the pass gives, run over NaNs so that nothing is left from another one.
  Difference operator()(const Pass& pass, Problem<Scalar>& problem) const;

 private:
  std::vector<double> out_, grad_gamma_, grad_beta_;
};

extern template class Check<float>;
extern template class Check<double>;

}  // namespace evenkeel::benchmarks
