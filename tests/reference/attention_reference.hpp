// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <vector>

#include <heed/kernels/attention.hpp>

#include "extreme_inputs.hpp"
#include "reference/random_tensor.hpp"

/// Attention as its definition reads, in double, one score after another. The judge of kernels/attention.hpp.
struct AttentionReference {
  std::vector<double> y;                       ///< (B, H, Tq, Dv)
  std::vector<double> weights;                 ///< (B, H, Tq, Tk), after dropout
  std::vector<double> log_sum;                 ///< (B, H, Tq), log2
  std::vector<double> dq, dk, dv;              ///< like q, k and v, dense
  std::vector<double> d_bias;                  ///< (B, H, Tq, Tk), before any sum over repeated axes
  std::vector<double> d_slopes;                ///< (H)
  std::vector<double> scaled, capped, masked;  ///< (B, H, Tq, Tk), the scores' stages; keys that nobody attends count in the first two
};

/// Whether dropout keeps a weight (the draw itself is judged by its statistics, see attention_mask_test).
template <class T>
bool keeps_weight(const heed::kernels::Attention<T>& a, heed::Index b, heed::Index h, heed::Index i, heed::Index j) {
  if (!a.dropout.active()) return true;
  using P = heed::Packet<heed::Scalar, T>;
  return heed::kernels::detail::RowDropout<heed::Scalar, T>(a, b, h, i).keep(j, P{T(1)}).v > T(0);
}

