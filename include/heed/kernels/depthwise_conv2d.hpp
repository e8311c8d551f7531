// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/parallel.hpp>
#include <heed/kernels/channel_sweep.hpp>
#include <heed/kernels/conv2d_patches.hpp>
#include <heed/kernels/fetch_ahead.hpp>

// Convolution where every channel has its own kernel and nothing is added over channels (groups = in channels = out channels): no matrix
// product, so channels go to vector lanes and the taps of each pixel are walked, in the same order everywhere. 3x3 costs little more than a copy
// of x if memory is walked as it lies: a few pixels take all channels, then the next ones (each vector of channels along the row: 1.3 times that).
// Where the stride is 1, `wide` neighbouring pixels of C channels are one pixel of wide C channels, so that 3 or 24 channels fill vectors.

namespace heed::inline HEED_ABI::kernels {

namespace detail {

/// Weights and their gradients lie in panels [channel / 16][tap][channel % 16]: what a packet of channels reads is one piece of memory.
inline constexpr Index kPanelChannels = 16;  // the most lanes of a packet

inline Index panel_offset(Index channel, Index taps) { return channel / kPanelChannels * kPanelChannels * taps + channel % kPanelChannels; }
inline Index panel_size(Index channels, Index taps) { return (channels + kPanelChannels - 1) / kPanelChannels * kPanelChannels * taps; }

/// See `fetch_distance`: of x and y.
template <class T>
Index depthwise_ahead(const Conv2dGeometry& g) {
  return fetch_distance<T>(g.images * g.in_channels * (g.size[0] * g.size[1] + g.out_size[0] * g.out_size[1]));
}

struct IndexRange {
  Index first, last;
};

/// The i in [0, count) with 0 <= start + i step < size.
inline IndexRange inside(Index start, Index step, Index count, Index size) {
  const Index first = start >= 0 ? 0 : std::min(count, (-start + step - 1) / step);
  return {first, start >= size ? first : std::clamp((size - start + step - 1) / step, first, count)};
}
/// The taps of a target that lie inside of the source.
inline IndexRange taps_inside(const CorrelationAxis& a, Index target) {
  return inside(target * a.step + a.origin, a.tap_step, a.taps, a.source_size);
}
/// The targets that have all taps inside.
inline IndexRange interior(const CorrelationAxis& a) {
  const Index first = inside(a.origin, a.step, a.targets, a.source_size).first;
  return {first, std::max(first, inside(a.origin + (a.taps - 1) * a.tap_step, a.step, a.targets, a.source_size).last)};
}

/// How many neighbouring pixels are taken for one: a power of two that fits the interior and fills vectors.
inline Index wide_pixels(const CorrelationAxis& x, Index channels) {
  const Index most = x.step == 1 && x.spacing == 1 ? interior(x).last - interior(x).first : 1;
  Index wide = 1;
  while (2 * wide <= most && wide * channels < 256 && wide * channels % kPanelChannels != 0) wide *= 2;  // of 256 the rest is little
  return wide;
}

/// One row of targets.
template <class T>
struct DepthwiseRow {
  const T *source, *weight, *bias;
  T* target;
  Index start;                                           ///< where tap 0 of target 0 lies in the source, or would lie
  Index source_pixel, target_pixel, tap_pixel, tap_row;  ///< elements from one to the next
  Index columns, taps;                                   ///< of the kernel
  IndexRange rows;                                       ///< taps inside
  Index ahead;                                           ///< elements to what is asked for, 0: nothing is
};

/// Targets first, first + 1, ..., N of them at any distance: target[n, c] = bias[c] + sum over taps of source[n + tap, c] weight[tap, c]. `Three`: neighbours under
/// 3x3 taps that are all inside, so that a source pixel is loaded once for the three targets that see it in its row (64 channels from L2 on one thread of Zen 4, 62 ->
/// 78 GFLOP/s; AVX2 52 -> 66; SSE2, whose registers are too few, 29 -> 22).
template <class T, int N, bool Three = false>
struct DepthwiseTile {
  DepthwiseRow<T> row;
  Index first, pitch, target_pitch;
  IndexRange columns;  ///< taps inside

