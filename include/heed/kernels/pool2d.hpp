// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <cstdint>

#include <heed/core/parallel.hpp>
#include <heed/kernels/channel_sweep.hpp>

// Pooling over windows of channels-last images: channels go to vector lanes, the taps of a window are walked. Backward passes are written from
// the side of the input pixel (which windows look at me, and what do they send), so every dx is written once and rows are independent.

namespace heed::kernels {

/// The numbers of a 2-d pooling. Pairs are {vertical, horizontal}. A sequence is an image of height 1.
struct Pool2dGeometry {
  Index images;
  Index size[2], out_size[2], channels;
  Index kernel[2], stride[2], padding[2], dilation[2];  ///< padding: before the first row and column
  Index padding_end[2];                                 ///< behind the last; averages may count it

  Index taps() const { return kernel[0] * kernel[1]; }
  /// Position of tap `k` of window `o`.
  Index position(int axis, Index o, Index k) const { return o * stride[axis] + k * dilation[axis] - padding[axis]; }
  /// First tap of window `o` that lies in the image, and one past the last.
  Index first_tap(int axis, Index o) const {
    const Index start = position(axis, o, 0);
    return start >= 0 ? 0 : std::min(kernel[axis], (-start + dilation[axis] - 1) / dilation[axis]);
  }
  Index end_tap(int axis, Index o) const {
    const Index start = position(axis, o, 0);
    return start >= size[axis] ? 0 : std::min(kernel[axis], (size[axis] - 1 - start) / dilation[axis] + 1);
  }
  /// Taps of window `o` in the image, or with `include_pad` in the image and its padding: not what ceil mode lets hang over.
  Index counted(int axis, Index o, bool include_pad) const {
    if (!include_pad) return std::max<Index>(0, end_tap(axis, o) - first_tap(axis, o));
    const Index room = size[axis] + padding_end[axis] - position(axis, o, 0);
    return std::clamp<Index>((room + dilation[axis] - 1) / dilation[axis], 0, kernel[axis]);
  }
};

/// What an average divides by: the counted taps of its window, or `fixed` where that is not 0.
struct PoolDivisor {
  bool count_include_pad = true;
  Index fixed = 0;

  /// The factor of 1 / divisor that belongs to window `o` of an axis. 0 where nothing is counted.
  double factor(const Pool2dGeometry& g, int axis, Index o) const {
    const Index divisor = fixed == 0 ? g.counted(axis, o, count_include_pad) : axis == 0 ? fixed : 1;
    return divisor == 0 ? 0 : 1 / static_cast<double>(divisor);
  }
};

/// Windows along an axis: ⌊(size + padding + padding_end - dilation (kernel - 1) - 1) / stride⌋ + 1, or with ceil mode ⌈…⌉ + 1 as long as the last
/// window starts in the image or the padding before it (torch.nn.MaxPool2d, ONNX MaxPool). 0 if the kernel does not fit.
inline Index pool2d_windows(Index size, Index kernel, Index stride, Index padding, Index padding_end, Index dilation, bool ceil_mode) {
  const Index room = size + padding + padding_end - dilation * (kernel - 1) - 1;
  if (room < 0) return 0;
  const Index windows = (room + (ceil_mode ? stride - 1 : 0)) / stride + 1;
  return ceil_mode && (windows - 1) * stride >= size + padding ? windows - 1 : windows;
}

namespace detail {

/// For each input position and tap the window that reads this position through this tap, or -1: table[position * kernel + tap].
inline Tensor<Index, 1> windows_of(const Pool2dGeometry& g, int axis) {
  auto table = Tensor<Index, 1>::uninitialized({g.size[axis] * g.kernel[axis]});
  for (Index i = 0; i < g.size[axis]; ++i)
    for (Index k = 0; k < g.kernel[axis]; ++k) {
      const Index shifted = i + g.padding[axis] - k * g.dilation[axis];
      const bool read = shifted >= 0 && shifted % g.stride[axis] == 0 && shifted / g.stride[axis] < g.out_size[axis];
      table[i * g.kernel[axis] + k] = read ? shifted / g.stride[axis] : -1;
    }
  return table;
}

/// Keeps the larger of two numbers and where it was seen; a number that is not larger leaves the first one (so the first maximum wins), and
/// NaN is remembered in `nan`, which stays 0 otherwise.
template <class P, class T>
HEED_INLINE void take_larger(const P& x, const T& place, P& best, P& winner, P& nan) {
  winner = P::select_greater(x, best, P::broadcast(place), winner);
  best = P::max(x, best);
  const P small = P::select_greater(x, P::broadcast(T(-1)), P::zero(), x);  // 0, a number <= -1, or NaN
  nan = nan + P::select_greater(P::zero(), small, P::zero(), small);
}

/// One window: y[c] = max over its taps of x, winner[c] = the first tap that has it.
template <class T, class Winner>
struct MaxWindow {
  const T* x;                ///< tap (0, 0), which may lie outside of the image
  Index tap_row, tap_pixel;  ///< elements from tap to tap
  Index first[2], end[2], kernel_width, channels;
  T* y;
  Winner* winner;  ///< or null

