// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/simd.hpp>

namespace heed::kernels {

/// The register tile of an instruction set: `rows` x `vectors` accumulators, one broadcast and `vectors` loads fit its registers.
/// Lab notes: 14 x 2 reaches 116 of 117 GFLOP/s from L1 on Zen 4 (AVX-512; 12 x 2 and 6 x 4 are equal, 8 x 3 is 3 % slower);
/// 6 x 2 reaches the peak on Zen 3 (AVX2). A 1- or 2-row tile waits for the FMA latency, so remainders go by 8, 4, 2, 1.
template <class Isa>
struct TileShape {
  static constexpr int rows = 6, vectors = 2;
};
template <>
struct TileShape<Avx512> {
  static constexpr int rows = 14, vectors = 2;
};
template <>
struct TileShape<Scalar> {
  static constexpr int rows = 2, vectors = 2;
};

/// acc[i][j] += sum over k of a[i * a_row + k * a_step] * b[k * b_step + j * lanes ...]: the one product of the library; GEMM, convolution
/// and attention are built on it. Each sum runs over k in order, so a result does not depend on where in a tile it was computed.
template <class Isa, class T, int Rows, int Vectors>
HEED_INLINE void multiply_tile(
    Index depth, const T* a, Index a_row, Index a_step, const T* b, Index b_step, Packet<Isa, T> (&acc)[Rows][Vectors]) {
  using P = Packet<Isa, T>;
  for (Index k = 0; k < depth; ++k) {
    P bv[Vectors];
#pragma GCC unroll 8
    for (int j = 0; j < Vectors; ++j) bv[j] = P::load(b + k * b_step + j * P::lanes);
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i) {
      const P av = P::load_broadcast(a + i * a_row + k * a_step);
#pragma GCC unroll 8
      for (int j = 0; j < Vectors; ++j) acc[i][j] = P::fma(av, bv[j], acc[i][j]);
    }
  }
}

/// A product of `rows` x `depth` by `depth` x `cols`: C = A B or C += A B. A is read in place through two strides (a row-major block, or the
/// transpose of one), B is packed in panels (see `pack_panels`).
template <class T>
struct BlockProduct {
  Index rows, cols, depth;
  const T* a;
  Index a_row, a_step;
  const T* b;
  T* c;
  Index c_row;
  bool accumulate;
};

namespace detail {
template <class T>
struct TileSize {
  template <class Isa>
  HEED_INLINE static void run(Index* rows, Index* width) {
    *rows = TileShape<Isa>::rows;
    *width = TileShape<Isa>::vectors * Packet<Isa, T>::lanes;
  }
};
}  // namespace detail

/// Rows of a register tile, for the instruction set in use.
template <class T>
Index tile_rows() {
  Index rows = 0, width = 0;
  dispatch<detail::TileSize<T>, T>(&rows, &width);
  return rows;
}

/// Columns of a register tile, which is a packed panel of B, for the instruction set in use.
template <class T>
Index panel_width() {
  Index rows = 0, width = 0;
  dispatch<detail::TileSize<T>, T>(&rows, &width);
  return width;
}

/// Elements that a packed B of `depth` x `cols` takes.
inline Index packed_size(Index depth, Index cols, Index width) { return depth * ((cols + width - 1) / width * width); }

/// Packs columns of B (element (k, n) at b[k * b_row + n * b_col]) into panels of `width` columns, [panel][k][column], zero-padded.
template <class T>
void pack_panels(Index depth, Index cols, const T* b, Index b_row, Index b_col, Index width, T* packed) {
  for (Index n = 0; n < cols; n += width, packed += depth * width) {
    const Index valid = width < cols - n ? width : cols - n;
    if (b_col == 1) {
      for (Index k = 0; k < depth; ++k) {
        const T* source = b + k * b_row + n;
        T* target = packed + k * width;
        for (Index j = 0; j < valid; ++j) target[j] = source[j];
        for (Index j = valid; j < width; ++j) target[j] = T(0);
      }
    } else {
      for (Index j = 0; j < width; ++j) {
        const T* source = b + (n + j) * b_col;
        if (j < valid)
          for (Index k = 0; k < depth; ++k) packed[k * width + j] = source[k * b_row];
        else
          for (Index k = 0; k < depth; ++k) packed[k * width + j] = T(0);
      }
    }
  }
}

