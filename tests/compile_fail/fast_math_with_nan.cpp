// SPDX-License-Identifier: MIT
// Sums must stay as they are written, also where NaN and -inf do mean something.
// expect: heed: -funsafe-math-optimizations and -fassociative-math let the compiler reorder sums
// flags: -ffast-math -fno-finite-math-only
#include <heed/core/tensor.hpp>
