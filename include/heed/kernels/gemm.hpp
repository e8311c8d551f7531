// SPDX-License-Identifier: MIT
#pragma once

#include <limits>

#include <heed/core/parallel.hpp>
#include <heed/kernels/pack.hpp>

namespace heed::kernels {

/// A matrix in memory: element (i, j) at data[i * row + j * col]. Swapping the strides transposes it.
template <class T>
struct MatrixRef {
  const T* data;
  Index row, col = 1;

  MatrixRef transposed() const { return {data, col, row}; }
};

/// What happens to a finished block of C while it lies in the cache: `epilogue(row, rows, col, cols, c, c_row)`. This one does nothing.
struct NoEpilogue {
  template <class T>
  void operator()(Index, Index, Index, Index, T*, Index) const {}
};

/// Depth of a pass over A and B, in elements: 16 tiles of A and a panel of B stay in L2, and C is read and written once a pass (256 would
/// keep the panel in L1 and loses 3 % to C). The cut depends on `depth` alone, so that the order of every sum is the same for any number
/// of rows and threads.
inline Index depth_block(Index depth) {
  constexpr Index kDepth = 512;
  const Index blocks = (depth + kDepth - 1) / kDepth;
  return blocks <= 1 ? depth : ((depth + blocks - 1) / blocks + 15) / 16 * 16;
}

/// The right operand packed for many products: [depth block][panel][k][column].
template <class T>
struct PackedOperand {
  Tensor<T, 1> data;
  Index depth = 0, cols = 0, width = 0;

  void pack(Index new_depth, Index new_cols, const MatrixRef<T>& b) {
    depth = new_depth, cols = new_cols, width = panel_width<T>();
    data.resize({packed_size(depth, cols, width)});
    const Index panels = (cols + width - 1) / width, step = depth_block(depth);
    parallel_for(panels, depth * width < 16384 ? panels : 1, [&](Index begin, Index end) {  // small ones are not worth a parallel region
      for (Index panel = begin; panel < end; ++panel) {
        const Index n = panel * width;
        for (Index k = 0; k < depth; k += step) {
          const Index part = std::min(step, depth - k);
          pack_panels(part, std::min(width, cols - n), b.data + k * b.row + n * b.col, b.row, b.col, width,
              data.data() + k * panels * width + n * part);
        }
      }
    });
  }
  /// The panels from column n on of the depth block that starts at k.
  const T* block(Index k, Index n) const {
    const Index step = depth_block(depth), padded = (cols + width - 1) / width * width;
    return data.data() + k * padded + n * std::min(step, depth - k);
  }
};

/// C in blocks for the threads: `rows` x `cols` of them, as equal as whole tiles and panels allow.
struct GemmBlocks {
  Index tiles, panels;  ///< of C
  Index rows, cols = 1;

  /// The cheapest cut, in products of a tile with a panel. Packing a tile of A and fetching a panel of B cost about one each, a block.
  GemmBlocks(Index all_tiles, Index all_panels, Index threads) : tiles(all_tiles), panels(all_panels) {
    constexpr Index kMostTiles = 16;  // of A, which with `depth_block` stay in L2
    const Index fewest = (tiles + kMostTiles - 1) / kMostTiles;
    rows = fewest;
    if (threads == 1) return;
    Index least = std::numeric_limits<Index>::max();
    for (Index c = 1; c <= std::min(panels, 2 * threads); c += (c + 3) / 4)
      for (Index r = fewest; r <= std::min(tiles, fewest + threads); ++r) {
        const Index cost = (r * c + threads - 1) / threads * (((tiles + r - 1) / r + 1) * ((panels + c - 1) / c + 1) - 1);
        if (cost < least) least = cost, rows = r, cols = c;
      }
  }
  Index tile(Index row) const { return row * tiles / rows; }      ///< the first of a row of blocks
  Index panel(Index col) const { return col * panels / cols; }    ///< the first of a column of blocks
  Index most_tiles() const { return (tiles + rows - 1) / rows; }  ///< of a block
};

/// C = A B + bias (one row, or null) + (accumulate ? C : 0), then the epilogue; C is row-major with `c_row` elements from row to row.
/// Parallel over blocks of C. Sums are in T, over k in order within a block of `depth_block` and then block by block: the same bits
/// for any number of threads, and for a row alone or among others.
template <class T, class Epilogue = NoEpilogue>
void gemm(Index rows, const MatrixRef<T>& a, const PackedOperand<T>& b, T* c, Index c_row, bool accumulate = false, const T* bias = nullptr,
    const Epilogue& epilogue = {}) {
  if (rows == 0 || b.cols == 0) return;
  if (b.depth == 0) {  // an empty sum
    for (Index i = 0; i < rows; ++i)
      for (Index j = 0; j < b.cols; ++j) c[i * c_row + j] = (accumulate ? c[i * c_row + j] : T(0)) + (bias ? bias[j] : T(0));
    return epilogue(0, rows, 0, b.cols, c, c_row);
  }
  const Index tile = tile_rows<T>(), step = depth_block(b.depth), panels = (b.cols + b.width - 1) / b.width;
  const double products = static_cast<double>(rows) * static_cast<double>(b.cols) * static_cast<double>(b.depth);
  const GemmBlocks blocks((rows + tile - 1) / tile, panels, products > 1e6 ? thread_count() : 1);  // below, waking threads costs more
  // A block of A is packed into tiles in L2 where enough panels pass over it, or where its rows, a multiple of 2 KiB apart, share cache sets.
  constexpr Index kFewPanels = 4;
  const bool conflict = static_cast<std::size_t>(std::max(a.row, a.col)) * sizeof(T) % 2048 == 0 && rows > 4;
  const bool in_place = !conflict && panels < kFewPanels * blocks.cols && (a.col == 1 || a.row == 1);
  Tensor<T, 1> padded_bias({bias ? panels * b.width : 0});
  if (bias) std::copy_n(bias, b.cols, padded_bias.data());
  const auto make_scratch = [&] {
    return Tensor<T, 1>::uninitialized({in_place ? 0 : packed_tiles_size(blocks.most_tiles() * tile, std::min(step, b.depth), tile)});
  };
  parallel_for(blocks.rows * blocks.cols, 1, make_scratch, [&](Index begin, Index end, Tensor<T, 1>& scratch) {
    for (Index block = begin; block < end; ++block) {
      const Index block_row = block / blocks.cols, block_col = block % blocks.cols;
      const Index row = blocks.tile(block_row) * tile, count = std::min(rows, blocks.tile(block_row + 1) * tile) - row;
      const Index col = blocks.panel(block_col) * b.width, cols = std::min(b.cols, blocks.panel(block_col + 1) * b.width) - col;
      T* target = c + row * c_row + col;
      for (Index k = 0; k < b.depth; k += step) {
        const Index part = std::min(step, b.depth - k);
        const T* left = a.data + row * a.row + k * a.col;
        if (!in_place) pack_tiles(count, part, left, a.row, a.col, scratch.data());
        multiply_tiles<T>({.rows = count,
            .cols = cols,
            .depth = part,
            .a = in_place ? left : scratch.data(),
            .a_row = in_place ? a.row : tile_stride(part, tile),
            .a_step = a.col,
            .b = b.block(k, col),
            .b_row = b.width,
            .b_panel = b.width * part,
            .c = target,
            .c_row = c_row,
            .tiles = !in_place,
            .accumulate = accumulate || k > 0,
            .bias = bias && k + part == b.depth ? padded_bias.data() + col : nullptr});
      }
      epilogue(row, count, col, cols, target, c_row);
    }
  });
}

namespace detail {

/// The product for so few rows that packing B into memory would cost more than it: panels are read where they lie, or are packed and used at once. The
/// same sums in the same order as above.
template <class T>
struct FewRows {
  Index rows, cols, depth;
  MatrixRef<T> a, b;
  T* c;
  Index c_row;
  bool accumulate;
  const T* bias;

