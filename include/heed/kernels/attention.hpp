// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/parallel.hpp>
#include <heed/kernels/attention_backward.hpp>
#include <heed/kernels/attention_scores.hpp>
#include <heed/kernels/few_keys.hpp>

namespace heed::inline HEED_ABI::kernels {

// softmax(Q Kᵀ) V without the matrix of weights, forward (here) and backward (attention_backward.hpp).
//
// Layout: heads through strides (HeadRows), features of a token contiguous. Parallel over heads, and over ranges of queries where heads are few.
// A job packs its keys transposed in panels (right operand of Q Kᵀ; few queries read them where they lie), reads V as it lies where it can, and takes blocks of
// query rows: scores of the block against all keys (scale and log2 e are in the copied queries), soft cap, distances, bias, masks, exact softmax of each row in base 2, product with V; the
// row's sum divides the output, not the weights. Beyond kForwardKeys keys the same runs chunk by chunk with a running maximum and sum
// (Milakov and Gimelshein 2018; Dao et al. 2022). Sums are in T. Each row is computed in an order that depends on the keys alone: the
// same bits for any number of threads, any batch and any position in it. Heads of a handful of keys have a way of their own to the same bits (few_keys.hpp).

/// Keys of a chunk: packed keys, values and the scores of a block stay in L2, 512 KB of them at D = 128. (4096 keys: 54 instead of 76 % of two threads' peak
/// at T = 4096, D = 64 and at T = 2048, D = 128 with 2 MB of L2.)
inline constexpr Index kForwardKeys = 512;

namespace detail {

/// What a row's softmax needs besides the scores.
template <class T>
struct SoftmaxBlock {
  T* largest;  ///< running maximum and sum of each row, in and out
  T* sum;
  T* before;  ///< out: by which what was summed before the block is to be multiplied
  T* shift;   ///< room for what is taken off each row's scores
};

/// Turns scores into weights that are still to be divided by the row's sum.
template <class T>
struct SoftmaxRows {
  struct KeepAll {
    template <class P>
    HEED_INLINE P keep(Index, const P& x) const {
      return x;
    }
  };
  /// The sum of a row's exponentials, before dropout; those that it keeps are stored.
  template <class Isa, class Dropout>
  HEED_INLINE static T row_sum(T* s, Index padded, T largest, const Dropout& dropout, Index key) {
    using P = Packet<Isa, T>;
    constexpr Index lanes = P::lanes;
    const P shift = P::broadcast(largest);
    P sum0 = P::zero(), sum1 = P::zero();
    Index j = 0;
    for (; j + lanes < padded; j += 2 * lanes) {
      const P e0 = exp2_of_nonpositive(P::load(s + j) - shift), e1 = exp2_of_nonpositive(P::load(s + j + lanes) - shift);
      sum0 = sum0 + e0, sum1 = sum1 + e1;
      dropout.keep(key + j, e0).store(s + j), dropout.keep(key + j + lanes, e1).store(s + j + lanes);
    }
    if (j < padded) {
      const P e = exp2_of_nonpositive(P::load(s + j) - shift);
      sum0 = sum0 + e;
      dropout.keep(key + j, e).store(s + j);
    }
    return (sum0 + sum1).sum();
  }
  template <class Isa, bool Drop>
  HEED_INLINE static void exponentials(const ScoreBlock<T>& x, const SoftmaxBlock<T>& state) {
    const Index rows = x.rows,
                padded = x.padded;  // for g++, which otherwise reads them, and all constants, again for each row: 1 % at T = 64
    for (Index i = 0; i < rows; ++i) {
      T *s = x.scores + i * x.row, sum = T(0);
      if constexpr (Drop)
        sum = row_sum<Isa>(s, padded, state.shift[i], RowDropout<Isa, T>(*x.problem, x.b, x.h, x.query + i), x.key);
      else
        sum = row_sum<Isa>(s, padded, state.shift[i], KeepAll{}, x.key);
      state.sum[i] = state.sum[i] * state.before[i] + sum;
    }
  }

