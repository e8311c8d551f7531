// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>

#include <heed/core/parallel.hpp>
#include <heed/kernels/channel_sweep.hpp>
#include <heed/kernels/fetch_ahead.hpp>

// What batch normalisation does with a chunk of rows, see batch_norm.hpp.

namespace heed::inline HEED_ABI::kernels {

/// rows x features cut into `groups` groups of rows. Groups hold `group_rows` rows, except for the last, which takes what is left.
struct BatchNormRows {
  Index rows, features, groups, group_rows;  ///< rows of all, features of a row, groups, and rows of a group
  Index joined = 1;                          ///< neighbouring features that are normalised together, a divisor of `features`

  /// First row of a group.
  Index begin(Index group) const { return group * group_rows; }
  /// Rows of a group.
  Index count(Index group) const { return (group + 1 == groups ? rows : (group + 1) * group_rows) - group * group_rows; }
  /// Rows of a chunk: 64 KiB of float, which stay in L2 for the second look at them; at most 1024, so that sums in float keep their digits, and at least 16, so
  /// that the three moments of a chunk are little beside its numbers (with one row of 16384 features each they were three times as many: 20 ms for 17 MB, and 0.9 so).
  Index chunk_rows() const { return std::clamp<Index>(16384 / features, 16, 1024); }
  /// Chunks of a group.
  Index chunks_of(Index group) const { return (count(group) + chunk_rows() - 1) / chunk_rows(); }
  /// Chunks of the groups before.
  Index chunks_before(Index group) const { return group * ((group_rows + chunk_rows() - 1) / chunk_rows()); }
  /// Sets of joined features.
  Index sets() const { return features / joined; }
  /// Chunks of all groups.
  Index chunks() const { return chunks_before(groups - 1) + chunks_of(groups - 1); }
};

namespace detail {

/// Calls `body(group, first row, end row, chunk)` for all chunks, in parallel.
template <class Body>
void for_each_chunk(const BatchNormRows& r, const Body& body) {
  parallel_for(r.chunks(), 1, [&](Index begin, Index end) {
    for (Index chunk = begin; chunk < end; ++chunk) {
      const Index per_group = std::max<Index>(1, r.chunks_before(1));
      const Index group = std::min(chunk / per_group, r.groups - 1);
      const Index first = r.begin(group) + (chunk - r.chunks_before(group)) * r.chunk_rows();
      body(group, first, std::min(first + r.chunk_rows(), r.begin(group) + r.count(group)), chunk);
    }
  });
}

template <class T>
Index ahead_of_columns(const BatchNormRows& r) {
  return r.features > 128 ? fetch_distance<T>(r.rows * r.features) : 0;
}

/// A chunk's columns, top to bottom: up to 256 features in the order of memory, four packets of a row and then the next row; of more, whose rows the
/// hardware follows as separate streams, packet by packet. Beyond 128 it asks ahead (see `fetch_distance`). One thread of Zen 4, statistics and gradient of
/// 65536x64, 12544x256, 16384x512 numbers, ms: packet by packet 0.49, 3.8; 0.47, 2.3; 3.4, 7.0; so 0.39, 2.1; 0.36, 1.8; 2.4, 6.3 (AVX2: 0.90, 4.3; 0.75,
/// 2.65 -> 0.50, 2.8; 0.42, 1.95).
template <class Isa, class T, class Body>
HEED_INLINE void sweep_rows(Index features, const Body& body) {
  using P = Packet<Isa, T>;
  Index j = 0;
  if (features <= 256)
    for (; j + 4 * P::lanes <= features; j += 4 * P::lanes) body.template at<P, 4>(j);
  sweep_channels<Isa, T>(j, features, body);
}

/// Mean of a chunk, then sums of the deviations from it and of their squares: two looks, the second at L2.
template <class T>
struct ChunkMoments {
  Index rows, features, ahead;
  const T* x;
  T *mean, *deviation, *squares;

