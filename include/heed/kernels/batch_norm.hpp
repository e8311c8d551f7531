// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>

#include <heed/core/parallel.hpp>
#include <heed/kernels/activation.hpp>
#include <heed/kernels/batch_norm_chunks.hpp>
#include <heed/kernels/channel_sweep.hpp>

// Batch normalisation of rows x features: each feature is normalised over the rows of its group (all rows, or a shard of the images). Group
// normalisation is the same with an image a group, and `joined` features that share one mean and one variance.
// Work is cut into chunks of rows that belong to one group; what chunks add up is folded in their order.

namespace heed::inline HEED_ABI::kernels {

/// In place of an activation that follows in the same pass: there is none.
struct NoActivation {};

namespace detail {

/// Sums over many rows are folded in double; number-like types stay themselves.
template <class T>
using fold_type = std::conditional_t<std::is_floating_point_v<T>, double, T>;

/// The factors of a normalisation: scale and shift of each group, one behind the other.
template <class T>
Tensor<T, 1> batch_norm_affine(const BatchNormRows& r, const T* mean_rest, const T* inv_std, const T* weight, const T* bias) {
  const Index f = r.features;
  auto affine = Tensor<T, 1>::uninitialized({r.groups * 2 * f});
  T* to = affine.data();
  for (Index first = 0; first < r.groups * f; first += f, to += 2 * f)
    for (Index j = 0; j < f; ++j) {
      const T scale = weight ? T(inv_std[first + j] * weight[j]) : inv_std[first + j];
      const T shift = bias ? bias[j] : T(0);
      to[j] = scale;
      to[f + j] = mean_rest ? T(shift - mean_rest[first + j] * scale) : shift;
    }
  return affine;
}

/// Normalises rows [begin, end) of a group to y, a block of `block` rows at a time, and calls `then(first, count)` for the elements of each.
template <class T, class Then>
void normalize_blocks(
    const BatchNormRows& r, Index begin, Index end, Index block, const T* x, const T* mean, const T* affine, T* y, const Then& then) {
  const Index f = r.features;
  for (Index first = begin; first < end; first += block) {
    const Index rows = std::min(block, end - first);
    const NormalizeRows<T> n{rows, f, x + first * f, mean, affine, affine + f, y + first * f};
    dispatch<NormalizeRows<T>, T>(&n);
    then(first * f, rows * f);
  }
}

/// Rows that still lie in L1 when the activation looks at them: 8 KiB of float.
inline Index activated_rows(const BatchNormRows& r) { return std::max<Index>(1, 2048 / r.features); }

// What chunks added up is joined in `fold_type`, a lane for each feature, or, where features are joined, for one set after another. (Number by number two
// rows of 1000 features took 17.8 us forward and backward, like this 8.2.)

template <class Isa, class T, class Body>
HEED_INLINE void sweep_sets(Index begin, Index end, Index joined, const Body& body) {
  if (joined == 1)
    sweep_channels<Isa, fold_type<T>>(begin, end, body);
  else
    sweep_channels<Scalar, fold_type<T>>(begin, end, body);
}

/// The moments of a group from those of its chunks.
template <class T>
struct FoldMoments {
  Index joined, features, chunks, chunk_rows, rows;
  const T* moments;
  T *mean, *mean_rest, *variance;

  template <class P>
  HEED_INLINE void at(Index set) const {
    using Fold = fold_type<T>;
    const Index column = set * joined, end = column + joined;
    double count = 0;
    P total = P::zero(), m2 = P::zero();
    for (Index c = column; c < end; ++c)
      for (Index i = 0; i < chunks; ++i) {
        const T* part = moments + i * 3 * features + c;
        const double rows_here = static_cast<double>(std::min(chunk_rows, rows - i * chunk_rows));
        const P n = P::broadcast(Fold(rows_here)), off = P::load_numbers(part + features) / n;
        const P delta = P::load_numbers(part) + off - total;
        m2 = m2 + (P::load_numbers(part + 2 * features) - off * off * n +
                      delta * delta * P::broadcast(Fold(count * rows_here / (count + rows_here))));
        count += rows_here;
        total = total + delta * P::broadcast(Fold(rows_here / count));
      }
    T rounded[P::lanes];
    total.store_numbers(rounded);
    const P rest = total - P::load_numbers(rounded), spread = P::max(P::zero(), m2) / P::broadcast(Fold(count));
    for (Index c = column; c < end; ++c)
      total.store_numbers(mean + c), rest.store_numbers(mean_rest + c), spread.store_numbers(variance + c);
  }
  template <class Isa>
  HEED_INLINE static void run(const FoldMoments* m, Index begin, Index end) {
    sweep_sets<Isa, T>(begin, end, m->joined, *m);
  }
};

/// 1 / sqrt(variance + eps), and NaN for an infinite variance, which would make zeros of numbers too large to be squared.
template <class T>
struct InvStd {
  const T* variance;
  double eps;
  T* inv_std;

