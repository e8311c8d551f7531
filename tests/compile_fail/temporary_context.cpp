// SPDX-License-Identifier: MIT
// Both inputs of the output projection must outlive the cache.
// expect: heed: the cache looks at the inputs until backward has run
#include <heed/layers/output_projection.hpp>

using Projection = heed::OutputProjection<float>;

void step(Projection& layer, const heed::Tensor<float, 2>& x, Projection::Cache& cache) {
#ifdef RIGHT
  const heed::Tensor<float, 2> context({4, 8});
  layer.forward(context, x, cache);
#else
  layer.forward(heed::Tensor<float, 2>({4, 8}), x, cache);
#endif
}
