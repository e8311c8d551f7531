// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>

#include <heed/core/simd.hpp>
#include <heed/kernels/fetch_ahead.hpp>

namespace heed::inline HEED_ABI::kernels {

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
  static constexpr int steps = 2;
  const T *row0, *row5, *row10;
  Index row, three_rows;

  HEED_INLINE RowStride(const T* a, Index a_row) : row0(a), row5(a + 5 * a_row), row10(a + 10 * a_row), row(a_row), three_rows(3 * a_row) {}
  template <int Ahead>
  HEED_INLINE const T* at(int i) const {
    const T* p = (i < 5 ? row0 : i < 10 ? row5 : row10) + Ahead;
    return i % 5 == 0 ? p : i % 5 == 1 ? p + row : i % 5 == 2 ? p + 2 * row : i % 5 == 3 ? p + three_rows : p + 4 * row;
  }
  HEED_INLINE void next() { go(2); }
  HEED_INLINE void go(Index distance) {
    row0 += distance, row5 += distance, row10 += distance;
    keep_in_register(row0), keep_in_register(three_rows);
    if constexpr (Rows > 5) keep_in_register(row5);
    if constexpr (Rows > 10) keep_in_register(row10);
  }
};
/// The same for rows at distance 1, `step` from element to element (228).
template <class T>
struct NeighbouringRows {
  static constexpr int steps = 2;
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
/// The same for any two distances: for the tiles at a product's edges, which share one body for all layouts (each layout's own made the multiply-adds the
/// compiler's greatest work, 108 s instead of 12 for float and double). Tall ones go one step a turn.
template <class T, int Rows>
struct EdgeRows {
  static constexpr int steps = Rows > 8 ? 1 : 2;
  RowStride<T, Rows> first, second;  ///< of the present step and the one after it
  Index distance;

