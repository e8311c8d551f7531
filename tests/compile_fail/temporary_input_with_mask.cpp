// SPDX-License-Identifier: MIT
// The cache looks at the input until backward has run, with a mask, too.
// expect: heed: the cache looks at the input until backward has run
#include <heed/layers/transformer_encoder_layer.hpp>

using Encoder = heed::TransformerEncoderLayer<float>;

void step(Encoder& layer, const heed::AttentionMask<float>& mask, Encoder::Cache& cache) {
#ifdef RIGHT
  const heed::Tensor<float, 3> x({1, 4, 8});
  layer.forward(x, mask, cache);
#else
  layer.forward(heed::Tensor<float, 3>({1, 4, 8}), mask, cache);
#endif
}
