// SPDX-License-Identifier: MIT
#include <cstdio>
#include <heed/heed.hpp>
using namespace heed;
int main() {  // Each of eight tokens holds one of four values, and one token is marked: which value does it hold?
  Sequential model(TransformerEncoderLayer<float>({.d_model = 16, .nhead = 2, .dim_feedforward = 32, .dropout = 0}),
      SequencePool<float>({.features = 16}), Linear<float>({.in_features = 16, .out_features = 4}));
  AdamW<float> optimizer(named_parameters(model), {.learning_rate = 3e-3});
  decltype(model)::Cache cache;  // what backward needs belongs to the caller
  Tensor<float, 2> d_logits;
  for (unsigned step = 0; step <= 250; ++step) {
    Tensor<float, 3> x({64, 8, 16});  // 64 sequences of 8 tokens, the values and the mark among their 16 features
    std::uint64_t answers[64];
    const CounterRandom random({step});
    for (unsigned n = 0; n < 64; ++n) {
      for (unsigned t = 0; t < 8; ++t) x(n, t, random.below(8 * n + t, 4)) = 1;
      x(n, n % 8, 4) = 1;                           // the mark
      answers[n] = random.below(8 * n + n % 8, 4);  // what the marked token holds: the same number, the same draw
    }
    const double loss = CrossEntropyLoss<float>()(model.forward(x, cache), answers, d_logits);
    optimizer.zero_gradients();
    model.backward(d_logits, cache);
    optimizer.step();
    if (step % 50 == 0) std::printf("step %3u  loss %.4f\n", step, loss);
  }
}
