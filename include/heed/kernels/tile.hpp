// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>

#include <heed/core/simd.hpp>
#include <heed/kernels/fetch_ahead.hpp>

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

/// How a product walks over its left operand: `walk.at<0>(i)` is where the element of row i is in the present step, `walk.at<1>(i)` in the one after it, and
/// `next()` goes two steps on. This one is for rows at equal distances whose elements lie one behind the other: three pointers and two distances fit the
/// registers; fourteen offsets do not, and are read again each step (Granite Rapids, depth 64: 213 instead of 205 of 245 GFLOP/s). Tiles of fewer rows do not
/// read through the pointers that lie behind them.
template <class T, int Rows>
struct RowStride {
  const T *row0, *row5, *row10;
  Index row, three_rows;

  HEED_INLINE RowStride(const T* a, Index a_row) : row0(a), row5(a + 5 * a_row), row10(a + 10 * a_row), row(a_row), three_rows(3 * a_row) {}
  template <int Ahead>
  HEED_INLINE const T* at(int i) const {
    const T* p = (i < 5 ? row0 : i < 10 ? row5 : row10) + Ahead;
    return i % 5 == 0 ? p : i % 5 == 1 ? p + row : i % 5 == 2 ? p + 2 * row : i % 5 == 3 ? p + three_rows : p + 4 * row;
  }
  HEED_INLINE void next() {
    row0 += 2, row5 += 2, row10 += 2;
    keep_in_register(row0), keep_in_register(three_rows);
    if constexpr (Rows > 5) keep_in_register(row5);
    if constexpr (Rows > 10) keep_in_register(row10);
  }
};
/// The same for rows at distance 1, `step` from element to element (228).
template <class T>
struct NeighbouringRows {
  const T *first, *second;  ///< of the present step and the one after it
  Index two_steps;

  HEED_INLINE NeighbouringRows(const T* a, Index step) : first(a), second(a + step), two_steps(2 * step) {}
  template <int Ahead>
  HEED_INLINE const T* at(int i) const {
    return (Ahead ? second : first) + i;
  }
  HEED_INLINE void next() {
    first += two_steps, second += two_steps;
    keep_in_register(first), keep_in_register(second);
  }
};

/// One step of `multiply_tile`, the present one or the next, with the right operand's row at b. What lies kAskAhead steps further on is asked for, since
/// panels come from L2 or beyond (Granite Rapids: Winograd's products of kernels in L3 5 to 30 %, attention 2 to 8 %, GEMM 3 %; 8 steps gain half of it, 24
/// and 32 the same; asking for a too gains nothing).
template <int Ahead, class Isa, class T, int Rows, int Vectors, class Walk>
HEED_INLINE void multiply_step(const Walk& a, const T* b, Index b_step, Packet<Isa, T> (&acc)[Rows][Vectors]) {
  using P = Packet<Isa, T>;
  constexpr Index kAskAhead = 16;
  P bv[Vectors];
  ask_for<Vectors * P::lanes>(b + kAskAhead * b_step);
#pragma GCC unroll 8
  for (int j = 0; j < Vectors; ++j) bv[j] = P::load(b + j * P::lanes);
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i) {
    const P av = P::load_broadcast(a.template at<Ahead>(i));
#pragma GCC unroll 8
    for (int j = 0; j < Vectors; ++j) acc[i][j] = P::fma(av, bv[j], acc[i][j]);
  }
}

/// acc[i][j] += sum over k of a[i] * b[k * b_step + j * lanes ...], where a[i] is the element of row i in step k: the one product of the library; GEMM,
/// convolution and attention are built on it. Each sum runs over k in order, so a result does not depend on where in a tile it was computed.
///
/// Two steps a turn: an undisturbed core hides the loop's own instructions behind multiply-adds, but one that seems to be shared does not (Zen 3 in a virtual
/// machine: depth 256 78 -> 88 of 103 GFLOP/s in the median of 1500 turns, 67 -> 80 in the upper quartile; in quiet moments 102 either way).
template <class Isa, class T, int Rows, int Vectors, class Walk>
HEED_INLINE void multiply_tile(Index depth, Walk a, const T* b, Index b_step, Packet<Isa, T> (&acc)[Rows][Vectors]) {
  const T* b_next = b + b_step;
  for (Index k = 1; k < depth; k += 2) {
    multiply_step<0>(a, b, b_step, acc);
    multiply_step<1>(a, b_next, b_step, acc);
    a.next();
    b += 2 * b_step, b_next += 2 * b_step;
    keep_in_register(b), keep_in_register(b_next);
  }
  if (depth % 2 != 0) multiply_step<0>(a, b, b_step, acc);
}

