// SPDX-License-Identifier: MIT
// The cache looks at the input until backward has run: a temporary would be gone by then.
// expect: heed: the cache looks at the input until backward has run
#include <heed/layers/linear.hpp>

void step(heed::Linear<float>& layer, heed::Linear<float>::Cache& cache) {
#ifdef RIGHT
  const heed::Tensor<float, 2> x({4, 8});
  layer.forward(x, cache);
#else
  layer.forward(heed::Tensor<float, 2>({4, 8}), cache);
#endif
}
