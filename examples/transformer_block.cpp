// A pre-norm transformer block learns to reverse sequences. residual_in and plus keep its residual stream:
//
//   sum1 = embedding                         n1 = norm1(sum1)
//   sum2 = attention(n1) + sum1              n2 = norm2(sum2)      one pass
//   sum3 = mlp(n2) + sum2                    n3 = norm3(sum3)      one pass
//   logits = head(n3)
//
// Source  Xiong et al. 2020, table 1, Pre-LN transformer; with RMS norm, as Zhang and Sennrich 2019.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <evenkeel/evenkeel.hpp>
#include <initializer_list>
#include <utility>
#include <vector>

#include "kit/activations.hpp"
#include "kit/cross_entropy.hpp"
#include "kit/dense.hpp"
#include "kit/embedding.hpp"
#include "kit/sgd.hpp"

namespace ek = evenkeel;
using namespace kit;

namespace {

struct Sizes {
  Index vocabulary, length, features, hidden;
};

/// One head over sequences that lie one below the other:  y = softmax(q k^T / sqrt(features)) v W + b
///
/// Shapes  x, y: [sequences * length, features].
template <typename Scalar>
class Attention {
 public:
  Attention(Index length, Index features, Random& random)
      : length_(length),
        features_(features),
        qkv_(features, 3 * features, glorot_deviation(features), random),
        out_(features, features, glorot_deviation(features), random) {}

  Matrix<Scalar> forward(const Matrix<Scalar>& x) {
    projected_ = qkv_.forward(x);
    p_.resize(x.rows(), length_);
    Matrix<Scalar> heads(x.rows(), features_);
    for (Index at = 0; at < x.rows(); at += length_) {
      auto p = p_.middleRows(at, length_);
      p = part(projected_, at, 0) * part(projected_, at, 1).transpose() * scale();
      p.colwise() -= p.rowwise().maxCoeff().eval();
      p = p.array().exp().matrix().eval();
      p.array().colwise() /= p.rowwise().sum().array().eval();
      heads.middleRows(at, length_) = p * part(projected_, at, 2);
    }
    return out_.forward(std::move(heads));
  }

  Matrix<Scalar> backward(const Matrix<Scalar>& dy) {
    const Matrix<Scalar> d_heads = out_.backward(dy);
    Matrix<Scalar> d_projected(dy.rows(), 3 * features_), ds;
    for (Index at = 0; at < dy.rows(); at += length_) {
      const auto p = p_.middleRows(at, length_);
      const auto dh = d_heads.middleRows(at, length_);
      ds = dh * part(projected_, at, 2).transpose();  // dp
      const Vector<Scalar> along = ds.cwiseProduct(p).rowwise().sum();
      ds = (p.array() * (ds.array().colwise() - along) * scale()).matrix().eval();
      part(d_projected, at, 0) = ds * part(projected_, at, 1);
      part(d_projected, at, 1) = ds.transpose() * part(projected_, at, 0);
      part(d_projected, at, 2) = p.transpose() * dh;
    }
    return qkv_.backward(d_projected);
  }

  Parameters<Scalar> parameters() { return parameters_of(qkv_, out_); }

 private:
  /// q, k or v of the sequence that begins at a row.
  template <typename M>
  auto part(M& projected, Index row, Index which) const {
    return projected.block(row, which * features_, length_, features_);
  }
  Scalar scale() const { return 1 / std::sqrt(static_cast<Scalar>(features_)); }

  Index length_, features_;
  Dense<Scalar> qkv_, out_;
  Matrix<Scalar> projected_, p_;
};

template <typename Scalar>
class Network {
 public:
  Network(const Sizes& s, Random& random)
      : length_(s.length),
        tokens_(s.vocabulary, s.features, 1, random),
        places_(s.length, s.features, 1, random),
        attention_(s.length, s.features, random),
        widen_(s.features, s.hidden, he_deviation(s.features), random),
        narrow_(s.hidden, s.features, glorot_deviation(s.hidden), random),
        head_(s.features, s.vocabulary, glorot_deviation(s.features), random),
        norms_{ek::RMSNorm<Scalar>(s.features), ek::RMSNorm<Scalar>(s.features),
               ek::RMSNorm<Scalar>(s.features)} {}

  Matrix<Scalar> forward(const std::vector<Index>& tokens) {
    std::vector<Index> places(tokens.size());
    for (std::size_t i = 0; i < places.size(); ++i) places[i] = static_cast<Index>(i) % length_;
    sum1_ = tokens_.forward(tokens) + places_.forward(std::move(places));

    Matrix<Scalar> n;
    norms_[0].forward(sum1_, n);
    norms_[1].forward(attention_.forward(n), n, ek::residual_in(sum1_, sum2_));
    norms_[2].forward(narrow_.forward(relu_.forward(widen_.forward(n))), n, ek::residual_in(sum2_, sum3_));
    return head_.forward(std::move(n));
  }

