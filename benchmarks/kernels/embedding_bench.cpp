// SPDX-License-Identifier: MIT
// embedding/TxVxC: tokens, words, features. A pass reads T rows of the table and writes y; backward reads dy and adds to T rows of the gradient.
#include <heed/layers/embedding.hpp>

#include <reference/embedding_reference.hpp>

#include "verify.hpp"

namespace {

using namespace bench;

struct EmbeddingWorkload {
  Index tokens = 1, words = 1, features = 1;

  template <class Self, class V>
  static void walk(Self& self, V& v) {
    v.sizes("TxVxC", self.tokens, self.words, self.features);
  }

  /// Any words, some of them several times.
  Tensor<std::int64_t, 2> input() const {
    Tensor<std::int64_t, 2> x({tokens, 1});
    const CounterRandom random({3});
    for (Index i = 0; i < tokens; ++i)
      x[i] = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(words)));
    return x;
  }
  static Expected expected(
      const Embedding<float>& layer, const TensorView<const std::int64_t, 2>& x, const TensorView<const float, 3>& dy) {
    const Index width = layer.options().embedding_dim;
    const auto y = reference::embedding(x.size(), width, x.data(), layer.weight().value());
    std::vector<float> d_weight(static_cast<std::size_t>(layer.weight().size()));
    reference::add_embedding_gradient(x.size(), width, x.data(), dy.data(), -1, d_weight);
    return {{y.begin(), y.end()}, {}, {{d_weight.begin(), d_weight.end()}}};
  }
  void add(const std::string& name) const {
    add_layer(
        name, streams(static_cast<double>(tokens * features), 2, 5, 2, 4),
        [w = *this] { return Embedding<float>({.num_embeddings = w.words, .embedding_dim = w.features}); },
        [w = *this] { return w.input(); }, expected);
  }
};

[[maybe_unused]] const bool known = family<EmbeddingWorkload>("embedding", {"8192x32000x256", "8192x128x256"});

}  // namespace
