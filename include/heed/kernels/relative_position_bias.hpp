// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/parallel.hpp>

namespace heed::inline HEED_ABI::kernels {

// The number that a head adds to a score, read from a table (rows, heads) by the row that belongs to the pair of positions: an embedding whose result
// lies head by head, as attention reads it.

/// bias[h * entries + p] = table[rows[p] * heads + h]. Parallel over entries.
template <class T>
void relative_position_bias_forward(Index entries, Index heads, const Index* rows, const T* table, T* bias) {
  parallel_for(entries, 1 + 16384 / heads, [&](Index begin, Index end) {
    for (Index h = 0; h < heads; ++h)
      for (Index p = begin; p < end; ++p) bias[h * entries + p] = table[rows[p] * heads + h];
  });
}
HEED_COMPILE_ONCE(relative_position_bias_forward);

/// d_table[rows[p] * heads + h] += d_bias[h * entries + p]. Parallel over heads, so that each sum is taken in the order of p.
template <class T>
void relative_position_bias_backward(Index entries, Index heads, const Index* rows, const T* d_bias, T* d_table) {
  parallel_for(heads, 1 + 16384 / (entries + 1), [&](Index begin, Index end) {
    for (Index h = begin; h < end; ++h)
      for (Index p = 0; p < entries; ++p) d_table[rows[p] * heads + h] += d_bias[h * entries + p];
  });
}
HEED_COMPILE_ONCE(relative_position_bias_backward);

}  // namespace heed::inline HEED_ABI::kernels
