// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/parallel.hpp>
#include <heed/kernels/attention_bias_shards.hpp>
#include <heed/kernels/attention_scores.hpp>
#include <heed/kernels/few_keys.hpp>

namespace heed::inline HEED_ABI::kernels {

// The gradients of attention, from q, k, v, y and the saved log2 of the rows' sums; the weights P are computed again.
//
// With D the dropout factors (0 or 1/(1-p)), P = softmax(S), y = (P ∘ D) v and G = dy vᵀ + d_weights:
//   dv = (P ∘ D)ᵀ dy,  dS = P ∘ (D ∘ G - δ) with δ = rowsum(dy ∘ y) + rowsum(weights ∘ d_weights),
//   dbias = dS,  dslope = -Σ |position - j| dS,  dq = scale (dS ∘ cap') k,  dk = scale (dS ∘ cap')ᵀ q,  cap' = 1 - tanh² of the soft cap.
//
// Layout as in attention.hpp. A job walks over a chunk of keys of one key head: keys and values of the chunk packed transposed (few queries read them where they lie), blocks of query rows
// against them; dk and dv of the chunk stay in L2. Parallel over key heads; where those are few, also over chunks of keys, whose parts of dq are kept apart
// and added in the order of the chunks. The chunks are fixed, so the number of threads changes no bit.

/// Keys of a chunk of the backward pass: packed keys and values, two blocks of scores, dk and dv fit L2.
inline constexpr Index kBackwardKeys = 512;
/// Rows of a block are this many tiles: dk and dv are read and written once a block.
inline constexpr Index kBackwardTiles = 4;
/// The most that parts of dq hold, where a head's chunks of keys run side by side.
inline constexpr Index kWaveBytes = Index{64} << 20;

namespace detail {

/// A block of scores on its way to gradients.
template <class T>
struct GradientBlock {
  ScoreBlock<T> scores;
  T* grad;           ///< in: dy vᵀ, laid out as the scores; out: dS ∘ cap' * scale
  const T* log_sum;  ///< of each row
  const T* delta;
  bool whole_rows;  ///< the block holds every key that its rows attend
  const AttentionGradients<T>* gradients;
  T* d_bias;   ///< of (b, h, 0, 0), null if not wanted
  T* d_slope;  ///< of this head, null if not wanted
};

template <class T>
struct GradientRows {
  template <class Isa, bool Drop>
  HEED_INLINE static void row(const GradientBlock<T>& x, Index i, T* s, T* g, const RowDropout<Isa, T>* dropout) {
    using P = Packet<Isa, T>;
    constexpr Index lanes = P::lanes;
    const ScoreBlock<T>& block = x.scores;
    const Attention<T>& a = *block.problem;
    const P log_sum = P::broadcast(x.log_sum[i]), scale = P::broadcast(T(a.scale)), grow = P::broadcast(T(a.dropout.scale()));
    const bool plain = !x.d_bias && !x.d_slope && !block.slope;
    // delta = sum of p dP. Where one weight is near 1, dS = p (dP - delta) is a difference of equal numbers: then delta from the very
    // numbers that it is taken from leaves the rounding of the difference, while dy · y, which rows in chunks must do with, leaves that
    // of two dot products (a thousand times as much on the reference case mha_big_inputs).
    P sum = P::zero(), weighted = P::zero();
    for (Index j = 0; j < block.padded; j += lanes) {
      const P p = exp2_of_nonpositive(P::load(s + j) - log_sum);
      P upstream = P::load(g + j);
      if constexpr (Drop) {
        upstream = dropout->keep(block.key + j, upstream * grow);
        upstream.store(g + j);
      }
      sum = sum + p, weighted = P::fma(p, upstream, weighted);
      p.store(s + j);
    }
    const T total = sum.sum();
    // The logarithm of a row's sum has the digits of a score: beside scores of hundreds the weights add up to 1 ± 1e-5 in float.
    if (x.whole_rows && total > T(0) && (total < T(1 - kSumError<T>) || total > T(1 + kSumError<T>)))
      for (Index j = 0; j < block.padded; j += lanes) (P::load(s + j) / P::broadcast(total)).store(s + j);
    const P delta = P::broadcast(!x.whole_rows ? x.delta[i] : total > T(0) ? weighted.sum() / total : T(0));
    for (Index j = 0; j < block.padded; j += lanes) {
      const P p = P::load(s + j), ds = p * (P::load(g + j) - delta);
      if constexpr (Drop) dropout->keep(block.key + j, p * grow).store(s + j);
      (plain ? ds * scale : ds).store(g + j);
    }
    if (plain) return;
    if (x.d_bias) add_bias<Isa>(x, i, g);
    if (x.d_slope) add_slope<Isa>(x, i, g);
    for (Index j = 0; j < block.padded; j += lanes) {
      P ds = P::load(g + j) * scale;
      if (block.slope) ds = ds * P::load(block.slope + i * block.row + j);
      ds.store(g + j);
    }
  }

