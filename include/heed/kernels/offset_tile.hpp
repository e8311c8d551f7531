// SPDX-License-Identifier: MIT
#pragma once

#include <bit>

#include <heed/kernels/tile.hpp>

namespace heed::inline HEED_ABI::kernels {

/// `length` steps of a sum whose left factors start at `offset`.
struct Segment {
  Index offset, length;
};

/// A product whose left operand is read in place through offsets, for matrices that lie in memory only in pieces (image patches):
///
///     c[c_offset[i] + j] = sum over segments s, steps t of  a[a_offset[i] + s.offset + t * a_step] * b[k * b_step + j]  + added[i * added_row + j]
///
/// for i in [0, rows) and j in [0, cols), where k counts the steps of all segments. b is one packed panel (see `pack_panels`).
/// Each sum runs over k in order, so a result does not depend on where in a tile it was computed.
template <class T>
struct OffsetProduct {
  Index rows, cols;
  const T* a;
  const Index* a_offset;
  Index a_step;
  const Segment* segments;
  Index segment_count;
  const T* b;
  Index b_step;
  const T* added;  ///< whole panels are read: pad it
  Index added_row;
  T* c;
  const Index* c_offset;
  Index ahead = 0;  ///< of what is written, see `fetch_distance`
};

namespace detail {

/// A walk over rows that start anywhere, see RowStride.
template <class T, int Rows>
struct RowOffsets {
  static constexpr int steps = 2;
  const T *first, *second;
  Index two_steps;
  Index offset[Rows];

  /// To the steps from p on, `step` apart.
  HEED_INLINE void start(const T* p, Index step) { first = p, second = p + step, two_steps = 2 * step; }
  template <int Ahead>
  HEED_INLINE const T* at(int i) const {
    return (Ahead ? second : first) + offset[i];
  }
  HEED_INLINE void next() {
    first += two_steps, second += two_steps;
    keep_in_register(first), keep_in_register(second);
  }
};

template <class Isa, class T, int Vectors>
struct OffsetPanel {
  using P = Packet<Isa, T>;
  const OffsetProduct<T>& p;

  template <int Rows>
  HEED_INLINE void tile(Index row) const {
    P acc[Rows][Vectors];
    RowOffsets<T, Rows> walk;
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i) {
      walk.offset[i] = p.a_offset[row + i];
#pragma GCC unroll 8
      for (int j = 0; j < Vectors; ++j) acc[i][j] = P::zero();
    }
    const T* b = p.b;
    for (Index s = 0; s < p.segment_count; b += p.segments[s].length * p.b_step, ++s) {
      walk.start(p.a + p.segments[s].offset, p.a_step);
      multiply_tile<Isa, T, Rows, Vectors>(p.segments[s].length, walk, b, p.b_step, acc);
    }
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < Vectors; ++j) acc[i][j] = acc[i][j] + P::load(p.added + (row + i) * p.added_row + j * P::lanes);
    if (p.ahead > 0)
#pragma GCC unroll 16
      for (int i = 0; i < Rows; ++i) ask_for<Vectors * P::lanes, 2>(p.c + p.c_offset[row + i] + p.ahead);
    if (p.cols >= Vectors * P::lanes) {
#pragma GCC unroll 16
      for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < Vectors; ++j) acc[i][j].store(p.c + p.c_offset[row + i] + j * P::lanes);
    } else {
      T spill[Rows][Vectors * P::lanes];
#pragma GCC unroll 16
      for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < Vectors; ++j) acc[i][j].store(spill[i] + j * P::lanes);
      for (int i = 0; i < Rows; ++i) copy_few<std::bit_ceil<unsigned>(Vectors * P::lanes)>(spill[i], p.c + p.c_offset[row + i], p.cols);
    }
  }
};

template <class T>
struct MultiplyOffsets {
  /// A panel that is not full takes the vectors that it needs. Where the CPU halves 64-byte ones, half as wide ones do with less: 24 channels are 3 of
  /// them, with 9 rows in the 32 registers (72 -> 104 GFLOP/s of 117 on Zen 4; on Granite Rapids it would be 190 -> 110 of 240).
  template <class Isa>
  HEED_INLINE static void run(const OffsetProduct<T>* p) {
    constexpr int rows = TileShape<Isa>::rows, vectors = TileShape<Isa>::vectors;
    constexpr Index lanes = Packet<Isa, T>::lanes;
    if constexpr (std::is_same_v<Isa, Avx512>)
      if (halves_wide_vectors()) {
        if (p->cols <= lanes / 2) return for_row_tiles<rows>(p->rows, false, OffsetPanel<Avx2, T, 1>{*p});
        if (p->cols > lanes && p->cols <= lanes + lanes / 2) return for_row_tiles<9>(p->rows, false, OffsetPanel<Avx2, T, 3>{*p});
      }
    if (p->cols > lanes)
      for_row_tiles<rows>(p->rows, false, OffsetPanel<Isa, T, vectors>{*p});
    else
      for_row_tiles<rows>(p->rows, false, OffsetPanel<Isa, T, 1>{*p});
  }
};

}  // namespace detail

/// Runs the product on the calling thread with the best instruction set.
template <class T>
void multiply_offsets(const OffsetProduct<T>& product) {
  dispatch<detail::MultiplyOffsets<T>, T>(&product);
}
HEED_COMPILE_ONCE(multiply_offsets);

}  // namespace heed::inline HEED_ABI::kernels
