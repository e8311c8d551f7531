// SPDX-License-Identifier: MIT
// What reads whole numbers stands first: layers give numbers with a fraction.
// expect: a layer that reads whole numbers \(Embedding\) can only be the first one
#include <heed/compose/sequential.hpp>
#include <heed/layers/embedding.hpp>
#include <heed/layers/relu.hpp>

void build() {
  const heed::EmbeddingOptions words{.num_embeddings = 100, .embedding_dim = 8};
#ifdef RIGHT
  heed::Sequential net{heed::Embedding<float>(words), heed::Relu<float>()};
#else
  heed::Sequential net{heed::Relu<float>(), heed::Embedding<float>(words)};
#endif
}
