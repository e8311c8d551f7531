// SPDX-License-Identifier: MIT
// A column-major matrix cannot be looked at as rows x features without a copy; `copy` says that it makes one.
// expect: no matching function for call to '?‘?wrap
#include <heed/core/tensor.hpp>

heed::Index rows(const Eigen::MatrixXf& matrix) {
#ifdef RIGHT
  return heed::copy(matrix).rows();
#else
  return heed::wrap(matrix).rows();
#endif
}
