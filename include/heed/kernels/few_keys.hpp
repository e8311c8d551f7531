// SPDX-License-Identifier: MIT
#pragma once

#include <heed/kernels/attention_mask.hpp>
#include <heed/kernels/row_product.hpp>

namespace heed::inline HEED_ABI::kernels {

// Attention of heads whose keys fit the lanes of one vector, without options that need a look at each weight: windows, sets, tables of a few columns. The general path
// (attention.hpp) prepares operands for register tiles and goes through a dozen functions, which takes longer here than all arithmetic; this one goes through one. Keys are
// read where they lie, four queries at a time, and scores stay in registers until they are weights. Every sum has the order of the general path, so a row has the
// same bits on either.

/// The widest heads, in features of q, k and v.
inline constexpr Index kFewKeysWidth = 128;

namespace detail {

/// Base-2 scores of `kProductRows` queries of a head, from query `first` on, against the first `keys` keys; the last query is repeated where there are fewer. Keys that they may not see are kMaskedScore.
template <class Isa, class T>
HEED_INLINE void few_scores(const Attention<T>& a, Index b, Index h, Index first, Index keys, Packet<Isa, T> (&scores)[kProductRows]) {
  using P = Packet<Isa, T>;
  using W = IntegerPacket<Isa, T>;
  T scaled[kProductRows * kFewKeysWidth];
  const P factor = P::broadcast(T(a.scale * kLog2E));
  ColumnProducts<Isa, T, kProductRows, false> products{};
#pragma GCC unroll 4
  for (int r = 0; r < kProductRows; ++r) {
    const T* q = a.q.at(b, h, std::min(first + r, a.queries - 1));
    T* x = scaled + r * kFewKeysWidth;
    for (Index d = 0; d < a.width; d += P::lanes) (P::load_partial(q + d, a.width - d) * factor).store(x + d);
    products.x[r] = x;
  }
  const Index kv = a.kv_head(h);
  multiply_rows<Isa>(RowsSource<T>{a.k.at(b, kv), a.k.row, keys, a.width, nullptr}, 0, products);
#pragma GCC unroll 4
  for (int r = 0; r < kProductRows; ++r) {
    const Index seen = a.visible_keys(b, std::min(first + r, a.queries - 1));
    scores[r] =
        W::select_less(W::count_from(0), W::broadcast(static_cast<std::uint32_t>(seen)), products.sums[r], P::broadcast(T(kMaskedScore)));
  }
}

/// Up to `lanes` rows of up to kFewKeysWidth features whose vectors may be read whole: where they lie, or a copy, in which rows that do not count are zeros.
template <class Isa, class T>
struct WholeRows {
  using P = Packet<Isa, T>;

  const T* data;
  Index row;
  T copy[P::lanes * kFewKeysWidth];

