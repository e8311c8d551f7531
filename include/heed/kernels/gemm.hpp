// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/parallel.hpp>
#include <heed/kernels/tile.hpp>

namespace heed::kernels {

/// A matrix in memory: element (i, j) at data[i * row + j * col]. Swapping the strides transposes it.
template <class T>
struct MatrixRef {
  const T* data;
  Index row, col = 1;

  MatrixRef transposed() const { return {data, col, row}; }
};

/// The left operand of `gemm` when it is a matrix in memory. Any type with this function can stand on the left: convolution gathers image
/// patches instead. `block` returns rows [row, row + rows) and columns [k, k + depth) as a pointer with strides `a_row` and `a_step`,
/// either in place or copied to `scratch`, which holds rows * (depth + kScratchPadding) elements.
template <class T>
struct MatrixOperand {
  static constexpr Index kScratchPadding = 16;
  MatrixRef<T> matrix;

  const T* block(Index row, Index rows, Index k, Index depth, T* scratch, Index& a_row, Index& a_step) const {
    const T* source = matrix.data + row * matrix.row + k * matrix.col;
    // Rows that lie a multiple of 2 KiB apart share cache sets (1024^3: 82 in place, 103 packed; 4096x256x1024: 104 in place, 102 packed).
    const bool conflict = static_cast<std::size_t>(matrix.row) * sizeof(T) % 2048 == 0 && rows > 4;
    if (matrix.col == 1 && !conflict) {
      a_row = matrix.row;
      a_step = 1;
      return source;
    }
    a_row = depth + kScratchPadding;
    a_step = 1;
    if (matrix.col == 1) {
      for (Index i = 0; i < rows; ++i)
        for (Index j = 0; j < depth; ++j) scratch[i * a_row + j] = source[i * matrix.row + j];
    } else {
      for (Index j = 0; j < depth; ++j)
        for (Index i = 0; i < rows; ++i) scratch[i * a_row + j] = source[i * matrix.row + j * matrix.col];
    }
    return scratch;
  }
};

/// What happens to a finished block of C while it lies in the cache: `epilogue(row, rows, col, cols, c, c_row)`. This one does nothing.
struct NoEpilogue {
  template <class T>
  void operator()(Index, Index, Index, Index, T*, Index) const {}
};

/// Adds bias[col] to every row.
template <class T>
struct AddBias {
  const T* bias;  ///< null: no bias

  void operator()(Index, Index rows, Index col, Index cols, T* c, Index c_row) const {
    if (!bias) return;
    for (Index i = 0; i < rows; ++i)
      for (Index j = 0; j < cols; ++j) c[i * c_row + j] += bias[col + j];
  }
};

/// Depth of a pass over A and B, in elements: 14 rows x 384 floats of A stay in L1 and a panel of B in L2. The cut depends on `depth`
/// alone, so that the order of every sum is the same for any number of rows and threads.
inline Index depth_block(Index depth) {
  constexpr Index kDepth = 384;
  const Index blocks = (depth + kDepth - 1) / kDepth;
  return blocks <= 1 ? depth : ((depth + blocks - 1) / blocks + 7) / 8 * 8;
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

/// C = A B + (accumulate ? C : 0), then the epilogue; C is row-major with `c_row` elements from row to row.
/// Parallel over blocks of C. Sums are in T, over k in order within a block of `depth_block` and then block by block: the same bits
/// for any number of threads, and for a row alone or among others.
template <class T, class Operand, class Epilogue = NoEpilogue>
void gemm(
    Index rows, const Operand& a, const PackedOperand<T>& b, T* c, Index c_row, bool accumulate = false, const Epilogue& epilogue = {}) {
  if (rows == 0 || b.cols == 0) return;
  if (b.depth == 0) {  // an empty sum
    for (Index i = 0; i < rows && !accumulate; ++i) std::fill_n(c + i * c_row, b.cols, T(0));
    return epilogue(0, rows, 0, b.cols, c, c_row);
  }
  const Index tile = tile_rows<T>(), step = depth_block(b.depth), threads = thread_count();
  // Blocks of 16 tiles of rows (A stays in L2) by all columns; smaller ones where that leaves threads idle.
  Index block_rows = 16 * tile, block_cols = (b.cols + b.width - 1) / b.width * b.width;
  const double work = 2.0 * static_cast<double>(rows) * static_cast<double>(b.cols) * static_cast<double>(b.depth);
  if (threads > 1 && work > 2e5) {  // below, waking threads costs more than it saves
    const Index wanted = 4 * threads;
    while (block_rows > 4 * tile && (rows + block_rows - 1) / block_rows < wanted) block_rows /= 2;
    const Index row_blocks = (rows + block_rows - 1) / block_rows, panels = block_cols / b.width;
    if (row_blocks < wanted && panels > 1) block_cols = std::max<Index>(1, panels * row_blocks / wanted) * b.width;
  } else if (threads > 1) {
    block_rows = rows;
  }
  const Index row_blocks = (rows + block_rows - 1) / block_rows, col_blocks = (b.cols + block_cols - 1) / block_cols;
  const auto make_scratch = [&] { return Tensor<T, 1>::uninitialized({std::min(block_rows, rows) * (step + Operand::kScratchPadding)}); };
  parallel_for(row_blocks * col_blocks, 1, make_scratch, [&](Index begin, Index end, Tensor<T, 1>& scratch) {
    for (Index block = begin; block < end; ++block) {
      const Index row = block / col_blocks * block_rows, count = std::min(block_rows, rows - row);
      const Index col = block % col_blocks * block_cols, cols = std::min(block_cols, b.cols - col);
      T* target = c + row * c_row + col;
      for (Index k = 0; k < b.depth; k += step) {
        const Index part = std::min(step, b.depth - k);
        Index a_row, a_step;
        const T* left = a.block(row, count, k, part, scratch.data(), a_row, a_step);
        multiply_tiles<T>({.rows = count,
            .cols = cols,
            .depth = part,
            .a = left,
            .a_row = a_row,
            .a_step = a_step,
            .b = b.block(k, col),
            .b_row = b.width,
            .b_panel = b.width * part,
            .c = target,
            .c_row = c_row,
            .accumulate = accumulate || k > 0});
      }
      epilogue(row, count, col, cols, target, c_row);
    }
  });
}

/// C (rows x cols) = A (rows x depth) B (depth x cols) [+ C]. Either operand may be a transposed view.
template <class T, class Epilogue = NoEpilogue>
void gemm(Index rows, Index cols, Index depth, const MatrixRef<T>& a, const MatrixRef<T>& b, T* c, Index c_row, bool accumulate = false,
    const Epilogue& epilogue = {}) {
  PackedOperand<T> packed;
  packed.pack(depth, cols, b);
  gemm(rows, MatrixOperand<T>{a}, packed, c, c_row, accumulate, epilogue);
}

}  // namespace heed::kernels
