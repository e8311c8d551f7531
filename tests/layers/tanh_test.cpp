// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "reference/activation_reference.hpp"
#include "reference/layer_rules.hpp"

#include <heed/layers/tanh.hpp>
#include <heed/testing/check_gradients.hpp>

using namespace heed;

TEST_CASE("tanh is certified") {
  for (const Shape& shape : {Shape{1, 1}, Shape{3, 8}, Shape{2, 3, 17}, Shape{1, 2, 3, 5}})
    for (double range : {1.0, 30.0}) {
      const auto report = check_gradients(Tanh<double>(), shape, {.input_low = -range, .input_high = range});
      INFO(report.to_string());
      CHECK(report.passed());
    }
}

TEST_CASE("tanh in float against the formula") {
  const auto x = reference::random_tensor<float, 2>({5, 70}, 1, -8, 8);
  Tanh<float> layer;
  Tanh<float>::Cache cache;
  const auto y = layer.forward(x, cache);
  Tensor<float, 2> dy({5, 70});
  dy.fill(1);
  const auto dx = layer.backward(dy, cache);
  for (Index i = 0; i < x.size(); ++i) {
    CHECK(y[i] == Approx(static_cast<double>(reference::tanh(x[i]))).margin(1e-6));
    CHECK(dx[i] == Approx(static_cast<double>(reference::tanh_derivative(x[i]))).margin(1e-6));
  }
  reference::check_layer_rules<4>(layer, {3, 30, 30, 9});
}
