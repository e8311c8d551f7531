// SPDX-License-Identifier: MIT
#pragma once

#include <limits>

#include <heed/kernels/pool2d.hpp>

// Pooling window by window, element by element.
namespace reference {

/// Calls `f(y element, window row, window column)` for every output element.
template <class F>
void for_each_window(const heed::kernels::Pool2dGeometry& g, const F& f) {
  using heed::Index;
  for (Index n = 0; n < g.images; ++n)
    for (Index oy = 0; oy < g.out_size[0]; ++oy)
      for (Index ox = 0; ox < g.out_size[1]; ++ox)
        for (Index c = 0; c < g.channels; ++c) f(n, oy, ox, c, ((n * g.out_size[0] + oy) * g.out_size[1] + ox) * g.channels + c);
}

/// Calls `f(x element, tap)` for the taps of a window that lie in the image, in scan order.
template <class F>
void for_each_tap(const heed::kernels::Pool2dGeometry& g, heed::Index n, heed::Index oy, heed::Index ox, heed::Index c, const F& f) {
  using heed::Index;
  for (Index ky = 0; ky < g.kernel[0]; ++ky)
    for (Index kx = 0; kx < g.kernel[1]; ++kx) {
      const Index iy = oy * g.stride[0] + ky * g.dilation[0] - g.padding[0], ix = ox * g.stride[1] + kx * g.dilation[1] - g.padding[1];
      if (iy >= 0 && iy < g.size[0] && ix >= 0 && ix < g.size[1])
        f(((n * g.size[0] + iy) * g.size[1] + ix) * g.channels + c, ky * g.kernel[1] + kx);
    }
}

template <class T, class Winner>
void max_pool2d(const heed::kernels::Pool2dGeometry& g, const T* x, const T* dy, T* y, Winner* winner, T* dx) {
  using heed::Index;
  std::fill_n(dx, g.images * g.size[0] * g.size[1] * g.channels, T(0));
  for_each_window(g, [&](Index n, Index oy, Index ox, Index c, Index out) {
    Index best = -1;
    for_each_tap(g, n, oy, ox, c, [&](Index in, Index tap) {
      if (best < 0 || x[in] > x[best]) best = in, winner[out] = static_cast<Winner>(tap);
    });
    y[out] = best < 0 ? -std::numeric_limits<T>::infinity() : x[best];
    if (best >= 0) dx[best] += dy[out];
  });
}

template <class T>
void avg_pool2d(const heed::kernels::Pool2dGeometry& g, const heed::kernels::PoolDivisor& divisor, const T* x, const T* dy, T* y, T* dx) {
  using heed::Index;
  std::fill_n(dx, g.images * g.size[0] * g.size[1] * g.channels, T(0));
  for_each_window(g, [&](Index n, Index oy, Index ox, Index c, Index out) {
    Index count = 0;  // of positions in the image, or in the image and its padding
    for (Index ky = 0; ky < g.kernel[0]; ++ky)
      for (Index kx = 0; kx < g.kernel[1]; ++kx) {
        const Index at[] = {oy * g.stride[0] + ky * g.dilation[0], ox * g.stride[1] + kx * g.dilation[1]};  // in the padded image
        bool counts = true;
        for (int axis = 0; axis < 2; ++axis) {
          const Index end = g.padding[axis] + g.size[axis];
          counts =
              counts && (divisor.count_include_pad ? at[axis] < end + g.padding_end[axis] : at[axis] >= g.padding[axis] && at[axis] < end);
        }
        count += counts;
      }
    if (divisor.fixed != 0) count = divisor.fixed;
    y[out] = T(0);
    for_each_tap(g, n, oy, ox, c, [&](Index in, Index) {
      y[out] += x[in] / static_cast<T>(count);
      dx[in] += dy[out] / static_cast<T>(count);
    });
  });
}

}  // namespace reference
