// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>

#include <heed/core/parallel.hpp>
#include <heed/kernels/narrow_rows.hpp>

namespace heed::inline HEED_ABI::kernels {

/// Rows x width elements, row after row; `weight` and `bias` hold `width` elements or are null (ones and zeros).
template <class T>
struct LayerNormShape {
  Index rows, width;     ///< of the whole matrix
  const T* weight;       ///< `width` elements, or null for ones
  const T* bias;         ///< `width` elements, or null for zeros
  double eps;            ///< added to the variance
  bool centered = true;  ///< false: the mean is taken to be 0 (RMS norm), and there is no `mean` to keep or to give

  /// Rows of a chunk that is worth a thread.
  Index grain() const { return 1 + 16384 / (width < 1 ? 1 : width); }
};

namespace detail {

template <class T>
struct LayerNormForward {
  /// Two passes over a row that lies in L1: the mean m, then d = x - m. The mean is corrected by mean(d), which is what rounding lost in the
  /// first sum, and the variance is mean(d²) - mean(d)² (Chan, Golub and LeVeque 1983), so rows far from zero keep their digits. About a fixed
  /// mean of 0 the second pass is all there is, and the variance is mean(d²). Adding 0 · variance makes NaN of what squares were too large for, and nothing
  /// of anything else.
  ///
  /// A row's sums, its root and its division wait for each other, so a few rows, 8 KB, go through each pass together, while the second asks for the next
  /// few. One thread of Zen 4, ns a row of 64, 256, 1024 numbers: from L1 and L2 24, 58, 166 -> 18.5, 45, 150 (two rows at a
  /// time, which needs two copies of the sums, 20, 51, 166), from L3 24.5, 58.5, 178 -> 18.4, 47.5, 165 (without asking 19.7, 55, 185 and more).
  template <class Isa>
  HEED_INLINE static void run(Index rows, const LayerNormShape<T>* shape, const T* x, T* y, T* mean, T* inv_std) {
    using std::sqrt;
    if constexpr (Packet<Isa, T>::lanes > 1)
      if (shape->width <= NarrowRows<Isa, T>::most_features) return narrow<Isa>(rows, *shape, x, y, mean, inv_std);
    const Index width = shape->width, block = std::clamp<Index>(kBlock / std::max<Index>(width, 1), 1, kMostRows);
    const T count = T(static_cast<double>(width));
    T center[kMostRows], scale[kMostRows];
    for (Index begin = 0, part; begin < rows; begin += part) {
      part = std::min(block, rows - begin);
      const Index ahead = begin + part < rows ? part * width : 0;
      const T* const from = x + begin * width;
      for (Index i = 0; i < part; ++i) center[i] = shape->centered ? T(sum<Isa>(width, from + i * width) / count) : T(0);
      for (Index i = 0; i < part; ++i) {
        T off, squares;
        deviations<Isa>(width, from + i * width, center[i], ahead, off, squares);
        off = shape->centered ? T(off / count) : T(0);
        const T variance = squares / count - off * off;
        center[i] = center[i] + off;
        scale[i] = T(1) / T(sqrt((T(0) > variance ? T(0) : variance) + T(shape->eps))) + T(0) * variance;
        if (mean) mean[begin + i] = center[i];
        if (inv_std) inv_std[begin + i] = scale[i];
      }
      for (Index i = 0; i < part; ++i)
        normalize<Isa>(width, from + i * width, center[i], scale[i], shape->weight, shape->bias, y + (begin + i) * width);
    }
  }

 private:
  /// Numbers and rows of a block.
  static constexpr Index kBlock = 8192 / static_cast<Index>(sizeof(T)), kMostRows = 8;

