// SPDX-License-Identifier: MIT
// A net of three layers and its training step: what the checks of the compiler's time and of heed::compiled compile. With NET_ELSEWHERE it is a further file of a
// program, which trains a net that another file makes.
#include <heed/heed.hpp>
using namespace heed;
#if defined(NET_ELSEWHERE)
AnyLayer<float, 4, 2> make_net();
#else
static auto make_net() {
  return Sequential(Conv2d<float>({.in_channels = 3, .out_channels = 8, .kernel_size = 3}), Relu<float>(),
      MaxPool2d<float>({.kernel_size = 2}), Flatten<float>(), Linear<float>({.in_features = 8 * 15 * 15, .out_features = 10}));
}
#endif
double step(const Tensor<float, 4>& x, const std::vector<int>& labels) {
  static auto net = make_net();
  static AdamW<float> optimizer(named_parameters(net), {.learning_rate = 1e-3});
  decltype(net)::Cache cache;
  Tensor<float, 2> d_logits;
  optimizer.zero_gradients();
  const double loss = CrossEntropyLoss<float>()(net.forward(x, cache), labels, d_logits);
  net.backward(d_logits, cache);
  optimizer.step();
  return loss;
}