  template <class P>
  HEED_INLINE void at(Index channel) const {
    const Index start = row.start + first * row.source_pixel + channel;
    const T* weight = row.weight + panel_offset(channel, row.taps);
    T* const to = row.target + first * row.target_pixel + channel;
    if (row.ahead > 0) {
      const T* from = row.source + (start + (row.rows.last - 1) * row.tap_row + columns.first * row.tap_pixel + row.ahead);
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) ask_for<P::lanes, 2>(from + n * pitch), ask_for<P::lanes, 2>(to + (row.ahead + n * target_pitch));
    }
    P sums[N];
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) sums[n] = P::load(row.bias + channel);
    if constexpr (Three) {
#pragma GCC unroll 3
      for (int ty = 0; ty < 3; ++ty) add_row(row.source + (start + ty * row.tap_row), weight + ty * 3 * kPanelChannels, sums);
    } else {
      for (Index ty = row.rows.first; ty < row.rows.last; ++ty)
        for (Index tx = columns.first; tx < columns.last; ++tx) {
          const T* from = row.source + (start + ty * row.tap_row + tx * row.tap_pixel);
          const P w = P::load(weight + (ty * row.columns + tx) * kPanelChannels);
#pragma GCC unroll 8
          for (int n = 0; n < N; ++n) sums[n] = P::fma(P::load(from + n * pitch), w, sums[n]);
        }
    }
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) sums[n].store(to + n * target_pitch);
  }

 private:
  template <class P>
  HEED_INLINE void add_row(const T* from, const T* weight, P (&sums)[N]) const {
    P w[3];
#pragma GCC unroll 3
    for (int tx = 0; tx < 3; ++tx) w[tx] = P::load(weight + tx * kPanelChannels), keep_in_register(w[tx]);
#pragma GCC unroll 10
    for (int n = 0; n < N + 2; ++n) {
      P x = P::load(from + n * pitch);
      keep_in_register(x);
#pragma GCC unroll 3
      for (int tx = 0; tx < 3; ++tx)
        if (n >= tx && n - tx < N) sums[n - tx] = P::fma(x, w[tx], sums[n - tx]);
    }
  }
};

/// The targets of one phase (see `input_gradient_axis`; the forward pass is one phase).
template <class T>
struct DepthwisePhase {
  CorrelationAxis y, x;
  Index wide;
  const T *weight, *bias;
};

template <class T>
struct DepthwiseRows {
  const DepthwisePhase<T>* phases;
  Index count, rows, channels, target_size[2];  ///< rows: of the largest phase
  const T* source;
  T* target;
  Index ahead;

  HEED_INLINE DepthwiseRow<T> row(const DepthwisePhase<T>& phase, Index image, Index i) const {
    const CorrelationAxis &y = phase.y, &x = phase.x;
    const Index source_y = image * y.source_size + i * y.step + y.origin, target_y = image * target_size[0] + y.first + i * y.spacing;
    return {source, phase.weight, phase.bias, target + (target_y * target_size[1] + x.first) * channels,
        (source_y * x.source_size + x.origin) * channels, x.step * channels, x.spacing * channels, x.tap_step * channels,
        y.tap_step * x.source_size * channels, x.taps, y.taps * x.taps, taps_inside(y, i), ahead};
  }

  /// Covers the interior from target `j` on with tiles of N, as long as more than half of a tile is new, and then of fewer: a tile that overlaps with the one
  /// before computes the same bits again.
  template <class Isa, int N>
  HEED_INLINE void cover(const DepthwiseRow<T>& r, Index j, Index wide, IndexRange inner) const {
    const Index pitch = wide * r.source_pixel, target_pitch = wide * r.target_pixel;
    constexpr bool kThree = N == 8 && Isa::bytes > Baseline::bytes;
    const bool three = kThree && pitch == r.tap_pixel && r.columns == 3 && r.taps == 9 && r.rows.first == 0 && r.rows.last == 3;
    for (; inner.last - inner.first >= N * wide && inner.last - j > N / 2 * wide; j += N * wide) {
      const Index at = std::min(j, inner.last - N * wide);
      if (three)
        sweep_channels<Isa, T>(0, wide * channels, DepthwiseTile<T, N, kThree>{r, at, pitch, target_pitch, {0, 3}});
      else
        sweep_channels<Isa, T>(0, wide * channels, DepthwiseTile<T, N>{r, at, pitch, target_pitch, {0, r.columns}});
    }
    if constexpr (N > 1) cover<Isa, N == 8 ? 4 : 1>(r, j, wide, inner);
  }