  HEED_INLINE WholeRows(const T* x, Index x_row, Index rows, Index cols, const bool* counts = nullptr) : data(x), row(x_row) {
    if (cols % P::lanes == 0 && !counts) return;
    data = copy, row = (cols + P::lanes - 1) / P::lanes * P::lanes;
    for (Index i = 0; i < rows; ++i)
      for (Index j = 0; j < cols; j += P::lanes)
        (counts && !counts[i] ? P::zero() : P::load_partial(x + i * x_row + j, cols - j)).store(copy + i * row + j);
  }
};

/// C = A B, or C + A B: `rows` x `depth` by `depth` x `cols`, element (i, k) of A at a[i * a_row + k * a_step] and four rows of it to be read. Rows of C times
/// `after`, if it is not null.
template <class Isa, class T>
HEED_INLINE void few_products(Index rows, Index cols, Index depth, const T* a, Index a_row, Index a_step, const WholeRows<Isa, T>& b, T* c,
    Index c_row, bool accumulate, const std::type_identity_t<T>* after) {
  using P = Packet<Isa, T>;
  for (Index i = 0; i < rows; i += kProductRows)
    for (Index n = 0; n < cols; n += P::lanes) {
      const Index left = cols - n;
      P sums[kProductRows][1] = {};
      multiply_tile<Isa, T, kProductRows, 1>(depth, EdgeRows<T, kProductRows>(a + i * a_row, a_row, a_step), b.data + n, b.row, sums);
#pragma GCC unroll 4
      for (int r = 0; r < kProductRows; ++r) {
        if (i + r >= rows) break;
        T* target = c + (i + r) * c_row + n;
        P sum = sums[r][0];
        if (accumulate) sum = sum + P::load_partial(target, left);
        if (after) sum = sum * P::broadcast(after[i + r]);
        sum.store_partial(target, left);
      }
    }
}

/// Queries, keys and values of heads [begin, end) of all.
template <class T>
struct FewKeysForward {
  template <class Isa>
  HEED_INLINE static void run(const Attention<T>* problem, const HeadRows<T>* y, T* log_sum, Index begin, Index end) {
    using P = Packet<Isa, T>;
    const Attention<T>& a = *problem;
    for (Index head = begin; head < end; ++head) {
      const Index b = head / a.heads, h = head % a.heads, kv = a.kv_head(h);
      const WholeRows<Isa, T> v(a.v.at(b, kv), a.v.row, a.keys, a.value_width);
      for (Index i = 0; i < a.queries; i += kProductRows) {
        const Index rows = std::min<Index>(kProductRows, a.queries - i), keys = a.visible_keys(b, i + rows - 1);
        P scores[kProductRows];
        few_scores<Isa>(a, b, h, i, keys, scores);
        T weights[kProductRows * P::lanes], largest[kProductRows], after[kProductRows];
#pragma GCC unroll 4
        for (int r = 0; r < kProductRows; ++r) largest[r] = scores[r].largest();
#pragma GCC unroll 4
        for (int r = 0; r < kProductRows; ++r) {
          const T shift = largest[r] < T(0.5 * kMaskedScore) ? T(0) : largest[r];  // no key is seen
          const P e = exp2_of_nonpositive(scores[r] - P::broadcast(shift));
          e.store(weights + r * P::lanes);
          after[r] = e.sum();
        }
        for (Index r = 0; r < rows; ++r) {
          const T sum = after[r];
          if (log_sum) log_sum[head * a.queries + i + r] = log_of_sum(largest[r], sum);
          after[r] = sum == T(0) ? T(0) : T(T(1) / sum);
        }
        few_products<Isa>(rows, a.value_width, keys, weights, P::lanes, 1, v, y->at(b, h, i), y->row, false, after);
      }
    }
  }
};

/// The gradients of heads [begin, end) of keys and values, for `lanes` queries at most.
template <class T>
struct FewKeysBackward {
  /// Weights and dS of `kProductRows` queries from `first` on, stored `lanes` apart; zeros for those that have no key.
  template <class Isa>
  HEED_INLINE static void rows(
      const Attention<T>& a, const AttentionGradients<T>& g, Index b, Index h, Index first, Index keys, T* weights, T* grads) {
    using P = Packet<Isa, T>;
    const Index kv = a.kv_head(h);
    P scores[kProductRows];
    few_scores<Isa>(a, b, h, first, keys, scores);
    ColumnProducts<Isa, T, kProductRows, false> upstream{};
    P p[kProductRows];
    bool empty[kProductRows];
    const T* log_sum = g.log_sum + a.row_number(b, h, 0);
    const P zero = P::zero(), scale = P::broadcast(T(a.scale));
#pragma GCC unroll 4
    for (int r = 0; r < kProductRows; ++r) {
      const Index i = std::min(first + r, a.queries - 1);
      upstream.x[r] = g.dy.at(b, h, i);
      empty[r] = is_empty_row(log_sum[i]);
      p[r] = empty[r] ? zero : exp2_of_nonpositive(scores[r] - P::broadcast(log_sum[i]));
    }
    multiply_rows<Isa>(RowsSource<T>{a.v.at(b, kv), a.v.row, keys, a.value_width, nullptr}, 0, upstream);
#pragma GCC unroll 4
    for (int r = 0; r < kProductRows; ++r) {  // as GradientRows
      const P dp = upstream.sums[r];
      const T total = p[r].sum(), delta = total > T(0) ? P::fma(p[r], dp, zero).sum() / total : T(0);
      if (total > T(0) && (total < T(1 - kSumError<T>) || total > T(1 + kSumError<T>))) p[r] = p[r] / P::broadcast(total);
      p[r].store(weights + r * P::lanes);
      (empty[r] ? zero : p[r] * (dp - P::broadcast(delta)) * scale).store(grads + r * P::lanes);
    }
  }