  template <class P>
  HEED_INLINE void at(Index channel) const {
    P best = P::broadcast(T(-HUGE_VAL)), nan = P::zero();
    P place = P::broadcast(T(static_cast<double>(first[0] * kernel_width + first[1])));
    for (Index ky = first[0]; ky < end[0]; ++ky)
      for (Index kx = first[1]; kx < end[1]; ++kx)
        take_larger(P::load(x + ky * tap_row + kx * tap_pixel + channel), T(static_cast<double>(ky * kernel_width + kx)), best, place, nan);
    (best + nan).store(y + channel);
    if (winner) place.store_numbers(winner + channel);
  }
};

template <class T, class Winner>
struct MaxPoolRow {
  template <class Isa>
  HEED_INLINE static void run(const Pool2dGeometry* g, Index oy, const T* image, T* y, Winner* winner) {
    const Index row = g->size[1] * g->channels;
    MaxWindow<T, Winner> window{nullptr, g->dilation[0] * row, g->dilation[1] * g->channels, {g->first_tap(0, oy), 0},
        {g->end_tap(0, oy), 0}, g->kernel[1], g->channels, y, winner};
    for (Index ox = 0; ox < g->out_size[1]; ++ox) {
      window.x = image + g->position(0, oy, 0) * row + g->position(1, ox, 0) * g->channels;
      window.first[1] = g->first_tap(1, ox), window.end[1] = g->end_tap(1, ox);
      sweep_channels<Isa, T>(0, g->channels, window);
      window.y += g->channels;
      if (winner) window.winner += g->channels;
    }
  }
};

/// One input pixel: dx[c] = sum of dy[c] of the windows whose winner it is.
template <class T, class Winner>
struct MaxPixel {
  const Index *windows_y, *windows_x;  ///< of this pixel
  Index kernel[2], out_width, channels;
  const T* dy;           ///< the image's
  const Winner* winner;  ///< the image's
  T* dx;

  template <class P>
  HEED_INLINE void at(Index channel) const {
    P sum = P::zero();
    for (Index ky = 0; ky < kernel[0]; ++ky) {
      if (windows_y[ky] < 0) continue;
      for (Index kx = 0; kx < kernel[1]; ++kx) {
        if (windows_x[kx] < 0) continue;
        const Index window = (windows_y[ky] * out_width + windows_x[kx]) * channels + channel;
        // One comparison: g++ 12 makes a mask of two into scalar code.
        const P off = P::load_numbers(winner + window) - P::broadcast(T(static_cast<double>(ky * kernel[1] + kx)));
        sum = sum + P::select_greater(P::broadcast(T(0.5)), off * off, P::load(dy + window), P::zero());
      }
    }
    sum.store(dx + channel);
  }
};

template <class T, class Winner>
struct MaxPoolGradientRow {
  template <class Isa>
  HEED_INLINE static void run(
      const Pool2dGeometry* g, const Index* windows_y, const Index* windows_x, const T* dy, const Winner* winner, T* dx) {
    MaxPixel<T, Winner> pixel{windows_y, windows_x, {g->kernel[0], g->kernel[1]}, g->out_size[1], g->channels, dy, winner, dx};
    for (Index ix = 0; ix < g->size[1]; ++ix) {
      sweep_channels<Isa, T>(0, g->channels, pixel);
      pixel.windows_x += g->kernel[1], pixel.dx += g->channels;
    }
  }
};

/// PoolDivisor::factor of all windows along an axis.
inline Tensor<double, 1> divisor_factors(const Pool2dGeometry& g, const PoolDivisor& divisor, int axis) {
  auto factors = Tensor<double, 1>::uninitialized({g.out_size[axis]});
  for (Index o = 0; o < g.out_size[axis]; ++o) factors[o] = divisor.factor(g, axis, o);
  return factors;
}

/// y[c] = factor * sum of x over the taps of a window.
template <class T>
struct AverageWindow {
  const T* x;                ///< tap (0, 0), which may lie outside of the image
  Index tap_row, tap_pixel;  ///< elements from tap to tap
  Index first[2], end[2];
  T factor;
  T* y;

