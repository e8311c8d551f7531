// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "reference/layer_rules.hpp"

#include <utility>

#include <heed/layers/linear.hpp>
#include <heed/layers/qkv_projection.hpp>

using namespace heed;
using reference::random_tensor;
using reference::same_bits;
using reference::with_random_parameters;

TEST_CASE("a projection to Q, K and V is a linear layer of three times as many features") {
  auto three = with_random_parameters(QkvProjection<float>({.in_features = 10, .model_width = 6}), 3);
  Linear<float> one({.in_features = 10, .out_features = 18});
  std::copy_n(three.weight().value(), 180, one.weight().value());
  std::copy_n(three.bias().value(), 18, one.bias().value());
  const auto x = random_tensor<float, 3>({2, 5, 10}, 1), dy = random_tensor<float, 3>({2, 5, 18}, 2);
  Linear<float>::Cache cache;
  QkvProjection<float>::Cache cache_of_three;
  CHECK(same_bits(three.forward(x, cache_of_three), one.forward(x, cache)));
  CHECK(same_bits(three.backward(dy, cache_of_three), one.backward(dy, cache)));
  CHECK(std::equal(one.weight().gradient(), one.weight().gradient() + 180, three.weight().gradient()));
  CHECK(std::equal(one.bias().gradient(), one.bias().gradient() + 18, three.bias().gradient()));
}

TEST_CASE("linear layers add their input gradient to another, of its own shape") {
  const auto check = [](auto layer, Index out) {
    layer = with_random_parameters(std::move(layer), 3);
    const auto x = random_tensor<double, 2>({5, 4}, 1), dy = random_tensor<double, 2>({5, out}, 2),
               before = random_tensor<double, 2>({5, 4}, 3);
    typename decltype(layer)::Cache cache;
    layer.forward(x, cache);
    const auto dx = layer.backward(dy, cache);
    auto sum = before;
    layer.backward_add(dy, cache, sum.view());
    for (Index i = 0; i < dx.size(); ++i) CHECK(sum[i] == Approx(before[i] + dx[i]));
    Tensor<double, 2> shorter({4, 4}), narrow({5, 3});
    CHECK_THROWS_AS(layer.backward_add(dy, cache, shorter.view()), ShapeError);
    CHECK_THROWS_AS(layer.backward_add(dy, cache, narrow.view()), ShapeError);
  };
  check(Linear<double>({.in_features = 4, .out_features = 7, .bias = false}), 7);
  check(QkvProjection<double>({.in_features = 4}), 12);
}
