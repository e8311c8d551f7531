// SPDX-License-Identifier: MIT
#pragma once

#include <vector>

#include <heed/core/shape.hpp>

// The product of two matrices as three loops in long double.
namespace reference {

/// C (rows x cols) = A B, with A(i, k) at a[i * a_row + k * a_col] and B(k, j) at b[k * b_row + j * b_col].
template <class T>
std::vector<long double> gemm(heed::Index rows, heed::Index cols, heed::Index depth, const T* a, heed::Index a_row, heed::Index a_col,
    const T* b, heed::Index b_row, heed::Index b_col) {
  std::vector<long double> c(static_cast<std::size_t>(rows * cols));
  for (heed::Index i = 0; i < rows; ++i)
    for (heed::Index j = 0; j < cols; ++j)
      for (heed::Index k = 0; k < depth; ++k)
        c[static_cast<std::size_t>(i * cols + j)] +=
            static_cast<long double>(a[i * a_row + k * a_col]) * static_cast<long double>(b[k * b_row + j * b_col]);
  return c;
}

}  // namespace reference
