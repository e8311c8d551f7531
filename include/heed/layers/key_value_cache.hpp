// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>

#include <heed/core/tensor.hpp>
#include <heed/kernels/attention_mask.hpp>

namespace heed::inline HEED_ABI {

/// Keys and values of the tokens that a causal attention layer has seen, so that the next ones need not compute them again: what
/// `MultiHeadAttention::decode` continues. The memory is taken once, for `capacity` tokens; copies are deep (to go on in two ways).
///
/// Shapes: keys and values (sequences, capacity, features) with features = kv_heads * head_width, of which the first `length()` tokens are filled.
template <class T>
class KeyValueCache {
 public:
  KeyValueCache() = default;
  /// Throws std::invalid_argument unless all are positive.
  KeyValueCache(Index sequences, Index capacity, Index features) {
    require(sequences > 0 && capacity > 0 && features > 0, "KeyValueCache: sequences (", sequences, "), capacity (", capacity,
        ") and features (", features, ") must be positive");
    keys_ = Tensor<T, 3>::uninitialized({sequences, capacity, features});
    values_ = Tensor<T, 3>::uninitialized(keys_.shape());
  }

  /// How many sequences go on at once.
  Index sequences() const { return keys_.empty() ? 0 : keys_.size(0); }
  /// Tokens that a sequence may have.
  Index capacity() const { return keys_.empty() ? 0 : keys_.size(1); }
  /// Numbers of a token's key: kv_heads * head_width.
  Index features() const { return keys_.empty() ? 0 : keys_.size(2); }
  /// Tokens seen so far, of each sequence.
  Index length() const { return length_; }
  /// Forgets all tokens but the first `length`.
  void truncate(Index length) {
    require(0 <= length && length <= length_, "KeyValueCache: truncate(", length, ") must lie in 0 ... length = ", length_);
    length_ = length;
  }
  /// Forgets all tokens and keeps the memory.
  void clear() { length_ = 0; }

  /// Adds `tokens` tokens to each sequence: token t of sequence b has its features at `keys.at(b, 0, t)` and `values.at(b, 0, t)`. Throws
  /// std::invalid_argument, and adds nothing, when they do not fit.
  void append(Index tokens, const kernels::HeadRows<const T>& keys, const kernels::HeadRows<const T>& values) {
    require_room(tokens);
    for (Index b = 0; b < sequences(); ++b)
      for (Index t = 0; t < tokens; ++t) {
        std::copy_n(keys.at(b, 0, t), features(), keys_.data() + (b * capacity() + length_ + t) * features());
        std::copy_n(values.at(b, 0, t), features(), values_.data() + (b * capacity() + length_ + t) * features());
      }
    length_ += tokens;
  }
  /// Throws std::invalid_argument unless `tokens` more tokens fit.
  void require_room(Index tokens) const {
    require(length_ + tokens <= capacity(), "KeyValueCache: ", tokens, " more tokens do not fit behind the ", length_,
        " that it holds, its capacity is ", capacity(), "; make it larger, or clear() it and begin again");
  }

  /// The heads of width `features() / heads`, for the attention kernel.
  kernels::HeadRows<const T> keys(Index heads) const { return rows(keys_, heads); }
  /// The same of the values.
  kernels::HeadRows<const T> values(Index heads) const { return rows(values_, heads); }

 private:
  kernels::HeadRows<const T> rows(const Tensor<T, 3>& all, Index heads) const {
    return {all.data(), capacity() * features(), features() / heads, features()};
  }

  Tensor<T, 3> keys_, values_;
  Index length_ = 0;
};

}  // namespace heed::inline HEED_ABI
