// SPDX-License-Identifier: MIT
#pragma once

#include <heed/layers/transformer_encoder_layer.hpp>

#include "verify.hpp"

namespace bench {

/// Encoder layers as vision transformers and language models have them: norms first, a feed-forward net of 4 C with exact GELU.
struct EncoderWorkload {
  using Layer = TransformerEncoderLayer<float>;
  Index batches = 1, tokens = 1, width = 1, heads = 1;

  template <class Self, class V>
  static void walk(Self& self, V& v) {
    v.sizes("BxTxCxH", self.batches, self.tokens, self.width, self.heads);
  }
  void check() const { require(width % heads == 0, "a width of ", width, " cannot be cut into ", heads, " heads"); }

  Layer layer(bool causal) const {
    return Layer({.d_model = width,
        .nhead = heads,
        .dim_feedforward = 4 * width,
        .dropout = 0,
        .activation = FeedForwardActivation::gelu,
        .norm_first = true,
        .causal = causal});
  }
};

}  // namespace bench