  template <class Isa>
  HEED_INLINE static void add_bias(const GradientBlock<T>& x, Index i, const T* ds) {
    using P = Packet<Isa, T>;
    const ScoreBlock<T>& block = x.scores;
    const MaskRef<T>& bias = x.gradients->d_bias;
    T* target = x.d_bias + (block.query + i) * bias.query + block.key * bias.key;
    Index j = 0;
    if (bias.key == 1)
      for (; j + P::lanes <= block.keys; j += P::lanes) (P::load(target + j) + P::load(ds + j)).store(target + j);
    for (; j < block.keys; ++j) target[j * bias.key] += ds[j];
  }

  /// s = ... - slope |position - j|
  template <class Isa>
  HEED_INLINE static void add_slope(const GradientBlock<T>& x, Index i, const T* ds) {
    using P = Packet<Isa, T>;
    const ScoreBlock<T>& block = x.scores;
    const P position = P::broadcast(T(static_cast<double>(block.problem->position(block.b, block.query + i) - block.key)));
    P sum = P::zero();
    for (Index j = 0; j < block.padded; j += P::lanes) {  // dS is 0 behind the keys
      const P ahead = P::load(block.numbers + j) - position;
      sum = P::fma(P::max(ahead, -ahead), P::load(ds + j), sum);
    }
    *x.d_slope -= sum.sum();
  }

  template <class Isa>
  HEED_INLINE static void run(const GradientBlock<T>* gradient) {
    const GradientBlock<T>& x = *gradient;
    const ScoreBlock<T>& block = x.scores;
    const Attention<T>& a = *block.problem;
    const MaskRef<const T>& d_weights = x.gradients->d_weights;
    for (Index i = 0; i < block.rows; ++i) {
      T *s = block.scores + i * block.row, *g = x.grad + i * block.row;
      if (is_empty_row(x.log_sum[i])) {  // no weights and no gradient, whatever q and dy hold there
        std::fill_n(s, block.padded, T(0)), std::fill_n(g, block.padded, T(0));
        continue;
      }
      if (d_weights) {
        const T* from = d_weights.row(block.b, block.h, block.query + i) + block.key * d_weights.key;
        for (Index j = 0; j < block.keys; ++j) g[j] += from[j * d_weights.key] * T(x.gradients->d_weights_factor);
      }
      if (a.dropout.active()) {
        const RowDropout<Isa, T> dropout(a, block.b, block.h, block.query + i);
        row<Isa, true>(x, i, s, g, &dropout);
      } else {
        row<Isa, false>(x, i, s, g, nullptr);
      }
    }
  }
};

template <class T>
struct BackwardScratch {
  Index rows, v_row;
  ScoreScratch<T> score;
  Tensor<T, 1> memory;
  Tensor<unsigned char, 1> flags;
  T *packed_v, *k, *q, *dy, *grad, *delta;
  unsigned char *attended, *attending;

