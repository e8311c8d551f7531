// SPDX-License-Identifier: MIT
// expect: heed::TensorView: give one position for each axis
#include <heed/core/tensor.hpp>

float corner(const heed::Tensor<float, 3>& x) {
#ifdef RIGHT
  return x(0, 0, 0);
#else
  return x(0, 0);
#endif
}