  template <class P>
  HEED_INLINE void at(Index channel) const {
    P sum = P::zero();
    for (Index ky = first[0]; ky < end[0]; ++ky)
      for (Index kx = first[1]; kx < end[1]; ++kx) sum = sum + P::load(x + ky * tap_row + kx * tap_pixel + channel);
    (sum * P::broadcast(factor)).store(y + channel);
  }
};

template <class T>
struct AveragePoolRow {
  template <class Isa>
  HEED_INLINE static void run(const Pool2dGeometry* g, Index oy, double factor_y, const double* factors_x, const T* image, T* y) {
    const Index row = g->size[1] * g->channels;
    AverageWindow<T> window{
        nullptr, g->dilation[0] * row, g->dilation[1] * g->channels, {g->first_tap(0, oy), 0}, {g->end_tap(0, oy), 0}, T(0), y};
    for (Index ox = 0; ox < g->out_size[1]; ++ox, window.y += g->channels) {
      window.x = image + g->position(0, oy, 0) * row + g->position(1, ox, 0) * g->channels;
      window.first[1] = g->first_tap(1, ox), window.end[1] = g->end_tap(1, ox);
      window.factor = T(factor_y * factors_x[ox]);
      sweep_channels<Isa, T>(0, g->channels, window);
    }
  }
};

/// dx[c] = sum over the windows that read the pixel of dy[c] / count of the window.
template <class T>
struct AveragePixel {
  const Index *windows_y, *windows_x;
  const double *factors_y, *factors_x;  ///< see PoolDivisor::factor
  Index kernel[2], out_width, channels;
  const T* dy;
  T* dx;

  template <class P>
  HEED_INLINE void at(Index channel) const {
    P sum = P::zero();
    for (Index ky = 0; ky < kernel[0]; ++ky) {
      if (windows_y[ky] < 0) continue;
      for (Index kx = 0; kx < kernel[1]; ++kx) {
        if (windows_x[kx] < 0) continue;
        const P factor = P::broadcast(T(factors_y[windows_y[ky]] * factors_x[windows_x[kx]]));
        sum = P::fma(P::load(dy + (windows_y[ky] * out_width + windows_x[kx]) * channels + channel), factor, sum);
      }
    }
    sum.store(dx + channel);
  }
};

template <class T>
struct AveragePoolGradientRow {
  template <class Isa>
  HEED_INLINE static void run(const Pool2dGeometry* g, const Index* windows_y, const Index* windows_x, const double* factors_y,
      const double* factors_x, const T* dy, T* dx) {
    AveragePixel<T> pixel{windows_y, windows_x, factors_y, factors_x, {g->kernel[0], g->kernel[1]}, g->out_size[1], g->channels, dy, dx};
    for (Index ix = 0; ix < g->size[1]; ++ix) {
      sweep_channels<Isa, T>(0, g->channels, pixel);
      pixel.windows_x += g->kernel[1], pixel.dx += g->channels;
    }
  }
};

/// Rows that are worth a thread.
inline Index pool_grain(const Pool2dGeometry& g, Index row_pixels) { return 1 + 16384 / std::max<Index>(1, row_pixels * g.channels); }

}  // namespace detail

/// y[o, c] = max over the taps k in the image of x[o stride + k dilation - padding, c]; -inf where a window has none. `winner` (as y, or null)
/// gets the number of the first tap in scan order that has the maximum; Winner is uint8_t, or int32_t for more than 256 taps. NaN in a
/// window makes its y NaN. Parallel over rows of y.
template <class T, class Winner>
void max_pool2d_forward(const Pool2dGeometry& g, const T* x, T* y, Winner* winner) {
  const Index image = g.size[0] * g.size[1] * g.channels, row = g.out_size[1] * g.channels;
  parallel_for(g.images * g.out_size[0], detail::pool_grain(g, g.out_size[1]), [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i)
      dispatch<detail::MaxPoolRow<T, Winner>, T>(
          &g, i % g.out_size[0], x + i / g.out_size[0] * image, y + i * row, winner ? winner + i * row : nullptr);
  });
}

