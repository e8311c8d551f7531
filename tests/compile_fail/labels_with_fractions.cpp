// SPDX-License-Identifier: MIT
// Classes are counted: a vector of floats is taken for a mistake.
// expect: classes are whole numbers
#include <heed/losses/cross_entropy.hpp>

double loss(const heed::Tensor<float, 2>& logits, heed::Tensor<float, 2>& d_logits) {
#ifdef RIGHT
  const std::vector<int> labels{1, 0};
#else
  const std::vector<float> labels{1, 0};
#endif
  return heed::CrossEntropyLoss<float>()(logits, labels, d_logits);
}