  HEED_INLINE EdgeRows(const T* a, Index a_row, Index a_step) : first(a, a_row), second(a + a_step, a_row), distance(steps * a_step) {}
  template <int Ahead>
  HEED_INLINE const T* at(int i) const {
    return (Ahead ? second : first).template at<0>(i);
  }
  HEED_INLINE void next() {
    first.go(distance);
    if constexpr (steps == 2) second.go(distance);
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
  for (int j = 0; j < Vectors; ++j) {
    bv[j] = P::load(b + j * P::lanes);
    // With -march=znver3 g++ 12 loaded it for each row anew: 70 of 109 GFLOP/s on one thread of Zen 4. (AVX-512 has no need, and loses 5 %.)
    if constexpr (std::is_same_v<Isa, Avx2>) keep_in_register(bv[j]);
  }
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i) {
    const P av = P::broadcast(*a.template at<Ahead>(i));
#pragma GCC unroll 8
    for (int j = 0; j < Vectors; ++j) acc[i][j] = P::fma(av, bv[j], acc[i][j]);
  }
}

/// acc[i][j] += sum over k of a[i] * b[k * b_step + j * lanes ...], where a[i] is the element of row i in step k: the one product of the library; GEMM,
/// convolution and attention are built on it. Each sum runs over k in order, so a result does not depend on where in a tile it was computed.
///
/// Two steps a turn: an undisturbed core hides the loop's own instructions behind multiply-adds, but one that seems to be shared does not (Zen 3 in a virtual
/// machine, first sketch of this loop: depth 256 78 -> 88 of 103 GFLOP/s in the median of 1500 turns, 67 -> 80 in the upper quartile; in quiet moments 102
/// either way).
template <class Isa, class T, int Rows, int Vectors, class Walk>
HEED_INLINE void multiply_tile(Index depth, Walk a, const T* b, Index b_step, Packet<Isa, T> (&acc)[Rows][Vectors]) {
  if constexpr (Walk::steps == 1) {
    for (Index k = 0; k < depth; ++k, a.next(), b += b_step) multiply_step<0>(a, b, b_step, acc);
  } else {
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
}

/// Rows (of the left operand) or columns that a register tile may read beyond a block, where it may at all: three at most, and one to spare.
inline constexpr Index kTileSlack = 4;

/// Cuts `rows` rows into tiles and calls `body.template tile<Rows>(row)` for each: `Tallest` rows as long as there are so many, then 8, 4, 2, 1.
/// With `slack` a tile may reach beyond the last row, one of 8 rows by three (it takes as long as one of 5), the others by one.
template <int Tallest, class Body>
HEED_INLINE void for_row_tiles(Index rows, bool slack, const Body& body) {
  const Index spare = slack ? 1 : 0;
  for (Index row = 0; row < rows;) {
    const Index left = rows - row;
    if (left + (Tallest == 8 ? 3 : 1) * spare >= Tallest) {
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
HEED_COMPILE_ONCE(tile_rows);

/// Columns of a register tile, which is a packed panel of B, for the instruction set in use.
template <class T>
Index panel_width() {
  Index rows = 0, width = 0;
  dispatch<detail::TileSize<T>, T>(&rows, &width);
  return width;
}
HEED_COMPILE_ONCE(panel_width);

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

/// Columns [n, n + Vectors * lanes) of C, whose part of B starts at b.
template <class T>
struct ProductPanel {
  const TileProduct<T>& p;
  Index n;
  const T* b;
  FetchAhead* ahead;  ///< or null
};

/// Writes `rows` x `cols` sums, which lie `sums_row` apart, to the rows of C from `row` on: a row at a time from memory, since unrolled for the tile of each
/// height this would be most of the library's code.
template <class T>
struct StoreRows {
  template <class Isa>
  HEED_INLINE static void run(const ProductPanel<T>* panel, Index row, Index rows, Index cols, const T* sums, Index sums_row) {
    using P = Packet<Isa, T>;
    const TileProduct<T>& p = panel->p;
    for (Index i = row; i < row + rows; ++i, sums += sums_row) {
      const P before = P::broadcast(p.before ? p.before[i] : T(1)), after = P::broadcast(p.after ? p.after[i] : T(1));
      for (Index j = 0; j < cols; j += P::lanes) {
        T* target = p.c + i * p.c_row + panel->n + j;
        P sum = P::load(sums + j);
        if (p.accumulate) sum = P::fma(P::load_partial(target, cols - j), before, sum);
        if (p.after) sum = sum * after;
        sum.store_partial(target, cols - j);
      }
    }
  }
};

/// Adds the bias to a tile's sums and writes them. `kInner`: not a tile for edges.
template <bool kInner, class Isa, class T, int Rows, int Vectors>
HEED_INLINE void store_tile(const ProductPanel<T>& panel, Index row, Packet<Isa, T> (&acc)[Rows][Vectors]) {
  using P = Packet<Isa, T>;
  constexpr Index width = Vectors * P::lanes;
  const TileProduct<T>& p = panel.p;
  if (p.bias)
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < Vectors; ++j) acc[i][j] = acc[i][j] + P::load(p.bias + panel.n + j * P::lanes);
  const Index rows = p.whole_tiles ? Rows : std::min<Index>(Rows, p.rows - row),
              cols = p.whole_tiles ? width : std::min(width, p.cols - panel.n);
  const bool whole = rows == Rows && cols == width;
  T* const c = p.c + row * p.c_row + panel.n;
  if (whole && !p.before && !p.after) {  // mostly; the general case took 10 % longer in products 32 deep
    if (p.accumulate)
#pragma GCC unroll 16
      for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < Vectors; ++j) acc[i][j] = acc[i][j] + P::load(c + i * p.c_row + j * P::lanes);
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < Vectors; ++j) acc[i][j].store(c + i * p.c_row + j * P::lanes);
  } else if (kInner && whole) {  // through memory attention took 10 % longer
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i) {
      const P before = P::broadcast(p.before ? p.before[row + i] : T(1)), after = P::broadcast(p.after ? p.after[row + i] : T(1));
#pragma GCC unroll 8
      for (int j = 0; j < Vectors; ++j) {
        T* target = c + i * p.c_row + j * P::lanes;
        if (p.accumulate) acc[i][j] = P::fma(P::load(target), before, acc[i][j]);
        if (p.after) acc[i][j] = acc[i][j] * after;
        acc[i][j].store(target);
      }
    }
  } else {
    T sums[Rows * width];
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < Vectors; ++j) acc[i][j].store(sums + i * width + j * P::lanes);
    run_apart<Isa, StoreRows<T>>(&panel, row, rows, cols, static_cast<const T*>(sums), width);
  }
}

/// The whole tiles of a panel from row 0 on. `Neighbours`: the rows of A lie one behind the other, in tiles or in place.
template <class T, bool Neighbours, bool Fetches>
struct WholeTiles {
  template <class Isa>
  HEED_INLINE static void run(const ProductPanel<T>* panel, Index tiles) {
    using P = Packet<Isa, T>;
    constexpr int rows = TileShape<Isa>::rows, vectors = TileShape<Isa>::vectors;
    constexpr Index width = vectors * P::lanes;
    const TileProduct<T>& p = panel->p;
    for (Index row = 0; row < tiles * rows; row += rows) {
      // C comes while the tile is multiplied: weights' gradients 5 to 20 %.
      if (p.accumulate && p.rows - row >= rows && p.cols - panel->n >= width)
#pragma GCC unroll 16
        for (int i = 0; i < rows; ++i) ask_for<width>(p.c + (row + i) * p.c_row + panel->n);
      P acc[rows][vectors];
#pragma GCC unroll 16
      for (int i = 0; i < rows; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < vectors; ++j) acc[i][j] = P::zero();
      if constexpr (Neighbours)
        multiply(*panel, NeighbouringRows<T>(p.tiles ? p.a + row / rows * p.a_row : p.a + row, p.tiles ? rows : p.a_step), acc);
      else
        multiply(*panel, RowStride<T, rows>(p.a + row * p.a_row, p.a_row), acc);
      store_tile<true, Isa, T, rows, vectors>(*panel, row, acc);
    }
  }
  template <class Isa, int Rows, int Vectors, class Walk>
  HEED_INLINE static void multiply(const ProductPanel<T>& panel, const Walk& walk, Packet<Isa, T> (&acc)[Rows][Vectors]) {
    const Index depth = panel.p.depth;
    if constexpr (Fetches)
      multiply_tile<Isa, T, Rows, Vectors>(depth, FetchingWalk<Walk>{walk, panel.ahead->take(depth, panel.b)}, panel.b, panel.p.b_row, acc);
    else
      multiply_tile<Isa, T, Rows, Vectors>(depth, walk, panel.b, panel.p.b_row, acc);
  }
};

