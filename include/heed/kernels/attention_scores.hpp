// SPDX-License-Identifier: MIT
#pragma once

#include <heed/kernels/attention_blocks.hpp>
#include <heed/kernels/attention_mask.hpp>
#include <heed/kernels/row_product.hpp>

namespace heed::inline HEED_ABI::kernels {

// Scores of a block of queries against a chunk of keys: what the forward and the backward pass of attention both begin with.

/// Keys or values of a chunk as the right operand of x yᵀ: packed for tiles of queries; few queries, as of a model that decodes, read them where they lie.
template <class T>
class TransposedRows {
 public:
  /// Elements that `packed` needs for `chunk` rows (whole panels of them).
  static Index packed_size(Index queries, Index chunk, Index cols) {
    return queries <= kProductRows ? 0 : std::max<Index>(1, chunk * cols);
  }

  /// `packed` is null for few queries, which with `fetches` ask ahead for rows that come from beyond L2; rows whose flag is 0 count as zeros.
  TransposedRows(const T* data, Index row, Index rows, Index cols, const unsigned char* flags, T* packed, bool fetches = false)
      : rows_{data, row, rows, cols, flags}, packed_(packed), fetches_(fetches) {
    if (packed) pack_transposed(data, row, rows, cols, flags, packed);
  }
  /// products = x yᵀ with the first `keys` rows of y, and zeros up to whole vectors of them.
  void multiply(const T* x, Index x_row, Index x_rows, Index keys, T* products, Index products_row, const TileSizes<T>& sizes,
      FetchAhead& ahead) const {
    const Index padded = sizes.whole_vectors(keys);
    if (!packed_) {
      row_products<T>(x_rows, x, x_row, {rows_.data, rows_.row, keys, rows_.cols, rows_.flags}, {products, products_row, padded}, fetches_);
      return;
    }
    const TileProduct<T> product{.rows = x_rows,
        .cols = padded,
        .depth = rows_.cols,
        .a = x,
        .a_row = x_row,
        .a_step = 1,
        .b = packed_,
        .b_row = sizes.width,
        .b_panel = sizes.width * rows_.cols,
        .c = products,
        .c_row = products_row,
        .slack = true,
        .whole_tiles = true};
    multiply_tiles(product, &ahead);
  }

 private:
  detail::RowsSource<T> rows_;
  const T* packed_;
  bool fetches_;
};

/// A job's room for scores: for blocks of some queries against chunks of some keys (whole panels).
template <class T>
struct ScoreScratch {
  Index q_row = 0;        ///< elements from row to row of scaled_q
  Index s_row = 0;        ///< and of s and slope: a line beyond whole chunks, so that rows do not share cache sets
  T* packed_k = nullptr;  ///< the keys, see TransposedRows
  T* scaled_q = nullptr;  ///< the queries, times scale and log2 e
  T* s = nullptr;         ///< the scores
  T* slope = nullptr;     ///< null, or takes the derivative of the soft cap
  T* bias_row = nullptr;  ///< for biases that do not lie key by key
  T* numbers = nullptr;   ///< 0, 1, 2, ... for distances, see `number_keys`
  unsigned char* flag_row = nullptr;

  ScoreScratch(const Attention<T>& a, Index chunk, const TileSizes<T>& sizes)
      : q_row(sizes.whole_vectors(a.width) + sizes.lanes), s_row(chunk + 16) {}

  static Index bias_size(const Attention<T>& a, Index chunk) { return a.bias && a.bias.key != 1 ? chunk : 0; }
  static Index numbers_size(const Attention<T>& a, Index chunk) { return a.slopes ? chunk : 0; }
  /// To be called once the memory is there.
  void number_keys(Index chunk) {
    for (Index j = 0; j < chunk && numbers; ++j) numbers[j] = T(static_cast<double>(j));
  }
};

/// The keys [key, key + keys) of key head kv of sequence b.
template <class T>
TransposedRows<T> chunk_keys(
    const Attention<T>& a, Index b, Index kv, Index key, Index keys, const unsigned char* flags, const ScoreScratch<T>& scratch) {
  const bool fetches = a.width <= 256 && fetching_pays<T>(a.batches * a.kv_heads * a.keys * (a.width + a.value_width));
  return {a.k.at(b, kv, key), a.k.row, keys, a.width, flags, scratch.packed_k, fetches};
}

/// The rows of a bias, or of its gradient, that a block of queries meets, if they come from beyond L2; the block's first element is `first`. (Zen 4,
/// 8 x 1024 x 64: a bias makes the forward pass 7 % longer instead of 17.)
template <class T, class M>
FetchAhead bias_ahead(const Attention<T>& a, const T* first, const MaskRef<M>& strides, Index rows, Index keys) {
  FetchAhead ahead;
  if (strides.key == 1 && strides.query > 0 && fetching_pays<T>(std::min(a.queries * a.keys, a.queries * strides.query + a.keys)))
    ahead.add(first, strides.query, rows, keys);
  return ahead;
}

/// Scores, in base 2, of queries [i, i + rows) of head h of sequence b against the keys [key, key + keys), the first of `k`, with soft cap, distances, bias and
/// masks.
template <class T>
ScoreBlock<T> score_block(const Attention<T>& a, Index b, Index h, Index i, Index rows, const TransposedRows<T>& k, Index key, Index keys,
    const unsigned char* flags, const TileSizes<T>& sizes, const ScoreScratch<T>& scratch, FetchAhead& ahead) {
  copy_rows(a.q.at(b, h, i), a.q.row, rows, a.width, nullptr, T(a.scale * detail::kLog2E), scratch.scaled_q, scratch.q_row,
      scratch.packed_k ? sizes.with_slack(rows) : rows);
  FetchAhead bias = a.bias && ahead.empty() ? bias_ahead(a, a.bias.row(b, h, i) + key * a.bias.key, a.bias, rows, keys) : FetchAhead();
  k.multiply(scratch.scaled_q, scratch.q_row, rows, keys, scratch.s, scratch.s_row, sizes, bias.empty() ? ahead : bias);
  const ScoreBlock<T> block{&a, b, h, i, rows, key, keys, sizes.whole_vectors(keys), scratch.s, scratch.s_row, flags, scratch.slope,
      scratch.flag_row, scratch.bias_row, scratch.numbers};
  mask_scores(block);
  return block;
}
HEED_COMPILE_ONCE(score_block);

}  // namespace heed::inline HEED_ABI::kernels
