// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/tensor.hpp>

namespace heed::inline HEED_ABI {

/// Where a sequence stands that is decoded token by token: the state of layers that only count (PositionalEncoding, RotaryEmbedding).
struct DecodePosition {
  Index position = 0;  ///< of the next token

  /// Tokens seen so far.
  Index length() const { return position; }
  /// Forgets all tokens but the first `length`.
  void truncate(Index length) {
    require(0 <= length && length <= position, "DecodePosition: truncate(", length, ") must lie in 0 ... length = ", position);
    position = length;
  }
};

}  // namespace heed::inline HEED_ABI