  template <class Isa>
  HEED_INLINE static void run(const Attention<T>* problem, const AttentionGradients<T>* gradients, Index begin, Index end) {
    constexpr Index lanes = Packet<Isa, T>::lanes;
    const Attention<T>& a = *problem;
    const AttentionGradients<T>& g = *gradients;
    HEED_ASSERT(a.queries <= lanes && !g.d_bias && !g.d_slopes && !g.d_weights);
    constexpr Index rows_stored = std::max<Index>(lanes, kProductRows);
    T weights[rows_stored * lanes], grads[rows_stored * lanes];
    bool counts[lanes];
    for (Index head = begin; head < end; ++head) {
      const Index b = head / a.kv_heads, kv = head % a.kv_heads, group = a.heads / a.kv_heads;
      const Index keys = group * a.queries > 0 ? a.visible_keys(b, a.queries - 1) : 0;
      T *dk = g.dk.at(b, kv), *dv = g.dv.at(b, kv);
      for (Index j = keys; j < a.keys; ++j)
        std::fill_n(dk + j * g.dk.row, a.width, T(0)), std::fill_n(dv + j * g.dv.row, a.value_width, T(0));
      const WholeRows<Isa, T> k(a.k.at(b, kv), a.k.row, a.keys, a.width);
      for (Index h = kv * group; h < (kv + 1) * group; ++h) {
        for (Index i = 0; i < a.queries; i += kProductRows) rows<Isa>(a, g, b, h, i, keys, weights + i * lanes, grads + i * lanes);
        const T* log_sum = g.log_sum + a.row_number(b, h, 0);
        bool all = true;
        for (Index i = 0; i < a.queries; ++i) counts[i] = !is_empty_row(log_sum[i]), all = all && counts[i];
        const WholeRows<Isa, T> q(a.q.at(b, h), a.q.row, a.queries, a.width, all ? nullptr : counts);
        const WholeRows<Isa, T> dy(g.dy.at(b, h), g.dy.row, a.queries, a.value_width, all ? nullptr : counts);
        const bool adds = h > kv * group;
        few_products<Isa>(a.queries, a.width, keys, grads, lanes, 1, k, g.dq.at(b, h), g.dq.row, false, nullptr);
        few_products<Isa>(keys, a.value_width, a.queries, weights, 1, lanes, dy, dv, g.dv.row, adds, nullptr);
        few_products<Isa>(keys, a.width, a.queries, grads, 1, lanes, q, dk, g.dk.row, adds, nullptr);
      }
    }
  }
};

}  // namespace detail

/// Whether the functions here can compute a problem: of the options they know causal masks and lengths of keys alone.
template <class T>
bool few_keys_fits(const Attention<T>& a, Index lanes) {
  return a.keys <= lanes && std::max(a.width, a.value_width) <= kFewKeysWidth &&
         !(a.softcap > 0 || a.mask || a.key_mask || a.bias || a.slopes) && !a.dropout.active();
}

/// Whether they gain time forward, where every four queries look at the keys again. (Emerald Rapids, time of the general path over theirs: 4, 8, 12, 16 queries and keys
/// of 64 features 1.4, 1.2, 0.95, 0.9; of 16 features 2, 1.3, 1.2, 1.05; 64 queries 0.8 to 1. With gradients they always do: 2.0 to 1.1 up to 16.)
template <class T>
bool few_keys_pays(const Attention<T>& a) {
  return a.queries <= 8 || a.queries * (a.width + a.value_width) <= 768;
}

/// Heads of such a problem that are worth a thread's while, some 50 microseconds; `products` is how many there are of queries with keys, each way one.
template <class T>
Index few_keys_grain(const Attention<T>& a, Index lanes, double products) {
  const double work = products * static_cast<double>(a.queries) * static_cast<double>(lanes * (a.width + a.value_width));
  return static_cast<Index>(5e6 / (work + 1e4));
}

}  // namespace heed::inline HEED_ABI::kernels
