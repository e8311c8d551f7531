// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <iterator>
#include <span>

#include <heed/core/layer.hpp>
#include <heed/kernels/attention_mask.hpp>

namespace heed::inline HEED_ABI {

/// A view of a mask of any rank up to 4, whose axes are, from the last on, keys, queries, heads and batch. Missing axes and axes of size 1
/// repeat, as in NumPy: (keys), (queries, keys), (heads, queries, keys), (batch, 1, queries, keys), ...
template <class M>
class MaskView {
 public:
  MaskView() = default;
  /// Looks at the caller's mask, which must live until it is used: in training until backward returns.
  template <int Rank>
    requires(Rank <= 4)
  MaskView(const TensorView<const M, Rank>& mask) : data_(mask.data()), shape_(mask.shape()), given_(true) {  // NOLINT: a view of a view
    Index stride = 1;
    for (int axis = 1; axis <= Rank; stride *= shape_[-axis++]) strides_[axis - 1] = stride;
  }
  /// The same of a tensor.
  template <int Rank>
    requires(Rank <= 4)
  MaskView(const Tensor<M, Rank>& mask) : MaskView(static_cast<const TensorView<const M, Rank>&>(mask)) {}  // NOLINT
  template <int Rank>
  HEED_REFUSED("a mask is looked at, not copied, and a temporary is gone before it is used: give it a name")
  MaskView(const Tensor<M, Rank>&& mask);
  /// Strides of its own over `shape`, (batch, heads, queries, keys), whose axes may be 1. With query -1 and key 1, for instance, `elements.data`
  /// is element T - 1 of a table of 2 T - 1 numbers, one for each key - query from 1 - T on.
  MaskView(const kernels::MaskRef<const M>& elements, const Shape& shape)
      : data_(elements.data), shape_(shape), strides_{elements.key, elements.query, elements.head, elements.batch}, given_(true) {
    require<ShapeError>(shape.rank() == 4, "MaskView: the shape ", shape, " must be (batch, heads, queries, keys)");
  }

  /// Whether there is a mask.
  explicit operator bool() const { return given_; }
  /// The elements.
  const M* data() const { return data_; }
  /// As the mask was given.
  const Shape& shape() const { return shape_; }

  /// Strides over (batch, heads, queries, keys). Throws ShapeError if an axis is neither 1 nor what it should be. With `short_keys` the axis of
  /// keys is as long as it is: never repeated, and at most as long as it should be.
  kernels::MaskRef<const M> broadcast(std::string_view who, std::string_view what, const Shape& full, bool short_keys = false) const {
    kernels::MaskRef<const M> ref{data_, 0, 0, 0, 0};
    if (!given_) return ref;
    Index* strides[] = {&ref.key, &ref.query, &ref.head, &ref.batch};
    for (int axis = 1; axis <= shape_.rank(); ++axis) {  // from the last axis on
      const Index size = shape_[-axis];
      const bool is_short = axis == 1 && short_keys && size <= full[-1];
      require<ShapeError>(size == 1 || size == full[-axis] || is_short, who, ": ", what, " ", shape_,
          " does not fit the weights (batch, heads, queries, keys) = ", full, "; each of its axes, from the last on, must be equal or 1",
          short_keys ? ", and the last one at most as long" : "");
      *strides[axis - 1] = size == 1 && !is_short ? 0 : strides_[axis - 1];
    }
    if (full.size() == 0 || !data_) ref.data = nullptr;  // nothing to mask
    return ref;
  }

 private:
  const M* data_ = nullptr;
  Shape shape_;
  Index strides_[4] = {};  ///< of keys, queries, heads, batch
  bool given_ = false;
};

/// What an attention layer's call may attend to. The library's one rule: **true = attend**. Members may be combined; what they view must live as
/// long as the cache of a training pass.
template <class T>
struct AttentionMask {
  MaskView<bool> attend = {};               ///< true = attend; up to (batch, heads, queries, keys)
  MaskView<bool> attend_keys = {};          ///< true = attend; (batch, keys): false for padding
  MaskView<T> bias = {};                    ///< added to the scores, -inf masks; up to (batch, heads, queries, keys)
  std::span<const Index> key_lengths = {};  ///< (batch): sequence b has keys 0 ... key_lengths[b] - 1, those behind are padding
  std::span<const T> slopes = {};  ///< (heads): -slope |query's position - key's| is added to the scores (ALiBi, Press et al. 2022)
  Index past = 0;            ///< keys before those of the first query's own token: query i stands at key past + i, for causality and slopes
  bool short_masks = false;  ///< `attend`, `attend_keys` and `bias` may have fewer keys than there are; the keys behind are masked (ONNX)

