// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>

#include <heed/core/tensor.hpp>

namespace heed::inline HEED_ABI {

/// The slopes of ALiBi, attention with linear biases (Press et al. 2022): -slope |position of the query - position of the key| is added to the scores of
/// a head. For a power of two they are 2^(-8 (h + 1) / num_heads), h < num_heads; for another number of heads those of the next lower power P and
/// then, of those of 2 P, every other one from the first on, as in the paper's code. Nothing is learned in the paper; attention gives a
/// gradient for slopes that are.
///
/// ```cpp
/// const auto slopes = alibi_slopes<float>(heads);
/// y = attention.forward(q, k, v, {.slopes = slopes.span()});
/// ```
///
/// Throws std::invalid_argument unless there is a head.
template <class T>
Tensor<T, 1> alibi_slopes(Index num_heads) {
  require(num_heads > 0, "alibi_slopes: num_heads (", num_heads, ") must be positive");
  Index power = 1;
  while (2 * power <= num_heads) power *= 2;
  Tensor<T, 1> slopes({num_heads});
  for (Index h = 0; h < num_heads; ++h) {
    const Index heads = h < power ? power : 2 * power, number = h < power ? h + 1 : 2 * (h - power) + 1;
    slopes[h] = T(std::exp2(-8 * static_cast<double>(number) / static_cast<double>(heads)));
  }
  return slopes;
}

/// What the slopes add, as a matrix (heads, queries, keys) where query i stands at key past + i: for looking at, and for attention that knows
/// additive biases only. The attention of this library takes the slopes themselves and makes no matrix.
template <class T>
Tensor<T, 3> alibi_bias(const TensorView<const T, 1>& slopes, Index queries, Index keys, Index past = 0) {
  auto bias = Tensor<T, 3>::uninitialized({slopes.size(), queries, keys});
  for (Index h = 0; h < slopes.size(); ++h)
    for (Index i = 0; i < queries; ++i)
      for (Index j = 0; j < keys; ++j) bias(h, i, j) = -slopes[h] * T(static_cast<double>(std::abs(past + i - j)));
  return bias;
}

}  // namespace heed::inline HEED_ABI
