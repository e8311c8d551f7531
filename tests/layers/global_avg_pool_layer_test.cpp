// SPDX-License-Identifier: MIT
#include <heed/layers/global_avg_pool1d.hpp>
#include <heed/layers/global_avg_pool2d.hpp>

#include "catch.hpp"
#include "reference/layer_rules.hpp"

using namespace heed;

TEST_CASE("global_avg_pool_layer: global pools keep the rules of layers") {
  reference::check_layer_rules<4>(GlobalAvgPool2d<float>(), {5, 9, 8, 20});
  reference::check_layer_rules<3>(GlobalAvgPool1d<float>(), {5, 72, 20});
}

TEST_CASE("global_avg_pool_layer: the pixels of an image are the tokens of a sequence") {
  GlobalAvgPool2d<double> images;
  GlobalAvgPool1d<double> sequences;
  const auto x = reference::random_tensor<double, 4>({3, 4, 5, 6}, 1);
  GlobalAvgPool2d<double>::Cache cache;
  GlobalAvgPool1d<double>::Cache sequence_cache;
  const auto y = images.forward(x, cache);
  CHECK(reference::same_bits(y, sequences.forward(x.reshaped<3>({3, 20, 6}), sequence_cache)));
  const auto dx = images.backward(y, cache);
  CHECK(dx.shape() == x.shape());
  CHECK(reference::same_bits(dx, sequences.backward(y, sequence_cache)));
  CHECK_THROWS_WITH(
      images.output_shape({1, 0, 3, 2}), contains("GlobalAvgPool2d: input 1x0x3x2 is not (images, height, width, channels) with "));
}
