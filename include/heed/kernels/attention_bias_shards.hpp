// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdlib>

#include <heed/core/parallel.hpp>
#include <heed/core/tensor.hpp>
#include <heed/kernels/attention_mask.hpp>

namespace heed::inline HEED_ABI::kernels {

/// Batches that share one bias are cut into at most so many shards, whose sums are folded in order.
inline constexpr Index kBiasShards = 8;

namespace detail {

/// Whether an element of the bias may stand for several pairs of query and key although neither stride is 0.
template <class T>
bool rows_overlap(const Attention<T>& a, const MaskRef<T>& bias) {
  const Index query = std::abs(bias.query), key = std::abs(bias.key);
  return query != 0 && key != 0 && a.queries > 1 && a.keys > 1 && query < key * a.keys && key < query * a.queries;
}

/// The gradient of a bias that several batches share: each shard of batches adds to a copy of its own.
template <class T>
struct BiasShards {
  Index shards = 1, size = 0;  ///< size 0: no copies, all batches add to the bias itself
  Index heads = 1, rows = 1, cols = 1;
  bool rows_meet = false;  ///< rows of the bias have numbers in common: they are not added to at once
  MaskRef<T> copy;         ///< the first copy, with strides of its own
  MaskRef<T> target;       ///< element (0, head, row, col) of the bias
  Tensor<T, 1> sums;

  BiasShards(const Attention<T>& a, const MaskRef<T>& bias) : target(bias) {
    if (!bias || bias.batch != 0 || a.batches == 1) return;
    shards = std::min(a.batches, kBiasShards), heads = bias.head ? a.heads : 1;
    const Index keys = std::min(a.keys, a.key_limit);
    if (rows_overlap(a, bias) && std::abs(bias.query) == std::abs(bias.key)) {
      // All numbers of the table, in the order of memory: the first is that of the last query, or key, where strides are negative.
      const Index step = std::abs(bias.key), query = bias.query / step, key = bias.key / step;
      const Index first = (query < 0 ? a.queries - 1 : 0) + (key < 0 ? keys - 1 : 0);
      cols = a.queries + keys - 1;
      copy = {nullptr, 0, bias.head ? cols : 0, query, key};
      target.data -= first * step, target.key = step;
      size = heads * cols;
      sums = Tensor<T, 1>({shards * size});
      copy.data = sums.data() + first;
    } else {
      rows_meet = rows_overlap(a, bias);
      rows = bias.query ? a.queries : 1, cols = bias.key ? keys : 1;
      copy = {nullptr, 0, bias.head ? rows * cols : 0, bias.query ? cols : 0, bias.key ? Index(1) : Index(0)};
      size = heads * rows * cols;
      sums = Tensor<T, 1>({shards * size});
      copy.data = sums.data();
    }
  }
  void fold() {
    parallel_for(size > 0 ? heads * rows : 0, rows_meet ? heads * rows : 1 + 16384 / (shards * cols + 1), [&](Index begin, Index end) {
      for (Index row = begin; row < end; ++row)
        for (Index s = 0; s < shards; ++s)
          for (Index j = 0; j < cols; ++j)
            target.data[row / rows * target.head + row % rows * target.query + j * target.key] += sums[(s * heads * rows + row) * cols + j];
    });
  }
};

}  // namespace detail
}  // namespace heed::inline HEED_ABI::kernels