  /// Puts the masks on a problem of attention whose sizes and alignment are set.
  void bind(std::string_view who, kernels::Attention<T>& a) const {
    const Shape full{a.batches, a.heads, a.queries, a.keys};
    a.mask = attend.broadcast(who, "the mask", full, short_masks);
    a.bias = bias.broadcast(who, "the bias", full, short_masks);
    if (short_masks)
      for (const Shape& shape : {attend.shape(), attend_keys.shape(), bias.shape()})
        if (shape.rank() > 0) a.key_limit = std::min(a.key_limit, shape[-1]);
    if (!key_lengths.empty()) {
      require<ShapeError>(
          std::ssize(key_lengths) == a.batches, who, ": ", key_lengths.size(), " lengths of keys for a batch of ", a.batches);
      for (const Index length : key_lengths)
        require<ShapeError>(0 <= length && length <= a.keys, who, ": a length of keys is ", length, ", it must lie in 0 ... ", a.keys);
      a.key_lengths = key_lengths.data();
    }
    if (!slopes.empty()) {
      require<ShapeError>(std::ssize(slopes) == a.heads, who, ": ", slopes.size(), " slopes for ", a.heads, " heads");
      a.slopes = slopes.data();
    }
    require(past >= 0 && (past == 0 || !a.end_aligned), who, ": past is ", past,
        a.end_aligned ? ", but the layer aligns the last query with the last key" : ", it must not be negative");
    a.causal_offset += past;
    if (!attend_keys) return;
    const Shape& keys = attend_keys.shape();
    require<ShapeError>(keys.rank() == 2 && keys[0] == a.batches && (keys[1] == a.keys || (short_masks && keys[1] <= a.keys)), who,
        ": the mask of keys is ", keys, ", it must be (batch, keys) = ", Shape{a.batches, a.keys});
    if (attend_keys.data()) a.key_mask = {attend_keys.data(), keys[1], 0, 0, 1};
  }
};

/// The masks of torch.nn.MultiheadAttention, turned into the library's. There **true = masked out**, the opposite of ours, so boolean masks are
/// inverted into tensors that this object owns: it must live as long as the cache of a training pass.
template <class T>
class TorchAttentionMask {
 public:
  /// Either may be left out: `key_padding_mask` (N, S), true = ignore the key; `attn_mask` (T, S) or (N num_heads, T, S), true = may not attend.
  explicit TorchAttentionMask(const MaskView<bool>& key_padding_mask, const MaskView<bool>& attn_mask = {}, Index num_heads = 1) {
    require<ShapeError>(!key_padding_mask || key_padding_mask.shape().rank() == 2, "TorchAttentionMask: key_padding_mask is ",
        key_padding_mask.shape(), ", it must be (N, S)");
    if (key_padding_mask) mask_.attend_keys = invert<2>(keys_, key_padding_mask, key_padding_mask.shape());
    if (attn_mask) mask_.attend = invert<4>(attend_, attn_mask, by_head(attn_mask.shape(), num_heads));
  }
  /// `attn_mask` of floats, which is added to the scores.
  TorchAttentionMask(const MaskView<bool>& key_padding_mask, const MaskView<T>& attn_mask, Index num_heads = 1)
      : TorchAttentionMask(key_padding_mask, MaskView<bool>(), num_heads) {
    if (attn_mask) mask_.bias = TensorView<const T, 4>(attn_mask.data(), by_head(attn_mask.shape(), num_heads));
  }
  TorchAttentionMask(const TorchAttentionMask&) = delete;
  TorchAttentionMask& operator=(const TorchAttentionMask&) = delete;

  /// The masks, to hand to attention. They look at tensors of this object.
  const AttentionMask<T>& mask() const& { return mask_; }
  HEED_REFUSED("the mask looks at tensors of this object, and a temporary is gone before they are used: give it a name")
  const AttentionMask<T>& mask() const&&;

 private:
  /// (T, S) as (1, 1, T, S), (N H, T, S) as (N, H, T, S).
  static Shape by_head(const Shape& shape, Index heads) {
    const bool each = shape.rank() == 3;
    require<ShapeError>(shape.rank() == 2 || (each && heads > 0 && shape[0] % heads == 0), "TorchAttentionMask: attn_mask ", shape,
        " is neither (T, S) nor (N num_heads, T, S) with num_heads = ", heads);
    return {each ? shape[0] / heads : 1, each ? heads : 1, shape[-2], shape[-1]};
  }
  template <int Rank>
  static TensorView<const bool, Rank> invert(Tensor<bool, Rank>& own, const MaskView<bool>& mask, const Shape& shape) {
    own.resize(shape);
    for (Index i = 0; i < own.size(); ++i) own[i] = !mask.data()[i];
    return own;
  }

  Tensor<bool, 2> keys_;
  Tensor<bool, 4> attend_;
  AttentionMask<T> mask_;
};

}  // namespace heed::inline HEED_ABI