  /// The targets left and right of the interior in N rows: those below each other have the same taps inside.
  template <class Isa, int N>
  HEED_INLINE void border(const DepthwisePhase<T>& phase, const DepthwiseRow<T>& r, IndexRange inner) const {
    const CorrelationAxis &y = phase.y, &x = phase.x;
    for (Index j = inner.first > 0 ? 0 : inner.last; j < x.targets; j = j + 1 == inner.first ? inner.last : j + 1)
      sweep_channels<Isa, T>(0, channels,
          DepthwiseTile<T, N>{r, j, y.step * x.source_size * channels, y.spacing * target_size[1] * channels, taps_inside(x, j)});
  }

  /// Rows [begin, end) of all images, in blocks whose source stays in L2 for all phases.
  template <class Isa>
  HEED_INLINE static void run(const DepthwiseRows* job, Index begin, Index end) {
    for (Index unit = begin, count = 0; unit < end; unit += count) {
      const Index image = unit / job->rows, first = unit % job->rows;
      count = std::min({end - unit, job->rows - first, Index(16)});
      for (const DepthwisePhase<T>* p = job->phases; p < job->phases + job->count; ++p) {
        const IndexRange inner = interior(p->x), rows = interior(p->y);
        const Index last = std::min(first + count, p->y.targets);
        for (Index i = first; i < last; ++i) job->template cover<Isa, 8>(job->row(*p, image, i), inner.first, p->wide, inner);
        for (Index i = first; i < last;)
          if (i >= rows.first && i + 4 <= std::min(last, rows.last))
            job->template border<Isa, 4>(*p, job->row(*p, image, i), inner), i += 4;
          else
            job->template border<Isa, 1>(*p, job->row(*p, image, i), inner), i += 1;
      }
    }
  }
};

/// Correlates `source` with the kernel in phases[0] x phases[1] phases of targets. Parallel over rows, each with all its phases.
template <class T, class Axis>
void depthwise_correlate(const Conv2dGeometry& g, const Index (&phases)[2], const Axis& axis, const Index (&target_size)[2],
    const T* source, const T* weight, const T* bias, T* target) {
  const Index channels = g.in_channels, count = phases[0] * phases[1];
  auto list = Tensor<DepthwisePhase<T>, 1>::uninitialized({count});
  Index size = 0, rows = 0;
  for (Index i = 0; i < count; ++i) {
    const CorrelationAxis y = axis(0, i / phases[1]), x = axis(1, i % phases[1]);
    list[i] = {y, x, wide_pixels(x, channels), nullptr, nullptr};
    size += panel_size(list[i].wide * channels, y.taps * x.taps + 1), rows = std::max(rows, y.targets);
  }
  Tensor<T, 1> packed({size});  // no bias: zeros
  T* to = packed.data();
  for (Index i = 0; i < count; ++i) {
    const CorrelationAxis &y = list[i].y, &x = list[i].x;
    const Index width = list[i].wide * channels, taps = y.taps * x.taps;
    T* panels = to + panel_size(width, 1);
    for (Index c = 0; c < width; ++c) {
      if (bias) to[c] = bias[c % channels];
      const Index from = c % channels * g.taps() + y.tap_first * g.kernel[1] + x.tap_first;
      T* panel = panels + panel_offset(c, taps);
      for (Index ty = 0; ty < y.taps; ++ty)
        for (Index tx = 0; tx < x.taps; ++tx, panel += kPanelChannels)
          *panel = weight[from + ty * y.tap_spacing * g.kernel[1] + tx * x.tap_spacing];
    }
    list[i].bias = to, list[i].weight = panels, to += panel_size(width, taps + 1);
  }
  const Index ahead = count == 1 ? depthwise_ahead<T>(g) : 0;  // phases read and write again what the ones before did
  const DepthwiseRows<T> job{list.data(), count, rows, channels, {target_size[0], target_size[1]}, source, target, ahead};
  const Index units = g.images * rows, work = std::max<Index>(1, target_size[1] * channels * g.taps());
  const Index grain = std::max(1 + 65536 / work, units / (8 * thread_count()));  // many rows: neighbours read the same source
  parallel_for(units, grain, [&](Index begin, Index end) { dispatch<DepthwiseRows<T>, T>(&job, begin, end); });
}

