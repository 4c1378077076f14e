// Each misuse is compiled alone, with its number as SNIPPET, and must be refused with the message beside that number
// (a regular expression). With SNIPPET=0 all are compiled, and each is the right way to write it.
#include "prelude.hpp"

namespace ek = evenkeel;

#if SNIPPET == 0
#define WRONG_OR_RIGHT(wrong, right) right
#else
#define WRONG_OR_RIGHT(wrong, right) wrong
#endif
#define SNIPPET_IS(number) (SNIPPET == number || SNIPPET == 0)

struct Given {
  ek::BatchNorm<float> bn{4};
  const ek::BatchNorm<float> trained{4};
  ek::LayerNorm<float> ln{4};
  Eigen::MatrixXf a{8, 4}, b{8, 4}, y{8, 4};
  const Eigen::MatrixXf constant = Eigen::MatrixXf(8, 4);
  Eigen::MatrixXd doubles{8, 4};
  Eigen::Tensor<float, 2> t{8, 4}, u{8, 4}, v{8, 4};
  const Eigen::Tensor<float, 2> constant_tensor{8, 4};
  ek::Vector<float> four{4};
  ek::Vector<double> four_doubles{4};
  ek::Moments<double> moments;
  std::vector<float> values;
  const std::vector<float> constant_values;
  Eigen::DefaultDevice device;
};

#if SNIPPET_IS(1)  // evaluate a lazy expression first
void sum_of_matrices(Given& g) { g.bn.forward(WRONG_OR_RIGHT(g.a + g.b, Eigen::MatrixXf(g.a + g.b)), g.y); }
#endif

#if SNIPPET_IS(2)  // evaluate a lazy expression first
void sum_of_tensors(Given& g) {
  g.bn.forward(WRONG_OR_RIGHT(g.t + g.u, (Eigen::Tensor<float, 2>(g.t + g.u))), g.v);
}
#endif

#if SNIPPET_IS(3)  // evaluate a lazy expression first
void returning(Given& g) { g.y = g.bn.infer(WRONG_OR_RIGHT(g.a * 2, Eigen::MatrixXf(g.a * 2))); }
#endif

#if SNIPPET_IS(4)  // evaluate a lazy expression first
void lazy_dy(Given& g) { g.bn.backward(g.a, WRONG_OR_RIGHT(g.a - g.b, Eigen::MatrixXf(g.a - g.b)), g.y); }
#endif

#if SNIPPET_IS(5)  // an output must not be const
void constant_matrix_as_y(Given& g) { g.bn.forward(g.a, WRONG_OR_RIGHT(g.constant, g.y)); }
#endif

#if SNIPPET_IS(6)  // evenkeel: x must have the layer's scalar type
void doubles_into_a_layer_of_float(Given& g) { g.bn.infer(WRONG_OR_RIGHT(g.doubles, g.a), g.y); }
#endif

#if SNIPPET_IS(7)  // evaluate a lazy expression first
void sum_as_y(Given& g) { g.bn.forward(g.a, WRONG_OR_RIGHT(g.a + g.b, g.y)); }
#endif

#if SNIPPET_IS(8)  // evenkeel: y must have x's scalar type
void doubles_as_y(Given& g) { g.bn.forward(g.a, WRONG_OR_RIGHT(g.doubles, g.y)); }
#endif

#if SNIPPET_IS(9)  // evenkeel: dy must have x's scalar type
void doubles_as_dy(Given& g) { g.bn.backward(g.a, WRONG_OR_RIGHT(g.doubles, g.b), g.y); }
#endif

#if SNIPPET_IS(10)  // evenkeel: dx must have x's scalar type
void doubles_as_dx(Given& g) { g.bn.backward(g.a, g.b, WRONG_OR_RIGHT(g.doubles, g.y)); }
#endif

#if SNIPPET_IS(11)  // an output must not be const
void view_of_const_as_y(Given& g) {
  g.bn.forward(g.a, ek::view(WRONG_OR_RIGHT(g.constant_values, g.values).data(), {8, 4}, ek::col_major));
}
#endif

