// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/parallel.hpp>
#include <heed/core/simd.hpp>

namespace heed::inline HEED_ABI::kernels {

namespace detail {

template <class T>
struct AddRows {
  /// sums[j] += x[i * row + j] for all rows, a few vectors of columns at a time so that the sums stay in registers.
  template <class Isa>
  HEED_INLINE static void run(Index rows, Index cols, const T* x, Index row, T* sums) {
    using P = Packet<Isa, T>;
    constexpr Index lanes = P::lanes, width = 4 * lanes;
    Index j = 0;
    for (; j + width <= cols; j += width) {
      P s0 = P::load(sums + j), s1 = P::load(sums + j + lanes), s2 = P::load(sums + j + 2 * lanes), s3 = P::load(sums + j + 3 * lanes);
      for (Index i = 0; i < rows; ++i) {
        const T* p = x + i * row + j;
        s0 = s0 + P::load(p), s1 = s1 + P::load(p + lanes), s2 = s2 + P::load(p + 2 * lanes), s3 = s3 + P::load(p + 3 * lanes);
      }
      s0.store(sums + j), s1.store(sums + j + lanes), s2.store(sums + j + 2 * lanes), s3.store(sums + j + 3 * lanes);
    }
    for (; j + lanes <= cols; j += lanes) {
      P s = P::load(sums + j);
      for (Index i = 0; i < rows; ++i) s = s + P::load(x + i * row + j);
      s.store(sums + j);
    }
    for (; j < cols; ++j)
      for (Index i = 0; i < rows; ++i) sums[j] += x[i * row + j];
  }
};

template <class T>
struct AddRowProducts {
  /// sums[j] += x[i * x_row + j] * y[i * y_row + j] for all rows, one vector of columns at a time.
  template <class Isa>
  HEED_INLINE static void run(Index rows, Index cols, const T* x, Index x_row, const T* y, Index y_row, T* sums) {
    using P = Packet<Isa, T>;
    for (Index j = 0; j < cols; j += P::lanes) {
      const Index left = cols - j;
      P s = P::load_partial(sums + j, left);
      for (Index i = 0; i < rows; ++i) s = P::fma(P::load_partial(x + i * x_row + j, left), P::load_partial(y + i * y_row + j, left), s);
      s.store_partial(sums + j, left);
    }
  }
};

}  // namespace detail

/// sums[j] += sum over i of x[i * row + j] (the gradient of a bias). Parallel over fixed shards of rows, folded in order.
template <class T>
void add_column_sums(Index rows, Index cols, const T* x, Index row, T* sums) {
  parallel_sum(rows, std::max<Index>(1, 16384 / std::max<Index>(cols, 1)), cols, sums,
      [&](Index begin, Index end, T* partial) { dispatch<detail::AddRows<T>, T>(end - begin, cols, x + begin * row, row, partial); });
}
HEED_COMPILE_ONCE(add_column_sums);

/// sums[j] += sum over i of x[i * x_row + j] * y[i * y_row + j] (the gradient of a factor that all rows share). Parallel over fixed shards of
/// rows, folded in order.
template <class T>
void add_column_products(Index rows, Index cols, const T* x, Index x_row, const T* y, Index y_row, T* sums) {
  parallel_sum(rows, std::max<Index>(1, 16384 / std::max<Index>(cols, 1)), cols, sums, [&](Index begin, Index end, T* partial) {
    dispatch<detail::AddRowProducts<T>, T>(end - begin, cols, x + begin * x_row, x_row, y + begin * y_row, y_row, partial);
  });
}
HEED_COMPILE_ONCE(add_column_products);

}  // namespace heed::inline HEED_ABI::kernels
