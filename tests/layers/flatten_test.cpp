// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "reference/layer_rules.hpp"

#include <heed/layers/flatten.hpp>
#include <heed/testing/check_gradients.hpp>

using namespace heed;

TEST_CASE("flatten is certified") {
  for (const Shape& shape : {Shape{1, 1, 1, 1}, Shape{3, 2, 3, 5}}) {
    const auto report = check_gradients(Flatten<double>(), shape);
    INFO(report.to_string());
    CHECK(report.passed());
  }
  const auto report = check_gradients(Flatten<double, 3>(), Shape{2, 3, 4});
  INFO(report.to_string());
  CHECK(report.passed());
}

TEST_CASE("flatten joins all axes but the first in the order of memory") {
  const auto x = reference::random_tensor<float, 4>({2, 3, 4, 5}, 1);
  const auto y = Flatten<float>().forward(x);
  CHECK(y.shape() == Shape{2, 60});
  CHECK(y(1, (2 * 4 + 3) * 5 + 4) == x(1, 2, 3, 4));
  CHECK(reference::same_bits(x, y));
  reference::check_layer_rules<4>(Flatten<float>(), {3, 4, 4, 2});
  CHECK_THROWS_WITH(Flatten<float>().output_shape({2, 3}), contains("Flatten: input 2x3 has rank 2"));
}

TEST_CASE("Flatten refuses a cache that no forward has filled") {
  Flatten<float> layer;
  Flatten<float>::Cache cache;
  const Tensor<float, 2> dy({1, 1});
  CHECK_THROWS_WITH(layer.backward(dy, cache), contains("Flatten: backward follows one forward"));
}