namespace detail {

struct MultiplyBlock {
  template <class Isa, class T, int Rows, int Vectors>
  HEED_INLINE static void tile(const BlockProduct<T>& p, const T* a, const T* b, Index b_step, T* c, Index cols) {
    using P = Packet<Isa, T>;
    P acc[Rows][Vectors];
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < Vectors; ++j) acc[i][j] = P::zero();
    multiply_tile<Isa, T, Rows, Vectors>(p.depth, a, p.a_row, p.a_step, b, b_step, acc);
    if (cols >= Vectors * P::lanes) {
#pragma GCC unroll 16
      for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < Vectors; ++j) {
          T* target = c + i * p.c_row + j * P::lanes;
          if (p.accumulate) acc[i][j] = P::load(target) + acc[i][j];
          acc[i][j].store(target);
        }
    } else {
      for (int i = 0; i < Rows; ++i) {
        T row[Vectors * P::lanes];
        for (int j = 0; j < Vectors; ++j) acc[i][j].store(row + j * P::lanes);
        T* target = c + i * p.c_row;
        for (Index n = 0; n < cols; ++n) target[n] = p.accumulate ? T(target[n] + row[n]) : row[n];
      }
    }
  }

  template <class Isa, class T, int Rows, int Vectors>
  HEED_INLINE static void row_tiles(const BlockProduct<T>& p, Index& row, const T* b, Index b_step, Index n, Index cols) {
    if constexpr (Rows <= TileShape<Isa>::rows)
      for (; row + Rows <= p.rows; row += Rows)
        tile<Isa, T, Rows, Vectors>(p, p.a + row * p.a_row, b, b_step, p.c + row * p.c_row + n, cols);
  }

  template <class Isa, class T, int Vectors>
  HEED_INLINE static void panel(const BlockProduct<T>& p, const T* b, Index b_step, Index n, Index cols) {
    Index row = 0;
    row_tiles<Isa, T, TileShape<Isa>::rows, Vectors>(p, row, b, b_step, n, cols);
    row_tiles<Isa, T, 8, Vectors>(p, row, b, b_step, n, cols);
    row_tiles<Isa, T, 4, Vectors>(p, row, b, b_step, n, cols);
    row_tiles<Isa, T, 2, Vectors>(p, row, b, b_step, n, cols);
    row_tiles<Isa, T, 1, Vectors>(p, row, b, b_step, n, cols);
  }

  template <class Isa, class T>
  HEED_INLINE static void run(const BlockProduct<T>& p) {
    constexpr Index lanes = Packet<Isa, T>::lanes, width = TileShape<Isa>::vectors * lanes;
    for (Index n = 0; n < p.cols; n += width) {
      const T* b = p.b + n * p.depth;
      const Index cols = p.cols - n;
      if (cols > lanes)
        panel<Isa, T, TileShape<Isa>::vectors>(p, b, width, n, cols);
      else
        panel<Isa, T, 1>(p, b, width, n, cols);  // half a panel: half the work
    }
  }

  template <class T>
  struct Of {
    template <class Isa>
    HEED_INLINE static void run(const BlockProduct<T>* p) {
      MultiplyBlock::run<Isa, T>(*p);
    }
  };
};

}  // namespace detail

/// Runs the product on the calling thread with the best instruction set.
template <class T>
void multiply_block(const BlockProduct<T>& product) {
  dispatch<detail::MultiplyBlock::Of<T>, T>(&product);
}

}  // namespace heed::kernels
