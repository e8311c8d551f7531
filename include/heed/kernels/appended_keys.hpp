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
    const bool positions_differ = a.end_aligned && a.key_lengths;  // between batches
    if (a.slopes || a.bias) {
      Tensor<T, 4> bias(rows_of(a, (a.bias && a.bias.batch != 0) || (a.slopes && positions_differ), a.slopes || a.bias.head != 0,
          a.slopes || a.bias.query != 0, all));
      for_each_row(bias, [&](Index b, Index h, Index i, T* row) {
        for (Index j = 0; j < mask_keys_; ++j) {
          if (a.bias) row[j] = a.bias.row(b, h, i)[j * a.bias.key];
          if (a.slopes) row[j] -= a.slopes[h] * T(std::abs(static_cast<double>(a.position(b, i) - j)));
        }
      });
      bias_ = std::move(bias);
      a.bias = mask_of<const T>(bias_);
    }
    if (a.mask || a.causal || a.key_lengths || a.key_limit < keys) {
      attend_.resize(rows_of(
          a, a.key_lengths || (a.mask && a.mask.batch != 0), a.mask && a.mask.head != 0, a.causal || (a.mask && a.mask.query != 0), all));
      for_each_row(attend_, [&](Index b, Index h, Index i, bool* row) {
        const Index visible = a.visible_keys(b, i);
        const bool* mask = a.mask ? a.mask.row(b, h, i) : nullptr;
        for (Index j = 0; j < visible; ++j) row[j] = !mask || mask[j * a.mask.key];
        std::fill(row + visible, row + keys, false);
        std::fill(row + keys, row + all, true);
      });
      a.mask = mask_of<const bool>(attend_);
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
      d_bias = Tensor<T, 4>(rows_of(a, g.d_bias.batch != 0, g.d_bias.head != 0, g.d_bias.query != 0, a.keys));
      g.d_bias = mask_of<T>(d_bias);
    }
    attention_backward(a, g);
    const auto take = [&](const Tensor<T, 3>& all, const HeadRows<T>& before, T* d_last) {
      for (Index b = 0; b < a.batches; ++b) {
        for (Index j = 0; j < keys; ++j) std::copy_n(all.data() + (b * a.keys + j) * all.features(), all.features(), before.at(b, 0, j));
        for (Index d = 0; d_last && d < all.features(); ++d) d_last[d] += all(b, keys, d);
      }
    };
    take(dk, dk_before, d_last_key), take(dv, dv_before, d_last_value);
    if (!d_bias_before) return;
    for (Index b = 0; b < d_bias.size(0); ++b)  // one after another: rows of the bias may overlap
      for (Index h = 0; h < d_bias.size(1); ++h)
        for (Index i = 0; i < d_bias.size(2); ++i)
          for (Index j = 0; j < mask_keys_; ++j) d_bias_before.row(b, h, i)[j * d_bias_before.key] += d_bias(b, h, i, j);
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
  /// The shape of a mask or bias of ours, with one row for all along the axes where the rows are equal.
  static Shape rows_of(const Attention<T>& a, bool by_batch, bool by_head, bool by_query, Index all) {
    return {by_batch ? a.batches : 1, by_head ? a.heads : 1, by_query ? a.queries : 1, all};
  }
  template <class M, class U>
  static MaskRef<M> mask_of(Tensor<U, 4>& x) {
    const Index query = x.size(3), head = x.size(2) * query, batch = x.size(1) * head;
    return {x.data(), x.size(0) > 1 ? batch : 0, x.size(1) > 1 ? head : 0, x.size(2) > 1 ? query : 0, 1};
  }
  /// `f(batch, head, query, row)` in parallel.
  template <class U, class F>
  static void for_each_row(Tensor<U, 4>& x, const F& f) {
    const Index heads = x.size(1), queries = x.size(2), width = x.size(3);
    parallel_for(x.rows(), 1 + 16384 / width, [&](Index begin, Index end) {
      for (Index r = begin; r < end; ++r) f(r / queries / heads, r / queries % heads, r % queries, x.data() + r * width);
    });
  }

  Index mask_keys_ = 0;          ///< keys that the masks and the bias had
  Tensor<T, 3> k_, v_;           ///< (B, keys + appended, features)
  Tensor<bool, 4> attend_;       ///< (B, H, queries, keys + appended), each of the first three 1 where the masks are equal along it
  Tensor<bool, 2> attend_keys_;  ///< (B, keys + appended)
  Tensor<T, 4> bias_;            ///< the same
};

}  // namespace heed::inline HEED_ABI::kernels
