// SPDX-License-Identifier: MIT
// NaN and -inf must mean something.
// expect: heed: -ffast-math and -ffinite-math-only let the compiler assume
#ifndef RIGHT
#define __FAST_MATH__ 1  // what -ffast-math defines
#endif
#include <heed/core/tensor.hpp>
