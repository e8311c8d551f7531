// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <heed/layers/attention_fusion.hpp>
#include <heed/layers/attention_observer.hpp>
#include <heed/layers/multi_head_attention.hpp>
#include <heed/layers/scaled_dot_product_attention.hpp>

#include "reference/random_tensor.hpp"

using namespace heed;
using reference::random_tensor;

namespace {

/// The weights and gradients of the last backward pass.
struct KeepGradient final : AttentionObserver {
  Tensor<double, 4> weights, d_weights;
  int passes = 0;
  using AttentionObserver::seen_gradient;
  void seen_gradient(const TensorView<const double, 4>& a, const TensorView<const double, 4>& da) override {
    weights = Tensor<double, 4>(a), d_weights = Tensor<double, 4>(da);
    ++passes;
  }
};

/// The softmax' own gradient: that of the scores, and so of a bias, is dS = A (dA - sum over the keys of A dA).
void check_gradient_of_bias(const KeepGradient& seen, const Tensor<double, 4>& d_bias) {
  REQUIRE(seen.weights.shape() == d_bias.shape());
  REQUIRE(seen.d_weights.shape() == d_bias.shape());
  const Index keys = d_bias.size(3);
  for (Index row = 0; row < d_bias.size(); row += keys) {
    double sum = 0, one = 0;
    for (Index k = row; k < row + keys; ++k) sum += seen.weights[k] * seen.d_weights[k], one += seen.weights[k];
    CHECK(one == Approx(1));
    for (Index k = row; k < row + keys; ++k)
      CHECK(seen.weights[k] * (seen.d_weights[k] - sum) == Approx(d_bias[k]).epsilon(1e-9).margin(1e-12));
  }
}

}  // namespace

TEST_CASE("an attention observer sees weights of its scalar as long as it lives, the innermost alone") {
  struct Count final : AttentionObserver {
    int floats = 0;
    using AttentionObserver::seen;
    void seen(const TensorView<const float, 4>& weights) override { floats += weights.size() == 4 ? 1 : 100; }
  };
  const Tensor<float, 4> weights({1, 1, 2, 2});
  const Tensor<double, 4> other({1, 1, 2, 2});
  CHECK_FALSE(attention_is_observed<float>());
  show_attention<float>(weights);
  {
    Count outer;
    {
      Count inner;
      CHECK(attention_is_observed<float>());
      CHECK_FALSE(attention_is_observed<int>());
      show_attention<float>(weights);
      show_attention<double>(other);
      CHECK(inner.floats == 1);
    }
    show_attention<float>(weights);
    CHECK(outer.floats == 1);
  }
  CHECK_FALSE(attention_is_observed<float>());
}

TEST_CASE("in a backward pass the gradient of the weights is seen, that which the gradient of a bias comes from") {
  const Tensor<double, 4> bias = random_tensor<double, 4>({2, 4, 5, 7}, 1);
  const AttentionMask<double> mask{.bias = bias};
  Tensor<double, 4> d_bias(bias.shape());
  {
    ScaledDotProductAttention<double> attention({.num_heads = 4, .num_kv_heads = 2, .scale = 0.7});
    const Tensor<double, 4> q = random_tensor<double, 4>({2, 4, 5, 3}, 2), k = random_tensor<double, 4>({2, 2, 7, 3}, 3),
                            v = random_tensor<double, 4>({2, 2, 7, 6}, 4), dy = random_tensor<double, 4>({2, 4, 5, 6}, 5);
    ScaledDotProductAttention<double>::Cache cache;
    static_cast<void>(attention.forward<4>(q, k, v, mask, cache));
    KeepGradient seen;
    static_cast<void>(attention.backward<4>(dy, cache, {.d_bias = d_bias.data()}));
    CHECK(seen.passes == 1);
    check_gradient_of_bias(seen, d_bias);
    // And by its definition, dA = dy vᵀ with the value head of the query head.
    for (Index b = 0; b < 2; ++b)
      for (Index h = 0; h < 4; ++h)
        for (Index i = 0; i < 5; ++i)
          for (Index j = 0; j < 7; ++j) {
            double sum = 0;
            for (Index d = 0; d < 6; ++d) sum += dy(b, h, i, d) * v(b, h / 2, j, d);
            CHECK(seen.d_weights(b, h, i, j) == Approx(sum).margin(1e-12));
          }
  }
  {
    auto attention = reference::with_random_parameters(MultiHeadAttention<double>({.embed_dim = 8, .num_heads = 4}), 3);
    const Tensor<double, 3> x = random_tensor<double, 3>({2, 5, 8}, 6), dy = random_tensor<double, 3>({2, 5, 8}, 7);
    const Tensor<double, 4> square = random_tensor<double, 4>({2, 4, 5, 5}, 8);
    MultiHeadAttention<double>::Cache cache;
    static_cast<void>(attention.forward(x, AttentionMask<double>{.bias = square}, cache));
    Tensor<double, 4> d_square(square.shape());
    KeepGradient seen;
    static_cast<void>(attention.backward(dy, cache, {.d_bias = d_square.data()}));
    CHECK(seen.passes == 1);
    check_gradient_of_bias(seen, d_square);
  }
}

TEST_CASE("the fusion block shows the gradient of its weights, its controls show none") {
  for (const AttentionKind kind : {AttentionKind::full, AttentionKind::identity, AttentionKind::uniform}) {
    auto layer =
        reference::with_random_parameters(AttentionFusion<double>({.features = 6, .num_heads = 2, .tokens = 5, .attention = kind}), 4);
    const Tensor<double, 3> x = random_tensor<double, 3>({2, 5, 6}, 9), dy = random_tensor<double, 3>({2, 5, 6}, 10);
    AttentionFusion<double>::Cache cache;
    static_cast<void>(layer.forward(x, cache));
    KeepGradient seen;
    static_cast<void>(layer.backward(dy, cache));
    if (kind != AttentionKind::full) {
      CHECK(seen.passes == 0);
      continue;
    }
    CHECK(reference::largest_difference(seen.weights, layer.attention_weights(x)) < 1e-12);
    const Tensor<double, 3> qkv = layer.qkv().forward(layer.position().forward(layer.norm().forward(x)));
    for (Index n = 0; n < 2; ++n)
      for (Index h = 0; h < 2; ++h)
        for (Index i = 0; i < 5; ++i)
          for (Index j = 0; j < 5; ++j) {
            double sum = 0;  // over the head's part of the context, whose gradient is dy W_o
            for (Index d = 0; d < 3; ++d)
              for (Index c = 0; c < 6; ++c)
                sum += dy(n, i, c) * layer.out().weight().value()[c * 12 + h * 3 + d] * qkv(n, j, 12 + h * 3 + d);
            CHECK(seen.d_weights(n, h, i, j) == Approx(sum).margin(1e-12));
          }
  }
}
