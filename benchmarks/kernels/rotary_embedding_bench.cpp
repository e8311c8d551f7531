// SPDX-License-Identifier: MIT
// rotary_embedding/BxHxTxD: all features turn, in halves. A pass reads x and writes y; backward reads dy and writes dx. (The tables are not counted.)
#include <heed/layers/rotary_embedding.hpp>

#include <reference/rotary_embedding_reference.hpp>

#include "verify.hpp"

namespace {

using namespace bench;

struct RotaryWorkload {
  Index batches = 1, heads = 1, tokens = 1, width = 2;

  template <class Self, class V>
  static void walk(Self& self, V& v) {
    v.sizes("BxHxTxD", self.batches, self.heads, self.tokens, self.width);
  }
  void check() const { require(width % 2 == 0, "features turn in pairs, ", width, " is odd"); }

  static Expected expected(const RotaryEmbedding<float>& layer, const TensorView<const float, 4>& x, const TensorView<const float, 4>& dy) {
    const auto rotation = layer.rotation(x.size(0), x.size(1), x.size(2));
    const auto turned = [&](const TensorView<const float, 4>& from, bool back) {
      const Index head = x.size(2) * x.size(3), batch = x.size(1) * head;
      std::vector<double> to(static_cast<std::size_t>(x.size()));
      reference::rotary_embedding(rotation, back, {from.data(), batch, head, x.size(3)}, {to.data(), batch, head, x.size(3)});
      return std::vector<long double>(to.begin(), to.end());
    };
    return {turned(x, false), turned(dy, true), {}};
  }
  void add(const std::string& name) const {
    add_layer(
        name, streams(static_cast<double>(batches * heads * tokens * width), 2, 4, 2, 4),
        [w = *this] { return RotaryEmbedding<float>({.head_dim = w.width, .max_positions = w.tokens}); },
        [w = *this] {
          return operand<4>({w.batches, w.heads, w.tokens, w.width}, 1);
        },
        expected);
  }
};

[[maybe_unused]] const bool known = family<RotaryWorkload>("rotary_embedding", {"8x8x1024x64"});

}  // namespace
