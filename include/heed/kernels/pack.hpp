// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>

#include <heed/core/load_columns.hpp>
#include <heed/kernels/tile.hpp>

namespace heed::inline HEED_ABI::kernels {

// Copies that give the operands of a product the layout which register tiles want.

/// Elements from tile to tile of a packed left operand: not a multiple of a page, so that a column of all tiles does not share cache sets, and with
/// room for the vectors that reach beyond a tile.
inline Index tile_stride(Index depth, Index tile) { return tile * depth + 16; }

namespace detail {

/// Rows of `cols` elements, those whose flag is 0 taken as zeros.
template <class T>
struct RowsSource {
  const T* data;
  Index row, rows, cols;
  const unsigned char* flags;  ///< null: all rows count
};

/// Rows i, i + 1, ... of a source, one a lane. The last stands for those that there are none of; `keep` makes zeros of their lanes, and of rows that do not count.
template <class Isa, class T>
struct LaneRows {
  using P = Packet<Isa, T>;

  const T* rows[P::lanes];
  unsigned char counts[P::flag_bytes] = {};  ///< 1 or 0 for each row
  bool any;                                  ///< whether there is a row; without one nothing may be read

  HEED_INLINE LaneRows(const RowsSource<T>& x, Index i) : any(i < x.rows) {
    for (Index r = 0; r < P::lanes; ++r) {
      rows[r] = x.data + std::max<Index>(0, std::min(i + r, x.rows - 1)) * x.row;
      counts[r] = i + r < x.rows && !(x.flags && !x.flags[i + r]);
    }
  }
  HEED_INLINE const T* at(Index r) const { return rows[r]; }
  HEED_INLINE P keep(const P& x) const { return P::template select_flags<0>(counts, x, P::zero()); }
};

/// Whether the rows i, i + 1, ... that fill a vector are all there, and there are no flags.
template <class Isa, class T>
HEED_INLINE bool fills_lanes(const RowsSource<T>& x, Index i) {
  return i + Packet<Isa, T>::lanes <= x.rows && !x.flags;
}

/// Stores columns `step` elements apart, column j in place order[j], if that is not negative; in place j without an order.
template <class Isa, class T, class Rows>
struct StoreColumns {
  const Rows& rows;
  T* target;
  Index step;
  const Index* order = nullptr;