/// `dy` and `d_weights` may be null; gradients are computed if one of them is not.
template <class T>
AttentionReference attention_reference(const heed::kernels::Attention<T>& a, const heed::kernels::HeadRows<const T>* dy = nullptr,
    const heed::kernels::MaskRef<const T>* d_weights = nullptr) {
  using heed::Index;
  const auto at = [](Index i) { return static_cast<std::size_t>(i); };
  const auto number = [](T x) { return static_cast<double>(x); };
  AttentionReference r;
  r.y.resize(at(a.batches * a.heads * a.queries * a.value_width));
  r.weights.resize(at(a.batches * a.heads * a.queries * a.keys));
  r.log_sum.resize(at(a.batches * a.heads * a.queries));
  r.d_bias.resize(r.weights.size());
  r.d_slopes.resize(at(a.heads));
  r.scaled.resize(r.weights.size()), r.capped.resize(r.weights.size()), r.masked.assign(r.weights.size(), -HUGE_VAL);
  r.dq.resize(at(a.batches * a.heads * a.queries * a.width));
  r.dk.resize(at(a.batches * a.kv_heads * a.keys * a.width));
  r.dv.resize(at(a.batches * a.kv_heads * a.keys * a.value_width));
  const double grow = a.dropout.active() ? 1 / (1 - a.dropout.p) : 1;
  for (Index b = 0; b < a.batches; ++b)
    for (Index h = 0; h < a.heads; ++h)
      for (Index i = 0; i < a.queries; ++i) {
        const Index kv = h / (a.heads / a.kv_heads), row = (b * a.heads + h) * a.queries + i;
        std::vector<double> p(at(a.keys)), slope(at(a.keys), 1.0), drop(at(a.keys));
        std::vector<bool> attends(at(a.keys));
        double largest = -HUGE_VAL, sum = 0;
        const Index length = a.key_lengths ? std::clamp<Index>(a.key_lengths[b], 0, a.keys) : a.keys;
        const Index position = i + (a.end_aligned ? length - a.queries : a.causal_offset);
        for (Index j = 0; j < a.keys; ++j) {
          bool attended = j < length && j < a.key_limit && (!a.causal || j <= position);
          if (a.mask && attended) attended = a.mask.data[b * a.mask.batch + h * a.mask.head + i * a.mask.query + j * a.mask.key];
          if (a.key_mask && attended) attended = a.key_mask.data[b * a.key_mask.batch + j * a.key_mask.key];
          double bias = 0;
          if (a.bias && j < a.key_limit) bias = number(a.bias.data[b * a.bias.batch + h * a.bias.head + i * a.bias.query + j * a.bias.key]);
          attended = attended && !(bias <= -1e30);
          attends[at(j)] = attended;
          drop[at(j)] = keeps_weight(a, b, h, i, j) ? grow : 0;
          double score = 0;
          for (Index d = 0; d < a.width; ++d) score += number(a.q.at(b, h, i)[d]) * number(a.k.at(b, kv, j)[d]);
          r.scaled[at(row * a.keys + j)] = score *= a.scale;
          if (a.softcap > 0) {
            const double t = std::tanh(score / a.softcap);
            score = a.softcap * t, slope[at(j)] = 1 - t * t;
          }
          r.capped[at(row * a.keys + j)] = score;
          if (!attended) continue;
          if (a.slopes) score -= number(a.slopes[h]) * std::abs(double(position - j));
          r.masked[at(row * a.keys + j)] = p[at(j)] = score + bias;
          largest = std::max(largest, p[at(j)]);
        }
        for (Index j = 0; j < a.keys; ++j) sum += p[at(j)] = attends[at(j)] ? std::exp(p[at(j)] - largest) : 0;
        for (Index j = 0; j < a.keys; ++j) p[at(j)] = sum > 0 ? p[at(j)] / sum : 0;
        r.log_sum[at(row)] = sum > 0 ? (largest + std::log(sum)) / std::log(2.0) : 1e30;
        for (Index j = 0; j < a.keys; ++j) {
          r.weights[at(row * a.keys + j)] = p[at(j)] * drop[at(j)];
          for (Index d = 0; d < a.value_width && attends[at(j)]; ++d)
            r.y[at(row * a.value_width + d)] += p[at(j)] * drop[at(j)] * number(a.v.at(b, kv, j)[d]);
        }
        if (!dy && !d_weights) continue;
        std::vector<double> dp(at(a.keys));
        double delta = 0;
        for (Index j = 0; j < a.keys; ++j) {
          if (!attends[at(j)]) continue;
          const Index kv_row = (b * a.kv_heads + kv) * a.keys + j;
          double g = 0;
          for (Index d = 0; d < a.value_width && dy; ++d) {
            g += number(dy->at(b, h, i)[d]) * number(a.v.at(b, kv, j)[d]);
            r.dv[at(kv_row * a.value_width + d)] += p[at(j)] * drop[at(j)] * number(dy->at(b, h, i)[d]);
          }
          if (d_weights) g += number(d_weights->row(b, h, i)[j * d_weights->key]);
          dp[at(j)] = g * drop[at(j)];
          delta += p[at(j)] * dp[at(j)];
        }
        for (Index j = 0; j < a.keys; ++j) {
          if (!attends[at(j)]) continue;
          const Index kv_row = (b * a.kv_heads + kv) * a.keys + j;
          const double ds = p[at(j)] * (dp[at(j)] - delta);
          r.d_bias[at(row * a.keys + j)] = ds;
          r.d_slopes[at(h)] -= ds * std::abs(double(position - j));
          for (Index d = 0; d < a.width; ++d) {
            r.dq[at(row * a.width + d)] += ds * slope[at(j)] * a.scale * number(a.k.at(b, kv, j)[d]);
            r.dk[at(kv_row * a.width + d)] += ds * slope[at(j)] * a.scale * number(a.q.at(b, h, i)[d]);
          }
        }
      }
  return r;
}

/// A problem with everything it points to, drawn from a number: sizes around the tiles, strided operands, masks of every kind and broadcast.
template <class T>
struct RandomAttention {
  using Index = heed::Index;
  std::vector<T> q, k, v, dy, bias, slopes;
  std::vector<unsigned char> mask, key_mask;
  std::vector<Index> lengths;
  Index bias_first = 0;  ///< where element (0, 0, 0, 0) of the bias lies in its memory
  heed::kernels::Attention<T> problem;
  heed::kernels::HeadRows<const T> dy_rows;

  struct Limits {
    Index tokens = 70, width = 40;
    bool masks = true, dropout = true;
  };

