// SPDX-License-Identifier: MIT
// NaN and -inf must mean something.
// expect: heed: -ffast-math and -ffinite-math-only let the compiler assume
// flags: -ffinite-math-only
#include <heed/core/tensor.hpp>