#if SNIPPET_IS(12)  // an output must not be const
void map_of_const_as_y(Given& g) {
  g.bn.forward(g.a,
               Eigen::Map<WRONG_OR_RIGHT(const Eigen::MatrixXf, Eigen::MatrixXf)>(g.values.data(), 8, 4));
}
#endif

#if SNIPPET_IS(13)  // an output must not be const
void constant_tensor_as_dx(Given& g) { g.bn.backward(g.t, g.u, WRONG_OR_RIGHT(g.constant_tensor, g.v)); }
#endif

#if SNIPPET_IS(14)  // discards qualifiers|no known conversion from 'const
void training_of_a_const_layer(Given& g) { g.WRONG_OR_RIGHT(trained, bn).forward(g.a, g.y); }
#endif

#if SNIPPET_IS(15)  // discards qualifiers|no viable overloaded '='
void gamma_of_a_const_layer(Given& g) { g.WRONG_OR_RIGHT(trained, bn).gamma() = g.four; }
#endif

#if SNIPPET_IS(16)  // evenkeel: Scalar must be a real floating-point type
void layer_of_int() { ek::LayerNorm<WRONG_OR_RIGHT(int, float)> layer(4); }
#endif

#if SNIPPET_IS(17)  // evenkeel: Scalar must be a real floating-point type
void layer_of_complex() { ek::GroupNorm<WRONG_OR_RIGHT(std::complex<float>, float)> layer(2, 4); }
#endif

#if SNIPPET_IS(18)  // evenkeel: a tensor must have rank 1 to 8
void nine_axes(Given& g) {
  Eigen::Tensor<float, WRONG_OR_RIGHT(9, 8)> x, y;
  g.bn.forward(x, y);
}
#endif

#if SNIPPET_IS(19)  // evenkeel: a tensor must have rank 1 to 8
void no_axis(Given& g) {
  Eigen::Tensor<float, WRONG_OR_RIGHT(0, 1)> x, y;
  g.bn.forward(x, y);
}
#endif

#if SNIPPET_IS(20)  // a TensorView has no owning type; pass the output as well
void returning_from_a_view(Given& g) {
  const auto x = ek::view(g.values.data(), {8, 4});
  WRONG_OR_RIGHT((void)g.bn.forward(x), g.bn.forward(x, x));
}
#endif

#if SNIPPET_IS(21)  // an argument must be an Eigen::Tensor, TensorFixedSize
void vector_as_x(Given& g) {
  g.bn.forward(WRONG_OR_RIGHT(g.values, ek::view(g.values.data(), {8, 4}, ek::col_major)), g.y);
}
#endif

#if SNIPPET_IS(22)  // conversion from 'int'|no viable conversion from 'int'
void layer_from_a_number() { ek::BatchNorm<float> bn WRONG_OR_RIGHT(= 4, (4)); }
#endif

#if SNIPPET_IS(23)  // evenkeel: parameters must be of the type ParamOf<Scalar>
void doubles_as_gamma(Given& g) {
  ek::batch_norm_forward(g.device, g.a, WRONG_OR_RIGHT(g.four_doubles, g.four), g.four, {}, g.y, g.moments);
}
#endif

#if SNIPPET_IS(24)  // evenkeel: gradients must be of the type ParamOf<Scalar>
void doubles_as_grad_gamma(Given& g) {
  ek::batch_norm_backward(g.device, g.a, g.b, g.four, g.moments, {}, g.y,
                          WRONG_OR_RIGHT(g.four_doubles, g.four), g.four);
}
#endif

#if SNIPPET_IS(25)  // evenkeel runs on Eigen::DefaultDevice and Eigen::ThreadPoolDevice
void two_threads_as_device(Given& g) {
  ek::batch_norm_forward(WRONG_OR_RIGHT(2, g.device), g.a, g.four, g.four, {}, g.y, g.moments);
}
#endif