  template <class Isa>
  HEED_INLINE static void run(const ScoreBlock<T>* scores, const SoftmaxBlock<T>* state) {
    using P = Packet<Isa, T>;
    constexpr Index lanes = P::lanes;
    const ScoreBlock<T>& x = *scores;
    // Three loops, so that the reductions of several rows are in flight at once (T = 64: 4 %).
    for (Index i = 0; i < x.rows; ++i) {
      const T* s = x.scores + i * x.row;
      P m0 = P::broadcast(state->largest[i]), m1 = m0;
      Index j = 0;
      for (; j + lanes < x.padded; j += 2 * lanes) m0 = P::max(m0, P::load(s + j)), m1 = P::max(m1, P::load(s + j + lanes));
      if (j < x.padded) m0 = P::max(m0, P::load(s + j));
      state->shift[i] = P::max(m0, m1).largest();
    }
    for (Index i = 0; i < x.rows; ++i) {
      const T largest = state->shift[i];
      // A row in which everything is masked so far: weights 2^(masked - 0) = 0.
      if (largest < T(0.5 * kMaskedScore)) state->shift[i] = T(0);
      state->before[i] = state->sum[i] == T(0) ? T(0) : exp2_of_nonpositive(Packet<Scalar, T>{state->largest[i] - state->shift[i]}).v;
      state->largest[i] = largest;
    }
    if (x.problem->dropout.active())
      exponentials<Isa, true>(x, *state);
    else
      exponentials<Isa, false>(x, *state);
  }
};

/// Scratch of a job, cut from one buffer.
template <class T>
struct ForwardScratch {
  Index rows;        ///< of a block of queries
  Index chunk_keys;  ///< of a chunk
  ScoreScratch<T> score;
  Tensor<T, 1> memory;
  Tensor<unsigned char, 1> flags;
  T *v, *largest, *sum, *before, *shift;
  unsigned char* attended;

  ForwardScratch(const Attention<T>& a, Index job_rows, const TileSizes<T>& sizes)
      : chunk_keys(std::min(a.keys, kForwardKeys)), score(a, sizes.whole_panels(chunk_keys), sizes) {
    const Index chunk = sizes.whole_panels(chunk_keys);
    // A block shares the passes over the panels; its scores should stay near L1. Causal blocks are one tile: less above the diagonal.
    rows = std::min(sizes.rows * (a.causal ? 1 : std::clamp<Index>(24576 / (sizes.rows * (chunk + 1)), 1, 4)), job_rows);
    const bool copy_v = needs_copy(a.v.row, a.value_width, sizes) || a.mask || a.key_mask || a.bias;
    memory = cut_scratch<T>({
        {&score.packed_k, TransposedRows<T>::packed_size(a.queries, chunk, a.width)},
        {&v, copy_v ? chunk * sizes.whole_vectors(a.value_width) : 0},
        {&score.scaled_q, (rows + kTileSlack) * score.q_row},
        {&score.s, (rows + kTileSlack) * score.s_row},
        {&largest, job_rows},
        {&sum, job_rows},
        {&before, rows},
        {&shift, rows},
        {&score.bias_row, score.bias_size(a, chunk)},
        {&score.numbers, score.numbers_size(a, chunk)},
    });
    score.number_keys(chunk);
    flags = Tensor<unsigned char, 1>::uninitialized({a.keys + chunk});
    attended = flags.data(), score.flag_row = attended + a.keys;
  }
};

/// What a job reads and writes: asked for while the one before it runs.
template <class T>
FetchAhead forward_ahead(const Attention<T>& a, const HeadRows<T>& y, Index head) {
  const Index b = head / a.heads, h = head % a.heads, kv = a.kv_head(h);
  FetchAhead ahead;
  ahead.add(a.k.at(b, kv), a.k.row, a.keys, a.width);
  ahead.add(a.q.at(b, h), a.q.row, a.queries, a.width);
  ahead.add(a.v.at(b, kv), a.v.row, a.keys, a.value_width);
  ahead.add(y.at(b, h), y.row, a.queries, a.value_width);
  return ahead;
}

/// The keys that the queries of each head attend, found once for heads that are cut into ranges of queries: where a mask or a bias hides keys from every query,
/// that takes a look at all of it, and each range looked by itself (T = 2048, a quarter of the keys hidden by a bias, 2 threads: 14 ms for 7).
template <class T>
class AttendedByHead {
 public:
  AttendedByHead(const Attention<T>& a, Index ranges) {
    if (ranges == 1 || !(a.mask || a.key_mask || a.bias)) return;
    const Index heads = a.batches * a.heads;
    ends_ = Tensor<Index, 2>::uninitialized({heads, 3}), flags_ = Tensor<unsigned char, 2>::uninitialized({heads, a.keys});
    parallel_for(heads, 1, [&](Index begin, Index end) {
      for (Index head = begin; head < end; ++head) {
        const AttendedKeys keys = attended_keys(a, head / a.heads, head % a.heads, 0, a.queries, 0, a.keys, flags_.data() + head * a.keys);
        ends_(head, 0) = keys.begin, ends_(head, 1) = keys.end, ends_(head, 2) = keys.flags != nullptr;
      }
    });
  }
  /// Those of head number `head` of all; `flags` as for attended_keys, where they have not been found before.
  AttendedKeys of(const Attention<T>& a, Index head, unsigned char* flags) const {
    if (ends_.empty()) return attended_keys(a, head / a.heads, head % a.heads, 0, a.queries, 0, a.keys, flags);
    const Index begin = ends_(head, 0);
    return {begin, ends_(head, 1), ends_(head, 2) != 0 ? flags_.data() + head * a.keys + begin : nullptr};
  }

