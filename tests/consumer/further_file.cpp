// SPDX-License-Identifier: MIT
// A further file of a program: it trains a net that another file makes. What the check of the compiler's time compiles.
#include <heed/heed.hpp>
using namespace heed;
AnyLayer<float, 4, 2> make_net();
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
