// SPDX-License-Identifier: MIT
#include <heed/layers/global_avg_pool2d.hpp>
#include <heed/testing/check_gradients.hpp>

#include "catch.hpp"

using heed::GlobalAvgPool2d;
using heed::Index;
using heed::Shape;
using heed::Tensor;

TEST_CASE("GlobalAvgPool2d: certificate for awkward shapes") {
  for (const Shape& x : {Shape{1, 1, 1, 1}, Shape{3, 4, 7, 5}, Shape{2, 1, 2, 17}, Shape{2, 3, 1, 33}}) {
    auto report = heed::check_gradients(GlobalAvgPool2d<double>(), x);
    INFO(x.to_string() << ' ' << report.to_string());
    CHECK(report.passed());
  }
}

TEST_CASE("GlobalAvgPool2d: the mean over pixels") {
  Tensor<float, 4> x({2, 1, 3, 2});
  for (Index i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i);
  const auto y = GlobalAvgPool2d<float>().forward(x);
  REQUIRE(y.shape() == Shape{2, 2});
  CHECK(y[0] == 2);
  CHECK(y[1] == 3);
  CHECK(y[2] == 8);
  CHECK_THROWS_AS(GlobalAvgPool2d<float>().output_shape({1, 0, 3, 2}), heed::ShapeError);
  CHECK_THROWS_AS(GlobalAvgPool2d<float>().output_shape({1, 3, 2}), heed::ShapeError);
}

TEST_CASE("GlobalAvgPool2d refuses a cache that no forward has filled") {
  GlobalAvgPool2d<float> layer;
  GlobalAvgPool2d<float>::Cache cache;
  const heed::Tensor<float, 2> dy({1, 1});
  CHECK_THROWS_WITH(layer.backward(dy, cache), contains("GlobalAvgPool2d: backward follows one forward"));
}
