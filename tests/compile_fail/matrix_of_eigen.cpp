// SPDX-License-Identifier: MIT
// expect: heed: forward takes the layer's scalar and axes.*wrap.matrix.
#include <heed/layers/multi_head_attention.hpp>

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
heed::Tensor<float, 3> attend(const heed::MultiHeadAttention<float>& layer, const Matrix& tokens) {
#ifdef RIGHT
  return layer.forward(heed::wrap(tokens).reshaped<3>({1, tokens.rows(), tokens.cols()}));
#else
  return layer.forward(tokens);
#endif
}
