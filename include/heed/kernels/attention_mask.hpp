// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include <heed/core/integer_packet.hpp>
#include <heed/core/random.hpp>
#include <heed/kernels/exponential.hpp>

namespace heed::inline HEED_ABI::kernels {

/// One operand of attention: feature d of token t of head h of sequence b lies at data[b * batch + h * head + t * row + d], so that
/// (B, H, T, D) tensors and slices of a packed (N, T, 3 H D) projection are both read in place.
template <class T>
struct HeadRows {
  T* data = nullptr;                   ///< the first element
  Index batch = 0, head = 0, row = 0;  ///< distances, in elements

  /// Where the features of token t of head h of sequence b begin.
  T* at(Index b, Index h, Index t = 0) const { return data + b * batch + h * head + t * row; }
};

/// A mask or bias of up to four axes: element (b, h, query, key) at data[b * batch + h * head + i * query + j * key]. A stride of 0 repeats the
/// element along the axis; strides may be negative, and rows may overlap: strides -1 and 1 of query and key read a table of 2 T - 1 numbers by
/// key - query. Only the elements of different heads, and of different batches, must differ, unless the stride is 0.
template <class M>
struct MaskRef {
  M* data = nullptr;                              ///< the first element; null: there is no mask
  Index batch = 0, head = 0, query = 0, key = 0;  ///< distances, in elements

  /// Whether there is a mask.
  explicit operator bool() const { return data != nullptr; }
  /// Where the row of query i begins.
  M* row(Index b, Index h, Index i) const { return data + b * batch + h * head + i * query; }
};

/// Which weights dropout keeps, as a pure function of (key, batch, head, query, key index): drawn again wherever it is needed, never stored.
/// A 64-bit number a row, and 32 bits a weight hashed from it and the key index, so p is exact to 2^-32.
struct AttentionDropout {
  std::uint64_t key = 0;  ///< of the pass
  double p = 0;           ///< probability that a weight is dropped

  /// Whether any weight is dropped.
  bool active() const { return p > 0; }
  /// Weights whose 32 bits are below it are dropped.
  std::uint32_t threshold() const { return static_cast<std::uint32_t>(std::min(p * 0x1p32, 0x1p32 - 1)); }
  /// By which the kept weights grow.
  double scale() const { return p < 1 ? 1 / (1 - p) : 0; }
  /// What the bits of a row's weights are hashed from; `row` as in Attention::row_number.
  std::uint64_t row_bits(std::uint64_t row) const { return CounterRandom({key, 0x61747465}).bits(row); }
};

/// A problem of attention, y = softmax(softcap(scale q kᵀ) - slope |position - j| + bias, where the masks allow it) v, head by head.
///
/// One rule for masks in the whole library: **true = attend**. A key is attended if every mask that is given says so; a bias of -1e30 or less (-inf
/// among them) masks as well. A row without any attended key gives y = 0 and no gradient. Keys and values that no query attends
/// may hold anything, NaN included, but for keys of a block that another row of the block attends; docs/notation.md has that and what scores near -3e29 do.
template <class T>
struct Attention {
  Index batches = 0, heads = 0, kv_heads = 0;               ///< query head h uses key head h / (heads / kv_heads)
  Index queries = 0, keys = 0, width = 0, value_width = 0;  ///< sizes: tokens, and features of a head
  HeadRows<const T> q, k, v;                                ///< (B, H, Tq, D), (B, Hkv, Tk, D) and (B, Hkv, Tk, Dv)
  double scale = 1;                                         ///< of q kᵀ
  double softcap = 0;                                       ///< > 0: scores become softcap * tanh(score / softcap), before bias and masks
  bool causal = false;                                      ///< a query attends the keys up to its own position
  Index causal_offset = 0;            ///< position of query 0 among the keys: 0 (the diagonal at the top left), or the length of a past
  bool end_aligned = false;           ///< instead, the last query stands at the last key of its sequence (the diagonal at the bottom right)
  MaskRef<const bool> mask = {};      ///< true = attend
  MaskRef<const bool> key_mask = {};  ///< true = attend; strides of head and query are 0
  const Index* key_lengths = nullptr;                   ///< (batches): sequence b has so many keys, those behind are padding
  Index key_limit = std::numeric_limits<Index>::max();  ///< keys from here on are masked: where masks are shorter than the keys
  MaskRef<const T> bias = {};                           ///< added to the scores
  const T* slopes = nullptr;      ///< (heads): -slope |position - j| is added to the score of key j (ALiBi, Press et al. 2022)
  AttentionDropout dropout = {};  ///< of the weights, in training

