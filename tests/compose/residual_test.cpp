// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <heed/compose/residual.hpp>
#include <heed/compose/sequential.hpp>
#include <heed/layers/conv2d.hpp>
#include <heed/layers/linear.hpp>
#include <heed/testing/check_gradients.hpp>

using namespace heed;

TEST_CASE("Residual adds its input to the branch") {
  const Residual block(Linear<double>({3, 3}));
  Tensor<double, 2> x({2, 3});
  for (Index i = 0; i < x.size(); ++i) x[i] = static_cast<double>(i);
  const auto branch = block.branch().forward(x), y = block.forward(x);
  for (Index i = 0; i < y.size(); ++i) REQUIRE(y[i] == branch[i] + x[i]);
}

TEST_CASE("Residual has exact gradients, alone and nested") {
  for (const Shape& shape : {Shape{1, 3}, Shape{6, 3}, Shape{2, 2, 3}}) {
    const auto report =
        check_gradients(Residual(Sequential(Linear<double>({3, 7}), Residual(Linear<double>({7, 7})), Linear<double>({7, 3}))), shape);
    INFO(report.to_string());
    REQUIRE(report.passed());
  }
}

TEST_CASE("Residual refuses a branch that changes the shape") {
  const Residual block(Linear<double>({3, 4}));
  Tensor<double, 2> x({2, 3});
  REQUIRE_THROWS_WITH(block.forward(x), contains("the branch turns 2x3 into 2x4"));
}

TEST_CASE("Residual leaves its input gradient out where its branch does, and the layer before says so") {
  using Conv = Conv2d<float>;
  Residual block(Sequential(
      Conv({.in_channels = 2, .out_channels = 3, .input_gradient = false}), named("out", Conv({.in_channels = 3, .out_channels = 2}))));
  const Tensor<float, 4> x({1, 2, 2, 2});
  decltype(block)::Cache cache;
  const auto y = block.forward(x, cache);
  REQUIRE(block.backward(y, cache).empty());
  REQUIRE(block.branch().get<0>().weight().has_gradient());

  const Tensor<float, 4> one({1, 1, 1, 2});  // one row
  Sequential misplaced(Conv({.in_channels = 2, .out_channels = 2}), block);
  decltype(misplaced)::Cache another;
  const auto z = misplaced.forward(one, another);
  REQUIRE_THROWS_WITH(misplaced.backward(z, another), contains("0: Conv2d: dy is empty"));
}
