// SPDX-License-Identifier: MIT
#include <heed/layers/global_max_pool2d.hpp>
#include <heed/testing/check_gradients.hpp>

#include "catch.hpp"

using heed::GlobalMaxPool2d;
using heed::Index;
using heed::Shape;
using heed::Tensor;

TEST_CASE("GlobalMaxPool2d: certificate for awkward shapes") {
  for (const Shape& x : {Shape{1, 1, 1, 1}, Shape{3, 4, 7, 5}, Shape{2, 1, 2, 17}, Shape{2, 3, 1, 33}}) {
    auto report = heed::check_gradients(GlobalMaxPool2d<double>(), x);
    INFO(x.to_string() << ' ' << report.to_string());
    CHECK(report.passed());
  }
}

TEST_CASE("GlobalMaxPool2d: the first maximum wins") {
  Tensor<float, 4> x({1, 2, 2, 1});
  x[0] = -3, x[1] = -1, x[2] = -1, x[3] = -2;
  GlobalMaxPool2d<float> layer;
  GlobalMaxPool2d<float>::Cache cache;
  const auto y = layer.forward(x, cache);
  REQUIRE(y.shape() == Shape{1, 1});
  CHECK(y[0] == -1);
  const auto dx = layer.backward(y, cache);
  const float expected[] = {0, -1, 0, 0};
  for (Index i = 0; i < 4; ++i) CHECK(dx[i] == expected[i]);
  CHECK_THROWS_AS(layer.output_shape({1, 0, 3, 2}), heed::ShapeError);
}

TEST_CASE("GlobalMaxPool2d refuses a cache that no forward has filled") {
  GlobalMaxPool2d<float> layer;
  GlobalMaxPool2d<float>::Cache cache;
  const heed::Tensor<float, 2> dy({1, 1});
  CHECK_THROWS_WITH(layer.backward(dy, cache), contains("GlobalMaxPool2d: backward follows one forward"));
}
