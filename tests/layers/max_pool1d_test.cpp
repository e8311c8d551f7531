// SPDX-License-Identifier: MIT
#include <heed/layers/max_pool1d.hpp>
#include <heed/testing/check_gradients.hpp>

#include "catch.hpp"

using heed::Index;
using heed::MaxPool1d;
using heed::MaxPool1dOptions;
using heed::Shape;
using heed::Tensor;

TEST_CASE("MaxPool1d: certificate for every option and awkward shapes") {
  struct Case {
    MaxPool1dOptions options;
    Shape x;
  };
  const Case cases[] = {
      {{.kernel_size = 1}, {1, 1, 1}},
      {{}, {2, 5, 3}},
      {{.kernel_size = 3, .stride = 2, .padding = 1}, {2, 6, 17}},
      {{.kernel_size = 3, .stride = 1, .padding = {2, 0}}, {1, 5, 2}},
      {{.kernel_size = 2, .stride = 1, .padding = {0, 2}, .dilation = 3}, {2, 7, 2}},
      {{.kernel_size = 3, .stride = 2, .ceil_mode = true}, {1, 6, 3}},
      {{.kernel_size = 2, .stride = 3, .padding = {1, 1}, .dilation = 2, .ceil_mode = true}, {2, 8, 2}},
      {{.kernel_size = 257, .stride = 1}, {1, 259, 2}},
  };
  for (const Case& example : cases) {
    auto report = heed::check_gradients(MaxPool1d<double>(example.options), example.x);
    INFO(example.x.to_string() << ' ' << report.to_string());
    CHECK(report.passed());
  }
}

TEST_CASE("MaxPool1d: the first maximum wins, and indices tell where it was") {
  MaxPool1d<float> layer({.kernel_size = 3, .stride = 2, .padding = 1});
  Tensor<float, 3> x({1, 5, 1});
  const float values[] = {-3, -1, -1, -5, -4};
  std::copy_n(values, 5, x.data());
  MaxPool1d<float>::Cache cache;
  auto y = layer.forward(x, cache);
  REQUIRE(y.shape() == Shape{1, 3, 1});
  CHECK((y[0] == -1 && y[1] == -1 && y[2] == -4));
  const auto indices = layer.indices(cache);
  REQUIRE(indices.shape() == y.shape());
  CHECK((indices[0] == 1 && indices[1] == 1 && indices[2] == 4));
  y[0] = 1, y[1] = 2, y[2] = 4;
  const auto dx = layer.backward(y, cache);
  const float expected[] = {0, 3, 0, 0, 4};
  for (Index i = 0; i < 5; ++i) CHECK(dx[i] == expected[i]);
}

TEST_CASE("MaxPool1d: stride defaults to the kernel; errors are sentences") {
  CHECK(MaxPool1d<float>({.kernel_size = 3}).output_shape({4, 8, 5}) == Shape{4, 2, 5});
  CHECK(MaxPool1d<float>({.kernel_size = 3, .ceil_mode = true}).output_shape({4, 8, 5}) == Shape{4, 3, 5});
  CHECK_THROWS_WITH(MaxPool1d<float>({.kernel_size = 2, .padding = {0, 2}}),
      "MaxPool1d: padding (0,2) must be smaller than the window (kernel_size 2, dilation 1)");
  CHECK_THROWS_WITH(MaxPool1d<float>({.kernel_size = 0}), "MaxPool1d: kernel_size (0), stride (0) and dilation (1) must be positive");
  CHECK_THROWS_WITH(MaxPool1d<float>({.kernel_size = 3}).output_shape({1, 2, 5}), contains("MaxPool1d: the kernel does not fit"));
  CHECK_THROWS_AS(MaxPool1d<float>({.kernel_size = 3}).output_shape({2, 5, 5, 1}), heed::ShapeError);
  MaxPool1d<float> layer({.kernel_size = 2});
  MaxPool1d<float>::Cache cache;
  const Tensor<float, 3> dy({1, 1, 1});
  CHECK_THROWS_WITH(layer.backward(dy, cache), contains("MaxPool1d: backward follows one forward"));
  CHECK_THROWS_WITH(layer.indices(cache), contains("MaxPool1d: "));
}
