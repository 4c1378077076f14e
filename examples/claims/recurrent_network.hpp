#pragma once

#include <algorithm>
#include <cstddef>
#include <evenkeel/evenkeel.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../kit/dense.hpp"
#include "../kit/images.hpp"
#include "../kit/initial.hpp"
#include "../kit/random.hpp"
#include "../kit/recurrent.hpp"

namespace claims {

using namespace kit;

/// A recurrent cell with a norm inside each time step.
///
///   h[t] = tanh(gamma xhat[t] + beta),   xhat[t] = norm(a[t]),   a[t] = x[t] W + h[t - 1] U,   h[-1] = 0
///
/// Backward through time, with da[T] = 0:
///
///   dy = (dh[t] + da[t + 1] U^T) (1 - h[t]^2),   da[t] = the norm's gradient of gamma dy
///   dgamma = sum of dy xhat[t],   dbeta = sum of dy,   dW = sum of x[t]^T da[t],   dU = sum of h[t - 1]^T da[t]
///
/// The norm is "none" (gamma stays 1), "layer", "batch" or "batch by step". In training, batch norm takes the
/// statistics of each step's batch. "batch" keeps one set of running statistics for all steps, "batch by step" keeps one
/// set for each step; steps behind the last one that was trained take its set.
///
/// Sequences may end early, the last ones of a batch first: x[t] has as many rows as x[t - 1] or fewer.
///
/// Shapes  x[t]: [N, inputs], N at least 2 for batch norm; h[t]: [N, hidden]; W: [inputs, hidden]; U: [hidden, hidden];
///         gamma, beta: [hidden].
/// Source  Ba et al. 2016, equation 4; Cooijmans et al. 2016, section 3.
template <typename Scalar>
class NormedRecurrent {
 public:
  /// steps: of the longest sequence in training.
  NormedRecurrent(Index inputs, Index hidden, const std::string& norm, Index steps, Random& random)
      : w_(normal_matrix<Scalar>(inputs, hidden, glorot_deviation(inputs), random)),
        u_(normal_matrix<Scalar>(hidden, hidden, glorot_deviation(hidden), random)),
        grad_w_(Matrix<Scalar>::Zero(inputs, hidden)),
        grad_u_(Matrix<Scalar>::Zero(hidden, hidden)),
        gamma_(Row::Ones(hidden)),
        beta_(Row::Zero(hidden)),
        grad_gamma_(beta_),
        grad_beta_(beta_) {
    evenkeel::BatchNormOptions batch;
    evenkeel::LayerNormOptions layer;
    batch.affine = layer.affine = false;
    if (norm == "layer") layer_norm_.emplace(hidden, layer);
    if (norm == "batch") {
      batch.momentum = *batch.momentum / static_cast<double>(steps);  // moves in each step of a sequence
      batch_norms_.emplace_back(hidden, batch);
    }
    if (norm == "batch by step") {
      batch_norms_.assign(static_cast<std::size_t>(steps), evenkeel::BatchNorm<Scalar>(hidden, batch));
    }
  }

  Sequence<Scalar> forward(Sequence<Scalar> x) {
    x_ = std::move(x);
    a_.clear();
    h_.clear();
    for (std::size_t t = 0; t < x_.size(); ++t) {
      a_.push_back(sum(x_[t], t == 0 ? nullptr : &h_[t - 1]));
      h_.push_back(activated(normalized(t)));
    }
    return h_;
  }

  Sequence<Scalar> infer(const Sequence<Scalar>& x) const {
    Sequence<Scalar> h;
    for (std::size_t t = 0; t < x.size(); ++t) {
      Matrix<Scalar> a = sum(x[t], t == 0 ? nullptr : &h[t - 1]);
      if (layer_norm_) layer_norm_->infer(a, a);
      if (!batch_norms_.empty()) batch_norms_[batch_norm_of(t)].infer(a, a);
      h.push_back(activated(std::move(a)));
    }
    return h;
  }

  /// From dh, the gradient of each state by itself. Without dx, which nobody needs of a network's first layer.
  void backward_parameters(const Sequence<Scalar>& dh) {
    for (Matrix<Scalar>* grad : {&grad_w_, &grad_u_}) grad->setZero();
    for (Row* grad : {&grad_gamma_, &grad_beta_}) grad->setZero();
    for (evenkeel::BatchNorm<Scalar>& norm : batch_norms_) norm.updates_running_stats(false);
    Matrix<Scalar> da;
    for (std::size_t t = dh.size(); t-- > 0;) {
      Matrix<Scalar> dy = dh[t];
      if (t + 1 < dh.size()) dy.topRows(da.rows()).noalias() += da * u_.transpose();
      dy.array() *= 1 - h_[t].array().square();
      grad_beta_ += dy.colwise().sum();
      da = normed() ? backward_norm(t, std::move(dy)) : std::move(dy);
      grad_w_.noalias() += x_[t].transpose() * da;
      if (t > 0) grad_u_.noalias() += h_[t - 1].topRows(da.rows()).transpose() * da;
    }
    for (evenkeel::BatchNorm<Scalar>& norm : batch_norms_) norm.updates_running_stats(true);
  }

  Parameters<Scalar> parameters() {
    Parameters<Scalar> all = {parameter("weights", w_, grad_w_), parameter("weights", u_, grad_u_),
                              parameter("beta", beta_, grad_beta_)};
    if (normed()) all.push_back(parameter("gamma", gamma_, grad_gamma_));
    return all;
  }