#if SNIPPET_IS(26)  // evenkeel: neighbours must be contiguous
void every_other_value_as_x(Given& g) {
  g.bn.infer(Eigen::Map<Eigen::MatrixXf, 0, WRONG_OR_RIGHT(Eigen::InnerStride<2>, Eigen::InnerStride<1>)>(
                 g.values.data(), 8, 4),
             g.y);
}
#endif

#if SNIPPET_IS(27)  // evenkeel: neighbours must be contiguous
void every_other_value_as_y(Given& g) {
  g.bn.infer(g.four,
             Eigen::Map<Eigen::VectorXf, 0, Eigen::InnerStride<WRONG_OR_RIGHT(2, 1)>>(g.values.data(), 4));
}
#endif

#if SNIPPET_IS(28)  // evenkeel: x and y must have one layout
void column_major_y_of_a_row_major_x(Given& g) {
  Eigen::Tensor<float, 2, Eigen::RowMajor> y;
  Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> x(8, 4);
  g.bn.infer(x, WRONG_OR_RIGHT(g.y, y));
}
#endif

#if SNIPPET_IS(29)  // evenkeel: x and dy must have one layout
void row_major_dy_of_a_column_major_x(Given& g) {
  Eigen::Tensor<float, 2, Eigen::RowMajor> dy(8, 4);
  g.bn.backward(g.t, WRONG_OR_RIGHT(dy, g.u), g.v);
}
#endif

#if SNIPPET_IS(30)  // evenkeel: x and dx must have one layout
void row_major_dx_of_a_column_major_x(Given& g) {
  Eigen::Tensor<float, 2, Eigen::RowMajor> dx;
  g.bn.backward(g.t, g.u, WRONG_OR_RIGHT(dx, g.v));
}
#endif

#if SNIPPET_IS(31)  // IT_IS_READ_ONLY
void stepping_a_const_layer(Given& g) { g.WRONG_OR_RIGHT(trained, bn).parameters()[0].value += g.four; }
#endif

#if SNIPPET_IS(32)  // evenkeel: residual_in and plus are for LayerNorm and RMSNorm
void skip_into_a_batch_norm(Given& g) {
  g.WRONG_OR_RIGHT(bn, ln).forward(g.a, g.y, ek::residual_in(g.b, g.a));
}
#endif

#if SNIPPET_IS(33)  // evenkeel: residual_in is for forward and infer, plus is for backward
void plus_in_forward(Given& g) { g.ln.forward(g.a, g.y, ek::WRONG_OR_RIGHT(plus, add)(g.b)); }
#endif

#if SNIPPET_IS(34)  // evenkeel: residual_in is for forward and infer, plus is for backward
void skip_in_backward(Given& g) {
  g.ln.backward(g.a, g.b, g.y, WRONG_OR_RIGHT(ek::residual_in(g.b, g.a), ek::plus(g.b)));
}
#endif

#if SNIPPET_IS(35)  // evenkeel: what is fused must have x's scalar type
void doubles_as_residual(Given& g) { g.bn.forward(g.a, g.y, ek::add_relu(WRONG_OR_RIGHT(g.doubles, g.b))); }
#endif

#if SNIPPET_IS(36)  // evenkeel: what is fused must have x's scalar type
void doubles_as_sum(Given& g) { g.ln.infer(g.a, g.y, ek::residual_in(g.b, WRONG_OR_RIGHT(g.doubles, g.a))); }
#endif

#if SNIPPET_IS(37)  // an output must not be const
void constant_matrix_as_d_residual(Given& g) {
  Eigen::MatrixXf d_residual;
  g.bn.backward(g.a, g.b, g.y, ek::add_relu(g.b, WRONG_OR_RIGHT(g.constant, d_residual)));
}
#endif

#if SNIPPET_IS(38)  // evaluate a lazy expression first
void sum_as_residual(Given& g) {
  const auto sum = WRONG_OR_RIGHT(g.a + g.b, Eigen::MatrixXf(g.a + g.b));
  g.bn.infer(g.a, g.y, ek::add(sum));
}
#endif
