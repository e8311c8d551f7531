// SPDX-License-Identifier: MIT
// A net of three layers and its training step: what the checks of the compiler's time and of heed::compiled compile.
#include <heed/heed.hpp>
using namespace heed;
double step(const Tensor<float, 4>& x, const std::vector<int>& labels) {
  static Sequential net(Conv2d<float>({.in_channels = 3, .out_channels = 8, .kernel_size = 3}), Relu<float>(),
      MaxPool2d<float>({.kernel_size = 2}), Flatten<float>(), Linear<float>({.in_features = 8 * 15 * 15, .out_features = 10}));
  static AdamW<float> optimizer(named_parameters(net), {.learning_rate = 1e-3});
  decltype(net)::Cache cache;
  Tensor<float, 2> d_logits;
  optimizer.zero_gradients();
  const double loss = CrossEntropyLoss<float>()(net.forward(x, cache), labels, d_logits);
  net.backward(d_logits, cache);
  optimizer.step();
  return loss;
}
