// SPDX-License-Identifier: MIT
#include <heed/layers/avg_pool1d.hpp>
#include <heed/layers/avg_pool2d.hpp>

#include "catch.hpp"
#include "reference/described.hpp"
#include "reference/layer_rules.hpp"

using namespace heed;

TEST_CASE("average pools keep the rules of layers") {
  reference::check_layer_rules<4>(AvgPool2d<float>({.kernel_size = 3, .stride = 2, .padding = {1, 0, 2, 1}}), {5, 9, 8, 20});
  reference::check_layer_rules<3>(AvgPool1d<float>({.kernel_size = 3, .stride = 2, .padding = {2, 0}}), {5, 33, 20});
}

TEMPLATE_TEST_CASE("average pooling: a sequence is an image of height 1", "", float, double) {
  for (const bool include : {false, true}) {
    AvgPool1d<TestType> sequences(
        {.kernel_size = 3, .stride = 2, .padding = {4, 1}, .dilation = 2, .ceil_mode = true, .count_include_pad = include});
    AvgPool2d<TestType> images({.kernel_size = {1, 3},
        .stride = {1, 2},
        .padding = {0, 4, 0, 1},
        .dilation = {1, 2},
        .ceil_mode = true,
        .count_include_pad = include});
    const auto x = reference::random_tensor<TestType, 3>({2, 12, 3}, 1);
    typename AvgPool1d<TestType>::Cache cache;
    typename AvgPool2d<TestType>::Cache image_cache;
    const auto y = sequences.forward(x, cache);
    const auto image_y = images.forward(x.template reshaped<4>({2, 1, 12, 3}), image_cache);
    REQUIRE(reference::same_bits(y, image_y));
    CHECK(reference::same_bits(sequences.backward(y, cache), images.backward(image_y, image_cache)));
  }
}

TEST_CASE("average pooling: where nothing is counted, y is 0") {
  const AvgPool1d<float> layer({.kernel_size = 2, .stride = 1, .padding = 1, .dilation = 2, .count_include_pad = false});
  Tensor<float, 3> x({1, 1, 2});
  x.fill(3);
  const auto y = layer.forward(x);
  REQUIRE(y.shape() == Shape{1, 1, 2});
  CHECK((y[0] == 0 && y[1] == 0));
}

TEST_CASE("average pools describe themselves under torch's names") {
  CHECK(reference::described(AvgPool2d<float>({.kernel_size = {2, 3}, .padding = {1, 0}, .divisor_override = 5})) ==
        "AvgPool2d kernel_size=2x3 stride=2x3 padding=1x0 dilation=1x1 ceil_mode=false count_include_pad=true divisor_override=5 ");
  CHECK(reference::described(
            AvgPool1d<float>({.kernel_size = 3, .stride = 2, .padding = {2, 0}, .dilation = 4, .count_include_pad = false})) ==
        "AvgPool1d kernel_size=3 stride=2 padding=2,0 dilation=4 ceil_mode=false count_include_pad=false ");
}
