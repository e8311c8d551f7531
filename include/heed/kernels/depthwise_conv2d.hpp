// SPDX-License-Identifier: MIT
#pragma once

#include <heed/core/parallel.hpp>
#include <heed/kernels/channel_sweep.hpp>
#include <heed/kernels/conv2d_patches.hpp>

// Convolution where every channel has its own kernel and nothing is added over channels (groups = in channels = out channels): no matrix
// product, so channels go to vector lanes and the taps of each pixel are walked. Bound by loads, not by arithmetic.

namespace heed::kernels {

namespace detail {

/// target[j, c] = bias[c] + sum over taps of source[position, c] weight[tap, c] for the targets j of one row of one image.
template <class T>
struct DepthwiseRow {
  const Correlation* correlation;
  Index row;        ///< of targets
  const T* source;  ///< the image
  const T* weight;  ///< (taps, channels), in the order of the walk
  const T* bias;    ///< (channels)
  T* target;        ///< the image

  template <class P>
  HEED_INLINE void at(Index channel) const {
    const CorrelationAxis &y = correlation->axis[0], &x = correlation->axis[1];
    const Index channels = correlation->groups;
    T* out = target + ((y.first + row * y.spacing) * correlation->target_size[1] + x.first) * channels + channel;
    for (Index j = 0; j < x.targets; ++j, out += x.spacing * channels) {
      P sum = P::load(bias + channel);
      for (Index ty = 0; ty < y.taps; ++ty) {
        const Index source_y = row * y.step + ty * y.tap_step + y.origin;
        if (source_y < 0 || source_y >= y.source_size) continue;
        const T* in = source + source_y * x.source_size * channels + channel;
        const T* w = weight + ty * x.taps * channels + channel;
        for (Index tx = 0; tx < x.taps; ++tx) {
          const Index source_x = j * x.step + tx * x.tap_step + x.origin;
          if (source_x >= 0 && source_x < x.source_size) sum = P::fma(P::load(in + source_x * channels), P::load(w + tx * channels), sum);
        }
      }
      sum.store(out);
    }
  }

  template <class Isa>
  HEED_INLINE static void run(const DepthwiseRow* row) {
    sweep_channels<Isa, T>(0, row->correlation->groups, *row);
  }
};

/// sums[tap, c] += sum over the pixels j of one output row of dy[j, c] x[position, c].
template <class T>
struct DepthwiseWeightRow {
  const Correlation* correlation;
  Index row;
  const T* x;   ///< the image
  const T* dy;  ///< the row
  T* sums;      ///< (taps, channels)

  template <class P>
  HEED_INLINE void at(Index channel) const {
    const CorrelationAxis &y = correlation->axis[0], &x_axis = correlation->axis[1];
    const Index channels = correlation->groups;
    for (Index ty = 0; ty < y.taps; ++ty) {
      const Index source_y = row * y.step + ty * y.tap_step + y.origin;
      if (source_y < 0 || source_y >= y.source_size) continue;
      const T* in = x + source_y * x_axis.source_size * channels + channel;
      for (Index tx = 0; tx < x_axis.taps; ++tx) {
        T* target = sums + (ty * x_axis.taps + tx) * channels + channel;
        P sum = P::load(target);
        for (Index j = 0; j < x_axis.targets; ++j) {
          const Index source_x = j * x_axis.step + tx * x_axis.tap_step + x_axis.origin;
          if (source_x >= 0 && source_x < x_axis.source_size)
            sum = P::fma(P::load(in + source_x * channels), P::load(dy + j * channels + channel), sum);
        }
        sum.store(target);
      }
    }
  }

