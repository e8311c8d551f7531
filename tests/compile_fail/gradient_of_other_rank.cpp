// SPDX-License-Identifier: MIT
// Logits of images, one class a pixel: their gradient has as many axes.
// expect: heed: a loss and its gradient have one scalar and one number of axes
#include <heed/losses/cross_entropy.hpp>

#include <vector>

double loss(const heed::Tensor<float, 4>& logits, const std::vector<int>& labels) {
#ifdef RIGHT
  heed::Tensor<float, 4> d_logits;
#else
  heed::Tensor<float, 2> d_logits;
#endif
  return heed::CrossEntropyLoss<float>()(logits, labels, d_logits);
}