  /// The same with a row a lane.
  template <class Isa>
  HEED_INLINE static void narrow(Index rows, const LayerNormShape<T>& shape, const T* x, T* y, T* mean, T* inv_std) {
    using P = Packet<Isa, T>;
    using Rows = NarrowRows<Isa, T>;
    const Index width = shape.width;
    const P count = P::broadcast(T(static_cast<double>(width)));
    for (Index begin = 0; begin < rows; begin += Rows::most_rows) {
      const Index part = std::min(Rows::most_rows, rows - begin);
      Rows v(part, width, x + begin * width);
      for (Index i = 0; i < part; i += P::lanes) {
        P center = P::zero(), off = P::zero(), squares = P::zero();
        for (Index j = 0; shape.centered && j < width; ++j) center = center + v.load(i, j);
        center = center / count;
        for (Index j = 0; j < width; ++j) {
          const P d = v.load(i, j) - center;
          off = off + d, squares = P::fma(d, d, squares);
        }
        off = shape.centered ? off / count : P::zero();
        center = center + off;
        const P variance = P::max(P::zero(), squares / count - off * off);  // in this order it keeps NaN
        const P scale = P::fma(P::zero(), variance, P::broadcast(T(1)) / P::sqrt(variance + P::broadcast(T(shape.eps))));
        for (Index j = 0; j < width; ++j) {
          P value = (v.load(i, j) - center) * scale;
          if (shape.weight) value = value * P::broadcast(shape.weight[j]);
          if (shape.bias) value = value + P::broadcast(shape.bias[j]);
          v.set(i, j, value);
        }
        if (mean) center.store_partial(mean + begin + i, part - i);
        if (inv_std) scale.store_partial(inv_std + begin + i, part - i);
      }
      v.store(part, width, y + begin * width);
    }
  }
  template <class Isa>
  HEED_INLINE static T sum(Index width, const T* x) {
    using P = Packet<Isa, T>;
    P s0 = P::zero(), s1 = P::zero();  // two chains hide half the latency of an addition
    Index j = 0;
    for (; j + 2 * P::lanes <= width; j += 2 * P::lanes) s0 = s0 + P::load(x + j), s1 = s1 + P::load(x + j + P::lanes);
    for (; j < width; j += P::lanes) s0 = s0 + P::load_partial(x + j, width - j);
    return (s0 + s1).sum();
  }
  template <class Isa>
  HEED_INLINE static void deviations(Index width, const T* x, const T& center, Index ahead, T& off, T& squares) {
    using P = Packet<Isa, T>;
    const P m = P::broadcast(center);
    P o = P::zero(), q0 = P::zero(), q1 = P::zero();
    Index j = 0;
    for (; j + 2 * P::lanes <= width; j += 2 * P::lanes) {
      if (ahead > 0) ask_for<2 * P::lanes>(x + (j + ahead));
      const P d0 = P::load(x + j) - m, d1 = P::load(x + j + P::lanes) - m;
      o = o + (d0 + d1), q0 = P::fma(d0, d0, q0), q1 = P::fma(d1, d1, q1);
    }
    for (; j < width; j += P::lanes) {
      const P d = P::load_partial(x + j, width - j, center) - m;  // lanes past the end deviate by 0
      o = o + d, q0 = P::fma(d, d, q0);
    }
    off = o.sum(), squares = (q0 + q1).sum();
  }
  template <class Isa>
  HEED_INLINE static void normalize(Index width, const T* x, const T& center, const T& scale, const T* weight, const T* bias, T* y) {
    using P = Packet<Isa, T>;
    const P m = P::broadcast(center), s = P::broadcast(scale);
    Index j = 0;
    if (weight && bias)
      for (; j + P::lanes <= width; j += P::lanes) P::fma((P::load(x + j) - m) * s, P::load(weight + j), P::load(bias + j)).store(y + j);
    for (; j < width; j += P::lanes) {
      const Index left = width - j;
      P value = (P::load_partial(x + j, left) - m) * s;
      if (weight && bias)
        value = P::fma(value, P::load_partial(weight + j, left), P::load_partial(bias + j, left));
      else if (weight)
        value = value * P::load_partial(weight + j, left);
      else if (bias)
        value = value + P::load_partial(bias + j, left);
      value.store_partial(y + j, left);
    }
  }
};

template <class T>
struct LayerNormBackward {
  template <class Isa>
  HEED_INLINE static void run(Index rows, const LayerNormShape<T>* shape, const T* x, const T* dy, const T* mean, const T* inv_std, T* dx,
      bool add, T* d_weight, T* d_bias) {
    using P = Packet<Isa, T>;
    const Index width = shape->width;
    const T* weight = shape->weight;
    if constexpr (Packet<Isa, T>::lanes > 1)
      if (width <= NarrowRows<Isa, T>::most_features) return narrow<Isa>(rows, *shape, x, dy, mean, inv_std, dx, add, d_weight, d_bias);
    for (Index i = 0; i < rows; ++i, x += width, dy += width, dx += width) {
      // y = n * weight + bias with n = (x - mean) inv_std: the gradient g = dy * weight arrives at n.
      const T center = shape->centered ? mean[i] : T(0);
      const P m = P::broadcast(center), s = P::broadcast(inv_std[i]);
      P sum = P::zero(), sum_n = P::zero();
      for (Index j = 0; j < width; j += P::lanes) {
        const Index left = width - j;
        const P d = P::load_partial(dy + j, left), n = (P::load_partial(x + j, left, center) - m) * s;
        const P g = weight ? d * P::load_partial(weight + j, left) : d;
        sum = sum + g, sum_n = P::fma(g, n, sum_n);
        if (d_weight) P::fma(d, n, P::load_partial(d_weight + j, left)).store_partial(d_weight + j, left);
        if (d_bias) (P::load_partial(d_bias + j, left) + d).store_partial(d_bias + j, left);
      }
      // The mean and inv_std depend on x too: dx = inv_std (g - mean(g) - n mean(g n)). A fixed mean does not: mean(g) falls away.
      const T count = T(static_cast<double>(width));
      const P average = shape->centered ? P::broadcast(sum.sum() / count) : P::zero(), average_n = P::broadcast(sum_n.sum() / count);
      for (Index j = 0; j < width; j += P::lanes) {
        const Index left = width - j;
        const P d = P::load_partial(dy + j, left), n = (P::load_partial(x + j, left, center) - m) * s;
        const P g = weight ? d * P::load_partial(weight + j, left) : d;
        P value = P::fma(-n, average_n, g - average) * s;
        if (add) value = value + P::load_partial(dx + j, left);
        value.store_partial(dx + j, left);
      }
    }
  }

