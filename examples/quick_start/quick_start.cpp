// SPDX-License-Identifier: MIT
#include <cstdio>
#include <heed/heed.hpp>
using namespace heed;
int main() {  // Token 0 names one of the 7 tokens behind it: which of four values does that one hold?
  Sequential model(Linear<float>({.in_features = 12, .out_features = 32}),
      TransformerEncoderLayer<float>({.d_model = 32, .nhead = 4, .dim_feedforward = 64, .dropout = 0, .norm_first = true}),
      SequencePool<float>({.features = 32}), Linear<float>({.in_features = 32, .out_features = 4}));
  AdamW<float> optimizer(named_parameters(model), {.learning_rate = 3e-3});
  decltype(model)::Cache cache;  // what backward needs belongs to the caller
  Tensor<float, 2> d_logits;
  for (unsigned step = 0, right = 0; step <= 250; ++step, right = 0) {
    Tensor<float, 3> x({64, 8, 12});  // 64 sequences of 8 tokens; features: names 0 ... 7, values 0 ... 3
    const CounterRandom random({step});
    std::vector<unsigned> value(64 * 8), answer(64);
    for (unsigned i = 0; i < 64 * 8; ++i) x[12 * i + i % 8] = x[12 * i + 8 + (value[i] = unsigned(random.below(i, 4)))] = 1;
    for (unsigned n = 0, named; n < 64; ++n) x(n, 0, named = 1 + unsigned(random.below(999 + n, 7))) = 1, answer[n] = value[8 * n + named];
    const auto logits = model.forward(x, cache);
    const double loss = CrossEntropyLoss<float>()(logits, answer, d_logits);
    optimizer.zero_gradients();
    model.backward(d_logits, cache);
    optimizer.step();
    for (unsigned n = 0, best; n < 64; ++n) logits.matrix().row(n).maxCoeff(&best), right += best == answer[n];
    if (step % 50 == 0) std::printf("step %3u  loss %.4f  right %3u of 64\n", step, loss, right);
  }
}
