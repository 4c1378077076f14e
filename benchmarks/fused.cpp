// What fusing saves: a norm alone, with an operation fused, and with Eigen's expression for the same before or behind it.
// Prints the rows of a Markdown table.

#include <cstdio>
#include <evenkeel/batch_norm.hpp>
#include <evenkeel/layer_norm.hpp>
#include <evenkeel/rms_norm.hpp>
#include <string>
#include <vector>

#include "measure.hpp"

namespace evenkeel::benchmarks {
namespace {

constexpr int kTurns = 41;

struct Tensors {
  explicit Tensors(const Shape& s)
      : shape(s), x(random(s)), other(random(s)), dy(random(s)), y(x), sum(x), dx(x) {}

  static Eigen::ArrayXf random(const Shape& s) { return Eigen::ArrayXf::Random(s.size()); }
  auto in(const Eigen::ArrayXf& a) const { return view(a.data(), shape); }
  auto out(Eigen::ArrayXf& a) const { return view(a.data(), shape); }

  Shape shape;
  Eigen::ArrayXf x, other, dy, y, sum, dx;
};

void print(const std::string& what, const Tensors& t, const Calls& calls) {
  Turns turns(calls);
  turns.take(kTurns);
  const double elements = static_cast<double>(t.shape.size()), ns = 1e9 / elements;
  const double alone = turns.timing(0).seconds * ns, fused = turns.timing(1).seconds * ns,
               expression = turns.timing(2).seconds * ns;
  std::printf("| %s | %s | %.2f | %.2f | %.2f | %.2f |\n", what.c_str(), t.shape.text().c_str(), alone, fused,
              expression, expression / fused);
}

/// y = max(norm(x) + residual, 0), and its gradient.
template <typename Layer>
void print_behind(const std::string& norm, Layer layer, const Shape& shape) {
  Tensors t(shape);
  const auto x = t.in(t.x), residual = t.in(t.other), dy = t.in(t.dy);
  const auto y = t.out(t.y), dx = t.out(t.dx), dz = t.out(t.sum);
  const auto add_relu = [&] { t.y = (t.y + t.other).max(0); };
  layer.forward(x, y);
  print(norm + " `infer`, `add_relu`", t,
        {[&] { layer.infer(x, y); }, [&] { layer.infer(x, y, evenkeel::add_relu(residual)); },
         [&] {
           layer.infer(x, y);
           add_relu();
         }});
  print(norm + " `forward`, `add_relu`", t,
        {[&] { layer.forward(x, y); }, [&] { layer.forward(x, y, evenkeel::add_relu(residual)); },
         [&] {
           layer.forward(x, y);
           add_relu();
         }});
  print(norm + " `backward`, `add_relu` with its gradient", t,
        {[&] { layer.backward(x, dy, dx); },
         [&] { layer.backward(x, dy, dx, evenkeel::add_relu(residual, dz)); },
         [&] {
           t.sum = (t.y > 0).select(t.dy, 0.0f);
           layer.backward(x, t.in(t.sum), dx);
         }});
}

/// sum = x + skip, y = norm(sum), and its gradient.
template <typename Layer>
void print_around(const std::string& norm, Layer layer, const Shape& shape) {
  Tensors t(shape);
  const auto x = t.in(t.x), skip = t.in(t.other), dy = t.in(t.dy);
  const auto y = t.out(t.y), dx = t.out(t.dx), sum = t.out(t.sum);
  print(norm + " `forward`, `residual_in`", t,
        {[&] { layer.forward(x, y); }, [&] { layer.forward(x, y, residual_in(skip, sum)); },
         [&] {
           t.sum = t.x + t.other;
           layer.forward(t.in(t.sum), y);
         }});
  layer.forward(x, y, residual_in(skip, sum));  // the last one before the turns of backward
  print(norm + " `backward`, `plus`", t,
        {[&] { layer.backward(sum, dy, dx); }, [&] { layer.backward(sum, dy, dx, plus(skip)); },
         [&] {
           layer.backward(sum, dy, dx);
           t.dx += t.other;
         }});
}

void print_all() {
  std::printf("| call | x | alone, ns an element | fused | with an expression | times |\n");
  std::printf("|---|---|---:|---:|---:|---:|\n");
  print_behind("batch norm", BatchNorm<float>(64), {8, 64, 56, 56});
  print_behind("batch norm", BatchNorm<float>(64), {32, 64, 14, 14});
  BatchNormOptions last;
  last.axis = -1;
  print_behind("batch norm", BatchNorm<float>(64, last), {32, 14, 14, 64});
  for (const Index rows : {64, 4096}) {
    print_around("layer norm", LayerNorm<float>(768), {rows, 768});
    print_around("RMS norm", RMSNorm<float>(768), {rows, 768});
  }
}

}  // namespace
}  // namespace evenkeel::benchmarks

int main() { evenkeel::benchmarks::print_all(); }
