// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "reference/activation_reference.hpp"
#include "reference/layer_rules.hpp"

#include <heed/layers/relu.hpp>
#include <heed/testing/check_gradients.hpp>

using namespace heed;

TEST_CASE("ReLU is certified, also on its kink") {
  for (const Shape& shape : {Shape{1, 1}, Shape{3, 8}, Shape{2, 3, 17}, Shape{1, 2, 3, 5}}) {
    const auto report = check_gradients(Relu<double>(), shape);
    INFO(report.to_string());
    CHECK(report.passed());
  }
  // Zeros on both sides: the rule of docs/notation.md is that the derivative there is 0.
  std::array<Tensor<double, 2>, 1> zeros{Tensor<double, 2>({3, 5})};
  zeros[0](1, 2) = 1;
  const auto report = check_gradients(Relu<double>(), Relu<CertificateDual>(), zeros);
  INFO(report.to_string());
  CHECK(report.passed());
}

TEST_CASE("ReLU of rows and its gradient") {
  const auto x = reference::random_tensor<float, 2>({5, 7}, 1);
  Relu<float> layer;
  Relu<float>::Cache cache;
  const auto y = layer.forward(x, cache);
  Tensor<float, 2> dy({5, 7});
  dy.fill(3);
  const auto dx = layer.backward(dy, cache);
  for (Index i = 0; i < x.size(); ++i) {
    CHECK(y[i] == static_cast<float>(reference::relu(x[i])));
    CHECK(dx[i] == 3 * static_cast<float>(reference::relu_derivative(x[i])));
  }
  reference::check_layer_rules<4>(Relu<float>(), {3, 30, 30, 9});
}