/// Rows (of the left operand) or columns that a register tile may read beyond a block, at most, where it may at all.
inline constexpr Index kTileSlack = 4;

/// Cuts `rows` rows into tiles and calls `body.template tile<Rows>(row)` for each: `Tallest` rows as long as there are so many, then 8, 4, 2, 1.
/// With `slack` a tile may reach up to kTileSlack rows beyond the last: one of 8 rows takes as long as one of 5.
template <int Tallest, class Body>
HEED_INLINE void for_row_tiles(Index rows, bool slack, const Body& body) {
  const Index spare = slack ? 1 : 0;
  for (Index row = 0; row < rows;) {
    const Index left = rows - row;
    if (left + spare >= Tallest) {
      body.template tile<Tallest>(row);
      row += Tallest;
    } else if (Tallest > 8 && left + 3 * spare >= 8) {
      if constexpr (Tallest > 8) body.template tile<8>(row);
      row += 8;
    } else if (Tallest > 4 && left + spare >= 4) {
      if constexpr (Tallest > 4) body.template tile<4>(row);
      row += 4;
    } else if (Tallest > 2 && left >= 2) {
      if constexpr (Tallest > 2) body.template tile<2>(row);
      row += 2;
    } else {
      body.template tile<1>(row);
      row += 1;
    }
  }
}

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

/// C = A B, or C * before + A B, of `rows` x `depth` by `depth` x `cols`. A is read in place through two strides, one of which is 1 (a row-major block, or the
/// transpose of one), or lies in tiles (see `pack_tiles`); B lies in panels (see `pack_panels`) or row by row.
template <class T>
struct TileProduct {
  Index rows, cols, depth;
  const T* a;  ///< element (i, k) at a[i * a_row + k * a_step]
  Index a_row, a_step;
  const T* b;  ///< element (k, j) of panel n at b[n * b_panel + k * b_row + j]; whole vectors are read
  Index b_row, b_panel;
  T* c;
  Index c_row;
  bool tiles = false;         ///< A lies in tiles, `a_row` elements from one to the next; a_step is not read
  bool slack = false;         ///< kTileSlack rows of A beyond the last can be read
  bool whole_tiles = false;   ///< C is scratch: whole tiles are written, rows rounded up, and cols to whole vectors at least
  bool accumulate = false;    ///< C becomes C * before + A B instead of A B
  const T* before = nullptr;  ///< a factor a row; null: 1
  const T* bias = nullptr;    ///< a row that is added to every row of A B, at the end of the sum; whole panels are read; null: zeros
  const T* after = nullptr;   ///< a factor a row of the result; null: 1
};

namespace detail {

/// One panel of a product: columns [n, n + Vectors * lanes) of C. `Neighbours`: the rows of A lie one behind the other, in tiles or in place.
template <class Isa, class T, int Vectors, bool Neighbours, class Ahead>
struct ProductPanel {
  using P = Packet<Isa, T>;
  const TileProduct<T>& p;
  Index n;
  const T* b;
  Ahead* ahead;  // FetchAhead, or void for none

  template <int Rows, class Walk>
  HEED_INLINE void multiply(const Walk& walk, P (&acc)[Rows][Vectors]) const {
    if constexpr (std::is_same_v<Ahead, FetchAhead>)
      multiply_tile<Isa, T, Rows, Vectors>(p.depth, FetchingWalk<Walk>{walk, ahead->take(p.depth, b)}, b, p.b_row, acc);
    else
      multiply_tile<Isa, T, Rows, Vectors>(p.depth, walk, b, p.b_row, acc);
  }

