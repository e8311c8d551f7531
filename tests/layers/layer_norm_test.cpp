// SPDX-License-Identifier: MIT
#include <string>

#include "catch.hpp"
#include "reference/layer_norm_reference.hpp"
#include "reference/layer_rules.hpp"

#include <heed/layers/layer_norm.hpp>
#include <heed/testing/check_gradients.hpp>

using namespace heed;
using reference::random_tensor;
using reference::with_random_parameters;

TEST_CASE("layer norm is certified") {
  const auto check = [](const LayerNormOptions& options, const Shape& shape, double low = -1, double high = 1) {
    const auto layer = with_random_parameters(LayerNorm<double>(options), 1);
    const auto report = check_gradients(layer, shape, {.input_low = low, .input_high = high});
    INFO(report.to_string());
    CHECK(report.passed());
  };
  for (Index width : {1, 2, 7, 8, 9, 17, 33}) check({.normalized_shape = {width}}, {3, width});
  check({.normalized_shape = {5}}, {1, 5});
  check({.normalized_shape = {5}}, {2, 3, 2, 5});
  check({.normalized_shape = {2, 3, 5}}, {2, 2, 3, 5});
  check({.normalized_shape = {3, 5}}, {3, 5});  // one row
  check({.normalized_shape = {6}, .eps = 1e-2}, {4, 6});
  check({.normalized_shape = {6}, .elementwise_affine = false}, {4, 6});
  check({.normalized_shape = {6}, .bias = false}, {4, 6});
  check({.normalized_shape = {6}}, {4, 6}, 99, 101);
}

TEST_CASE("frozen parameters get no gradient, the input does") {
  auto layer = with_random_parameters(LayerNorm<double>({.normalized_shape = {6}}), 1);
  layer.freeze();
  const auto report = check_gradients(layer, Shape{4, 6});
  INFO(report.to_string());
  CHECK(report.passed());
  LayerNorm<double>::Cache cache;
  const auto x = random_tensor<double, 2>({4, 6}, 1);
  layer.forward(x, cache);
  layer.backward(x, cache);
  CHECK(!layer.weight().has_gradient());
}

TEST_CASE("layer norm over several axes against the reference") {
  const Shape shape{3, 4, 5, 6};
  auto layer = with_random_parameters(LayerNorm<float>({.normalized_shape = {5, 6}}), 3);
  const auto x = random_tensor<float, 4>(shape, 1, -3, 5), dy = random_tensor<float, 4>(shape, 2);
  LayerNorm<float>::Cache cache;
  const auto y = layer.forward(x, cache);
  const auto dx = layer.backward(dy, cache);
  const auto r = reference::layer_norm(12, 30, x.data(), layer.weight().value(), layer.bias().value(), 1e-5, dy.data());
  for (Index i = 0; i < x.size(); ++i) {
    CHECK(y[i] == Approx(static_cast<double>(r.y[static_cast<std::size_t>(i)])).margin(1e-5));
    CHECK(dx[i] == Approx(static_cast<double>(r.dx[static_cast<std::size_t>(i)])).margin(1e-5));
  }
  for (Index j = 0; j < 30; ++j) {
    CHECK(layer.weight().gradient()[j] == Approx(static_cast<double>(r.d_weight[static_cast<std::size_t>(j)])).margin(1e-4));
    CHECK(layer.bias().gradient()[j] == Approx(static_cast<double>(r.d_bias[static_cast<std::size_t>(j)])).margin(1e-4));
  }
}

TEST_CASE("layer norm keeps the rules of layers") {
  reference::check_layer_rules<3>(with_random_parameters(LayerNorm<float>({.normalized_shape = {96}}), 1), {5, 100, 96});
  reference::check_layer_rules<4>(with_random_parameters(LayerNorm<float>({.normalized_shape = {3, 17}}), 1), {2, 3, 3, 17});
}

TEST_CASE("layer norm has the parameters that were asked for") {
  const auto names = [](const LayerNormOptions& options) {
    LayerNorm<float> layer(options);
    std::string all;
    for (const auto& [name, parameter] : named_parameters(layer)) all += name + ' ';
    return all;
  };
  CHECK(names({.normalized_shape = {6}}) == "weight bias ");
  CHECK(names({.normalized_shape = {6}, .bias = false}) == "weight ");
  CHECK(names({.normalized_shape = {6}, .elementwise_affine = false}) == "");
}

TEST_CASE("layer norm says what does not fit") {
  CHECK_THROWS_WITH(LayerNorm<float>({.normalized_shape = {4, 5}}).output_shape({3, 5, 5}),
      contains("LayerNorm: input 3x5x5 does not end with the normalized shape 4x5"));
  CHECK_THROWS_AS(LayerNorm<float>({.normalized_shape = {4, 5}}).output_shape({5}), ShapeError);
  CHECK_THROWS(LayerNorm<float>({}));
  LayerNorm<float> layer({.normalized_shape = {4}});
  LayerNorm<float>::Cache cache;
  const Tensor<float, 2> x({3, 4}), wrong({2, 4});
  layer.forward(x, cache);
  CHECK_THROWS_AS(layer.backward(wrong, cache), ShapeError);
}

TEST_CASE("LayerNorm refuses a cache that no forward has filled") {
  LayerNorm<float> layer({.normalized_shape = {1}});
  LayerNorm<float>::Cache cache;
  const Tensor<float, 2> dy({1, 1});
  CHECK_THROWS_WITH(layer.backward(dy, cache), contains("LayerNorm: backward follows one forward"));
  LayerNorm<float> narrow({.normalized_shape = {8}}), wide({.normalized_shape = {800}});
  const Tensor<float, 2> x({100, 8}), as_many({1, 800});
  narrow.forward(x, cache);
  CHECK_THROWS_WITH(wide.backward(as_many, cache), contains("LayerNorm: the cache has seen an input of 8 features, this layer takes 800"));
}