  /// Whether there is no weight at all: no query, no key or no batch.
  bool empty() const { return batches * heads * queries * keys == 0; }
  /// The head of keys and values that query head h reads.
  Index kv_head(Index h) const { return h / (heads / kv_heads); }
  /// Keys of sequence b.
  Index length(Index b) const { return key_lengths ? std::clamp<Index>(key_lengths[b], 0, keys) : keys; }
  /// Where among the keys query i of sequence b stands; may lie outside.
  Index position(Index b, Index i) const { return i + (end_aligned ? length(b) - queries : causal_offset); }
  /// Number of leading keys that query i of sequence b may see, which grows with i; masks may forbid more.
  Index visible_keys(Index b, Index i) const {
    const Index all = std::min(length(b), key_limit);
    return causal ? std::clamp<Index>(position(b, i) + 1, 0, all) : all;
  }
  /// Number of a row of weights among all.
  std::uint64_t row_number(Index b, Index h, Index i) const { return static_cast<std::uint64_t>((b * heads + h) * queries + i); }
};

/// The score of a masked key. Finite, so that no difference of infinities arises; its weight is exactly 0. A row whose largest score (in base 2) lies below half of it counts as masked.
inline constexpr double kMaskedScore = -1e30;

/// What flows back into attention, and where the gradients go.
template <class T>
struct AttentionGradients {
  HeadRows<const T> y, dy;      ///< the output of the forward pass and its gradient
  const T* log_sum = nullptr;   ///< (B, H, Tq), from attention_forward
  const T* weights = nullptr;   ///< (B, H, Tq, Tk), from attention_forward: needed with d_weights
  MaskRef<const T> d_weights;   ///< gradient of the returned weights, times `d_weights_factor`; a stride of 0 repeats it over the heads
  double d_weights_factor = 1;  ///< what `d_weights` is multiplied by
  HeadRows<T> dq, dk, dv;       ///< written
  MaskRef<T> d_bias;            ///< if given, dS is **added** here, summed over axes whose stride is 0 and where rows overlap
  T* d_slopes = nullptr;        ///< (heads), if given: the gradient of the slopes is **added** here
};

namespace detail {

/// Weights of a row that add up to 1 within so much, some ten roundings, are left as they are.
template <class T>
inline constexpr double kSumError = std::is_same_v<T, float> ? 1e-6 : 2e-15;

/// log2 of a row's sum of exponentials, `sum` 2^largest; without a key one whose weights are 0.
template <class T>
HEED_APART T log_of_sum(T largest, T sum) {
  using std::log;
  return sum == T(0) ? T(-kMaskedScore) : T(largest + log(sum) * T(kLog2E));
}

/// Whether forward found no key for the row with this log-sum.
template <class T>
bool is_empty_row(T log_sum) {
  return log_sum == T(-kMaskedScore);
}

}  // namespace detail

/// The keys in [begin, end) that any of a range of queries attends lie in here. `flags`, if not null, says which of them are attended.
struct AttendedKeys {
  Index begin = 0, end = 0;              ///< numbers of keys
  const unsigned char* flags = nullptr;  ///< flags[j] for key j of [begin, end); null: all

