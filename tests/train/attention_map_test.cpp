// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <cmath>

#include <heed/compose/sequential.hpp>
#include <heed/layers/attention_fusion.hpp>
#include <heed/layers/global_avg_pool1d.hpp>
#include <heed/layers/linear.hpp>
#include <heed/train/attention_map.hpp>

#include "reference/random_tensor.hpp"

using namespace heed;

TEST_CASE("attention received is the mean over heads and queries, image by image") {
  Tensor<double, 4> weights({2, 2, 3, 3});
  for (Index i = 0; i < weights.size(); ++i) weights[i] = static_cast<double>((i * 7) % 11);
  const Tensor<double, 2> received = attention_received<double>(weights);
  REQUIRE(received.shape() == Shape{2, 3});
  for (Index b = 0; b < 2; ++b)
    for (Index k = 0; k < 3; ++k) {
      double sum = 0;
      for (Index h = 0; h < 2; ++h)
        for (Index q = 0; q < 3; ++q) sum += weights(b, h, q, k);
      CHECK(received(b, k) == Approx(sum / 6));
    }
}

TEST_CASE("entropy of attention: nothing for one key, ln keys for all alike, head by head and image by image") {
  Tensor<double, 4> weights({2, 2, 2, 4});
  for (Index q = 0; q < 2; ++q) {
    weights(0, 0, q, q) = 1;                                      // one key each
    for (Index k = 0; k < 4; ++k) weights(0, 1, q, k) = 0.25;     // all alike
    for (Index k = 0; k < 2; ++k) weights(1, 0, q, 2 * k) = 0.5;  // two of them
  }
  weights(1, 1, 0, 3) = 1;  // of two queries one looks at one key, the other at all
  for (Index k = 0; k < 4; ++k) weights(1, 1, 1, k) = 0.25;
  const Tensor<double, 2> entropy = attention_entropy<double>(weights);
  REQUIRE(entropy.shape() == Shape{2, 2});
  CHECK(entropy(0, 0) == 0);
  CHECK(entropy(0, 1) == Approx(std::log(4.0)));
  CHECK(entropy(1, 0) == Approx(std::log(2.0)));
  CHECK(entropy(1, 1) == Approx(std::log(4.0) / 2));
}

TEST_CASE("a map is linear between the centres of its tokens and constant beyond them") {
  Tensor<float, 2> map({2, 3});
  for (Index i = 0; i < 6; ++i) map[i] = static_cast<float>(i * i);
  CHECK(bilinear<float>(map, 0, 0) == 0);
  CHECK(bilinear<float>(map, 1, 2) == 25);
  CHECK(bilinear<float>(map, 0, 0.5) == Approx(0.5));
  CHECK(bilinear<float>(map, 0.5, 0.5) == Approx((0 + 1 + 9 + 16) / 4.0));
  CHECK(bilinear<float>(map, 0.25, 1.75) == Approx(0.75 * (0.25 * 1 + 0.75 * 4) + 0.25 * (0.25 * 16 + 0.75 * 25)));
  CHECK(bilinear<float>(map, -3, 9) == 4);
  CHECK(bilinear<float>(map, 7, -9) == 9);
  for (const Shape& empty : {Shape{0, 3}, Shape{3, 0}}) CHECK_THROWS_AS(bilinear<float>(Tensor<float, 2>(empty), 0, 0), ShapeError);

  const Tensor<float, 2> spread = spread_map<float>(map, 4, 6, TokenGrid::even(2), TokenGrid::even(3));
  REQUIRE(spread.shape() == Shape{4, 6});
  CHECK(spread(0, 0) == 0);  // above the centre of the first token
  CHECK(spread(3, 5) == 25);
  // Pixel (1, 2) has its centre at 3/8 and 5/12 of the sides: 1/4 token below the first, 3/4 to the right.
  CHECK(spread(1, 2) == Approx(bilinear<float>(map, 0.25, 0.75)));
}

TEST_CASE("weights are captured from the layers that attend, with their paths, and only while asked for") {
  struct Attends {
    using scalar = float;
    int forward(int x) const {
      const LayerScope scope("attention");
      if (attention_is_observed<float>()) show_attention<float>(Tensor<float, 4>({1, 1, 2, 2}));
      return x;
    }
  };
  const auto captured = capture_attention(Attends(), 3);
  REQUIRE(captured.size() == 1);
  CHECK(captured[0].path == "attention");
  CHECK(captured[0].weights.shape() == Shape{1, 1, 2, 2});
  CHECK(context().attention == nullptr);
}