 private:
  /// The same with a row a lane.
  template <class Isa>
  HEED_INLINE static void narrow(Index rows, const LayerNormShape<T>& shape, const T* x, const T* dy, const T* mean, const T* inv_std,
      T* dx, bool add, T* d_weight, T* d_bias) {
    using P = Packet<Isa, T>;
    using Rows = NarrowRows<Isa, T>;
    const Index width = shape.width;
    const P count = P::broadcast(T(static_cast<double>(width)));
    P weight_sums[Rows::most_features], bias_sums[Rows::most_features];
    for (Index j = 0; j < width; ++j) weight_sums[j] = bias_sums[j] = P::zero();
    for (Index begin = 0; begin < rows; begin += Rows::most_rows) {
      const Index part = std::min(Rows::most_rows, rows - begin);
      Rows n(part, width, x + begin * width), g(part, width, dy + begin * width);
      for (Index i = 0; i < part; i += P::lanes) {
        const P m = shape.centered ? P::load_partial(mean + begin + i, part - i) : P::zero();
        const P s = P::load_partial(inv_std + begin + i, part - i);
        P sum = P::zero(), sum_n = P::zero();
        for (Index j = 0; j < width; ++j) {
          const P d = g.load(i, j), normalized = (n.load(i, j) - m) * s, dn = shape.weight ? d * P::broadcast(shape.weight[j]) : d;
          sum = sum + dn, sum_n = P::fma(dn, normalized, sum_n);
          weight_sums[j] = P::fma(d, normalized, weight_sums[j]), bias_sums[j] = bias_sums[j] + d;
          n.set(i, j, normalized), g.set(i, j, dn);
        }
        const P average = shape.centered ? sum / count : P::zero(), average_n = sum_n / count;
        for (Index j = 0; j < width; ++j) g.set(i, j, P::fma(-n.load(i, j), average_n, g.load(i, j) - average) * s);
      }
      g.store(part, width, dx + begin * width, add);
    }
    for (Index j = 0; j < width; ++j) {
      if (d_weight) d_weight[j] += weight_sums[j].sum();
      if (d_bias) d_bias[j] += bias_sums[j].sum();
    }
  }
};

}  // namespace detail

/// y = (x - mean) inv_std * weight + bias for each row, with inv_std = 1 / sqrt(variance + eps) and the variance over `width`, not width - 1
/// (Ba, Kiros and Hinton 2016); unless `shape.centered`, with a mean of 0, which makes the variance mean(x²) (Zhang and Sennrich 2019). Keeps
/// mean and inv_std (one a row) unless they are null. A row whose variance is infinite in T becomes NaN: 1 / √∞ would make zeros of it. Parallel over rows; y may be x. Sums are in T.
template <class T>
void layer_norm_forward(const LayerNormShape<T>& shape, const T* x, T* y, T* mean, T* inv_std) {
  parallel_for(shape.rows, shape.grain(), [&](Index begin, Index end) {
    dispatch<detail::LayerNormForward<T>, T>(end - begin, &shape, x + begin * shape.width, y + begin * shape.width,
        mean ? mean + begin : nullptr, inv_std ? inv_std + begin : nullptr);
  });
}
HEED_COMPILE_ONCE(layer_norm_forward);

/// dx (fresh, or added to when `add`), and adds to d_weight and d_bias (null: left out) over fixed shards of rows, folded in order. `mean` is null
/// unless the shape is centered.
template <class T>
void layer_norm_backward(
    const LayerNormShape<T>& shape, const T* x, const T* dy, const T* mean, const T* inv_std, T* dx, bool add, T* d_weight, T* d_bias) {
  const Index width = shape.width, wanted = (d_weight ? width : 0) + (d_bias ? width : 0);
  const auto rows = [&](Index begin, Index end, T* partial) {
    dispatch<detail::LayerNormBackward<T>, T>(end - begin, &shape, x + begin * width, dy + begin * width, mean ? mean + begin : nullptr,
        inv_std + begin, dx + begin * width, add, d_weight ? partial : nullptr, d_bias ? partial + (d_weight ? width : 0) : nullptr);
  };
  if (wanted == 0) {
    parallel_for(shape.rows, shape.grain(), [&](Index begin, Index end) { rows(begin, end, static_cast<T*>(nullptr)); });
    return;
  }
  Tensor<T, 1> sums({wanted});
  parallel_sum(shape.rows, shape.grain(), wanted, sums.data(), rows);
  const T* part = sums.data();
  for (Index j = 0; d_weight && j < width; ++j) d_weight[j] += part[j];
  if (d_weight) part += width;
  for (Index j = 0; d_bias && j < width; ++j) d_bias[j] += part[j];
}
HEED_COMPILE_ONCE(layer_norm_backward);

}  // namespace heed::inline HEED_ABI::kernels