  /// Whether there are none.
  bool empty() const { return begin >= end; }
  /// From key `first` on.
  const unsigned char* flags_from(Index first) const { return flags ? flags + (first - begin) : nullptr; }
};

namespace detail {

/// flags[j] |= query i attends key j, for j in [begin, end).
template <class T>
void add_attended(const Attention<T>& a, Index b, Index h, Index i, Index begin, Index end, unsigned char* flags) {
  end = std::min(end, a.visible_keys(b, i));
  if (begin >= end) return;
  const bool* mask = a.mask ? a.mask.row(b, h, i) : nullptr;
  const bool* key_mask = a.key_mask ? a.key_mask.row(b, h, i) : nullptr;
  const T* bias = a.bias ? a.bias.row(b, h, i) : nullptr;
  Index j = begin;
  if (mask && a.mask.key == 1 && !key_mask && !bias) {
    for (; j + 8 <= end; j += 8) {  // eight flags at a time
      std::uint64_t word, old;
      std::memcpy(&word, mask + j, 8);
      std::memcpy(&old, flags + j, 8);
      word |= old;
      std::memcpy(flags + j, &word, 8);
    }
  }
  for (; j < end; ++j) {
    bool attended = !mask || mask[j * a.mask.key];
    if (key_mask != nullptr) attended = attended && key_mask[j * a.key_mask.key];
    if (bias) attended = attended && !(bias[j * a.bias.key] <= T(kMaskedScore));  // NaN is not masked
    flags[j] = static_cast<unsigned char>(flags[j] | static_cast<unsigned char>(attended));
  }
}

}  // namespace detail

/// Finds the keys of [key_begin, key_end) that queries [first, last) of a head attend; `flags` holds key_end - key_begin bytes. Mostly one look
/// at the last query's masks; those of the others are looked at only where keys have not been found attended yet.
template <class T>
AttendedKeys attended_keys(
    const Attention<T>& a, Index b, Index h, Index first, Index last, Index key_begin, Index key_end, unsigned char* flags) {
  AttendedKeys result{key_begin, first < last ? std::min(key_end, a.visible_keys(b, last - 1)) : key_begin, nullptr};
  if (result.empty() || !(a.mask || a.key_mask || a.bias)) return result;
  std::memset(flags, 0, static_cast<std::size_t>(result.end - result.begin));
  unsigned char* absolute = flags - key_begin;
  Index low = result.begin, high = result.end;
  const bool by_query = (a.mask && a.mask.query != 0) || (a.bias && a.bias.query != 0);
  for (Index i = last - 1, next = first; low < high; i = next++) {
    detail::add_attended(a, b, h, i, low, high, absolute);
    while (low < high && absolute[low]) ++low;
    while (low < high && absolute[high - 1]) --high;
    if (!by_query || next >= last - 1) break;
  }
  // Keys that nobody attends are cut off at both ends; between, the flags tell. A range may start anywhere: that moves every key by the same
  // number of lanes, and adding halves to halves, as Packet::sum does, adds the same pairs wherever the first lane is.
  while (!result.empty() && !absolute[result.end - 1]) --result.end;
  while (!result.empty() && !absolute[result.begin]) ++result.begin;
  if (!result.empty() && std::memchr(absolute + result.begin, 0, static_cast<std::size_t>(result.end - result.begin)))
    result.flags = absolute + result.begin;
  return result;
}
HEED_COMPILE_ONCE(attended_keys);

/// Scores of `rows` queries from `query` on against `keys` keys from `key` on, in units of log2 (scale and log2 e are in the queries).
template <class T>
struct ScoreBlock {
  const Attention<T>* problem;           ///< whose scores they are
  Index b, h, query, rows, key, keys;    ///< which of them: sequence, head, and ranges of queries and keys
  Index padded;                          ///< keys rounded up to whole vectors: what the rows hold
  T* scores;                             ///< room for `rows` rows
  Index row;                             ///< elements from row to row
  const unsigned char* flags = nullptr;  ///< of attended keys, from `key` on
  T* slope = nullptr;  ///< if not null, takes the derivative of the soft cap (0 where a causal row has ended), laid out as the scores
  unsigned char* flag_row = nullptr;  ///< room for `padded` flags and biases whose stride is not 1
  T* bias_row = nullptr;              ///< see flag_row
  const T* numbers = nullptr;         ///< 0, 1, 2, ..., `padded` of them, for problems with slopes
};

namespace detail {

/// Adds -slope |position - j| to a row of scores.
template <class Isa, class T>
HEED_INLINE void add_distances(const ScoreBlock<T>& x, Index i, Index end, T* s) {
  using P = Packet<Isa, T>;
  const Attention<T>& a = *x.problem;
  const P slope = P::broadcast(T(a.slopes[x.h] * T(-kLog2E)));
  const P position = P::broadcast(T(static_cast<double>(a.position(x.b, x.query + i) - x.key)));
  for (Index j = 0; j < end; j += P::lanes) {
    const P ahead = P::load(x.numbers + j) - position;
    P::fma(P::max(ahead, -ahead), slope, P::load(s + j)).store(s + j);
  }
}

/// Soft cap, distances, bias and masks of a block of scores.
template <class T>
struct MaskScores {
  template <class Isa, int Group = 0>
  HEED_INLINE static void select_groups(const unsigned char* flags, T* s, Index left) {
    using P = Packet<Isa, T>;
    if constexpr (Group < P::flag_groups) {
      if (Group * P::lanes < left) {
        T* target = s + Group * P::lanes;
        P::template select_flags<Group>(flags, P::load(target), P::broadcast(T(kMaskedScore))).store(target);
        select_groups<Isa, Group + 1>(flags, s, left);
      }
    }
  }
  template <class Isa>
  HEED_INLINE static void select_row(const unsigned char* flags, Index keys, Index padded, T* s) {
    constexpr Index step = Packet<Isa, T>::flag_bytes;
    Index j = 0;
    for (; j + step <= keys; j += step) select_groups<Isa>(flags + j, s + j, step);
    if (j < keys) {
      unsigned char rest[step] = {};
      for (Index i = 0; i < keys - j; ++i) rest[i] = flags[j + i];
      select_groups<Isa>(rest, s + j, padded - j);
    }
  }

