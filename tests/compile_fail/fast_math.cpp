// SPDX-License-Identifier: MIT
// NaN and -inf must mean something.
// expect: heed: -ffast-math and -ffinite-math-only let the compiler assume
// flags: -ffast-math
#include <heed/core/tensor.hpp>
