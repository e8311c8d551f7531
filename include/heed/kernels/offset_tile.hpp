// SPDX-License-Identifier: MIT
#pragma once

#include <heed/kernels/channel_sweep.hpp>
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

/// The accumulators of one row: `Vectors` packets, and one of half the width if `Half`.
template <class Isa, class T, int Vectors, bool Half>
struct RowSums {
  using P = Packet<Isa, T>;
  using H = Packet<typename Narrower<Isa>::type, T>;
  static constexpr int vectors = Vectors, columns = Vectors * P::lanes + (Half ? H::lanes : 0);

  P full[Vectors > 0 ? Vectors : 1];
  H half;

  HEED_INLINE void load(const T* p) {
#pragma GCC unroll 8
    for (int j = 0; j < Vectors; ++j) full[j] = P::load(p + j * P::lanes);
    if constexpr (Half) half = H::load(p + Vectors * P::lanes);
  }
  HEED_INLINE void store(T* p) const {
#pragma GCC unroll 8
    for (int j = 0; j < Vectors; ++j) full[j].store(p + j * P::lanes);
    if constexpr (Half) half.store(p + Vectors * P::lanes);
  }
  HEED_INLINE void add_product(const T& a, const RowSums& b) {
    if constexpr (Vectors > 0) {
      const P factor = P::broadcast(a);
#pragma GCC unroll 8
      for (int j = 0; j < Vectors; ++j) full[j] = P::fma(factor, b.full[j], full[j]);
    }
    if constexpr (Half) half = H::fma(H::broadcast(a), b.half, half);
  }
};

/// Copies channels; the body for `sweep_channels`.
template <class T>
struct CopyColumns {
  const T* from;
  T* to;

  template <class P>
  HEED_INLINE void at(Index column) const {
    P::load(from + column).store(to + column);
  }
};

struct MultiplyOffsets {
  template <class Isa, class T, int Rows, class Sums>
  HEED_INLINE static void tile(const OffsetProduct<T>& p, Index row) {
    Sums sums[Rows];
    Index offset[Rows];
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i) {
      offset[i] = p.a_offset[row + i];
      sums[i].load(p.start + (row + i) * p.start_row);
    }
    const T* b = p.b;
    const Index a_step = p.a_step, b_step = p.b_step;
    for (Index s = 0; s < p.segment_count; ++s) {
      const T* a = p.a + p.segments[s].offset;
      const T* const end = b + p.segments[s].length * b_step;
      for (; b != end; b += b_step, a += a_step) {
        Sums bv;
        bv.load(b);
#pragma GCC unroll 16
        for (int i = 0; i < Rows; ++i) sums[i].add_product(a[offset[i]], bv);
      }
    }
    if (p.cols >= Sums::columns) {
#pragma GCC unroll 16
      for (int i = 0; i < Rows; ++i) sums[i].store(p.c + p.c_offset[row + i]);
    } else {
      T spill[Rows][TileShape<Isa>::vectors * Packet<Isa, T>::lanes];
#pragma GCC unroll 16
      for (int i = 0; i < Rows; ++i) sums[i].store(spill[i]);
      for (int i = 0; i < Rows; ++i) sweep_channels<Isa, T>(0, p.cols, CopyColumns<T>{spill[i], p.c + p.c_offset[row + i]});
    }
  }

  template <class Isa, class T, int Rows, class Sums>
  HEED_INLINE static void row_tiles(const OffsetProduct<T>& p, Index& row) {
    if constexpr (Rows <= TileShape<Isa>::rows)
      for (; row + Rows <= p.rows; row += Rows) tile<Isa, T, Rows, Sums>(p, row);
  }

  template <class Isa, class T, int Vectors, bool Half>
  HEED_INLINE static void panel(const OffsetProduct<T>& p) {
    using Sums = RowSums<Isa, T, Vectors, Half>;
    Index row = 0;
    row_tiles<Isa, T, TileShape<Isa>::rows, Sums>(p, row);
    row_tiles<Isa, T, 8, Sums>(p, row);
    row_tiles<Isa, T, 4, Sums>(p, row);
    row_tiles<Isa, T, 2, Sums>(p, row);
    row_tiles<Isa, T, 1, Sums>(p, row);
  }

  template <class T>
  struct Of {
    /// A panel that is not full takes the vectors that it needs. With 64-byte ones, half a vector is worth telling apart: 24 channels take
    /// 3 halves instead of 4 on CPUs that run them in two halves (Zen 4: 72 -> 96 GFLOP/s), and cost the same on others.
    template <class Isa>
    HEED_INLINE static void run(const OffsetProduct<T>* p) {
      constexpr Index lanes = Packet<Isa, T>::lanes, full = TileShape<Isa>::vectors;
      if constexpr (std::is_same_v<Isa, Avx512>) {
        if (p->cols <= lanes / 2) return panel<Isa, T, 0, true>(*p);
        if (p->cols > lanes && p->cols <= lanes + lanes / 2) return panel<Isa, T, 1, true>(*p);
      }
      if (p->cols > lanes)
        panel<Isa, T, full, false>(*p);
      else
        panel<Isa, T, 1, false>(*p);
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
