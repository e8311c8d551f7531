// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/simd.hpp>

namespace heed::inline HEED_ABI::kernels {

namespace detail {

/// In eight sums that need not wait for each other (compilers make vectors of them).
template <class T>
struct SumSquares {
  template <class Isa>
  HEED_INLINE static void run(const T* x, Index count, double* sum) {
    double lanes[8] = {};
    Index i = 0;
    for (; i + 8 <= count; i += 8)
      for (int l = 0; l < 8; ++l) lanes[l] += static_cast<double>(x[i + l]) * static_cast<double>(x[i + l]);
    for (; i < count; ++i) lanes[i % 8] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    *sum = ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
  }
};

}  // namespace detail

/// The sum of x[i]^2 in double, on the calling thread and in a fixed order: gradients of 1e30 in float have a norm.
template <class T>
double sum_squares(Index count, const T* x) {
  double sum = 0;
  dispatch<detail::SumSquares<T>, T>(x, count, &sum);
  return sum;
}
HEED_COMPILE_ONCE(sum_squares);

}  // namespace heed::inline HEED_ABI::kernels