/// dx[i, c] = sum of dy[o, c] over the windows o whose winner is pixel i. Parallel over rows of x.
template <class T, class Winner>
void max_pool2d_backward(const Pool2dGeometry& g, const T* dy, const Winner* winner, T* dx) {
  const auto windows_y = detail::windows_of(g, 0), windows_x = detail::windows_of(g, 1);
  const Index out_image = g.out_size[0] * g.out_size[1] * g.channels, row = g.size[1] * g.channels;
  parallel_for(g.images * g.size[0], detail::pool_grain(g, g.size[1]), [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      const Index first = i / g.size[0] * out_image;
      dispatch<detail::MaxPoolGradientRow<T, Winner>, T>(
          &g, windows_y.data() + i % g.size[0] * g.kernel[0], windows_x.data(), dy + first, winner + first, dx + i * row);
    }
  });
}

/// Where each y came from: indices[o, c] = row * width + column of the winner's pixel in its image, -1 for a window that has none (which has
/// won nothing). For use outside of training; not parallel.
template <class Winner>
void max_pool2d_indices(const Pool2dGeometry& g, const Winner* winner, std::int64_t* indices) {
  for (Index n = 0; n < g.images; ++n)
    for (Index oy = 0; oy < g.out_size[0]; ++oy)
      for (Index ox = 0; ox < g.out_size[1]; ++ox)
        for (Index c = 0; c < g.channels; ++c) {
          const Index tap = static_cast<Index>(*winner++);
          const Index iy = g.position(0, oy, tap / g.kernel[1]), ix = g.position(1, ox, tap % g.kernel[1]);
          const bool inside = iy >= 0 && iy < g.size[0] && ix >= 0 && ix < g.size[1];
          *indices++ = inside ? iy * g.size[1] + ix : -1;
        }
}

/// y[o, c] = sum over the taps in the image of x / divisor. Parallel over rows of y.
template <class T>
void avg_pool2d_forward(const Pool2dGeometry& g, const PoolDivisor& divisor, const T* x, T* y) {
  const auto factors_y = detail::divisor_factors(g, divisor, 0), factors_x = detail::divisor_factors(g, divisor, 1);
  const Index image = g.size[0] * g.size[1] * g.channels, row = g.out_size[1] * g.channels;
  parallel_for(g.images * g.out_size[0], detail::pool_grain(g, g.out_size[1]), [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i)
      dispatch<detail::AveragePoolRow<T>, T>(
          &g, i % g.out_size[0], factors_y[i % g.out_size[0]], factors_x.data(), x + i / g.out_size[0] * image, y + i * row);
  });
}

/// dx[i, c] = sum over the windows o that read pixel i of dy[o, c] / divisor(o). Parallel over rows of x.
template <class T>
void avg_pool2d_backward(const Pool2dGeometry& g, const PoolDivisor& divisor, const T* dy, T* dx) {
  const auto windows_y = detail::windows_of(g, 0), windows_x = detail::windows_of(g, 1);
  const auto factors_y = detail::divisor_factors(g, divisor, 0), factors_x = detail::divisor_factors(g, divisor, 1);
  const Index out_image = g.out_size[0] * g.out_size[1] * g.channels, row = g.size[1] * g.channels;
  parallel_for(g.images * g.size[0], detail::pool_grain(g, g.size[1]), [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i)
      dispatch<detail::AveragePoolGradientRow<T>, T>(&g, windows_y.data() + i % g.size[0] * g.kernel[0], windows_x.data(), factors_y.data(),
          factors_x.data(), dy + i / g.size[0] * out_image, dx + i * row);
  });
}

}  // namespace heed::kernels