  /// Caps `Count` packets of scores; `slope`, if not null, takes the derivative.
  template <class Isa, int Count>
  HEED_INLINE static void cap(const Packet<Isa, T>& in, const Packet<Isa, T>& out, T* s, T* slope) {
    using P = Packet<Isa, T>;
    const P one = P::broadcast(T(1));
    P t[Count];
#pragma GCC unroll 8
    for (int n = 0; n < Count; ++n) t[n] = P::load(s + n * P::lanes) * in;
    small_tangents(t);
#pragma GCC unroll 8
    for (int n = 0; n < Count; ++n) {
      if (slope) (one - t[n] * t[n]).store(slope + n * P::lanes);
      (t[n] * out).store(s + n * P::lanes);
    }
  }

  template <class Isa>
  HEED_INLINE static void mask_behind(Index end, Index padded, T* s) {
    using P = Packet<Isa, T>;
    using W = IntegerPacket<Isa, T>;
    constexpr Index lanes = P::lanes;
    const W last = W::broadcast(static_cast<std::uint32_t>(end));
    for (Index j = end / lanes * lanes; j < padded; j += lanes)
      W::select_less(W::count_from(static_cast<std::uint32_t>(j)), last, P::load(s + j), P::broadcast(T(kMaskedScore))).store(s + j);
  }