  RandomAttention(std::uint64_t seed, const Limits& limits) : random_({seed, 99}) {
    heed::kernels::Attention<T>& a = problem;
    constexpr Index kTokens[] = {1, 2, 5, 7, 13, 14, 15, 16, 17, 28, 31, 32, 33, 49, 64, 65};
    constexpr Index kWidths[] = {1, 2, 3, 7, 8, 15, 16, 17, 24, 31, 32, 33};
    const auto size = [&](const auto& sizes, Index limit) { return std::min(limit, sizes[draw(std::size(sizes))]); };
    a.batches = 1 + draw(3), a.kv_heads = 1 + draw(3), a.heads = a.kv_heads * (draw(3) == 0 ? 2 : 1);
    a.queries = size(kTokens, limits.tokens), a.keys = draw(2) ? a.queries : size(kTokens, limits.tokens);
    a.width = size(kWidths, limits.width), a.value_width = draw(2) ? a.width : size(kWidths, limits.width);
    a.scale = draw(2) ? 1 / std::sqrt(double(a.width)) : uniform(0.1, 1);
    a.q = rows(q, a.heads, a.queries, a.width), a.k = rows(k, a.kv_heads, a.keys, a.width),
    a.v = rows(v, a.kv_heads, a.keys, a.value_width);
    dy_rows = rows(dy, a.heads, a.queries, a.value_width);
    if (draw(4) == 0) a.softcap = uniform(0.5, 3);
    if (limits.masks) {
      a.causal = draw(3) == 0;
      if (draw(2)) a.causal_offset = draw(2) ? a.keys - a.queries : draw(5);
      if (draw(3) == 0) {
        for (Index b = 0; b < a.batches; ++b) lengths.push_back(draw(static_cast<std::uint64_t>(a.keys + 1)));
        a.key_lengths = lengths.data();
      }
      a.end_aligned = draw(4) == 0;
      if (draw(8) == 0) a.key_limit = 1 + draw(static_cast<std::uint64_t>(a.keys));
      if (draw(3) == 0) {
        for (Index h = 0; h < a.heads; ++h) slopes.push_back(T(uniform(-0.1, 0.5)));
        a.slopes = slopes.data();
      }
      if (draw(3) == 0) {
        mask.resize(static_cast<std::size_t>(a.batches * a.heads * a.queries * a.keys));
        for (auto& flag : mask) flag = draw(4) != 0;
        if (draw(2)) mark_rows(mask, a.keys);
        a.mask = {reinterpret_cast<const bool*>(mask.data()), a.heads * a.queries * a.keys, a.queries * a.keys, a.keys, 1};
        broadcast(a.mask);
      }
      if (draw(3) == 0) {
        key_mask.resize(static_cast<std::size_t>(a.batches * a.keys));
        for (auto& flag : key_mask) flag = draw(4) != 0;
        a.key_mask = {reinterpret_cast<const bool*>(key_mask.data()), a.keys, 0, 0, 1};
      }
      if (draw(3) == 0) {
        bias.resize(static_cast<std::size_t>(a.batches * a.heads * a.queries * a.keys));
        for (T& x : bias) x = draw(12) ? T(uniform(-2, 2)) : T(-HUGE_VAL);
        a.bias = {bias.data(), a.heads * a.queries * a.keys, a.queries * a.keys, a.keys, 1};
        if (draw(4) == 0) std::swap(a.bias.query, a.bias.key), a.bias.query = 1, a.bias.key = a.queries;  // transposed
        const Index overlap = draw(3);
        if (overlap > 0) overlap_rows(overlap == 1 || draw(2) == 0);
        broadcast(a.bias);
      }
    }
    if (limits.dropout && draw(4) == 0) a.dropout = {seed, uniform(0.05, 0.9)};
  }

  Index draw(std::uint64_t count) { return static_cast<Index>(random_.below(count_++, count)); }
  double uniform(double low, double high) { return random_.uniform(count_++, low, high); }

  /// Batches, heads and rows of a row block in one of three layouts: (B, H, T, D), (B, T, H, D), and with gaps.
  heed::kernels::HeadRows<const T> rows(std::vector<T>& memory, Index heads, Index tokens, Index width) {
    const Index gap = draw(3) == 0 ? 5 : 0, layout = draw(2);
    heed::kernels::HeadRows<const T> r;
    if (layout == 0) r.row = width + gap, r.head = tokens * r.row + gap, r.batch = heads * r.head;
    if (layout == 1) r.head = width, r.row = heads * width + gap, r.batch = tokens * r.row;
    memory.resize(static_cast<std::size_t>(problem.batches * r.batch));
    for (T& x : memory) x = T(uniform(-1.5, 1.5));
    r.data = memory.data();
    return r;
  }