  template <class Isa>
  HEED_INLINE static void run(const DepthwiseWeightRow* row) {
    sweep_channels<Isa, T>(0, row->correlation->groups, *row);
  }
};

/// The correlation that computes y, or dx for one phase of pixels (see `input_gradient_axis`).
inline Correlation depthwise_correlation(const Conv2dGeometry& g, const CorrelationAxis& y, const CorrelationAxis& x, bool forward) {
  return {g.images, g.in_channels, {y, x}, 1, 1, {forward ? g.out_size[0] : g.size[0], forward ? g.out_size[1] : g.size[1]}};
}

template <class T>
void depthwise_correlate(const Correlation& c, const Conv2dGeometry& g, const T* source, const T* weight, const T* bias, T* target) {
  const CorrelationAxis &y = c.axis[0], &x = c.axis[1];
  const Index channels = c.groups, source_image = y.source_size * x.source_size * channels;
  const Index target_image = c.target_size[0] * c.target_size[1] * channels;
  Tensor<T, 1> ordered({std::max<Index>(1, y.taps * x.taps) * channels}), start({channels});  // no bias: zeros
  for (Index ty = 0; ty < y.taps; ++ty)
    for (Index tx = 0; tx < x.taps; ++tx) {
      const Index tap = (y.tap_first + ty * y.tap_spacing) * g.kernel[1] + x.tap_first + tx * x.tap_spacing;
      for (Index i = 0; i < channels; ++i) ordered[(ty * x.taps + tx) * channels + i] = weight[i * g.taps() + tap];
    }
  if (bias) std::copy_n(bias, channels, start.data());
  const Index row_work = x.targets * channels * std::max<Index>(1, y.taps * x.taps);
  parallel_for(c.images * y.targets, 1 + 65536 / std::max<Index>(1, row_work), [&](Index begin, Index end) {
    for (Index unit = begin; unit < end; ++unit) {
      const Index image = unit / y.targets;
      const DepthwiseRow<T> row{
          &c, unit % y.targets, source + image * source_image, ordered.data(), start.data(), target + image * target_image};
      dispatch<DepthwiseRow<T>, T>(&row);
    }
  });
}

}  // namespace detail

/// y[p, c] = bias[c] + sum over taps k of x[p stride + k dilation - padding, c] weight[c, k], bias may be null. Needs
/// g.groups == g.in_channels == g.out_channels; layouts as in `conv2d_forward`. Parallel over image rows.
template <class T>
void depthwise_conv2d_forward(const Conv2dGeometry& g, const T* x, const T* weight, const T* bias, T* y) {
  detail::depthwise_correlate(detail::depthwise_correlation(g, forward_axis(g, 0), forward_axis(g, 1), true), g, x, weight, bias, y);
}

/// dx[i, c] = sum over outputs o and taps k that read pixel i of dy[o, c] weight[c, k].
template <class T>
void depthwise_conv2d_input_gradient(const Conv2dGeometry& g, const T* dy, const T* weight, T* dx) {
  for (Index phase_y = 0; phase_y < std::min(g.stride[0], g.size[0]); ++phase_y)
    for (Index phase_x = 0; phase_x < std::min(g.stride[1], g.size[1]); ++phase_x)
      detail::depthwise_correlate<T>(
          detail::depthwise_correlation(g, input_gradient_axis(g, 0, phase_y), input_gradient_axis(g, 1, phase_x), false), g, dy, weight,
          nullptr, dx);
}

/// d_weight[c, k] += sum over pixels p of dy[p, c] x[p stride + k dilation - padding, c], over fixed shards of image rows, folded in order.
template <class T>
void depthwise_conv2d_weight_gradient(const Conv2dGeometry& g, const T* x, const T* dy, T* d_weight) {
  const Correlation c = detail::depthwise_correlation(g, forward_axis(g, 0), forward_axis(g, 1), true);
  const Index rows = g.out_size[0], channels = g.in_channels, row_size = g.out_size[1] * channels;
  Tensor<T, 1> sums({g.taps() * channels});
  parallel_sum(g.images * rows, 1 + 65536 / std::max<Index>(1, row_size * g.taps()), sums.size(), sums.data(),
      [&](Index begin, Index end, T* partial) {
        for (Index unit = begin; unit < end; ++unit) {
          const detail::DepthwiseWeightRow<T> row{
              &c, unit % rows, x + unit / rows * g.size[0] * g.size[1] * channels, dy + unit * row_size, partial};
          dispatch<detail::DepthwiseWeightRow<T>, T>(&row);
        }
      });
  for (Index i = 0; i < channels; ++i)
    for (Index k = 0; k < g.taps(); ++k) d_weight[i * g.taps() + k] += sums[k * channels + i];
}

}  // namespace heed::kernels
