// SPDX-License-Identifier: MIT
#pragma once

#include <limits>

#include <heed/core/parallel.hpp>
#include <heed/kernels/narrow_rows.hpp>
#include <heed/kernels/row_product.hpp>

namespace heed::inline HEED_ABI::kernels {

/// A matrix in memory: element (i, j) at data[i * row + j * col]. Swapping the strides transposes it.
template <class T>
struct MatrixRef {
  const T* data;       ///< element (0, 0)
  Index row, col = 1;  ///< elements from row to row and from column to column

  /// The same memory, transposed.
  MatrixRef transposed() const { return {data, col, row}; }
};

/// What happens to a finished block of C while it lies in the cache: `epilogue(row, rows, col, cols, c, c_row)`. This one does nothing.
struct NoEpilogue {
  /// Nothing.
  template <class T>
  void operator()(Index, Index, Index, Index, T*, Index) const {}
};

/// Depth of a pass over A and B, in elements: 16 tiles of A and a panel of B stay in L2 (786 KB with AVX-512), and C is read and written once a pass (of
/// 512, 768 columns took two: 2 to 5 % slower; 1024 gains another 1 %, but fills the 1 MB of Zen 4). The cut depends on `depth` alone, so that the order
/// of every sum is the same for any number of rows and threads.
inline Index depth_block(Index depth) {
  constexpr Index kDepth = 768;
  const Index blocks = (depth + kDepth - 1) / kDepth;
  return blocks <= 1 ? depth : ((depth + blocks - 1) / blocks + 15) / 16 * 16;
}

/// The right operand packed for many products: [depth block][panel][k][column].
template <class T>
struct PackedOperand {
  Tensor<T, 1> data;                     ///< whole panels
  Index depth = 0, cols = 0, width = 0;  ///< of the operand, and columns of a panel

  /// Packs b, `new_depth` x `new_cols`; the memory is used again.
  void pack(Index new_depth, Index new_cols, const MatrixRef<T>& b) {
    depth = new_depth, cols = new_cols, width = panel_width<T>();
    data.resize({packed_size(depth, cols, width)});
    const Index panels = (cols + width - 1) / width, step = depth_block(depth);
    // A band of panels for each thread, 32 rows of B at a time: panel by panel, which goes from page to page, a wide B took 1.7 times as long.
    // A small operand is not worth a second thread.
    const Index bands = depth * cols < 65536 ? 1 : thread_count();
    constexpr Index kRows = 32;
    parallel_for(panels, (panels + bands - 1) / bands, [&](Index begin, Index end) {
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
  Index tiles, panels;   ///< of C
  Index rows, cols = 1;  ///< blocks of C, down and across

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
void packed_gemm(Index rows, const MatrixRef<T>& a, const PackedOperand<T>& b, T* c, Index c_row, bool accumulate = false,
    const T* bias = nullptr, const Epilogue& epilogue = {}) {
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
  // A B beyond L2 goes panel by panel, and the next one is on its way meanwhile (2 to 5 %; a B in L2 would lose 3 %).
  const bool fetches = fetching_pays<T>(b.depth * b.cols);
  // An A beyond L2 that few panels pass over is on its way, too: the next tile in place, or the next block, which this thread will probably take (Zen 4, one thread:
  // 16384x256->64 97 -> 111 GFLOP/s of 117, 25088x128->128 93 -> 105, 16384x256->256 103 -> 107; 4096x256->1024, of 32 panels, would lose 5 % with two).
  // In place a step may bring one line, so a column of the tile must not be more.
  constexpr Index kStreamedPanels = 8;
  const bool streams = blocks.cols == 1 && blocks.rows >= 2 * thread_count() && panels <= kStreamedPanels && a.col == 1 && a.row == step &&
                       b.depth == step && (!in_place || tile * static_cast<Index>(sizeof(T)) <= 64) && fetching_pays<T>(rows * step);
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
      const Index at_once = fetches ? b.width : cols;
      for (Index k = 0; k < b.depth; k += step) {
        const Index part = std::min(step, b.depth - k);
        const T* left = a.data + row * a.row + k * a.col;
        if (!in_place) pack_tiles(count, part, left, a.row, a.col, scratch.data());
        for (Index n = 0; n < cols; n += at_once) {
          FetchAhead ahead;
          if (fetches && n + at_once < cols) ahead.add(b.block(k, col + n + at_once), b.width, part, b.width);
          if (const Index next = row + (in_place ? tile : count); streams && n == 0 && next < rows)
            ahead.add(a.data + next * part, part, std::min(count, rows - next), part);
          multiply_tiles<T>({.rows = count,
                                .cols = std::min(at_once, cols - n),
                                .depth = part,
                                .a = in_place ? left : scratch.data(),
                                .a_row = in_place ? a.row : tile_stride(part, tile),
                                .a_step = a.col,
                                .b = b.block(k, col + n),
                                .b_row = b.width,
                                .b_panel = b.width * part,
                                .c = target + n,
                                .c_row = c_row,
                                .tiles = !in_place,
                                .accumulate = accumulate || k > 0,
                                .bias = bias && k + part == b.depth ? padded_bias.data() + col + n : nullptr},
              &ahead);
        }
      }
      epilogue(row, count, col, cols, target, c_row);
    }
  });
}
HEED_COMPILE_ONCE(packed_gemm, NoEpilogue);

namespace detail {

/// A product as the caller gave it: C (rows x cols) = A (rows x depth) B (depth x cols) [+ bias] [+ C].
template <class T>
struct GemmProblem {
  Index rows, cols, depth;
  MatrixRef<T> a, b;
  T* c;
  Index c_row;
  bool accumulate;
  const T* bias;
};

/// The product for so few rows that packing B into memory would cost more than it: panels are read where they lie, or are packed and used at once. The
/// same sums in the same order as above.
template <class T>
struct FewRows {
  GemmProblem<T> g;

