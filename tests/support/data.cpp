#include "data.hpp"

#include <random>

namespace ek_test {

std::vector<double> normal_numbers(Index size, unsigned seed) {
  std::mt19937_64 generator(seed);
  std::normal_distribution<double> normal;
  std::vector<double> result(at(size));
  for (double& value : result) value = normal(generator);
  return result;
}

}  // namespace ek_test
