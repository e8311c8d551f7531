// SPDX-License-Identifier: MIT
// decode/BxTxCxH: one more token for each of B sequences of T tokens, through an encoder layer of width C with H heads and its cache of keys and
// values. A step reads the layer's 12 C C weights once and the cache, 2 B T C numbers.
#include "encoder_workload.hpp"

namespace {

using namespace bench;

struct DecodeWorkload : EncoderWorkload {
  void add(const std::string& name) const;
};

struct DecodeCase {
  DecodeWorkload w;
  EncoderWorkload::Layer layer = w.layer(true);
  Tensor<float, 3> past = operand<3>({w.batches, w.tokens, w.width}, 1), next = operand<3>({w.batches, 1, w.width}, 2);
  KeyValueCache<float> cache = layer.decode_state(w.batches, w.tokens + 1);

  explicit DecodeCase(const DecodeWorkload& workload) : w(workload) { layer.decode(past, cache); }

  void run() {
    benchmark::DoNotOptimize(layer.decode(next, cache).data());
    cache.truncate(w.tokens);
  }
  /// The last token of a whole sequence in double.
  std::string check() {
    const std::vector<Index> last{w.batches - 1};
    Tensor<float, 3> whole({1, w.tokens + 1, w.width});
    const auto before = gather(past, last), new_token = gather(next, last);
    std::copy_n(new_token.data(), w.width, std::copy_n(before.data(), before.size(), whole.data()));
    const auto y = layer.rebind<double>().forward(converted<double>(whole));
    const auto got = gather(layer.decode(next, cache), last);
    cache.truncate(w.tokens);
    const double* row = y.data() + w.tokens * w.width;
    return difference("y", got.data(), std::vector<double>(row, row + w.width));
  }
};

void DecodeWorkload::add(const std::string& name) const {
  const double b = static_cast<double>(batches), c = static_cast<double>(width);
  const double bytes = sizeof(float) * (12 * c * c + 2 * b * static_cast<double>(tokens) * c);
  add_case(
      name, {.bytes = bytes, .footprint = bytes, .items = b, .items_name = "tokens_per_second"}, [w = *this] { return DecodeCase(w); });
}

[[maybe_unused]] const bool known = family<DecodeWorkload>("decode", {"1x256x256x4", "1x1024x512x8", "8x1024x512x8"});

}  // namespace
