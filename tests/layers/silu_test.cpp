// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "reference/activation_reference.hpp"
#include "reference/layer_rules.hpp"

#include <heed/layers/silu.hpp>
#include <heed/testing/check_gradients.hpp>

using namespace heed;

TEST_CASE("SiLU is certified") {
  for (const Shape& shape : {Shape{1, 1}, Shape{3, 8}, Shape{2, 3, 17}, Shape{1, 2, 3, 5}})
    for (double range : {1.0, 30.0}) {
      const auto report = check_gradients(Silu<double>(), shape, {.input_low = -range, .input_high = range});
      INFO(report.to_string());
      CHECK(report.passed());
    }
}

TEST_CASE("SiLU in float against the formula") {
  const auto x = reference::random_tensor<float, 2>({5, 70}, 1, -8, 8);
  Silu<float> layer;
  Silu<float>::Cache cache;
  const auto y = layer.forward(x, cache);
  Tensor<float, 2> dy({5, 70});
  dy.fill(1);
  const auto dx = layer.backward(dy, cache);
  for (Index i = 0; i < x.size(); ++i) {
    CHECK(y[i] == Approx(static_cast<double>(reference::silu(x[i]))).margin(1e-6));
    CHECK(dx[i] == Approx(static_cast<double>(reference::silu_derivative(x[i]))).margin(1e-6));
  }
  reference::check_layer_rules<4>(Silu<float>(), {3, 30, 30, 9});
}

TEST_CASE("swish, with a number inside the sigmoid, is certified") {
  for (double alpha : {0.0, 1.7, -0.5}) {
    const auto report = check_gradients(Silu<double>({.alpha = alpha}), Shape{3, 17}, {.input_low = -9, .input_high = 9});
    INFO(report.to_string());
    CHECK(report.passed());
  }
  const auto x = reference::random_tensor<float, 2>({2, 7}, 1, -8, 8);
  const auto y = Silu<float>({.alpha = 1.7}).forward(x);
  for (Index i = 0; i < x.size(); ++i) CHECK(y[i] == Approx(static_cast<double>(reference::silu(x[i], 1.7L))).margin(1e-6));
}