/// sums[tap, c] += sum over some pixels j of one output row of dy[j, c] x[j + tap, c].
template <class T>
struct DepthwiseWeightRow {
  const CorrelationAxis* axis;
  const Index *offset, *column;  ///< of each tap, elements and pixels from the first
  const T *x, *dy;
  T* sums;
  Index start, x_pixel, dy_pixel, taps;  ///< start: where tap 0 of pixel 0 lies in x, or would lie
  IndexRange rows, inner, pixels;        ///< taps inside; pixels that have all columns of taps inside; pixels to add
  Index wide;
  Index ahead = 0;

  template <class P, int N, bool Checked>
  HEED_INLINE void walk(P (&sum)[N], Index channel, Index tap, Index first, Index last) const {
    for (Index j = first, at = start + first * x_pixel + channel; j < last; j += wide, at += wide * x_pixel) {
      const T* from = dy + j * dy_pixel + channel;
      if (!Checked && ahead > 0) ask_for<P::lanes, 2>(from + ahead), ask_for<P::lanes, 2>(x + (at + offset[tap + N - 1] + ahead));
      const P gradient = P::load(from);
      const Index left = j * axis->step + axis->origin;
#pragma GCC unroll 9
      for (int i = 0; i < N; ++i)
        if (!Checked || static_cast<std::size_t>(left + column[tap + i]) < static_cast<std::size_t>(axis->source_size))
          sum[i] = P::fma(P::load(x + (at + offset[tap + i])), gradient, sum[i]);
    }
  }

  /// N taps, whose sums stay in registers.
  template <class P, int N>
  HEED_INLINE void add(Index channel, Index tap) const {
    T* to = sums + panel_offset(channel, taps) + tap * kPanelChannels;
    P sum[N];
#pragma GCC unroll 9
    for (int i = 0; i < N; ++i) sum[i] = P::load(to + i * kPanelChannels);
    for (Index j = pixels.first, end; j < pixels.last; j = end) {  // left of the interior, in it, right of it
      const bool whole = j >= inner.first && j < inner.last;
      end = std::min(pixels.last, whole ? inner.last : j < inner.first ? inner.first : pixels.last);
      whole ? walk<P, N, false>(sum, channel, tap, j, end) : walk<P, N, true>(sum, channel, tap, j, end);
    }
#pragma GCC unroll 9
    for (int i = 0; i < N; ++i) sum[i].store(to + i * kPanelChannels);
  }

  template <class P>
  HEED_INLINE void at(Index channel) const {
    Index tap = rows.first * axis->taps;
    const Index last = rows.last * axis->taps;
    for (; tap + 9 <= last; tap += 9) add<P, 9>(channel, tap);
    for (; tap + 3 <= last; tap += 3) add<P, 3>(channel, tap);
    for (; tap < last; ++tap) add<P, 1>(channel, tap);
  }
};

template <class T>
struct DepthwiseWeightRows {
  CorrelationAxis y, x_axis;
  Index channels, wide;
  const Index *offset, *column;
  const T *x, *dy;
  Index ahead;

