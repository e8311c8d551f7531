// SPDX-License-Identifier: MIT
#include <heed/layers/max_pool2d.hpp>
#include <heed/testing/check_gradients.hpp>

#include "catch.hpp"

using heed::Index;
using heed::MaxPool2d;
using heed::MaxPool2dOptions;
using heed::Shape;
using heed::Tensor;

TEST_CASE("MaxPool2d: certificate for every option and awkward shapes") {
  struct Case {
    MaxPool2dOptions options;
    Shape x;
  };
  const Case cases[] = {
      {{.kernel_size = 1}, {1, 1, 1, 1}}, {{}, {2, 4, 6, 3}}, {{}, {1, 5, 3, 17}},  // trailing pixels in no window
      {{.kernel_size = 3, .stride = 2, .padding = 1}, {2, 5, 6, 2}},
      {{.kernel_size = {2, 3}, .stride = {1, 2}}, {1, 4, 6, 2}},  // overlapping windows
      {{.kernel_size = 2, .stride = 1, .dilation = {2, 3}}, {1, 5, 6, 2}},
      {{.kernel_size = 3, .stride = 2, .ceil_mode = true}, {1, 6, 7, 3}},
      {{.kernel_size = {1, 3}, .stride = {3, 1}, .padding = {0, 1}}, {2, 4, 3, 1}},
      {{.kernel_size = 3, .stride = 2, .padding = {2, 0, 1, 2}}, {2, 4, 5, 2}},
      {{.kernel_size = {3, 2}, .stride = {3, 2}, .padding = {1, 0, 2, 1}, .dilation = {2, 1}, .ceil_mode = true}, {1, 7, 6, 17}},
      {{.kernel_size = 2, .stride = 1, .padding = 1, .dilation = 2}, {1, 1, 3, 2}},  // windows without a pixel of the image
      {{.kernel_size = {17, 16}, .stride = 1}, {1, 18, 17, 2}},                      // 272 taps: winners need more than a byte
  };
  for (const Case& example : cases) {
    auto report = heed::check_gradients(MaxPool2d<double>(example.options), example.x);
    INFO(example.x.to_string() << ' ' << report.to_string());
    CHECK(report.passed());
  }
}

TEST_CASE("MaxPool2d: the first maximum wins, padding never does") {
  MaxPool2d<float> layer({.kernel_size = 3, .stride = 2, .padding = 1});
  Tensor<float, 4> x({1, 3, 3, 1});
  x.fill(-7);
  MaxPool2d<float>::Cache cache;
  auto y = layer.forward(x, cache);
  REQUIRE(y.shape() == Shape{1, 2, 2, 1});
  for (Index i = 0; i < 4; ++i) CHECK(y[i] == -7);
  for (Index i = 0; i < 4; ++i) y[i] = static_cast<float>(1 << i);
  const auto dx = layer.backward(y, cache);
  const float expected[] = {1, 2, 0, 4, 8, 0, 0, 0, 0};
  for (Index i = 0; i < 9; ++i) CHECK(dx[i] == expected[i]);
}

TEST_CASE("MaxPool2d: indices are row * width + column of each maximum") {
  const MaxPool2d<float> layer({.kernel_size = {2, 3}, .stride = {1, 2}, .padding = {0, 1}});
  Tensor<float, 4> x({2, 3, 4, 2});
  for (Index i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * 37 % 48);
  MaxPool2d<float>::Cache cache;
  const auto y = layer.forward(x, cache);
  const auto indices = layer.indices(cache);
  REQUIRE(indices.shape() == Shape{2, 2, 2, 2});
  for (Index i = 0; i < y.size(); ++i) CHECK(x[(i / 8 * 12 + indices[i]) * 2 + i % 2] == y[i]);
  MaxPool2d<float>::Cache empty;
  CHECK_THROWS_WITH(layer.indices(empty), contains("MaxPool2d: "));
}

TEST_CASE("MaxPool2d: stride defaults to the kernel; errors are sentences") {
  CHECK(MaxPool2d<float>({.kernel_size = {2, 3}}).output_shape({4, 8, 9, 5}) == Shape{4, 4, 3, 5});
  CHECK(MaxPool2d<float>({.kernel_size = 3, .stride = 2, .ceil_mode = true}).output_shape({1, 8, 7, 2}) == Shape{1, 4, 3, 2});
  CHECK_THROWS_WITH(MaxPool2d<float>({.kernel_size = 2, .padding = 2}),
      "MaxPool2d: padding (2x2) must be smaller than the window (kernel_size 2x2, dilation 1x1)");
  CHECK_THROWS_AS(MaxPool2d<float>({.kernel_size = 0}), std::invalid_argument);
  CHECK_THROWS_AS(MaxPool2d<float>({.kernel_size = 3}).output_shape({1, 2, 5, 1}), heed::ShapeError);
  CHECK_THROWS_AS(MaxPool2d<float>({.kernel_size = 3}).output_shape({2, 5, 1}), heed::ShapeError);
}

TEST_CASE("MaxPool2d refuses a cache that no forward has filled") {
  MaxPool2d<float> layer({.kernel_size = 2});
  MaxPool2d<float>::Cache cache;
  const Tensor<float, 4> dy({1, 1, 1, 1});
  CHECK_THROWS_WITH(layer.backward(dy, cache), contains("MaxPool2d: backward follows one forward"));
}

TEST_CASE("MaxPool2d: ceil mode has a window where only a part of the first one lies in the image") {
  Tensor<double, 4> x({1, 2, 2, 1});
  for (Index i = 0; i < 4; ++i) x[i] = static_cast<double>(i);
  const auto y = MaxPool2d<double>({.kernel_size = 3, .stride = 2, .ceil_mode = true}).forward(x);  // torch.nn.MaxPool2d gives 3, too
  REQUIRE(y.shape() == Shape{1, 1, 1, 1});
  CHECK(y[0] == 3);
  CHECK_THROWS_AS(MaxPool2d<double>({.kernel_size = 3, .stride = 1, .ceil_mode = true}).forward(x), heed::ShapeError);
  CHECK_THROWS_AS(MaxPool2d<double>({.kernel_size = 4, .stride = 2, .ceil_mode = true}).forward(x), heed::ShapeError);
}
