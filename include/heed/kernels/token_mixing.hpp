// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/parallel.hpp>
#include <heed/core/simd.hpp>

namespace heed::inline HEED_ABI::kernels {

/// Rows of tokens: feature c of token t of sequence n lies at data[(n * tokens + t) * row + c], so slices of a packed projection are read
/// in place.
template <class T>
struct TokenRows {
  T* data;    ///< the first element
  Index row;  ///< elements from token to token
};

namespace detail {

template <class T>
struct MixTokens {
  template <class Isa>
  HEED_INLINE static void copy(Index tokens, Index width, const T* in, Index in_row, T* out, Index out_row) {
    using P = Packet<Isa, T>;
    for (Index t = 0; t < tokens; ++t)
      for (Index c = 0; c < width; c += P::lanes)
        P::load_partial(in + t * in_row + c, width - c).store_partial(out + t * out_row + c, width - c);
  }
  template <class Isa>
  HEED_INLINE static void average(Index tokens, Index width, const T* in, Index in_row, T* out, Index out_row) {
    using P = Packet<Isa, T>;
    const P share = P::broadcast(T(1.0 / static_cast<double>(tokens)));
    for (Index c = 0; c < width; c += P::lanes) {
      P sum = P::zero();
      for (Index t = 0; t < tokens; ++t) sum = sum + P::load_partial(in + t * in_row + c, width - c);
      sum = sum * share;
      for (Index t = 0; t < tokens; ++t) sum.store_partial(out + t * out_row + c, width - c);
    }
  }
  template <class Isa>
  HEED_INLINE static void run(bool uniform, Index tokens, Index width, const T* in, Index in_row, T* out, Index out_row) {
    if (uniform)
      average<Isa>(tokens, width, in, in_row, out, out_row);
    else
      copy<Isa>(tokens, width, in, in_row, out, out_row);
  }
};

}  // namespace detail

/// out = A in for each sequence, with A = 1/T everywhere (`uniform`) or A = I: the control arms of attention. A is symmetric, so the same
/// call with the gradients is the backward pass. Parallel over sequences.
template <class T>
void mix_tokens(bool uniform, Index sequences, Index tokens, Index width, const TokenRows<const T>& in, const TokenRows<T>& out) {
  parallel_for(sequences, 1 + 8192 / (1 + tokens * width), [&](Index begin, Index end) {
    for (Index n = begin; n < end; ++n)
      dispatch<detail::MixTokens<T>, T>(
          uniform, tokens, width, in.data + n * tokens * in.row, in.row, out.data + n * tokens * out.row, out.row);
  });
}
HEED_COMPILE_ONCE(mix_tokens);

/// The A of `mix_tokens`, `count` times, each (tokens, tokens).
template <class T>
void mixing_weights(bool uniform, Index count, Index tokens, T* weights) {
  const T share = T(1.0 / static_cast<double>(tokens));
  std::fill_n(weights, count * tokens * tokens, uniform ? share : T(0));
  if (uniform) return;
  for (Index row = 0; row < count * tokens; ++row) weights[row * tokens + row % tokens] = T(1);
}
HEED_COMPILE_ONCE(mixing_weights);

}  // namespace heed::inline HEED_ABI::kernels
