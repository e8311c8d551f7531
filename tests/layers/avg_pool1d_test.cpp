// SPDX-License-Identifier: MIT
#include <heed/layers/avg_pool1d.hpp>
#include <heed/testing/check_gradients.hpp>

#include "catch.hpp"

using heed::AvgPool1d;
using heed::AvgPool1dOptions;
using heed::Index;
using heed::Shape;
using heed::Tensor;

TEST_CASE("AvgPool1d: certificate for every option and awkward shapes") {
  struct Case {
    AvgPool1dOptions options;
    Shape x;
  };
  const Case cases[] = {
      {{.kernel_size = 1}, {1, 1, 1}},
      {{}, {2, 5, 3}},
      {{.kernel_size = 3, .stride = 2, .padding = 1}, {2, 6, 17}},
      {{.kernel_size = 3, .stride = 2, .padding = {2, 1}, .count_include_pad = false}, {2, 6, 2}},
      {{.kernel_size = 3, .stride = 1, .padding = {0, 2}}, {1, 5, 2}},
      {{.kernel_size = 2, .stride = 1, .padding = {3, 2}, .dilation = 3, .count_include_pad = false}, {2, 7, 2}},
      {{.kernel_size = 3, .stride = 2, .padding = {1, 0}, .dilation = 2, .ceil_mode = true}, {2, 8, 2}},
  };
  for (const Case& example : cases) {
    auto report = heed::check_gradients(AvgPool1d<double>(example.options), example.x);
    INFO(example.x.to_string() << ' ' << report.to_string());
    CHECK(report.passed());
  }
}

TEST_CASE("AvgPool1d: the divisor counts padding or not, and never what hangs over") {
  Tensor<float, 3> x({1, 4, 1});
  x.fill(6);
  const auto include = AvgPool1d<float>({.kernel_size = 3, .stride = 2, .padding = {1, 0}, .ceil_mode = true}).forward(x);
  REQUIRE(include.shape() == Shape{1, 2, 1});
  CHECK((include[0] == Approx(4) && include[1] == Approx(6)));
  const auto over = AvgPool1d<float>({.kernel_size = 3, .stride = 2, .ceil_mode = true}).forward(x);
  REQUIRE(over.shape() == Shape{1, 2, 1});
  CHECK(over[1] == Approx(6));  // two tokens, and one that hangs over
  const auto exclude = AvgPool1d<float>({.kernel_size = 3, .stride = 1, .padding = 1, .count_include_pad = false}).forward(x);
  for (Index i = 0; i < exclude.size(); ++i) CHECK(exclude[i] == Approx(6));
}

TEST_CASE("AvgPool1d: errors are sentences") {
  CHECK_THROWS_WITH(AvgPool1d<float>({.kernel_size = 2, .padding = {2, 0}}),
      "AvgPool1d: padding (2,0) must be smaller than the window (kernel_size 2, dilation 1)");
  CHECK_THROWS_AS(AvgPool1d<float>({.stride = -1}), std::invalid_argument);
  CHECK_THROWS_WITH(AvgPool1d<float>({.kernel_size = 3}).output_shape({1, 2, 5}), contains("AvgPool1d: the kernel does not fit"));
  AvgPool1d<float> layer({.kernel_size = 2});
  AvgPool1d<float>::Cache cache;
  const Tensor<float, 3> dy({1, 1, 1});
  CHECK_THROWS_WITH(layer.backward(dy, cache), contains("AvgPool1d: backward follows one forward"));
}
