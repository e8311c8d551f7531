// SPDX-License-Identifier: MIT
// A column-major matrix cannot be looked at as rows x features without a copy; `copy` says that it makes one.
// expect: heed::copy makes a row-major copy of any Eigen expression
#include <heed/core/tensor.hpp>

heed::Index rows(const Eigen::MatrixXf& matrix) {
#ifdef RIGHT
  return heed::copy(matrix).rows();
#else
  return heed::wrap(matrix).rows();
#endif
}
