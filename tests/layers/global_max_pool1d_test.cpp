// SPDX-License-Identifier: MIT
#include <heed/layers/global_max_pool1d.hpp>
#include <heed/testing/check_gradients.hpp>

#include "catch.hpp"

using heed::GlobalMaxPool1d;
using heed::Index;
using heed::Shape;
using heed::Tensor;

TEST_CASE("GlobalMaxPool1d: certificate for awkward shapes") {
  for (const Shape& x : {Shape{1, 1, 1}, Shape{3, 7, 5}, Shape{2, 2, 17}, Shape{2, 3, 33}}) {
    auto report = heed::check_gradients(GlobalMaxPool1d<double>(), x);
    INFO(x.to_string() << ' ' << report.to_string());
    CHECK(report.passed());
  }
}

TEST_CASE("GlobalMaxPool1d: the first maximum wins") {
  Tensor<float, 3> x({1, 4, 1});
  x[0] = -3, x[1] = -1, x[2] = -1, x[3] = -2;
  GlobalMaxPool1d<float> layer;
  GlobalMaxPool1d<float>::Cache cache;
  const auto y = layer.forward(x, cache);
  REQUIRE(y.shape() == Shape{1, 1});
  CHECK(y[0] == -1);
  const auto dx = layer.backward(y, cache);
  const float expected[] = {0, -1, 0, 0};
  for (Index i = 0; i < 4; ++i) CHECK(dx[i] == expected[i]);
  CHECK_THROWS_WITH(
      layer.output_shape({1, 0, 2}), "GlobalMaxPool1d: input 1x0x2 is not (sequences, tokens, channels) with 1 to 16777216 tokens");
  CHECK_THROWS_AS(layer.output_shape({1, 16777217, 2}), heed::ShapeError);
  CHECK_THROWS_AS(layer.output_shape({1, 3, 3, 2}), heed::ShapeError);
}

TEST_CASE("GlobalMaxPool1d refuses a cache that no forward has filled") {
  GlobalMaxPool1d<float> layer;
  GlobalMaxPool1d<float>::Cache cache;
  const Tensor<float, 2> dy({1, 1});
  CHECK_THROWS_WITH(layer.backward(dy, cache), contains("GlobalMaxPool1d: backward follows one forward"));
}