  template <class Isa>
  HEED_INLINE static void run(const ScoreBlock<T>* block) {
    using P = Packet<Isa, T>;
    const ScoreBlock<T>& x = *block;
    const Attention<T>& a = *x.problem;
    const Index lanes = P::lanes;
    const P masked = P::broadcast(T(kMaskedScore));
    if (!(a.causal || a.softcap > 0 || a.slopes || a.bias || a.mask || x.flags)) {  // nothing but padding (T = 64: 2 %)
      const Index end = std::clamp<Index>(a.visible_keys(x.b, x.query) - x.key, 0, x.keys);
      for (Index i = 0; i < x.rows; ++i) mask_behind<Isa>(end, x.padded, x.scores + i * x.row);
      return;
    }
    for (Index i = 0; i < x.rows; ++i) {
      T* s = x.scores + i * x.row;
      const Index query = x.query + i, end = std::clamp<Index>(a.visible_keys(x.b, query) - x.key, 0, x.keys);
      const Index end_padded = std::min(x.padded, (end + lanes - 1) / lanes * lanes);
      if (a.softcap > 0) {
        const P in = P::broadcast(T(kLn2 / a.softcap)), out = P::broadcast(T(a.softcap * kLog2E));
        T* slope = x.slope ? x.slope + i * x.row : nullptr;
        Index j = 0;
        for (; j + 4 * lanes <= end_padded; j += 4 * lanes) cap<Isa, 4>(in, out, s + j, slope ? slope + j : nullptr);
        for (; j < end_padded; j += lanes) cap<Isa, 1>(in, out, s + j, slope ? slope + j : nullptr);
        // The scores behind are masked and their dS is 0, but 0 times what the memory held before need not be.
        for (; slope && j < x.padded; j += lanes) P::zero().store(slope + j);
      }
      if (a.slopes) add_distances<Isa>(x, i, end_padded, s);
      if (a.bias) {
        const T* bias = a.bias.row(x.b, x.h, query) + x.key * a.bias.key;
        if (a.bias.key != 1) {
          for (Index j = 0; j < end; ++j) x.bias_row[j] = bias[j * a.bias.key];
          bias = x.bias_row;
        }
        const P unit = P::broadcast(T(kLog2E));
        for (Index j = 0; j < end; j += lanes) {  // a bias that masks hides a NaN; max in this order keeps those of the others
          const P b = P::load_partial(bias + j, end - j), sum = P::fma(b, unit, P::load(s + j));
          P::max(masked, P::select_greater(b, masked, sum, b)).store(s + j);
        }
      }
      if (a.mask) {
        const bool* mask = a.mask.row(x.b, x.h, query) + x.key * a.mask.key;
        const unsigned char* flags = reinterpret_cast<const unsigned char*>(mask);
        if (a.mask.key != 1) {
          for (Index j = 0; j < end; ++j) x.flag_row[j] = mask[j * a.mask.key];
          flags = x.flag_row;
        }
        select_row<Isa>(flags, end, x.padded, s);
      }
      if (x.flags) select_row<Isa>(x.flags, end, x.padded, s);
      mask_behind<Isa>(end, x.padded, s);
    }
  }
};

/// The random bits of a row's weights; `keep` lets through what dropout keeps.
template <class Isa, class T>
struct RowDropout {
  using P = Packet<Isa, T>;
  using W = IntegerPacket<Isa, T>;
  W first, second, threshold;

  HEED_INLINE RowDropout(const Attention<T>& a, Index b, Index h, Index i) : first(), second(), threshold() {
    const std::uint64_t bits = a.dropout.row_bits(a.row_number(b, h, i));
    first = W::broadcast(static_cast<std::uint32_t>(bits)), second = W::broadcast(static_cast<std::uint32_t>(bits >> 32));
    threshold = W::broadcast(a.dropout.threshold());
  }
  /// x where the weights of keys j, j + 1, ... are kept, else 0.
  HEED_INLINE P keep(Index j, const P& x) const {
    // The multipliers are those of "lowbias32" (Wellons 2018); only the high bits of the last product count.
    W z = W::count_from(static_cast<std::uint32_t>(j)) * W::broadcast(0x9e3779b1u) + first;
    z = W::template fold<16>(z) * W::broadcast(0x7feb352du) + second;
    z = W::template fold<15>(z) * W::broadcast(0x846ca68bu);
    return W::select_less(z, threshold, P::zero(), x);
  }
};

}  // namespace detail

/// Puts soft cap, distances, bias and masks on a block of scores: what is masked becomes kMaskedScore, up to the end of the padded row.
template <class T>
void mask_scores(const ScoreBlock<T>& block) {
  dispatch<detail::MaskScores<T>, T>(&block);
}
HEED_COMPILE_ONCE(mask_scores);

}  // namespace heed::inline HEED_ABI::kernels
