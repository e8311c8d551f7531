// SPDX-License-Identifier: MIT
#pragma once

#include <heed/kernels/tile.hpp>

namespace heed::kernels {

/// `length` steps of a sum whose left factors start at `offset`.
struct Segment {
  Index offset, length;
};

/// A product whose left operand is read in place through offsets, for matrices that lie in memory only in pieces (image patches):
///
///     c[c_offset[i] + j] = start[i * start_row + j] + sum over segments s, steps t of  a[a_offset[i] + s.offset + t * a_step] * b[k * b_step + j]
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
  const T* start;  ///< whole panels are read: pad it
  Index start_row;
  T* c;
  const Index* c_offset;
};

namespace detail {

struct MultiplyOffsets {
  template <class Isa, class T, int Rows, int Vectors>
  HEED_INLINE static void tile(const OffsetProduct<T>& p, Index row) {
    using P = Packet<Isa, T>;
    P acc[Rows][Vectors];
    Index offset[Rows];
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i) {
      offset[i] = p.a_offset[row + i];
#pragma GCC unroll 8
      for (int j = 0; j < Vectors; ++j) acc[i][j] = P::load(p.start + (row + i) * p.start_row + j * P::lanes);
    }
    const T* b = p.b;
    const Index a_step = p.a_step, b_step = p.b_step;
    for (Index s = 0; s < p.segment_count; ++s) {
      const T* a = p.a + p.segments[s].offset;
      const T* const end = b + p.segments[s].length * b_step;
      for (; b != end; b += b_step, a += a_step) {
        P bv[Vectors];
#pragma GCC unroll 8
        for (int j = 0; j < Vectors; ++j) bv[j] = P::load(b + j * P::lanes);
#pragma GCC unroll 16
        for (int i = 0; i < Rows; ++i) {
          const P av = P::broadcast(a[offset[i]]);
#pragma GCC unroll 8
          for (int j = 0; j < Vectors; ++j) acc[i][j] = P::fma(av, bv[j], acc[i][j]);
        }
      }
    }
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
      for (int i = 0; i < Rows; ++i)
        for (Index n = 0; n < p.cols; ++n) p.c[p.c_offset[row + i] + n] = spill[i][n];
    }
  }

  template <class Isa, class T, int Rows, int Vectors>
  HEED_INLINE static void row_tiles(const OffsetProduct<T>& p, Index& row) {
    if constexpr (Rows <= TileShape<Isa>::rows)
      for (; row + Rows <= p.rows; row += Rows) tile<Isa, T, Rows, Vectors>(p, row);
  }

  template <class Isa, class T, int Vectors>
  HEED_INLINE static void panel(const OffsetProduct<T>& p) {
    Index row = 0;
    row_tiles<Isa, T, TileShape<Isa>::rows, Vectors>(p, row);
    row_tiles<Isa, T, 8, Vectors>(p, row);
    row_tiles<Isa, T, 4, Vectors>(p, row);
    row_tiles<Isa, T, 2, Vectors>(p, row);
    row_tiles<Isa, T, 1, Vectors>(p, row);
  }

  template <class T>
  struct Of {
    template <class Isa>
    HEED_INLINE static void run(const OffsetProduct<T>* p) {
      if (p->cols > Packet<Isa, T>::lanes)
        panel<Isa, T, TileShape<Isa>::vectors>(*p);
      else
        panel<Isa, T, 1>(*p);  // half a panel: half the work
    }
  };
};

}  // namespace detail

/// Runs the product on the calling thread with the best instruction set.
template <class T>
void multiply_offsets(const OffsetProduct<T>& product) {
  dispatch<detail::MultiplyOffsets::Of<T>, T>(&product);
}

}  // namespace heed::kernels
