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

/// Sums of products of `Rows` rows x with columns, which are rows y in the lanes of a vector.
template <class Isa, class T, int Rows, bool Fetches>
struct ColumnProducts {
  using P = Packet<Isa, T>;

  const T* x[Rows];
  const T* next = nullptr;  ///< with `Fetches` the rows that come next are asked for, as many as there are columns each time
  Index next_row = 0;
  P sums[Rows] = {};

  HEED_INLINE void take(Index first, Index begin, Index end, const P (&columns)[kColumns<Isa, T>]) {
    constexpr Index count = kColumns<Isa, T>;
    if constexpr (Fetches)
#pragma GCC unroll 4
      for (Index c = 0; c < count; ++c) ask_for<P::lanes>(next + (first % P::lanes + c) * next_row + first / P::lanes * P::lanes);
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
      for (Index c = 0; c < count; ++c)
        if (begin <= c && c < end) sums[r] = P::fma(P::broadcast(x[r][first + c]), columns[c], sums[r]);
  }
};

/// Adds to `products` those with the rows of y from `j` on; lanes without a row are zeros.
template <class Isa, class T, class Products>
HEED_INLINE void multiply_rows(const RowsSource<T>& y, Index j, Products& products) {
  if (fills_lanes<Isa>(y, j)) return for_columns<Isa, T>(RegularRows<T>{y.data + j * y.row, y.row}, y.cols, products);
  const LaneRows<Isa, T> rows(y, j);
  if (rows.any) for_columns<Isa, T>(rows, y.cols, products);
  for (auto& sum : products.sums) sum = rows.keep(sum);
}

/// `Fetches`: asks for the lines of the next rows meanwhile.
template <class T, bool Fetches>
struct RowProducts {
  template <class Isa>
  HEED_INLINE static void run(const RowsSource<T>* rows, const T* x, T* products, Index padded) {
    constexpr Index lanes = Packet<Isa, T>::lanes;
    for (Index j = 0; j < padded; j += lanes) {
      ColumnProducts<Isa, T, 1, Fetches> block{.x = {x}, .next = rows->data + (j + lanes) * rows->row, .next_row = rows->row};
      multiply_rows<Isa>(*rows, j, block);
      block.sums[0].store(products + j);
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
