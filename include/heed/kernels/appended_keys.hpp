// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>

#include <heed/kernels/attention.hpp>

namespace heed::inline HEED_ABI::kernels {

/// Keys and values behind those of every sequence that every query attends, whatever the masks say: a learned row, a row of zeros, or both (the
/// bias_k, bias_v and add_zero_attn of torch.nn.MultiheadAttention). Makes an extended copy of the problem and keeps what it looks at.
template <class T>
class AppendedKeys {
 public:
  /// Copies keys, values, masks and bias of `a` with the appended columns behind them, and lets `a` look at the copies. Keys and values of a
  /// token lie together: width * kv_heads, value_width * kv_heads elements. A null `last_key` and `last_value` are no learned row. The causal
  /// rule and lengths become part of the mask, distances (slopes) part of the bias, which the appended columns escape.
  void extend(Attention<T>& a, const T* last_key, const T* last_value, bool zeros) {
    const Index keys = a.keys, all = keys + (last_key ? 1 : 0) + (zeros ? 1 : 0);
    mask_keys_ = std::min(keys, a.key_limit);
    extend_rows(a, a.k, a.kv_heads * a.width, last_key, all, k_);
    extend_rows(a, a.v, a.kv_heads * a.value_width, last_value, all, v_);
    const Shape full{a.batches, a.heads, a.queries, all};
    const Index head = a.queries * all, batch = a.heads * head;
    if (a.slopes || a.bias) {
      Tensor<T, 4> bias(full);
      for_each_row(a, [&](Index b, Index h, Index i) {
        for (Index j = 0; j < mask_keys_; ++j) {
          if (a.bias) bias(b, h, i, j) = a.bias.row(b, h, i)[j * a.bias.key];
          if (a.slopes) bias(b, h, i, j) -= a.slopes[h] * T(std::abs(static_cast<double>(a.position(b, i) - j)));
        }
      });
      bias_ = std::move(bias);
      a.bias = {bias_.data(), batch, head, all, 1};
    }
    if (a.mask || a.causal || a.key_lengths || a.key_limit < keys) {
      attend_.resize(full);
      attend_.fill(true);
      for_each_row(a, [&](Index b, Index h, Index i) {
        for (Index j = 0; j < keys; ++j) attend_(b, h, i, j) = j < a.visible_keys(b, i) && (!a.mask || a.mask.row(b, h, i)[j * a.mask.key]);
      });
      a.mask = {attend_.data(), batch, head, all, 1};
      a.causal = false, a.key_lengths = nullptr;
    }
    a.slopes = nullptr;  // they are in the bias now
    a.key_limit = all;   // and keys beyond it in the mask
    if (a.key_mask) {
      attend_keys_.resize({a.batches, all});
      attend_keys_.fill(true);
      for (Index b = 0; b < a.batches; ++b)
        for (Index j = 0; j < mask_keys_; ++j) attend_keys_(b, j) = a.key_mask.row(b, 0, 0)[j * a.key_mask.key];
      a.key_mask = {attend_keys_.data(), all, 0, 0, 1};
    }
    a.keys = all;
  }

  /// `attention_backward` of the extended problem `a`, of which `appended` columns are ours. The gradients in `g` are those of the problem as it
  /// was before; the learned rows' are added to `d_last_key` and `d_last_value`, where those are not null.
  void backward(const Attention<T>& a, AttentionGradients<T> g, Index appended, T* d_last_key, T* d_last_value) const {
    const Index keys = a.keys - appended, k_row = a.kv_heads * a.width, v_row = a.kv_heads * a.value_width;
    Tensor<T, 3> dk({a.batches, a.keys, k_row}), dv({a.batches, a.keys, v_row});
    const HeadRows<T> dk_before = g.dk, dv_before = g.dv;
    g.dk = {dk.data(), a.keys * k_row, a.width, k_row}, g.dv = {dv.data(), a.keys * v_row, a.value_width, v_row};
    Tensor<T, 4> d_bias;
    const MaskRef<T> d_bias_before = g.d_bias;
    if (g.d_bias) {
      d_bias = Tensor<T, 4>({a.batches, a.heads, a.queries, a.keys});
      g.d_bias = {d_bias.data(), a.heads * a.queries * a.keys, a.queries * a.keys, a.keys, 1};
    }
    attention_backward(a, g);
    const auto take = [&](const Tensor<T, 3>& all, const HeadRows<T>& before, T* d_last) {
      for (Index b = 0; b < a.batches; ++b) {
        for (Index j = 0; j < keys; ++j) std::copy_n(all.data() + (b * a.keys + j) * all.features(), all.features(), before.at(b, 0, j));
        for (Index d = 0; d_last && d < all.features(); ++d) d_last[d] += all(b, keys, d);
      }
    };
    take(dk, dk_before, d_last_key), take(dv, dv_before, d_last_value);
    if (d_bias_before)
      for_each_row(a, [&](Index b, Index h, Index i) {
        for (Index j = 0; j < mask_keys_; ++j) d_bias_before.row(b, h, i)[j * d_bias_before.key] += d_bias(b, h, i, j);
      });
  }

 private:
  void extend_rows(const Attention<T>& a, HeadRows<const T>& rows, Index features, const T* last, Index all, Tensor<T, 3>& own) {
    Tensor<T, 3> copy({a.batches, all, features});
    for (Index b = 0; b < a.batches; ++b) {
      T* to = copy.data() + b * all * features;
      for (Index j = 0; j < a.keys; ++j) std::copy_n(rows.at(b, 0, j), features, to + j * features);
      if (last) std::copy_n(last, features, to + a.keys * features);
    }
    own = std::move(copy);
    rows = {own.data(), all * features, features / a.kv_heads, features};
  }
  template <class F>
  static void for_each_row(const Attention<T>& a, const F& f) {
    for (Index b = 0; b < a.batches; ++b)
      for (Index h = 0; h < a.heads; ++h)
        for (Index i = 0; i < a.queries; ++i) f(b, h, i);
  }

  Index mask_keys_ = 0;          ///< keys that the masks and the bias had
  Tensor<T, 3> k_, v_;           ///< (B, keys + appended, features)
  Tensor<bool, 4> attend_;       ///< (B, H, queries, keys + appended)
  Tensor<bool, 2> attend_keys_;  ///< (B, keys + appended)
  Tensor<T, 4> bias_;            ///< (B, H, queries, keys + appended)
};

}  // namespace heed::inline HEED_ABI::kernels