  /// A is read in place, so it has gaps in one direction at most.
  static bool fits(Index rows, const MatrixRef<T>& a) { return 2 * rows <= panel_width<T>() && (a.row == 1 || a.col == 1); }

  /// Columns [col, col + count), whole panels in place or one packed into `scratch`, with a bias behind it.
  void panels(Index col, Index count, bool packed, T* scratch) const {
    const Index step = depth_block(g.depth), width = panel_width<T>();
    const T* added = g.bias ? g.bias + col : nullptr;
    if (g.bias && packed) {
      std::fill_n(scratch + step * width, width, T(0)), std::copy_n(added, count, scratch + step * width);
      added = scratch + step * width;
    }
    for (Index k = 0; k < g.depth; k += step) {
      const Index part = std::min(step, g.depth - k);
      const T* right = g.b.data + k * g.b.row + col * g.b.col;
      if (packed) pack_panels(part, count, right, g.b.row, g.b.col, width, scratch);
      multiply_tiles<T>({.rows = g.rows,
          .cols = count,
          .depth = part,
          .a = g.a.data + k * g.a.col,
          .a_row = g.a.row,
          .a_step = g.a.col,
          .b = packed ? scratch : right,
          .b_row = packed ? width : g.b.row,
          .b_panel = width,
          .c = g.c + col,
          .c_row = g.c_row,
          .accumulate = g.accumulate || k > 0,
          .bias = k + part == g.depth ? added : nullptr});
    }
  }
  /// The same for few rows without gaps, and columns of B that lie one number behind the other.
  void rows(Index col, Index count) const {
    const Index step = depth_block(g.depth);
    for (Index k = 0; k < g.depth; k += step) {
      const Index part = std::min(step, g.depth - k);
      row_products<T>(g.rows, g.a.data + k, g.a.row, {g.b.data + k + col * g.b.col, g.b.col, count, part, nullptr},
          {g.c + col, g.c_row, count, g.accumulate || k > 0, g.bias && k + part == g.depth ? g.bias + col : nullptr});
    }
  }
  template <class Epilogue>
  void run(const Epilogue& epilogue) const {
    const Index width = panel_width<T>(), count = (g.cols + width - 1) / width;
    const bool in_rows = g.rows <= kProductRows && g.a.col == 1 && g.b.row == 1 && g.b.col != 1;
    const Index in_place = g.b.col == 1 ? g.cols / width * width : 0;  // columns that are read where they lie
    const auto make_scratch = [&] {
      return Tensor<T, 1>::uninitialized({in_rows || in_place == g.cols ? 0 : (depth_block(g.depth) + 1) * width});
    };
    const Index grain = std::max<Index>(1, 65536 / (g.depth * width));  // what is worth a thread
    parallel_for(count, grain, make_scratch, [&](Index begin, Index end, Tensor<T, 1>& scratch) {
      const Index first = begin * width, last = std::min(g.cols, end * width), packed = std::clamp(in_place, first, last);
      if (in_rows) {
        rows(first, last - first);
      } else {
        if (first < packed) panels(first, packed - first, false, nullptr);
        for (Index col = packed; col < last; col += width) panels(col, std::min(width, last - col), true, scratch.data());
      }
      epilogue(0, g.rows, first, last - first, g.c + first, g.c_row);
    });
  }
};

/// The product with so few columns that a panel would be nearly empty, as dot products: rows of A and columns of B that lie one number behind the other (a
/// linear layer with one output). Never chosen by the number of rows, so a row keeps its bits. (Granite Rapids: 1x1000 by 1000x1 3.7 us in a panel, 0.04
/// like this; 1000x3 by 3x3 would take four times as long.)
template <class T>
struct FewColumns {
  GemmProblem<T> g;