 private:
  using Row = Eigen::Matrix<Scalar, 1, Eigen::Dynamic>;

  bool normed() const { return layer_norm_ || !batch_norms_.empty(); }
  std::size_t batch_norm_of(std::size_t t) const { return std::min(t, batch_norms_.size() - 1); }

  Matrix<Scalar> sum(const Matrix<Scalar>& x, const Matrix<Scalar>* before) const {
    Matrix<Scalar> a = x * w_;
    if (before != nullptr) a.noalias() += before->topRows(x.rows()) * u_;
    return a;
  }

  Matrix<Scalar> normalized(std::size_t t) {
    Matrix<Scalar> xhat = a_[t];
    if (layer_norm_) layer_norm_->forward(a_[t], xhat);
    if (!batch_norms_.empty()) batch_norms_[batch_norm_of(t)].forward(a_[t], xhat);
    return xhat;
  }

  Matrix<Scalar> activated(Matrix<Scalar> y) const {
    y.array().rowwise() *= gamma_.array();
    y.rowwise() += beta_;
    return y.array().tanh();
  }

  /// A layer holds the statistics of its last forward alone, so each step runs it again.
  Matrix<Scalar> backward_norm(std::size_t t, Matrix<Scalar> dy) {
    const Matrix<Scalar> xhat = normalized(t);
    grad_gamma_ += dy.cwiseProduct(xhat).colwise().sum();
    dy.array().rowwise() *= gamma_.array();
    if (layer_norm_) layer_norm_->backward(a_[t], dy, dy);
    if (!batch_norms_.empty()) batch_norms_[batch_norm_of(t)].backward(a_[t], dy, dy);
    return dy;
  }

  Matrix<Scalar> w_, u_, grad_w_, grad_u_;
  Row gamma_, beta_, grad_gamma_, grad_beta_;
  std::optional<evenkeel::LayerNorm<Scalar>> layer_norm_;
  std::vector<evenkeel::BatchNorm<Scalar>> batch_norms_;
  Sequence<Scalar> x_, a_, h_;
};

/// Sequences of one batch, the longest first.
struct Sequences {
  Sequence<float> x;           // x[t] holds those that are longer than t
  std::vector<Index> lengths;  // falling
  std::vector<Index> labels;
};

/// Images row by row, each of them stretched or squeezed to its own number of rows, linearly between two rows.
inline Sequences rows_of(const Images& images, const std::vector<Index>& lengths) {
  const Index side = images.side();
  Sequences result{{}, lengths, images.labels};
  const auto length_of = [&](Index n) { return lengths[static_cast<std::size_t>(n)]; };
  for (Index t = 0; t < lengths.at(0); ++t) {
    Index rows = images.count();
    while (length_of(rows - 1) <= t) --rows;
    Matrix<float> x(rows, side);
    for (Index n = 0; n < rows; ++n) {
      const float place = static_cast<float>(t * (side - 1)) / static_cast<float>(length_of(n) - 1);
      const Index before = std::min(static_cast<Index>(place), side - 2);
      const float share = place - static_cast<float>(before);
      const auto row = [&](Index i) { return images.pixels.row(n).segment(i * side, side); };
      x.row(n) = (1 - share) * row(before) + share * row(before + 1);
    }
    result.x.push_back(std::move(x));
  }
  return result;
}

/// A recurrent cell, and a dense layer that takes each sequence's last state to the classes.
class RecurrentNetwork {
 public:
  RecurrentNetwork(Index inputs, Index hidden, const std::string& norm, Index steps, Random& random)
      : cell_(inputs, hidden, norm, steps, random),
        dense_(hidden, kClasses, glorot_deviation(hidden), random) {}

  /// Training: the logits, [N, classes].
  Matrix<float> forward(const Sequences& batch) {
    lengths_ = batch.lengths;
    h_ = cell_.forward(batch.x);
    return dense_.forward(last_states(h_, lengths_));
  }

  Matrix<float> infer(const Sequences& batch) const {
    return dense_.infer(last_states(cell_.infer(batch.x), batch.lengths));
  }

  void backward(const Matrix<float>& grad_logits) {
    const Matrix<float> dlast = dense_.backward(grad_logits);
    Sequence<float> dh;
    for (const Matrix<float>& h : h_) dh.push_back(Matrix<float>::Zero(h.rows(), h.cols()));
    for (Index n = 0; n < dlast.rows(); ++n) dh[last_step(lengths_, n)].row(n) = dlast.row(n);
    cell_.backward_parameters(dh);
  }

  Parameters<float> parameters() { return parameters_of(cell_, dense_); }

 private:
  static std::size_t last_step(const std::vector<Index>& lengths, Index n) {
    return static_cast<std::size_t>(lengths[static_cast<std::size_t>(n)] - 1);
  }
  static Matrix<float> last_states(const Sequence<float>& h, const std::vector<Index>& lengths) {
    Matrix<float> last(h.at(0).rows(), h[0].cols());
    for (Index n = 0; n < last.rows(); ++n) last.row(n) = h[last_step(lengths, n)].row(n);
    return last;
  }

  NormedRecurrent<float> cell_;
  Dense<float> dense_;
  std::vector<Index> lengths_;
  Sequence<float> h_;
};

}  // namespace claims