  template <class P>
  HEED_INLINE void at(Index i) const {
    using Fold = fold_type<T>;
    const P v = P::load_numbers(variance + i);
    P::fma(P::zero(), v, P::broadcast(Fold(1)) / P::sqrt(v + P::broadcast(Fold(eps)))).store_numbers(inv_std + i);
  }
  template <class Isa>
  HEED_INLINE static void run(const InvStd* s, Index count) {
    sweep_channels<Isa, fold_type<T>>(0, count, *s);
  }
};

/// The gradients of weight and bias, and the factors of dx, of a group from the sums of its chunks; see batch_norm_backward.
template <class T>
struct FoldGradients {
  Index joined, features, chunks;
  double share;   ///< of a number in a mean over its group
  const T* sums;  ///< of dy, and behind them of dy (x - mean), for each chunk
  const T *mean_rest, *inv_std, *weight;
  T *d_weight, *d_bias, *factors;  ///< null: not wanted

  template <class P>
  HEED_INLINE void at(Index set) const {
    using Fold = fold_type<T>;
    const Index begin = set * joined, end = begin + joined;
    const P scale = P::load_numbers(inv_std + begin), part = P::broadcast(Fold(share));
    P all = P::zero(), all_n = P::zero();  // Σ weight dy and Σ weight dy n
    for (Index j = begin; j < end; ++j) {
      P sum = P::zero(), product = P::zero();
      for (Index i = 0; i < chunks; ++i) {
        const T* chunk = sums + i * 2 * features + j;
        sum = sum + P::load_numbers(chunk), product = product + P::load_numbers(chunk + features);
      }
      if (mean_rest) product = product - P::load_numbers(mean_rest + j) * sum;
      const P sum_n = product * scale, w = weight ? P::load_numbers(weight + j) : P::broadcast(Fold(1));
      if (d_bias) (P::load_numbers(d_bias + j) + sum).store_numbers(d_bias + j);
      if (d_weight) (P::load_numbers(d_weight + j) + sum_n).store_numbers(d_weight + j);
      all = all + w * sum, all_n = all_n + w * sum_n;
    }
    if (!factors) return;
    const P b = -scale * scale * all_n * part;
    P c = -scale * all * part;
    if (mean_rest) c = c - b * P::load_numbers(mean_rest + begin);
    for (Index j = begin; j < end; ++j) {
      const P own = P::load_numbers(inv_std + j), a = weight ? P::load_numbers(weight + j) * own : own;
      a.store_numbers(factors + j), b.store_numbers(factors + features + j), c.store_numbers(factors + 2 * features + j);
    }
  }
  template <class Isa>
  HEED_INLINE static void run(const FoldGradients* g, Index begin, Index end) {
    sweep_sets<Isa, T>(begin, end, g->joined, *g);
  }
};

}  // namespace detail

/// Mean and variance (over n, not n - 1) of each feature in each group: mean, mean_rest and variance hold groups x features, equal numbers for
/// joined features. `mean` + `mean_rest` is the mean to more digits than T has, so that features far from zero keep theirs after the
/// subtraction.
///
/// One pass over memory. Within a chunk: mean, then deviations d from it, mean += Σd / n and M2 = Σd² - (Σd)² / n (Chan, Golub and
/// LeVeque 1983), in T; chunks are joined in double by M2 = M2a + M2b + δ² na nb / n, in order.
template <class T>
void batch_norm_statistics(const BatchNormRows& r, const T* x, T* mean, T* mean_rest, T* variance) {
  const Index f = r.features;
  auto moments = Tensor<T, 1>::uninitialized({r.chunks() * 3 * f});
  detail::for_each_chunk(r, [&](Index, Index begin, Index end, Index chunk) {
    T* out = moments.data() + chunk * 3 * f;
    const detail::ChunkMoments<T> m{end - begin, f, detail::ahead_of_columns<T>(r), x + begin * f, out, out + f, out + 2 * f};
    dispatch<detail::ChunkMoments<T>, T>(&m);
  });
  const auto fold = [&](Index group, Index first_set, Index last_set) {
    const Index at = group * f;
    const detail::FoldMoments<T> m{r.joined, f, r.chunks_of(group), r.chunk_rows(), r.count(group),
        moments.data() + r.chunks_before(group) * 3 * f, mean + at, mean_rest + at, variance + at};
    dispatch<detail::FoldMoments<T>, T>(&m, first_set, last_set);
  };
  if (r.groups == 1) return parallel_for(r.sets(), 256, [&](Index begin, Index end) { fold(0, begin, end); });
  parallel_for(r.groups, 1 + 1024 / f, [&](Index begin, Index end) {
    for (Index group = begin; group < end; ++group) fold(group, 0, r.sets());
  });
}
HEED_COMPILE_ONCE(batch_norm_statistics);

/// inv_std = 1 / sqrt(variance + eps)
template <class T>
void batch_norm_inv_std(Index count, const T* variance, double eps, T* inv_std) {
  const detail::InvStd<T> s{variance, eps, inv_std};
  dispatch<detail::InvStd<T>, T>(&s, count);
}
HEED_COMPILE_ONCE(batch_norm_inv_std);

/// running = (1 - momentum) running + momentum batch, where batch is the mean of the groups' statistics, weighed by their rows, and the
/// variance enters unbiased (over n - 1), as in torch.nn.BatchNorm2d. Every group needs more than one row.
template <class T>
void batch_norm_update_running(const BatchNormRows& r, const T* mean, const T* variance, double momentum, T* running_mean, T* running_var) {
  using Fold = detail::fold_type<T>;
  struct Shares {
    double mean, variance;
  };
  const auto shares = [&](Index group) -> Shares {
    const double n = static_cast<double>(r.count(group)), share = n / static_cast<double>(r.rows);
    HEED_ASSERT(n > 1);
    return {share, share * n / (n - 1)};
  };
  const Shares first = shares(0), last = shares(r.groups - 1);  // all but the last group are equal
  for (Index j = 0; j < r.features; ++j) {
    Fold batch_mean = Fold(0), batch_var = Fold(0);
    for (Index group = 0; group < r.groups; ++group) {
      const Shares& share = group + 1 == r.groups ? last : first;
      batch_mean += Fold(mean[group * r.features + j]) * Fold(share.mean);
      batch_var += Fold(variance[group * r.features + j]) * Fold(share.variance);
    }
    running_mean[j] = T(Fold(running_mean[j]) * Fold(1 - momentum) + batch_mean * Fold(momentum));
    running_var[j] = T(Fold(running_var[j]) * Fold(1 - momentum) + batch_var * Fold(momentum));
  }
}
HEED_COMPILE_ONCE(batch_norm_update_running);

/// y = activation((x - mean - mean_rest) inv_std weight + bias) with the statistics of the row's group; weight and bias (features) may be null
/// (1, 0), and so may mean_rest (0). y may be x. The activation costs no pass over memory, and gives the bits of `activation_forward`.
template <class T, class Activation = NoActivation>
void batch_norm_forward(const BatchNormRows& r, const T* x, const T* mean, const T* mean_rest, const T* inv_std, const T* weight,
    const T* bias, T* y, [[maybe_unused]] const Activation& activation = {}) {
  constexpr bool kActivated = !std::is_same_v<Activation, NoActivation>;
  const auto affine = detail::batch_norm_affine(r, mean_rest, inv_std, weight, bias);
  const Index f = r.features, block = kActivated ? detail::activated_rows(r) : r.chunk_rows();
  detail::for_each_chunk(r, [&](Index group, Index begin, Index end, Index) {
    detail::normalize_blocks(r, begin, end, block, x, mean + group * f, affine.data() + group * 2 * f, y, [&](Index first, Index count) {
      if constexpr (kActivated) activation_forward(count, y + first, y + first, activation);
    });
  });
}
HEED_COMPILE_ONCE(batch_norm_forward, NoActivation);
HEED_COMPILE_ONCE(batch_norm_forward, Relu);
HEED_COMPILE_ONCE(batch_norm_forward, Gelu);

/// dx (fresh), and adds to d_weight and d_bias (null: left out). With n = (x - mean) inv_std and y = n weight + bias:
/// d_bias += Σ dy, d_weight += Σ dy n, and dx = inv_std (weight dy - mean(weight dy) - n mean(weight dy n)), where the means over the group, and
/// over the joined features, are what mean and inv_std pass on to x; with `fixed_statistics` they pass on nothing and dx = weight inv_std dy.
///
/// With the activation that followed in the forward pass, and its bias, dy is the gradient behind the activation. The chunks then make y again
/// from x, and dx holds dy ⊙ activation'(y) until the sums are known; otherwise dx may be dy.
template <class T, class Activation = NoActivation>
void batch_norm_backward(const BatchNormRows& r, const T* x, const T* dy, const T* mean, const T* mean_rest, const T* inv_std,
    const T* weight, bool fixed_statistics, T* dx, T* d_weight, T* d_bias, [[maybe_unused]] const T* bias = nullptr,
    [[maybe_unused]] const Activation& activation = {}) {
  constexpr bool kActivated = !std::is_same_v<Activation, NoActivation>;
  const Index f = r.features, groups = r.groups;
  auto factors = Tensor<T, 1>::uninitialized({groups * 3 * f});  // a, b, c of each group: dx = dy a + (x - mean) b + c
  if (fixed_statistics) {
    for (Index column = 0; column < groups * f; ++column) {
      T* to = factors.data() + column / f * 3 * f + column % f;
      to[0] = weight ? T(weight[column % f] * inv_std[column]) : inv_std[column], to[f] = T(0), to[2 * f] = T(0);
    }
  }
  const bool summed = !fixed_statistics || d_weight || d_bias;
  const T* d = kActivated ? dx : dy;  // the gradient of the normalised rows
  if (summed || kActivated) {
    HEED_ASSERT(!kActivated || dx != dy);
    Tensor<T, 1> affine;
    if constexpr (kActivated) affine = detail::batch_norm_affine(r, mean_rest, inv_std, weight, bias);
    auto sums = Tensor<T, 1>::uninitialized({summed ? r.chunks() * 2 * f : 0});
    detail::for_each_chunk(r, [&](Index group, Index begin, Index end, [[maybe_unused]] Index chunk) {
      if constexpr (kActivated)
        detail::normalize_blocks(r, begin, end, detail::activated_rows(r), x, mean + group * f, affine.data() + group * 2 * f, dx,
            [&](Index first, Index count) { activation_backward(count, dx + first, dy + first, dx + first, activation); });
      if (!summed) return;
      T* out = sums.data() + chunk * 2 * f;
      const detail::ChunkGradientSums<T> s{
          end - begin, f, detail::ahead_of_columns<T>(r), x + begin * f, d + begin * f, mean + group * f, out, out + f};
      dispatch<detail::ChunkGradientSums<T>, T>(&s);
    });
    parallel_for(summed ? r.sets() : 0, std::max<Index>(1, 256 / r.joined), [&](Index begin, Index end) {
      for (Index group = 0; group < groups; ++group) {
        const Index at = group * f;
        const detail::FoldGradients<T> g{r.joined, f, r.chunks_of(group), 1 / static_cast<double>(r.count(group) * r.joined),
            sums.data() + r.chunks_before(group) * 2 * f, mean_rest ? mean_rest + at : nullptr, inv_std + at, weight, d_weight, d_bias,
            fixed_statistics ? nullptr : factors.data() + group * 3 * f};
        dispatch<detail::FoldGradients<T>, T>(&g, begin, end);
      }
    });
  }
  detail::for_each_chunk(r, [&](Index group, Index begin, Index end, Index) {
    const T* a = factors.data() + group * 3 * f;
    const detail::BatchNormGradientRows<T> g{
        end - begin, f, x + begin * f, d + begin * f, mean + group * f, a, a + f, a + 2 * f, dx + begin * f};
    dispatch<detail::BatchNormGradientRows<T>, T>(&g);
  });
}
HEED_COMPILE_ONCE(batch_norm_backward, NoActivation);
HEED_COMPILE_ONCE(batch_norm_backward, Relu);
HEED_COMPILE_ONCE(batch_norm_backward, Gelu);

}  // namespace heed::inline HEED_ABI::kernels
