// SPDX-License-Identifier: MIT
// A layer of floats, in a model, is given doubles to learn from.
// expect: heed: forward takes the layer's scalar and axes
#include <heed/compose/sequential.hpp>
#include <heed/layers/linear.hpp>

using Model = heed::Sequential<heed::Linear<float>, heed::Linear<float>>;
void learn(const Model& model, const heed::Tensor<double, 2>& x, Model::Cache& cache) {
#ifdef RIGHT
  heed::Tensor<float, 2> rounded(x.shape());
  rounded.matrix() = x.matrix().cast<float>();
  const auto y = model.forward(rounded, cache);
#else
  const auto y = model.forward(x, cache);
#endif
}
