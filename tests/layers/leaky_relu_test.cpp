// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "reference/activation_reference.hpp"
#include "reference/layer_rules.hpp"

#include <heed/layers/leaky_relu.hpp>
#include <heed/testing/check_gradients.hpp>

using namespace heed;

TEST_CASE("leaky ReLU is certified, also on its kink") {
  for (const Shape& shape : {Shape{1, 1}, Shape{3, 8}, Shape{2, 3, 17}, Shape{1, 2, 3, 5}})
    for (double range : {1.0, 30.0}) {
      const auto report = check_gradients(LeakyRelu<double>({.negative_slope = 0.2}), shape, {.input_low = -range, .input_high = range});
      INFO(report.to_string());
      CHECK(report.passed());
    }
  // Zeros: the rule of docs/notation.md is that the piece below 0 counts.
  std::array<Tensor<double, 2>, 1> zeros{Tensor<double, 2>({3, 5})};
  zeros[0](1, 2) = 1;
  const auto report =
      check_gradients(LeakyRelu<double>({.negative_slope = 0.2}), LeakyRelu<CertificateDual>({.negative_slope = 0.2}), zeros);
  INFO(report.to_string());
  CHECK(report.passed());
}

TEST_CASE("leaky ReLU in float against the formula") {
  const auto x = reference::random_tensor<float, 2>({5, 70}, 1, -8, 8);
  LeakyRelu<float> layer({.negative_slope = 0.2});
  LeakyRelu<float>::Cache cache;
  const auto y = layer.forward(x, cache);
  Tensor<float, 2> dy({5, 70});
  dy.fill(1);
  const auto dx = layer.backward(dy, cache);
  for (Index i = 0; i < x.size(); ++i) {
    CHECK(y[i] == Approx(static_cast<double>(reference::leaky_relu(x[i], 0.2L))).margin(1e-6));
    CHECK(dx[i] == Approx(static_cast<double>(reference::leaky_relu_derivative(x[i], 0.2L))).margin(1e-6));
  }
  reference::check_layer_rules<4>(layer, {3, 30, 30, 9});
}

TEST_CASE("leaky ReLU starts from torch.nn's default") {
  struct Options : Visitor<float> {
    std::string all;
    using Visitor<float>::option;
    void option(std::string_view name, const std::string& value) override { all += text(name, " ", value, ";"); }
  } options;
  LeakyRelu<float>().describe(options);
  CHECK(options.all == "negative_slope 0.01;");
}
