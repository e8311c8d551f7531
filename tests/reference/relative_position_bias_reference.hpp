// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/shape.hpp>

namespace reference {

/// The number of head h for entry p stands in row rows[p], column h of the table.
template <class T>
void relative_position_bias_forward(heed::Index entries, heed::Index heads, const heed::Index* rows, const T* table, T* bias) {
  for (heed::Index p = 0; p < entries; ++p)
    for (heed::Index h = 0; h < heads; ++h) bias[h * entries + p] = table[rows[p] * heads + h];
}

template <class T>
void relative_position_bias_backward(heed::Index entries, heed::Index heads, const heed::Index* rows, const T* d_bias, T* d_table) {
  for (heed::Index p = 0; p < entries; ++p)
    for (heed::Index h = 0; h < heads; ++h) d_table[rows[p] * heads + h] += d_bias[h * entries + p];
}

}  // namespace reference
