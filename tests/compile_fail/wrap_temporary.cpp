// SPDX-License-Identifier: MIT
// The elements of a temporary matrix would be gone before the view is used.
// expect: heed: wrap looks at the elements, and those of a temporary are gone
#include <heed/core/tensor.hpp>

using RowMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

heed::Index rows(const RowMajor& a, const RowMajor& b) {
#ifdef RIGHT
  const RowMajor product = a * b;
  return heed::wrap(product).rows();
#else
  return heed::wrap(RowMajor(a * b)).rows();
#endif
}