/// The rest of a panel's rows from `first` on, or all rows of a panel of `Vectors` = 1, half a panel, which is half the work.
template <class T, int Vectors>
struct EdgeTiles {
  template <class Isa>
  struct Tiles {
    using P = Packet<Isa, T>;
    const ProductPanel<T>& panel;
    Index first;

    template <int Rows>
    HEED_INLINE void tile(Index start) const {
      constexpr Index tile = TileShape<Isa>::rows;
      const TileProduct<T>& p = panel.p;
      const Index row = first + start;
      P acc[Rows][Vectors];
#pragma GCC unroll 16
      for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < Vectors; ++j) acc[i][j] = P::zero();
      const EdgeRows<T, Rows> walk = p.tiles ? EdgeRows<T, Rows>(p.a + row / tile * p.a_row + row % tile, 1, tile)
                                             : EdgeRows<T, Rows>(p.a + row * p.a_row, p.a_row, p.a_step);
      const FetchAhead::Lines lines =
          panel.ahead ? panel.ahead->take(p.depth, panel.b) : FetchAhead::Lines{reinterpret_cast<const char*>(panel.b), 0};
      multiply_tile<Isa, T, Rows, Vectors>(p.depth, FetchingWalk<EdgeRows<T, Rows>>{walk, lines}, panel.b, p.b_row, acc);
      store_tile<false, Isa, T, Rows, Vectors>(panel, row, acc);
    }
  };
  template <class Isa>
  HEED_INLINE static void run(const ProductPanel<T>* panel, Index first) {
    constexpr int rows = TileShape<Isa>::rows;
    constexpr int tallest = Vectors == 1 ? rows : rows > 8 ? 8 : rows > 4 ? 4 : rows > 2 ? 2 : 1;
    for_row_tiles<tallest>(panel->p.rows - first, panel->p.slack || panel->p.tiles, Tiles<Isa>{*panel, first});
  }
};

template <class T>
struct MultiplyTiles {
  template <class Isa>
  HEED_INLINE static void run(const TileProduct<T>* product, FetchAhead* ahead) {
    const TileProduct<T>& p = *product;
    HEED_ASSERT(p.tiles || p.a_row == 1 || p.a_step == 1);
    constexpr int rows = TileShape<Isa>::rows;
    constexpr Index lanes = Packet<Isa, T>::lanes, width = TileShape<Isa>::vectors * lanes;
    const bool neighbours = p.tiles || p.a_row == 1;
    const Index tiles = (p.rows + (p.slack || p.tiles ? 1 : 0)) / rows, done = std::min(tiles * rows, p.rows);
    for (Index n = 0; n < p.cols; n += width) {
      const ProductPanel<T> panel{p, n, p.b + n / width * p.b_panel, ahead};
      if (p.cols - n <= lanes) {
        run_apart<Isa, EdgeTiles<T, 1>>(&panel, Index{0});
        continue;
      }
      if (tiles > 0) {
        if (neighbours)
          ahead ? run_apart<Isa, WholeTiles<T, true, true>>(&panel, tiles) : run_apart<Isa, WholeTiles<T, true, false>>(&panel, tiles);
        else
          ahead ? run_apart<Isa, WholeTiles<T, false, true>>(&panel, tiles) : run_apart<Isa, WholeTiles<T, false, false>>(&panel, tiles);
      }
      if (done < p.rows) run_apart<Isa, EdgeTiles<T, TileShape<Isa>::vectors>>(&panel, done);
    }
  }
};

}  // namespace detail

/// Runs the product on the calling thread with the best instruction set. With `ahead` it asks the memory meanwhile for what will be used soon.
template <class T>
void multiply_tiles(const TileProduct<T>& product, FetchAhead* ahead = nullptr) {
  dispatch<detail::MultiplyTiles<T>, T>(&product, ahead && !ahead->empty() ? ahead : nullptr);
}
HEED_COMPILE_ONCE(multiply_tiles);

}  // namespace heed::inline HEED_ABI::kernels