  BackwardScratch(const Attention<T>& a, const TileSizes<T>& sizes) : score(a, sizes.whole_panels(std::min(a.keys, kBackwardKeys)), sizes) {
    const Index chunk = sizes.whole_panels(std::min(a.keys, kBackwardKeys));
    rows = std::min(kBackwardTiles * sizes.rows, a.queries);
    v_row = sizes.whole_vectors(a.value_width) + sizes.lanes;
    const bool copy_k = a.mask || a.key_mask || a.bias || needs_copy(a.k.row, a.width, sizes);
    const Index padded = rows + kTileSlack;
    memory = cut_scratch<T>({
        {&score.packed_k, TransposedRows<T>::packed_size(a.queries, chunk, a.width)},
        {&packed_v, TransposedRows<T>::packed_size(a.queries, chunk, a.value_width)},
        {&k, copy_k ? chunk * sizes.whole_vectors(a.width) : 0},
        {&score.scaled_q, padded * score.q_row},
        {&q, padded * sizes.whole_vectors(a.width)},
        {&dy, padded * v_row},
        {&score.s, padded * score.s_row},
        {&grad, padded * score.s_row},
        {&score.slope, a.softcap > 0 ? padded * score.s_row : 0},
        {&delta, rows},
        {&score.bias_row, score.bias_size(a, chunk)},
        {&score.numbers, score.numbers_size(a, chunk)},
    });
    score.number_keys(chunk);
    for (T* scores : {score.s, grad}) std::fill_n(scores, padded * score.s_row, T(0));  // tiles read what lies between the rows
    flags = Tensor<unsigned char, 1>::uninitialized({2 * chunk + rows});
    attended = flags.data(), score.flag_row = attended + chunk, attending = score.flag_row + chunk;
  }

  /// For each of `count` queries whether it has a key, by its log-sum; null if all have one.
  const unsigned char* find_attending(const T* log_sum, Index count) {
    bool all = true;
    for (Index r = 0; r < count; ++r) attending[r] = !is_empty_row(log_sum[r]), all = all && attending[r];
    return all ? nullptr : attending;
  }
};

/// Rows of one head become zeros.
template <class T>
void clear_rows(const HeadRows<T>& rows, Index b, Index h, Index begin, Index end, Index width) {
  for (Index i = begin; i < end; ++i) std::fill_n(rows.at(b, h, i), width, T(0));
}

/// The keys whose dk and dv hold sums so far: what is not yet in them is written by the first product that comes by, and not cleared before.
struct SummedKeys {
  Index begin = 0, end = 0;

