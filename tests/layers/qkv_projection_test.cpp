// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "reference/layer_rules.hpp"

#include <heed/layers/linear.hpp>
#include <heed/layers/qkv_projection.hpp>
#include <heed/testing/check_gradients.hpp>

using namespace heed;
using reference::random_tensor;
using reference::same_bits;
using reference::with_random_parameters;

TEST_CASE("Q, K and V in one product are certified") {
  const auto check = [](const QkvProjectionOptions& options, const Shape& shape) {
    const auto report = check_gradients(with_random_parameters(QkvProjection<double>(options), 2), shape);
    INFO(report.to_string());
    CHECK(report.passed());
  };
  check({.in_features = 1}, {1, 1, 1});
  check({.in_features = 6}, {2, 3, 6});
  check({.in_features = 6, .model_width = 4}, {2, 2, 2, 6});
  check({.in_features = 5, .model_width = 11, .bias = false}, {2, 3, 5});
}

TEST_CASE("each third of the output is a linear layer with its third of the weight") {
  const auto layer = with_random_parameters(QkvProjection<float>({.in_features = 10, .model_width = 6}), 3);
  const auto x = random_tensor<float, 3>({2, 5, 10}, 1);
  const auto y = layer.forward(x);
  REQUIRE(y.shape() == Shape{2, 5, 18});
  for (Index part = 0; part < 3; ++part) {
    Linear<float> one({.in_features = 10, .out_features = 6});
    std::copy_n(layer.weight().value() + part * 60, 60, one.weight().value());
    std::copy_n(layer.bias().value() + part * 6, 6, one.bias().value());
    const auto expected = one.forward(x);
    for (Index n = 0; n < 2; ++n)
      for (Index t = 0; t < 5; ++t)
        for (Index c = 0; c < 6; ++c) CHECK(y(n, t, part * 6 + c) == Approx(expected(n, t, c)).margin(1e-6));
  }
}

TEST_CASE("the projection keeps the rules of layers and says what does not fit") {
  const QkvProjection<float> layer({.in_features = 48});
  reference::check_layer_rules<3>(layer, {9, 49, 48});
  CHECK_THROWS_WITH(layer.output_shape({2, 3, 47}), contains("QkvProjection: input has 47 features, weight expects 48"));
}

TEST_CASE("QkvProjection refuses a cache that no forward has filled") {
  QkvProjection<float> layer({.in_features = 1});
  QkvProjection<float>::Cache cache;
  const Tensor<float, 2> dy({1, 3});
  CHECK_THROWS_WITH(layer.backward(dy, cache), contains("QkvProjection: backward follows one forward"));

  QkvProjection<float> other({.in_features = 40, .model_width = 1});
  const Tensor<float, 2> x({1, 1});
  layer.forward(x, cache);
  CHECK_THROWS_WITH(other.backward(dy, cache), contains("QkvProjection: the cache has seen an input of 1 features, this layer takes 40"));
}
