// SPDX-License-Identifier: MIT
#include <heed/layers/avg_pool2d.hpp>
#include <heed/testing/check_gradients.hpp>

#include "catch.hpp"

using heed::AvgPool2d;
using heed::AvgPool2dOptions;
using heed::Index;
using heed::Shape;
using heed::Tensor;

TEST_CASE("AvgPool2d: certificate for every option and awkward shapes") {
  struct Case {
    AvgPool2dOptions options;
    Shape x;
  };
  const Case cases[] = {
      {{.kernel_size = 1}, {1, 1, 1, 1}},
      {{}, {2, 4, 6, 3}},
      {{}, {1, 5, 3, 17}},
      {{.kernel_size = 3, .stride = 2, .padding = 1}, {2, 5, 6, 2}},
      {{.kernel_size = 3, .stride = 2, .padding = 1, .count_include_pad = false}, {2, 5, 6, 2}},
      {{.kernel_size = {3, 2}, .stride = {1, 2}}, {1, 4, 6, 2}},
      {{.kernel_size = 3, .stride = 2, .padding = {2, 0, 1, 2}}, {2, 4, 5, 2}},
      {{.kernel_size = 3, .stride = 2, .padding = {2, 0, 1, 2}, .count_include_pad = false}, {2, 4, 5, 2}},
      {{.kernel_size = {3, 2}, .stride = {3, 1}, .padding = {1, 0, 2, 1}, .dilation = {2, 3}, .ceil_mode = true}, {1, 7, 6, 17}},
      {{.kernel_size = 2, .stride = 1, .padding = 1, .dilation = 2, .count_include_pad = false}, {1, 1, 3, 2}},
      {{.kernel_size = {3, 2}, .stride = 2, .padding = 1, .divisor_override = 5}, {1, 4, 5, 3}},
      {{.kernel_size = 3, .stride = 2, .padding = {1, 0}, .ceil_mode = true}, {1, 6, 8, 2}},
      {{.kernel_size = 3, .stride = 2, .padding = 1, .ceil_mode = true, .count_include_pad = false}, {1, 8, 7, 2}},
  };
  for (const Case& example : cases) {
    auto report = heed::check_gradients(AvgPool2d<double>(example.options), example.x);
    INFO(example.x.to_string() << ' ' << report.to_string());
    CHECK(report.passed());
  }
}

TEST_CASE("AvgPool2d: the divisor counts padding or not, and never what hangs over") {
  Tensor<float, 4> x({1, 3, 4, 1});
  x.fill(1);
  const auto include = AvgPool2d<float>({.kernel_size = 3, .stride = 2, .padding = 1, .ceil_mode = true}).forward(x);
  REQUIRE(include.shape() == Shape{1, 2, 3, 1});
  CHECK(include[0] == Approx(4 / 9.0));
  CHECK(include[2] == Approx(2 / 6.0));  // its last column hangs over the padding
  const auto exclude = AvgPool2d<float>({.kernel_size = 3, .stride = 2, .padding = 1, .count_include_pad = false}).forward(x);
  for (Index i = 0; i < exclude.size(); ++i) CHECK(exclude[i] == Approx(1));
}

TEST_CASE("AvgPool2d: asymmetric and dilated padding, a divisor of one's own") {
  Tensor<float, 4> x({1, 2, 3, 1});
  x.fill(12);
  const auto corner = AvgPool2d<float>({.kernel_size = 2, .stride = 5, .padding = {1, 1, 1, 0}}).forward(x);
  REQUIRE(corner.shape() == Shape{1, 1, 1, 1});
  CHECK(corner[0] == Approx(3));
  const auto behind = AvgPool2d<float>({.kernel_size = {2, 5}, .stride = 5, .padding = {0, 0, 0, 2}}).forward(x);
  REQUIRE(behind.shape() == Shape{1, 1, 1, 1});
  CHECK(behind[0] == Approx(12 * 6 / 10.0));  // six of ten in the image, four in the padding behind it
  const auto dilated = AvgPool2d<float>({.kernel_size = {1, 3}, .stride = 1, .padding = {0, 2}, .dilation = {1, 2}}).forward(x);
  REQUIRE(dilated.shape() == Shape{1, 2, 3, 1});
  CHECK((dilated[0] == Approx(8) && dilated[1] == Approx(4) && dilated[2] == Approx(8)));
  const auto ceil = AvgPool2d<float>({.kernel_size = {1, 3}, .stride = {1, 2}, .dilation = {1, 1}, .ceil_mode = true}).forward(x);
  CHECK(ceil.shape() == Shape{1, 2, 1, 1});
  for (const Index divisor : {Index{3}, Index{-4}}) {
    const auto y = AvgPool2d<float>({.kernel_size = 2, .stride = 1, .padding = 1, .divisor_override = divisor}).forward(x);
    CHECK(y[0] == Approx(12.0 / static_cast<double>(divisor)));
    CHECK(y[5] == Approx(48.0 / static_cast<double>(divisor)));
  }
}

TEST_CASE("AvgPool2d: errors are sentences") {
  CHECK_THROWS_WITH(AvgPool2d<float>({.kernel_size = 2, .padding = 2}),
      "AvgPool2d: padding (2x2) must be smaller than the window (kernel_size 2x2, dilation 1x1)");
  CHECK_THROWS_AS(AvgPool2d<float>({.kernel_size = 2, .stride = -1}), std::invalid_argument);
  CHECK_THROWS_AS(AvgPool2d<float>({.kernel_size = 3}).output_shape({1, 2, 5, 1}), heed::ShapeError);
}

TEST_CASE("AvgPool2d refuses a cache that no forward has filled") {
  AvgPool2d<float> layer({.kernel_size = 2});
  AvgPool2d<float>::Cache cache;
  const Tensor<float, 4> dy({1, 1, 1, 1});
  CHECK_THROWS_WITH(layer.backward(dy, cache), contains("AvgPool2d: backward follows one forward"));
}