  bool empty() const { return begin == end; }
  /// Takes in [first, last); calls `clear(from, to)` for what a sum that is already there does not cover.
  template <class Clear>
  void extend(Index first, Index last, const Clear& clear) {
    if (empty()) {
      begin = first, end = last;
      return;
    }
    if (first < begin) clear(first, begin), begin = first;
    if (last > end) clear(end, last), end = last;
  }
};

/// What the job of a key head reads and writes first: asked for while the one before it runs.
template <class T>
FetchAhead backward_ahead(const Attention<T>& a, const AttentionGradients<T>& g, Index kv_head) {
  const Index b = kv_head / a.kv_heads, kv = kv_head % a.kv_heads, h = kv * (a.heads / a.kv_heads);
  FetchAhead ahead;
  ahead.add(a.k.at(b, kv), a.k.row, a.keys, a.width), ahead.add(a.v.at(b, kv), a.v.row, a.keys, a.value_width);
  ahead.add(g.dy.at(b, h), g.dy.row, a.queries, a.value_width), ahead.add(a.q.at(b, h), a.q.row, a.queries, a.width);
  ahead.add(g.dq.at(b, h), g.dq.row, a.queries, a.width);
  ahead.add(g.dv.at(b, kv), g.dv.row, a.keys, a.value_width), ahead.add(g.dk.at(b, kv), g.dk.row, a.keys, a.width);
  return ahead;
}

/// dk and dv of keys [key_begin, key_end) of one key head, written; dq of its query heads written, or with `add_dq` added to `dq`; d_bias of the batch
/// and d_slopes of all heads, where they are not null, added.
template <class T>
void backward_chunk(const Attention<T>& a, const AttentionGradients<T>& g, Index b, Index kv, Index key_begin, Index key_end,
    const HeadRows<T>& dq, bool add_dq, T* d_bias, T* d_slopes, const TileSizes<T>& sizes, BackwardScratch<T>& scratch, FetchAhead& ahead) {
  const Index group = a.heads / a.kv_heads;
  const auto clear = [&](Index from, Index to) {
    clear_rows(g.dk, b, kv, from, to, a.width), clear_rows(g.dv, b, kv, from, to, a.value_width);
  };
  const auto multiply = [&](TileProduct<T> product) {
    product.slack = true;
    multiply_tiles(product, &ahead);
  };
  SummedKeys summed;
  for (Index h = kv * group; h < (kv + 1) * group; ++h) {
    const AttendedKeys attended = attended_keys(a, b, h, 0, a.queries, key_begin, key_end, scratch.attended);
    if (attended.empty()) {
      if (!add_dq) clear_rows(dq, b, h, 0, a.queries, a.width);
      continue;
    }
    const Index key = attended.begin, keys = attended.end - key;
    const TransposedRows<T> transposed_k = chunk_keys(a, b, kv, key, keys, attended.flags, scratch.score);
    const TransposedRows<T> transposed_v(a.v.at(b, kv, key), a.v.row, keys, a.value_width, attended.flags, scratch.packed_v);
    const RightRows<T> k = right_rows<T>(a.k.at(b, kv, key), a.k.row, keys, a.width, attended.flags, sizes, scratch.k);
    for (Index i = 0; i < a.queries; i += scratch.rows) {
      const Index rows = std::min(scratch.rows, a.queries - i), block_keys = std::min(keys, a.visible_keys(b, i + rows - 1) - key);
      if (block_keys <= 0) {
        if (!add_dq) clear_rows(dq, b, h, i, i + rows, a.width);
        continue;
      }
      const bool first_sum = summed.empty();
      summed.extend(key, key + block_keys, clear);
      const T* dy_rows = g.dy.at(b, h, i);
      const Index first_row = (b * a.heads + h) * a.queries + i;
      const unsigned char* attending = scratch.find_attending(g.log_sum + first_row, rows);
      copy_rows(dy_rows, g.dy.row, rows, a.value_width, attending, T(1), scratch.dy, scratch.v_row, sizes.with_slack(rows));
      const RightRows<T> q = right_rows<T>(a.q.at(b, h, i), a.q.row, rows, a.width, attending, sizes, scratch.q);
      const bool whole_rows = a.keys <= kBackwardKeys;  // delta comes from the row itself then
      if (!whole_rows) dispatch<RowDots<T>, T>(rows, a.value_width, dy_rows, g.dy.row, g.y.at(b, h, i), g.y.row, scratch.delta);
      if (g.d_weights && !whole_rows)
        for (Index r = 0; r < rows; ++r) {
          const T* from = g.d_weights.row(b, h, i + r);
          T sum = T(0);
          for (Index j = 0; j < a.keys; ++j) sum += g.weights[(first_row + r) * a.keys + j] * from[j * g.d_weights.key];
          scratch.delta[r] += sum * T(g.d_weights_factor);
        }
      // S = q kᵀ and dy vᵀ, then weights and dS in their place
      const ScoreBlock<T> block = score_block(a, b, h, i, rows, transposed_k, key, block_keys, attended.flags, sizes, scratch.score, ahead);
      T* const d_bias_head = d_bias ? d_bias + h * g.d_bias.head : nullptr;
      FetchAhead d_bias_rows = d_bias && ahead.empty()
                                   ? bias_ahead(a, d_bias_head + i * g.d_bias.query + key * g.d_bias.key, g.d_bias, rows, block_keys)
                                   : FetchAhead();
      transposed_v.multiply(
          scratch.dy, scratch.v_row, rows, block_keys, scratch.grad, scratch.score.s_row, sizes, d_bias_rows.empty() ? ahead : d_bias_rows);
      const GradientBlock<T> gradient{
          block, scratch.grad, g.log_sum + first_row, scratch.delta, whole_rows, &g, d_bias_head, d_slopes ? d_slopes + h : nullptr};
      dispatch<GradientRows<T>, T>(&gradient);
      // dq += dS k, dv += (P ∘ D)ᵀ dy, dk += dSᵀ q
      multiply({.rows = rows,
          .cols = a.width,
          .depth = block_keys,
          .a = scratch.grad,
          .a_row = scratch.score.s_row,
          .a_step = 1,
          .b = k.data,
          .b_row = k.row,
          .b_panel = sizes.width,
          .c = dq.at(b, h, i),
          .c_row = dq.row,
          .accumulate = add_dq});
      multiply({.rows = block_keys,
          .cols = a.value_width,
          .depth = rows,
          .a = scratch.score.s,
          .a_row = 1,
          .a_step = scratch.score.s_row,
          .b = scratch.dy,
          .b_row = scratch.v_row,
          .b_panel = sizes.width,
          .c = g.dv.at(b, kv, key),
          .c_row = g.dv.row,
          .accumulate = !first_sum});
      multiply({.rows = block_keys,
          .cols = a.width,
          .depth = rows,
          .a = scratch.grad,
          .a_row = 1,
          .a_step = scratch.score.s_row,
          .b = q.data,
          .b_row = q.row,
          .b_panel = sizes.width,
          .c = g.dk.at(b, kv, key),
          .c_row = g.dk.row,
          .accumulate = !first_sum});
    }
  }
  if (summed.empty()) return clear(key_begin, key_end);
  clear(key_begin, summed.begin), clear(summed.end, key_end);
}

}  // namespace detail

/// Writes dq, dk, dv and adds to d_bias (see AttentionGradients).
template <class T>
void attention_backward(const Attention<T>& a, const AttentionGradients<T>& g) {
  const Index heads = a.batches * a.kv_heads;
  if (heads == 0) return;
  HEED_ASSERT(a.heads % a.kv_heads == 0 && (!g.d_weights || g.weights) && (!g.d_slopes || a.slopes));
  const TileSizes<T> sizes;
  const Index query_heads = a.batches * a.heads, chunks = std::max<Index>(1, (a.keys + kBackwardKeys - 1) / kBackwardKeys);

  if (few_keys_fits(a, sizes.lanes) && a.queries <= sizes.lanes && !g.d_bias && !g.d_slopes && !g.d_weights) {
    return parallel_for(heads, few_keys_grain(a, sizes.lanes, 5.0 * static_cast<double>(a.heads / a.kv_heads)),
        [&](Index begin, Index end) { dispatch<detail::FewKeysBackward<T>, T>(&a, &g, begin, end); });
  }

  // One job is a range of batches by a range of key heads whose bias gradients must be added one after another.
  detail::BiasShards<T> shards(a, g.d_bias);
  AttentionGradients<T> to = g;
  if (shards.size > 0) to.d_bias = shards.copy;
  const bool batches_share = g.d_bias && g.d_bias.batch == 0,
             chunks_share = g.d_bias && (g.d_bias.key == 0 || detail::rows_overlap(a, g.d_bias));
  const Index batch_jobs = batches_share ? shards.shards : a.batches, job_batches = (a.batches + batch_jobs - 1) / batch_jobs;
  const bool heads_share = g.d_bias && g.d_bias.head == 0;
  const Index head_jobs = heads_share ? 1 : a.kv_heads, job_heads = heads_share ? a.kv_heads : 1, jobs = batch_jobs * head_jobs;
  const auto bias_of = [&](Index b) {
    return !to.d_bias ? nullptr : shards.size > 0 ? to.d_bias.data + b / job_batches * shards.size : to.d_bias.data + b * to.d_bias.batch;
  };
  Tensor<T, 1> slopes({g.d_slopes ? a.batches * chunks * a.heads : 0});  // each chunk of a head has its own
  const bool fetches = job_batches == 1 && chunks == 1 &&
                       fetching_pays<T>(a.batches * (a.heads * a.queries + a.kv_heads * a.keys) * 2 * (a.width + a.value_width));
  const auto run = [&](Index job, bool next_follows, Index first_chunk, Index last_chunk, const HeadRows<T>& dq,
                       detail::BackwardScratch<T>& scratch) {
    const Index first = job / head_jobs * job_batches, kv = job % head_jobs * job_heads;
    for (Index b = first; b < std::min(a.batches, first + job_batches); ++b)
      for (Index h = kv; h < kv + job_heads; ++h)
        for (Index c = first_chunk; c < last_chunk; ++c) {
          FetchAhead ahead;
          if (fetches && (next_follows || h + 1 < kv + job_heads)) ahead = detail::backward_ahead(a, to, b * a.kv_heads + h + 1);
          detail::backward_chunk(a, to, b, h, c * kBackwardKeys, std::min(a.keys, (c + 1) * kBackwardKeys), dq, c > first_chunk, bias_of(b),
              g.d_slopes ? slopes.data() + (b * chunks + c) * a.heads : nullptr, sizes, scratch, ahead);
        }
  };

  const Index threads = thread_count();
  const auto make_scratch = [&] { return detail::BackwardScratch<T>(a, sizes); };
  if (threads == 1 || chunks == 1 || jobs >= 2 * threads || chunks_share) {
    const double work = 5.0 * static_cast<double>(a.queries) * static_cast<double>(a.keys) * static_cast<double>(a.width + a.value_width) *
                        static_cast<double>(a.heads / a.kv_heads * job_batches * job_heads);
    const Index grain = even_grain(jobs, std::max({Index(1), static_cast<Index>(1e7 / (work + 1)), jobs / (8 * threads)}));  // as forward
    parallel_for(jobs, grain, make_scratch, [&](Index begin, Index end, detail::BackwardScratch<T>& scratch) {
      for (Index job = begin; job < end; ++job) run(job, job + 1 < end, 0, chunks, g.dq, scratch);
    });
  } else {
    // Waves of chunks; the parts of dq are added in the order of the chunks, as above, so the length of a wave changes no bit. It is bounded, as each chunk of
    // one holds a whole dq.
    const Index rows = query_heads * a.queries, part = rows * a.width;
    const Index most = std::max<Index>(1, kWaveBytes / std::max<Index>(1, part * static_cast<Index>(sizeof(T))));
    const Index wave = std::min({chunks, most, (2 * threads + jobs - 1) / jobs});
    auto parts = Tensor<T, 1>::uninitialized({wave * part});
    for (Index c = 0; c < chunks; c += wave) {
      const Index count = std::min(wave, chunks - c);
      parallel_for(jobs * count, 1, make_scratch, [&](Index begin, Index end, detail::BackwardScratch<T>& scratch) {
        for (Index job = begin; job < end; ++job) {
          const HeadRows<T> dq{parts.data() + job % count * part, a.heads * a.queries * a.width, a.queries * a.width, a.width};
          run(job / count, false, c + job % count, c + job % count + 1, dq, scratch);
        }
      });
      parallel_for(rows, std::max<Index>(1, 16384 / (a.width + 1)), [&](Index begin, Index end) {
        for (Index row = begin; row < end; ++row) {
          T* dq = g.dq.at(row / a.queries / a.heads, row / a.queries % a.heads, row % a.queries);
          if (c == 0) std::copy_n(parts.data() + row * a.width, a.width, dq);  // not added to zeros: that would turn -0 into 0
          for (Index s = c == 0 ? 1 : 0; s < count; ++s)
            for (Index d = 0; d < a.width; ++d) dq[d] += parts[s * part + row * a.width + d];
        }
      });
    }
  }
  shards.fold();
  for (Index i = 0; i < slopes.size(); ++i) g.d_slopes[i % a.heads] += slopes[i];
}
HEED_COMPILE_ONCE(attention_backward);

}  // namespace heed::inline HEED_ABI::kernels
