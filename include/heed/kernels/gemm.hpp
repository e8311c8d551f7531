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

/// Depth of a pass over A and B, in elements: 24 tiles of A and a panel of B stay in L2, and C is read and written once a pass (256 would keep the
/// panel in L1 and loses 3 % to C). The cut depends on `depth` alone, so that the order of every sum is the same for any number of rows and threads.
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
    // A band of panels for each thread, 32 rows of B at a time: panel by panel, which goes from page to page, a wide B took 1.7 times as long.
    const Index bands = depth * cols < 65536 ? 1 : thread_count(),
                band = (panels + bands - 1) / bands;  // small ones are not worth a thread
    constexpr Index kRows = 32;
    parallel_for(panels, band, [&](Index begin, Index end) {
      for (Index k = 0; k < depth; k += step) {
        const Index part = std::min(step, depth - k), rows = b.col == 1 ? kRows : part;
        for (Index i = 0; i < part; i += rows)
          for (Index panel = begin; panel < end; ++panel) {
            const Index n = panel * width;
            pack_panels(std::min(rows, part - i), std::min(width, cols - n), b.data + (k + i) * b.row + n * b.col, b.row, b.col, width,
                data.data() + k * panels * width + n * part + i * width);
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
    constexpr Index kMostTiles = 24;  // of A, which with `depth_block` stay in L2
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
  constexpr std::size_t kNear = std::size_t{2} << 20;  // bytes that L2 may hold
  const bool far = static_cast<std::size_t>((rows + b.depth) * b.cols) * sizeof(T) > kNear;
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
            .bias = bias && k + part == b.depth ? padded_bias.data() + col : nullptr,
            .far = far});
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

  /// Columns [col, col + count), whole panels in place or one packed into `scratch`, with a bias behind it.
  void panels(Index col, Index count, Index width, bool packed, T* scratch) const {
    const Index step = depth_block(depth);
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
    const Index width = panel_width<T>(), count = (cols + width - 1) / width, in_place = b.col == 1 ? cols / width : 0;
    const auto make_scratch = [&] { return Tensor<T, 1>::uninitialized({in_place * width < cols ? (depth_block(depth) + 1) * width : 0}); };
    const Index grain = std::max<Index>(1, 65536 / (depth * width));  // what is worth a thread
    parallel_for(count, grain, make_scratch, [&](Index begin, Index end, Tensor<T, 1>& scratch) {
      const Index first = begin * width, last = std::min(cols, end * width), packed = std::max(begin, std::min(end, in_place)) * width;
      if (packed > first) panels(first, packed - first, width, false, nullptr);
      for (Index col = packed; col < last; col += width) panels(col, std::min(width, last - col), width, true, scratch.data());
      epilogue(0, rows, first, last - first, c + first, c_row);
    });
  }
};

/// The product with so few columns that a panel would be nearly empty (a linear layer with one output, or the gradients of one with one input).
/// Chosen by columns, depth and layout, never by rows, so a row keeps its bits. On Granite Rapids 1x1000 by 1000x1 took 3.7 us instead of 0.04.
template <class T>
struct FewColumns {
  Index rows, cols, depth;
  MatrixRef<T> a, b;
  T* c;
  Index c_row;
  bool accumulate;
  const T* bias;

  static bool by_columns(Index cols, Index depth, const MatrixRef<T>& a) { return a.row == 1 && cols == 1 && (a.col != 1 || depth == 1); }
  /// (1000x3 by 3x3 as dot products: four times as long.)
  static bool by_dots(Index cols, Index depth, const MatrixRef<T>& a, const MatrixRef<T>& b) {
    return a.col == 1 && b.row == 1 && cols <= 4 && depth >= 16 * cols;
  }
  static bool fits(Index cols, Index depth, const MatrixRef<T>& a, const MatrixRef<T>& b) {
    return by_columns(cols, depth, a) || by_dots(cols, depth, a, b);
  }

  HEED_INLINE void put(Index i, Index j, T sum) const {
    if (bias) sum = sum + bias[j];
    T& target = c[i * c_row + j];
    target = accumulate ? T(target + sum) : sum;
  }
  /// Rows of A, which are contiguous, times columns of B: lanes run over the depth.
  template <class Isa>
  HEED_INLINE void dots(Index begin, Index end) const {
    using P = Packet<Isa, T>;
    constexpr Index lanes = P::lanes;
    for (Index i = begin; i < end; ++i)
      for (Index j = 0; j < cols; ++j) {
        const T *x = a.data + i * a.row, *y = b.data + j * b.col;
        P s0 = P::zero(), s1 = P::zero(), s2 = P::zero(), s3 = P::zero();
        Index k = 0;
        for (; k + 4 * lanes <= depth; k += 4 * lanes) {
          s0 = P::fma(P::load(x + k), P::load(y + k), s0), s1 = P::fma(P::load(x + k + lanes), P::load(y + k + lanes), s1);
          s2 = P::fma(P::load(x + k + 2 * lanes), P::load(y + k + 2 * lanes), s2);
          s3 = P::fma(P::load(x + k + 3 * lanes), P::load(y + k + 3 * lanes), s3);
        }
        for (; k < depth; k += lanes) s0 = P::fma(P::load_partial(x + k, depth - k), P::load_partial(y + k, depth - k), s0);
        put(i, j, ((s0 + s1) + (s2 + s3)).sum());
      }
  }
  /// Columns of A, which are contiguous, times numbers of B: lanes run over the rows, `Vectors` of them at a time.
  template <class Isa, int Vectors>
  HEED_INLINE void column_sums(Index i, Index count) const {
    using P = Packet<Isa, T>;
    constexpr Index lanes = P::lanes;
    T sums[Vectors * lanes] = {};
    for (Index first = 0, step = depth_block(depth); first < depth; first += step) {
      P s[Vectors];
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) s[v] = P::zero();
      for (Index k = first; k < std::min(depth, first + step); ++k) {
        const T* x = a.data + k * a.col + i;
        const P y = P::load_broadcast(b.data + k * b.row);
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; ++v) s[v] = P::fma(Vectors > 1 ? P::load(x + v * lanes) : P::load_partial(x, count), y, s[v]);
      }
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) (P::load(sums + v * lanes) + s[v]).store(sums + v * lanes);
    }
    for (Index l = 0; l < count; ++l) put(i + l, 0, sums[l]);
  }
  template <class Isa>
  HEED_INLINE void columns(Index begin, Index end) const {
    constexpr Index lanes = Packet<Isa, T>::lanes;
    Index i = begin;
    for (; i + 4 * lanes <= end; i += 4 * lanes) column_sums<Isa, 4>(i, 4 * lanes);
    for (; i < end; i += lanes) column_sums<Isa, 1>(i, std::min(lanes, end - i));
  }
  template <class Isa>
  HEED_INLINE static void run(const FewColumns* product, Index begin, Index end) {
    if (by_columns(product->cols, product->depth, product->a))
      product->template columns<Isa>(begin, end);
    else
      product->template dots<Isa>(begin, end);
  }
  template <class Epilogue>
  void run(const Epilogue& epilogue) const {
    parallel_for(rows, (65536 / (depth * cols) / 64 + 1) * 64, [&](Index begin, Index end) {
      dispatch<FewColumns, T>(this, begin, end);
      epilogue(begin, end - begin, 0, cols, c + begin * c_row, c_row);
    });
  }
};

}  // namespace detail

/// C (rows x cols) = A (rows x depth) B (depth x cols) [+ bias] [+ C]. Either operand may be a transposed view.
template <class T, class Epilogue = NoEpilogue>
void gemm(Index rows, Index cols, Index depth, const MatrixRef<T>& a, const MatrixRef<T>& b, T* c, Index c_row, bool accumulate = false,
    const std::type_identity_t<T>* bias = nullptr, const Epilogue& epilogue = {}) {
  if (rows == 0 || cols == 0) return;
  if (depth > 0 && detail::FewColumns<T>::fits(cols, depth, a, b))
    return detail::FewColumns<T>{rows, cols, depth, a, b, c, c_row, accumulate, bias}.run(epilogue);
  if (depth > 0 && detail::FewRows<T>::fits(rows))
    return detail::FewRows<T>{rows, cols, depth, a, b, c, c_row, accumulate, bias}.run(epilogue);
  PackedOperand<T> packed;
  packed.pack(depth, cols, b);
  gemm(rows, a, packed, c, c_row, accumulate, bias, epilogue);
}

}  // namespace heed::kernels
