// SPDX-License-Identifier: MIT
// A tensor owns elements that it may write; what is only read is a view.
// expect: heed::Tensor: T must not be const, and the rank 1 to 8
#include <heed/core/tensor.hpp>

#ifdef RIGHT
heed::TensorView<const float, 2> x;
#else
heed::Tensor<const float, 2> x;
#endif
