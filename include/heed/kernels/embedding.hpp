// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>

#include <heed/core/parallel.hpp>
#include <heed/core/simd.hpp>

// A table of rows x width, row after row, read by whole numbers.

namespace heed::inline HEED_ABI::kernels {

/// The position of the first number that is no row, `count` if all are.
inline Index first_outside(Index count, const std::int64_t* numbers, Index rows) {
  Index i = 0;
  while (i < count && numbers[i] >= 0 && numbers[i] < rows) ++i;
  return i;
}

/// y[i] = table[numbers[i]] for each i < count; every number is a row of the table. Parallel over i.
template <class T>
void embedding_forward(Index count, Index width, const std::int64_t* numbers, const T* table, T* y) {
  parallel_for(count, 1 + 16384 / width, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) std::copy_n(table + numbers[i] * width, width, y + i * width);
  });
}
HEED_COMPILE_ONCE(embedding_forward);

namespace detail {

/// Columns of one thread: four cache lines of float, so that threads share none.
inline constexpr Index kEmbeddingColumns = 64;
/// Neighbouring rows that belong to one thread, for the same reason where rows are short.
inline constexpr Index kEmbeddingRows = 16;

template <class T>
struct AddToTable {
  template <class Isa>
  HEED_INLINE static void run(
      Index count, Index width, Index columns, const std::int64_t* numbers, Index part, Index parts, const T* dy, Index skip, T* d_table) {
    using P = Packet<Isa, T>;
    for (Index i = 0; i < count; ++i, dy += width) {
      if (numbers[i] == skip || (numbers[i] / kEmbeddingRows & (parts - 1)) != part) continue;
      T* row = d_table + numbers[i] * width;
      for (Index j = 0; j < columns; j += P::lanes)
        (P::load_partial(row + j, columns - j) + P::load_partial(dy + j, columns - j)).store_partial(row + j, columns - j);
    }
  }
};

}  // namespace detail

/// d_table[numbers[i]] += dy[i] for each i, but for those whose number is `skip` (-1: none). Parallel over columns and, where those are few, over the rows of
/// the table, each thread looking at all numbers: so each sum is taken in the order of i, whatever the number of threads, and no two threads write to one place.
template <class T>
void embedding_backward(Index count, Index width, const std::int64_t* numbers, const T* dy, Index skip, T* d_table) {
  const Index blocks = (width + detail::kEmbeddingColumns - 1) / detail::kEmbeddingColumns;
  Index parts = 1;
  while (blocks * parts < thread_count() && count * width >= (Index{1} << 16) * parts) parts *= 2;
  parallel_for(blocks * parts, 1, [&](Index begin, Index end) {
    for (Index job = begin; job < end; ++job) {
      const Index first = job / parts * detail::kEmbeddingColumns;
      dispatch<detail::AddToTable<T>, T>(
          count, width, std::min(detail::kEmbeddingColumns, width - first), numbers, job % parts, parts, dy + first, skip, d_table + first);
    }
  });
}
HEED_COMPILE_ONCE(embedding_backward);

}  // namespace heed::inline HEED_ABI::kernels
