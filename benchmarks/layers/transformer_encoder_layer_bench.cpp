// SPDX-License-Identifier: MIT
// encoder_block/BxTxCxH[/causal]: batch, tokens, width, heads; norms first, a feed-forward net of 4 C with exact GELU, no dropout. Operations of the
// matrix products alone, causal ones as if they were not: forward 24 B T C C + 4 B T T C, backward twice that. Judged by itself in double, on one
// sequence.
#include <heed/layers/transformer_encoder_layer.hpp>

#include "encoder_workload.hpp"

namespace {

using namespace bench;

struct EncoderBlockWorkload : EncoderWorkload {
  bool causal = false;

  template <class Self, class V>
  static void walk(Self& self, V& v) {
    EncoderWorkload::walk(self, v);
    v.option("causal", self.causal);
  }

  static Expected expected(const Layer& layer, const TensorView<const float, 3>& x, const TensorView<const float, 3>& dy) {
    return in_double(layer.rebind<double>(), x, dy);
  }
  void add(const std::string& name) const {
    const double rows = static_cast<double>(batches * tokens), c = static_cast<double>(width);
    add_layer(
        name, products(24 * rows * c * c + 4 * rows * static_cast<double>(tokens) * c), [w = *this] { return w.layer(w.causal); },
        [w = *this] {
          return operand<3>({w.batches, w.tokens, w.width}, 1);
        },
        expected, NoNaive{}, 1);
  }
};

[[maybe_unused]] const bool known =
    family<EncoderBlockWorkload>("encoder_block", {"64x64x256x4", "8x197x768x12", "1x1024x512x8", "1x1024x512x8/causal"});

}  // namespace