  /// plus adds the gradient that comes down the residual stream.
  void backward(const Matrix<Scalar>& d_logits) {
    Matrix<Scalar> d_sum3, d_sum2, d_sum1;
    norms_[2].backward(sum3_, head_.backward(d_logits), d_sum3);
    norms_[1].backward(sum2_, widen_.backward(relu_.backward(narrow_.backward(d_sum3))), d_sum2,
                       ek::plus(d_sum3));
    norms_[0].backward(sum1_, attention_.backward(d_sum2), d_sum1, ek::plus(d_sum2));
    tokens_.backward(d_sum1);
    places_.backward(d_sum1);
  }

  Parameters<Scalar> parameters() {
    Parameters<Scalar> all = parameters_of(tokens_, places_, attention_, widen_, narrow_, head_);
    for (auto& norm : norms_)
      for (auto p : norm.parameters()) all.push_back({p.name, p.value, p.grad});
    return all;
  }

 private:
  Index length_;
  Embedding<Scalar> tokens_, places_;
  Attention<Scalar> attention_;
  Dense<Scalar> widen_, narrow_, head_;
  Relu<Matrix<Scalar>> relu_;
  std::array<ek::RMSNorm<Scalar>, 3> norms_;
  Matrix<Scalar> sum1_, sum2_, sum3_;
};

struct Batch {
  std::vector<Index> tokens, reversed;
};

Batch random_batch(const Sizes& sizes, Index sequences, Random& random) {
  Batch batch;
  for (Index n = 0; n < sequences; ++n) {
    for (Index i = 0; i < sizes.length; ++i) {
      batch.tokens.push_back(static_cast<Index>(random.uniform(0, static_cast<double>(sizes.vocabulary))));
    }
    batch.reversed.insert(batch.reversed.end(), batch.tokens.rbegin(), batch.tokens.rbegin() + sizes.length);
  }
  return batch;
}

/// The greatest distance of a gradient from a central difference, as a part of the greatest gradient.
double gradient_error() {
  const Sizes sizes{5, 4, 6, 8};
  Random random(1);
  Network<double> network(sizes, random);
  SoftmaxCrossEntropy<double> loss;
  const Batch batch = random_batch(sizes, 3, random);
  loss.forward(network.forward(batch.tokens), batch.reversed);
  network.backward(loss.backward());

  double error = 0, greatest = 0;
  for (auto& parameter : network.parameters()) {
    auto& value = parameter.value;
    for (Index i = 0; i < value.size(); ++i) {
      const double at = value[i], step = 1e-5;
      const auto loss_at = [&](double x) {
        value[i] = x;
        return SoftmaxCrossEntropy<double>().forward(network.forward(batch.tokens), batch.reversed);
      };
      const double difference = (loss_at(at + step) - loss_at(at - step)) / (2 * step);
      value[i] = at;
      error = std::max(error, std::abs(parameter.grad[i] - difference));
      greatest = std::max(greatest, std::abs(parameter.grad[i]));
    }
  }
  return error / greatest;
}

/// Prints the loss, and returns how many of the tokens are right.
double evaluate(Network<float>& network, const Batch& batch, const char* when) {
  const Matrix<float> logits = network.forward(batch.tokens);
  Index right = 0, chosen = 0;
  for (Index n = 0; n < logits.rows(); ++n) {
    logits.row(n).maxCoeff(&chosen);
    right += chosen == batch.reversed[static_cast<std::size_t>(n)];
  }
  const double accuracy = static_cast<double>(right) / static_cast<double>(logits.rows());
  const double loss = SoftmaxCrossEntropy<float>().forward(logits, batch.reversed);
  std::printf("%s  loss %.4f, %5.1f %% of the tokens right\n", when, loss, 100 * accuracy);
  return accuracy;
}

}  // namespace

int main() {
  const double error = gradient_error();
  std::printf("gradients are within %.1e of central differences\n", error);

  const Sizes sizes{10, 8, 32, 64};
  const Index steps = 400;
  Random random(2);
  Network<float> network(sizes, random);
  const Batch test = random_batch(sizes, 200, random);
  evaluate(network, test, "before");

  SoftmaxCrossEntropy<float> loss;
  Sgd<float> sgd({0.9, 0});
  for (Index step = 0; step < steps; ++step) {
    const Batch batch = random_batch(sizes, 32, random);
    loss.forward(network.forward(batch.tokens), batch.reversed);
    network.backward(loss.backward());
    sgd.step(network.parameters(), falling_rate(0.1, step, steps));
  }
  const double accuracy = evaluate(network, test, "after ");
  return error < 1e-7 && accuracy > 0.99 ? 0 : 1;
}