  template <class Isa>
  HEED_INLINE static void run(const DepthwiseWeightRows* job, Index begin, Index end, T* sums) {
    const CorrelationAxis &y = job->y, &x = job->x_axis;
    const Index channels = job->channels, wide = job->wide, taps = y.taps * x.taps;
    IndexRange inner = interior(x);
    inner.last -= (inner.last - inner.first) % wide;
    const IndexRange parts = wide == 1 ? IndexRange{0, x.targets} : inner;
    // Pieces of 2 KB of x; of 8 KB where several chunks of taps pass over them.
    const Index piece = wide * std::max<Index>(8, 512 / std::max<Index>(1, wide * channels)) * (taps > 9 ? 4 : 1);
    for (Index unit = begin; unit < end; ++unit) {
      const Index source_y = unit / y.targets * y.source_size + unit % y.targets * y.step + y.origin;
      DepthwiseWeightRow<T> row{&x, job->offset, job->column, job->x, job->dy + unit * x.targets * channels, sums,
          (source_y * x.source_size + x.origin) * channels, x.step * channels, channels, taps, taps_inside(y, unit % y.targets), inner, {},
          wide, job->ahead};
      for (const IndexRange part : {parts, IndexRange{0, parts.first}, IndexRange{parts.last, x.targets}}) {
        for (Index j = part.first; j < part.last; j += piece)
          row.pixels = {j, std::min(part.last, j + piece)}, sweep_channels<Isa, T>(0, row.wide * channels, row);
        row.wide = 1;
      }
    }
  }
};

}  // namespace detail

/// y[p, c] = bias[c] + sum over taps k of x[p stride + k dilation - padding, c] weight[c, k], bias may be null. Needs
/// g.groups == g.in_channels == g.out_channels; layouts as in `conv2d_forward`. Parallel over image rows.
template <class T>
void depthwise_conv2d_forward(const Conv2dGeometry& g, const T* x, const T* weight, const T* bias, T* y) {
  detail::depthwise_correlate(
      g, {1, 1}, [&](int axis, Index) { return forward_axis(g, axis); }, g.out_size, x, weight, bias, y);
}
HEED_COMPILE_ONCE(depthwise_conv2d_forward);

/// dx[i, c] = sum over outputs o and taps k that read pixel i of dy[o, c] weight[c, k].
template <class T>
void depthwise_conv2d_input_gradient(const Conv2dGeometry& g, const T* dy, const T* weight, T* dx) {
  const auto axis = [&](int i, Index phase) { return input_gradient_axis(g, i, phase); };
  const Index phases[2] = {std::min(g.stride[0], g.size[0]), std::min(g.stride[1], g.size[1])};
  detail::depthwise_correlate<T>(g, phases, axis, g.size, dy, weight, nullptr, dx);
}
HEED_COMPILE_ONCE(depthwise_conv2d_input_gradient);

/// d_weight[c, k] += sum over pixels p of dy[p, c] x[p stride + k dilation - padding, c], over fixed shards of image rows, folded in order.
template <class T>
void depthwise_conv2d_weight_gradient(const Conv2dGeometry& g, const T* x, const T* dy, T* d_weight) {
  const CorrelationAxis axis_y = forward_axis(g, 0), axis_x = forward_axis(g, 1);
  const Index channels = g.in_channels, taps = g.taps(), wide = detail::wide_pixels(axis_x, channels);
  auto places = Tensor<Index, 1>::uninitialized({2 * taps});
  Index *offset = places.data(), *column = offset + taps;
  for (Index k = 0; k < taps; ++k) {
    column[k] = k % g.kernel[1] * axis_x.tap_step;
    offset[k] = (k / g.kernel[1] * axis_y.tap_step * axis_x.source_size + column[k]) * channels;
  }
  const detail::DepthwiseWeightRows<T> job{
      axis_y, axis_x, channels, wide, offset, column, x, dy, taps <= 9 ? detail::depthwise_ahead<T>(g) : 0};
  // 128: what a core prefetches behind its sums must not be another one's (two threads at 64x32x32x64: 0.93 -> 0.74 ms).
  Tensor<T, 1> sums({detail::panel_size(wide * channels, taps) + 128});
  parallel_sum(g.images * axis_y.targets, 1 + 65536 / std::max<Index>(1, axis_x.targets * channels * taps), sums.size(), sums.data(),
      [&](Index begin, Index end, T* partial) { dispatch<detail::DepthwiseWeightRows<T>, T>(&job, begin, end, partial); });
  for (Index c = 0; c < wide * channels; ++c)
    for (Index k = 0; k < taps; ++k) d_weight[c % channels * taps + k] += sums[detail::panel_offset(c, taps) + k * detail::kPanelChannels];
}
HEED_COMPILE_ONCE(depthwise_conv2d_weight_gradient);

}  // namespace heed::inline HEED_ABI::kernels
