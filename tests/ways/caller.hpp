#pragma once

// What a caller of the library does, in raw memory alone. The test that looks at it is compiled in the usual way and
// includes nothing of the library; the caller is compiled in many ways.

enum class Norm { batch, layer, group };

constexpr int kGroups = 2;
constexpr double kEpsilon = 1e-3;

/// One training step and one inference. The layer is over axis 1, layer norm over the last axis.
template <typename T>
struct Step {
  const long* shape;
  int rank;
  bool row_major;
  long params;
  const T *x, *dy, *gamma, *beta;
  T *y, *dx, *inferred;                // as many as x
  T *grad_gamma, *grad_beta;           // one a parameter
  double *running_mean, *running_var;  // the same, of batch norm, with all digits; its momentum is 1
};

/// What a caller's translation unit has. One norm and one type each, since all of them take minutes to compile.
template <typename T>
struct Way {
  Norm norm;
  void (*take)(const Step<T>& step);
  bool (*refuses)();  // whether bad input throws; true without exceptions, where it would end the program
};