 private:
  Tensor<Index, 2> ends_;  // begin, end, and whether there are flags
  Tensor<unsigned char, 2> flags_;
};

/// Queries [first, last) of one head, of whose keys some query attends `attended`.
template <class T>
void forward_head(const Attention<T>& a, Index b, Index h, Index first, Index last, const AttendedKeys& attended, const HeadRows<T>& y,
    T* log_sum, T* weights, const TileSizes<T>& sizes, ForwardScratch<T>& scratch, FetchAhead& ahead) {
  const Index kv = a.kv_head(h), head_rows = (b * a.heads + h) * a.queries;
  const auto finish_empty = [&](Index i) {  // no key attended: y = 0, and a log-sum whose weights are 0
    std::fill_n(y.at(b, h, i), a.value_width, T(0));
    if (log_sum) log_sum[head_rows + i] = T(-kMaskedScore);
  };
  if (weights) std::fill_n(weights + (head_rows + first) * a.keys, (last - first) * a.keys, T(0));
  for (Index i = first; i < last && attended.empty(); ++i) finish_empty(i);
  std::fill_n(scratch.largest, last - first, T(kMaskedScore));
  std::fill_n(scratch.sum, last - first, T(0));

  for (Index key = attended.begin; key < attended.end; key += scratch.chunk_keys) {
    const Index keys = std::min(scratch.chunk_keys, attended.end - key);
    const unsigned char* flags = attended.flags_from(key);
    const TransposedRows<T> k = chunk_keys(a, b, kv, key, keys, flags, scratch.score);
    const RightRows<T> v = right_rows<T>(a.v.at(b, kv, key), a.v.row, keys, a.value_width, flags, sizes, scratch.v);
    for (Index i = first; i < last; i += scratch.rows) {
      const Index rows = std::min(scratch.rows, last - i);
      const Index block_end = std::min(attended.end, a.visible_keys(b, i + rows - 1)), block_keys = std::min(keys, block_end - key);
      if (block_keys <= 0) {
        for (Index r = 0; r < rows && key == attended.begin; ++r) finish_empty(i + r);
        continue;
      }
      const ScoreBlock<T> block = score_block(a, b, h, i, rows, k, key, block_keys, flags, sizes, scratch.score, ahead);
      const SoftmaxBlock<T> state{scratch.largest + (i - first), scratch.sum + (i - first), scratch.before, scratch.shift};
      dispatch<SoftmaxRows<T>, T>(&block, &state);
      const bool is_last = key + keys >= block_end;
      if (is_last) {
        for (Index r = 0; r < rows; ++r) {
          const T sum = state.sum[r];
          if (log_sum) log_sum[head_rows + i + r] = log_of_sum(state.largest[r], sum);
          state.sum[r] = sum == T(0) ? T(0) : T(T(a.dropout.scale()) / sum);
        }
      }
      const TileProduct<T> product{.rows = rows,
          .cols = a.value_width,
          .depth = block_keys,
          .a = scratch.score.s,
          .a_row = scratch.score.s_row,
          .a_step = 1,
          .b = v.data,
          .b_row = v.row,
          .b_panel = sizes.width,
          .c = y.at(b, h, i),
          .c_row = y.row,
          .slack = true,
          .accumulate = key > attended.begin,
          .before = state.before,
          .after = is_last ? state.sum : nullptr};
      multiply_tiles(product, &ahead);
      for (Index r = 0; r < rows && weights; ++r) {  // as y: what earlier chunks left is scaled, at the end all of it
        T* row = weights + (head_rows + i + r) * a.keys;
        for (Index j = attended.begin; j < key; ++j) row[j] *= state.before[r];
        std::copy_n(scratch.score.s + r * scratch.score.s_row, block_keys, row + key);
        for (Index j = attended.begin; j < key + block_keys && is_last; ++j) row[j] *= state.sum[r];
      }
    }
  }
}

/// Whether one query of the heads that share keys may be taken for as many queries of one head: nothing depends on the head.
template <class T>
bool heads_join(const Attention<T>& a) {
  return a.queries == 1 && a.kv_heads < a.heads && !a.slopes && a.mask.head == 0 && a.bias.head == 0;
}
/// Does so; `y` is where these queries go.
template <class T>
Attention<T> join_heads(Attention<T> a, HeadRows<T>& y) {
  const Index group = a.heads / a.kv_heads;
  if (a.causal && !a.end_aligned) a.key_limit = std::clamp<Index>(a.causal_offset + 1, 0, a.key_limit);  // at the end it sees all keys
  a.causal = false, a.heads = a.kv_heads, a.queries = group, a.mask.query = a.bias.query = 0;
  a.q.row = a.q.head, a.q.head *= group, y.row = y.head, y.head *= group;
  return a;
}

}  // namespace detail

/// y = attention (see Attention). Optional results: `log_sum`, (B, H, Tq), log2 of each row's sum of exponentials, which backward needs; and
/// `weights`, (B, H, Tq, Tk), after dropout: what multiplies v.
template <class T>
void attention_forward(const Attention<T>& a, const HeadRows<T>& y, T* log_sum = nullptr, T* weights = nullptr) {
  const Index heads = a.batches * a.heads;
  if (heads == 0 || a.queries == 0) return;
  HEED_ASSERT(a.heads % a.kv_heads == 0);
  if (detail::heads_join(a)) {  // keys and values are read once for the group: the same bits, since each row is computed by itself
    HeadRows<T> rows = y;
    const Attention<T> joined = detail::join_heads(a, rows);
    return attention_forward(joined, rows, log_sum, weights);
  }
  const TileSizes<T> sizes;
  if (few_keys_fits(a, sizes.lanes) && few_keys_pays(a) && !weights) {
    return parallel_for(heads, few_keys_grain(a, sizes.lanes, 2),
        [&](Index begin, Index end) { dispatch<detail::FewKeysForward<T>, T>(&a, &y, log_sum, begin, end); });
  }
  // Few heads are cut into ranges of queries, each of which packs the keys again: at least four tiles, so that packing stays below 2 %.
  Index ranges = 1, job_rows = a.queries;
  for (const Index threads = thread_count(); threads > 1 && heads * ranges < 4 * threads && job_rows > 8 * sizes.rows;) {
    ranges *= 2;
    job_rows = ((a.queries + ranges - 1) / ranges + sizes.rows - 1) / sizes.rows * sizes.rows;
  }
  ranges = (a.queries + job_rows - 1) / job_rows;
  // A few queries take as long as a tile of them: they wait for keys and values.
  const double work = 2.0 * static_cast<double>(std::max(job_rows, sizes.rows)) * static_cast<double>(a.keys) *
                      static_cast<double>(a.width + a.value_width);
  // Some 50 microseconds, and where heads are many an eighth of a thread's share: the next head of a range is asked for ahead.
  const Index grain =
      even_grain(heads * ranges, std::max({Index(1), static_cast<Index>(5e6 / (work + 1)), heads * ranges / (8 * thread_count())}));
  const bool fetches = ranges == 1 && a.keys <= kForwardKeys &&
                       fetching_pays<T>(a.batches * (a.heads * a.queries + a.kv_heads * a.keys) * (a.width + a.value_width));
  const detail::AttendedByHead<T> attended(a, ranges);
  const auto make_scratch = [&] { return detail::ForwardScratch<T>(a, job_rows, sizes); };
  parallel_for(heads * ranges, grain, make_scratch, [&](Index begin, Index end, detail::ForwardScratch<T>& scratch) {
    for (Index job = begin; job < end; ++job) {
      const Index head = job / ranges, first = job % ranges * job_rows;
      FetchAhead ahead;
      if (fetches && job + 1 < end) ahead = detail::forward_ahead(a, y, head + 1);
      detail::forward_head(a, head / a.heads, head % a.heads, first, std::min(a.queries, first + job_rows),
          attended.of(a, head, scratch.attended), y, log_sum, weights, sizes, scratch, ahead);
    }
  });
}
HEED_COMPILE_ONCE(attention_forward);

/// What is shown of the scores on their way to weights.
enum class ScoreStage {
  scaled,  ///< scale q kᵀ
  capped,  ///< after the soft cap
  masked,  ///< after distances, bias and masks: what the softmax takes, -inf where a key is masked
};

namespace detail {

/// The scores of one head, (Tq, Tk).
template <class T>
void head_scores(const Attention<T>& a, Index b, Index h, T* scores, const TileSizes<T>& sizes, ForwardScratch<T>& scratch) {
  const Index kv = a.kv_head(h);
  const AttendedKeys attended = attended_keys(a, b, h, 0, a.queries, 0, a.keys, scratch.attended);
  std::fill_n(scores, a.queries * a.keys, T(-HUGE_VAL));
  FetchAhead nothing;
  for (Index key = attended.begin; key < attended.end; key += scratch.chunk_keys) {
    const Index keys = std::min(scratch.chunk_keys, attended.end - key);
    const unsigned char* flags = attended.flags_from(key);
    const TransposedRows<T> k = chunk_keys(a, b, kv, key, keys, flags, scratch.score);
    for (Index i = 0; i < a.queries; i += scratch.rows) {
      const Index rows = std::min(scratch.rows, a.queries - i);
      const ScoreBlock<T> block = score_block(a, b, h, i, rows, k, key, keys, flags, sizes, scratch.score, nothing);
      for (Index r = 0; r < rows; ++r)
        for (Index j = 0; j < keys; ++j) {
          const T score = block.scores[r * block.row + j];
          if (!(score <= T(kMaskedScore))) scores[(i + r) * a.keys + key + j] = score * T(kLn2);  // NaN is shown
        }
    }
  }
}

}  // namespace detail

/// scores, (B, H, Tq, Tk), of a stage. Those before the masks are of all keys, so what padding holds is seen in them.
template <class T>
void attention_scores(const Attention<T>& problem, ScoreStage stage, T* scores) {
  Attention<T> a = problem;
  a.v = {}, a.value_width = 0;
  if (stage != ScoreStage::masked) {
    a.causal = false, a.mask = a.key_mask = {}, a.bias = {}, a.slopes = nullptr;
    a.key_lengths = nullptr, a.key_limit = a.keys;
  }
  if (stage == ScoreStage::scaled) a.softcap = 0;
  if (a.queries == 0 || a.keys == 0) return;
  const TileSizes<T> sizes;
  const auto make_scratch = [&] { return detail::ForwardScratch<T>(a, a.queries, sizes); };
  parallel_for(a.batches * a.heads, 1, make_scratch, [&](Index begin, Index end, detail::ForwardScratch<T>& scratch) {
    for (Index head = begin; head < end; ++head)
      detail::head_scores(a, head / a.heads, head % a.heads, scores + head * a.queries * a.keys, sizes, scratch);
  });
}
HEED_COMPILE_ONCE(attention_scores);

}  // namespace heed::inline HEED_ABI::kernels
