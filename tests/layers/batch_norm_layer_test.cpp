// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "reference/random_tensor.hpp"

#include <heed/layers/batch_norm1d.hpp>
#include <heed/layers/batch_norm2d.hpp>

using namespace heed;

TEST_CASE("an image batch and its pixels as tokens are normalised alike, and leave the same statistics") {
  const auto x = reference::random_tensor<float, 4>({2, 3, 4, 5}, 1, -2, 3), dy = reference::random_tensor<float, 4>({2, 3, 4, 5}, 2);
  BatchNorm2d<float> images({.num_features = 5, .momentum = 0.3});
  BatchNorm1d<float> tokens({.num_features = 5, .momentum = 0.3});
  BatchNorm2d<float>::Cache image_cache;
  BatchNorm1d<float>::Cache token_cache;
  const auto as_tokens = x.reshaped<3>({2, 12, 5});
  CHECK(reference::same_bits(images.forward(x, image_cache), tokens.forward(as_tokens, token_cache)));
  CHECK(reference::same_bits(images.backward(dy, image_cache), tokens.backward(dy.reshaped<3>({2, 12, 5}), token_cache)));
  CHECK(reference::same_bits(images.running_mean(), tokens.running_mean()));
  CHECK(reference::same_bits(images.running_var(), tokens.running_var()));
  CHECK(reference::same_bits(images.forward(x), tokens.forward(as_tokens)));
}

TEST_CASE("statistics of another number of channels are not copied") {
  BatchNorm2d<float> from({.num_features = 4, .affine = false}), to({.num_features = 8, .affine = false});
  CHECK_THROWS_WITH(copy_parameters(from, to),
      contains("running_mean is 4 in the model that is copied, running_mean is 8 in the other; nothing is copied"));
  CHECK(to.running_mean().size() == 8);
}