  HEED_INLINE void take(Index first, Index begin, Index end, const Packet<Isa, T> (&columns)[kColumns<Isa, T>]) const {
#pragma GCC unroll 4
    for (Index c = 0; c < kColumns<Isa, T>; ++c)
      if (begin <= c && c < end) {
        const Index place = order ? order[first + c] : first + c;
        if (place >= 0) rows.keep(columns[c]).store(target + place * step);
      }
  }
};

/// The columns of rows i, i + 1, ... that fill a vector, with zeros for rows that there are none of: see StoreColumns.
template <class Isa, class T>
HEED_INLINE void pack_lanes(const RowsSource<T>& x, Index i, T* target, Index step, const Index* order = nullptr) {
  if (fills_lanes<Isa>(x, i)) {
    const RegularRows<T> rows{x.data + i * x.row, x.row};
    StoreColumns<Isa, T, RegularRows<T>> store{rows, target, step, order};
    return for_columns<Isa, T>(rows, x.cols, store);
  }
  const LaneRows<Isa, T> rows(x, i);
  StoreColumns<Isa, T, LaneRows<Isa, T>> store{rows, target, step, order};
  if (rows.any) return for_columns<Isa, T>(rows, x.cols, store);
  for (Index j = 0; j < x.cols; ++j)
    if (const Index place = order ? order[j] : j; place >= 0) Packet<Isa, T>::zero().store(target + place * step);
}

template <class T>
struct PackTransposed {
  template <class Isa>
  HEED_INLINE static void run(const RowsSource<T>* source, T* packed) {
    constexpr Index lanes = Packet<Isa, T>::lanes, width = TileShape<Isa>::vectors * lanes;
    const RowsSource<T>& x = *source;
    for (Index i = 0; i < (x.rows + width - 1) / width * width; i += lanes)
      pack_lanes<Isa>(x, i, packed + i / width * width * x.cols + i % width, width);
  }
};

/// `blocks` sources, `block_step` elements apart, as one panel of `width` columns each, one row of the panel apart; their columns in an order.
template <class T>
struct PackOrdered {
  template <class Isa>
  HEED_INLINE static void run(const RowsSource<T>* source, Index blocks, Index block_step, const Index* order, T* packed, Index width) {
    RowsSource<T> x = *source;
    for (Index block = 0; block < blocks; ++block, x.data += block_step, packed += width)
      for (Index i = 0; i < width; i += Packet<Isa, T>::lanes) pack_lanes<Isa>(x, i, packed + i, width, order);
  }
};

template <class T>
struct PackTiles {
  template <class Isa>
  HEED_INLINE static void run(const RowsSource<T>* source, Index col, T* packed) {
    using P = Packet<Isa, T>;
    constexpr Index tile = TileShape<Isa>::rows, lanes = P::lanes, groups = (tile + lanes - 1) / lanes;
    const RowsSource<T>& x = *source;
    const Index stride = tile_stride(x.cols, tile);
    // The lanes behind a tile's last row are overwritten by its next column, so the columns of a tile are stored in order.
    Index i = 0;
    if (x.row == 1) {  // column by column, which may be a page apart; hardware does not run ahead over pages
      // (asking, with AVX-512, whose tiles are nearly a line: weights' gradients of linear layers 1 to 3 %)
      constexpr Index kColumnsAhead = 16;
      const Index whole = x.rows < groups * lanes ? 0 : (x.rows - groups * lanes) / tile + 1;
      for (Index j = 0; j < x.cols; ++j)
        for (Index t = 0; t < whole; ++t) {
          ask_for<tile, 2>(x.data + (j + kColumnsAhead) * col + t * tile);
#pragma GCC unroll 4
          for (Index g = 0; g < groups; ++g)
            P::load(x.data + j * col + t * tile + g * lanes).store(packed + t * stride + j * tile + g * lanes);
        }
      i = whole * tile;
    }
    for (packed += i / tile * stride; i < x.rows; i += tile, packed += stride) {
      const Index valid = std::min(tile, x.rows - i);
      const T* from = x.data + i * x.row;
      Index j = 0;
      if (col == 1)
        for (; j + lanes <= x.cols; j += lanes) {
          P block[groups][lanes];
#pragma GCC unroll 4
          for (Index g = 0; g < groups; ++g) {
#pragma GCC unroll 16
            for (Index r = 0; r < lanes; ++r) block[g][r] = g * lanes + r < valid ? P::load(from + (g * lanes + r) * x.row + j) : P::zero();
            P::transpose(block[g]);
          }
#pragma GCC unroll 16
          for (Index r = 0; r < lanes; ++r)
#pragma GCC unroll 4
            for (Index g = 0; g < groups; ++g) block[g][r].store(packed + (j + r) * tile + g * lanes);
        }
      for (; j < x.cols; ++j) {
        for (Index r = 0; r < valid; ++r) packed[j * tile + r] = from[r * x.row + j * col];
        for (Index r = valid; r < tile; ++r) packed[j * tile + r] = T(0);
      }
    }
  }
};

}  // namespace detail

/// Packs the transpose of rows x cols into panels of rows, [panel][col][row in panel], padded with zeros: the right operand of x yᵀ.
template <class T>
void pack_transposed(const T* data, Index row, Index rows, Index cols, const unsigned char* flags, T* packed) {
  const detail::RowsSource<T> source{data, row, rows, cols, flags};
  dispatch<detail::PackTransposed<T>, T>(&source, packed);
}
HEED_COMPILE_ONCE(pack_transposed);

/// Elements that a packed B of `depth` x `cols` takes.
inline Index packed_size(Index depth, Index cols, Index width) { return depth * ((cols + width - 1) / width * width); }

/// Packs columns of B (element (k, n) at b[k * b_row + n * b_col]) into panels of `width` columns, [panel][k][column], zero-padded.
template <class T>
void pack_panels(Index depth, Index cols, const T* b, Index b_row, Index b_col, Index width, T* packed) {
  for (Index n = 0; n < cols; n += width, packed += depth * width) {
    const Index valid = width < cols - n ? width : cols - n;
    if (b_row == 1 && width == panel_width<T>()) {
      pack_transposed(b + n * b_col, b_col, valid, depth, nullptr, packed);
    } else if (b_col == 1) {
      for (Index k = 0; k < depth; ++k) {
        const T* source = b + k * b_row + n;
        T* target = packed + k * width;
        std::copy_n(source, valid, target);
        std::fill_n(target + valid, width - valid, T(0));
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
HEED_COMPILE_ONCE(pack_panels);

/// Elements to provide for a left operand of `rows` x `depth` in tiles of `tile` rows, with the vectors that reach beyond the last one.
inline Index packed_tiles_size(Index rows, Index depth, Index tile) { return (rows + tile - 1) / tile * tile_stride(depth, tile); }

/// Packs A (element (i, k) at a[i * a_row + k * a_col]) into register tiles, [tile][k][row in tile], zero-padded: see TileProduct::tiles.
template <class T>
void pack_tiles(Index rows, Index depth, const T* a, Index a_row, Index a_col, T* packed) {
  const detail::RowsSource<T> source{a, a_row, rows, depth, nullptr};
  dispatch<detail::PackTiles<T>, T>(&source, a_col, packed);
}
HEED_COMPILE_ONCE(pack_tiles);

}  // namespace heed::inline HEED_ABI::kernels
