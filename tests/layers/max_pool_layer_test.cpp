// SPDX-License-Identifier: MIT
#include <heed/layers/max_pool1d.hpp>
#include <heed/layers/max_pool2d.hpp>

#include "catch.hpp"
#include "reference/described.hpp"
#include "reference/layer_rules.hpp"

using namespace heed;

TEST_CASE("max pools keep the rules of layers") {
  reference::check_layer_rules<4>(MaxPool2d<float>({.kernel_size = 3, .stride = 2, .padding = {1, 0, 2, 1}}), {5, 9, 8, 20});
  reference::check_layer_rules<3>(MaxPool1d<float>({.kernel_size = 3, .stride = 2, .padding = {2, 0}}), {5, 33, 20});
}

TEMPLATE_TEST_CASE("max pooling: a sequence is an image of height 1", "", float, double) {
  for (const Index kernel : {Index{3}, Index{300}}) {
    MaxPool1d<TestType> sequences({.kernel_size = kernel, .stride = 2, .padding = {2, 1}, .dilation = 2, .ceil_mode = true});
    MaxPool2d<TestType> images(
        {.kernel_size = {1, kernel}, .stride = {1, 2}, .padding = {0, 2, 0, 1}, .dilation = {1, 2}, .ceil_mode = true});
    const auto x = reference::random_tensor<TestType, 3>({2, 601, 3}, 1);
    typename MaxPool1d<TestType>::Cache cache;
    typename MaxPool2d<TestType>::Cache image_cache;
    const auto y = sequences.forward(x, cache);
    const auto image_y = images.forward(x.template reshaped<4>({2, 1, 601, 3}), image_cache);
    REQUIRE(reference::same_bits(y, image_y));
    CHECK(reference::same_bits(sequences.forward(x), y));
    const auto indices = sequences.indices(cache);
    CHECK(reference::same_bits(indices, images.indices(image_cache)));
    for (Index i = 0; i < y.size(); ++i) REQUIRE(x[(i / (y.size() / 2) * 601 + indices[i]) * 3 + i % 3] == y[i]);
    CHECK(reference::same_bits(sequences.backward(y, cache), images.backward(image_y, image_cache)));
  }
}

TEST_CASE("max pooling: windows between whose taps the image lies") {
  MaxPool1d<float> layer({.kernel_size = 2, .stride = 1, .padding = 1, .dilation = 2});
  Tensor<float, 3> x({1, 1, 2});
  x.fill(3);
  MaxPool1d<float>::Cache cache;
  auto y = layer.forward(x, cache);
  REQUIRE(y.shape() == Shape{1, 1, 2});
  CHECK(y[0] == -std::numeric_limits<float>::infinity());
  CHECK(layer.indices(cache)[1] == -1);
  y.fill(1);
  CHECK(layer.backward(y, cache)[0] == 0);
}

TEST_CASE("max pools describe themselves under torch's names") {
  CHECK(reference::described(MaxPool2d<float>({.kernel_size = {2, 3}, .padding = {1, 0}})) ==
        "MaxPool2d kernel_size=2x3 stride=2x3 padding=1x0 dilation=1x1 ceil_mode=false ");
  CHECK(reference::described(MaxPool1d<float>({.kernel_size = 3, .stride = 2, .padding = {2, 0}, .dilation = 4, .ceil_mode = true})) ==
        "MaxPool1d kernel_size=3 stride=2 padding=2,0 dilation=4 ceil_mode=true ");
}
