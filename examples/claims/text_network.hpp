#pragma once

#include <cmath>
#include <cstddef>
#include <evenkeel/evenkeel.hpp>
#include <string>
#include <utility>
#include <vector>

#include "../kit/activations.hpp"
#include "../kit/dense.hpp"
#include "../kit/embedding.hpp"
#include "../kit/norm.hpp"
#include "../kit/random.hpp"
#include "texts.hpp"

namespace claims {

using namespace kit;

/// Each token with the ones before and behind it in its text, or 0 where there is none.
///
///   y[i] = (x[i - 1], x[i], x[i + 1])
///
/// Shapes  x: [tokens, features]; y: [tokens, 3 features].
template <typename Scalar>
class Windows {
 public:
  Matrix<Scalar> forward(const Matrix<Scalar>& x, const TextEnds& ends) {
    ends_ = ends;
    return infer(x, ends);
  }

  Matrix<Scalar> infer(const Matrix<Scalar>& x, const TextEnds& ends) const {
    const Index features = x.cols();
    Matrix<Scalar> y = Matrix<Scalar>::Zero(x.rows(), 3 * features);
    y.middleCols(features, features) = x;
    for_each_text(ends, [&](Index first, Index count) {
      y.block(first + 1, 0, count - 1, features) = x.middleRows(first, count - 1);
      y.block(first, 2 * features, count - 1, features) = x.middleRows(first + 1, count - 1);
    });
    return y;
  }

  Matrix<Scalar> backward(const Matrix<Scalar>& dy) const {
    const Index features = dy.cols() / 3;
    Matrix<Scalar> dx = dy.middleCols(features, features);
    for_each_text(ends_, [&](Index first, Index count) {
      dx.middleRows(first, count - 1) += dy.block(first + 1, 0, count - 1, features);
      dx.middleRows(first + 1, count - 1) += dy.block(first, 2 * features, count - 1, features);
    });
    return dx;
  }

 private:
  TextEnds ends_;
};

/// Attention of each token to all tokens of its text, with one head.
///
///   y = A V Wo,   A = softmax of each row of Q K^T / sqrt(d),   Q = x Wq,  K = x Wk,  V = x Wv
///
///   dV = A^T dO,   dA = dO V^T,   dS = A (dA - sum of each row of dA A),   dQ = dS K / sqrt(d),
///   dK = dS^T Q / sqrt(d),   with O = A V
///
/// Each product has a bias too. Shapes  x, y: [tokens, d].
///
/// Source  Vaswani et al. 2017, section 3.2.1.
template <typename Scalar>
class Attention {
 public:
  Attention(Index features, Random& random)
      : q_(features, features, glorot_deviation(features), random),
        k_(features, features, glorot_deviation(features), random),
        v_(features, features, glorot_deviation(features), random),
        o_(features, features, glorot_deviation(features), random) {}

  Matrix<Scalar> forward(const Matrix<Scalar>& x, const TextEnds& ends) {
    ends_ = ends;
    query_ = q_.forward(x);
    key_ = k_.forward(x);
    value_ = v_.forward(x);
    return o_.forward(attend(query_, key_, value_, ends));
  }

  Matrix<Scalar> infer(const Matrix<Scalar>& x, const TextEnds& ends) const {
    return o_.infer(attend(q_.infer(x), k_.infer(x), v_.infer(x), ends));
  }

  Matrix<Scalar> backward(const Matrix<Scalar>& dy) {
    const Matrix<Scalar> d_out = o_.backward(dy);
    Matrix<Scalar> dq(dy.rows(), dy.cols()), dk = dq, dv = dq;
    for_each_text(ends_, [&](Index first, Index count) {
      const auto rows = [&](auto& m) { return m.middleRows(first, count); };
      const Matrix<Scalar> a = weights(rows(query_), rows(key_));
      const Matrix<Scalar> da = rows(d_out) * rows(value_).transpose();
      const Vector<Scalar> sums = da.cwiseProduct(a).rowwise().sum();
      const Matrix<Scalar> ds = a.array() * (da.array().colwise() - sums) * scale(dy.cols());
      rows(dv).noalias() = a.transpose() * rows(d_out);
      rows(dq).noalias() = ds * rows(key_);
      rows(dk).noalias() = ds.transpose() * rows(query_);
    });
    Matrix<Scalar> dx = q_.backward(dq);
    dx += k_.backward(dk);
    dx += v_.backward(dv);
    return dx;
  }

  Parameters<Scalar> parameters() { return parameters_of(q_, k_, v_, o_); }

 private:
  static Scalar scale(Index features) { return 1 / std::sqrt(static_cast<Scalar>(features)); }

  /// A of one text.
  template <typename Q, typename K>
  static Matrix<Scalar> weights(const Q& query, const K& key) {
    Matrix<Scalar> a = query * key.transpose() * scale(query.cols());
    const Vector<Scalar> largest = a.rowwise().maxCoeff();
    a = (a.array().colwise() - largest).exp();
    const Vector<Scalar> sums = a.rowwise().sum();
    a.array().colwise() /= sums;
    return a;
  }

  static Matrix<Scalar> attend(const Matrix<Scalar>& query, const Matrix<Scalar>& key,
                               const Matrix<Scalar>& value, const TextEnds& ends) {
    Matrix<Scalar> y(value.rows(), value.cols());
    for_each_text(ends, [&](Index first, Index count) {
      const auto rows = [&](const auto& m) { return m.middleRows(first, count); };
      y.middleRows(first, count).noalias() = weights(rows(query), rows(key)) * rows(value);
    });
    return y;
  }