 private:
  void mark_rows(std::vector<unsigned char>& flags, Index keys) {
    for (std::size_t row = 0; row < flags.size() / static_cast<std::size_t>(keys); ++row)
      if (draw(4) == 0) std::fill_n(flags.begin() + static_cast<std::ptrdiff_t>(row) * keys, keys, static_cast<unsigned char>(0));
  }
  /// Makes a table of the bias: of key - query or key + query, one after the other or in turns with the heads, or of steps of its own.
  void overlap_rows(bool diagonal) {
    heed::kernels::Attention<T>& a = problem;
    const Index step = draw(2) ? 1 : a.heads, query = diagonal ? step : 2 * step;
    const Index table = (a.queries - 1) * query + (a.keys - 1) * step + 1;
    a.bias.head = step == 1 ? table : 1, a.bias.batch = a.heads * table;
    a.bias.query = draw(4) ? -query : query, a.bias.key = draw(4) ? step : -step;
    bias_first = (a.bias.query < 0 ? (a.queries - 1) * query : 0) + (a.bias.key < 0 ? (a.keys - 1) * step : 0);
    bias.resize(static_cast<std::size_t>(a.batches * a.heads * table), T(0.25));
    a.bias.data = bias.data() + bias_first;
  }
  template <class M>
  void broadcast(heed::kernels::MaskRef<M>& ref) {
    Index* strides[] = {&ref.batch, &ref.head, &ref.query, &ref.key};
    for (int axis = 0; axis < 4; ++axis)
      if (draw(3) == 0) *strides[axis] = 0;
  }

  heed::CounterRandom random_;
  std::uint64_t count_ = 0;
};

/// Rows of extreme scores, up to a tenth of what counts as masked: sequences of two queries, which read the first of `width` features, with 1 and with -1. The first
/// features of the keys are the scores; the others, values and dy are ordinary numbers.
template <class T>
struct ExtremeAttention {
  using Index = heed::Index;
  heed::Tensor<T, 3> k, q, v, d_y;
  heed::kernels::Attention<T> problem;
  heed::kernels::HeadRows<const T> dy;

  ExtremeAttention(Index keys, Index width) {
    constexpr double kMost = -heed::kernels::kMaskedScore / 10;
    const heed::Tensor<T, 2> scores = extreme_rows<T>(keys);
    const Index batches = scores.rows();
    k = v = reference::random_tensor<T, 3>({batches, keys, width}, 7);
    d_y = reference::random_tensor<T, 3>({batches, 2, width}, 8);
    q = heed::Tensor<T, 3>(d_y.shape());
    for (Index i = 0; i < scores.size(); ++i) k[i * width] = std::clamp(scores[i], T(-kMost), T(kMost));
    for (Index i = 0; i < 2 * batches; ++i) q[i * width] = T(i % 2 == 0 ? 1 : -1);
    problem = {.batches = batches,
        .heads = 1,
        .kv_heads = 1,
        .queries = 2,
        .keys = keys,
        .width = width,
        .value_width = width,
        .q = {q.data(), 2 * width, 2 * width, width},
        .k = {k.data(), keys * width, keys * width, width},
        .v = {v.data(), keys * width, keys * width, width}};
    dy = {d_y.data(), 2 * width, 2 * width, width};
  }
  ExtremeAttention(const ExtremeAttention&) = delete;
  ExtremeAttention& operator=(const ExtremeAttention&) = delete;

  /// The size of the largest key of the sequence that element i of q belongs to, at least 1.
  double largest_key(std::size_t i) const {
    double largest = 1;
    for (Index j = 0; j < problem.keys; ++j)
      largest = std::max(largest, std::abs(static_cast<double>(k(static_cast<Index>(i) / (2 * problem.width), j, 0))));
    return largest;
  }
};
