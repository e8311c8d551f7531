// SPDX-License-Identifier: MIT
#include <heed/layers/conv1d.hpp>
#include <heed/layers/conv2d.hpp>

#include "catch.hpp"
#include "reference/layer_rules.hpp"

using namespace heed;

TEST_CASE("convolutions keep the rules of layers") {
  for (const Index groups : {Index{1}, Index{2}, Index{20}}) {
    reference::check_layer_rules<4>(
        Conv2d<float>({.in_channels = 20, .out_channels = 20, .kernel_size = 3, .stride = 2, .padding = {1, 0, 2, 1}, .groups = groups}),
        {5, 9, 8, 20});
    reference::check_layer_rules<3>(
        Conv1d<float>({.in_channels = 20, .out_channels = 20, .kernel_size = 5, .padding = {4, 0}, .groups = groups}), {5, 33, 20});
  }
}

TEST_CASE("a sequence is an image of height 1") {
  for (const Index groups : {Index{1}, Index{3}, Index{6}}) {
    const Conv1dOptions options{.in_channels = 6,
        .out_channels = 6,
        .kernel_size = 3,
        .stride = 2,
        .padding = {2, 1},
        .dilation = 2,
        .groups = groups,
        .bias = groups != 3};
    Conv1d<float> sequences(options);
    Conv2d<float> images({.in_channels = 6,
        .out_channels = 6,
        .kernel_size = {1, 3},
        .stride = {1, 2},
        .padding = {0, 2, 0, 1},
        .dilation = {1, 2},
        .groups = groups,
        .bias = groups != 3});
    std::copy_n(std::as_const(sequences).weight().value(), sequences.weight().size(), images.weight().value());
    if (options.bias) std::copy_n(std::as_const(sequences).bias().value(), 6, images.bias().value());
    const auto x = reference::random_tensor<float, 3>({3, 11, 6}, 1);
    const auto image = x.reshaped<4>({3, 1, 11, 6});
    Conv1d<float>::Cache cache;
    Conv2d<float>::Cache image_cache;
    const auto y = sequences.forward(x, cache);
    const auto image_y = images.forward(image, image_cache);
    REQUIRE(reference::same_bits(y, image_y));
    CHECK(reference::same_bits(sequences.backward(y, cache), images.backward(image_y, image_cache)));
    const float* gradient = std::as_const(sequences).weight().gradient();
    CHECK(std::equal(gradient, gradient + sequences.weight().size(), std::as_const(images).weight().gradient()));
  }
}

TEST_CASE("initial weights are uniform in one over the root of their inputs") {
  const Conv1d<double> layer({.in_channels = 30, .out_channels = 40, .kernel_size = 3, .groups = 2});
  double largest = 0;
  for (Index i = 0; i < layer.weight().size(); ++i) largest = std::max(largest, std::abs(layer.weight().value()[i]));
  CHECK(largest < 1 / std::sqrt(45.0));
  CHECK(largest > 0.95 / std::sqrt(45.0));
  for (Index i = 0; i < 40; ++i) CHECK(std::abs(layer.bias().value()[i]) < 1 / std::sqrt(45.0));
}