  static bool fits(Index cols, Index depth, const MatrixRef<T>& a, const MatrixRef<T>& b) {
    return a.col == 1 && b.row == 1 && cols <= 4 && depth >= 16 * cols;
  }

  /// Four sums a lane, so that one need not wait for another.
  template <class Isa>
  HEED_INLINE static T dot(const T* x, const T* y, Index depth) {
    using P = Packet<Isa, T>;
    constexpr Index lanes = P::lanes;
    P sums[4] = {P::zero(), P::zero(), P::zero(), P::zero()};
    Index k = 0;
    for (; k + 4 * lanes <= depth; k += 4 * lanes)
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) sums[i] = P::fma(P::load(x + k + i * lanes), P::load(y + k + i * lanes), sums[i]);
    for (; k < depth; k += lanes) sums[0] = P::fma(P::load_partial(x + k, depth - k), P::load_partial(y + k, depth - k), sums[0]);
    return ((sums[0] + sums[1]) + (sums[2] + sums[3])).sum();
  }
  template <class Isa>
  HEED_INLINE static void run(const GemmProblem<T>* g, Index begin, Index end) {
    for (Index i = begin; i < end; ++i)
      for (Index j = 0; j < g->cols; ++j) {
        const T sum = dot<Isa>(g->a.data + i * g->a.row, g->b.data + j * g->b.col, g->depth) + (g->bias ? g->bias[j] : T(0));
        T& target = g->c[i * g->c_row + j];
        target = g->accumulate ? T(target + sum) : sum;
      }
  }
  template <class Epilogue>
  void run(const Epilogue& epilogue) const {
    const Index grain = std::max<Index>(1, 65536 / (g.depth * g.cols));  // what is worth a thread
    parallel_for(g.rows, grain, [&](Index begin, Index end) {
      dispatch<FewColumns, T>(&g, begin, end);
      epilogue(begin, end - begin, 0, g.cols, g.c + begin * g.c_row, g.c_row);
    });
  }
};

/// The product of narrow rows, without gaps between them, with a small B: a row a lane. Never chosen by the number of rows, so a row keeps its bits.
/// (Linear layers: 1000x1 to 1 2.9 -> 1.6 us, 1000x3 to 3 4.3 -> 3.0, 1x1 to 1 109 -> 34 ns; 1000x8 to 8 would take 1.7 times as long.)
template <class T>
struct NarrowProduct {
  GemmProblem<T> g;

