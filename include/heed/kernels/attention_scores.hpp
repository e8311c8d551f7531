// SPDX-License-Identifier: MIT
#pragma once

#include <heed/kernels/attention_blocks.hpp>
#include <heed/kernels/attention_mask.hpp>

namespace heed::inline HEED_ABI::kernels {

// Scores of a block of queries against a chunk of packed keys: what the forward and the backward pass of attention both begin with.

/// A job's room for scores: for blocks of some queries against chunks of some keys (whole panels).
template <class T>
struct ScoreScratch {
  Index q_row = 0;        ///< elements from row to row of scaled_q
  Index s_row = 0;        ///< and of s and slope: an odd number of lines, so that rows do not share cache sets
  T* packed_k = nullptr;  ///< the keys, see `pack_transposed`
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

/// Scores, in base 2, of queries [i, i + rows) of head h of sequence b against the packed keys [key, key + keys), with soft cap, distances, bias and masks.
template <class T>
ScoreBlock<T> score_block(const Attention<T>& a, Index b, Index h, Index i, Index rows, Index key, Index keys, const unsigned char* flags,
    const TileSizes<T>& sizes, const ScoreScratch<T>& scratch, FetchAhead& ahead) {
  const Index padded = sizes.whole_vectors(keys);
  copy_rows(a.q.at(b, h, i), a.q.row, rows, a.width, nullptr, T(a.scale * detail::kLog2E), scratch.scaled_q, scratch.q_row,
      sizes.with_slack(rows));
  const TileProduct<T> product{.rows = rows,
      .cols = padded,
      .depth = a.width,
      .a = scratch.scaled_q,
      .a_row = scratch.q_row,
      .a_step = 1,
      .b = scratch.packed_k,
      .b_row = sizes.width,
      .b_panel = sizes.width * a.width,
      .c = scratch.s,
      .c_row = scratch.s_row,
      .slack = true,
      .whole_tiles = true};
  multiply_tiles(product, &ahead);
  const ScoreBlock<T> block{&a, b, h, i, rows, key, keys, padded, scratch.s, scratch.s_row, flags, scratch.slope, scratch.flag_row,
      scratch.bias_row, scratch.numbers};
  mask_scores(block);
  return block;
}
HEED_COMPILE_ONCE(score_block);

}  // namespace heed::inline HEED_ABI::kernels
