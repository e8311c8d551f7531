// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/load_columns.hpp>
#include <heed/kernels/pack.hpp>

namespace heed::inline HEED_ABI::kernels {

// A few rows times the transpose of a matrix that lies row by row: queries with their keys, a linear layer of a few rows. Nothing is packed: columns of `lanes` rows are
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

/// Where the products of rows go.
template <class T>
struct ProductRows {
  T* data;
  Index row, cols;          ///< elements from row to row, and of each
  bool accumulate = false;  ///< they are added to what is there
  const T* bias = nullptr;  ///< added before that, if not null: `cols` numbers
};

/// `count` rows x, `Rows` at most. `Fetches`: asks for the lines of the next rows y meanwhile.
template <class T, int Rows, bool Fetches>
struct RowProducts {
  template <class Isa>
  HEED_INLINE static void run(Index count, const T* x, Index x_row, const RowsSource<T>* rows, const ProductRows<T>* products) {
    using P = Packet<Isa, T>;
    const ProductRows<T>& c = *products;
    for (Index j = 0; j < c.cols; j += P::lanes) {
      ColumnProducts<Isa, T, Rows, Fetches> block{.x = {}, .next = rows->data + (j + P::lanes) * rows->row, .next_row = rows->row};
#pragma GCC unroll 4
      for (int r = 0; r < Rows; ++r) block.x[r] = x + std::min<Index>(r, count - 1) * x_row;
      multiply_rows<Isa>(*rows, j, block);
      const Index left = c.cols - j;
#pragma GCC unroll 4
      for (int r = 0; r < Rows; ++r) {
        if (r == count) break;
        T* target = c.data + r * c.row + j;
        if (c.bias) block.sums[r] = block.sums[r] + P::load_partial(c.bias + j, left);
        if (c.accumulate) block.sums[r] = block.sums[r] + P::load_partial(target, left);
        block.sums[r].store_partial(target, left);
      }
    }
  }
};

}  // namespace detail

/// The most rows that `row_products` takes.
inline constexpr int kProductRows = 4;

/// products[i][j] = Σ x[i][d] y[j][d] for `rows` rows x, the same bits as `multiply_tiles` gives; without a y[j], or where its flag is 0, the sum is 0.
/// `fetches`: short rows that come from beyond L2 (keys of 64 and 128 features 1.05 to 1.25 times as fast; in L2, and rows of 768 and more numbers, 0.8 to 0.9).
template <class T>
void row_products(
    Index rows, const T* x, Index x_row, const detail::RowsSource<T>& y, const detail::ProductRows<T>& products, bool fetches = false) {
  HEED_ASSERT(0 < rows && rows <= kProductRows);
  const auto run = [&](auto known) {
    constexpr bool kFetches = decltype(known)::value;
    if (rows > 1)
      dispatch<detail::RowProducts<T, kProductRows, kFetches>, T>(rows, x, x_row, &y, &products);
    else
      dispatch<detail::RowProducts<T, 1, kFetches>, T>(rows, x, x_row, &y, &products);
  };
  fetches ? run(std::true_type()) : run(std::false_type());
}
HEED_COMPILE_ONCE(row_products);

}  // namespace heed::inline HEED_ABI::kernels
