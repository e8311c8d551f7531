// SPDX-License-Identifier: MIT
// A temporary is gone whether it is const or not; a row vector is one, too.
// expect: heed: wrap looks at the elements, and those of a temporary are gone
#include <heed/core/tensor.hpp>

const Eigen::RowVectorXf made();

float first() {
#ifdef RIGHT
  const Eigen::RowVectorXf row = made();
  return heed::wrap(row)(0, 0);
#else
  heed::wrap(made());
  return 0;
#endif
}
