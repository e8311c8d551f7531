// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/load_columns.hpp>
#include <heed/kernels/pack.hpp>

namespace heed::inline HEED_ABI::kernels {

// One row times the transpose of a matrix that lies row by row: a query with its keys, a linear layer with one row. Nothing is packed: columns of `lanes` rows are
// made in registers on the way. Sums are in T, in the order of a register tile.
//
// Emerald Rapids, one thread, nanoseconds a KB of the matrix: 20 from L1 (a chain of one FMA a column), 23 from L2, 34 from L3; packing alone takes 19 (L1 to L1), 32
// and 85. Dot products along the rows would take 13, 16 and 25, with other bits than a row has among others. Two blocks of rows at a time: 20, 26, 41.

namespace detail {

/// `Fetches`: asks for the lines of the next rows meanwhile.
template <class T, bool Fetches>
struct RowProducts {
  template <class Isa>
  HEED_INLINE static void run(const RowsSource<T>* rows, const T* x, T* products, Index padded) {
    using P = Packet<Isa, T>;
    constexpr Index lanes = P::lanes, group = kColumns<Isa, T>;
    const RowsSource<T>& y = *rows;
    for (Index j = 0; j < padded; j += lanes) {
      P sum = P::zero();
      Index d = 0;
      for (; j + lanes <= y.rows && !y.flags && d + group <= y.cols; d += group) {
        P factors[group], columns[group];
        load_factors<Isa>(x + d, factors);
        if constexpr (Fetches)  // those of as many rows as there are columns
#pragma GCC unroll 4
          for (Index c = 0; c < group; ++c) ask_for<P::lanes>(y.data + (j + lanes + d % lanes + c) * y.row + d / lanes * lanes);
        load_columns<Isa>(y.data + j * y.row + d, y.row, columns);
#pragma GCC unroll 4
        for (Index c = 0; c < group; ++c) sum = P::fma(factors[c], columns[c], sum);
      }
      for (; d < y.cols; d += lanes) {
        P block[lanes];
        PackTransposed<T>::template load_block<Isa>(y, j, d, block);
        for (Index c = 0; c < std::min(lanes, y.cols - d); ++c) sum = P::fma(P::broadcast(x[d + c]), block[c], sum);
      }
      sum.store(products + j);
    }
  }
};

}  // namespace detail

/// products[j] = Σ x[d] y[j][d], the same bits as `multiply_tiles` gives. `padded` of them, whole vectors; those without a y[j], or whose flag is 0, are zeros.
/// `fetches`: short rows that come from beyond L2 (keys of 64 and 128 features 1.05 to 1.25 times as fast; in L2, and rows of 768 and more numbers, 0.8 to 0.9).
template <class T>
void row_product(const T* x, const detail::RowsSource<T>& y, T* products, Index padded, bool fetches = false) {
  if (fetches)
    dispatch<detail::RowProducts<T, true>, T>(&y, x, products, padded);
  else
    dispatch<detail::RowProducts<T, false>, T>(&y, x, products, padded);
}
HEED_COMPILE_ONCE(row_product);

}  // namespace heed::inline HEED_ABI::kernels
