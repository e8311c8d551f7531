// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <vector>

#include <heed/core/shape.hpp>

// A lookup and its gradient, one number after the other.
namespace reference {

template <class T>
std::vector<T> embedding(heed::Index count, heed::Index width, const std::int64_t* numbers, const T* table) {
  std::vector<T> y;
  for (heed::Index i = 0; i < count; ++i)
    for (heed::Index j = 0; j < width; ++j) y.push_back(table[numbers[i] * width + j]);
  return y;
}

/// Adds to d_table, in the order of the numbers.
template <class T>
void add_embedding_gradient(
    heed::Index count, heed::Index width, const std::int64_t* numbers, const T* dy, heed::Index padding, std::vector<T>& d_table) {
  for (heed::Index i = 0; i < count; ++i)
    for (heed::Index j = 0; j < width; ++j)
      if (numbers[i] != padding) d_table[static_cast<std::size_t>(numbers[i] * width + j)] += dy[i * width + j];
}

}  // namespace reference
