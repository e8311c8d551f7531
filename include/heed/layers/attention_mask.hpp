// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/layer.hpp>
#include <heed/kernels/attention_mask.hpp>

namespace heed {

/// A view of a mask of any rank up to 4, whose axes are, from the last on, keys, queries, heads and batch. Missing axes and axes of size 1
/// repeat, as in NumPy: (keys), (queries, keys), (heads, queries, keys), (batch, 1, queries, keys), ...
template <class M>
class MaskView {
 public:
  MaskView() = default;
  template <int Rank>
    requires(Rank <= 4)
  MaskView(const TensorView<const M, Rank>& mask) : data_(mask.data()), shape_(mask.shape()), given_(true) {}  // NOLINT: a view of a view
  template <int Rank>
    requires(Rank <= 4)
  MaskView(const Tensor<M, Rank>& mask) : MaskView(static_cast<const TensorView<const M, Rank>&>(mask)) {}  // NOLINT
  template <int Rank>
  MaskView(const Tensor<M, Rank>&& mask) = delete;  // the mask must outlive the view

  explicit operator bool() const { return given_; }
  const M* data() const { return data_; }
  const Shape& shape() const { return shape_; }

  /// Strides over (batch, heads, queries, keys). Throws ShapeError if an axis is neither 1 nor what it should be.
  kernels::MaskRef<const M> broadcast(std::string_view who, std::string_view what, const Shape& full) const {
    kernels::MaskRef<const M> ref{data_, 0, 0, 0, 0};
    if (!given_) return ref;
    Index* strides[] = {&ref.key, &ref.query, &ref.head, &ref.batch};
    Index stride = 1;
    for (int axis = 1; axis <= shape_.rank(); ++axis) {  // from the last axis on
      const Index size = shape_[-axis];
      require<ShapeError>(size == 1 || size == full[-axis], who, ": ", what, " ", shape_,
          " does not fit the weights (batch, heads, queries, keys) = ", full, "; each of its axes, from the last on, must be equal or 1");
      *strides[axis - 1] = size == 1 ? 0 : stride;
      stride *= size;
    }
    if (full.size() == 0 || !data_) ref.data = nullptr;  // nothing to mask
    return ref;
  }

 private:
  const M* data_ = nullptr;
  Shape shape_;
  bool given_ = false;
};

/// What an attention layer's call may attend to. The library's one rule: **true = attend**. Members may be combined; what they view must live as
/// long as the cache of a training pass.
template <class T>
struct AttentionMask {
  MaskView<bool> attend = {};       ///< true = attend; up to (batch, heads, queries, keys)
  MaskView<bool> attend_keys = {};  ///< true = attend; (batch, keys): false for padding
  MaskView<T> bias = {};            ///< added to the scores, -inf masks; up to (batch, heads, queries, keys)

  /// Puts the masks on a problem of attention whose sizes are set.
  void bind(std::string_view who, kernels::Attention<T>& a) const {
    const Shape full{a.batches, a.heads, a.queries, a.keys};
    a.mask = attend.broadcast(who, "the mask", full);
    a.bias = bias.broadcast(who, "the bias", full);
    if (!attend_keys) return;
    require<ShapeError>(attend_keys.shape() == Shape{a.batches, a.keys}, who, ": the mask of keys is ", attend_keys.shape(),
        ", it must be (batch, keys) = ", Shape{a.batches, a.keys});
    if (attend_keys.data()) a.key_mask = {attend_keys.data(), a.keys, 0, 0, 1};
  }
};

/// The masks of torch.nn.MultiheadAttention, turned into the library's. There **true = masked out**, the opposite of ours, so boolean masks are
/// inverted into tensors that this object owns: it must live as long as the cache of a training pass.
template <class T>
class TorchAttentionMask {
 public:
  /// Either may be left out: `key_padding_mask` (N, S), true = ignore the key; `attn_mask` (T, S) or (N num_heads, T, S), true = may not attend.
  explicit TorchAttentionMask(const MaskView<bool>& key_padding_mask, const MaskView<bool>& attn_mask = {}, Index num_heads = 1) {
    if (key_padding_mask) mask_.attend_keys = invert<2>(keys_, key_padding_mask, key_padding_mask.shape());
    if (attn_mask) mask_.attend = invert<4>(attend_, attn_mask, by_head(attn_mask.shape(), num_heads));
  }
  /// `attn_mask` of floats, which is added to the scores.
  TorchAttentionMask(const MaskView<bool>& key_padding_mask, const MaskView<T>& attn_mask, Index num_heads = 1)
      : TorchAttentionMask(key_padding_mask, MaskView<bool>(), num_heads) {
    mask_.bias = TensorView<const T, 4>(attn_mask.data(), by_head(attn_mask.shape(), num_heads));
  }
  TorchAttentionMask(const TorchAttentionMask&) = delete;
  TorchAttentionMask& operator=(const TorchAttentionMask&) = delete;

  const AttentionMask<T>& mask() const& { return mask_; }
  const AttentionMask<T>& mask() const&& = delete;  // it looks at tensors of this object

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

}  // namespace heed