  static bool fits(Index rows) { return 2 * rows <= panel_width<T>(); }

  /// Columns [col, col + count), whole panels in place or less than one packed into `scratch`, with a bias behind it.
  void panels(Index col, Index count, bool packed, T* scratch) const {
    const Index step = depth_block(depth), width = panel_width<T>();
    const T* added = bias ? bias + col : nullptr;
    if (bias && packed) {
      std::fill_n(scratch + step * width, width, T(0)), std::copy_n(added, count, scratch + step * width);
      added = scratch + step * width;
    }
    for (Index k = 0; k < depth; k += step) {
      const Index part = std::min(step, depth - k);
      const T* right = b.data + k * b.row + col * b.col;
      if (packed) pack_panels(part, count, right, b.row, b.col, width, scratch);
      multiply_tiles<T>({.rows = rows,
          .cols = count,
          .depth = part,
          .a = a.data + k * a.col,
          .a_row = a.row,
          .a_step = a.col,
          .b = packed ? scratch : right,
          .b_row = packed ? width : b.row,
          .b_panel = width,
          .c = c + col,
          .c_row = c_row,
          .accumulate = accumulate || k > 0,
          .bias = k + part == depth ? added : nullptr});
    }
  }
  template <class Epilogue>
  void run(const Epilogue& epilogue) const {
    const Index width = panel_width<T>(), count = (cols + width - 1) / width;
    const auto make_scratch = [&] { return Tensor<T, 1>::uninitialized({(depth_block(depth) + 1) * width}); };
    const Index grain = std::max<Index>(1, 65536 / (depth * width));  // what is worth a thread
    parallel_for(count, grain, make_scratch, [&](Index begin, Index end, Tensor<T, 1>& scratch) {
      for (Index panel = begin; panel < end; ++panel) {
        const Index col = panel * width, valid = std::min(width, cols - col);
        panels(col, valid, b.col != 1 || valid < width, scratch.data());
        epilogue(0, rows, col, valid, c + col, c_row);
      }
    });
  }
};

}  // namespace detail

/// C (rows x cols) = A (rows x depth) B (depth x cols) [+ bias] [+ C]. Either operand may be a transposed view.
template <class T, class Epilogue = NoEpilogue>
void gemm(Index rows, Index cols, Index depth, const MatrixRef<T>& a, const MatrixRef<T>& b, T* c, Index c_row, bool accumulate = false,
    const std::type_identity_t<T>* bias = nullptr, const Epilogue& epilogue = {}) {
  if (rows == 0 || cols == 0) return;
  if (depth > 0 && detail::FewRows<T>::fits(rows))
    return detail::FewRows<T>{rows, cols, depth, a, b, c, c_row, accumulate, bias}.run(epilogue);
  PackedOperand<T> packed;
  packed.pack(depth, cols, b);
  gemm(rows, a, packed, c, c_row, accumulate, bias, epilogue);
}

}  // namespace heed::kernels
