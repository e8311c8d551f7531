// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <heed/compose/residual.hpp>
#include <heed/compose/sequential.hpp>
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