  static bool fits(Index cols, Index depth, const MatrixRef<T>& a, Index c_row) {
    constexpr Index most = NarrowRows<Scalar, T>::most_features;
    return cols <= most && depth <= most && cols * depth <= 36 && a.col == 1 && a.row == depth && c_row == cols;
  }

  template <class Isa>
  HEED_INLINE static void run(const GemmProblem<T>* g, Index begin, Index end) {
    using P = Packet<Isa, T>;
    using Rows = NarrowRows<Isa, T>;
    for (Index first = begin; first < end; first += Rows::most_rows) {
      const Index part = std::min(Rows::most_rows, end - first);
      const Rows a(part, g->depth, g->a.data + first * g->depth);
      T* c = g->c + first * g->c_row;
      Rows result(0, g->cols, c);
      for (Index i = 0; i < part; i += P::lanes)
        for (Index j = 0; j < g->cols; ++j) {
          P sum = P::zero();
          for (Index k = 0; k < g->depth; ++k) sum = P::fma(a.load(i, k), P::broadcast(g->b.data[k * g->b.row + j * g->b.col]), sum);
          result.set(i, j, g->bias ? sum + P::broadcast(g->bias[j]) : sum);
        }
      result.store(part, g->cols, c, g->accumulate);
    }
  }
  template <class Epilogue>
  void run(const Epilogue& epilogue) const {
    parallel_for(g.rows, 8192, [&](Index begin, Index end) {
      dispatch<NarrowProduct, T>(&g, begin, end);
      epilogue(begin, end - begin, 0, g.cols, g.c + begin * g.c_row, g.c_row);
    });
  }
};

}  // namespace detail

/// C (rows x cols) = A (rows x depth) B (depth x cols) [+ bias] [+ C]. Either operand may be a transposed view. Sums as above, except for dot products
/// (`FewColumns`), which run over the depth in the lanes of vectors; the same bits for any number of rows and threads.
template <class T, class Epilogue = NoEpilogue>
void gemm(Index rows, Index cols, Index depth, const MatrixRef<T>& a, const MatrixRef<T>& b, T* c, Index c_row, bool accumulate = false,
    const std::type_identity_t<T>* bias = nullptr, const Epilogue& epilogue = {}) {
  if (rows == 0 || cols == 0) return;
  // One column, made of columns that lie one number behind the other, is a row of the transposed product: Cᵀ = Bᵀ Aᵀ.
  if constexpr (std::is_same_v<Epilogue, NoEpilogue>)
    if (cols == 1 && rows > 1 && c_row == 1 && a.row == 1 && !bias)
      return gemm(1, rows, depth, b.transposed(), a.transposed(), c, rows, accumulate);
  const detail::GemmProblem<T> problem{rows, cols, depth, a, b, c, c_row, accumulate, bias};
  if (depth > 0 && detail::NarrowProduct<T>::fits(cols, depth, a, c_row)) return detail::NarrowProduct<T>{problem}.run(epilogue);
  if (depth > 0 && detail::FewColumns<T>::fits(cols, depth, a, b)) return detail::FewColumns<T>{problem}.run(epilogue);
  if (depth > 0 && detail::FewRows<T>::fits(rows, a)) return detail::FewRows<T>{problem}.run(epilogue);
  PackedOperand<T> packed;
  packed.pack(depth, cols, b);
  packed_gemm(rows, a, packed, c, c_row, accumulate, bias, epilogue);
}
HEED_COMPILE_ONCE(gemm, NoEpilogue);

}  // namespace heed::inline HEED_ABI::kernels