  Dense<Scalar> q_, k_, v_, o_;
  TextEnds ends_;
  Matrix<Scalar> query_, key_, value_;
};

/// A norm of [tokens, features] by its name: none, batch or layer. Batch norm takes the tokens of all texts of a batch;
/// there is no padding.
template <typename Scalar>
Norm<Matrix<Scalar>> text_norm(const std::string& name, Index features) {
  using Any = Norm<Matrix<Scalar>>;
  if (name == "batch") return Any(evenkeel::BatchNorm<Scalar>(features));
  if (name == "layer") return Any(evenkeel::LayerNorm<Scalar>(features));
  return Any({});
}

/// A block of a transformer that has its norms in front.
///
///   z = x + attention(norm(x)),   y = z + relu(norm(z) W1 + b1) W2 + b2
///
/// Source  Xiong et al. 2020, figure 1 (b).
template <typename Scalar>
class TransformerBlock {
 public:
  TransformerBlock(Index features, const std::string& norm, Random& random)
      : first_norm_(text_norm<Scalar>(norm, features)),
        second_norm_(first_norm_),
        attention_(features, random),
        inner_(features, 2 * features, he_deviation(features), random),
        outer_(2 * features, features, he_deviation(2 * features), random) {}

  Matrix<Scalar> forward(Matrix<Scalar> x, const TextEnds& ends) {
    x += attention_.forward(first_norm_.forward(x), ends);
    x += outer_.forward(relu_.forward(inner_.forward(second_norm_.forward(x))));
    return x;
  }

  Matrix<Scalar> infer(Matrix<Scalar> x, const TextEnds& ends) const {
    x += attention_.infer(first_norm_.infer(x), ends);
    x += outer_.infer(relu_.infer(inner_.infer(second_norm_.infer(x))));
    return x;
  }

  Matrix<Scalar> backward(Matrix<Scalar> dy) {
    dy += second_norm_.backward(inner_.backward(relu_.backward(outer_.backward(dy))));
    dy += first_norm_.backward(attention_.backward(dy));
    return dy;
  }

  Parameters<Scalar> parameters() {
    return parameters_of(first_norm_, second_norm_, attention_, inner_, outer_);
  }

 private:
  Norm<Matrix<Scalar>> first_norm_, second_norm_;
  Attention<Scalar> attention_;
  Dense<Scalar> inner_;
  Relu<Matrix<Scalar>> relu_;
  Dense<Scalar> outer_;
};

/// Letters as windows of three, two blocks, a norm, the mean over each text's tokens, a dense layer to the languages.
class TextNetwork {
 public:
  TextNetwork(const std::string& norm, Random& random)
      : embedding_(kLetters, kEmbedded, 1, random),
        dense_(3 * kEmbedded, kFeatures, glorot_deviation(3 * kEmbedded), random),
        norm_(text_norm<float>(norm, kFeatures)),
        output_(kFeatures, kLanguages, glorot_deviation(kFeatures), random) {
    for (Index i = 0; i < kBlocks; ++i) blocks_.emplace_back(kFeatures, norm, random);
  }

  /// Training: the logits, [texts, languages].
  Matrix<float> forward(const Texts& texts) {
    ends_ = texts.ends;
    Matrix<float> x = dense_.forward(windows_.forward(embedding_.forward(texts.letters), ends_));
    for (auto& block : blocks_) x = block.forward(std::move(x), ends_);
    return output_.forward(means(norm_.forward(std::move(x)), ends_));
  }

  Matrix<float> infer(const Texts& texts) const {
    Matrix<float> x = dense_.infer(windows_.infer(embedding_.infer(texts.letters), texts.ends));
    for (const auto& block : blocks_) x = block.infer(std::move(x), texts.ends);
    return output_.infer(means(norm_.infer(std::move(x)), texts.ends));
  }

  void backward(const Matrix<float>& grad_logits) {
    const Matrix<float> dmeans = output_.backward(grad_logits);
    Matrix<float> dy(ends_.back(), kFeatures);
    Index text = 0;
    for_each_text(ends_, [&](Index first, Index count) {
      dy.middleRows(first, count).rowwise() = dmeans.row(text++) / static_cast<float>(count);
    });
    dy = norm_.backward(std::move(dy));
    for (std::size_t i = blocks_.size(); i-- > 0;) dy = blocks_[i].backward(std::move(dy));
    embedding_.backward(windows_.backward(dense_.backward(dy)));
  }

  Parameters<float> parameters() {
    Parameters<float> all = parameters_of(embedding_, dense_, norm_, output_);
    for (auto& block : blocks_) {
      for (const auto& p : block.parameters()) all.push_back(p);
    }
    return all;
  }

 private:
  static constexpr Index kEmbedded = 16, kFeatures = 32, kBlocks = 2;

  static Matrix<float> means(const Matrix<float>& x, const TextEnds& ends) {
    Matrix<float> y(static_cast<Index>(ends.size()), x.cols());
    Index text = 0;
    for_each_text(
        ends, [&](Index first, Index count) { y.row(text++) = x.middleRows(first, count).colwise().mean(); });
    return y;
  }

  Embedding<float> embedding_;
  Windows<float> windows_;
  Dense<float> dense_;
  std::vector<TransformerBlock<float>> blocks_;
  Norm<Matrix<float>> norm_;
  Dense<float> output_;
  TextEnds ends_;
};

}  // namespace claims
