// SPDX-License-Identifier: MIT
// Sums must stay as they are written.
// expect: heed: -funsafe-math-optimizations and -fassociative-math let the compiler reorder sums
// flags: -fassociative-math -fno-signed-zeros -fno-trapping-math
#include <heed/core/tensor.hpp>