TEST_CASE("gradients of scores are captured layer by layer, in the order of the forward pass, each example for its class") {
  const AttentionFusionOptions block{.features = 4, .num_heads = 2, .tokens = 3};
  auto model = reference::with_random_parameters(
      Sequential(named("first", AttentionFusion<double>(block)), named("second", AttentionFusion<double>(block)), GlobalAvgPool1d<double>(),
          Linear<double>({.in_features = 4, .out_features = 3})),
      5);
  const auto x = reference::random_tensor<double, 3>({2, 3, 4}, 6);
  const std::vector<int> classes = {2, 0};
  const auto found = capture_attention_gradients(model, x, classes);
  const auto weights = capture_attention(model, x);
  REQUIRE(found.size() == 2);
  for (std::size_t l = 0; l < 2; ++l) {
    CHECK(found[l].path == weights[l].path);
    CHECK(reference::largest_difference(found[l].weights, weights[l].weights) < 1e-12);
  }
  CHECK(found[0].path == "first");
  CHECK(context().attention == nullptr);

  // Example 1 alone, for its class alone, has the same gradient; for another class another.
  const Tensor<double, 3> alone(x.slice(1, 2));
  const std::vector<int> own = {0}, other = {1};
  const auto single = capture_attention_gradients(model, alone, own), wrong = capture_attention_gradients(model, alone, other);
  const Tensor<double, 4> second(found[0].d_weights.slice(1, 2));
  CHECK(reference::largest_difference(single[0].d_weights, second) < 1e-12);
  CHECK(reference::largest_difference(wrong[0].d_weights, second) > 1e-3);

  const std::vector<int> none, outside = {2, 3}, negative = {-1, 0};
  CHECK_THROWS_WITH(capture_attention_gradients(model, x, none), contains("0 classes for 2 examples"));
  CHECK_THROWS_WITH(capture_attention_gradients(model, x, outside), contains("class 3, expected 0 to 2"));
  CHECK_THROWS_WITH(capture_attention_gradients(model, x, negative), contains("class -1"));
}

TEST_CASE("relevance sums what weights and gradients of one sign make, over heads and queries") {
  CapturedGradient<double> captured;
  captured.weights = reference::random_tensor<double, 4>({2, 3, 4, 5}, 1, 0, 1);
  captured.d_weights = reference::random_tensor<double, 4>({2, 3, 4, 5}, 2);
  const Tensor<double, 2> found = attention_relevance(captured);
  REQUIRE(found.shape() == Shape{2, 5});
  for (Index b = 0; b < 2; ++b)
    for (Index j = 0; j < 5; ++j) {
      double sum = 0;
      for (Index h = 0; h < 3; ++h)
        for (Index i = 0; i < 4; ++i)
          if (captured.d_weights(b, h, i, j) > 0) sum += captured.d_weights(b, h, i, j) * captured.weights(b, h, i, j);
      CHECK(found(b, j) == Approx(sum));
    }
  captured.d_weights.resize({2, 3, 4, 4});
  CHECK_THROWS_AS(attention_relevance(captured), ShapeError);
}

TEST_CASE("rollout is the product of the layers, each half its heads' mean and half the identity") {
  const auto layer = [](std::initializer_list<double> weights, Index heads) {
    CapturedAttention<double> result{"layer", Tensor<double, 4>({1, heads, 2, 2})};
    std::copy(weights.begin(), weights.end(), result.weights.data());
    return result;
  };
  // Means of the heads: [.5 .5; 0 1], then [1 0; .8 .2].
  const std::vector<CapturedAttention<double>> layers = {layer({1, 0, 0, 1, 0, 1, 0, 1}, 2), layer({1, 0, .8, .2}, 1)};
  const Tensor<double, 3> found = attention_rollout<double>(layers);
  // With the identity: [.75 .25; 0 1] and [1 0; .4 .6]; the second times the first.
  const double expected[] = {.75, .25, .3, .7};
  for (Index i = 0; i < 4; ++i) CHECK(found[i] == Approx(expected[i]));

  // Rows of masked queries, which sum to 0, are the token itself.
  const std::vector<CapturedAttention<double>> masked = {layer({0, 0, .5, .5}, 1)};
  const Tensor<double, 3> kept = attention_rollout<double>(masked);
  CHECK(kept(0, 0, 0) == 1);
  CHECK(kept(0, 1, 0) == Approx(0.25));

  CHECK_THROWS_WITH(attention_rollout<double>({}), contains("no layer attends"));
  const std::vector<CapturedAttention<double>> uneven = {masked[0], {"wide", Tensor<double, 4>({1, 1, 2, 3})}};
  CHECK_THROWS_WITH(attention_rollout<double>(uneven), contains("the weights of wide"));
}
