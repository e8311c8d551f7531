// SPDX-License-Identifier: MIT
// A const tensor hands out const elements.
// expect: read-only|not assignable|const-qualified|returns a const value
#include <heed/core/tensor.hpp>

#ifdef RIGHT
void clear(heed::Tensor<float, 2>& x) { x(0, 0) = 0; }
#else
void clear(const heed::Tensor<float, 2>& x) { x(0, 0) = 0; }
#endif
