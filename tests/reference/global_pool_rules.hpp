// SPDX-License-Identifier: MIT
#pragma once

#include "catch.hpp"
#include "reference/layer_rules.hpp"

namespace reference {

/// Global pools of images and of sequences: the rules of layers, and the pixels of an image are the tokens of a sequence.
template <template <class> class Images, template <class> class Sequences>
void check_global_pools() {
  check_layer_rules<4>(Images<float>(), {5, 9, 8, 20});
  check_layer_rules<3>(Sequences<float>(), {5, 72, 20});

  Images<double> images;
  Sequences<double> sequences;
  const auto x = random_tensor<double, 4>({3, 4, 5, 6}, 1);
  typename Images<double>::Cache cache;
  typename Sequences<double>::Cache sequence_cache;
  const auto y = images.forward(x, cache);
  CHECK(same_bits(y, sequences.forward(x.reshaped<3>({3, 20, 6}), sequence_cache)));
  const auto dx = images.backward(y, cache);
  CHECK(dx.shape() == x.shape());
  CHECK(same_bits(dx, sequences.backward(y, sequence_cache)));
  CHECK_THROWS_WITH(images.output_shape({1, 0, 3, 2}),
      contains(heed::text(Images<double>::kKind, ": input 1x0x3x2 is not (images, height, width, channels) with ")));
}

}  // namespace reference
