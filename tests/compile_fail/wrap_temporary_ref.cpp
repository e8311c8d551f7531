// SPDX-License-Identifier: MIT
// An Eigen::Ref<const ...> may hold a copy of its own, so a temporary one is refused, too; const does not help.
// expect: heed: wrap looks at the elements, and those of a temporary are gone
#include <heed/core/tensor.hpp>

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

float first(const Matrix& matrix) {
#ifdef RIGHT
  const Eigen::Ref<const Matrix> reference(matrix);
  return heed::wrap(reference)(0, 0);
#else
  heed::wrap(Eigen::Ref<const Matrix>(matrix));
  return 0;
#endif
}