  template <class P, int K = 1>
  HEED_INLINE void at(Index j) const {
    const P count = P::broadcast(T(static_cast<double>(rows)));
    P sum0[K], sum1[K];  // two chains hide half the latency of an addition
    for (int k = 0; k < K; ++k) sum0[k] = sum1[k] = P::zero();
    Index i = 0;
    for (; i + 2 <= rows; i += 2) {
      if (ahead > 0)
        ask_for<K * P::lanes, 2>(x + (i * features + j + ahead)), ask_for<K * P::lanes, 2>(x + ((i + 1) * features + j + ahead));
#pragma GCC unroll 4
      for (int k = 0; k < K; ++k) sum0[k] = sum0[k] + load<P>(i, j, k), sum1[k] = sum1[k] + load<P>(i + 1, j, k);
    }
    if (i < rows)
#pragma GCC unroll 4
      for (int k = 0; k < K; ++k) sum0[k] = sum0[k] + load<P>(i, j, k);
    P center[K], off[K];
#pragma GCC unroll 4
    for (int k = 0; k < K; ++k) center[k] = (sum0[k] + sum1[k]) / count, off[k] = sum0[k] = sum1[k] = P::zero();
    for (i = 0; i + 2 <= rows; i += 2)
#pragma GCC unroll 4
      for (int k = 0; k < K; ++k) {
        const P a = load<P>(i, j, k) - center[k], b = load<P>(i + 1, j, k) - center[k];
        off[k] = off[k] + (a + b), sum0[k] = P::fma(a, a, sum0[k]), sum1[k] = P::fma(b, b, sum1[k]);
      }
    if (i < rows)
#pragma GCC unroll 4
      for (int k = 0; k < K; ++k) {
        const P a = load<P>(i, j, k) - center[k];
        off[k] = off[k] + a, sum0[k] = P::fma(a, a, sum0[k]);
      }
#pragma GCC unroll 4
    for (int k = 0; k < K; ++k) {
      const Index to = j + k * P::lanes;
      center[k].store(mean + to), off[k].store(deviation + to), (sum0[k] + sum1[k]).store(squares + to);
    }
  }
  template <class Isa>
  HEED_INLINE static void run(const ChunkMoments* m) {
    sweep_rows<Isa, T>(m->features, *m);
  }

 private:
  template <class P>
  HEED_INLINE P load(Index i, Index j, int k) const {
    return P::load(x + (i * features + j + k * P::lanes));
  }
};

/// Column sums of dy and of dy (x - mean).
template <class T>
struct ChunkGradientSums {
  Index rows, features, ahead;
  const T *x, *dy, *mean;
  T *sum, *sum_x;

  template <class P, int K = 1>
  HEED_INLINE void at(Index j) const {
    P m[K], sum0[K], sum1[K], product0[K], product1[K];
    for (int k = 0; k < K; ++k) m[k] = P::load(mean + j + k * P::lanes), sum0[k] = sum1[k] = product0[k] = product1[k] = P::zero();
    Index i = 0;
    for (; i + 2 <= rows; i += 2) {
      if (ahead > 0)
        for (const T* p : {x + (i * features + j + ahead), dy + (i * features + j + ahead)})
          ask_for<K * P::lanes, 2>(p), ask_for<K * P::lanes, 2>(p + features);
#pragma GCC unroll 4
      for (int k = 0; k < K; ++k) {
        add(i, j + k * P::lanes, m[k], sum0[k], product0[k]);
        add(i + 1, j + k * P::lanes, m[k], sum1[k], product1[k]);
      }
    }
#pragma GCC unroll 4
    for (int k = 0; k < K; ++k) {
      const Index to = j + k * P::lanes;
      if (i < rows) add(i, to, m[k], sum0[k], product0[k]);
      (sum0[k] + sum1[k]).store(sum + to), (product0[k] + product1[k]).store(sum_x + to);
    }
  }
  template <class Isa>
  HEED_INLINE static void run(const ChunkGradientSums* s) {
    sweep_rows<Isa, T>(s->features, *s);
  }

 private:
  template <class P>
  HEED_INLINE void add(Index i, Index j, const P& m, P& total, P& product) const {
    const P d = P::load(dy + i * features + j);
    total = total + d, product = P::fma(d, P::load(x + i * features + j) - m, product);
  }
};

/// y = (x - mean) scale + shift, row by row.
template <class T>
struct NormalizeRows {
  Index rows, features;
  const T *x, *mean, *scale, *shift;
  T* y;

  template <class Isa>
  HEED_INLINE static void run(const NormalizeRows* n) {
    for (Index i = 0; i < n->rows; ++i) sweep_channels<Isa, T>(0, n->features, Row{*n, i * n->features});
  }

 private:
  struct Row {
    const NormalizeRows& n;
    Index first;

    template <class P>
    HEED_INLINE void at(Index j) const {
      P::fma(P::load(n.x + first + j) - P::load(n.mean + j), P::load(n.scale + j), P::load(n.shift + j)).store(n.y + first + j);
    }
  };
};

/// dx = dy a + (x - mean) b + c, row by row.
template <class T>
struct BatchNormGradientRows {
  Index rows, features;
  const T *x, *dy, *mean, *a, *b, *c;
  T* dx;

  template <class Isa>
  HEED_INLINE static void run(const BatchNormGradientRows* g) {
    for (Index i = 0; i < g->rows; ++i) sweep_channels<Isa, T>(0, g->features, Row{*g, i * g->features});
  }

 private:
  struct Row {
    const BatchNormGradientRows& g;
    Index first;

    template <class P>
    HEED_INLINE void at(Index j) const {
      const P rest = P::fma(P::load(g.x + first + j) - P::load(g.mean + j), P::load(g.b + j), P::load(g.c + j));
      P::fma(P::load(g.dy + first + j), P::load(g.a + j), rest).store(g.dx + first + j);
    }
  };
};

}  // namespace detail

}  // namespace heed::inline HEED_ABI::kernels