  template <int Rows>
  HEED_INLINE void tile(Index row) const {
    T* const c = p.c + row * p.c_row + n;
    const Index rows = p.whole_tiles ? Rows : p.rows - row, cols = p.whole_tiles ? Vectors * P::lanes : p.cols - n;
    const bool whole = rows >= Rows && cols >= Vectors * P::lanes;
    if (p.accumulate && whole)  // it comes while the tile is multiplied: weights' gradients 5 to 20 %
#pragma GCC unroll 16
      for (int i = 0; i < Rows; ++i) ask_for<Vectors * P::lanes>(c + i * p.c_row);
    P acc[Rows][Vectors];
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < Vectors; ++j) acc[i][j] = P::zero();
    if constexpr (Neighbours) {
      constexpr Index tile = TileShape<Isa>::rows;
      const T* a = p.a + (p.tiles ? row / tile * p.a_row + row % tile : row);
      multiply(NeighbouringRows<T>(a, p.tiles ? tile : p.a_step), acc);
    } else {
      multiply(RowStride<T, Rows>(p.a + row * p.a_row, p.a_row), acc);
    }
    if (p.bias)
#pragma GCC unroll 16
      for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < Vectors; ++j) acc[i][j] = acc[i][j] + P::load(p.bias + n + j * P::lanes);
    if (whole && !p.before && !p.after) {  // mostly; with the questions of the general case between them, products 32 deep took 10 % longer
      if (p.accumulate)
#pragma GCC unroll 16
        for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
          for (int j = 0; j < Vectors; ++j) acc[i][j] = acc[i][j] + P::load(c + i * p.c_row + j * P::lanes);
#pragma GCC unroll 16
      for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < Vectors; ++j) acc[i][j].store(c + i * p.c_row + j * P::lanes);
    } else if (cols >= Vectors * P::lanes) {
#pragma GCC unroll 16
      for (int i = 0; i < Rows; ++i) {
        if (i < rows) {
          const P before = P::broadcast(p.before ? p.before[row + i] : T(1)), after = P::broadcast(p.after ? p.after[row + i] : T(1));
#pragma GCC unroll 8
          for (int j = 0; j < Vectors; ++j) {
            T* target = c + i * p.c_row + j * P::lanes;
            if (p.accumulate) acc[i][j] = P::fma(P::load(target), before, acc[i][j]);
            if (p.after) acc[i][j] = acc[i][j] * after;
            acc[i][j].store(target);
          }
        }
      }
    } else {
      T result[Vectors * P::lanes];
#pragma GCC unroll 16
      for (int i = 0; i < Rows; ++i) {
        if (i < rows) {
          const T before = p.before ? p.before[row + i] : T(1), after = p.after ? p.after[row + i] : T(1);
#pragma GCC unroll 8
          for (int j = 0; j < Vectors; ++j) acc[i][j].store(result + j * P::lanes);
          T* target = c + i * p.c_row;
          for (Index j = 0; j < cols; ++j) target[j] = (p.accumulate ? T(target[j] * before + result[j]) : result[j]) * after;
        }
      }
    }
  }
};

template <class T>
struct MultiplyTiles {
  template <class Isa, bool Neighbours, class Ahead>
  HEED_INLINE static void panels(const TileProduct<T>& p, Ahead* ahead) {
    constexpr int rows = TileShape<Isa>::rows, vectors = TileShape<Isa>::vectors;
    constexpr Index lanes = Packet<Isa, T>::lanes, width = vectors * lanes;
    const bool slack = p.slack || p.tiles;
    for (Index n = 0; n < p.cols; n += width) {
      const T* b = p.b + n / width * p.b_panel;
      if (p.cols - n > lanes)
        for_row_tiles<rows>(p.rows, slack, ProductPanel<Isa, T, vectors, Neighbours, Ahead>{p, n, b, ahead});
      else
        for_row_tiles<rows>(p.rows, slack, ProductPanel<Isa, T, 1, Neighbours, Ahead>{p, n, b, ahead});  // half a panel: half the work
    }
  }

  template <class Isa, class Ahead>
  HEED_INLINE static void run(const TileProduct<T>* product, Ahead* ahead) {
    HEED_ASSERT(product->tiles || product->a_row == 1 || product->a_step == 1);
    if (product->tiles || product->a_row == 1)
      panels<Isa, true>(*product, ahead);
    else
      panels<Isa, false>(*product, ahead);
  }
};

}  // namespace detail

/// Runs the product on the calling thread with the best instruction set.
template <class T>
void multiply_tiles(const TileProduct<T>& product) {
  dispatch<detail::MultiplyTiles<T>, T>(&product, static_cast<const void*>(nullptr));
}

/// The same, which meanwhile asks the memory for what will be used soon.
template <class T>
void multiply_tiles(const TileProduct<T>& product, FetchAhead& ahead) {
  if (ahead.empty()) return multiply_tiles(product);
  dispatch<detail::MultiplyTiles<T>, T>(&product, &ahead);
}

}  // namespace heed::kernels
