// SPDX-License-Identifier: MIT
#include <heed/layers/global_avg_pool1d.hpp>
#include <heed/testing/check_gradients.hpp>

#include "catch.hpp"

using heed::GlobalAvgPool1d;
using heed::Index;
using heed::Shape;
using heed::Tensor;

TEST_CASE("GlobalAvgPool1d: certificate for awkward shapes") {
  for (const Shape& x : {Shape{1, 1, 1}, Shape{3, 7, 5}, Shape{2, 2, 17}, Shape{2, 3, 33}}) {
    auto report = heed::check_gradients(GlobalAvgPool1d<double>(), x);
    INFO(x.to_string() << ' ' << report.to_string());
    CHECK(report.passed());
  }
}

TEST_CASE("GlobalAvgPool1d: the mean over tokens") {
  Tensor<float, 3> x({2, 3, 2});
  for (Index i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i);
  const auto y = GlobalAvgPool1d<float>().forward(x);
  REQUIRE(y.shape() == Shape{2, 2});
  CHECK((y[0] == 2 && y[1] == 3 && y[2] == 8 && y[3] == 9));
  CHECK_THROWS_WITH(GlobalAvgPool1d<float>().output_shape({1, 0, 2}),
      "GlobalAvgPool1d: input 1x0x2 is not (sequences, tokens, channels) with at least one token");
  CHECK_THROWS_AS(GlobalAvgPool1d<float>().output_shape({1, 3, 3, 2}), heed::ShapeError);
}

TEST_CASE("GlobalAvgPool1d refuses a cache that no forward has filled") {
  GlobalAvgPool1d<float> layer;
  GlobalAvgPool1d<float>::Cache cache;
  const Tensor<float, 2> dy({1, 1});
  CHECK_THROWS_WITH(layer.backward(dy, cache), contains("GlobalAvgPool1d: backward follows one forward"));
}
